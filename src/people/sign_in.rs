//! Sign-in and sign-out. The same answer, status and work for known and unknown addresses.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::identity::{Email, IdentityError, SessionToken};
use crate::seal::Secret;
use crate::web::access::{cookie_name, origin, session_token};
use crate::web::form::OpenForm;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Blank, Me, PostForm, Problem, Returning, Visitor, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/sign-in", web::get().to(show))
        .route("/sign-in", web::post().to(sign_in))
        .route("/setup/sign-in", web::get().to(show))
        .route("/setup/sign-in", web::post().to(sign_in))
        .route("/sign-out", web::post().to(sign_out));
}

#[derive(Template)]
#[template(path = "people/sign_in.html")]
struct SignInPage {
    shell: Blank,
    errors: Vec<FieldError>,
    email: String,
    next: String,
    changed: bool,
    action: &'static str,
    version: &'static str,
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
    /// A new password was set a moment ago.
    #[serde(default)]
    changed: bool,
}

/// Where to go after sign-in: a path of this site and nothing else.
fn safe_next(next: &str) -> String {
    let plain = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if plain { next.to_owned() } else { "/".to_owned() }
}

/// Until setup has ended the form lives under `/setup/`, because nothing else answers.
fn action(web: &Web) -> &'static str {
    if web.settings().set_up { "/sign-in" } else { "/setup/sign-in" }
}

async fn show(
    web: web::Data<Web>,
    visitor: Visitor,
    query: web::Query<Next>,
) -> Result<HttpResponse, Problem> {
    if visitor.me.is_some() {
        return Ok(see_other(&safe_next(&query.next)));
    }
    page::render(&SignInPage {
        shell: Blank::new(&web, "Sign in"),
        errors: Vec::new(),
        email: String::new(),
        next: safe_next(&query.next),
        changed: query.changed,
        action: action(&web),
        version: page::VERSION,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInForm {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

async fn sign_in(
    web: web::Data<Web>,
    request: HttpRequest,
    OpenForm(form): OpenForm<SignInForm>,
) -> Result<HttpResponse, Problem> {
    let from = origin(&request, &web);
    let keys = [format!("account {}", form.email.trim().to_lowercase()), format!("address {}", from.address)];
    let (state, email, secret) = (web.clone(), form.email.clone(), Secret::new(form.password));
    // An address counts with the account it tries, so that nobody locks another person out from elsewhere.
    let pair = format!("{} {}", keys[0], keys[1]);
    let waits = web.throttle.check(&pair).and_then(|()| web.throttle.check(&keys[1]));
    let result = match waits {
        Err(wait) => Err(wait),
        Ok(()) => web::block(move || state.control.sign_in(&email, &secret, from)).await?,
    };
    match result {
        Ok(token) => {
            web.throttle.passed(&pair);
            Ok(with_cookie(see_other(&safe_next(&form.next)), &web, &token))
        }
        Err(IdentityError::Store(error)) => Err(error.into()),
        Err(error) => {
            if matches!(error, IdentityError::WrongCredentials) {
                web.throttle.failed(&pair);
                if form.email.parse::<Email>().is_err() {
                    web.throttle.failed(&keys[1]);
                }
            }
            let status = match error {
                IdentityError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            let mut message = error.to_string();
            message[..1].make_ascii_uppercase();
            let errors = vec![FieldError { field: "email".into(), message: format!("{message}.") }];
            let next = safe_next(&form.next);
            let shell = Blank::new(&web, "Sign in");
            let (action, version) = (action(&web), page::VERSION);
            render_with(
                status,
                &SignInPage { shell, errors, email: form.email, next, changed: false, action, version },
            )
        }
    }
}

#[derive(Deserialize)]
struct Nothing {}

async fn sign_out(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Returning,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    signed_out(&web, &request, &me, see_other("/sign-in")).await
}

/// Ends the session of a request and takes its cookie back with `answer`.
pub(super) async fn signed_out(
    web: &web::Data<Web>,
    request: &HttpRequest,
    me: &Me,
    mut answer: HttpResponse,
) -> Result<HttpResponse, Problem> {
    if let Some(token) = session_token(request, web) {
        let (state, who) = (web.clone(), (**me).clone());
        web::block(move || state.control.sign_out(&token, &who)).await??;
    }
    let mut gone = cookie(web, String::new());
    gone.make_removal();
    add(&mut answer, &gone);
    Ok(answer)
}

fn cookie(web: &Web, value: String) -> Cookie<'static> {
    Cookie::build(cookie_name(web), value)
        .path("/")
        .http_only(true)
        .secure(web.secure())
        .same_site(SameSite::Lax)
        .finish()
}

/// Sets the session cookie on an answer.
pub fn with_cookie(mut answer: HttpResponse, web: &Web, token: &SessionToken) -> HttpResponse {
    add(&mut answer, &cookie(web, token.expose().to_owned()));
    answer
}

fn add(answer: &mut HttpResponse, cookie: &Cookie<'_>) {
    // Only fails for values that are no header text; ours are base64url.
    let _ = answer.add_cookie(cookie);
}
