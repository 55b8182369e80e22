//! Deleting a document: hidden at once, then its words leave the index, its rows and its file go.

use std::sync::Arc;

use serde_json::json;

use super::records::{CONTENTS, DOCUMENTS, Document, PAGES, PASSAGES, Status};
use super::{ERASE, TOPIC, ingest};
use crate::ids::DocumentId;
use crate::jobs::{Board, JobCause, JobContext, JobError, enqueue};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::web::Problem;
use crate::workspace::index::{IndexError, Shelf};
use crate::workspace::{Change, Member, Workspace};

/// Hides a document and queues its removal.
pub async fn delete(ws: &Member, board: &Board, id: DocumentId) -> Result<(), Problem> {
    let cause = JobCause::of(ws);
    let job = ws
        .change(Action::DocumentDeleted, id, move |tx| {
            let known = tx.get(&DOCUMENTS, &id)?.filter(|d| d.status != Status::Deleting);
            let document = known.ok_or(Problem::NotFound)?;
            let job = document.job;
            hide(tx, &cause, id, document)?;
            Ok::<_, Problem>(job)
        })
        .await?;
    board.cancel(job);
    Ok(())
}

/// Hides a document inside a change and queues the removal of what it leaves.
pub(super) fn hide(
    tx: &mut Change<'_>,
    cause: &JobCause,
    id: DocumentId,
    mut document: Document,
) -> Result<(), StoreError> {
    document.status = Status::Deleting;
    // The same file may come again while this one goes.
    tx.remove(&CONTENTS, &document.content)?;
    tx.put(&DOCUMENTS, &id, &document)?;
    enqueue(tx, cause, ERASE, json!({ "document": id }))?;
    tx.announce(TOPIC);
    Ok(())
}

/// Removes what is left of a deleted document.
pub async fn run(job: JobContext) -> Result<(), JobError> {
    let id = ingest::args(&job)?;
    let (ws, _) = job.split();
    let ws = Arc::new(ws);
    let Some(document) = ws.read()?.get(&DOCUMENTS, &id)? else { return Ok(()) };
    leave_nothing(&ws, id).await?;
    match ws.blobs().remove(&document.blob) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(JobError::Retry(format!("the file could not be removed: {error}")));
        }
        _ => {}
    }
    ws.change(Action::DocumentErased, id, move |tx| {
        tx.remove(&DOCUMENTS, &id)?;
        tx.announce(TOPIC);
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(())
}

/// No word in the index, no page, no passage.
pub async fn leave_nothing(ws: &Arc<crate::workspace::Worker>, id: DocumentId) -> Result<(), JobError> {
    let worker = Arc::clone(ws);
    let removed = tokio::task::spawn_blocking(move || words(&worker, id)).await;
    removed.map_err(|e| JobError::Retry(e.to_string()))??;
    ws.note(move |tx| {
        tx.remove_under(&PAGES, &id)?;
        tx.remove_under(&PASSAGES, &id)
    })
    .await?;
    Ok(())
}

fn words(ws: &Workspace, id: DocumentId) -> Result<(), IndexError> {
    match ws.index().remove(Shelf::Knowledge, &id.to_string()) {
        // An index that does not open goes as a whole: it is built again from what stays.
        Err(IndexError::Damaged(_)) => ws.index().reset(Shelf::Knowledge),
        other => other,
    }
}
