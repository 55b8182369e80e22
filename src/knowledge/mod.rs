//! The library. A file comes in (`upload`), is read in a confined child (`extract`), cut into `passages` and indexed
//! (`ingest`), found with its page (`search`), and goes without a trace (`erase`). `records` is what is kept; `pages`
//! and `document` show it.

mod document;
mod erase;
mod expire;
pub mod extract;
mod ingest;
mod pages;
pub mod passages;
pub mod records;
mod search;
mod upload;

pub use document::send;
pub use erase::delete;
pub use expire::{expire, uploaded_before};
pub use search::{KnowledgeFound, KnowledgeHit, search};
pub use upload::{Added, add, retry};

use actix_web::web;

use crate::jobs::{Board, JobCause, Kind, enqueue};
use crate::store::StoreError;
use crate::store::audit::Action;
use crate::workspace::Workspace;
use extract::Extractor;

/// Names of the kinds of jobs.
pub const INGEST: &str = "document.ingest";
pub const ERASE: &str = "document.erase";
pub const REINDEX: &str = "document.reindex";
/// Pages that list documents listen to this.
pub const TOPIC: &str = "documents";

/// Fields of a multipart form, for the API.
pub mod file_of {
    pub use super::pages::{body, small};
}

/// What this slice needs of the process. Cheap to clone.
#[derive(Clone)]
pub struct Knowledge {
    pub extractor: Extractor,
    pub board: Board,
}

impl Knowledge {
    /// The background work of this slice.
    pub fn jobs(&self) -> Vec<Kind> {
        let this = self.clone();
        vec![
            Kind::new(INGEST, move |job| ingest::run(this.clone(), job)),
            Kind::new(ERASE, erase::run).also_while_deleting(),
            Kind::new(REINDEX, ingest::reindex),
        ]
    }
}

/// Pages of this slice.
pub fn routes(config: &mut web::ServiceConfig) {
    pages::routes(config);
    document::routes(config);
}

/// Queues the building of the index from what is kept.
pub async fn rebuild(ws: &Workspace) -> Result<(), StoreError> {
    let cause = JobCause::of(ws);
    ws.change(Action::DocumentsReindexed, ws.id(), move |tx| {
        enqueue(tx, &cause, REINDEX, serde_json::json!({})).map(|_| ())
    })
    .await
}
