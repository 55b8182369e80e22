//! What is kept of change sets, of their validations and deployments, and of what stood in the org before.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, ChangeSetId, ConversationId, DeploymentId, JobId, OrgId};
use crate::store::{Read, StoreError, Table};
use crate::wire::salesforce::deploy::DeployResult;
use crate::workspace::blobs::BlobName;

pub const CHANGE_SETS: Table<ChangeSetId, ChangeSet> = Table::new("change_sets", 1);
/// By path in an mdapi package.
pub const CHANGE_FILES: Table<(ChangeSetId, String), ChangeFile> = Table::new("change_files", 1);
pub const RUNS: Table<DeploymentId, Run> = Table::new("deployment_runs", 1);
/// What the org held under each path when a run began.
pub const SNAPSHOTS: Table<(DeploymentId, String), Snapshot> = Table::new("deployment_snapshots", 1);

/// How long Salesforce keeps a validation for a quick deploy, and how long we go by one.
pub const VALIDATION_LIFE: SignedDuration = SignedDuration::from_hours(24 * 10);

/// Proposed edits to components of one org.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeSet {
    pub org: OrgId,
    pub title: String,
    pub summary: String,
    pub author: Option<AccountId>,
    /// Everybody who wrote some of its bytes: under four eyes none of them approves.
    pub editors: Vec<AccountId>,
    pub conversation: Option<ConversationId>,
    pub created: Timestamp,
    pub changed: Timestamp,
    /// Test classes that validate it, besides those in it.
    pub tests: Vec<String>,
    /// Grows with every edit: a validation holds for the draft it was made of.
    pub draft: u64,
    /// SHA-256 of the files as drafted, hex.
    pub hash: String,
    /// What the checks before Salesforce say.
    pub problems: Vec<Check>,
    /// The latest validation,
    pub validation: Option<DeploymentId>,
    /// and the latest deployment.
    pub deployment: Option<DeploymentId>,
    /// While a validation of this draft succeeded and it waits to be deployed: until when that holds.
    #[serde(default)]
    pub ready_until: Option<Timestamp>,
    /// The deployment that it takes back.
    pub rolls_back: Option<DeploymentId>,
    pub discarded: Option<Timestamp>,
}

/// One file of a change set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeFile {
    /// `None` deletes the component.
    pub content: Option<String>,
    /// SHA-256 of what the org held when this was drafted, hex; `None` when it held nothing.
    pub base: Option<String>,
}

/// What a check before Salesforce found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub path: String,
    /// From 1; 0 stands for the whole file.
    pub line: u32,
    pub message: String,
    /// It may go on all the same.
    pub warning: bool,
}

impl Check {
    /// In one line: where and what.
    pub fn sentence(&self) -> String {
        match self.line {
            0 => format!("{}: {}", self.path, self.message),
            line => format!("{} line {line}: {}", self.path, self.message),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    Deploy,
    Validate,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Cancelled,
    Failed,
    /// It was sent, and whether Salesforce took it is not known.
    Lost,
    Queued,
    Running,
    /// Ended before anything was sent.
    Stopped,
    Succeeded,
}

impl RunState {
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Its name on pages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cancelled => "Cancelled",
            Self::Failed => "Failed",
            Self::Lost => "Not known",
            Self::Queued => "Waiting",
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Succeeded => "Succeeded",
        }
    }

    /// Its name for interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Succeeded => "succeeded",
        }
    }
}

/// A validation or deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub change_set: ChangeSetId,
    pub org: OrgId,
    pub kind: RunKind,
    pub draft: u64,
    pub by: Option<AccountId>,
    pub job: JobId,
    pub state: RunState,
    /// What it does now, in words.
    pub phase: String,
    /// Why it ended as it did, in words.
    pub said: String,
    /// SHA-256 of the package's bytes, hex: what is approved and released.
    pub hash: Option<String>,
    pub package: Option<BlobName>,
    /// Test classes that Salesforce was asked to run; empty = by the org's own rule.
    pub tests: Vec<String>,
    /// Set before the package is sent, so that it is never sent twice.
    pub sent: Option<Timestamp>,
    /// Salesforce's id of the deploy.
    pub salesforce: Option<String>,
    pub cancel_asked: bool,
    pub result: Option<DeployResult>,
    pub begun: Timestamp,
    pub ended: Option<Timestamp>,
}

impl Run {
    /// Until when a validation can be deployed from.
    pub fn holds_until(&self) -> Option<Timestamp> {
        self.ended.and_then(|at| at.checked_add(VALIDATION_LIFE).ok())
    }
}

/// What the org held under one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `None`: there was no such component.
    pub content: Option<String>,
    /// The `-meta.xml` beside it, for types that have one.
    pub meta: Option<String>,
}

/// The files of a change set, by path.
pub fn files(read: &impl Read, id: ChangeSetId) -> Result<Vec<(String, ChangeFile)>, StoreError> {
    Ok(read
        .scan(&CHANGE_FILES)
        .under(&id)
        .rows()?
        .into_iter()
        .map(|((_, path), file)| (path, file))
        .collect())
}

/// The change sets of an org, newest first.
pub fn of_org(
    read: &impl Read,
    org: OrgId,
    limit: usize,
) -> Result<Vec<(ChangeSetId, ChangeSet)>, StoreError> {
    let mut rows = Vec::new();
    read.scan(&CHANGE_SETS).reverse().each(|id, set| {
        if set.org == org {
            rows.push((id, set));
        }
        rows.len() < limit
    })?;
    Ok(rows)
}

/// The runs of a change set, newest first.
pub fn runs_of(read: &impl Read, id: ChangeSetId) -> Result<Vec<(DeploymentId, Run)>, StoreError> {
    let mut rows = Vec::new();
    // Ids sort by time: no run of a change set is older than the change set.
    let mut since = [0; 16];
    since[..6].copy_from_slice(&id.bytes()[..6]);
    read.scan(&RUNS).from(&DeploymentId::from_bytes(since)).each(|run, row| {
        if row.change_set == id {
            rows.push((run, row));
        }
        true
    })?;
    rows.reverse();
    Ok(rows)
}

/// Pages that show a change set listen to this.
pub fn topic(id: ChangeSetId) -> String {
    format!("changeset-{id}")
}
