//! Signing in with a passkey alone. Whatever is wrong with the answer, the words, status and count are the
//! same.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::passkeys::{Finish, go_on};
use super::sign_in::{safe_next, with_cookie};
use crate::identity::accounts::{ACCOUNTS, AccountState};
use crate::identity::ceremonies::Asker;
use crate::identity::passkeys::PasskeyError;
use crate::store::Read as _;
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
    let tries = tries(&web, &request);
    web.throttle.check(&tries)?;
    let (state, from, credential) = (web.clone(), origin(&request, &web), form.credential()?);
    let ceremony = form.ceremony.clone();
    let signed_in = web::block(move || {
        let control = &state.control;
        let account =
            state.ceremonies.finish_proving(control, &Asker::Stranger, &ceremony, &credential, None)?;
        let person = control.read()?.get(&ACCOUNTS, &account)?;
        if person.is_none_or(|person| person.state != AccountState::Active) {
            return Err(PasskeyError::Refused.into());
        }
        Ok::<_, Problem>(control.start_session(account, from)?)
    })
    .await?;
    match signed_in {
        Ok(token) => {
            web.throttle.passed(&tries);
            Ok(with_cookie(go_on(&safe_next(&form.next)), &web, &token))
        }
        Err(problem) => {
            web.throttle.failed(&tries);
            Err(problem)
        }
    }
}
