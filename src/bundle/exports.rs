//! Exports of a workspace: asked for by an owner, made by a job into a sealed blob, kept for a week for the one who asked.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BundleError, pack_workspace};
use crate::identity::{Control, Role};
use crate::ids::{AccountId, ExportId, JobId};
use crate::jobs::{Board, JOBS, JobCause, JobContext, JobError, JobState, Steps, enqueue, enqueue_at};
use crate::mail::Letter;
use crate::meter::{self, Act, Event, Feature};
use crate::notifications::{self, Audience, Kind, Notice};
use crate::store::audit::Action;
use crate::store::{Read, StoreError, Table};
use crate::web::Problem;
use crate::workspace::blobs::BlobName;
use crate::workspace::{Owner, Worker, Workspace};

pub const EXPORTS: Table<ExportId, Export> = Table::new("exports", 1);
/// Names of the kinds of jobs.
pub const MAKE: &str = "export.make";
pub const EXPIRE: &str = "export.expire";
/// Pages that show exports listen to this.
pub const TOPIC: &str = "exports";

/// How long an export can be downloaded.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Exports that a workspace keeps at once.
const MOST: usize = 5;
/// Bytes between two announcements of progress.
const STEP: u64 = 8 << 20;

/// An export as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Export {
    /// Who asked: nobody else sees it.
    pub by: AccountId,
    pub asked: Timestamp,
    pub job: JobId,
    /// Once it is ready.
    #[serde(default)]
    pub made: Option<Made>,
}

/// A finished bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    pub blob: BlobName,
    pub bytes: u64,
    pub at: Timestamp,
    pub ends: Timestamp,
}

/// Where an export stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its time is over.
    Ended,
    Failed(String),
    Queued,
    /// What it does, bytes done, bytes in all (0 = not known yet).
    Running(String, u64, u64),
    Ready,
}

impl State {
    /// Its name for interfaces.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Failed(_) => "failed",
            Self::Queued => "queued",
            Self::Running(..) => "running",
            Self::Ready => "ready",
        }
    }
}

/// Where an export stands now.
pub fn state(read: &impl Read, board: &Board, export: &Export, now: Timestamp) -> Result<State, StoreError> {
    if let Some(made) = &export.made {
        return Ok(if made.ends > now { State::Ready } else { State::Ended });
    }
    let job = read.get(&JOBS, &export.job)?;
    Ok(match job.as_ref().map(|job| job.state) {
        Some(JobState::Queued) => match board.of(export.job).filter(|p| !p.phase.is_empty()) {
            Some(p) => State::Running(p.phase, p.done, p.total),
            None => State::Queued,
        },
        Some(JobState::Cancelled) => State::Failed("It was stopped.".into()),
        _ => State::Failed(job.and_then(|job| job.error).unwrap_or_else(|| "It did not end.".into())),
    })
}

/// The export of this id, for the one who asked for it.
pub fn of(ws: &Workspace, by: AccountId, id: ExportId) -> Result<Export, Problem> {
    ws.read()?.get(&EXPORTS, &id)?.filter(|export| export.by == by).ok_or(Problem::NotFound)
}

/// Those that a person asked for, newest first.
pub fn all_of(read: &impl Read, by: AccountId) -> Result<Vec<(ExportId, Export)>, StoreError> {
    let mut all = read.scan(&EXPORTS).reverse().rows()?;
    all.retain(|(_, export)| export.by == by);
    Ok(all)
}

/// Queues an export of the workspace.
pub async fn ask(ws: &Owner) -> Result<ExportId, Problem> {
    let id = ExportId::new(ws.clock(), ws.random());
    let (by, asked, cause) = (ws.account(), ws.clock().now(), JobCause::of(ws));
    ws.change(Action::ExportAsked, id, move |tx| {
        for (_, export) in tx.scan(&EXPORTS).rows()? {
            let job = tx.get(&JOBS, &export.job)?;
            if export.made.is_none() && job.is_some_and(|job| job.state == JobState::Queued) {
                return Err(Problem::Conflict(
                    "An export of this workspace is being made already. Wait until it is ready, or stop it.".into(),
                ));
            }
        }
        if tx.scan(&EXPORTS).count()? >= MOST {
            return Err(Problem::Conflict(format!(
                "{MOST} exports of this workspace are kept, which is the most. Delete one, then start this one again."
            )));
        }
        let job = enqueue(tx, &cause, MAKE, json!({ "export": id }))?;
        tx.put(&EXPORTS, &id, &Export { by, asked, job, made: None })?;
        tx.announce(TOPIC);
        Ok(id)
    })
    .await
}

/// Removes an export with its file; one that is being made is stopped first.
pub async fn delete(ws: &Owner, board: &Board, id: ExportId) -> Result<(), Problem> {
    let export = of(ws, ws.account(), id)?;
    board.cancel(export.job);
    Ok(remove(ws, id).await?)
}

async fn remove(ws: &Workspace, id: ExportId) -> Result<(), StoreError> {
    let gone = ws
        .change(Action::ExportRemoved, id, move |tx| {
            let export = tx.get(&EXPORTS, &id)?;
            tx.remove(&EXPORTS, &id)?;
            tx.announce(TOPIC);
            Ok::<_, StoreError>(export)
        })
        .await?;
    match gone.and_then(|export| export.made) {
        Some(made) => Ok(ws.blobs().remove(&made.blob)?),
        None => Ok(()),
    }
}

/// A ready export for its download, which the audit log has a line of.
pub async fn take(ws: &Owner, id: ExportId) -> Result<Made, Problem> {
    let export = of(ws, ws.account(), id)?;
    let made = export
        .made
        .ok_or_else(|| Problem::Conflict("This export is not ready yet. You are told when it is.".into()))?;
    if made.ends <= ws.clock().now() {
        return Err(Problem::Gone("The seven days of this export are over. Start a new one.".into()));
    }
    ws.change(Action::ExportDownloaded, id, |_| Ok::<_, StoreError>(())).await?;
    Ok(made)
}

fn args(job: &JobContext) -> Result<ExportId, JobError> {
    serde_json::from_value(job.args["export"].clone()).map_err(|e| JobError::Fail(e.to_string()))
}

/// The job that makes one.
pub async fn make(control: Control, job: JobContext) -> Result<(), JobError> {
    let id = args(&job)?;
    let (ws, steps) = job.split();
    let (ws, steps) = (Arc::new(ws), Arc::new(steps));
    let Some(export) = ws.read()?.get(&EXPORTS, &id)?.filter(|e| e.made.is_none()) else { return Ok(()) };
    // Who lost the role since gets nothing.
    if control.role_in(export.by, ws.id())? != Some(Role::Owner) {
        return Err(JobError::Fail("whoever asked for it is no owner of this workspace any more".into()));
    }
    let (from, row, at) = (Arc::clone(&ws), control.workspace(ws.id())?, ws.clock().now());
    let Some(row) = row else { return Ok(()) };
    let made = tokio::task::spawn_blocking(move || write(&control, &from, &steps, at)).await;
    let (blob, bytes) = made.map_err(|e| JobError::Retry(e.to_string()))??;
    let ends = at.checked_add(KEPT).unwrap_or(Timestamp::MAX);
    let (made, cause) = (Made { blob: blob.clone(), bytes, at, ends }, JobCause::of(&ws));
    let kept = ws
        .change(Action::ExportMade, id, move |tx| {
            let Some(export) = tx.get(&EXPORTS, &id)? else { return Ok::<_, StoreError>(false) };
            let link = format!("/w/{}/privacy/export", row.slug);
            let letter = Letter::ExportReady { workspace: Some(row.name), ends, link };
            notifications::raise(
                tx,
                &cause,
                Audience::Account(export.by),
                Notice::of(Kind::ExportReady, letter).body("Only you can download it, for seven days."),
            )?;
            let due_ms = u64::try_from(ends.as_millisecond()).unwrap_or(u64::MAX);
            enqueue_at(tx, &cause, EXPIRE, json!({ "export": id }), due_ms)?;
            let used = Event::new(Some(export.by), Feature::Export);
            meter::record(tx, at, &used.count(Act::FeatureUsed, 1).count(Act::Export, 1))?;
            tx.put(&EXPORTS, &id, &Export { made: Some(made), ..export })?;
            tx.announce(TOPIC);
            Ok(true)
        })
        .await?;
    if !kept {
        // Deleted while it was made.
        ws.blobs().remove(&blob).map_err(StoreError::from)?;
    }
    Ok(())
}

/// Writes the bundle into a blob; answers its name and size.
fn write(control: &Control, ws: &Worker, steps: &Steps, at: Timestamp) -> Result<(BlobName, u64), JobError> {
    let failed = |e: std::io::Error| JobError::from(StoreError::from(e));
    let mut blob = ws.blobs().create().map_err(failed)?;
    let mut told = None;
    let mut step = |done: u64, all: u64| {
        if steps.check().is_err() {
            return Err(std::io::Error::other("stopped"));
        }
        if told != Some((done / STEP, all)) {
            told = Some((done / STEP, all));
            let phase = if all == 0 { "Reading" } else { "Writing" };
            steps.progress(ws, TOPIC, phase, done, all);
        }
        Ok(())
    };
    let packed = pack_workspace(control, ws, at, &mut blob, &mut step);
    steps.check()?;
    packed.map_err(|error| match error {
        // A document that was deleted meanwhile: the next try begins from what is there then.
        BundleError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            JobError::Retry(error.to_string())
        }
        BundleError::Io(error) => failed(error),
        BundleError::Store(error) => error.into(),
        other => JobError::Fail(other.to_string()),
    })?;
    let name = blob.finish().map_err(failed)?;
    let bytes = ws.blobs().open(&name).map_err(failed)?.len();
    Ok((name, bytes))
}

/// The job that removes one whose time is over.
pub async fn expire(job: JobContext) -> Result<(), JobError> {
    let id = args(&job)?;
    let (ws, _) = job.split();
    if ws.read()?.has(&EXPORTS, &id)? {
        remove(&ws, id).await?;
    }
    Ok(())
}
