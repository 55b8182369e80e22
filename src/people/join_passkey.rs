//! Joining as a new account that signs in with a passkey and has no password.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::device::system;
use super::join::{accept, arrived, offer};
use super::passkeys::{Finish, go_on};
use super::sign_in::{note_device, with_cookie};
use crate::identity::accounts::{NewAccount, display_name};
use crate::identity::ceremonies::Asker;
use crate::identity::control::Note;
use crate::identity::invitations::Offer;
use crate::identity::{Control, IdentityError};
use crate::store::audit::{Action, Actor};
use crate::web::form::OpenForm;
use crate::web::{Problem, Visitor, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/invite/{token}/passkey/begin", web::post().to(begin))
        .route("/invite/{token}/passkey/finish", web::post().to(finish));
}

/// The ceremonies of a link belong to whoever holds it.
fn asker(control: &Control, token: &str) -> Asker {
    Asker::holder(control, "passkey of invitation", token)
}

/// What the link offers to somebody who has no account yet.
fn open_offer(web: &Web, visitor: &Visitor, token: &str) -> Result<Offer, Problem> {
    if visitor.me.is_some() {
        return Err(Problem::Conflict("Somebody is signed in here. Load the page again.".into()));
    }
    let offer = offer(web, &visitor.origin, token)?.ok_or(IdentityError::NoSuchInvitation)?;
    if web.control.account_by_address(&offer.invitation.email)?.is_some() {
        return Err(Problem::field("", "There is an account with this address. Sign in to join with it."));
    }
    Ok(offer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginForm {
    name: String,
}

async fn begin(
    web: web::Data<Web>,
    visitor: Visitor,
    token: web::Path<String>,
    OpenForm(form): OpenForm<BeginForm>,
) -> Result<HttpResponse, Problem> {
    let (offer, name) = (open_offer(&web, &visitor, &token)?, display_name(&form.name)?);
    let names = (offer.invitation.email.as_str(), name.as_str());
    let handle = web.control.new_passkey_handle();
    let begun = web.ceremonies.begin_adding(asker(&web.control, &token), handle, names, &[])?;
    Ok(HttpResponse::Ok().json(begun))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FinishForm {
    name: String,
    ceremony: String,
    credential: String,
}

async fn finish(
    web: web::Data<Web>,
    visitor: Visitor,
    token: web::Path<String>,
    OpenForm(form): OpenForm<FinishForm>,
) -> Result<HttpResponse, Problem> {
    let token = token.into_inner();
    let (offer, name) = (open_offer(&web, &visitor, &token)?, display_name(&form.name)?);
    let answer = Finish { ceremony: form.ceremony, credential: form.credential, next: String::new() };
    let asker = asker(&web.control, &token);
    let new = web.ceremonies.finish_adding(&asker, &answer.ceremony, &answer.credential()?)?;
    let passkey = format!("Passkey{}", system(&visitor.origin.user_agent));
    let person = NewAccount { email: offer.invitation.email, name, password_hash: None, operator: false };
    let control = web.control.clone();
    let (account, workspace) = web
        .control
        .acts(move |tx| {
            let account = control.insert_account(tx, person)?;
            let id = control.insert_passkey(tx, account, &passkey, new)?;
            control.note(tx, Note::new(Actor::Account { id: account }, Action::PasskeyAdded, id))?;
            accept(&control, tx, &token, account).map(|workspace| (account, workspace))
        })
        .await?;
    let slug = arrived(&web, workspace)?;
    let state = web.clone();
    let from = visitor.origin.clone();
    let session = web::block(move || state.control.start_session(account, from)).await??;
    note_device(&web, &session, visitor.origin).await?;
    Ok(with_cookie(go_on(&format!("/w/{slug}/")), &web, &session))
}
