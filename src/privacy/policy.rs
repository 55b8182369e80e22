//! The privacy policy of the instance: the text that comes with Vynos until the operator publishes another, its versions,
//! acknowledging it, and the page of cookies.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::policy_mail;
use crate::identity::control::Note;
use crate::identity::policies::{LONGEST, PolicyVersion};
use crate::identity::{Control, IdentityError};
use crate::notifications::{self, Kind, Notice};
use crate::store::audit::Action;
use crate::web::access::{COOKIES, back, request_id};
use crate::web::markdown::{self, Place};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Blank, Confirmed, Me, Operator, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/policy", web::post().to(acknowledge))
        .route("/admin/privacy", web::get().to(editor))
        .route("/admin/privacy", web::post().to(publish))
        .route("/cookies", web::get().to(cookies))
        .route("/privacy", web::get().to(show));
}

/// The text until the operator publishes one.
const OURS: &str = include_str!("policy.md");
/// When [`OURS`] was last changed.
const OURS_UPDATED: &str = "24 November 2026";

struct Version {
    number: u32,
    date: String,
    what: String,
}

#[derive(Template)]
#[template(path = "privacy/policy.html")]
struct PolicyPage {
    shell: Blank,
    html: String,
    updated: String,
    contact: String,
    /// An older one is shown.
    old: bool,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Wanted {
    version: Option<u32>,
}

fn date(version: &PolicyVersion) -> String {
    version.published.strftime("%-d %B %Y").to_string()
}

async fn show(web: web::Data<Web>, wanted: web::Query<Wanted>) -> Result<HttpResponse, Problem> {
    let all = web.control.policies()?;
    let newest = all.first().map(|(number, _)| *number);
    let shown = match wanted.version {
        None => all.first(),
        Some(number) => Some(all.iter().find(|(n, _)| *n == number).ok_or(Problem::NotFound)?),
    };
    let (text, updated) = match shown {
        Some((_, version)) => (version.text.as_str(), date(version)),
        None => (OURS, OURS_UPDATED.to_owned()),
    };
    let versions = all.iter().map(|(number, version)| Version {
        number: *number,
        date: date(version),
        what: version.what.clone(),
    });
    page::render(&PolicyPage {
        shell: Blank::new(&web, "Privacy policy"),
        html: markdown::html(text, Place { heading: 2, prefix: "p", citations: &[] }),
        updated,
        contact: web.settings().privacy_contact,
        old: shown.map(|(number, _)| *number) != newest,
        versions: versions.collect(),
    })
}

#[derive(Template)]
#[template(path = "privacy/cookies.html")]
struct CookiesPage {
    shell: Blank,
}

async fn cookies(web: web::Data<Web>) -> Result<HttpResponse, Problem> {
    page::render(&CookiesPage { shell: Blank::new(&web, "Cookies") })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledged {
    version: u32,
}

async fn acknowledge(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    PostForm(read): PostForm<Acknowledged>,
) -> Result<HttpResponse, Problem> {
    let (id, number) = (me.account(), read.version);
    let target = format!("{id} version {number}");
    let note = Note::new(me.actor(), Action::PolicyAcknowledged, target).asked_by(request_id(&request));
    web.control.change(note, move |tx| Control::acknowledge_policy(tx, id, number)).await?;
    Ok(see_other(&back(&request)))
}

#[derive(Template)]
#[template(path = "admin/privacy.html")]
struct EditorPage {
    shell: Shell,
    errors: Vec<FieldError>,
    text: String,
    what: String,
    material: bool,
    published: bool,
    versions: Vec<Version>,
    /// Accounts that have not acknowledged the newest material version.
    waiting: usize,
}

fn editor_page(web: &Web, me: &Operator) -> Result<EditorPage, Problem> {
    let all = web.control.policies()?;
    let wanted = web.settings().material_policy;
    let (accounts, _) = web.control.find_accounts("", usize::MAX)?;
    let waiting = accounts.iter().filter(|(_, a)| a.acknowledged_policy < wanted).count();
    let text = all.first().map_or_else(|| OURS.to_owned(), |(_, version)| version.text.clone());
    let versions =
        all.into_iter().map(|(number, version)| Version { number, date: date(&version), what: version.what });
    Ok(EditorPage {
        shell: Shell::account(web, me, "Privacy policy")?,
        errors: Vec::new(),
        text,
        what: String::new(),
        material: false,
        published: false,
        versions: versions.collect(),
        waiting,
    })
}

#[derive(Deserialize)]
struct Done {
    #[serde(default)]
    published: bool,
}

async fn editor(web: web::Data<Web>, me: Operator, done: web::Query<Done>) -> Result<HttpResponse, Problem> {
    page::render(&EditorPage { published: done.published, ..editor_page(&web, &me)? })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    text: String,
    what: String,
    #[serde(default)]
    material: bool,
}

impl Draft {
    fn errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong =
            |field: &str, message: String| errors.push(FieldError { field: field.into(), message });
        if self.text.trim().is_empty() {
            wrong("text", "Write the policy first.".into());
        }
        if self.text.chars().count() > LONGEST {
            wrong("text", format!("The policy may have {LONGEST} characters."));
        }
        let what = self.what.trim();
        if what.is_empty() || what.chars().count() > 300 || what.chars().any(char::is_control) {
            wrong("what", "Say in one line of at most 300 characters what is different.".into());
        }
        errors
    }
}

async fn publish(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    _: Confirmed,
    PostForm(draft): PostForm<Draft>,
) -> Result<HttpResponse, Problem> {
    let errors = draft.errors();
    if !errors.is_empty() {
        let Draft { text, what, material } = draft;
        let view = EditorPage { errors, text, what, material, ..editor_page(&web, &me)? };
        return render_with(StatusCode::UNPROCESSABLE_ENTITY, &view);
    }
    let note =
        Note::new(me.actor(), Action::PolicyPublished, "privacy policy").asked_by(request_id(&request));
    let (control, by) = (web.control.clone(), me.account());
    let done = web.control.change(note, move |tx| {
        let published = control.clock().now();
        let what = draft.what.trim().to_owned();
        let version = PolicyVersion { text: draft.text, published, by, what, material: draft.material };
        let (number, told) = Control::publish_policy(tx, &version)?;
        if version.material {
            policy_mail::begin(tx, number)?;
        }
        for account in told {
            let notice = Notice::new(Kind::PolicyChanged, "The privacy policy changed", "/privacy");
            notifications::tell(tx, &control, account, notice.body(version.what.clone()))?;
        }
        Ok::<_, IdentityError>(())
    });
    done.await?;
    web.refresh_settings()?;
    // What does not get done now is done by the daily look.
    policy_mail::mail_policy(&web.control).await?;
    Ok(see_other("/admin/privacy?published=true"))
}
