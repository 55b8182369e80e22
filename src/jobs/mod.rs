//! Background work. A job is a row in its workspace's file, committed with its cause; it remembers who asked.
//! [`enqueue`] writes one inside a change; `runner` takes what is due, with bounded workers, retries and
//! cancel. A job survives kill -9: its row leaves the due table only when it has ended.

mod runner;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use runner::Runner;

use crate::identity::Role;
use crate::ids::{AccountId, JobId, RequestId, WorkspaceId};
use crate::store::{Read as _, StoreError, Table, Tx};
use crate::workspace::{Change, Worker, Workspace};

pub const JOBS: Table<JobId, JobRow> = Table::new("jobs", 1);
/// Jobs that have not ended, by the millisecond they are due.
pub const JOBS_DUE: Table<(u64, JobId), ()> = Table::new("jobs_due", 1);

/// A job as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobRow {
    pub kind: String,
    pub args: Value,
    pub asked_by: Option<AccountId>,
    pub request: Option<RequestId>,
    pub created: Timestamp,
    pub due_ms: u64,
    /// How often it was begun.
    pub attempts: u32,
    pub state: JobState,
    /// Why it failed, in words for people.
    pub error: Option<String>,
    pub finished: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Cancelled,
    Done,
    Failed,
    Queued,
}

/// Ended jobs are kept this long for pages that show them.
const KEEP_MS: u64 = 30 * 24 * 3600 * 1000;

/// Removes jobs that ended long ago, at most `most`; answers how many.
pub fn prune(tx: &mut Tx, now_ms: u64, most: usize) -> Result<usize, StoreError> {
    let mut ended = Vec::new();
    tx.scan(&JOBS).before(&oldest_kept(now_ms)).each(|id, row| {
        ended.extend(row.finished.is_some().then_some(id));
        ended.len() < most
    })?;
    for id in &ended {
        tx.remove(&JOBS, id)?;
    }
    Ok(ended.len())
}

/// The smallest id of jobs that are young enough to keep.
fn oldest_kept(now_ms: u64) -> JobId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&now_ms.saturating_sub(KEEP_MS).to_be_bytes()[2..]);
    JobId::from_bytes(bytes)
}

/// Queues a job inside a change; it runs once that has committed.
pub fn enqueue(
    tx: &mut Change<'_>,
    ws: &JobCause,
    kind: &'static str,
    args: Value,
) -> Result<JobId, StoreError> {
    enqueue_at(tx, ws, kind, args, ws.clock.now_ms())
}

/// Queues a job that is due at `due_ms`, milliseconds since 1970.
pub fn enqueue_at(
    tx: &mut Tx,
    ws: &JobCause,
    kind: &'static str,
    args: Value,
    due_ms: u64,
) -> Result<JobId, StoreError> {
    let id = JobId::new(&ws.clock, &ws.random);
    let now = ws.clock.now();
    let row = JobRow {
        kind: kind.to_owned(),
        args,
        asked_by: ws.asked_by,
        request: ws.request,
        created: now,
        due_ms,
        attempts: 0,
        state: JobState::Queued,
        error: None,
        finished: None,
    };
    tx.put(&JOBS, &id, &row)?;
    tx.put(&JOBS_DUE, &(due_ms, id), &())?;
    Ok(id)
}

/// Who and what causes a job; taken from the handle before the change begins.
#[derive(Clone, Debug)]
pub struct JobCause {
    clock: crate::clock::Clock,
    random: crate::clock::Random,
    asked_by: Option<AccountId>,
    request: Option<RequestId>,
}

impl JobCause {
    pub fn of(ws: &Workspace) -> Self {
        Self {
            clock: ws.clock().clone(),
            random: ws.random().clone(),
            asked_by: ws.actor().account(),
            request: ws.request(),
        }
    }

    pub fn clock(&self) -> &crate::clock::Clock {
        &self.clock
    }

    pub fn random(&self) -> &crate::clock::Random {
        &self.random
    }
}

/// How a job ends when it does not succeed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It was told to stop.
    #[error("cancelled")]
    Cancelled,
    /// Trying again would not help.
    #[error("{0}")]
    Fail(String),
    /// Tried again after 5, 10, 20, 40 … seconds, with jitter.
    #[error("{0}")]
    Retry(String),
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull | StoreError::Io(_) => Self::Retry(error.to_string()),
            other => Self::Fail(other.to_string()),
        }
    }
}

/// How far a job is; kept in memory and streamed to pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What it does now, in words.
    pub phase: String,
    pub done: u64,
    /// 0 while unknown.
    pub total: u64,
    /// Calls that it made to an outside service.
    pub calls: u64,
}

/// What a running job has.
pub struct JobContext {
    pub ws: Worker,
    pub args: Value,
    steps: Steps,
}

/// The job's own side: its id, whether to go on, how far it is.
pub struct Steps {
    pub id: JobId,
    /// 1 at the first run.
    pub attempt: u32,
    pub asked_by: Option<AccountId>,
    pub cancel: CancellationToken,
    /// The process ends.
    ending: CancellationToken,
    board: Board,
}

impl JobContext {
    /// The workspace, to share with what the job starts, and the job's own side.
    pub fn split(self) -> (Worker, Steps) {
        (self.ws, self.steps)
    }
}

impl std::ops::Deref for JobContext {
    type Target = Steps;
    fn deref(&self) -> &Steps {
        &self.steps
    }
}

impl Steps {
    /// Says how far the job is, to pages that show `topic`.
    pub fn progress(&self, ws: &Workspace, topic: &str, phase: &str, done: u64, total: u64) {
        self.board.set(self.id, |now| {
            (now.phase, now.done, now.total) = (phase.to_owned(), done, total);
        });
        ws.live().publish(topic.to_owned());
    }

    /// Says how many calls the job made to an outside service so far; pages hear of it with the next progress.
    pub fn called(&self, calls: u64) {
        self.board.set(self.id, |now| now.calls = calls);
    }

    /// Whether nothing comes after this run when it fails.
    pub fn is_last_try(&self) -> bool {
        self.attempt >= runner::TRIES
    }

    /// Whether it was told to stop because the process ends: the next one begins it again.
    pub fn is_put_off(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Ends the job here if it was told to stop.
    pub fn check(&self) -> Result<(), JobError> {
        if self.cancel.is_cancelled() { Err(JobError::Cancelled) } else { Ok(()) }
    }
}

/// Failures that are remembered for the operator.
const FAILURES: usize = 100;

/// The jobs that were taken and have not ended, and those that failed lately.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    taken: BTreeMap<JobId, Taken>,
    failures: VecDeque<Failure>,
    failed: u64,
}

#[derive(Debug)]
struct Taken {
    kind: String,
    workspace: WorkspaceId,
    /// It has its place; until then it waits for one.
    running: bool,
    progress: Progress,
    cancel: CancellationToken,
    /// Goes on while its workspace is to be deleted.
    goes_on: bool,
}

/// A taken job as the operator sees it: no contents.
#[derive(Clone, Debug)]
pub struct Shown {
    pub kind: String,
    pub workspace: WorkspaceId,
    pub running: bool,
    pub progress: Progress,
}

/// A job that failed for good since the process began.
#[derive(Clone, Debug)]
pub struct Failure {
    pub at: Timestamp,
    pub kind: String,
    pub workspace: WorkspaceId,
}

impl Board {
    /// How far a running job is.
    pub fn of(&self, id: JobId) -> Option<Progress> {
        self.lock().taken.get(&id).map(|taken| taken.progress.clone())
    }

    /// All that were taken and have not ended.
    pub fn all(&self) -> Vec<Shown> {
        let shown = |taken: &Taken| Shown {
            kind: taken.kind.clone(),
            workspace: taken.workspace,
            running: taken.running,
            progress: taken.progress.clone(),
        };
        self.lock().taken.values().map(shown).collect()
    }

    /// Those that failed, newest first; the last hundred of this process.
    pub fn failures(&self) -> Vec<Failure> {
        self.lock().failures.iter().rev().cloned().collect()
    }

    /// How many failed since the process began.
    pub fn failed_ever(&self) -> u64 {
        self.lock().failed
    }

    /// Tells a running job to stop; answers false when it does not run.
    pub fn cancel(&self, id: JobId) -> bool {
        self.lock().taken.get(&id).is_some_and(|taken| {
            taken.cancel.cancel();
            true
        })
    }

    /// Tells what runs in a workspace that is to be deleted to stop, but for what may go on then.
    pub fn close(&self, workspace: WorkspaceId) {
        for taken in self.lock().taken.values().filter(|t| t.workspace == workspace && !t.goes_on) {
            taken.cancel.cancel();
        }
    }

    /// Tells everything that runs in a workspace to stop.
    pub fn cancel_all(&self, workspace: WorkspaceId) {
        for taken in self.lock().taken.values().filter(|t| t.workspace == workspace) {
            taken.cancel.cancel();
        }
    }

    fn begin(&self, id: JobId, kind: &str, workspace: WorkspaceId, cancel: CancellationToken, goes_on: bool) {
        let (kind, progress) = (kind.to_owned(), Progress::default());
        let taken = Taken { kind, workspace, running: false, progress, cancel, goes_on };
        self.lock().taken.insert(id, taken);
    }

    fn runs(&self, id: JobId) {
        if let Some(taken) = self.lock().taken.get_mut(&id) {
            taken.running = true;
        }
    }

    fn set(&self, id: JobId, change: impl FnOnce(&mut Progress)) {
        if let Some(taken) = self.lock().taken.get_mut(&id) {
            change(&mut taken.progress);
        }
    }

    fn failed(&self, failure: Failure) {
        let mut held = self.lock();
        held.failed += 1;
        if held.failures.len() == FAILURES {
            held.failures.pop_front();
        }
        held.failures.push_back(failure);
    }

    fn end(&self, id: JobId) {
        self.lock().taken.remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Running = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

/// One kind of job: its name in rows, and what runs it.
#[derive(Clone)]
pub struct Kind {
    pub name: &'static str,
    /// A person waits for it: it does not queue behind background work.
    pub interactive: bool,
    /// Runs also while its workspace is to be deleted; other jobs wait until it is kept.
    pub also_while_deleting: bool,
    /// It goes on only while whoever asked for it is a member with at least this role.
    pub asker: Option<Role>,
    run: Arc<dyn Fn(JobContext) -> Running + Send + Sync>,
}

impl Kind {
    pub fn new<F, R>(name: &'static str, run: F) -> Self
    where
        F: Fn(JobContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        Self {
            name,
            interactive: false,
            also_while_deleting: false,
            asker: None,
            run: Arc::new(move |context| Box::pin(run(context))),
        }
    }

    /// For work that only reads or removes.
    pub fn also_while_deleting(mut self) -> Self {
        self.also_while_deleting = true;
        self
    }

    pub fn interactive(mut self) -> Self {
        self.interactive = true;
        self
    }

    /// It is told to stop, within a second, once whoever asked for it is no longer a member with at least this role.
    pub fn asked_by(mut self, least: Role) -> Self {
        self.asker = Some(least);
        self
    }
}
