//! The daily look: what a workspace's limits take goes in batches, each with its audit line, and so does what grows
//! without end. It reads what is due each time, so that a process that is killed in between loses nothing but time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{due, grown};
use crate::clock::{Clock, Random};
use crate::identity::{Control, WorkspaceState};
use crate::ids::{AccountId, JobId, WorkspaceId};
use crate::meter::records::{date, day_of};
use crate::store::StoreError;
use crate::workspace::retention::{self, days_before};
use crate::workspace::{Door, Refused, Worker};
use crate::{chat, knowledge, orgs, privacy};

/// How often it looks whether a new day has come.
const EVERY: Duration = Duration::from_hours(1);
/// Conversations or documents removed in one commit.
const BATCH: usize = 20;
/// Component versions removed in one commit.
const VERSIONS: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio::task::JoinError> for SweepError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Store(StoreError::Io(std::io::Error::other(error)))
    }
}

/// Removes what is due. Cheap to clone.
#[derive(Clone)]
pub struct Sweeper {
    control: Control,
    door: Door,
    clock: Clock,
    random: Random,
    /// The day up to which a workspace (`None`: the instance) was swept.
    swept: Arc<Mutex<BTreeMap<Option<WorkspaceId>, u32>>>,
}

/// The running look.
pub struct Sweeping {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Sweeper {
    pub fn new(control: Control, door: Door, clock: Clock, random: Random) -> Self {
        Self { control, door, clock, random, swept: Arc::default() }
    }

    /// Looks now and every hour; each workspace is swept once a day.
    pub fn start(&self) -> Sweeping {
        let (this, stop) = (self.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return,
                    swept = this.sweep_due() => if let Err(error) = swept {
                        tracing::error!(%error, "what is kept too long could not be looked for");
                    }
                }
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        });
        Sweeping { stop, task }
    }

    /// Sweeps the instance and every workspace that was not swept today.
    pub async fn sweep_due(&self) -> Result<(), StoreError> {
        let today = day_of(date(self.clock.now()));
        privacy::mail_policy(&self.control).await?;
        if self.is_due(None, today) {
            grown::prune_control(&self.control).await?;
            self.done(None, today);
        }
        let control = self.control.clone();
        let listed = tokio::task::spawn_blocking(move || {
            Ok::<_, StoreError>((control.all_workspaces()?, control.restricted_accounts()?))
        });
        let (all, spared) = listed.await.map_err(|e| StoreError::Io(std::io::Error::other(e)))??;
        for (id, row) in all {
            if !self.is_due(Some(id), today) {
                continue;
            }
            // Restricted processing keeps what is there: only what nobody reads any more is tidied.
            let limited = row.state == WorkspaceState::Active;
            let swept = self.sweep(id, limited, &spared).await;
            self.door.let_go(id);
            match swept {
                Ok(()) => self.done(Some(id), today),
                Err(error) => {
                    tracing::error!(%error, workspace = %id, "a workspace keeps what is due to go; again in an hour");
                }
            }
        }
        Ok(())
    }

    async fn sweep(
        &self,
        id: WorkspaceId,
        limited: bool,
        spared: &BTreeSet<AccountId>,
    ) -> Result<(), SweepError> {
        let job = JobId::new(&self.clock, &self.random);
        let Some(ws) = self.door.for_job(id, job, None)? else { return Ok(()) };
        let ws = Arc::new(ws);
        if limited {
            self.apply(&ws, spared).await?;
        }
        Ok(grown::prune(&ws).await?)
    }

    /// Removes what the limits of a workspace take now.
    async fn apply(&self, ws: &Arc<Worker>, spared: &BTreeSet<AccountId>) -> Result<(), SweepError> {
        let now = self.clock.now();
        let (reader, some) = (Arc::clone(ws), spared.clone());
        let found = tokio::task::spawn_blocking(move || {
            let limits = retention::in_force(&reader.read()?, now)?;
            let chats = due::conversations(&reader, limits, now, &some)?;
            let documents = due::documents(&reader, limits, now, &some)?;
            let versions = due::versions(&reader, limits, now)?;
            Ok::<_, StoreError>((limits, chats, documents, versions))
        });
        let (limits, chats, documents, versions) = found.await??;
        let before = |days: Option<u32>| days.map(|days| days_before(now, days));
        if let Some(since) = before(limits.conversations) {
            for some in chats.chunks(BATCH) {
                let ids = some.iter().map(|(id, _)| *id).collect();
                chat::expire(ws, ids, since, spared.clone()).await?;
            }
        }
        if let Some(before) = before(limits.documents) {
            for some in documents.chunks(BATCH) {
                let ids = some.iter().map(|(id, _)| *id).collect();
                knowledge::expire(ws, ids, before, spared.clone()).await?;
            }
        }
        if let Some(before) = before(limits.versions) {
            for some in versions.chunks(VERSIONS) {
                let keys = some.iter().map(|old| old.key.clone()).collect();
                orgs::history::expire(ws, keys, before).await?;
            }
        }
        Ok(())
    }

    fn is_due(&self, id: Option<WorkspaceId>, today: u32) -> bool {
        self.swept().get(&id).is_none_or(|day| *day < today)
    }

    fn done(&self, id: Option<WorkspaceId>, today: u32) {
        self.swept().insert(id, today);
    }

    fn swept(&self) -> std::sync::MutexGuard<'_, BTreeMap<Option<WorkspaceId>, u32>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sweeping {
    /// Ends after the batch that is being removed.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}
