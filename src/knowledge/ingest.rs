//! Reading a document: extracted in its child, cut into passages, indexed. A job of idempotent steps: whatever
//! was half done is done again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::extract::{ExtractError, Extracted, Page};
use super::passages::split;
use super::records::{DOCUMENTS, Document, PAGES, PASSAGES, Passage, Status};
use super::{Knowledge, TOPIC};
use crate::ids::DocumentId;
use crate::jobs::{JobContext, JobError, Steps};
use crate::meter::{self, Act, Event, Feature};
use crate::store::audit::Action;
use crate::store::{Read, StoreError};
use crate::workspace::index::{Entry, IndexError, Shelf};
use crate::workspace::{Worker, Workspace};

/// Rows in one commit.
const BATCH: usize = 200;
/// Pages between two announcements of progress.
const STEP: u32 = 8;

#[derive(Deserialize)]
pub struct Args {
    pub document: DocumentId,
}

pub fn args(job: &JobContext) -> Result<DocumentId, JobError> {
    let args: Args = serde_json::from_value(job.args.clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    Ok(args.document)
}

/// Reads a document until it can be searched, or says why it can't be read.
pub async fn run(service: Knowledge, job: JobContext) -> Result<(), JobError> {
    let id = args(&job)?;
    let (ws, steps) = job.split();
    let ws = Arc::new(ws);
    let Some(document) = ws.read()?.get(&DOCUMENTS, &id)?.filter(|d| d.status.is_busy()) else {
        return Ok(());
    };
    if ws.hindered().is_some() {
        return failed(&ws, id, ExtractError::Restricted).await;
    }
    set(&ws, id, |document| document.status = Status::Extracting).await?;
    let found = extract(&service, &ws, &steps, &document).await;
    steps.check()?;
    let found = match found {
        Ok(found) => found,
        Err(error) => return failed(&ws, id, error).await,
    };
    if ws.hindered().is_some() {
        return failed(&ws, id, ExtractError::Restricted).await;
    }
    set(&ws, id, |document| document.status = Status::Indexing).await?;
    steps.progress(&ws, TOPIC, "Indexing", 0, 0);
    let passages = keep(&ws, id, &found).await?;
    let (worker, name, language) = (Arc::clone(&ws), document.name.clone(), found.language.clone());
    let indexed = tokio::task::spawn_blocking(move || {
        let title = name;
        index(&worker, id, &title, language.as_deref())
    });
    match indexed.await.map_err(|e| JobError::Retry(e.to_string()))? {
        Err(IndexError::Damaged(why)) => {
            ws.index().reset(Shelf::Knowledge)?;
            super::rebuild(&ws).await?;
            return Err(JobError::Retry(format!("the search index is built again: {why}")));
        }
        other => other?,
    }
    let Extracted { pages, title, language, kind, warnings, .. } = found;
    let now = ws.clock().now();
    let used = Event::new(ws.counted(), Feature::Knowledge);
    let used = used.count(Act::FeatureUsed, 1).count(Act::PageIngested, pages.len() as u64);
    let kept = ws
        .change(Action::DocumentIndexed, id, move |tx| {
            meter::record(tx, now, &used)?;
            let Some(mut document) = tx.get(&DOCUMENTS, &id)? else { return Ok::<_, StoreError>(false) };
            if document.status == Status::Deleting {
                return Ok(true);
            }
            document.status = Status::Ready;
            document.pages = pages.len() as u32;
            document.passages = passages;
            (document.title, document.language, document.kind, document.warnings) =
                (title, language, kind, warnings);
            document.error = None;
            tx.put(&DOCUMENTS, &id, &document)?;
            tx.announce(TOPIC);
            Ok(true)
        })
        .await?;
    if !kept {
        // Deleted while it was read: nothing of it stays.
        super::erase::leave_nothing(&ws, id).await?;
    }
    Ok(())
}

async fn extract(
    service: &Knowledge,
    ws: &Arc<Worker>,
    steps: &Steps,
    document: &Document,
) -> Result<Extracted, ExtractError> {
    let (reader, blob) = (Arc::clone(ws), document.blob.clone());
    let open = move || reader.blobs().open(&blob);
    let on_page = |done: u32, total: u32| {
        if done.is_multiple_of(STEP) || done == total || done == 1 {
            steps.progress(ws, TOPIC, "Reading", u64::from(done), u64::from(total));
        }
    };
    service.extractor.run(&document.name, open, on_page, &steps.cancel).await
}

async fn set(
    ws: &Workspace,
    id: DocumentId,
    change: impl FnOnce(&mut Document) + Send + 'static,
) -> Result<(), StoreError> {
    ws.note(move |tx| {
        if let Some(mut document) = tx.get(&DOCUMENTS, &id)?
            && document.status != Status::Deleting
        {
            change(&mut document);
            tx.put(&DOCUMENTS, &id, &document)?;
            tx.announce(TOPIC);
        }
        Ok(())
    })
    .await
}

async fn failed(ws: &Workspace, id: DocumentId, error: ExtractError) -> Result<(), JobError> {
    ws.change(Action::DocumentFailed, id, move |tx| {
        if let Some(mut document) = tx.get(&DOCUMENTS, &id)?
            && document.status != Status::Deleting
        {
            document.status = Status::Failed;
            document.error = Some(error);
            tx.put(&DOCUMENTS, &id, &document)?;
        }
        tx.announce(TOPIC);
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(())
}

/// Keeps pages and passages in place of what an earlier try left.
async fn keep(ws: &Workspace, id: DocumentId, found: &Extracted) -> Result<u64, StoreError> {
    ws.note(move |tx| {
        tx.remove_under(&PAGES, &id)?;
        tx.remove_under(&PASSAGES, &id)
    })
    .await?;
    for pages in found.pages.chunks(BATCH) {
        let pages: Vec<Page> = pages.to_vec();
        ws.note(move |tx| pages.iter().try_for_each(|page| tx.put(&PAGES, &(id, page.number), &page.text)))
            .await?;
    }
    let passages = split(&found.pages);
    let total = passages.len() as u64;
    for (nth, some) in passages.chunks(BATCH).enumerate() {
        let first = (nth * BATCH) as u64;
        let rows: Vec<(u64, Passage)> = (first..)
            .zip(some)
            .map(|(number, p)| {
                let passage = Passage {
                    page: p.page,
                    heading: p.heading.clone(),
                    text: p.text.clone(),
                    start: p.start,
                    end: p.end,
                };
                (number, passage)
            })
            .collect();
        ws.note(move |tx| rows.iter().try_for_each(|(number, row)| tx.put(&PASSAGES, &(id, *number), row)))
            .await?;
    }
    Ok(total)
}

/// Puts the passages of a document into the index. Blocks.
pub fn index(ws: &Workspace, id: DocumentId, title: &str, language: Option<&str>) -> Result<(), IndexError> {
    let read = |e: StoreError| IndexError::Io(e.to_string());
    let group = id.to_string();
    let rows = ws.read().map_err(read)?.scan(&PASSAGES).under(&id).rows().map_err(read)?;
    let entries: Vec<Entry> = rows
        .into_iter()
        .map(|((_, number), passage)| Entry {
            id: number.to_string(),
            group: group.clone(),
            number: u64::from(passage.page),
            language: language.map(str::to_owned),
            title: title.to_owned(),
            heading: passage.heading,
            body: passage.text,
        })
        .collect();
    ws.index().replace(Shelf::Knowledge, &group, &entries)
}

/// Builds the index of all documents again from what is kept of them.
pub async fn reindex(job: JobContext) -> Result<(), JobError> {
    let (ws, steps) = job.split();
    let ws = Arc::new(ws);
    let ready: BTreeMap<DocumentId, Document> =
        ws.read()?.scan(&DOCUMENTS).rows()?.into_iter().filter(|(_, d)| d.status == Status::Ready).collect();
    let total = ready.len() as u64;
    for (nth, (id, document)) in (1u64..).zip(ready) {
        steps.check()?;
        let worker = Arc::clone(&ws);
        let done = tokio::task::spawn_blocking(move || {
            index(&worker, id, &document.name, document.language.as_deref())
        });
        done.await.map_err(|e| JobError::Retry(e.to_string()))??;
        steps.progress(&ws, TOPIC, "Building the search index", nth, total);
    }
    Ok(())
}
