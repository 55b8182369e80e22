//! The gate that every outbound byte passes: one HTTP client, one allow-list, one ledger.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use url::Url;

use crate::ids::{AccountId, WorkspaceId};

/// What a call is for: a column of the data-flow page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The operator's test of an address, in setup or settings.
    Check,
    Mail,
    /// A question to the configured model endpoint.
    Model,
    Salesforce,
}

/// On whose behalf a call leaves: goes into the ledger with it.
#[derive(Clone, Debug)]
pub struct Cause {
    pub purpose: Purpose,
    pub workspace: Option<WorkspaceId>,
    /// The person who asked; `None` for a schedule.
    pub account: Option<AccountId>,
    /// What asked, as a short reference without contents: `turn 01j…`, `sync 01j…`.
    pub why: String,
}

/// One outbound call as it goes into the ledger: sizes, never contents.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Line {
    pub at: Timestamp,
    pub purpose: Purpose,
    pub workspace: Option<WorkspaceId>,
    pub account: Option<AccountId>,
    pub why: String,
    pub host: String,
    pub method: String,
    /// HTTP status; `None` when no answer came or the call was refused here.
    pub status: Option<u16>,
    /// Set when the gate refused the call before any look-up or socket.
    pub refused: Option<String>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub millis: u64,
}

/// Where finished calls are written. Called once a call, after its body ended or was dropped.
pub type Ledger = Arc<dyn Fn(Line) + Send + Sync>;

/// Which hosts may be called. See docs/ARCHITECTURE.md, "Outside".
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Base URLs that the operator approved (model, webhook). May be private; plain http only to loopback
    /// unless `allow_plain_http`.
    pub approved: Vec<Url>,
    /// Salesforce origins outside the suffix list (the simulated org). Empty in production.
    pub extra_salesforce: Vec<Url>,
    pub allow_plain_http: bool,
    /// `http://host:port` of a forward proxy.
    pub proxy: Option<Url>,
    /// PEM certificates trusted besides the system's.
    pub ca_bundle_pem: Option<String>,
}

/// A request to send. `body` is sized, never chunked: some gateways insist.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: reqwest::Method,
    pub url: Url,
    pub headers: reqwest::header::HeaderMap,
    pub body: Bytes,
    /// The longest silence between two pieces of the answer.
    pub idle_timeout: std::time::Duration,
}
