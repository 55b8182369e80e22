//! Where a change set stands, from its runs and its approval.

use jiff::Timestamp;

use super::approve::{Approval, approval};
use super::package::sha256;
use super::propose::base;
use super::records::{ChangeFile, ChangeSet, RUNS, Run, RunState, SNAPSHOTS};
use crate::ids::{ChangeSetId, DeploymentId};
use crate::store::{Read, StoreError};

/// The stages of a change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Approved,
    DeployFailed,
    Deployed,
    Deploying,
    Discarded,
    Draft,
    /// Its validation is older than Salesforce keeps one.
    Expired,
    /// Edited since it was validated.
    Outdated,
    Validated,
    Validating,
    ValidationFailed,
}

impl Stage {
    /// As pages say it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Approved => "Approved",
            Self::DeployFailed => "Deployment failed",
            Self::Deployed => "Deployed",
            Self::Deploying => "Deploying",
            Self::Discarded => "Discarded",
            Self::Draft => "Draft",
            Self::Expired => "Validation has ended",
            Self::Outdated => "Validation is out of date",
            Self::Validated => "Validated",
            Self::Validating => "Validating",
            Self::ValidationFailed => "Validation failed",
        }
    }

    /// As interfaces say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::DeployFailed => "deploy_failed",
            Self::Deployed => "deployed",
            Self::Deploying => "deploying",
            Self::Discarded => "discarded",
            Self::Draft => "draft",
            Self::Expired => "expired",
            Self::Outdated => "outdated",
            Self::Validated => "validated",
            Self::Validating => "validating",
            Self::ValidationFailed => "validation_failed",
        }
    }

    /// Colour of its badge.
    pub const fn tone(self) -> &'static str {
        match self {
            Self::Approved | Self::Deployed | Self::Validated => "ok",
            Self::DeployFailed | Self::ValidationFailed => "bad",
            Self::Expired | Self::Outdated => "warn",
            Self::Deploying | Self::Discarded | Self::Draft | Self::Validating => "",
        }
    }

    pub const fn icon(self) -> &'static str {
        match self {
            Self::Approved | Self::Deployed | Self::Validated => "circle-check",
            Self::DeployFailed | Self::ValidationFailed | Self::Discarded => "circle-x",
            Self::Expired | Self::Outdated => "triangle-alert",
            Self::Deploying | Self::Validating => "timer",
            Self::Draft => "pencil",
        }
    }

    /// Nothing was sent yet.
    pub const fn is_draft(self) -> bool {
        matches!(self, Self::Draft)
    }

    /// A run goes on.
    pub const fn busy(self) -> bool {
        matches!(self, Self::Deploying | Self::Validating)
    }
}

/// A change set's stage with what it follows from.
#[derive(Clone, Debug)]
pub struct State {
    pub stage: Stage,
    pub validation: Option<(DeploymentId, Run)>,
    pub deployment: Option<(DeploymentId, Run)>,
    pub approval: Option<Approval>,
}

impl State {
    /// The run that the page is about: the latest.
    pub fn latest(&self) -> Option<&(DeploymentId, Run)> {
        match (&self.validation, &self.deployment) {
            (Some(v), Some(d)) => Some(if v.1.begun > d.1.begun { v } else { d }),
            (v, d) => v.as_ref().or(d.as_ref()),
        }
    }
}

/// Where a change set stands now.
pub fn state(
    read: &impl Read,
    id: ChangeSetId,
    set: &ChangeSet,
    now: Timestamp,
) -> Result<State, StoreError> {
    let run = |id: Option<DeploymentId>| -> Result<Option<(DeploymentId, Run)>, StoreError> {
        let Some(id) = id else { return Ok(None) };
        Ok(read.get(&RUNS, &id)?.map(|run| (id, run)))
    };
    let (validation, deployment) = (run(set.validation)?, run(set.deployment)?);
    let approval = approval(read, id)?;
    let stage = stage(set, validation.as_ref(), deployment.as_ref(), approval.as_ref(), now);
    Ok(State { stage, validation, deployment, approval })
}

fn stage(
    set: &ChangeSet,
    validation: Option<&(DeploymentId, Run)>,
    deployment: Option<&(DeploymentId, Run)>,
    approval: Option<&Approval>,
    now: Timestamp,
) -> Stage {
    if set.discarded.is_some() {
        return Stage::Discarded;
    }
    if let Some((_, run)) = deployment {
        match run.state {
            RunState::Queued | RunState::Running => return Stage::Deploying,
            RunState::Succeeded => return Stage::Deployed,
            _ if run.draft == set.draft && validation.is_none_or(|(_, v)| v.begun <= run.begun) => {
                return Stage::DeployFailed;
            }
            _ => {}
        }
    }
    let Some((_, run)) = validation else { return Stage::Draft };
    if !run.state.is_over() {
        return Stage::Validating;
    }
    if run.draft != set.draft {
        return Stage::Outdated;
    }
    if run.state != RunState::Succeeded {
        return Stage::ValidationFailed;
    }
    if run.holds_until().is_none_or(|until| now >= until) {
        return Stage::Expired;
    }
    let hash = run.hash.as_deref().unwrap_or_default();
    if approval.is_some_and(|a| a.holds(hash, now)) { Stage::Approved } else { Stage::Validated }
}

/// Files that the org holds otherwise, by the last sync, than when this was validated, or else drafted.
pub fn drifted(
    read: &impl Read,
    set: &ChangeSet,
    files: &[(String, ChangeFile)],
    state: &State,
) -> Result<Vec<String>, StoreError> {
    let mut moved = Vec::new();
    if matches!(state.stage, Stage::Deployed | Stage::Deploying | Stage::Discarded) {
        return Ok(moved);
    }
    let validation = state.validation.as_ref().filter(|(_, run)| run.draft == set.draft);
    let synced = read.get(&crate::orgs::records::ORGS, &set.org)?.and_then(|o| o.last_sync).map(|s| s.at);
    for (path, file) in files.iter().filter(|(path, _)| !path.ends_with("-meta.xml")) {
        let seen = match validation {
            Some((id, run)) => match read.get(&SNAPSHOTS, &(*id, path.clone()))? {
                // The catalogue is older than what the validation read.
                Some(_) if synced.is_none_or(|at| at < run.begun) => continue,
                Some(snapshot) => snapshot.content.map(|c| sha256(c.as_bytes())),
                None => file.base.clone(),
            },
            None => file.base.clone(),
        };
        if base(read, set.org, path)? != seen {
            moved.push(path.clone());
        }
    }
    Ok(moved)
}
