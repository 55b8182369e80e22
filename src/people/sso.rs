//! Signing in through the provider: the way there and back, proving once that an account of the same address is one's
//! own, linking and unlinking. The way begins only on a page of this site and ends only in the browser that began it.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::sign_in::{go_on, safe_next, with_cookie};
use super::tries::Tries;
use crate::identity::control::Note;
use crate::identity::sso::{Arrived, Callback, Link, Sso, SsoError};
use crate::identity::{IdentityError, Proved, SignedIn};
use crate::seal::Secret;
use crate::store::audit::Action;
use crate::web::access::{origin, session_token};
use crate::web::form::OpenForm;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Blank, Confirmed, PostForm, Problem, Visitor, Web, page};
use crate::wire::oidc::OidcError;

/// Where linking begins and ends.
const PROFILE: &str = "/account/profile";

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/sign-in/sso", web::get().to(go))
        .route("/sign-in/sso/callback", web::get().to(back))
        .route("/sign-in/sso/prove", web::get().to(ask))
        .route("/sign-in/sso/prove", web::post().to(prove))
        .route("/account/sso/link", web::get().to(link))
        .route("/account/sso/unlink", web::post().to(unlink));
}

/// The button above the form of a sign-in page.
pub struct Button {
    pub label: String,
    /// Only named accounts sign in otherwise.
    pub only: bool,
}

impl Button {
    /// `None` while no provider is configured.
    pub fn of(sso: &Sso) -> Result<Option<Self>, Problem> {
        Ok(sso.kept()?.map(|kept| Self { label: kept.label, only: kept.only }))
    }
}

/// What `people/sso_link.html` shows on the profile.
pub struct Linked {
    pub label: String,
    pub links: Vec<Link>,
    /// There is a password left to sign in with.
    pub may_unlink: bool,
}

impl Linked {
    /// `None` while no provider is configured and the account has no link.
    pub fn of(web: &Web, sso: &Sso, me: &SignedIn) -> Result<Option<Self>, Problem> {
        let links = web.control.sso_links(me.account())?;
        let may_unlink = me.person().password.is_some() && web.control.may_skip_sso(me.account())?;
        let label = sso.kept()?.map(|kept| kept.label);
        Ok(match label {
            None if links.is_empty() => None,
            label => Some(Self { label: label.unwrap_or_default(), links, may_unlink }),
        })
    }
}

/// Whether the browser says that another site sent it here. Browsers that say nothing are believed: what begins here
/// ends in the same browser, as the person who signs in at the provider.
fn from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|v| v.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

async fn go(
    web: web::Data<Web>,
    sso: web::Data<Sso>,
    request: HttpRequest,
    visitor: Visitor,
    query: web::Query<Next>,
) -> Result<HttpResponse, Problem> {
    let next = safe_next(&query.next);
    if visitor.me.is_some() {
        return Ok(see_other(&next));
    }
    if from_elsewhere(request.headers()) {
        return Ok(see_other("/sign-in"));
    }
    let browser = sso.new_browser();
    match sso.depart(&browser, &visitor.origin.address, next, None).await {
        Ok(url) => Ok(with_cookie(see_other(url.as_str()), &web, &browser)),
        Err(error) => failed(&web, &sso, error),
    }
}

async fn link(
    web: web::Data<Web>,
    sso: web::Data<Sso>,
    request: HttpRequest,
    me: Confirmed,
) -> Result<HttpResponse, Problem> {
    let (Some(session), false) = (session_token(&request, &web), from_elsewhere(request.headers())) else {
        return Ok(see_other(PROFILE));
    };
    let address = origin(&request, &web).address;
    match sso.depart(&session, &address, PROFILE.into(), Some(me.account())).await {
        Ok(url) => Ok(see_other(url.as_str())),
        Err(error) => failed(&web, &sso, error),
    }
}

async fn back(
    web: web::Data<Web>,
    sso: web::Data<Sso>,
    request: HttpRequest,
    visitor: Visitor,
    web::Query(callback): web::Query<Callback>,
) -> Result<HttpResponse, Problem> {
    let Some(browser) = session_token(&request, &web) else {
        return failed(&web, &sso, SsoError::NotBegun);
    };
    let signed_in = visitor.me.map(|me| me.account());
    match sso.arrive(&browser, &visitor.origin.address, signed_in, callback).await {
        Ok(arrived) => enter(&web, &request, arrived).await,
        Err(error) => failed(&web, &sso, error),
    }
}

/// Answers to whoever was taken in.
async fn enter(
    web: &web::Data<Web>,
    request: &HttpRequest,
    arrived: Arrived,
) -> Result<HttpResponse, Problem> {
    match arrived {
        Arrived::Prove => Ok(see_other("/sign-in/sso/prove")),
        Arrived::Linked { next } => Ok(see_other(&next)),
        Arrived::Account { account, complete, next } => {
            let (state, from) = (web.clone(), origin(request, web));
            let (here, proved) = (from.clone(), Proved::SingleSignOn { second_factor: complete });
            let step = web::block(move || state.control.begin_sign_in(account, from, proved)).await??;
            go_on(web, step, here, &next).await
        }
    }
}

#[derive(Template)]
#[template(path = "people/sso_prove.html")]
struct ProvePage {
    shell: Blank,
    email: String,
    errors: Vec<FieldError>,
}

async fn ask(
    web: web::Data<Web>,
    sso: web::Data<Sso>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let email = session_token(&request, &web).map(|browser| sso.unproven(&browser));
    match email.transpose()?.flatten() {
        Some(email) => page::render(&ProvePage {
            shell: Blank::new(&web, "Link your account"),
            email,
            errors: Vec::new(),
        }),
        None => failed(&web, &sso, SsoError::NotBegun),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProveForm {
    password: String,
}

async fn prove(
    web: web::Data<Web>,
    sso: web::Data<Sso>,
    request: HttpRequest,
    OpenForm(form): OpenForm<ProveForm>,
) -> Result<HttpResponse, Problem> {
    let Some(browser) = session_token(&request, &web) else {
        return failed(&web, &sso, SsoError::NotBegun);
    };
    let Some(email) = sso.unproven(&browser)? else {
        return failed(&web, &sso, SsoError::NotBegun);
    };
    // Counts with the tries of the sign-in form, so that this is no second door to guess at.
    let tries = Tries::of_password(&web, &email, &origin(&request, &web))?;
    let proven = match tries.check() {
        Ok(()) => sso.prove(&browser, Secret::new(form.password)).await,
        Err(wait) => Err(wait.into()),
    };
    let (status, error) = match proven {
        Ok(arrived) => {
            tries.passed();
            return enter(&web, &request, arrived).await;
        }
        Err(SsoError::Identity(IdentityError::WrongCredentials)) => {
            tries.failed();
            (StatusCode::UNPROCESSABLE_ENTITY, "The password is not right.".to_owned())
        }
        Err(SsoError::Identity(wait @ IdentityError::TooMany(_))) => {
            (StatusCode::TOO_MANY_REQUESTS, sentence(&wait))
        }
        Err(error) => return failed(&web, &sso, error),
    };
    let errors = vec![FieldError { field: "password".into(), message: error }];
    render_with(status, &ProvePage { shell: Blank::new(&web, "Link your account"), email, errors })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn unlink(web: web::Data<Web>, me: Confirmed, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    let (control, account) = (web.control.clone(), me.account());
    let note = Note::new(me.actor(), Action::SsoUnlinked, account);
    let unlinked = web.control.change(note, move |tx| control.unlink_sso(tx, account)).await;
    match unlinked {
        Ok(()) => Ok(see_other(PROFILE)),
        Err(IdentityError::Invalid(why)) => Err(Problem::Conflict(why)),
        Err(error) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "people/sso_failed.html")]
struct FailedPage {
    shell: Blank,
    title: &'static str,
    message: String,
    /// Whether it can be tried again at once.
    again: bool,
    button: Option<Button>,
}

/// Says what failed, and what is left: another try, or the password where it counts.
fn failed(web: &Web, sso: &Sso, error: SsoError) -> Result<HttpResponse, Problem> {
    let (status, title) = match &error {
        SsoError::Identity(IdentityError::Store(_)) | SsoError::Seal(_) => {
            return Err(Problem::Broken(error.to_string()));
        }
        SsoError::NotConfigured => return Ok(see_other("/sign-in")),
        SsoError::Oidc(OidcError::Egress(_) | OidcError::NotAProvider(_)) => {
            (StatusCode::BAD_GATEWAY, "Single sign-on can’t be reached")
        }
        SsoError::Oidc(_) => (StatusCode::UNAUTHORIZED, "This sign-in does not count"),
        SsoError::NotBegun => (StatusCode::BAD_REQUEST, "Begin again"),
        SsoError::Denied(_) | SsoError::Identity(_) | SsoError::Refused(_) => {
            (StatusCode::FORBIDDEN, "Single sign-on did not go through")
        }
    };
    if let SsoError::Oidc(error) = &error {
        tracing::warn!(%error, "single sign-on failed");
    }
    let (again, button) = (!matches!(error, SsoError::Refused(_)), Button::of(sso)?);
    let shell = Blank::new(web, title);
    render_with(status, &FailedPage { shell, title, message: sentence(&error), again, button })
}

/// With a capital and a full stop.
fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_sentences() {
        assert_eq!(sentence(&SsoError::Denied("no".into())), "The provider did not sign you in: no.");
        assert_eq!(sentence(&SsoError::Refused("Ask.")), "Ask.");
    }
}
