//! Proving once more who one is, before an act that a forgotten open browser must not do.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::sign_in::{Next, safe_next, with_cookie};
use crate::identity::control::Note;
use crate::identity::{IdentityError, password};
use crate::seal::Secret;
use crate::store::audit::Action;
use crate::web::access::{origin, session_token};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Me, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/account/confirm", web::get().to(show)).route("/account/confirm", web::post().to(confirm));
}

#[derive(Template)]
#[template(path = "people/confirm.html")]
struct ConfirmPage {
    shell: Shell,
    errors: Vec<FieldError>,
    next: String,
    /// The account has a password; without one only a passkey or single sign-on proves it.
    password: bool,
    /// It has passkeys, which work at this address.
    passkeys: bool,
}

fn page_of(web: &Web, me: &Me, next: &str, errors: Vec<FieldError>) -> Result<ConfirmPage, Problem> {
    let shell = Shell::account(web, me, "Confirm that it is you")?;
    let has = web.control.second_factors(me.account())?.passkeys > 0;
    let (password, passkeys) = (me.person().password.is_some(), has && web.ceremonies.available());
    Ok(ConfirmPage { shell, errors, next: safe_next(next), password, passkeys })
}

async fn show(web: web::Data<Web>, me: Me, query: web::Query<Next>) -> Result<HttpResponse, Problem> {
    page::render(&page_of(&web, &me, &query.next, Vec::new())?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmForm {
    password: String,
    #[serde(default)]
    next: String,
}

async fn confirm(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    PostForm(form): PostForm<ConfirmForm>,
) -> Result<HttpResponse, Problem> {
    let tries = format!("confirm {} {}", me.account(), origin(&request, &web).network());
    web.throttle.check(&tries)?;
    let (secret, stored) = (Secret::new(form.password), me.person().password.clone());
    if !web::block(move || password::verify(&secret, stored.as_deref())).await? {
        web.throttle.failed(&tries);
        let errors =
            vec![FieldError { field: "password".into(), message: "This is not your password.".into() }];
        return render_with(StatusCode::UNPROCESSABLE_ENTITY, &page_of(&web, &me, &form.next, errors)?);
    }
    web.throttle.passed(&tries);
    renew(&web, &request, &me, see_other(&safe_next(&form.next))).await
}

/// Marks the session as confirmed, under a new cookie that goes with `answer`.
pub(super) async fn renew(
    web: &web::Data<Web>,
    request: &HttpRequest,
    me: &Me,
    answer: HttpResponse,
) -> Result<HttpResponse, Problem> {
    let old = session_token(request, web).ok_or(Problem::SignIn)?;
    let (control, note) =
        (web.control.clone(), Note::new(me.actor(), Action::SessionConfirmed, me.account()));
    let token = web.control.change(note, move |tx| control.renew_session(tx, &old)).await.map_err(
        |error| match error {
            IdentityError::NotSignedIn => Problem::SignIn,
            other => other.into(),
        },
    )?;
    Ok(with_cookie(answer, web, &token))
}
