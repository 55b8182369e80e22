//! Checks both chains that concern a workspace, as a job that says how far it is; the result stays until the next.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::Control;
use crate::ids::{AccountId, JobId};
use crate::jobs::{Board, JOBS, JobCause, JobContext, JobError, JobState, Kind, Progress, Steps, enqueue};
use crate::store::audit::verify::{Step, Verified, Walk};
use crate::store::audit::{Action, Broken};
use crate::store::{Read, StoreError, Table};
use crate::web::Problem;
use crate::workspace::{Admin, Worker, Workspace};

/// The check that runs and the result of the one before (one row).
pub const VERIFICATION: Table<u8, Verification> = Table::new("audit_verification", 1);
/// The job.
pub const VERIFY: &str = "audit.verify";
/// Topic of pages that show the state of the chains.
pub const TOPIC: &str = "audit";

/// The shortest time between two words about progress.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// What is known of the chains.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verification {
    /// The newest check.
    pub job: JobId,
    /// How the last one that came to its end went.
    pub result: Option<Checked>,
}

/// A check that came to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checked {
    pub at: Timestamp,
    pub took_ms: u64,
    pub asked_by: Option<AccountId>,
    /// The workspace's own chain.
    pub contents: Held,
    /// The chain of the instance, where members and settings of the workspace stand.
    pub members: Held,
}

/// How a chain was found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Held {
    /// The oldest line that is kept.
    pub first: u64,
    pub last: u64,
    /// Of the last line, hex.
    pub hash: String,
    pub broken: Option<Found>,
}

/// The first place of a chain that does not hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    pub line: u64,
    /// What the line says of its time, if it is there.
    pub at: Option<Timestamp>,
    pub said: String,
}

impl Held {
    /// Of a chain as it was walked; `read` has the line that is named.
    pub fn of(walked: Result<Verified, Broken>, read: &impl Read) -> Self {
        match walked {
            Ok(Verified { first, last, hash }) => Self { first, last, hash, broken: None },
            Err(broken) => {
                let (line, at, said) = (broken.line(), broken.at(read), broken.to_string());
                Self { last: line, broken: Some(Found { line, at, said }), ..Self::default() }
            }
        }
    }

    pub fn lines(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// Asks for a check; one that runs or waits is enough.
pub async fn ask(ws: &Admin) -> Result<(), Problem> {
    let cause = JobCause::of(ws);
    if state(ws)?.job.is_some_and(|job| job == JobState::Queued) {
        return Ok(());
    }
    ws.change::<_, StoreError>(Action::AuditVerificationAsked, ws.id(), move |tx| {
        let result = tx.get(&VERIFICATION, &0)?.and_then(|row| row.result);
        let job = enqueue(tx, &cause, VERIFY, Value::Null)?;
        tx.put(&VERIFICATION, &0, &Verification { job, result })?;
        tx.announce(TOPIC);
        Ok(())
    })
    .await?;
    Ok(())
}

/// The newest check and its result, as pages show it.
#[derive(Debug, Default)]
pub struct State {
    /// How the newest check stands; `None` = there never was one.
    pub job: Option<JobState>,
    /// Why it failed, or is tried again.
    pub error: Option<String>,
    id: Option<JobId>,
    pub result: Option<Checked>,
}

impl State {
    /// How far the check is, while it runs.
    pub fn progress(&self, board: &Board) -> Option<Progress> {
        self.id.filter(|_| self.job == Some(JobState::Queued)).and_then(|id| board.of(id))
    }
}

/// What is known of the chains of a workspace.
pub fn state(ws: &Workspace) -> Result<State, StoreError> {
    let read = ws.read()?;
    let Some(Verification { job, result }) = read.get(&VERIFICATION, &0)? else {
        return Ok(State::default());
    };
    let row = read.get(&JOBS, &job)?;
    let (state, error) = row.map_or((JobState::Done, None), |row| (row.state, row.error));
    Ok(State { job: Some(state), error, id: Some(job), result })
}

pub fn job(control: &Control) -> Kind {
    let control = control.clone();
    // A person waits for it.
    Kind::new(VERIFY, move |job| run(control.clone(), job)).interactive()
}

async fn run(control: Control, job: JobContext) -> Result<(), JobError> {
    let (ws, steps) = job.split();
    let (ws, began) = (Arc::new(ws), tokio::time::Instant::now());
    let own = Arc::clone(&ws);
    let contents = walked(&ws, &steps, "Checking the contents", ws.audit_walk()?, move || own.read()).await?;
    let walk = control.audit_walk()?;
    let members = walked(&ws, &steps, "Checking members and workspace", walk, move || control.read()).await?;
    let checked = Checked {
        at: ws.clock().now(),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        asked_by: steps.asked_by,
        contents,
        members,
    };
    let target = match [&checked.contents, &checked.members].map(|held| held.broken.as_ref()) {
        [Some(found), _] => format!("contents broken at line {}", found.line),
        [_, Some(found)] => format!("members broken at line {}", found.line),
        _ => format!("{} lines hold", checked.contents.lines()),
    };
    let id = steps.id;
    ws.change(Action::AuditVerified, target, move |tx| {
        tx.put(&VERIFICATION, &0, &Verification { job: id, result: Some(checked) })?;
        tx.announce(TOPIC);
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(())
}

/// Walks a chain range by range, with a read of its own each.
async fn walked<R: Read>(
    ws: &Arc<Worker>,
    steps: &Steps,
    phase: &str,
    mut walk: Walk,
    read: impl Fn() -> Result<R, StoreError> + Clone + Send + 'static,
) -> Result<Held, JobError> {
    let mut told: Option<tokio::time::Instant> = None;
    loop {
        steps.check()?;
        let read = read.clone();
        let step = move || -> Result<_, StoreError> {
            let read = read()?;
            Ok(match walk.step(&read)? {
                Step::Holds => (walk, None),
                Step::Ended(ended) => (walk, Some(Held::of(ended, &read))),
            })
        };
        let done = tokio::task::spawn_blocking(step).await;
        let (next, ended) = done.map_err(|e| JobError::Retry(e.to_string()))??;
        walk = next;
        if let Some(held) = ended {
            return Ok(held);
        }
        if told.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
            let (done, total) = walk.progress();
            steps.progress(ws, TOPIC, phase, done, total);
            told = Some(tokio::time::Instant::now());
        }
    }
}
