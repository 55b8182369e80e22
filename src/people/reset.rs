//! A forgotten password: a link by mail sets a new one. The same answer, status and work for known and unknown
//! addresses; looking at a link uses nothing up.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::identity::control::Note;
use crate::identity::sessions::Origin;
use crate::identity::{Control, ControlTx, Email, IdentityError, password};
use crate::ids::AccountId;
use crate::mail::{self, Letter, MailServer};
use crate::notifications::{self, Kind, Notice};
use crate::seal::Secret;
use crate::store::StoreError;
use crate::store::audit::{Action, Actor};
use crate::web::form::OpenForm;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Blank, Problem, Visitor, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/forgot", web::get().to(show_forgot))
        .route("/forgot", web::post().to(forgot))
        .route("/reset/{token}", web::get().to(show))
        .route("/reset/{token}", web::post().to(set));
}

#[derive(Template)]
#[template(path = "people/forgot.html")]
struct ForgotPage {
    shell: Blank,
    errors: Vec<FieldError>,
    email: String,
    /// Whether the instance can send mails at all.
    mails: bool,
    asked: bool,
}

#[derive(Template)]
#[template(path = "people/reset.html")]
struct ResetPage {
    shell: Blank,
    errors: Vec<FieldError>,
    token: String,
    email: String,
}

#[derive(Template)]
#[template(path = "people/reset_gone.html")]
struct GonePage {
    shell: Blank,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    asked: bool,
}

async fn show_forgot(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    query: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let (mails, shell) = (server.configured()?, Blank::new(&web, "Forgot password"));
    page::render(&ForgotPage { shell, errors: Vec::new(), email: String::new(), mails, asked: query.asked })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForgotForm {
    email: String,
}

async fn forgot(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    visitor: Visitor,
    OpenForm(form): OpenForm<ForgotForm>,
) -> Result<HttpResponse, Problem> {
    let key = format!("forgot {}", visitor.origin.address);
    web.throttle.check(&key)?;
    web.throttle.failed(&key);
    let email = match form.email.parse::<Email>() {
        Ok(email) => email,
        Err(error) => {
            let errors = vec![FieldError { field: "email".into(), message: error.to_string() }];
            let (mails, shell) = (server.configured()?, Blank::new(&web, "Forgot password"));
            let page = ForgotPage { shell, errors, email: form.email, mails, asked: false };
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
    };
    let (control, request) = (web.control.clone(), visitor.origin.request);
    let note = Note::new(Actor::Visitor, Action::AccountResetAsked, "an address").asked_by(request);
    web.control.change::<_, StoreError>(note, move |tx| send(&control, tx, &email)).await?;
    Ok(see_other("/forgot?asked=true"))
}

/// Makes the link and posts it to whom it is for.
fn send(control: &Control, tx: &mut ControlTx, email: &Email) -> Result<(), StoreError> {
    let Some(link) = control.ask_reset(tx, email)? else { return Ok(()) };
    let letter = Letter::PasswordReset { link: format!("/reset/{}", link.token.expose()), ends: link.ends };
    if link.account.is_some() {
        mail::post(tx, control, email.as_str(), &letter)?;
    }
    Ok(())
}

/// Whose password the link sets; every wrong link makes the next try of this address wait longer.
fn opened(web: &Web, from: &Origin, token: &str) -> Result<Option<(AccountId, Email, String)>, Problem> {
    let key = format!("reset {}", from.address);
    web.throttle.check(&key)?;
    match web.control.reset_of(token) {
        Ok((id, account)) => Ok(Some((id, account.email, account.name))),
        Err(IdentityError::NoSuchLink) => {
            web.throttle.failed(&key);
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

fn gone(web: &Web) -> Result<HttpResponse, Problem> {
    render_with(StatusCode::NOT_FOUND, &GonePage { shell: Blank::new(web, "Set a new password") })
}

async fn show(
    web: web::Data<Web>,
    visitor: Visitor,
    token: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let Some((_, email, _)) = opened(&web, &visitor.origin, &token)? else { return gone(&web) };
    let shell = Blank::new(&web, "Set a new password");
    let (token, email) = (token.into_inner(), email.to_string());
    page::render(&ResetPage { shell, errors: Vec::new(), token, email })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetForm {
    password: String,
}

async fn set(
    web: web::Data<Web>,
    visitor: Visitor,
    token: web::Path<String>,
    OpenForm(form): OpenForm<SetForm>,
) -> Result<HttpResponse, Problem> {
    let token = token.into_inner();
    let Some((id, email, name)) = opened(&web, &visitor.origin, &token)? else { return gone(&web) };
    let (secret, own) = (Secret::new(form.password), email.to_string());
    let hashed = web::block(move || {
        password::check_strength(&secret, &[&own, &name])?;
        password::hash(&secret)
    });
    let hash = match hashed.await? {
        Ok(hash) => hash,
        Err(IdentityError::Invalid(message)) => {
            let errors = vec![FieldError { field: "password".into(), message }];
            let shell = Blank::new(&web, "Set a new password");
            let page = ResetPage { shell, errors, token, email: email.to_string() };
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
        Err(other) => return Err(other.into()),
    };
    let (control, request) = (web.control.clone(), visitor.origin.request);
    let note = Note::new(Actor::Visitor, Action::PasswordReset, id).asked_by(request);
    let done = web.control.change(note, move |tx| {
        let (id, _) = control.use_reset(tx, &token, hash)?;
        let letter = Letter::PasswordChanged { at: control.clock().now() };
        let title = "Your password was changed by a link; all sessions ended";
        let notice = Notice::new(Kind::SecurityChanged, title, "/account/profile").letter(letter);
        notifications::tell(tx, &control, id, notice)?;
        Ok::<_, IdentityError>(())
    });
    match done.await {
        Ok(()) => Ok(see_other("/sign-in?changed=true")),
        Err(IdentityError::NoSuchLink) => gone(&web),
        Err(other) => Err(other.into()),
    }
}
