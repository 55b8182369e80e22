//! Takes due jobs and runs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Board, Failure, JOBS, JOBS_DUE, JobContext, JobError, JobRow, JobState, Kind, Steps};
use crate::clock::{Clock, Random};
use crate::identity::Role;
use crate::ids::{AccountId, JobId, WorkspaceId};
use crate::store::audit::Action;
use crate::store::{Read, StoreError};
use crate::workspace::{Door, Pool};

/// Background jobs that run at the same time, for the whole instance.
const BACKGROUND: usize = 2;
/// Jobs that a person waits for.
const INTERACTIVE: usize = 64;
/// Jobs taken from one workspace at a look, so that one cannot starve the others.
const AT_ONCE: usize = 256;
/// Topic of pages that show whether a job has ended.
pub const ENDED: &str = "jobs";

/// How often it is looked up whether whoever asked for a running job still may.
const ASKED_AGAIN: Duration = Duration::from_millis(500);
/// A job that was begun this often without ending has failed.
pub(super) const TRIES: u32 = 5;

/// The instance's job runner. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    inner: Arc<Inner>,
}

struct Inner {
    door: Door,
    kinds: HashMap<&'static str, Kind>,
    board: Board,
    clock: Clock,
    random: Random,
    background: Arc<Semaphore>,
    interactive: Arc<Semaphore>,
    wake: mpsc::UnboundedSender<WorkspaceId>,
    /// When a workspace is looked at next, in milliseconds: one waiting task each, however far off.
    later: Mutex<HashMap<WorkspaceId, u64>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Runner {
    /// Starts the runner. It looks through `workspaces` for what an earlier process left, then waits for
    /// commits that queue jobs.
    pub fn start(
        door: Door,
        pool: &Arc<Pool>,
        board: Board,
        kinds: Vec<Kind>,
        workspaces: Vec<WorkspaceId>,
        clock: Clock,
        random: Random,
    ) -> Self {
        let (wake, mut woken) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            door,
            kinds: kinds.into_iter().map(|kind| (kind.name, kind)).collect(),
            board,
            clock,
            random,
            background: Arc::new(Semaphore::new(BACKGROUND)),
            interactive: Arc::new(Semaphore::new(INTERACTIVE)),
            wake: wake.clone(),
            later: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        pool.hooks().on_queued(move |id| {
            let _ = wake.send(id);
        });
        let runner = Self { inner: Arc::clone(&inner) };
        let this = Arc::clone(&inner);
        inner.tasks.spawn(async move {
            for id in workspaces {
                this.look(id).await;
                this.door.let_go(id);
            }
            loop {
                tokio::select! {
                    () = this.stop.cancelled() => return,
                    id = woken.recv() => match id {
                        Some(id) => this.look(id).await,
                        None => return,
                    },
                }
            }
        });
        runner
    }

    /// Looks again at a workspace: for tests that moved the clock.
    pub fn wake(&self, id: WorkspaceId) {
        let _ = self.inner.wake.send(id);
    }

    pub fn board(&self) -> &Board {
        &self.inner.board
    }

    /// Takes no more jobs, tells running ones to stop and waits for them. What does not end is begun again
    /// at the next start.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Inner {
    /// Begins what is due in a workspace, and remembers when to look again.
    async fn look(self: &Arc<Self>, id: WorkspaceId) {
        if let Err(error) = self.take(id).await {
            tracing::error!(workspace = %id, %error, "jobs of a workspace can't be read");
        }
    }

    async fn take(self: &Arc<Self>, id: WorkspaceId) -> Result<(), StoreError> {
        let Ok(ws) = self.door.for_runner(id) else { return Ok(()) };
        let closing = self.door.is_closing(id)?;
        let now = self.clock.now_ms();
        let read = ws.read()?;
        let mut next = None;
        for ((due, job), ()) in read.scan(&JOBS_DUE).limit(AT_ONCE).rows()? {
            if due > now {
                next = Some(due);
                break;
            }
            if self.board.of(job).is_some() {
                continue;
            }
            if let Some(row) = read.get(&JOBS, &job)?
                && (!closing || self.goes_on(&row))
            {
                self.begin(id, job, row);
            }
        }
        if let Some(due) = next {
            self.look_later(id, due, due - now);
        }
        Ok(())
    }

    fn look_later(self: &Arc<Self>, id: WorkspaceId, due: u64, millis: u64) {
        let later = || self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if later().get(&id).is_some_and(|known| *known <= due) {
            return;
        }
        later().insert(id, due);
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = this.stop.cancelled() => {}
                () = tokio::time::sleep(Duration::from_millis(millis)) => {
                    let mut later = this.later.lock().unwrap_or_else(PoisonError::into_inner);
                    if later.get(&id) == Some(&due) {
                        later.remove(&id);
                    }
                    drop(later);
                    let _ = this.wake.send(id);
                }
            }
        });
    }

    fn goes_on(&self, row: &JobRow) -> bool {
        self.kinds.get(row.kind.as_str()).is_some_and(|kind| kind.also_while_deleting)
    }

    fn begin(self: &Arc<Self>, id: WorkspaceId, job: JobId, row: JobRow) {
        if self.stop.is_cancelled() {
            return;
        }
        let cancel = self.stop.child_token();
        self.board.begin(job, &row.kind, id, cancel.clone(), self.goes_on(&row));
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let kind = this.kinds.get(row.kind.as_str()).cloned();
            let places = if kind.as_ref().is_some_and(|k| k.interactive) {
                &this.interactive
            } else {
                &this.background
            };
            // Closed never: the semaphores live as long as the runner.
            let _place = Arc::clone(places).acquire_owned().await;
            this.board.runs(job);
            if let Err(error) = this.run(id, job, row, kind, cancel).await {
                tracing::error!(workspace = %id, %job, %error, "a job's state can't be written");
            }
            this.board.end(job);
            // After the row and the board agree, so that a page which looks again sees the end.
            if let Ok(ws) = this.door.for_runner(id) {
                ws.live().publish(ENDED.to_owned());
            }
            let _ = this.wake.send(id);
        });
    }

    async fn run(
        self: &Arc<Self>,
        id: WorkspaceId,
        job: JobId,
        row: JobRow,
        kind: Option<Kind>,
        cancel: CancellationToken,
    ) -> Result<(), StoreError> {
        let Ok(Some(ws)) = self.door.for_job(id, job, row.asked_by) else { return Ok(()) };
        if cancel.is_cancelled() && self.stop.is_cancelled() {
            return Ok(());
        }
        let attempt = row.attempts + 1;
        // The row was read a while ago: it may have ended, or been put off, since.
        let seen = row.attempts;
        let still = ws
            .note(move |tx| {
                let Some(mut now) = tx.get(&JOBS, &job)? else { return Ok(false) };
                if now.state != JobState::Queued || now.attempts != seen {
                    return Ok::<_, StoreError>(false);
                }
                now.attempts = attempt;
                tx.put(&JOBS, &job, &now)?;
                Ok(true)
            })
            .await?;
        if !still {
            return Ok(());
        }
        let result = match kind {
            // A kind that this build no longer knows is consumed, so that it does not stay for ever.
            None => Err(JobError::Fail("this version no longer does this kind of work".into())),
            Some(_) if attempt > TRIES => {
                Err(JobError::Fail("stopped after several tries that did not end".into()))
            }
            Some(kind) => {
                let asker = kind.asker.zip(row.asked_by);
                if asker.is_some_and(|(least, account)| !self.still_asks(id, account, least)) {
                    cancel.cancel();
                }
                let steps = Steps {
                    id: job,
                    attempt,
                    asked_by: row.asked_by,
                    cancel: cancel.clone(),
                    ending: self.stop.clone(),
                    board: self.board.clone(),
                };
                let context = JobContext { ws, args: row.args.clone(), steps };
                // A task of its own, so that a panic ends this job and nothing else.
                let mut running = tokio::spawn((kind.run)(context));
                let ended = tokio::select! {
                    ended = &mut running => ended,
                    () = self.while_asked(id, asker) => {
                        cancel.cancel();
                        running.await
                    }
                };
                ended.unwrap_or_else(|_| Err(JobError::Retry("an internal error stopped it".into())))
            }
        };
        if result.is_err() && self.stop.is_cancelled() {
            // Shutting down: the row stays due, the next start begins it again.
            return Ok(());
        }
        if matches!(result, Err(JobError::Cancelled)) && self.door.is_closing(id)? {
            // Its workspace is to be deleted: it waits, and begins again when the workspace is kept.
            return Ok(());
        }
        self.end(id, job, JobRow { attempts: attempt, ..row }, result).await
    }

    /// Waits until whoever asked may no longer; for ever where nobody in particular did.
    async fn while_asked(&self, id: WorkspaceId, asker: Option<(Role, AccountId)>) {
        let Some((least, account)) = asker else { return std::future::pending().await };
        let mut again = tokio::time::interval(ASKED_AGAIN);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            again.tick().await;
            if !self.still_asks(id, account, least) {
                return;
            }
        }
    }

    fn still_asks(&self, id: WorkspaceId, account: AccountId, least: Role) -> bool {
        self.door.still_asks(account, id, least).unwrap_or_else(|error| {
            tracing::warn!(%error, "a job is ended because the membership of who asked can't be read");
            false
        })
    }

    async fn end(
        self: &Arc<Self>,
        id: WorkspaceId,
        job: JobId,
        row: JobRow,
        result: Result<(), JobError>,
    ) -> Result<(), StoreError> {
        let Ok(Some(ws)) = self.door.for_job(id, job, row.asked_by) else { return Ok(()) };
        let (now, now_ms, due) = (self.clock.now(), self.clock.now_ms(), (row.due_ms, job));
        let (state, error) = match result {
            Ok(()) => (JobState::Done, None),
            Err(JobError::Cancelled) => (JobState::Cancelled, None),
            Err(JobError::Retry(why)) if row.attempts < TRIES => {
                // 5 s, 10 s, 20 s, 40 s, each up to a fifth longer.
                let wait = 5_000 * (1u64 << (row.attempts.saturating_sub(1)).min(10));
                let due_ms = now_ms + wait + self.random.below(wait / 5);
                let again = JobRow { due_ms, error: Some(why), ..row };
                return ws
                    .note(move |tx| {
                        tx.remove(&JOBS_DUE, &due)?;
                        tx.put(&JOBS_DUE, &(due_ms, job), &())?;
                        tx.put(&JOBS, &job, &again)
                    })
                    .await;
            }
            Err(JobError::Fail(why) | JobError::Retry(why)) => {
                self.board.failed(Failure { at: now, kind: row.kind.clone(), workspace: id });
                (JobState::Failed, Some(why))
            }
        };
        // What it was given may name or quote something that is deleted before the row goes.
        let args = serde_json::Value::Null;
        let ended = JobRow { state, error, finished: Some(now), args, ..row };
        let name = format!("{job} {}", ended.kind);
        ws.change(Action::JobFinished, name, move |tx| {
            tx.remove(&JOBS_DUE, &due)?;
            tx.put(&JOBS, &job, &ended)?;
            super::prune(tx, now_ms, 16).map(|_| ())
        })
        .await
    }
}
