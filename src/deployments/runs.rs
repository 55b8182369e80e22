//! Asking for runs: a validation by whoever may draft, a deployment by a person's release, a cancel. The job that
//! does them is in `watch`.

use jiff::Timestamp;
use serde_json::json;

use super::approve::{self, Approved};
use super::propose::{announce, open};
use super::records::{CHANGE_SETS, ChangeSet, RUNS, Run, RunKind, RunState, files};
use super::{checks, watch};
use crate::ids::{AccountId, ChangeSetId, DeploymentId, JobId};
use crate::jobs::{Board, JOBS, JobCause, JobState, enqueue};
use crate::orgs::DeployPolicy;
use crate::orgs::records::ORGS;
use crate::store::audit::Action;
use crate::store::{Read, StoreError};
use crate::web::Problem;
use crate::workspace::{Member, Processing, Workspace};

/// Queues a check-only deploy of the change set as drafted. One that is under way is answered again.
pub async fn request_validation(
    ws: &Workspace,
    id: ChangeSetId,
    _: Processing,
) -> Result<DeploymentId, Problem> {
    let (now, by, cause) = (ws.clock().now(), ws.actor().account(), JobCause::of(ws));
    let run_id = DeploymentId::new(ws.clock(), ws.random());
    ws.change(Action::ValidationRequested, id, move |tx| {
        let mut set = tx.get(&CHANGE_SETS, &id)?.ok_or(Problem::NotFound)?;
        if let Some(before) = set.validation
            && tx.get(&RUNS, &before)?.is_some_and(|run| !run.state.is_over())
        {
            return Ok(before);
        }
        let org = tx.get(&ORGS, &set.org)?.ok_or(Problem::NotFound)?;
        if org.policy() == DeployPolicy::Off {
            let said = format!(
                "The deploy policy of {} is “{}”. Nothing was sent. An admin can change it on the org’s connection page.",
                org.name,
                org.policy().label()
            );
            return Err(Problem::Conflict(said));
        }
        open(&**tx, &set)?;
        let mut tests = checks::test_classes(&files(&**tx, id)?);
        tests.extend(set.tests.iter().cloned());
        tests.sort();
        tests.dedup();
        let job = enqueue(tx, &cause, watch::VALIDATE, json!({ "run": run_id }))?;
        let run = Run { tests, ..queued(id, &set, RunKind::Validate, by, job, now) };
        tx.put(&RUNS, &run_id, &run)?;
        set.validation = Some(run_id);
        set.ready_until = None;
        tx.put(&CHANGE_SETS, &id, &set)?;
        announce(tx, id, set.org);
        Ok(run_id)
    })
    .await
}

/// Queues the deployment of the approved bytes. Only a request of a person or of their token gets here: it takes
/// the proof of an approval and the handle of a member.
pub async fn release(ws: &Member, approved: Approved) -> Result<DeploymentId, Problem> {
    ws.processing()?;
    let (now, cause, who) = (ws.clock().now(), JobCause::of(ws), (ws.role(), ws.account()));
    let run_id = DeploymentId::new(ws.clock(), ws.random());
    let id = approved.change_set();
    ws.change(Action::DeploymentReleased, format!("{id} {}", approved.hash()), move |tx| {
        let (mut set, validation) = approve::use_up(tx, &approved, run_id, who, now)?;
        let job = enqueue(tx, &cause, watch::DEPLOY, json!({ "run": run_id }))?;
        let run = Run {
            hash: validation.hash,
            package: validation.package,
            tests: validation.tests,
            ..queued(id, &set, RunKind::Deploy, Some(who.1), job, now)
        };
        tx.put(&RUNS, &run_id, &run)?;
        set.deployment = Some(run_id);
        set.ready_until = None;
        tx.put(&CHANGE_SETS, &id, &set)?;
        announce(tx, id, set.org);
        Ok(run_id)
    })
    .await
}

fn queued(
    id: ChangeSetId,
    set: &ChangeSet,
    kind: RunKind,
    by: Option<AccountId>,
    job: JobId,
    now: Timestamp,
) -> Run {
    Run {
        change_set: id,
        org: set.org,
        kind,
        draft: set.draft,
        by,
        job,
        state: RunState::Queued,
        phase: "Waiting to begin".into(),
        said: String::new(),
        hash: None,
        package: None,
        tests: Vec::new(),
        sent: None,
        salesforce: None,
        cancel_asked: false,
        result: None,
        begun: now,
        ended: None,
    }
}

/// Asks the run that is under way to stop. What Salesforce has begun to finish, it finishes.
pub async fn cancel(ws: &Workspace, board: &Board, id: ChangeSetId) -> Result<(), Problem> {
    let now = ws.clock().now();
    let job = ws
        .change(Action::DeploymentCancelled, id, move |tx| {
            let set = tx.get(&CHANGE_SETS, &id)?.ok_or(Problem::NotFound)?;
            for run_id in [set.deployment, set.validation].into_iter().flatten() {
                let Some(mut run) = tx.get(&RUNS, &run_id)?.filter(|run| !run.state.is_over()) else {
                    continue;
                };
                run.cancel_asked = true;
                // A job that ended without its run, as after too many restarts: nobody follows it any more.
                if tx.get(&JOBS, &run.job)?.is_none_or(|row| row.state != JobState::Queued) {
                    run.state = if run.sent.is_some() { RunState::Lost } else { RunState::Stopped };
                    run.said = "Vynos was stopped too often to follow it to its end.".into();
                    run.ended = Some(now);
                }
                tx.put(&RUNS, &run_id, &run)?;
                announce(tx, id, set.org);
                return Ok(run.job);
            }
            Err(Problem::Conflict("It has ended already, so there was nothing to cancel.".into()))
        })
        .await?;
    board.cancel(job);
    Ok(())
}

/// A validation or deployment: its state and what Salesforce said so far.
pub fn run(read: &impl Read, id: DeploymentId) -> Result<Option<Run>, StoreError> {
    read.get(&RUNS, &id)
}
