//! Routes, keys, versions, models, counters.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::stream;
use serde_json::{Value, json};
use url::Url;

use super::check::{self, Refusal};
use super::reply::{Ending, Reply};
use super::{LABEL, MODEL, Options, SimError, SimulatedModel, directives, script};
use crate::clock::Random;
use crate::seal::{constant_time_eq, hex};

const LARGEST_BODY: usize = 32 * 1024 * 1024;
const MOST_PREFIXES: usize = 20_000;
/// The demo model, and real names so that client suites can keep theirs.
const MODELS: [&str; 4] = [MODEL, "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-4-5"];

pub struct State {
    options: Options,
    key: String,
    calls: AtomicU64,
    requests: AtomicU64,
    once: Mutex<HashMap<String, u32>>,
    prefixes: Mutex<HashMap<u64, u64>>,
    /// The last questions as they came, for tests that look at what left: kept only with directives.
    heard: Mutex<VecDeque<String>>,
}

/// Questions that are kept.
const HEARD: usize = 50;

impl State {
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn hear(&self, body: &Value) {
        if self.options.directives {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.truncate(HEARD);
            heard.push_front(body.to_string());
        }
    }
}

pub async fn start(options: Options) -> Result<SimulatedModel, SimError> {
    let port = options.port;
    let fail = |e| SimError::Listen(port, e);
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let url = Url::parse(&format!("http://{address}")).map_err(|e| fail(std::io::Error::other(e)))?;
    let key = format!("sk-demo-{}", hex(&Random::seeded(options.seed).bytes::<16>()));
    let state = Arc::new(State {
        options,
        key: key.clone(),
        calls: AtomicU64::new(0),
        requests: AtomicU64::new(0),
        once: Mutex::default(),
        prefixes: Mutex::default(),
        heard: Mutex::default(),
    });
    let data = web::Data::from(Arc::clone(&state));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(LARGEST_BODY))
            .service(web::resource("/v1/messages").to(messages))
            .service(web::resource("/v1/messages/count_tokens").to(count))
            .service(web::resource("/v1/models").to(models))
            .service(web::resource("/v1/models/{id}").to(model))
            .default_service(web::to(nothing))
    })
    .workers(2)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)
    .map_err(fail)?
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(SimulatedModel { url, key, server: handle, state })
}

async fn nothing(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    refuse(&state, &Refusal::new(404, "not_found_error", format!("Not found: {}", request.path())))
}

async fn messages(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let (body, version) = match admit(&request, &body, &state) {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(&state, &refusal),
    };
    state.calls.fetch_add(1, Ordering::Relaxed);
    state.hear(&body);
    if let Err(refusal) = known(&body).and_then(|()| check::request(&body, &version, true)) {
        return refuse(&state, &refusal);
    }
    let question = script::question(&body);
    let ordered = if state.options.directives { directives::read(&question) } else { None };
    if let Some(directives::Order::Refuse { refusal, once }) = &ordered {
        let seen = once.as_ref().is_some_and(|key| {
            let mut once = state.once.lock().unwrap_or_else(PoisonError::into_inner);
            let count = once.entry(key.clone()).or_default();
            *count += 1;
            *count > 1
        });
        if !seen {
            return refuse(&state, refusal);
        }
    }
    let mut reply = match ordered {
        Some(directives::Order::Answer(reply)) => reply,
        Some(directives::Order::Html) => {
            return HttpResponse::Ok().content_type("text/html").body("<!doctype html><title>Proxy</title>");
        }
        _ => script::answer(&body),
    };
    reply.finish(&body, state.usage(&body), fingerprint(&[&body]) ^ state.options.seed);
    if body["stream"] != true {
        let id = state.request_id();
        return HttpResponse::Ok().insert_header(("request-id", id)).json(reply.message());
    }
    stream(&state, reply)
}

/// Sends the events cut at awkward places: in the middle of lines and characters.
fn stream(state: &State, reply: Reply) -> HttpResponse {
    let pace = if reply.slow.is_zero() { state.options.pace } else { reply.slow };
    let bytes = reply.events().concat().into_bytes();
    let random = Random::seeded(fingerprint(&[&json!(bytes.len())]) ^ state.options.seed);
    let mut pieces: Vec<Result<web::Bytes, std::io::Error>> = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + random.below(180) as usize));
        pieces.push(Ok(web::Bytes::copy_from_slice(piece)));
        rest = after;
    }
    if reply.ending == Ending::Reset {
        pieces.push(Err(std::io::Error::other("ordered reset")));
    }
    let paced = stream::unfold(pieces.into_iter(), move |mut pieces| async move {
        let piece = pieces.next()?;
        // A reset needs what came before it to have left.
        let pause = if piece.is_err() { Duration::from_millis(30).max(pace) } else { pace };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Some((piece, pieces))
    });
    HttpResponse::Ok()
        .insert_header(("request-id", state.request_id()))
        .insert_header(("cache-control", "no-cache"))
        .content_type("text/event-stream; charset=utf-8")
        .streaming(paced)
}

async fn count(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let admitted = admit(&request, &body, &state);
    let counted = admitted.and_then(|(body, version)| {
        known(&body)?;
        check::request(&body, &version, false)?;
        Ok(tokens(&body["system"]) + tokens(&body["tools"]) + tokens(&body["messages"]))
    });
    match counted {
        Ok(n) => HttpResponse::Ok()
            .insert_header(("request-id", state.request_id()))
            .json(json!({ "input_tokens": n })),
        Err(refusal) => refuse(&state, &refusal),
    }
}

async fn models(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    if let Err(refusal) = signed_in(&request, &state) {
        return refuse(&state, &refusal);
    }
    let data: Vec<Value> = MODELS.iter().map(|id| describe(id)).collect();
    let list = json!({ "data": data, "has_more": false, "first_id": MODELS[0], "last_id": MODELS[MODELS.len() - 1] });
    HttpResponse::Ok().insert_header(("request-id", state.request_id())).json(list)
}

async fn model(request: HttpRequest, id: web::Path<String>, state: web::Data<State>) -> HttpResponse {
    match signed_in(&request, &state).and_then(|()| known(&json!({ "model": *id }))) {
        Ok(()) => HttpResponse::Ok().insert_header(("request-id", state.request_id())).json(describe(&id)),
        Err(refusal) => refuse(&state, &refusal),
    }
}

fn describe(id: &str) -> Value {
    let yes = json!({ "supported": true });
    json!({ "type": "model", "id": id, "display_name": LABEL, "created_at": "2026-11-01T00:00:00Z",
        "max_input_tokens": 200_000, "max_tokens": 64_000, "lifecycle": "active", "deprecated_at": null, "retires_at": null,
        "line": null, "capabilities": { "citations": yes, "structured_outputs": yes,
            "thinking": { "supported": true, "types": { "adaptive": yes, "enabled": { "supported": id == "claude-haiku-4-5" } } } } })
}

fn known(body: &Value) -> Result<(), Refusal> {
    match body["model"].as_str() {
        Some(id) if MODELS.contains(&id) => Ok(()),
        Some(id) => Err(Refusal::new(404, "not_found_error", format!("model: {id}"))),
        None => Err(Refusal::invalid("model: Field required")),
    }
}

fn signed_in(request: &HttpRequest, state: &State) -> Result<(), Refusal> {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let bearer = header("authorization").and_then(|v| v.strip_prefix("Bearer "));
    let right = |key: &str| constant_time_eq(key.as_bytes(), state.key.as_bytes());
    match (header("x-api-key"), bearer) {
        (Some(key), None) | (None, Some(key)) if right(key) => Ok(()),
        (Some(_), Some(_)) => {
            Err(Refusal::new(401, "authentication_error", "send x-api-key or authorization, not both".into()))
        }
        (None, None) => Err(Refusal::new(401, "authentication_error", "x-api-key header is required".into())),
        _ => Err(Refusal::new(401, "authentication_error", "invalid x-api-key".into())),
    }
}

/// Method, key, version and JSON.
fn admit(request: &HttpRequest, body: &[u8], state: &State) -> Result<(Value, String), Refusal> {
    signed_in(request, state)?;
    if request.method() != actix_web::http::Method::POST {
        return Err(Refusal::new(405, "invalid_request_error", "Method Not Allowed".into()));
    }
    let version = request.headers().get("anthropic-version").and_then(|v| v.to_str().ok());
    let version = match version {
        Some(version @ ("2023-06-01" | "2026-10-21")) => version.to_owned(),
        Some(other) => {
            return Err(Refusal::invalid(&format!("anthropic-version: {other} is not a valid version")));
        }
        None => return Err(Refusal::invalid("anthropic-version: header is required")),
    };
    let body = serde_json::from_slice(body)
        .map_err(|e| Refusal::invalid(&format!("The request body is not valid JSON: {e}")))?;
    Ok((body, version))
}

fn refuse(state: &State, refusal: &Refusal) -> HttpResponse {
    let id = state.request_id();
    let mut answer =
        HttpResponse::build(StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST));
    answer.insert_header(("request-id", id.clone()));
    for (name, value) in &refusal.headers {
        answer.insert_header((*name, value.clone()));
    }
    answer.json(json!({ "type": "error", "error": { "type": refusal.kind, "message": refusal.message }, "request_id": id }))
}

impl State {
    fn request_id(&self) -> String {
        let n = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("req_{}", hex(&Random::seeded(self.options.seed ^ (n << 20)).bytes::<12>()))
    }

    /// Counters: a prefix that was marked for caching and comes again is read from the cache.
    fn usage(&self, body: &Value) -> Value {
        let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let all = tokens(&body["system"]) + tokens(&body["tools"]) + tokens(&body["messages"]);
        let (mut read, mut stored) = (0, 0);
        if body.to_string().contains("\"cache_control\":{\"type\":\"ephemeral\"") {
            let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
            if prefixes.len() > MOST_PREFIXES {
                prefixes.clear();
            }
            let mut hash = fingerprint(&[&body["model"], &body["tools"], &body["system"]]);
            let mut so_far = tokens(&body["system"]) + tokens(&body["tools"]);
            for message in messages {
                hash = fingerprint(&[&json!(hash), message]);
                so_far += tokens(message);
                read = prefixes.get(&hash).copied().unwrap_or(read);
                prefixes.insert(hash, so_far.min(all));
            }
            stored = all - read.min(all);
        }
        json!({ "input_tokens": all - read - stored, "cache_creation_input_tokens": stored, "cache_read_input_tokens": read,
            "cache_creation": { "ephemeral_5m_input_tokens": stored, "ephemeral_1h_input_tokens": 0 },
            "output_tokens": 1, "server_tool_use": null, "service_tier": "standard" })
    }
}

/// Four bytes a token, rounded up.
pub fn tokens(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        value => (value.to_string().len() as u64).div_ceil(4),
    }
}

fn fingerprint(values: &[&Value]) -> u64 {
    let text: String = values.iter().map(std::string::ToString::to_string).collect();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
