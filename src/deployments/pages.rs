//! The change sets of an org, and what their buttons do.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::records::{CHANGE_SETS, ChangeSet, of_org};
use super::state::{Stage, state};
use super::{cancel, discard, list_topic, request_validation, roll_back};
use crate::ids::{AccountId, ChangeSetId, OrgId};
use crate::orgs::records::{self, Org};
use crate::orgs::{Orgs, shown};
use crate::store::{Read, StoreError};
use crate::web::page::see_other;
use crate::web::{Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Member, Viewer};

/// Rows on the page.
const SHOWN: usize = 200;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/o/{org}/deployments", web::get().to(list))
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/validate", web::post().to(validate))
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/cancel", web::post().to(stop))
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/discard", web::post().to(put_away))
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/roll-back", web::post().to(take_back));
}

/// Workspace, org and change set of a path.
pub(super) type Place = web::Path<(String, String, String)>;

/// The change set of a page, in the org of its path.
pub(super) fn found(
    read: &impl Read,
    place: &(String, String, String),
) -> Result<(OrgId, Org, ChangeSetId, ChangeSet), Problem> {
    let (org_id, org) = records::by_slug(read, &place.1)?.ok_or(Problem::NotFound)?;
    let id: ChangeSetId = place.2.parse().map_err(|_| Problem::NotFound)?;
    let set = read.get(&CHANGE_SETS, &id)?.filter(|set| set.org == org_id).ok_or(Problem::NotFound)?;
    Ok((org_id, org, id, set))
}

/// The name of whoever did something.
pub(super) fn name_of(web: &Web, account: Option<AccountId>) -> Result<String, StoreError> {
    let Some(id) = account else { return Ok("Vynos".into()) };
    Ok(web.control.account(id)?.map_or_else(|| "a former member".into(), |account| account.name))
}

/// How many change sets of an org wait for somebody to approve or deploy them.
pub fn waiting(read: &impl Read, org: OrgId, now: jiff::Timestamp) -> Result<usize, StoreError> {
    let sets = of_org(read, org, SHOWN)?;
    Ok(sets.iter().filter(|(_, set)| set.ready_until.is_some_and(|until| now < until)).count())
}

struct Row {
    id: ChangeSetId,
    title: String,
    stage: Stage,
    author: String,
    changed: String,
    detail: String,
}

struct Group {
    title: &'static str,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "deployments/list.html")]
struct ListPage {
    shell: Shell,
    slug: String,
    org: Org,
    topic: String,
    groups: Vec<Group>,
    empty: bool,
}

async fn list(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let read = ws.read()?;
    let (org_id, org) = records::by_slug(&read, &path.1)?.ok_or(Problem::NotFound)?;
    let now = ws.clock().now();
    let mut groups = vec![
        Group { title: "Waiting to be deployed", rows: Vec::new() },
        Group { title: "Running", rows: Vec::new() },
        Group { title: "Drafts", rows: Vec::new() },
        Group { title: "History", rows: Vec::new() },
    ];
    for (id, set) in of_org(&read, org_id, SHOWN)? {
        let state = state(&read, id, &set, now)?;
        let place = match state.stage {
            Stage::Approved | Stage::Validated => 0,
            Stage::Deploying | Stage::Validating => 1,
            Stage::Deployed | Stage::Discarded => 3,
            _ => 2,
        };
        groups[place].rows.push(Row {
            id,
            author: name_of(&web, set.author)?,
            changed: shown(state.latest().map_or(set.changed, |(_, run)| run.ended.unwrap_or(run.begun))),
            detail: state
                .latest()
                .filter(|_| state.stage.busy())
                .map(|(_, r)| r.phase.clone())
                .unwrap_or_default(),
            title: set.title,
            stage: state.stage,
        });
    }
    groups.retain(|group| !group.rows.is_empty());
    let slug = ws.row().slug.clone();
    let base = format!("o/{}", org.slug);
    let shell = Shell::workspace(&web, &me, &ws, "Deployments", &format!("{base}/deployments"))?;
    page::render(&ListPage {
        shell: shell.under(vec![Crumb::new(org.name.clone(), format!("/w/{slug}/{base}"))]),
        slug,
        topic: list_topic(org_id),
        empty: groups.is_empty(),
        groups,
        org,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The address of a change set's page.
pub(super) fn address(place: &(String, String, String), id: ChangeSetId) -> String {
    format!("/w/{}/o/{}/deployments/{id}", place.0, place.1)
}

async fn validate(ws: Member, place: Place, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    let (_, _, id, _) = found(&ws.read()?, &place)?;
    request_validation(&ws, id, ws.processing()?).await?;
    Ok(see_other(&address(&place, id)))
}

async fn stop(
    orgs: web::Data<Orgs>,
    ws: Member,
    place: Place,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (_, _, id, _) = found(&ws.read()?, &place)?;
    cancel(&ws, &orgs.board, id).await?;
    Ok(see_other(&address(&place, id)))
}

async fn put_away(ws: Member, place: Place, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    let (_, _, id, _) = found(&ws.read()?, &place)?;
    discard(&ws, id).await?;
    Ok(see_other(&format!("/w/{}/o/{}/deployments", place.0, place.1)))
}

async fn take_back(ws: Member, place: Place, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    let (_, _, id, _) = found(&ws.read()?, &place)?;
    let draft = roll_back(&ws, id).await?;
    Ok(see_other(&address(&place, draft.id)))
}
