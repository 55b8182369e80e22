//! Passkeys of an account: their section of the security page, adding, renaming and removing. `passkey_sign_in` proves them. The account is told of
//! each one that comes or goes, in the same commit.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::device::system;
use super::security::{HERE, tell};
use crate::identity::ceremonies::Asker;
use crate::identity::control::Note;
use crate::identity::passkeys::{KeptPasskey, PasskeyError};
use crate::identity::{SignedIn, Via};
use crate::ids::PasskeyId;
use crate::mail::FactorChange;
use crate::store::audit::Action;
use crate::web::access::origin;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Confirmed, Crumb, Me, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/passkeys/begin", web::post().to(begin))
        .route("/account/passkeys/finish", web::post().to(finish))
        .route("/account/passkeys/{passkey}", web::get().to(show))
        .route("/account/passkeys/{passkey}/rename", web::post().to(rename))
        .route("/account/passkeys/{passkey}/remove", web::post().to(remove));
}

/// One passkey as listed.
pub struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) added: String,
    pub(super) used: String,
}

/// What `people/passkeys.html` draws: the section of the security page.
pub struct Section {
    pub(super) rows: Vec<Row>,
    /// Whether browsers can use passkeys at this address.
    pub(super) available: bool,
    pub(super) full: bool,
}

impl Section {
    pub fn of(web: &Web, me: &SignedIn) -> Result<Self, Problem> {
        let kept = web.control.passkeys_of(me.account())?;
        let full = kept.len() >= crate::identity::passkeys::MOST;
        let rows = kept.into_iter().map(|(id, kept)| row(id, &kept)).collect();
        Ok(Self { rows, available: web.ceremonies.available(), full })
    }
}

fn row(id: PasskeyId, kept: &KeptPasskey) -> Row {
    let used = kept.used.map_or_else(|| "not used yet".to_owned(), |at| format!("used {}", day(at)));
    Row { id: id.to_string(), name: kept.name.clone(), added: day(kept.added), used }
}

fn day(at: Timestamp) -> String {
    at.strftime("%-d %b %Y").to_string()
}

/// The session that a ceremony is bound to.
pub(super) fn asker(me: &SignedIn) -> Result<Asker, Problem> {
    match me.via() {
        Via::Session { id, .. } => Ok(Asker::Session(*id)),
        Via::Token { .. } => Err(Problem::SignIn),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn begin(web: web::Data<Web>, me: Confirmed, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    let (person, known) = (me.person(), web.control.passkeys_of(me.account())?);
    if known.len() >= crate::identity::passkeys::MOST {
        return Err(PasskeyError::TooMany.into());
    }
    let handle = web.control.passkey_handle(me.account())?;
    let names = (person.email.as_str(), person.name.as_str());
    Ok(HttpResponse::Ok().json(web.ceremonies.begin_adding(asker(&me)?, handle, names, &known)?))
}

/// The browser's answer to a ceremony.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finish {
    pub ceremony: String,
    /// JSON of the credential.
    pub credential: String,
    #[serde(default)]
    pub next: String,
}

impl Finish {
    pub fn credential<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_str(&self.credential)
            .map_err(|_| Problem::field("", "The browser’s answer can’t be read. Load the page again."))
    }
}

/// Where the browser goes on.
pub(super) fn go_on(to: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "next": to }))
}

async fn finish(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Confirmed,
    PostForm(form): PostForm<Finish>,
) -> Result<HttpResponse, Problem> {
    let new = web.ceremonies.finish_adding(&asker(&me)?, &form.ceremony, &form.credential()?)?;
    let name = format!("Passkey{}", system(&origin(&request, &web).user_agent));
    let (control, account, by) = (web.control.clone(), me.account(), me.actor());
    web.control
        .acts(move |tx| {
            let id = control.insert_passkey(tx, account, &name, new)?;
            control.note(tx, Note::new(by, Action::PasskeyAdded, id))?;
            Ok::<_, PasskeyError>(tell(tx, &control, account, FactorChange::PasskeyAdded)?)
        })
        .await?;
    Ok(go_on("/account/security?saved=passkey"))
}

#[derive(Template)]
#[template(path = "people/passkey.html")]
struct PasskeyPage {
    shell: Shell,
    errors: Vec<FieldError>,
    passkey: Row,
    name: String,
    last: bool,
}

fn one(web: &Web, me: &SignedIn, id: PasskeyId) -> Result<PasskeyPage, Problem> {
    let all = web.control.passkeys_of(me.account())?;
    let last = all.len() == 1;
    let (_, kept) = all.into_iter().find(|(known, _)| *known == id).ok_or(Problem::NotFound)?;
    let shell = Shell::account(web, me, &kept.name)?.under(vec![Crumb::new("Sign-in and security", HERE)]);
    Ok(PasskeyPage { shell, errors: Vec::new(), name: kept.name.clone(), passkey: row(id, &kept), last })
}

async fn show(web: web::Data<Web>, me: Me, id: web::Path<PasskeyId>) -> Result<HttpResponse, Problem> {
    page::render(&one(&web, &me, *id)?)
}

/// The page again, with what was wrong.
fn not_done(page: PasskeyPage, field: &str, error: PasskeyError) -> Result<HttpResponse, Problem> {
    if let PasskeyError::Store(error) = error {
        return Err(error.into());
    }
    let errors = vec![FieldError { field: field.into(), message: error.to_string() }];
    render_with(StatusCode::UNPROCESSABLE_ENTITY, &PasskeyPage { errors, ..page })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameForm {
    name: String,
}

async fn rename(
    web: web::Data<Web>,
    me: Me,
    id: web::Path<PasskeyId>,
    PostForm(form): PostForm<RenameForm>,
) -> Result<HttpResponse, Problem> {
    let (state, by, account, name, id) =
        (web.clone(), me.actor(), me.account(), form.name.clone(), id.into_inner());
    match web::block(move || state.control.rename_passkey(by, account, id, &name)).await? {
        Ok(true) => Ok(see_other("/account/security?saved=renamed")),
        Ok(false) => Err(Problem::NotFound),
        Err(error) => not_done(PasskeyPage { name: form.name, ..one(&web, &me, id)? }, "name", error),
    }
}

async fn remove(
    web: web::Data<Web>,
    me: Confirmed,
    id: web::Path<PasskeyId>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (control, account, by, id) = (web.control.clone(), me.account(), me.actor(), id.into_inner());
    let removed = web
        .control
        .acts(move |tx| {
            let kept = control.remove_passkey(tx, account, id)?;
            if kept.is_some() {
                control.note(tx, Note::new(by, Action::PasskeyRemoved, id))?;
                tell(tx, &control, account, FactorChange::PasskeyRemoved)?;
            }
            Ok::<_, PasskeyError>(kept)
        })
        .await;
    match removed {
        Ok(Some(_)) => Ok(see_other("/account/security?saved=removed")),
        Ok(None) => Err(Problem::NotFound),
        Err(error) => not_done(one(&web, &me, id)?, "", error),
    }
}
