//! The mail client: SMTP over TLS or STARTTLS through the gate. `client` speaks, `message` puts a mail
//! together, `stream` is TLS over the gate's connection.

mod client;
mod message;
mod stream;

pub use client::{MailClient, valid_ca};
pub use message::{Mail, address};

use serde::{Deserialize, Serialize};

use crate::egress::{EgressError, HostPort};
use crate::seal::Secret;

/// How the connection is secured. Nothing is ever said in clear but the way into STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    StartTls,
    Tls,
}

/// A mail server and how to sign in there.
#[derive(Clone, Debug)]
pub struct Server {
    pub at: HostPort,
    pub security: Security,
    /// User name and password; `None` for a server that wants none.
    pub login: Option<(String, Secret)>,
    /// PEM certificates trusted besides the machine's own: a private CA.
    pub ca: Option<String>,
}

/// What the server was asked when it refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Connection,
    Contents,
    Login,
    Recipient,
    Sender,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Connection => "the connection",
            Self::Contents => "the mail",
            Self::Login => "the sign-in",
            Self::Recipient => "the recipient",
            Self::Sender => "the sender",
        }
    }
}

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("{host} broke the conversation off: {why}. Check port and security")]
    Broken { host: String, why: String },
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error("{host} offers no sign-in with a name and a password; leave both empty or choose another port")]
    NoLogin { host: String },
    #[error("{host} does not offer STARTTLS; choose TLS, or another port. No password was sent")]
    NoStartTls { host: String },
    #[error("{host} refused {}: “{code} {said}”", step.name())]
    Refused { host: String, step: Step, code: u16, said: String },
    #[error("{host} did not end the conversation within 30 seconds. Check port and security")]
    TimedOut { host: String },
    #[error("the mail could not be put together: {0}")]
    Unfit(String),
}
