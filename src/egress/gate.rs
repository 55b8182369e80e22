//! The gate: checks, sends, counts, writes the ledger line.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::{DATE, HeaderMap, HeaderValue};
use url::Url;

use super::address::{CheckedResolver, Reach};
use super::{Cause, EgressError, Ledger, Line, Policy, Purpose};
use crate::clock::Clock;

pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections go before a server ends them (many do after 5 s): a request that meets that end has no answer,
/// and whether it was carried out is not known.
const IDLE: Duration = Duration::from_secs(3);

/// The only way out. Cheap to clone.
#[derive(Clone)]
pub struct Gate(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) policy: RwLock<Policy>,
    public: reqwest::Client,
    intranet: reqwest::Client,
    ledger: Ledger,
    clock: Clock,
    /// How far our clock was before that of the last server that said its own.
    skew: Mutex<Option<SignedDuration>>,
}

/// A request to send. Its body is sized, never chunked: some gateways insist.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The longest silence before the answer and between two pieces of it.
    pub idle: Duration,
    /// PEM certificates of a private CA that this call trusts besides those of the machine.
    pub ca: Option<String>,
}

impl Request {
    /// A request without a body, idle at most 60 seconds.
    pub fn new(method: Method, url: Url) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, url, headers, body, idle: Duration::from_mins(1), ca: None }
    }
}

impl Gate {
    /// Every host that may be called now, with its port, and what for.
    pub fn allowed(&self) -> Vec<(String, Purpose)> {
        self.0.policy.read().unwrap_or_else(PoisonError::into_inner).hosts()
    }

    pub fn new(policy: Policy, clock: Clock, ledger: Ledger) -> Result<Self, EgressError> {
        let inner = Inner {
            policy: RwLock::new(policy),
            public: client(Reach::Public, None)?,
            intranet: client(Reach::Intranet, None)?,
            ledger,
            clock,
            skew: Mutex::default(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Changes what is allowed, after the operator changed it.
    pub fn change_policy(&self, change: impl FnOnce(&mut Policy)) {
        change(&mut self.0.policy.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The same gate under another policy: for a test of what is not yet allowed. Its calls go into the same
    /// ledger.
    pub fn beside(&self, policy: Policy) -> Self {
        Self(Arc::new(Inner {
            policy: RwLock::new(policy),
            public: self.0.public.clone(),
            intranet: self.0.intranet.clone(),
            ledger: self.0.ledger.clone(),
            clock: self.0.clock.clone(),
            skew: Mutex::default(),
        }))
    }

    /// How far our clock was before that of the last server that answered and said its own.
    pub fn skew(&self) -> Option<SignedDuration> {
        *self.0.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compare(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        if let Some(theirs) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            let ahead = self.0.clock.now().duration_since(theirs.timestamp());
            *self.0.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
    }

    /// Whether `url` would be let out, without calling it.
    pub fn allows(&self, url: &Url, purpose: super::Purpose) -> Result<(), EgressError> {
        self.0.policy.read().unwrap_or_else(PoisonError::into_inner).check(url, purpose).map(|_| ())
    }

    /// Sends one request. Follows no redirect: an answer of 3xx is an answer.
    pub async fn send(&self, cause: &Cause, request: Request) -> Result<Response, EgressError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let mut record = Record::new(self, cause, &host, request.method.as_str());
        let checked =
            self.0.policy.read().unwrap_or_else(PoisonError::into_inner).check(&request.url, cause.purpose);
        let reach = match checked {
            Ok(reach) => reach,
            Err(error) => return Err(record.refused(error)),
        };
        let client = match (&request.ca, reach) {
            (Some(ca), _) => client(reach, Some(ca))?,
            (None, Reach::Public) => self.0.public.clone(),
            (None, Reach::Intranet) => self.0.intranet.clone(),
        };
        record.line.sent_bytes = request.body.len() as u64;
        let idle = request.idle;
        let sending =
            client.request(request.method, request.url).headers(request.headers).body(request.body).send();
        let answer = match tokio::time::timeout(idle, sending).await {
            Err(_) => return Err(EgressError::TimedOut { host }),
            Ok(Err(error)) => return Err(failed(host, &error)),
            Ok(Ok(answer)) => answer,
        };
        record.line.status = Some(answer.status().as_u16());
        self.compare(answer.headers());
        let (status, headers) = (answer.status().as_u16(), owned(answer.headers()));
        Ok(Response { status, headers, body: answer.bytes_stream().boxed(), idle, record })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where an HTTP client is made")]
fn client(reach: Reach, ca: Option<&str>) -> Result<reqwest::Client, EgressError> {
    let tls = |e: reqwest::Error| EgressError::Tls { host: String::new(), why: e.to_string() };
    let trusted = match ca {
        Some(pem) => reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(tls)?,
        None => Vec::new(),
    };
    reqwest::Client::builder()
        .tls_certs_merge(trusted)
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(CheckedResolver(reach))
        .connect_timeout(CONNECT)
        .tcp_keepalive(Duration::from_mins(1))
        .pool_idle_timeout(IDLE)
        .no_proxy()
        .user_agent(concat!("vynos/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(tls)
}

/// A copy that lets go of the buffer which the head was read into: a streamed answer lasts for minutes.
fn owned(headers: &HeaderMap) -> HeaderMap {
    let copied = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
    headers.iter().filter_map(|(name, value)| Some((name.clone(), copied(value)?))).collect()
}

fn failed(host: String, error: &reqwest::Error) -> EgressError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    let mut last = error.to_string();
    while let Some(deeper) = cause {
        last = deeper.to_string();
        cause = deeper.source();
    }
    let text = last.to_lowercase();
    if text.contains("certificate") || text.contains("unknownissuer") {
        EgressError::Tls { host, why: last }
    } else if error.is_connect() {
        EgressError::Unreachable { host, why: last }
    } else if error.is_timeout() {
        EgressError::TimedOut { host }
    } else {
        EgressError::Reset { host }
    }
}

/// Writes its line when the call is over, however it ended.
pub(super) struct Record {
    gate: Gate,
    started: Instant,
    pub(super) line: Line,
}

impl Record {
    pub(super) fn new(gate: &Gate, cause: &Cause, host: &str, method: &str) -> Self {
        let line = Line {
            at: gate.0.clock.now(),
            purpose: cause.purpose,
            workspace: cause.workspace,
            account: cause.account,
            why: cause.why.clone(),
            host: host.to_owned(),
            method: method.to_owned(),
            status: None,
            refused: None,
            sent_bytes: 0,
            received_bytes: 0,
            millis: 0,
        };
        Self { gate: gate.clone(), started: Instant::now(), line }
    }

    /// Notes why the gate let nothing out.
    pub(super) fn refused(&mut self, error: EgressError) -> EgressError {
        if let EgressError::Refused { reason, .. } = &error {
            self.line.refused = Some(reason.clone());
        }
        error
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.line.millis = self.started.elapsed().as_millis() as u64;
        (self.gate.0.ledger)(self.line.clone());
    }
}

/// An answer, its body still to be read.
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    idle: Duration,
    record: Record,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({} from {})", self.status, self.record.line.host)
    }
}

impl Response {
    /// When the call left.
    pub fn sent_at(&self) -> Timestamp {
        self.record.line.at
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        let host = || self.record.line.host.clone();
        let chunk = match tokio::time::timeout(self.idle, self.body.next()).await {
            Err(_) => return Err(EgressError::TimedOut { host: host() }),
            Ok(Some(Err(_))) => return Err(EgressError::Reset { host: host() }),
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) => return Ok(None),
        };
        self.record.line.received_bytes += chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// The whole body, at most `limit` bytes of it.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, EgressError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(EgressError::TooLarge { host: self.record.line.host.clone(), limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
