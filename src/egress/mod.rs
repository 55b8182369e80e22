//! The gate that every outbound byte passes: one HTTP client, one dial for mail, one allow-list, one
//! ledger. `gate` sends, `dial` opens the connection to the mail server, `address` says which machine addresses may be reached, `policy` which hosts.

mod address;
mod dial;
mod gate;
mod policy;

pub use dial::Dialled;
pub use gate::{Gate, Request, Response};
pub use policy::{HostPort, Policy};

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, WorkspaceId};

/// What a call is for: a column of the data-flow page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A mail to the configured mail server.
    Mail,
    /// A question to the configured model endpoint.
    Model,
    /// Calls to an org's API.
    Salesforce,
    /// Signing in at Salesforce, refreshing and revoking tokens.
    SalesforceLogin,
    /// Discovery, keys and tokens of the single sign-on provider.
    Sso,
}

impl Purpose {
    pub const ALL: [Self; 5] = [Self::Mail, Self::Model, Self::Salesforce, Self::SalesforceLogin, Self::Sso];

    /// As people read it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Mail => "Mail",
            Self::Model => "Answers and drafts",
            Self::Salesforce => "Sync, validate, deploy",
            Self::SalesforceLogin => "Signing in at Salesforce",
            Self::Sso => "Single sign-on",
        }
    }

    /// What such a call carries.
    pub const fn carries(self) -> &'static str {
        match self {
            Self::Mail => "Address, subject, text",
            Self::Model => "Messages, and the metadata and passages an answer quotes",
            Self::Salesforce => "Queries, approved changes",
            Self::SalesforceLogin => "Sign-in codes and tokens of the org",
            Self::Sso => "Sign-in codes",
        }
    }

    /// As kept and exported.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Model => "model",
            Self::Salesforce => "salesforce",
            Self::SalesforceLogin => "salesforce_login",
            Self::Sso => "sso",
        }
    }
}

/// On whose behalf a call leaves: goes into the ledger with it.
#[derive(Clone, Debug)]
pub struct Cause {
    pub purpose: Purpose,
    pub workspace: Option<WorkspaceId>,
    /// The person who asked; `None` for a schedule.
    pub account: Option<AccountId>,
    /// What asked, as a short reference without contents: `sync 01j…`.
    pub why: String,
}

/// One outbound call as it goes into the ledger: sizes, never contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub at: Timestamp,
    pub purpose: Purpose,
    pub workspace: Option<WorkspaceId>,
    pub account: Option<AccountId>,
    pub why: String,
    pub host: String,
    pub method: String,
    /// HTTP status or the last SMTP reply code; `None` when no answer came.
    pub status: Option<u16>,
    /// Why the gate refused the call, before any look-up or socket.
    pub refused: Option<String>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub millis: u64,
}

/// Where finished calls are written: once a call, after its body ended or was dropped.
pub type Ledger = Arc<dyn Fn(Line) + Send + Sync>;

/// Why a call brought nothing back. Texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("{host} is not allowed: {reason}. Nothing was sent")]
    Refused { host: String, reason: String },
    #[error("the connection to {host} broke off in the middle of an answer; try again")]
    Reset { host: String },
    #[error("{host} did not go on answering in time; try again")]
    TimedOut { host: String },
    #[error("the certificate of {host} is not trusted by this machine: {why}")]
    Tls { host: String, why: String },
    #[error("{host} sent more than the {limit} bytes that are read")]
    TooLarge { host: String, limit: usize },
    #[error("{host} can't be reached: {why}. Check the address, the network and the firewall")]
    Unreachable { host: String, why: String },
}
