//! Wraps every route: request id, host and origin checks, panics caught, security headers, errors drawn in
//! the form the client reads, one log line.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, web};
use askama::Template;
use futures_util::FutureExt as _;

use super::problem::{Said, Told};
use super::{Blank, Problem, Web, access, page};
use crate::clock::Random;
use crate::ids::{AccountId, RequestId, WorkspaceId};

/// Nothing inline, nothing from elsewhere, no frame.
pub const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
                       connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 8] = [
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("cache-control", "no-store"),
];

/// The middleware.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let state = request.app_data::<web::Data<Web>>().cloned();
    let Some(web) = state else {
        return Ok(request.into_response(HttpResponse::InternalServerError().finish()));
    };
    let id = RequestId::new(&web.clock, &Random::system());
    request.extensions_mut().insert(id);
    let method = request.method().clone();
    let mut answer = if let Some(problem) = refusal(&request, &web) {
        request.error_response(problem)
    } else if let Ok(answer) = AssertUnwindSafe(next.call(request)).catch_unwind().await {
        answer?.map_into_boxed_body()
    } else {
        // The request went down with the handler, so the page that `draw` makes can't be made.
        tracing::error!(request_id = %id, "a handler panicked");
        let mut broken = HttpResponse::InternalServerError()
            .content_type("application/problem+json")
            .body(r#"{"title":"Something broke here","status":500}"#);
        protect(broken.headers_mut(), web.secure());
        return Err(actix_web::error::InternalError::from_response("panic", broken).into());
    };
    let told = answer.response().extensions().get::<Told>().cloned();
    let told = told.or_else(|| plain_error(answer.status(), answer.headers()));
    if let Some(told) = &told {
        let drawn = draw(answer.request(), &web, told, id);
        let retry = answer.headers().get(header::RETRY_AFTER).cloned();
        answer = answer.into_response(drawn);
        if let Some(retry) = retry {
            answer.headers_mut().insert(header::RETRY_AFTER, retry);
        }
    }
    protect(answer.headers_mut(), web.secure());
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        answer.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    web.counts.count(answer.status().as_u16(), started.elapsed());
    keep_alive(&answer, &web).await;
    log(&answer, &method, id, started, told.and_then(|t| t.cause));
    Ok(answer)
}

/// Notes that the session or token was used, so that the one does not end for idleness and the other's owner sees it;
/// at most every few minutes.
async fn keep_alive(answer: &ServiceResponse<BoxBody>, web: &web::Data<Web>) {
    let Some(who) = access::known(answer.request()).filter(|who| web.control.wants_seen(who)) else { return };
    let token = access::session_token(answer.request(), web);
    let workspace = answer.request().extensions().get::<WorkspaceId>().copied();
    let state = web.clone();
    let noted = web::block(move || {
        let Some(token) = token else { return state.control.mark_used(&who) };
        state.control.mark_seen(&token)?;
        workspace.map_or(Ok(()), |workspace| state.control.mark_visit(who.account(), workspace))
    });
    if let Ok(Err(error)) = noted.await {
        // The request itself was answered; the worst is that its session ends early.
        tracing::warn!(%error, "the last use of a session or token could not be noted");
    }
}

/// Requests that are for another host, or that another site sends.
fn refusal(request: &ServiceRequest, web: &Web) -> Option<Problem> {
    if matches!(request.path(), "/healthz" | "/readyz" | "/metrics") {
        return None;
    }
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !host.eq_ignore_ascii_case(&authority(web)) {
        return Some(Problem::NotFound);
    }
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let value = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let foreign_origin =
        value("origin").is_some_and(|origin| origin != web.external.origin().ascii_serialization());
    let foreign_site = value("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    (foreign_origin || foreign_site).then_some(Problem::ForeignForm)
}

/// `host[:port]` as browsers send it.
fn authority(web: &Web) -> String {
    let host = web.external.host_str().unwrap_or_default();
    web.external.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Errors that the framework made itself: no route, wrong method, bad path, body over the limit.
fn plain_error(status: StatusCode, headers: &HeaderMap) -> Option<Told> {
    let html = headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"text/html"));
    if !status.is_client_error() && !status.is_server_error() || html {
        return None;
    }
    let problem = match status {
        StatusCode::BAD_REQUEST => Problem::field("", "The request can't be read."),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge("Send less at once.".into()),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_FOUND => Problem::NotFound,
        _ => Problem::Broken(format!("status {status}")),
    };
    Some(Told {
        said: Said { status: status.as_u16(), ..problem.said() },
        cause: None,
        sign_in: false,
        confirm: None,
    })
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    shell: Blank,
    said: &'a Said,
    request_id: String,
}

fn draw(request: &HttpRequest, web: &Web, told: &Told, id: RequestId) -> HttpResponse {
    let status = StatusCode::from_u16(told.said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let accepts = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let wants_page = !request.path().starts_with("/api/") && accepts.contains("text/html");
    if wants_page && told.sign_in && request.method() == Method::GET {
        let here = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let to: String = url::form_urlencoded::byte_serialize(here.as_bytes()).collect();
        return page::see_other(&format!("/sign-in?next={to}"));
    }
    if let Some(next) = told.confirm.as_deref().filter(|_| wants_page) {
        let to: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        return page::see_other(&format!("/account/confirm?next={to}"));
    }
    if wants_page {
        let shell = Blank::new(web, &told.said.title);
        let page = ProblemPage { shell, said: &told.said, request_id: id.to_string() };
        if let Ok(drawn) = page::render_with(status, &page) {
            return drawn;
        }
    }
    let mut body = serde_json::json!({
        "type": "about:blank",
        "title": told.said.title,
        "status": told.said.status,
        "detail": told.said.detail,
        "request_id": id,
    });
    if let Some(next) = &told.confirm {
        let to: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        body["confirm"] = serde_json::json!(format!("/account/confirm?next={to}"));
    }
    if !told.said.errors.is_empty() {
        body["errors"] = serde_json::json!(told.said.errors);
    }
    HttpResponse::build(status).content_type("application/problem+json").body(body.to_string())
}

/// Sets what an answer did not set itself.
fn protect(headers: &mut HeaderMap, secure: bool) {
    let hsts = secure.then_some(("strict-transport-security", "max-age=31536000"));
    for (name, value) in HEADERS.into_iter().chain(hsts) {
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

fn log(answer: &ServiceResponse, method: &Method, id: RequestId, started: Instant, cause: Option<String>) {
    let request = answer.request();
    let extensions = request.extensions();
    let account = extensions.get::<AccountId>().map(ToString::to_string).unwrap_or_default();
    let workspace = extensions.get::<WorkspaceId>().map(ToString::to_string).unwrap_or_default();
    let route = request.match_pattern().unwrap_or_else(|| "(no route)".into());
    let (status, millis) = (answer.status().as_u16(), started.elapsed().as_millis() as u64);
    let cause = cause.unwrap_or_default();
    if status >= 500 {
        tracing::error!(target: "request", request_id = %id, %method, route, status, millis, workspace, account, cause);
    } else {
        tracing::info!(target: "request", request_id = %id, %method, route, status, millis, workspace, account);
    }
}
