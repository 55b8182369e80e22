//! Signing in: authorization code with PKCE, refresh with optional rotation, revoke, identity.

use std::collections::HashMap;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use serde_json::{Value, json};
use url::Url;

use super::fixture::user_id;
use super::state::Code;
use super::{CLIENT_ID, CLIENT_SECRET, Consent, Sim};

const CODE_LIFE: SignedDuration = SignedDuration::from_mins(15);

type Params = HashMap<String, String>;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/services/oauth2/authorize", web::get().to(authorize))
        .route("/services/oauth2/authorize", web::post().to(decide))
        .route("/services/oauth2/token", web::post().to(token))
        .route("/services/oauth2/revoke", web::post().to(revoke))
        .route("/services/oauth2/userinfo", web::get().to(identity))
        .route("/id/{org}/{user}", web::get().to(identity));
}

fn text(params: &Params, name: &str) -> String {
    params.get(name).cloned().unwrap_or_default()
}

fn registered(redirect: &str) -> bool {
    let Ok(url) = Url::parse(redirect) else { return false };
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
    (loopback || url.scheme() == "https") && url.path().ends_with("/oauth/salesforce/callback")
}

/// Wrong clients and callbacks are told on a page of Salesforce, never by a redirect.
fn wrong_client(params: &Params) -> Option<HttpResponse> {
    let error = if text(params, "client_id") != CLIENT_ID {
        "error=invalid_client_id&error_description=client identifier invalid"
    } else if !registered(&text(params, "redirect_uri")) {
        "error=redirect_uri_mismatch&error_description=redirect_uri must match configuration"
    } else if text(params, "response_type") != "code" {
        "error=unsupported_response_type&error_description=response type not supported"
    } else {
        return None;
    };
    Some(HttpResponse::BadRequest().content_type("text/html").body(format!("<!doctype html><p>{error}</p>")))
}

async fn authorize(sim: web::Data<Sim>, web::Query(params): web::Query<Params>) -> HttpResponse {
    if let Some(page) = wrong_client(&params) {
        return page;
    }
    if sim.0.consent == Consent::Auto {
        return allow(&sim, &params);
    }
    let hidden: String = params.iter().map(|(name, value)| hidden(name, value)).collect();
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"en\"><meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\"><title>Allow access? \
         Simulated Salesforce</title><main><h1>Allow access?</h1><p>Simulated Salesforce org of the Vynos demo. Vynos asks \
         to: access the identity URL service, manage user data via APIs, perform requests at any time.</p>\
         <form method=\"post\">{hidden}<button name=\"decision\" value=\"allow\">Allow</button> \
         <button name=\"decision\" value=\"deny\">Deny</button></form></main></html>"
    ))
}

fn hidden(name: &str, value: &str) -> String {
    let escape = |t: &str| t.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value))
}

async fn decide(sim: web::Data<Sim>, web::Form(params): web::Form<Params>) -> HttpResponse {
    if let Some(page) = wrong_client(&params) {
        return page;
    }
    if text(&params, "decision") == "allow" {
        return allow(&sim, &params);
    }
    let denied = [("error", "access_denied"), ("error_description", "end-user denied authorization")];
    back(&params, &denied)
}

fn allow(sim: &Sim, params: &Params) -> HttpResponse {
    let code = format!("aPrx{}==", URL_SAFE_NO_PAD.encode(sim.0.random.bytes::<32>()));
    let entry = Code {
        redirect_uri: text(params, "redirect_uri"),
        challenge: params.get("code_challenge").cloned(),
        issued: sim.0.clock.now(),
    };
    sim.org().codes.insert(code.clone(), entry);
    back(params, &[("code", &code)])
}

fn back(params: &Params, add: &[(&str, &str)]) -> HttpResponse {
    let Ok(mut url) = Url::parse(&text(params, "redirect_uri")) else {
        return HttpResponse::BadRequest().finish();
    };
    url.query_pairs_mut().extend_pairs(add).append_pair("state", &text(params, "state"));
    HttpResponse::Found().insert_header((LOCATION, url.as_str())).finish()
}

fn refused(error: &str, description: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({ "error": error, "error_description": description }))
}

/// A new access token.
pub fn issue(sim: &Sim) -> String {
    let mut org = sim.org();
    let token =
        format!("{}!AQEAQ.{}", org.id, URL_SAFE_NO_PAD.encode(sim.0.random.bytes::<48>()).replace('-', "_"));
    org.access_tokens.insert(token.clone());
    token
}

async fn token(sim: web::Data<Sim>, web::Form(params): web::Form<Params>) -> HttpResponse {
    if text(&params, "client_id") != CLIENT_ID {
        return refused("invalid_client_id", "client identifier invalid");
    }
    if text(&params, "client_secret") != CLIENT_SECRET {
        return refused("invalid_client", "invalid client credentials");
    }
    match text(&params, "grant_type").as_str() {
        "authorization_code" => redeem(&sim, &params),
        "refresh_token" => refresh(&sim, &params),
        _ => refused("unsupported_grant_type", "grant type not supported"),
    }
}

fn redeem(sim: &Sim, params: &Params) -> HttpResponse {
    let Some(code) = sim.org().codes.remove(&text(params, "code")) else {
        return refused("invalid_grant", "invalid authorization code");
    };
    if sim.0.clock.now().duration_since(code.issued) > CODE_LIFE {
        return refused("invalid_grant", "expired authorization code");
    }
    if code.redirect_uri != text(params, "redirect_uri") {
        return refused("redirect_uri_mismatch", "redirect_uri must match configuration");
    }
    if let Some(challenge) = code.challenge {
        let hash = ring::digest::digest(&ring::digest::SHA256, text(params, "code_verifier").as_bytes());
        if URL_SAFE_NO_PAD.encode(hash) != challenge {
            return refused("invalid_grant", "invalid code verifier");
        }
    }
    let refresh = new_refresh(sim);
    granted(sim, Some(refresh))
}

pub fn new_refresh(sim: &Sim) -> String {
    let token = format!("5Aep861{}", URL_SAFE_NO_PAD.encode(sim.0.random.bytes::<48>()));
    sim.org().refresh_tokens.insert(token.clone());
    token
}

fn refresh(sim: &Sim, params: &Params) -> HttpResponse {
    let old = text(params, "refresh_token");
    let rotate = {
        let mut org = sim.org();
        if org.ended_refresh_tokens.contains(&old) {
            // Reuse of a rotated token means that somebody copied it: the whole family ends.
            org.refresh_tokens.clear();
            org.access_tokens.clear();
        }
        if !org.refresh_tokens.contains(&old) {
            return refused("invalid_grant", "expired access/refresh token");
        }
        let rotate = org.faults.rotate_refresh;
        if rotate {
            org.refresh_tokens.remove(&old);
            org.ended_refresh_tokens.insert(old);
        }
        rotate
    };
    let fresh = rotate.then(|| new_refresh(sim));
    granted(sim, fresh)
}

fn granted(sim: &Sim, refresh: Option<String>) -> HttpResponse {
    let access = issue(sim);
    let base = sim.0.base.as_str().trim_end_matches('/').to_owned();
    let id = format!("{base}/id/{}/{}", sim.org().id, user_id(4));
    let issued_at = sim.0.clock.now_ms().to_string();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
    let signature = STANDARD.encode(ring::hmac::sign(&key, format!("{id}{issued_at}").as_bytes()));
    let mut body = json!({
        "access_token": access, "signature": signature, "scope": "refresh_token api id", "instance_url": base,
        "id": id, "token_type": "Bearer", "issued_at": issued_at,
    });
    if let Some(refresh) = refresh {
        body["refresh_token"] = Value::String(refresh);
    }
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(body)
}

async fn revoke(sim: web::Data<Sim>, web::Form(params): web::Form<Params>) -> HttpResponse {
    let token = text(&params, "token");
    let mut org = sim.org();
    if org.refresh_tokens.remove(&token) {
        org.access_tokens.clear();
        return HttpResponse::Ok().content_type("text/html").finish();
    }
    if org.access_tokens.remove(&token) {
        return HttpResponse::Ok().content_type("text/html").finish();
    }
    refused("unsupported_token_type", "this token type is not supported")
}

async fn identity(sim: web::Data<Sim>, request: HttpRequest) -> HttpResponse {
    if !authorised(&sim, &request) {
        return HttpResponse::Forbidden().content_type("text/html").body("Bad_OAuth_Token");
    }
    let org = sim.org();
    let (name, username) = org.users[4];
    HttpResponse::Ok().json(json!({
        "sub": user_id(4), "user_id": user_id(4), "organization_id": org.id, "preferred_username": username,
        "username": username, "display_name": name, "name": name, "email": username, "active": true,
    }))
}

/// Whether the request carries a live access token.
pub fn authorised(sim: &Sim, request: &HttpRequest) -> bool {
    let header = request.headers().get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let token = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("OAuth ")).unwrap_or_default();
    sim.org().access_tokens.contains(token)
}
