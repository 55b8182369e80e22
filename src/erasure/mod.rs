//! Erases what is due: `accounts` whose 30 days are over, `workspaces` whose 30 days are over, audit lines of erased
//! workspaces that are a year old, and the bytes that removed rows left in data files. It looks once an hour; whatever it is
//! killed in is done again.

mod accounts;
mod workspaces;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Random};
use crate::identity::Control;
use crate::ids::WorkspaceId;
use crate::orgs::Orgs;
use crate::store::StoreError;
use crate::workspace::{Door, Pool, Refused};

/// How often it looks.
const EVERY: Duration = Duration::from_hours(1);
/// How soon it looks again when something could not be done.
const SOON: Duration = Duration::from_mins(1);
/// Audit lines are kept for so long.
const AUDIT_KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);

#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// Somebody is still in the workspace; nothing was destroyed.
    #[error("somebody is still in the workspace")]
    Busy,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds and erases what is due. Cheap to clone.
#[derive(Clone)]
pub struct Eraser {
    control: Control,
    door: Door,
    pool: Arc<Pool>,
    orgs: Orgs,
    clock: Clock,
    random: Random,
    /// Whose turn it is to do a step of an erasure: two at once would write over each other's certificate.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Every workspace was looked at for what an earlier process left uncompacted.
    looked: Arc<AtomicBool>,
}

/// The running look, once an hour.
pub struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Eraser {
    pub fn new(
        control: Control,
        door: Door,
        pool: Arc<Pool>,
        orgs: Orgs,
        clock: Clock,
        random: Random,
    ) -> Self {
        Self { control, door, pool, orgs, clock, random, turn: Arc::default(), looked: Arc::default() }
    }

    /// Looks now and every hour.
    pub fn start(&self) -> Running {
        let (this, stop) = (self.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                let next = if this.look(&stopped).await { EVERY } else { SOON };
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(next) => {}
                }
            }
        });
        Running { stop, task }
    }

    /// Does what is due; answers whether nothing is left over.
    async fn look(&self, stop: &CancellationToken) -> bool {
        let mut all = true;
        // Workspaces first: then less is left to look through for an account that goes.
        match self.erase_workspaces().await {
            Ok((_, left)) => all &= left == 0,
            Err(error) => {
                tracing::error!(%error, "workspaces to be erased can't be found");
                all = false;
            }
        }
        if let Err(error) = self.remind().await {
            tracing::error!(%error, "owners could not be reminded of a deletion");
        }
        if stop.is_cancelled() {
            return all;
        }
        if let Err(error) = self.erase_due().await {
            tracing::error!(%error, "accounts to be deleted can't be found");
        }
        if let Err(error) = self.prune_kept().await {
            tracing::error!(%error, "audit lines of erased workspaces were not pruned");
        }
        if stop.is_cancelled() {
            return all;
        }
        match self.compact_due().await {
            Ok(left) => all && left == 0,
            Err(error) => {
                tracing::error!(%error, "data files could not be compacted");
                false
            }
        }
    }

    /// Takes audit lines of erased workspaces away that are a year old; answers how many.
    pub async fn prune_kept(&self) -> Result<u64, StoreError> {
        let Ok(before) = self.clock.now().checked_sub(AUDIT_KEPT) else { return Ok(0) };
        let control = self.control.clone();
        blocking(move || control.prune_kept(before)).await
    }

    /// Takes the bytes of removed rows off the disk, where rows were removed; answers in how many files that has to wait.
    pub async fn compact_due(&self) -> Result<usize, StoreError> {
        let mut due = self.pool.hooks().take_removed();
        if !self.looked.swap(true, Ordering::Relaxed) {
            due.extend(self.control.all_workspaces()?.into_iter().map(|(id, _)| id));
        }
        let mut left = 0;
        for id in due {
            let compacted = self.compact(id).await;
            self.door.let_go(id);
            match compacted {
                Ok(true) => {}
                Ok(false) => left += self.again(id),
                Err(error) => {
                    tracing::error!(%error, workspace = %id, "a data file could not be compacted");
                    left += self.again(id);
                }
            }
        }
        let control = self.control.clone();
        left += usize::from(!blocking(move || control.compact_if_due()).await?);
        Ok(left)
    }

    async fn compact(&self, id: WorkspaceId) -> Result<bool, StoreError> {
        // Gone meanwhile, or being erased.
        let Ok(ws) = self.door.for_runner(id) else { return Ok(true) };
        ws.compact_if_due().await
    }

    fn again(&self, id: WorkspaceId) -> usize {
        self.pool.hooks().removed(id);
        1
    }
}

impl Running {
    /// Ends after what it does now.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))))
}
