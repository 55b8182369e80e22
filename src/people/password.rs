//! Changing the password, and how hard a new one is to guess while it is typed.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::security;
use super::sign_in::with_cookie;
use crate::identity::accounts::ACCOUNTS;
use crate::identity::control::Note;
use crate::identity::{IdentityError, Via, password};
use crate::mail::Letter;
use crate::notifications::{self, Kind, Notice};
use crate::seal::Secret;
use crate::store::Read as _;
use crate::store::audit::Action;
use crate::web::access::{origin, session_token};
use crate::web::form::OpenForm;
use crate::web::page::see_other;
use crate::web::{Me, PostForm, Problem, Visitor, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/security/password", web::post().to(change))
        .route("/password-strength", web::post().to(strength));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordForm {
    #[serde(default)]
    current: String,
    new: String,
}

/// Asks for the old password, ends the other sessions and tells the person.
async fn change(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    PostForm(form): PostForm<PasswordForm>,
) -> Result<HttpResponse, Problem> {
    let tries = format!("confirm {} {}", me.account(), origin(&request, &web).network());
    web.throttle.check(&tries)?;
    // Whoever has no password yet gives another proof: a passkey, or signing in once more.
    if me.person().password.is_none() && !web.control.is_confirmed(&me) {
        return Err(Problem::Confirm(security::HERE.to_owned()));
    }
    let (person, old, new) = (me.person().clone(), Secret::new(form.current), Secret::new(form.new));
    let checked = web::block(move || -> Result<String, (&'static str, IdentityError)> {
        if person.password.is_some() && !password::verify(&old, person.password.as_deref()) {
            let wrong = "This is not your current password. Nothing was changed.";
            return Err(("current", IdentityError::Invalid(wrong.into())));
        }
        let own = [person.email.as_str(), &person.name];
        let strong = password::check_strength(&new, &own).and_then(|()| password::hash(&new));
        strong.map_err(|error| ("new", error))
    })
    .await?;
    let hash = match checked {
        Ok(hash) => hash,
        Err((field, error)) => {
            if field == "current" {
                web.throttle.failed(&tries);
            }
            return security::again(
                &web,
                &me,
                field,
                &super::sentence(&error),
                StatusCode::UNPROCESSABLE_ENTITY,
            );
        }
    };
    web.throttle.passed(&tries);
    let (Some(token), Via::Session { id: here, .. }) = (session_token(&request, &web), me.via().clone())
    else {
        return Err(Problem::SignIn);
    };
    let (control, account) = (web.control.clone(), me.account());
    let note = Note::new(me.actor(), Action::PasswordChanged, account);
    let renewed = web
        .control
        .change(note, move |tx| {
            let mut row = tx.get(&ACCOUNTS, &account)?.ok_or(IdentityError::NotSignedIn)?;
            row.password = Some(hash);
            tx.put(&ACCOUNTS, &account, &row)?;
            control.end_sessions(tx, account, Some(here))?;
            let letter = Letter::PasswordChanged { at: control.clock().now() };
            let notice = Notice::new(Kind::SecurityChanged, "Your password was changed", security::HERE);
            notifications::tell(tx, &control, account, Notice { letter: Some(letter), ..notice })?;
            control.renew_session(tx, &token)
        })
        .await?;
    Ok(with_cookie(see_other("/account/security?saved=password"), &web, &renewed))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    password: String,
    /// The account's name and address, as far as the form has them.
    #[serde(default)]
    own: String,
}

/// Estimates a minute for one network: somebody who types fast asks twice a second.
const ESTIMATES: u32 = 240;

/// For the meter beside the field; nothing of it is kept.
async fn strength(
    web: web::Data<Web>,
    visitor: Visitor,
    OpenForm(form): OpenForm<Typed>,
) -> Result<HttpResponse, Problem> {
    web.throttle.ask(&format!("strength {}", visitor.origin.network()), ESTIMATES)?;
    if form.password.len() > 1_024 || form.own.len() > 400 {
        return Err(Problem::TooLarge("A password has at most 1,024 bytes.".into()));
    }
    let (guess, refused) = web::block(move || {
        let secret = Secret::new(form.password);
        let own: Vec<&str> = form.own.split_whitespace().collect();
        let refused = password::check_strength(&secret, &own).err().map(|error| super::sentence(&error));
        (password::guess(&secret, &own), refused)
    })
    .await?;
    let words = ["Very weak", "Weak", "Fair", "Good", "Strong"];
    let word = words.get(usize::from(guess.score)).copied().unwrap_or_default();
    Ok(HttpResponse::Ok().json(json!({ "score": guess.score, "word": word, "refused": refused })))
}
