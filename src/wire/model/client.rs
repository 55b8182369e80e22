//! The client: one endpoint, its streams, its test button.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::answer::Outcome;
use super::error::{Fault, ModelError, looks_like};
use super::request::{Ask, Message, Profile};
use super::retry;
use super::sse::Decoder;
use super::stream::{Accumulator, Event, StreamError};
use crate::clock::Random;
use crate::egress::{Cause, Gate, Request, Response};
use crate::seal::Secret;

/// The version that the vendor's own server is asked for.
pub const VERSION_ANTHROPIC: &str = "2026-10-21";
/// The version that other servers document.
pub const VERSION_OTHERS: &str = "2023-06-01";

const SILENCE: Duration = Duration::from_secs(90);
const LONGEST_ANSWER: Duration = Duration::from_mins(10);
const LARGEST_SMALL_ANSWER: usize = 4 * 1024 * 1024;
const LARGEST_ERROR: usize = 64 * 1024;

/// How the key is shown to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    Bearer,
    None,
    XApiKey,
}

/// A model endpoint as the operator entered it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub name: String,
    /// Without `/v1`; may carry a path and a slash at the end.
    pub base_url: Url,
    pub auth: Auth,
    pub key: Option<Secret>,
    pub version: String,
    pub profile: Profile,
    pub model: String,
}

impl Endpoint {
    fn url(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        let base = url.path().trim_end_matches('/').trim_end_matches("/v1").to_owned();
        url.set_path(&format!("{base}/v1/{path}"));
        url.set_query(None);
        url
    }

    fn headers(&self, accept: &'static str) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let version = HeaderValue::from_str(&self.version);
        headers.insert("anthropic-version", version.unwrap_or(HeaderValue::from_static(VERSION_OTHERS)));
        let Some(key) = &self.key else { return Ok(headers) };
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| Fault::KeyRejected)?;
            value.set_sensitive(true);
            Ok::<_, Fault>(value)
        };
        match self.auth {
            Auth::Bearer => {
                headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", key.expose()))?);
            }
            Auth::None => {}
            Auth::XApiKey => {
                headers.insert("x-api-key", secret(key.expose())?);
            }
        }
        Ok(headers)
    }
}

/// A model that the endpoint offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    pub id: String,
    pub display_name: String,
    /// The largest prompt in tokens, where the server says it.
    pub max_input_tokens: Option<u64>,
}

/// What the test button found.
#[derive(Clone, Debug)]
pub struct Tested {
    /// What the endpoint offers; empty when it keeps no list.
    pub models: Vec<ModelInfo>,
    /// The model's own words.
    pub said: String,
    pub took: Duration,
}

/// Asks one endpoint. Cheap to clone.
#[derive(Clone)]
pub struct ModelClient {
    gate: Gate,
    endpoint: Arc<Endpoint>,
    random: Random,
}

impl ModelClient {
    pub fn new(gate: Gate, endpoint: Endpoint) -> Self {
        Self { gate, endpoint: Arc::new(endpoint), random: Random::system() }
    }

    /// Asks and streams the answer. Nothing is sent before the first [`AnswerStream::next`]; dropping the
    /// stream ends the call.
    pub fn stream(&self, cause: &Cause, ask: &Ask) -> AnswerStream {
        let body = ask.body(self.endpoint.profile).map_err(Fault::from);
        AnswerStream {
            client: self.clone(),
            cause: cause.clone(),
            model: ask.model.clone(),
            state: match body {
                Ok(body) => State::Ready(Bytes::from(body)),
                Err(fault) => State::Failed(Some(fault.with(None))),
            },
            deadline: None,
            calls: 0,
            decoder: Decoder::default(),
            accumulator: Accumulator::default(),
            lines: Vec::new(),
            events: VecDeque::new(),
            started: false,
            request_id: None,
        }
    }

    /// The setup page's test: lists the models, then has the model say a few words. Really calls.
    pub async fn test(&self, cause: &Cause) -> Result<Tested, ModelError> {
        let began = Instant::now();
        let models = match self.models(cause).await {
            Ok(models) => models,
            // Servers without a list are fine; the question decides.
            Err(ModelError {
                fault: Fault::NotAModel(_) | Fault::Rejected(_) | Fault::Upstream(_) | Fault::UnknownModel(_),
                ..
            }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let ask = Ask::new(&self.endpoint.model, 16, vec![Message::User("Say hello in three words.".into())]);
        let mut stream = self.stream(cause, &ask);
        while let Some(event) = stream.next().await {
            event?;
        }
        match stream.finish() {
            Outcome::Complete(message) => Ok(Tested { models, said: message.text(), took: began.elapsed() }),
            Outcome::Partial(message) => Err(Fault::Broken(StreamError::Truncated).with(message.request_id)),
        }
    }

    /// The models on offer, first page.
    pub async fn models(&self, cause: &Cause) -> Result<Vec<ModelInfo>, ModelError> {
        let mut url = self.endpoint.url("models");
        url.set_query(Some("limit=1000"));
        let body = self.small(cause, Method::GET, url, Bytes::new()).await?;
        let Some(data) = body.get("data").and_then(Value::as_array) else {
            return Err(Fault::NotAModel("JSON of another kind".into()).with(None));
        };
        Ok(data
            .iter()
            .filter_map(|m| {
                let id = m.get("id")?.as_str()?.to_owned();
                let name = m.get("display_name").and_then(Value::as_str).unwrap_or(&id).to_owned();
                Some(ModelInfo {
                    display_name: name,
                    max_input_tokens: m.get("max_input_tokens").and_then(Value::as_u64),
                    id,
                })
            })
            .collect())
    }

    /// Tokens of the prompt as the server counts them; our estimate where it doesn't.
    pub async fn count_tokens(&self, cause: &Cause, ask: &Ask) -> Result<u64, ModelError> {
        let body = ask.count_body(self.endpoint.profile).map_err(|e| Fault::from(e).with(None))?;
        if self.endpoint.profile == Profile::Minimal {
            return Ok(ask.estimated_tokens(Profile::Minimal));
        }
        let url = self.endpoint.url("messages/count_tokens");
        let answer = self.small(cause, Method::POST, url, Bytes::from(body)).await?;
        let counted = answer.get("input_tokens").and_then(Value::as_u64);
        Ok(counted.unwrap_or_else(|| ask.estimated_tokens(self.endpoint.profile)))
    }

    /// A call with a short JSON answer, made once.
    async fn small(&self, cause: &Cause, method: Method, url: Url, body: Bytes) -> Result<Value, ModelError> {
        let headers = self.endpoint.headers("application/json").map_err(|f| f.with(None))?;
        let request = Request { headers, body, idle: Duration::from_secs(30), ..Request::new(method, url) };
        let sent = self.gate.send(cause, request).await;
        let response = sent.map_err(|e| Fault::from_egress(e).with(None))?;
        let request_id = request_id(&response.headers);
        if response.status != 200 {
            return Err(self.refusal(response, &self.endpoint.model).await);
        }
        let body = response.bytes(LARGEST_SMALL_ANSWER).await;
        let body = body.map_err(|e| Fault::from_egress(e).with(request_id.clone()))?;
        serde_json::from_slice(&body).map_err(|_| Fault::NotAModel(looks_like(&body)).with(request_id))
    }

    /// Reads an answer that is no success.
    async fn refusal(&self, response: Response, model: &str) -> ModelError {
        let (status, id) = (response.status, request_id(&response.headers));
        let asked = retry::asked_wait(&response.headers, response.sent_at());
        let body = response.bytes(LARGEST_ERROR).await.unwrap_or_default();
        let key = self.endpoint.key.as_ref().map(Secret::expose);
        Fault::from_answer(status, &body, model, key, asked).with(id)
    }
}

/// An answer on its way. Ask [`AnswerStream::next`] until `None`, then [`AnswerStream::finish`].
pub struct AnswerStream {
    client: ModelClient,
    cause: Cause,
    model: String,
    state: State,
    deadline: Option<Instant>,
    calls: u32,
    decoder: Decoder,
    accumulator: Accumulator,
    lines: Vec<String>,
    events: VecDeque<Event>,
    started: bool,
    request_id: Option<String>,
}

enum State {
    Done,
    Failed(Option<ModelError>),
    Ready(Bytes),
    /// The request is kept for another call until something of the answer has come.
    Reading(Option<Bytes>, Box<Response>),
}

impl AnswerStream {
    /// The next event; after an error or the end, `None`.
    pub async fn next(&mut self) -> Option<Result<Event, ModelError>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(Ok(event));
            }
            self.state = match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return None,
                State::Failed(error) => return error.map(Err),
                // Its own allocation, so that the long wait for the answer does not hold the room a call needs.
                State::Ready(body) => Box::pin(self.call(body)).await,
                State::Reading(body, response) => self.read(body, response).await,
            };
        }
    }

    /// What came: complete only when the model said why it stopped.
    pub fn finish(self) -> Outcome {
        self.accumulator.finish(self.request_id)
    }

    async fn call(&mut self, body: Bytes) -> State {
        self.calls += 1;
        self.deadline.get_or_insert_with(|| Instant::now() + LONGEST_ANSWER);
        let endpoint = &self.client.endpoint;
        let headers = match endpoint.headers("text/event-stream") {
            Ok(headers) => headers,
            Err(fault) => return State::Failed(Some(fault.with(None))),
        };
        let url = endpoint.url("messages");
        let request =
            Request { headers, body: body.clone(), idle: SILENCE, ..Request::new(Method::POST, url) };
        let response = match self.client.gate.send(&self.cause, request).await {
            Ok(response) => response,
            Err(error) => {
                let fault = Fault::from_egress(error);
                let again = matches!(fault, Fault::Unreachable(_));
                return self.again_or(body, again, None, fault.with(None)).await;
            }
        };
        self.request_id = request_id(&response.headers);
        if response.status != 200 {
            let again = retry::retryable(response.status, &response.headers);
            let asked = retry::asked_wait(&response.headers, response.sent_at());
            let error = self.client.refusal(response, &self.model).await;
            let again = again && !matches!(error.fault, Fault::Budget);
            return self.again_or(body, again, asked, error).await;
        }
        let kind = response.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let id = self.request_id.clone();
            let start = response.bytes(LARGEST_ERROR).await.unwrap_or_default();
            return State::Failed(Some(Fault::NotAModel(looks_like(&start)).with(id)));
        }
        State::Reading(Some(body), Box::new(response))
    }

    async fn read(&mut self, mut body: Option<Bytes>, mut response: Box<Response>) -> State {
        let deadline = self.deadline.unwrap_or_else(Instant::now);
        let chunk = match tokio::time::timeout_at(deadline, response.chunk()).await {
            Err(_) => return self.failed(StreamError::TooMuch("minutes")),
            Ok(Err(_) | Ok(None)) if self.accumulator.is_complete() => return State::Done,
            Ok(Err(_) | Ok(None)) => {
                let error = Fault::Broken(StreamError::Truncated).with(self.request_id.clone());
                return self.read_again_or(body, error).await;
            }
            Ok(Ok(Some(chunk))) => chunk,
        };
        if self.decoder.feed(&chunk, &mut self.lines).is_err() {
            return self.failed(StreamError::TooMuch("bytes in one event"));
        }
        let mut events = Vec::new();
        for line in std::mem::take(&mut self.lines) {
            let fed = self.accumulator.feed(&line, &mut events);
            self.queue(&mut events);
            match fed {
                Ok(()) => {}
                Err(error) => {
                    let upstream = matches!(error, StreamError::Upstream { .. });
                    if let StreamError::Upstream { request_id: Some(id), .. } = &error {
                        self.request_id = Some(id.clone());
                    }
                    let error = Fault::from_stream(error).with(self.request_id.clone());
                    let body = body.filter(|_| upstream && !matches!(error.fault, Fault::Budget));
                    return self.read_again_or(body, error).await;
                }
            }
        }
        if self.accumulator.has_content() {
            body = None;
        }
        State::Reading(body, response)
    }

    /// Calls again as long as nothing of the answer was shown.
    async fn read_again_or(&mut self, body: Option<Bytes>, error: ModelError) -> State {
        match body.filter(|_| !self.accumulator.has_content()) {
            Some(body) => self.again_or(body, true, None, error).await,
            None => State::Failed(Some(error)),
        }
    }

    /// A repeated call starts a second message; the first is the one that was announced.
    fn queue(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            if matches!(event, Event::Started { .. }) {
                if self.started {
                    continue;
                }
                self.started = true;
            }
            self.events.push_back(event);
        }
    }

    fn failed(&self, error: StreamError) -> State {
        State::Failed(Some(Fault::Broken(error).with(self.request_id.clone())))
    }

    async fn again_or(
        &mut self,
        body: Bytes,
        again: bool,
        asked: Option<Duration>,
        error: ModelError,
    ) -> State {
        let wait = if again { retry::wait(self.calls, asked, &self.client.random) } else { None };
        let Some(wait) = wait else { return State::Failed(Some(error)) };
        tokio::time::sleep(wait).await;
        self.decoder = Decoder::default();
        self.accumulator = Accumulator::default();
        State::Ready(body)
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("request-id").or_else(|| headers.get("x-request-id"))?.to_str().ok()?;
    Some(id.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base: &str, auth: Auth) -> Endpoint {
        Endpoint {
            name: "Demo".into(),
            base_url: Url::parse(base).unwrap(),
            auth,
            key: Some(Secret::new("sk-canary".into())),
            version: VERSION_OTHERS.into(),
            profile: Profile::Minimal,
            model: "m".into(),
        }
    }

    #[test]
    fn addresses_are_joined_whatever_people_type() {
        for base in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"] {
            assert_eq!(endpoint(base, Auth::None).url("messages").as_str(), "http://h:1/v1/messages");
        }
        let gateway = endpoint("https://gw/x/anthropic/", Auth::None);
        assert_eq!(gateway.url("models").as_str(), "https://gw/x/anthropic/v1/models");
    }

    #[test]
    fn the_key_goes_into_one_header_and_no_debug_output() {
        for (auth, name) in
            [(Auth::Bearer, Some("authorization")), (Auth::XApiKey, Some("x-api-key")), (Auth::None, None)]
        {
            let headers = endpoint("http://h", auth).headers("application/json").unwrap();
            let carrying: Vec<&str> = headers
                .iter()
                .filter(|(_, v)| v.to_str().is_ok_and(|v| v.contains("canary")))
                .map(|(n, _)| n.as_str())
                .collect();
            assert_eq!(carrying, name.into_iter().collect::<Vec<_>>());
            assert!(!format!("{headers:?} {:?}", endpoint("http://h", auth)).contains("canary"));
        }
    }
}
