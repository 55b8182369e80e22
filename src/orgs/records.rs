//! What is kept of orgs and of their components.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::DeployPolicy;
use crate::ids::{AccountId, JobId, OrgId, SessionId};
use crate::seal::Sealed;
use crate::store::{Read, StoreError, Table};

pub const ORGS: Table<OrgId, Org> = Table::new("orgs", 1);
/// Keyed hash of an OAuth state -> the connection that was begun with it.
pub const PENDING: Table<[u8; 32], Pending> = Table::new("org_pending", 1);
/// Components as last synced, without their source.
pub const COMPONENTS: Table<ComponentKey, Component> = Table::new("components", 1);
pub const SOURCES: Table<ComponentKey, String> = Table::new("component_sources", 1);
/// Every version that a sync saw, by number from 1.
pub const HISTORY: Table<(ComponentKey, u64), Version> = Table::new("component_history", 1);

/// Org, type and full name.
pub type ComponentKey = (OrgId, String, String);

/// A connected org.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Org {
    pub slug: String,
    pub name: String,
    pub kind: OrgKind,
    /// Salesforce's id of the org, 18 characters.
    pub salesforce_id: String,
    pub login: Url,
    pub instance: Url,
    pub client_id: String,
    pub client_secret: Option<Sealed>,
    pub access: Sealed,
    pub refresh: Option<Sealed>,
    /// Why Salesforce signed us out; `None` while the connection works.
    pub signed_out: Option<String>,
    pub connected: Timestamp,
    pub connected_by: Option<AccountId>,
    pub sync_job: Option<JobId>,
    pub last_sync: Option<SyncRun>,
    #[serde(default)]
    pub limits: BTreeMap<String, LimitReading>,
    /// Who may deploy, when an admin chose it.
    #[serde(default)]
    pub deploy_policy: Option<DeployPolicy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrgKind {
    Production,
    Sandbox,
}

impl OrgKind {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Production => "Production",
            Self::Sandbox => "Sandbox",
        }
    }
}

/// A finished sync.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SyncRun {
    pub at: Timestamp,
    pub api_calls: u64,
    pub components: u64,
    pub changed: u64,
    /// What could not be read, in Salesforce's words.
    pub messages: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitReading {
    pub max: u64,
    pub remaining: u64,
}

impl LimitReading {
    /// Whole percent used; 0 for a limit of nothing.
    pub fn used_percent(&self) -> u64 {
        self.max.saturating_sub(self.remaining) * 100 / self.max.max(1)
    }
}

/// A connection that waits for Salesforce's answer. Bound to the session that began it; used once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    pub session: SessionId,
    pub begun: Timestamp,
    pub name: String,
    pub login: Url,
    pub client_id: String,
    pub client_secret: Option<Sealed>,
    pub verifier: Sealed,
}

/// One piece of metadata, as last synced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Component {
    pub salesforce_id: String,
    pub label: Option<String>,
    pub namespace: Option<String>,
    /// Path in an mdapi package; empty for what only describe knows.
    pub file: String,
    /// SHA-256 of the source, hex.
    pub hash: String,
    pub bytes: u64,
    pub lines: u64,
    pub modified: Option<Timestamp>,
    pub modified_by: String,
    pub synced: Timestamp,
    /// Fields, for objects.
    #[serde(default)]
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub label: String,
    pub kind: String,
    pub custom: bool,
    pub required: bool,
    pub references: Vec<String>,
    pub description: Option<String>,
}

/// One version of a component between syncs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    pub seen: Timestamp,
    pub change: Change,
    pub modified: Option<Timestamp>,
    pub modified_by: String,
    /// What it was then; `None` when it was removed.
    pub source: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Changed,
    Removed,
}

impl Change {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Added => "Added",
            Self::Changed => "Changed",
            Self::Removed => "Removed",
        }
    }
}

/// The orgs of a workspace, in the order they were connected.
pub fn all(read: &impl Read) -> Result<Vec<(OrgId, Org)>, StoreError> {
    read.scan(&ORGS).rows()
}

/// The org behind the name in a URL.
pub fn by_slug(read: &impl Read, slug: &str) -> Result<Option<(OrgId, Org)>, StoreError> {
    Ok(all(read)?.into_iter().find(|(_, org)| org.slug == slug))
}
