//! The second step of a sign-in: a code of the authenticator app, or a recovery code in the same field.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::security::tell;
use super::sign_in::{Next, arrived, safe_next};
use super::tries::Tries;
use crate::identity::{Accepted, CodeAnswer, IdentityError, SessionToken};
use crate::ids::AccountId;
use crate::mail::FactorChange;
use crate::web::access::{origin, session_token};
use crate::web::form::OpenForm;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Blank, Problem, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/sign-in/code", web::get().to(show)).route("/sign-in/code", web::post().to(check));
}

#[derive(Template)]
#[template(path = "people/code.html")]
struct CodePage {
    shell: Blank,
    errors: Vec<FieldError>,
    email: String,
    /// What the server's clock says: a wrong clock is the usual cause of wrong codes.
    clock: String,
    next: String,
    version: &'static str,
    /// The account has an app whose codes are asked for.
    totp: bool,
    /// It has passkeys, which work at this address.
    passkeys: bool,
}

fn page_of(web: &Web, account: AccountId, next: &str, errors: Vec<FieldError>) -> Result<CodePage, Problem> {
    let person = web.control.account(account)?.ok_or(Problem::SignIn)?;
    let factors = web.control.second_factors(account)?;
    Ok(CodePage {
        shell: Blank::new(web, "Second step"),
        errors,
        email: person.email.to_string(),
        clock: web.clock.now().strftime("%H:%M:%S UTC").to_string(),
        next: safe_next(next),
        version: page::VERSION,
        totp: factors.totp,
        passkeys: factors.passkeys > 0 && web.ceremonies.available(),
    })
}

/// The sign-in that waits behind the request's cookie.
pub(super) fn waiting(web: &Web, request: &HttpRequest) -> Option<(SessionToken, AccountId)> {
    let token = session_token(request, web)?;
    let account = web.control.waiting(&token).ok()?;
    Some((token, account))
}

async fn show(
    web: web::Data<Web>,
    request: HttpRequest,
    query: web::Query<Next>,
) -> Result<HttpResponse, Problem> {
    match waiting(&web, &request) {
        Some((_, account)) => page::render(&page_of(&web, account, &query.next, Vec::new())?),
        None => Ok(see_other("/sign-in")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeForm {
    code: String,
    #[serde(default)]
    next: String,
}

async fn check(
    web: web::Data<Web>,
    request: HttpRequest,
    OpenForm(form): OpenForm<CodeForm>,
) -> Result<HttpResponse, Problem> {
    let Some((waits, account)) = waiting(&web, &request) else { return Ok(see_other("/sign-in?ended=true")) };
    let from = origin(&request, &web);
    // Counted besides the sign-in's own five, so that beginning anew gains nothing.
    let person = web.control.account(account)?.ok_or(Problem::SignIn)?;
    let tries = Tries::of_code(&web, person.email.as_str(), &from)?;
    let checked = if let Err(wait) = tries.check() {
        Err(wait)
    } else {
        let (state, code, from) = (web.clone(), form.code.clone(), from.clone());
        web::block(move || state.control.complete_with_code(&waits, &code, &from)).await?
    };
    let (status, error) = match checked {
        Ok(CodeAnswer::Right { token, account, accepted }) => {
            tries.passed();
            if let Accepted::Recovery(_) = accepted {
                let control = web.control.clone();
                web.control.acts(move |tx| tell(tx, &control, account, FactorChange::CodeUsed)).await?;
            }
            return arrived(&web, &token, from, &form.next).await;
        }
        Ok(CodeAnswer::Ended) => {
            tries.failed();
            return Ok(see_other("/sign-in?ended=true"));
        }
        Ok(CodeAnswer::Wrong) => {
            tries.failed();
            (StatusCode::UNPROCESSABLE_ENTITY, IdentityError::WrongCode)
        }
        Err(wait @ IdentityError::TooMany(_)) => (StatusCode::TOO_MANY_REQUESTS, wait),
        Err(other) => return Err(other.into()),
    };
    let errors = vec![FieldError { field: "code".into(), message: super::sentence(&error) }];
    render_with(status, &page_of(&web, account, &form.next, errors)?)
}
