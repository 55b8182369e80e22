//! Taking a file in: streamed into a sealed blob, counted and hashed on the way, never whole in memory.

use std::io::Write as _;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use ring::digest;
use serde_json::json;

use super::extract::{Kind, LARGEST};
use super::records::{CONTENTS, DOCUMENTS, Document, MOST_WAITING, Status, totals};
use super::{INGEST, TOPIC};
use crate::identity::Quota;
use crate::ids::{DocumentId, JobId};
use crate::jobs::{JobCause, enqueue};
use crate::meter::{self, Act, Event, Feature};
use crate::store::Read as _;
use crate::store::audit::Action;
use crate::web::Problem;
use crate::workspace::Member;
use crate::workspace::blobs::NewBlob;

const LONGEST_NAME: usize = 200;
/// Bytes that are written to the disk at once.
const WRITE: usize = 256 * 1024;
/// Bytes that decide whether the file can be read at all.
const HEAD: usize = 2048;

/// What became of an upload.
#[derive(Clone, Debug)]
pub enum Added {
    /// The same file is here already.
    Known(DocumentId, String),
    New(DocumentId),
}

/// Keeps a file and queues its reading. `body` is its bytes in pieces.
pub async fn add(
    ws: &Member,
    quota: Quota,
    name: &str,
    collection: Option<String>,
    body: impl Stream<Item = Result<Bytes, Problem>>,
) -> Result<Added, Problem> {
    ws.processing()?;
    let name = file_name(name)?;
    let before = totals(&ws.read()?)?;
    if before.documents >= quota.documents as usize {
        return Err(Problem::Conflict(format!(
            "This workspace may have {} documents, and has them. The file was not kept. Delete some, or ask the operator of \
             this instance for a higher limit.",
            quota.documents
        )));
    }
    if before.waiting >= MOST_WAITING {
        return Err(Problem::Conflict(format!(
            "{MOST_WAITING} documents wait to be read. The file was not kept. Upload it again when they are done."
        )));
    }
    let left = quota.bytes.saturating_sub(before.bytes);
    let taken = take(ws, &name, body, left, quota).await?;
    let id = DocumentId::new(ws.clock(), ws.random());
    let (now, by, cause) = (ws.clock().now(), ws.account(), JobCause::of(ws));
    let document = Document {
        name,
        bytes: taken.bytes,
        content: ws.lookup(taken.hash.as_ref()),
        blob: taken.blob.clone(),
        status: Status::Queued,
        job: JobId::from_bytes([0; 16]),
        kind: String::new(),
        title: None,
        language: None,
        pages: 0,
        passages: 0,
        warnings: Vec::new(),
        error: None,
        uploaded: now,
        uploaded_by: Some(by),
        collection,
    };
    let added = ws
        .change(Action::DocumentUploaded, id, move |tx| {
            if let Some(known) = tx.get(&CONTENTS, &document.content)?
                && let Some(row) = tx.get(&DOCUMENTS, &known)?
            {
                return Ok(Added::Known(known, row.name));
            }
            // Two uploads at once may not both pass the quota.
            if totals(&**tx)?.bytes + document.bytes > quota.bytes {
                return Err(over(quota));
            }
            let job = enqueue(tx, &cause, INGEST, json!({ "document": id }))?;
            let used = Event::new(Some(by), Feature::Knowledge).count(Act::StoredBytes, document.bytes);
            meter::record(tx, now, &used)?;
            tx.put(&CONTENTS, &document.content, &id)?;
            tx.put(&DOCUMENTS, &id, &Document { job, ..document })?;
            tx.announce("documents");
            Ok(Added::New(id))
        })
        .await;
    if !matches!(added, Ok(Added::New(_)))
        && let Err(error) = ws.blobs().remove(&taken.blob)
    {
        tracing::warn!(%error, "a file that was not kept could not be removed yet");
    }
    added
}

/// Queues the reading of a document once more, after it failed.
pub async fn retry(ws: &Member, id: DocumentId) -> Result<(), Problem> {
    ws.processing()?;
    let cause = JobCause::of(ws);
    ws.change(Action::DocumentUploaded, id, move |tx| {
        let mut document = tx.get(&DOCUMENTS, &id)?.ok_or(Problem::NotFound)?.settled(&**tx)?;
        if document.status != Status::Failed {
            return Err(Problem::Conflict(
                "This document is not waiting for another try. Nothing was changed.".into(),
            ));
        }
        document.status = Status::Queued;
        document.error = None;
        document.job = enqueue(tx, &cause, INGEST, json!({ "document": id }))?;
        tx.put(&DOCUMENTS, &id, &document)?;
        tx.announce(TOPIC);
        Ok(())
    })
    .await
}

fn over(quota: Quota) -> Problem {
    Problem::TooLarge(format!(
        "The documents of this workspace may take {} MB, and would take more. The file was not kept. Delete documents, or ask \
         the operator of this instance for a higher limit.",
        quota.bytes >> 20
    ))
}

/// A name without a path, not too long.
fn file_name(name: &str) -> Result<String, Problem> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    let name = name.trim().to_owned();
    if name.is_empty() { Err(Problem::field("files", "The file has no name.")) } else { Ok(name) }
}

struct Taken {
    blob: crate::workspace::blobs::BlobName,
    bytes: u64,
    hash: digest::Digest,
}

async fn take(
    ws: &Member,
    name: &str,
    body: impl Stream<Item = Result<Bytes, Problem>>,
    left: u64,
    quota: Quota,
) -> Result<Taken, Problem> {
    let broken = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::StorageFull => Problem::DiskFull,
        _ => Problem::Broken(format!("an upload could not be kept: {e}")),
    };
    let mut blob = ws.blobs().create().map_err(broken)?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let (mut bytes, mut held, mut looked) = (0u64, Vec::new(), false);
    let mut body = std::pin::pin!(body);
    while let Some(piece) = body.next().await {
        let piece = piece?;
        bytes += piece.len() as u64;
        if bytes > LARGEST {
            return Err(Problem::TooLarge(
                "This file has more than 50 MB. It was not kept. Split it.".into(),
            ));
        }
        if bytes > left {
            return Err(over(quota));
        }
        hash.update(&piece);
        held.extend_from_slice(&piece);
        if !looked && held.len() >= HEAD {
            readable(name, &held)?;
            looked = true;
        }
        if held.len() >= WRITE {
            blob = write(blob, std::mem::take(&mut held)).await?.map_err(broken)?;
        }
    }
    if bytes == 0 {
        return Err(Problem::field("files", "This file is empty."));
    }
    if !looked {
        readable(name, &held)?;
    }
    let blob = write(blob, held).await?.map_err(broken)?;
    let blob = actix_web::web::block(move || blob.finish()).await?.map_err(broken)?;
    Ok(Taken { blob, bytes, hash: hash.finish() })
}

/// Refuses what can't be read before it is kept.
fn readable(name: &str, head: &[u8]) -> Result<(), Problem> {
    Kind::of(name, head).map(|_| ()).map_err(|error| Problem::field("files", error.to_string()))
}

async fn write(mut blob: NewBlob, bytes: Vec<u8>) -> Result<std::io::Result<NewBlob>, Problem> {
    Ok(actix_web::web::block(move || blob.write_all(&bytes).map(|()| blob)).await?)
}
