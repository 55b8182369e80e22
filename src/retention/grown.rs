//! What grows without end unless somebody ends it: lines of the egress gate after a year, ended sessions, tokens and
//! links, old notices, jobs and answers. In batches, each in a commit of its own.

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::identity::Control;
use crate::identity::control::Note;
use crate::ids::JobId;
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Tx};
use crate::workspace::Worker;
use crate::{api, insights, jobs, ledger, mail, meter, notifications, orgs};

/// Rows of each kind removed in one commit.
const BATCH: usize = 200;
/// Lines of the egress gate are kept this long: a year, also a long one. Their sums by day stay.
const LINES_KEPT: SignedDuration = SignedDuration::from_hours(366 * 24);

fn lines_before(now: Timestamp) -> Timestamp {
    now.checked_sub(LINES_KEPT).unwrap_or(Timestamp::MIN)
}

/// Lines that are due now, as far as one commit takes them.
fn lines_due(read: &impl Read, now: Timestamp) -> Result<usize, StoreError> {
    ledger::count_before(read, lines_before(now), BATCH)
}

/// Tidies a workspace.
pub async fn prune(ws: &Worker) -> Result<(), StoreError> {
    let now = ws.clock().now();
    loop {
        let due = lines_due(&ws.read()?, now)?;
        if due == 0 {
            break;
        }
        let before = lines_before(now);
        let target = format!("{due} lines of outbound calls before {}", before.strftime("%F"));
        ws.change::<_, StoreError>(Action::RetentionApplied, target, move |tx| {
            ledger::prune(tx, before, BATCH).map(|_| ())
        })
        .await?;
    }
    loop {
        let clock = ws.clock().clone();
        if ws.note(move |tx| rows_of_workspace(tx, &clock)).await? == 0 {
            return Ok(());
        }
    }
}

fn rows_of_workspace(tx: &mut Tx, clock: &Clock) -> Result<usize, StoreError> {
    let (now, now_ms) = (clock.now(), clock.now_ms());
    Ok(api::prune_answers(tx, now_ms, BATCH)?
        + insights::records::prune_scores(tx, now_ms, BATCH)?
        + jobs::prune(tx, now_ms, BATCH)?
        + meter::budgets::prune_told(tx, now, BATCH)?
        + notifications::prune(tx, now_ms, BATCH)?
        + orgs::prune_pending(tx, now)?)
}

/// Tidies the control file.
pub async fn prune_control(control: &Control) -> Result<(), StoreError> {
    let control = control.clone();
    let pruned = tokio::task::spawn_blocking(move || {
        lines_of_instance(&control)?;
        loop {
            let mut removed = 0;
            control.touch::<StoreError>(|tx| {
                let now_ms = control.clock().now_ms();
                removed = control.forget_ended(tx, BATCH)?
                    + mail::outbox::prune(tx, now_ms, BATCH)?
                    + notifications::prune_accounts(tx, now_ms, BATCH)?;
                Ok(())
            })?;
            if removed == 0 {
                return Ok(());
            }
        }
    });
    pruned.await.map_err(|e| StoreError::Io(std::io::Error::other(e)))?
}

fn lines_of_instance(control: &Control) -> Result<(), StoreError> {
    let now = control.clock().now();
    let job = JobId::new(control.clock(), control.random());
    loop {
        let due = lines_due(&control.read()?, now)?;
        if due == 0 {
            return Ok(());
        }
        let before = lines_before(now);
        let target = format!("{due} lines of outbound calls before {}", before.strftime("%F"));
        let note = Note::new(Actor::Job { id: job, asked_by: None }, Action::RetentionApplied, target);
        control.change_now(note, |tx| ledger::prune(tx, before, BATCH))?;
    }
}
