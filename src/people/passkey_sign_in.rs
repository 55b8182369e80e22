//! Signing in with a passkey alone. Whatever is wrong with the answer, the words, status and count are the
//! same.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::passkeys::{Finish, go_on};
use super::security::tell;
use super::sign_in::{note_device, safe_next, with_cookie};
use crate::identity::Control;
use crate::identity::accounts::{ACCOUNTS, AccountState};
use crate::identity::ceremonies::Asker;
use crate::identity::control::Note;
use crate::identity::passkeys::PasskeyError;
use crate::ids::AccountId;
use crate::mail::FactorChange;
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError};
use crate::web::access::origin;
use crate::web::form::OpenForm;
use crate::web::{Problem, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/sign-in/passkey/begin", web::post().to(begin))
        .route("/sign-in/passkey/finish", web::post().to(finish));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn begin(
    web: web::Data<Web>,
    request: HttpRequest,
    _: OpenForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    web.throttle.check(&tries(&web, &request))?;
    Ok(HttpResponse::Ok().json(web.ceremonies.begin_proving(Asker::Stranger, &[])?))
}

/// Failed proofs of an address.
fn tries(web: &Web, request: &HttpRequest) -> String {
    format!("passkey {}", origin(request, web).address)
}

async fn finish(
    web: web::Data<Web>,
    request: HttpRequest,
    OpenForm(form): OpenForm<Finish>,
) -> Result<HttpResponse, Problem> {
    let account = prove(&web, &request, Asker::Stranger, &form, None).await?;
    let (state, from) = (web.clone(), origin(&request, &web));
    let token = web::block(move || state.control.start_session(account, from)).await??;
    note_device(&web, &token, origin(&request, &web)).await?;
    Ok(with_cookie(go_on(&safe_next(&form.next)), &web, &token))
}

/// Checks a proof and that its account may sign in; `expected` is the account when it is known. A copied passkey is
/// told to its owner and to nobody else.
pub(super) async fn prove(
    web: &web::Data<Web>,
    request: &HttpRequest,
    asker: Asker,
    form: &Finish,
    expected: Option<AccountId>,
) -> Result<AccountId, Problem> {
    let tries = tries(web, request);
    web.throttle.check(&tries)?;
    let (state, ceremony, credential) = (web.clone(), form.ceremony.clone(), form.credential()?);
    let proved = web::block(move || {
        let control = &state.control;
        let proved = state.ceremonies.finish_proving(control, &asker, &ceremony, &credential, expected);
        if let Err(PasskeyError::Copied { account, passkey }) = proved {
            control.change_now(Note::new(Actor::Visitor, Action::PasskeyCopyRefused, passkey), |tx| {
                tell(tx, control, account, FactorChange::PasskeyCopied)
            })?;
        }
        proved.and_then(
            |account| if may_sign_in(control, account)? { Ok(account) } else { Err(PasskeyError::Refused) },
        )
    })
    .await?;
    match &proved {
        Ok(_) => web.throttle.passed(&tries),
        Err(PasskeyError::Ended | PasskeyError::Store(_)) => {}
        Err(_) => web.throttle.failed(&tries),
    }
    Ok(proved?)
}

/// Not suspended, and not bound to single sign-on.
fn may_sign_in(control: &Control, account: AccountId) -> Result<bool, StoreError> {
    let person = control.read()?.get(&ACCOUNTS, &account)?;
    Ok(person.is_some_and(|person| person.state == AccountState::Active) && control.may_skip_sso(account)?)
}
