//! Looks after the chains of the instance and of every workspace: once an hour lines leave whose time is over. Checks the
//! instance's chain when an operator asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::verify::Held;
use crate::clock::{Clock, Random};
use crate::identity::Control;
use crate::ids::{JobId, WorkspaceId};
use crate::store::StoreError;
use crate::store::audit::prune::KeepFor;
use crate::store::audit::verify::Step;
use crate::store::audit::{Actor, Broken};
use crate::workspace::{Door, Refused, Workspace};

/// How often it looks.
const EVERY: Duration = Duration::from_hours(1);

/// Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    control: Control,
    door: Door,
    clock: Clock,
    random: Random,
    keeps: fn(&Workspace) -> Result<KeepFor, StoreError>,
    asked: Arc<Notify>,
    instance: Arc<Mutex<Instance>>,
}

/// What is known of the instance's chain since the process began.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// Lines checked, of how many, while a check runs.
    pub running: Option<(u64, u64)>,
    /// When the last check ended, and how.
    pub checked: Option<(Timestamp, Held)>,
    /// Why it could not be read.
    pub failed: Option<String>,
}

/// The running look.
pub struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error("{0}; nothing was removed from it")]
    Broken(Broken),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Keeper {
    /// `keeps` says how long a workspace wants its lines kept; the answer can't be under a year.
    pub fn new(
        control: Control,
        door: Door,
        clock: Clock,
        random: Random,
        keeps: fn(&Workspace) -> Result<KeepFor, StoreError>,
    ) -> Self {
        let (asked, instance) = Default::default();
        Self { control, door, clock, random, keeps, asked, instance }
    }

    /// Looks now and every hour, and when a check is asked for.
    pub fn start(&self) -> Running {
        let (this, stop) = (self.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut hourly = tokio::time::interval(EVERY);
            hourly.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = this.asked.notified() => this.check(&stopped).await,
                    _ = hourly.tick() => {
                        if let Err(error) = this.prune_due().await {
                            tracing::error!(%error, "audit lines whose time is over can't be found");
                        }
                    }
                }
            }
        });
        Running { stop, task }
    }

    /// Removes every line whose time is over; answers how many. A chain that can't be pruned now stays as it is.
    pub async fn prune_due(&self) -> Result<u64, StoreError> {
        let job = JobId::new(&self.clock, &self.random);
        let mut gone = match self.prune_control(job).await {
            Ok(lines) => lines,
            Err(error) => {
                tracing::error!(%error, "old audit lines of the instance stay; again in an hour");
                0
            }
        };
        let control = self.control.clone();
        for (id, _) in blocking(move || control.all_workspaces()).await? {
            let pruned = self.prune(id, job).await;
            self.door.let_go(id);
            match pruned {
                Ok(lines) => gone += lines,
                Err(error) => {
                    tracing::error!(%error, workspace = %id, "old audit lines stay; again in an hour");
                }
            }
        }
        Ok(gone)
    }

    async fn prune_control(&self, job: JobId) -> Result<u64, Kept> {
        let until = KeepFor::YEAR.ended(self.clock.now());
        let mut gone = 0;
        loop {
            let (control, actor) = (self.control.clone(), Actor::Job { id: job, asked_by: None });
            let pruned = blocking(move || control.prune_audit(until, actor)).await?.map_err(Kept::Broken)?;
            gone += pruned.map_or(0, |pruned| pruned.lines());
            if !pruned.is_some_and(|pruned| pruned.more) {
                return Ok(gone);
            }
        }
    }

    async fn prune(&self, id: WorkspaceId, job: JobId) -> Result<u64, Kept> {
        let door = self.door.clone();
        let Some(ws) = blocking(move || Ok(door.for_job(id, job, None))).await?? else { return Ok(0) };
        let until = (self.keeps)(&ws)?.ended(self.clock.now());
        let mut gone = 0;
        loop {
            let pruned = ws.prune_audit(until).await?.map_err(Kept::Broken)?;
            gone += pruned.map_or(0, |pruned| pruned.lines());
            if !pruned.is_some_and(|pruned| pruned.more) {
                return Ok(gone);
            }
        }
    }

    /// Asks for a check of the instance's chain; one that runs is enough.
    pub fn ask(&self) {
        let mut instance = self.lock();
        if instance.running.is_none() {
            instance.running = Some((0, 0));
            self.asked.notify_one();
        }
    }

    /// What is known of the instance's chain.
    pub fn instance(&self) -> Instance {
        self.lock().clone()
    }

    async fn check(&self, stop: &CancellationToken) {
        let (this, stop) = (self.clone(), stop.clone());
        let checked = blocking(move || this.walk(&stop)).await;
        let mut instance = self.lock();
        instance.running = None;
        match checked {
            Ok(Some(held)) => {
                (instance.checked, instance.failed) = (Some((self.clock.now(), held)), None);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "the audit chain of the instance can't be read");
                instance.failed = Some(error.to_string());
            }
        }
    }

    fn walk(&self, stop: &CancellationToken) -> Result<Option<Held>, StoreError> {
        let mut walk = self.control.audit_walk()?;
        while !stop.is_cancelled() {
            let read = self.control.read()?;
            let step = walk.step(&read)?;
            self.lock().running = Some(walk.progress());
            if let Step::Ended(ended) = step {
                return Ok(Some(Held::of(ended, &read)));
            }
        }
        Ok(None)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Instance> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| StoreError::Io(std::io::Error::other(e)))?
}

impl Running {
    /// Ends after what it does now.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}
