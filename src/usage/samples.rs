//! What a workspace takes, once a day: what forecasts are made of. A sample is taken when there is none of the day yet, so
//! that days on which the server slept are missing and none counts twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::identity::{Control, WorkspaceState};
use crate::ids::{OrgId, WorkspaceId};
use crate::meter::records::{date, day_of};
use crate::orgs::records::{self as orgs, LimitReading};
use crate::store::{Read as _, StoreError, Table};
use crate::workspace::{Door, Workspace};

/// By day since 1970, UTC.
pub const SAMPLES: Table<u32, Sample> = Table::new("capacity_samples", 1);

/// How often it looks.
const EVERY: Duration = Duration::from_hours(1);
/// Samples are kept for so many days.
const KEPT_DAYS: u32 = 400;
/// Old samples removed with a new one.
const REMOVED_AT_ONCE: usize = 16;
/// A reading of an org's limits that is older says nothing of the day.
const READING_HOLDS: SignedDuration = SignedDuration::from_hours(24);
/// Salesforce's name of the limit of API calls in 24 hours.
pub const DAILY_CALLS: &str = "DailyApiRequests";

/// What a workspace took on one day, in bytes, and what its orgs said of their API calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub keyspace: u64,
    pub index: u64,
    pub blobs: u64,
    #[serde(default)]
    pub orgs: BTreeMap<OrgId, LimitReading>,
}

impl Sample {
    pub fn bytes(&self) -> u64 {
        self.keyspace.saturating_add(self.index).saturating_add(self.blobs)
    }
}

/// Takes the samples. Cheap to clone.
#[derive(Clone)]
pub struct Sampler {
    control: Control,
    door: Door,
    clock: Clock,
    /// The day up to which a workspace is known to have its sample: it need not be opened again.
    known: Arc<Mutex<BTreeMap<WorkspaceId, u32>>>,
}

/// The running look, once an hour.
pub struct Sampling {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Sampler {
    pub fn new(control: Control, door: Door, clock: Clock) -> Self {
        Self { control, door, clock, known: Arc::default() }
    }

    /// Looks now and every hour.
    pub fn start(&self) -> Sampling {
        let (this, stop) = (self.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = this.take_due().await {
                    tracing::error!(%error, "no sample of what workspaces take could be kept");
                }
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        });
        Sampling { stop, task }
    }

    /// Takes the sample of today in every workspace that has none.
    pub async fn take_due(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let today = day_of(date(now));
        for (id, row) in self.control.all_workspaces()? {
            if self.known().get(&id).is_some_and(|day| *day >= today) {
                continue;
            }
            let taken = self.take(id, today, now, row.state != WorkspaceState::Active).await;
            self.door.let_go(id);
            match taken {
                Ok(()) => {
                    self.known().insert(id, today);
                }
                Err(error) => {
                    tracing::warn!(%error, workspace = %id, "what a workspace takes was not measured");
                }
            }
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<WorkspaceId, u32>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(
        &self,
        id: WorkspaceId,
        today: u32,
        now: Timestamp,
        restricted: bool,
    ) -> Result<(), StoreError> {
        let door = self.door.clone();
        let measured = tokio::task::spawn_blocking(move || {
            // Gone meanwhile.
            let Ok(ws) = door.for_runner(id) else { return Ok(None) };
            if ws.read()?.has(&SAMPLES, &today)? {
                return Ok(None);
            }
            let sample = measure(&ws, now, restricted)?;
            Ok::<_, StoreError>(Some((ws, sample)))
        });
        let measured = measured.await.map_err(|e| StoreError::Io(std::io::Error::other(e)))??;
        let Some((ws, sample)) = measured else { return Ok(()) };
        ws.note(move |tx| {
            let old =
                tx.scan(&SAMPLES).before(&today.saturating_sub(KEPT_DAYS)).limit(REMOVED_AT_ONCE).rows()?;
            for (day, _) in old {
                tx.remove(&SAMPLES, &day)?;
            }
            tx.put(&SAMPLES, &today, &sample)
        })
        .await
    }
}

impl Sampling {
    /// Ends after the sample that is being taken.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// What it takes now; while processing is restricted nothing but storage is measured.
fn measure(ws: &Workspace, now: Timestamp, restricted: bool) -> Result<Sample, StoreError> {
    let space = ws.space().map_err(StoreError::Io)?;
    let mut sample =
        Sample { keyspace: space.keyspace, index: space.index, blobs: space.blobs, orgs: BTreeMap::new() };
    if restricted {
        return Ok(sample);
    }
    for (id, org) in orgs::all(&ws.read()?)? {
        let fresh = org.last_sync.is_some_and(|run| now.duration_since(run.at) < READING_HOLDS);
        if let Some(reading) = org.limits.get(DAILY_CALLS).filter(|_| fresh) {
            sample.orgs.insert(id, *reading);
        }
    }
    Ok(sample)
}
