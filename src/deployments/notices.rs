//! Who is told how a validation or deployment ended, and who is asked to approve.

use super::approve::approval;
use super::records::{CHANGE_FILES, CHANGE_SETS, ChangeSet, Run, RunKind, RunState};
use crate::ids::{AccountId, ChangeSetId};
use crate::jobs::JobCause;
use crate::mail::{Letter, Outcome};
use crate::notifications::{Audience, Kind, Notice, raise};
use crate::orgs::DeployPolicy;
use crate::orgs::records::{ORGS, Org, OrgKind};
use crate::store::{Read, StoreError};
use crate::workspace::Change;

/// Raises what the end of `run` means to people, in the change that ends it.
pub(super) fn ended(tx: &mut Change<'_>, cause: &JobCause, run: &Run) -> Result<(), StoreError> {
    let Some(set) = tx.get(&CHANGE_SETS, &run.change_set)? else { return Ok(()) };
    let Some(org) = tx.get(&ORGS, &run.org)? else { return Ok(()) };
    match run.kind {
        RunKind::Deploy => deployed(tx, cause, run, &set, &org),
        RunKind::Validate => {
            validated(tx, cause, run, &set, &org)?;
            approval_wanted(tx, cause, run, &set, &org)
        }
    }
}

fn path(org: &Org, id: ChangeSetId) -> String {
    format!("o/{}/deployments/{id}", org.slug)
}

fn components(read: &impl Read, id: ChangeSetId) -> Result<usize, StoreError> {
    let mut n = 0;
    read.scan(&CHANGE_FILES).under(&id).each(|(_, path), _| {
        n += usize::from(!path.ends_with("-meta.xml"));
        true
    })?;
    Ok(n)
}

fn deployed(
    tx: &mut Change<'_>,
    cause: &JobCause,
    run: &Run,
    set: &ChangeSet,
    org: &Org,
) -> Result<(), StoreError> {
    let approver = approval(&**tx, run.change_set)?.map(|approval| approval.by());
    let mut people: Vec<AccountId> = [run.by, set.author, approver].into_iter().flatten().collect();
    people.sort_unstable();
    people.dedup();
    let outcome = match run.state {
        RunState::Cancelled => Outcome::Cancelled,
        RunState::Lost => Outcome::Lost,
        RunState::Stopped => Outcome::NotSent,
        RunState::Succeeded if set.rolls_back.is_some() => Outcome::RolledBack,
        RunState::Succeeded => Outcome::Succeeded,
        RunState::Failed | RunState::Queued | RunState::Running => Outcome::Failed,
    };
    let letter = Letter::DeployResult {
        workspace: String::new(),
        change_set: set.title.clone(),
        org: org.name.clone(),
        production: org.kind == OrgKind::Production,
        outcome,
        components: components(&**tx, run.change_set)?,
        said: run.said.clone(),
        link: path(org, run.change_set),
    };
    let notice = Notice::of(Kind::DeploymentResult, letter).body(said(org, run));
    raise(tx, cause, Audience::Accounts(people), notice.group(format!("deploy {}", run.change_set)))?;
    Ok(())
}

fn validated(
    tx: &mut Change<'_>,
    cause: &JobCause,
    run: &Run,
    set: &ChangeSet,
    org: &Org,
) -> Result<(), StoreError> {
    let Some(by) = run.by.filter(|_| run.state != RunState::Cancelled) else { return Ok(()) };
    let letter = Letter::ValidationResult {
        workspace: String::new(),
        change_set: set.title.clone(),
        org: org.name.clone(),
        passed: run.state == RunState::Succeeded,
        said: run.said.clone(),
        link: path(org, run.change_set),
    };
    let notice = Notice::of(Kind::ValidationResult, letter).body(said(org, run));
    raise(tx, cause, Audience::Account(by), notice.group(format!("validation {}", run.change_set)))?;
    Ok(())
}

/// Under four eyes a validated change set waits for somebody who wrote none of it. The link leads to the page where a
/// signed-in person decides; it carries no token and approves nothing.
fn approval_wanted(
    tx: &mut Change<'_>,
    cause: &JobCause,
    run: &Run,
    set: &ChangeSet,
    org: &Org,
) -> Result<(), StoreError> {
    let policy = org.policy();
    let Some(least) = policy.least_role().filter(|_| policy == DeployPolicy::FourEyes) else {
        return Ok(());
    };
    if run.state != RunState::Succeeded || run.draft != set.draft {
        return Ok(());
    }
    let tests = run.result.as_ref().filter(|result| result.tests_total > 0).map(|result| {
        let failed = u32::try_from(result.test_failures.len()).unwrap_or(u32::MAX);
        (result.tests_total, result.tests_total.saturating_sub(failed))
    });
    let letter = Letter::DeployApprovalWanted {
        workspace: String::new(),
        change_set: set.title.clone(),
        org: org.name.clone(),
        production: org.kind == OrgKind::Production,
        components: components(&**tx, run.change_set)?,
        proposed_by: String::new(),
        proposed: set.created,
        tests,
        kept_until: run.holds_until(),
        link: format!("{}/approve", path(org, run.change_set)),
    };
    let mut notice = Notice::of(Kind::ApprovalWanted, letter)
        .body(format!("{} · {}", org.name, org.kind.label()))
        .group(format!("approval {}", run.change_set));
    notice.by = set.author.or(run.by);
    raise(tx, cause, Audience::Others { least, but: set.editors.clone() }, notice)?;
    Ok(())
}

fn said(org: &Org, run: &Run) -> String {
    let what = if run.said.is_empty() { run.state.label() } else { &run.said };
    format!("{} · {what}", org.name)
}
