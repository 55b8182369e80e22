//! Several reads in one call: `composite` and `composite/batch`. Other methods than GET are refused: nothing is
//! written through them here.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::Sim;
use super::rest::{Refused, count, counted, error, good, resource};
use super::state::Org;

/// Requests in one call, and queries among those of a composite.
const MOST: usize = 25;
const MOST_QUERIES: usize = 5;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/services/data/{version}/composite", web::post().to(composite))
        .route("/services/data/{version}/tooling/composite", web::post().to(composite))
        .route("/services/data/{version}/composite/batch", web::post().to(batch));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Composite {
    #[serde(default)]
    all_or_none: bool,
    composite_request: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    method: String,
    url: String,
    #[serde(default)]
    reference_id: String,
}

/// The whole series is one call.
async fn composite(sim: web::Data<Sim>, request: HttpRequest, wanted: web::Json<Composite>) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let parts = &wanted.composite_request;
    let queries = parts.iter().filter(|p| p.url.contains("/query")).count();
    if parts.len() > MOST || queries > MOST_QUERIES {
        let text = format!("At most {MOST} requests with at most {MOST_QUERIES} queries are allowed.");
        return error(400, "PROCESSING_HALTED", &text);
    }
    let mut org = sim.org();
    let mut halted = false;
    let mut answers = Vec::new();
    for part in parts {
        let answer = if halted {
            Err(Refused(400, "PROCESSING_HALTED", "The transaction was rolled back.".into()))
        } else {
            get(&mut org, sim.0.base.as_str(), &part.method, &part.url)
        };
        halted |= wanted.all_or_none && answer.is_err();
        let (status, body) = told(answer);
        answers.push(json!({
            "body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": part.reference_id,
        }));
    }
    good(&org, &json!({ "compositeResponse": answers }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    #[serde(default)]
    halt_on_error: bool,
    batch_requests: Vec<Part>,
}

/// Every part is a call of its own.
async fn batch(sim: web::Data<Sim>, request: HttpRequest, wanted: web::Json<Batch>) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    if wanted.batch_requests.len() > MOST {
        return error(400, "LIMIT_EXCEEDED", &format!("At most {MOST} requests are allowed."));
    }
    let mut org = sim.org();
    let mut failed = false;
    let mut answers = Vec::new();
    for (n, part) in wanted.batch_requests.iter().enumerate() {
        let answer = if failed && wanted.halt_on_error {
            Err(Refused(412, "BATCH_PROCESSING_HALTED", "Batch processing was halted.".into()))
        } else {
            // The first is counted with the call itself.
            let counted = if n > 0 { count(&mut org) } else { Ok(()) };
            let path = format!("/services/data/{}", part.url.trim_start_matches('/'));
            counted.and_then(|()| get(&mut org, sim.0.base.as_str(), &part.method, &path))
        };
        failed |= answer.is_err();
        let (status, body) = told(answer);
        answers.push(json!({ "statusCode": status, "result": body }));
    }
    good(&org, &json!({ "hasErrors": failed, "results": answers }))
}

fn get(org: &mut Org, base: &str, method: &str, url: &str) -> Result<Value, Refused> {
    if !method.eq_ignore_ascii_case("GET") {
        return Err(Refused(405, "METHOD_NOT_ALLOWED", format!("HTTP Method '{method}' not allowed.")));
    }
    let url = Url::parse(base).and_then(|b| b.join(url)).map_err(|_| Refused::not_found())?;
    let params: HashMap<String, String> = url.query_pairs().into_owned().collect();
    resource(org, base, url.path(), &params)
}

fn told(answer: Result<Value, Refused>) -> (u16, Value) {
    answer.map_or_else(|refused| (refused.0, refused.body()), |body| (200, body))
}
