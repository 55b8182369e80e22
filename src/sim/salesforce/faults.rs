//! `POST /_sim/faults`: makes the simulator misbehave from outside, for tests in other languages and for
//! training. It listens on loopback only and takes JSON only, which no page of another origin can send unasked.

use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::Sim;
use super::state::Drip;

const PATH: &str = "/_sim/faults";

pub fn routes(config: &mut web::ServiceConfig) {
    config.route(PATH, web::post().to(change));
}

#[derive(Deserialize)]
struct FailNext {
    count: u32,
    status: u16,
}

/// What is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The next answers of the API have this status.
    fail_next: Option<FailNext>,
    remaining_calls: Option<u64>,
    rotate_refresh: Option<bool>,
    slow_retrieve: Option<u32>,
    retrieve_files: Option<usize>,
    slow_deploy: Option<u32>,
    /// The next answers break off in the middle.
    cut_next: Option<u32>,
    /// Answers come a few bytes at a time.
    drip: Option<Drip>,
    /// Ends every access token.
    #[serde(default)]
    expire_tokens: bool,
    /// Ends every token.
    #[serde(default)]
    revoke: bool,
    /// Begins with a well-behaved org.
    #[serde(default)]
    reset: bool,
}

async fn change(sim: web::Data<Sim>, request: HttpRequest, wanted: web::Json<Wanted>) -> HttpResponse {
    if !request.peer_addr().is_some_and(|peer| peer.ip().is_loopback()) {
        return HttpResponse::Forbidden().finish();
    }
    let mut org = sim.org();
    if wanted.reset {
        org.faults = super::Faults::default();
    }
    let faults = &mut org.faults;
    if let Some(FailNext { count, status }) = wanted.fail_next {
        faults.fail_next = Some((count, status));
    }
    faults.remaining_calls = wanted.remaining_calls.or(faults.remaining_calls);
    faults.rotate_refresh = wanted.rotate_refresh.unwrap_or(faults.rotate_refresh);
    faults.slow_retrieve = wanted.slow_retrieve.unwrap_or(faults.slow_retrieve);
    faults.retrieve_files = wanted.retrieve_files.or(faults.retrieve_files);
    faults.slow_deploy = wanted.slow_deploy.unwrap_or(faults.slow_deploy);
    faults.cut_next = wanted.cut_next.unwrap_or(faults.cut_next);
    faults.drip = wanted.drip.or(faults.drip);
    if wanted.expire_tokens || wanted.revoke {
        org.access_tokens.clear();
    }
    if wanted.revoke {
        org.refresh_tokens.clear();
    }
    HttpResponse::Ok().json(
        json!({ "calls": org.calls, "live_tokens": org.access_tokens.len() + org.refresh_tokens.len() }),
    )
}

/// Breaks or slows an answer that is ready.
pub async fn disturb(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let sim = request.app_data::<web::Data<Sim>>().cloned();
    let is_control = request.path() == PATH;
    let response = next.call(request).await?.map_into_boxed_body();
    let Some(sim) = sim.filter(|_| !is_control) else { return Ok(response) };
    let (cut, drip) = {
        let mut org = sim.org();
        let cut = org.faults.cut_next > 0;
        org.faults.cut_next = org.faults.cut_next.saturating_sub(1);
        (cut, org.faults.drip)
    };
    if !cut && drip.is_none() || response.response().body().size() == BodySize::None {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let body = to_bytes(body).await.unwrap_or_default();
    let mut again = HttpResponse::build(head.status());
    for (name, value) in head.headers() {
        again.append_header((name.clone(), value.clone()));
    }
    let answer = again.streaming(pieces(body, cut, drip));
    Ok(ServiceResponse::new(request, answer))
}

/// The body in pieces; a broken one ends in an error after its half.
fn pieces(
    body: Bytes,
    cut: bool,
    drip: Option<Drip>,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    let end = if cut { body.len() / 2 } else { body.len() };
    let step = drip.map_or(body.len(), |d| d.bytes as usize).max(1);
    futures_util::stream::unfold(Some(0), move |at| {
        let body = body.clone();
        async move {
            let at = at?;
            if at >= end {
                return cut.then(|| (Err(std::io::Error::other("cut")), None));
            }
            if let Some(drip) = drip {
                tokio::time::sleep(Duration::from_millis(drip.millis)).await;
            }
            let next = (at + step).min(end);
            Some((Ok(body.slice(at..next)), Some(next)))
        }
    })
}
