//! Sign-in and sign-out. The same answer, status and work for known and unknown addresses.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::device::device;
use super::sso::Button;
use super::tries::Tries;
use crate::identity::sessions::Origin;
use crate::identity::sso::Sso;
use crate::identity::{IdentityError, SessionToken, SignInStep};
use crate::mail::Letter;
use crate::notifications::{self, Kind, Notice};
use crate::seal::Secret;
use crate::store::StoreError;
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
    /// Whether passkeys work at this address.
    passkeys: bool,
    sso: Option<Button>,
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    pub next: String,
    /// The sign-in that waited for its second step has ended.
    #[serde(default)]
    pub ended: bool,
    /// A new password was set a moment ago.
    #[serde(default)]
    pub changed: bool,
}

/// Where to go after sign-in: a path of this site and nothing else.
pub(super) fn safe_next(next: &str) -> String {
    let plain = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if plain { next.to_owned() } else { "/".to_owned() }
}

/// Until setup has ended the form lives under `/setup/`, because nothing else answers.
fn action(web: &Web) -> &'static str {
    if web.settings().set_up { "/sign-in" } else { "/setup/sign-in" }
}

/// Whether passkeys work here: not in setup, and not at an address without a name.
fn offers_passkeys(web: &Web) -> bool {
    web.settings().set_up && web.ceremonies.available()
}

async fn show(
    web: web::Data<Web>,
    sso: web::Data<Sso>,
    visitor: Visitor,
    query: web::Query<Next>,
) -> Result<HttpResponse, Problem> {
    if visitor.me.is_some() {
        return Ok(see_other(&safe_next(&query.next)));
    }
    let ended = "That sign-in took too long or had too many wrong codes. Sign in again.";
    let ended = query.ended.then(|| FieldError { field: "email".into(), message: ended.into() });
    page::render(&SignInPage {
        shell: Blank::new(&web, "Sign in"),
        errors: ended.into_iter().collect(),
        email: String::new(),
        next: safe_next(&query.next),
        changed: query.changed,
        action: action(&web),
        version: page::VERSION,
        passkeys: offers_passkeys(&web),
        sso: Button::of(&sso)?,
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
    sso: web::Data<Sso>,
    request: HttpRequest,
    OpenForm(form): OpenForm<SignInForm>,
) -> Result<HttpResponse, Problem> {
    let from = origin(&request, &web);
    let here = from.clone();
    let tries = Tries::of_password(&web, &form.email, &from)?;
    let (state, email, secret) = (web.clone(), form.email.clone(), Secret::new(form.password));
    let result = match tries.check() {
        Err(wait) => Err(wait),
        Ok(()) => web::block(move || state.control.sign_in(&email, &secret, from)).await?,
    };
    match result {
        Ok(step) => {
            tries.passed();
            go_on(&web, step, here, &form.next).await
        }
        Err(IdentityError::Store(error)) => Err(error.into()),
        Err(error) => {
            if matches!(error, IdentityError::WrongCredentials) {
                tries.failed();
            }
            let status = match error {
                IdentityError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            let errors = vec![FieldError { field: "email".into(), message: super::sentence(&error) }];
            let next = safe_next(&form.next);
            let shell = Blank::new(&web, "Sign in");
            let (action, version, sso) = (action(&web), page::VERSION, Button::of(&sso)?);
            let (passkeys, changed, email) = (offers_passkeys(&web), false, form.email);
            let page = SignInPage { shell, errors, email, next, changed, action, version, passkeys, sso };
            render_with(status, &page)
        }
    }
}

/// Answers to whoever proved an account: with a session, or with the second step.
pub(super) async fn go_on(
    web: &web::Data<Web>,
    step: SignInStep,
    from: Origin,
    next: &str,
) -> Result<HttpResponse, Problem> {
    match step {
        SignInStep::Done(token) => arrived(web, &token, from, next).await,
        SignInStep::SecondFactor(token) => {
            let next: String = url::form_urlencoded::byte_serialize(safe_next(next).as_bytes()).collect();
            Ok(with_cookie(see_other(&format!("/sign-in/code?next={next}")), web, &token))
        }
    }
}

/// Hands out a full session, and tells the person of a browser that they never used before.
pub(super) async fn arrived(
    web: &web::Data<Web>,
    token: &SessionToken,
    from: Origin,
    next: &str,
) -> Result<HttpResponse, Problem> {
    note_device(web, token, from).await?;
    Ok(with_cookie(see_other(&safe_next(next)), web, token))
}

/// Remembers the browser behind a new session; the person hears of a kind they never used before.
pub(super) async fn note_device(
    web: &web::Data<Web>,
    token: &SessionToken,
    from: Origin,
) -> Result<(), Problem> {
    let (control, account) = (web.control.clone(), web.control.session(token)?.account());
    let browser = device(&from.user_agent);
    web.control
        .acts(move |tx| {
            if !control.note_device(tx, account, &browser)? {
                return Ok::<_, StoreError>(());
            }
            let title = format!("New sign-in with {browser}");
            let (when, address) = (control.clock().now(), from.address);
            let letter = Some(Letter::NewSignIn { when, address, browser });
            let notice = Notice { letter, ..Notice::new(Kind::NewSignIn, title, super::security::HERE) };
            notifications::tell(tx, &control, account, notice).map(|_| ())
        })
        .await?;
    Ok(())
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
