//! Deleting one's own account: what happens to shared work is said before, and for 30 days the account can be kept.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::account::confirm;
use crate::identity::control::Note;
use crate::identity::deletion::Hindrance;
use crate::identity::{Email, IdentityError, Role, Via};
use crate::mail::{self, Letter};
use crate::store::audit::Action;
use crate::web::page::{local_time, render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Blank, Me, PostForm, Problem, Returning, Shell, Visitor, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/close", web::get().to(show))
        .route("/account/close", web::post().to(start))
        .route("/account/close/stop", web::post().to(stop));
}

#[derive(Template)]
#[template(path = "people/close.html")]
struct ClosePage {
    shell: Shell,
    errors: Vec<FieldError>,
    hindrance: Hindrance,
    /// Workspaces that are to be deleted and have no other owner, with the day.
    goes_too: Vec<(String, String)>,
    /// Workspaces that go on without the person, with the role that ends.
    leaves: Vec<(String, &'static str)>,
}

#[derive(Template)]
#[template(path = "people/closing.html")]
struct ClosingPage {
    shell: Blank,
    csrf: String,
    email: String,
    ends: String,
    days: i64,
}

async fn show(web: web::Data<Web>, me: Returning) -> Result<HttpResponse, Problem> {
    match me.person().erased_at() {
        None => page::render(&close_page(&web, &me, Vec::new())?),
        Some(ends) => {
            let left = ends.duration_since(web.clock.now());
            page::render(&ClosingPage {
                shell: Blank::new(&web, "Account to be deleted"),
                csrf: me.csrf().to_owned(),
                email: me.person().email.to_string(),
                ends: local_time(ends, &me.person().time_zone),
                // Begun days count, down to the last second.
                days: (left.as_secs() + 86_399) / 86_400,
            })
        }
    }
}

fn close_page(web: &Web, me: &Me, errors: Vec<FieldError>) -> Result<ClosePage, Problem> {
    let hindrance = web.control.hindrance(&web.control.read()?, me.account())?;
    let workspaces = web.control.workspaces_of(me.account())?;
    let (mut goes_too, mut leaves) = (Vec::new(), Vec::new());
    for (id, row, role) in workspaces {
        let owners = web.control.members_of(id)?.iter().filter(|(_, role)| *role == Role::Owner).count();
        match row.closing().filter(|_| role == Role::Owner && owners == 1) {
            Some(closing) => goes_too.push((row.name, local_time(closing.ends(), &me.person().time_zone))),
            None => leaves.push((row.name, role.name())),
        }
    }
    let shell = Shell::account(web, me, "Delete account")?;
    Ok(ClosePage { shell, errors, hindrance, goes_too, leaves })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseForm {
    email: String,
    password: String,
}

async fn start(
    web: web::Data<Web>,
    me: Me,
    visitor: Visitor,
    PostForm(form): PostForm<CloseForm>,
) -> Result<HttpResponse, Problem> {
    let begun = async {
        let typed = form.email.parse::<Email>().ok();
        if typed.is_none_or(|typed| typed.key() != me.person().email.key()) {
            return Err(Problem::field("email", "Type the address of this account."));
        }
        confirm(&web, &me, &visitor.origin, form.password).await?;
        begin(&web, &me, &visitor).await
    };
    match begun.await {
        Ok(()) => Ok(see_other("/account/close")),
        Err(Problem::Invalid(errors)) => {
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &close_page(&web, &me, errors)?)
        }
        Err(Problem::Conflict(_)) => render_with(StatusCode::CONFLICT, &close_page(&web, &me, Vec::new())?),
        Err(other) => Err(other),
    }
}

async fn begin(web: &web::Data<Web>, me: &Me, visitor: &Visitor) -> Result<(), Problem> {
    let (control, id, email) = (web.control.clone(), me.account(), me.person().email.clone());
    let session = match me.via() {
        Via::Session { id, .. } => Some(*id),
        Via::Token { .. } => None,
    };
    let note = Note::new(me.actor(), Action::AccountDeletionStarted, id).asked_by(visitor.origin.request);
    let begun = web.control.change(note, move |tx| {
        let ends = control.start_deletion(tx, id, session)?;
        let letter = Letter::AccountDeletionStarted { ends, link: "/account/close".into() };
        mail::post(tx, &control, email.as_str(), &letter)?;
        Ok::<_, IdentityError>(())
    });
    Ok(begun.await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn stop(
    web: web::Data<Web>,
    me: Returning,
    visitor: Visitor,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (control, id) = (web.control.clone(), me.account());
    let note = Note::new(me.actor(), Action::AccountDeletionStopped, id).asked_by(visitor.origin.request);
    web.control.change(note, move |tx| control.stop_deletion(tx, id)).await?;
    Ok(see_other("/"))
}
