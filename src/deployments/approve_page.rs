//! Approving and deploying: the page shows the exact bytes and their hash; the form sends the hash back. Nothing
//! a model wrote about them is shown here.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::change_page::before;
use super::pages::{Place, address, found, name_of};
use super::records::{ChangeSet, files};
use super::state::{Stage, drifted, state};
use super::view::{self, FileView};
use super::{approve, may_approve, release, standing};
use crate::orgs::records::{Org, OrgKind};
use crate::orgs::{DeployPolicy, shown};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Member, Viewer};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/approve", web::get().to(show))
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/approve", web::post().to(approved))
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/release", web::post().to(released));
}

#[derive(Template)]
#[template(path = "deployments/approve.html")]
struct ApprovePage {
    shell: Shell,
    base: String,
    org: Org,
    production: bool,
    four_eyes: bool,
    set: ChangeSet,
    author: String,
    asked_by: String,
    validated: String,
    until: String,
    hash: String,
    tests: String,
    warnings: Vec<String>,
    drifted: Vec<String>,
    files: Vec<FileView>,
    added: usize,
    removed: usize,
    errors: Vec<FieldError>,
}

async fn show(web: web::Data<Web>, me: Me, ws: Member, place: Place) -> Result<HttpResponse, Problem> {
    match page_of(&web, &me, &ws, &place).await? {
        Some(page) => page::render(&page),
        None => Ok(see_other(&address(&place, found(&ws.read()?, &place)?.2))),
    }
}

/// `None` when there is nothing to approve.
async fn page_of(
    web: &Web,
    me: &Me,
    ws: &Viewer,
    place: &(String, String, String),
) -> Result<Option<ApprovePage>, Problem> {
    let read = ws.read()?;
    let (_, org, id, set) = found(&read, place)?;
    let state = state(&read, id, &set, ws.clock().now())?;
    let (Some((_, run)), Stage::Validated) = (&state.validation, state.stage) else { return Ok(None) };
    may_approve(&set, &org, ws.role(), ws.account())?;
    let drafted = files(&read, id)?;
    let drifted = drifted(&read, &set, &drafted, &state)?;
    let before = before(&read, &set, &drafted, &state)?;
    let (about, _) = view::remarks(&set, &drafted, Some(run));
    drop(read);
    let files = web::block(move || view::files(drafted, &before, &about)).await?;
    let result = run.result.clone().unwrap_or_default();
    let mut warnings: Vec<String> =
        set.problems.iter().filter(|p| p.warning).map(super::records::Check::sentence).collect();
    warnings.extend(result.coverage_warnings);
    let slug = ws.row().slug.clone();
    let section = format!("o/{}/deployments", org.slug);
    let title = format!("Deploy to {}", org.name);
    let shell = Shell::workspace(web, me, ws, &title, &section)?;
    Ok(Some(ApprovePage {
        shell: shell.under(vec![
            Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug)),
            Crumb::new("Deployments", format!("/w/{slug}/{section}")),
            Crumb::new(set.title.clone(), address(place, id)),
        ]),
        base: address(place, id),
        production: org.kind == OrgKind::Production,
        four_eyes: org.policy() == DeployPolicy::FourEyes,
        author: name_of(web, set.author)?,
        asked_by: name_of(web, run.by)?,
        validated: run.ended.map(shown).unwrap_or_default(),
        until: run.holds_until().map(shown).unwrap_or_default(),
        hash: run.hash.clone().unwrap_or_default(),
        tests: match result.tests_total {
            0 => "No tests ran".into(),
            total => format!("{} of {total} passed", result.tests_completed - result.tests_errors),
        },
        warnings,
        drifted,
        added: files.iter().map(|f| f.diff.added).sum(),
        removed: files.iter().map(|f| f.diff.removed).sum(),
        files,
        org,
        set,
        errors: Vec::new(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    /// The hash that the page showed.
    hash: String,
    /// The org's name, typed by the person where the page asks for it.
    #[serde(default)]
    name: String,
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    /// Another person, or a token, releases it.
    Approve,
    Deploy,
}

async fn approved(
    web: web::Data<Web>,
    me: Me,
    ws: Member,
    place: Place,
    PostForm(consent): PostForm<Consent>,
) -> Result<HttpResponse, Problem> {
    let (_, org, id, set) = found(&ws.read()?, &place)?;
    let back = see_other(&address(&place, id));
    // The second of two clicks: the first has done it.
    if state(&ws.read()?, id, &set, ws.clock().now())?.stage == Stage::Deploying {
        return Ok(back);
    }
    let approved = match approve(&ws, id, &consent.hash, &consent.name).await {
        Err(Problem::Invalid(errors)) => {
            let Some(page) = page_of(&web, &me, &ws, &place).await? else { return Ok(back) };
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &ApprovePage { errors, ..page });
        }
        other => other?,
    };
    if consent.then == Then::Deploy && org.policy() != DeployPolicy::FourEyes {
        release(&ws, approved).await?;
    }
    Ok(back)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    hash: String,
}

/// Deploys what was approved before: under four eyes the other person's click.
async fn released(
    ws: Member,
    place: Place,
    PostForm(wanted): PostForm<Release>,
) -> Result<HttpResponse, Problem> {
    let (_, _, id, set) = found(&ws.read()?, &place)?;
    if state(&ws.read()?, id, &set, ws.clock().now())?.stage != Stage::Deploying {
        release(&ws, standing(&ws, id, &wanted.hash)?).await?;
    }
    Ok(see_other(&address(&place, id)))
}
