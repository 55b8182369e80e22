//! Proving a passkey: to sign in with it alone, as the second step after a password, to confirm. Whatever is wrong with the answer, the words, status and count are the
//! same.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::code::waiting;
use super::confirm::renew;
use super::passkeys::{Finish, asker, go_on};
use super::security::tell;
use super::sign_in::{note_device, safe_next, with_cookie};
use crate::identity::accounts::{ACCOUNTS, AccountState};
use crate::identity::ceremonies::Asker;
use crate::identity::control::Note;
use crate::identity::passkeys::PasskeyError;
use crate::identity::{Control, SessionToken};
use crate::ids::AccountId;
use crate::mail::FactorChange;
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError};
use crate::web::access::origin;
use crate::web::form::OpenForm;
use crate::web::{Me, PostForm, Problem, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/sign-in/passkey/begin", web::post().to(begin))
        .route("/sign-in/passkey/finish", web::post().to(finish))
        .route("/sign-in/code/passkey/begin", web::post().to(begin_second_step))
        .route("/sign-in/code/passkey/finish", web::post().to(finish_second_step))
        .route("/account/confirm/passkey/begin", web::post().to(begin_confirming))
        .route("/account/confirm/passkey/finish", web::post().to(finish_confirming));
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

/// The sign-in that waits behind the request's cookie, and who may answer for it.
fn second_step(web: &Web, request: &HttpRequest) -> Result<(SessionToken, AccountId, Asker), Problem> {
    let (token, account) = waiting(web, request).ok_or(PasskeyError::Ended)?;
    let asker = Asker::holder(&web.control, "passkey of sign-in", token.expose());
    Ok((token, account, asker))
}

async fn begin_second_step(
    web: web::Data<Web>,
    request: HttpRequest,
    _: OpenForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    web.throttle.check(&tries(&web, &request))?;
    let (_, account, asker) = second_step(&web, &request)?;
    let allowed = web.control.passkeys_of(account)?;
    Ok(HttpResponse::Ok().json(web.ceremonies.begin_proving(asker, &allowed)?))
}

async fn finish_second_step(
    web: web::Data<Web>,
    request: HttpRequest,
    OpenForm(form): OpenForm<Finish>,
) -> Result<HttpResponse, Problem> {
    let (waits, account, asker) = second_step(&web, &request)?;
    prove(&web, &request, asker, &form, Some(account)).await?;
    let (state, from) = (web.clone(), origin(&request, &web));
    let token = web::block(move || state.control.complete_second_factor(&waits, &from)).await??;
    note_device(&web, &token, origin(&request, &web)).await?;
    Ok(with_cookie(go_on(&safe_next(&form.next)), &web, &token))
}

async fn begin_confirming(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    web.throttle.check(&tries(&web, &request))?;
    let allowed = web.control.passkeys_of(me.account())?;
    Ok(HttpResponse::Ok().json(web.ceremonies.begin_proving(asker(&me)?, &allowed)?))
}

async fn finish_confirming(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    PostForm(form): PostForm<Finish>,
) -> Result<HttpResponse, Problem> {
    prove(&web, &request, asker(&me)?, &form, Some(me.account())).await?;
    renew(&web, &request, &me, go_on(&safe_next(&form.next))).await
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
