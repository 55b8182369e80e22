//! Salesforce: `oauth` signing in, `session` an org's API with one refresh in flight, `rest` typed endpoints,
//! `soap` the Metadata API, `deploy` its deploys, `zip` its archives. Formats: the REST, Tooling and Metadata
//! API developer guides.

pub mod deploy;
pub mod oauth;
pub mod rest;
pub mod session;
pub mod soap;
pub mod zip;

use crate::egress::EgressError;

/// The API version that is asked for; every org of the last years serves it.
pub const API_VERSION: &str = "66.0";

/// What Salesforce answered instead of what was wanted. Texts say what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SalesforceError {
    /// It was sent and may have happened.
    #[error(
        "it was sent, but Salesforce's answer was lost ({0}). It may be running in the org: look at Deployment Status \
         in its Setup before you start it again"
    )]
    AnswerLost(String),
    /// Wrong client id, secret or callback in the External Client App.
    #[error(
        "Salesforce refused the client app: {0}. Check client id, secret and callback of the External Client App"
    )]
    Client(String),
    #[error("access was denied on Salesforce's page; nothing was connected")]
    Denied,
    #[error("the org has used up its API calls for today; nothing more is asked until tomorrow")]
    LimitReached,
    #[error("Salesforce sent something that can't be read: {0}")]
    Malformed(String),
    /// The refresh token no longer works.
    #[error("Salesforce signed us out of this org ({0}). Connect it again; everything synced so far is kept")]
    NeedsReauth(String),
    #[error("the connected user may not do this in the org: {0}")]
    NotPermitted(String),
    #[error("Salesforce refused the request: {0}")]
    Refused(String),
    /// More files than one retrieve may bring.
    #[error("Salesforce can't pack so many files at once; ask for fewer types")]
    TooManyFiles,
    #[error("Salesforce is not available at the moment ({0}); it is tried again")]
    Unavailable(String),
    #[error(transparent)]
    Outside(#[from] EgressError),
}

impl SalesforceError {
    /// Whether trying again later may help without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Outside(error) => !matches!(error, EgressError::Refused { .. } | EgressError::Tls { .. }),
            _ => false,
        }
    }
}
