//! What is kept of documents: the file as a sealed blob, its pages and passages as rows of their own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::extract::ExtractError;
use crate::ids::{AccountId, DocumentId, JobId};
use crate::jobs::JOBS;
use crate::store::{Read, StoreError, Table};
use crate::workspace::blobs::BlobName;

pub const DOCUMENTS: Table<DocumentId, Document> = Table::new("documents", 1);
/// Keyed hash of the content -> the document that has it: one file is kept once.
pub const CONTENTS: Table<[u8; 32], DocumentId> = Table::new("document_contents", 1);
pub const PAGES: Table<(DocumentId, u32), String> = Table::new("document_pages", 1);
/// By number in the document, from 0.
pub const PASSAGES: Table<(DocumentId, u64), Passage> = Table::new("document_passages", 1);

/// Documents that wait to be read, at most.
pub const MOST_WAITING: usize = 200;

/// Where a document stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Deleting,
    Extracting,
    Failed,
    Indexing,
    Queued,
    Ready,
}

impl Status {
    /// Its name for interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deleting => "deleting",
            Self::Extracting => "extracting",
            Self::Failed => "failed",
            Self::Indexing => "indexing",
            Self::Queued => "queued",
            Self::Ready => "ready",
        }
    }

    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Extracting | Self::Indexing | Self::Queued)
    }
}

/// An uploaded file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    pub name: String,
    pub bytes: u64,
    /// Keyed hash of its content.
    pub content: [u8; 32],
    pub blob: BlobName,
    pub status: Status,
    pub job: JobId,
    pub kind: String,
    pub title: Option<String>,
    pub language: Option<String>,
    pub pages: u32,
    pub passages: u64,
    pub warnings: Vec<String>,
    /// Why it could not be read.
    pub error: Option<ExtractError>,
    pub uploaded: Timestamp,
    pub uploaded_by: Option<AccountId>,
    pub collection: Option<String>,
}

impl Document {
    /// As it stands: one that is being read while the job that reads it has ended could not be read. The job can end without
    /// a word here, when the disk is too full to write one.
    pub fn settled(mut self, read: &impl Read) -> Result<Self, StoreError> {
        if !self.status.is_busy() {
            return Ok(self);
        }
        let job = read.get(&JOBS, &self.job)?;
        if job.as_ref().is_none_or(|job| job.finished.is_some()) {
            let why = job.and_then(|job| job.error).unwrap_or_else(|| "its work was stopped".into());
            self.status = Status::Failed;
            self.error = Some(ExtractError::BrokeOff(why.trim_end_matches('.').to_owned()));
        }
        Ok(self)
    }
}

/// The piece of a document that search returns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Passage {
    pub page: u32,
    pub heading: String,
    pub text: String,
    /// Byte range in the page's text.
    pub start: usize,
    pub end: usize,
}

/// What all documents take together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub documents: usize,
    pub waiting: usize,
    pub bytes: u64,
    pub pages: u64,
}

pub fn totals(read: &impl Read) -> Result<Totals, StoreError> {
    let (mut totals, mut busy) = (Totals::default(), Vec::new());
    read.scan(&DOCUMENTS).each(|_, document| {
        totals.documents += 1;
        totals.bytes += document.bytes;
        totals.pages += u64::from(document.pages);
        busy.extend(document.status.is_busy().then_some(document));
        true
    })?;
    for document in busy {
        totals.waiting += usize::from(document.settled(read)?.status.is_busy());
    }
    Ok(totals)
}
