//! The search index of a workspace: one tantivy index a [`Shelf`], its files sealed by `directory`. `words` cuts
//! text into words, `shelf` holds the fields, `query` understands a question, `snippet` shows why a text was
//! found. The index is derived from the keyspace: whoever adds texts can add them again.

pub mod directory;
mod query;
mod shelf;
mod snippet;
#[cfg(test)]
mod tests;
mod words;

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, ConstScoreQuery, Occur, Query, TermSetQuery};
use tantivy::schema::Value as _;
use tantivy::{IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError, Term};

use self::directory::{ChunkCache, SealedDirectory};
use self::shelf::Fields;
use crate::ids::WorkspaceId;
use crate::seal::SubKey;

pub use self::snippet::{Fragment, hits, snippet};
pub use self::words::{Word, fold, words};

/// Memory for opened chunks of all indexes, in bytes.
const CHUNKS: usize = 24 << 20;
/// Indexes whose readers stay open: about six descriptors for each of their segments.
const READERS: NonZeroUsize = NonZeroUsize::new(24).unwrap();
/// Memory of a writer, in bytes: tantivy's least.
const WRITER: usize = 15_000_000;
/// Tries until no deleted text is left in any file.
const CLEANINGS: usize = 6;

/// What is kept apart in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    Conversations,
    Knowledge,
    Metadata,
}

impl Shelf {
    pub const ALL: [Self; 3] = [Self::Conversations, Self::Knowledge, Self::Metadata];

    fn folder(self) -> &'static str {
        match self {
            Self::Conversations => "conversations",
            Self::Knowledge => "knowledge",
            Self::Metadata => "metadata",
        }
    }
}

/// A text to be found.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What a hit names.
    pub id: String,
    /// Entries of one group are replaced and removed together: a document, an org.
    pub group: String,
    /// A page, or another number the caller wants back.
    pub number: u64,
    /// ISO 639-1; English when unknown.
    pub language: Option<String>,
    pub title: String,
    pub heading: String,
    pub body: String,
}

/// An entry that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub id: String,
    pub group: String,
    pub number: u64,
    pub score: f32,
}

/// What a search found, best first.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub hits: Vec<Hit>,
    /// The question as it was understood, when a word of it is in no text.
    pub instead: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Files are missing, do not open or contradict each other. Build it again from the keyspace.
    #[error("the search index is damaged: {0}")]
    Damaged(String),
    #[error("the search index could not be written or read: {0}")]
    Io(String),
}

impl From<TantivyError> for IndexError {
    fn from(error: TantivyError) -> Self {
        match &error {
            TantivyError::IoError(io) if io.kind() != io::ErrorKind::InvalidData => Self::Io(io.to_string()),
            TantivyError::LockFailure(..) | TantivyError::OpenWriteError(_) => Self::Io(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// What all indexes of the process share: opened chunks and open readers.
pub struct Readers {
    chunks: Arc<ChunkCache>,
    open: Mutex<LruCache<(WorkspaceId, Shelf), Arc<Reading>>>,
}

impl Default for Readers {
    fn default() -> Self {
        Self { chunks: ChunkCache::new(CHUNKS), open: Mutex::new(LruCache::new(READERS)) }
    }
}

impl Readers {
    fn take(&self, key: (WorkspaceId, Shelf)) -> Option<Arc<Reading>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    fn keep(&self, key: (WorkspaceId, Shelf), reading: Arc<Reading>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).put(key, reading);
    }

    pub(super) fn forget(&self, key: (WorkspaceId, Shelf)) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).pop(&key);
    }
}

/// An open reader, and the languages that its texts are in.
struct Reading {
    reader: IndexReader,
    languages: Vec<usize>,
}

/// The indexes of one workspace. Everything here blocks: call it off the async threads.
pub struct Index {
    workspace: WorkspaceId,
    home: PathBuf,
    key: SubKey,
    readers: Arc<Readers>,
    fields: Fields,
    /// One writer at a time.
    writing: Mutex<()>,
}

impl Index {
    pub(super) fn new(workspace: WorkspaceId, home: &Path, key: SubKey, readers: Arc<Readers>) -> Self {
        Self {
            workspace,
            home: home.join("index"),
            key,
            readers,
            fields: Fields::new(),
            writing: Mutex::new(()),
        }
    }

    /// Puts `entries` in the place of whatever the group holds. It is durable and found when this returns,
    /// and the words it replaced are on no disk any more.
    pub fn replace(&self, shelf: Shelf, group: &str, entries: &[Entry]) -> Result<(), IndexError> {
        self.write(shelf, &[group], entries)
    }

    /// Replaces several groups in one commit; groups without entries are removed.
    pub fn replace_all(&self, shelf: Shelf, groups: &[&str], entries: &[Entry]) -> Result<(), IndexError> {
        self.write(shelf, groups, entries)
    }

    /// Removes a group; its words have left the disk when this returns.
    pub fn remove(&self, shelf: Shelf, group: &str) -> Result<(), IndexError> {
        if !self.home.join(shelf.folder()).join("meta.json").exists() {
            return Ok(());
        }
        self.write(shelf, &[group], &[])
    }

    /// Entries that answer `text`, best first; only of `groups`, when they are given. `prefix` takes the last
    /// word as unfinished.
    pub fn search(
        &self,
        shelf: Shelf,
        text: &str,
        groups: Option<&[String]>,
        prefix: bool,
        limit: usize,
    ) -> Result<Found, IndexError> {
        let Some(reading) = self.reading(shelf)? else { return Ok(Found::default()) };
        let searcher = reading.reader.searcher();
        let built = query::build(&self.fields, &searcher, &reading.languages, text, prefix)?;
        let Some(built) = built else { return Ok(Found::default()) };
        let mut asked = built.query;
        if let Some(groups) = groups {
            let terms: Vec<Term> =
                groups.iter().map(|g| Term::from_field_text(self.fields.group, g)).collect();
            let of_groups: Box<dyn Query> =
                Box::new(ConstScoreQuery::new(Box::new(TermSetQuery::new(terms)), 0.0));
            asked = Box::new(BooleanQuery::new(vec![(Occur::Must, asked), (Occur::Must, of_groups)]));
        }
        let mut hits = Vec::new();
        for (score, address) in
            searcher.search(&asked, &TopDocs::with_limit(limit.max(1)).order_by_score())?
        {
            let document: TantivyDocument = searcher.doc(address)?;
            let text =
                |field| document.get_first(field).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
            let number = document.get_first(self.fields.number).and_then(|v| v.as_u64()).unwrap_or(0);
            hits.push(Hit { id: text(self.fields.id), group: text(self.fields.group), number, score });
        }
        Ok(Found { hits, instead: built.instead })
    }

    /// Whether there is an index at all: a workspace restored without one has none until it is built again.
    pub fn exists(&self, shelf: Shelf) -> bool {
        self.home.join(shelf.folder()).join("meta.json").exists()
    }

    /// Reads every file of the shelf and compares its checksum.
    pub fn check(&self, shelf: Shelf) -> Result<(), IndexError> {
        if !self.exists(shelf) {
            return Ok(());
        }
        let damaged = self.open(shelf)?.validate_checksum()?;
        match damaged.iter().next() {
            None => Ok(()),
            Some(file) => Err(IndexError::Damaged(format!("{} does not have its checksum", file.display()))),
        }
    }

    /// Throws the shelf away, to be built again.
    pub fn reset(&self, shelf: Shelf) -> Result<(), IndexError> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.readers.forget((self.workspace, shelf));
        match fs::remove_dir_all(self.home.join(shelf.folder())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn open(&self, shelf: Shelf) -> Result<tantivy::Index, IndexError> {
        let folder = self.home.join(shelf.folder());
        let directory = SealedDirectory::open(&folder, self.key.clone(), Arc::clone(&self.readers.chunks))?;
        Ok(self.fields.builder().open_or_create(directory)?)
    }

    fn reading(&self, shelf: Shelf) -> Result<Option<Arc<Reading>>, IndexError> {
        let key = (self.workspace, shelf);
        if let Some(reading) = self.readers.take(key) {
            return Ok(Some(reading));
        }
        if !self.exists(shelf) {
            return Ok(None);
        }
        let index = self.open(shelf)?;
        let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let searcher = reader.searcher();
        let mut languages = Vec::new();
        for (place, field) in self.fields.stems.iter().enumerate() {
            let used = searcher.segment_readers().iter().any(|segment| {
                segment.inverted_index(*field).is_ok_and(|index| index.terms().num_terms() > 0)
            });
            if used {
                languages.push(place);
            }
        }
        let reading = Arc::new(Reading { reader, languages });
        self.readers.keep(key, Arc::clone(&reading));
        Ok(Some(reading))
    }

    fn write(&self, shelf: Shelf, groups: &[&str], entries: &[Entry]) -> Result<(), IndexError> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.open(shelf)?;
        let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER)?;
        for group in groups {
            writer.delete_term(Term::from_field_text(self.fields.group, group));
        }
        for entry in entries {
            writer.add_document(self.document(entry))?;
        }
        writer.commit()?;
        let cleaned = clean(&index, &mut writer);
        // An open reader would keep the files of removed text alive.
        self.readers.forget((self.workspace, shelf));
        cleaned?;
        writer.garbage_collect_files().wait()?;
        writer.wait_merging_threads()?;
        Ok(())
    }

    fn document(&self, entry: &Entry) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_text(self.fields.id, &entry.id);
        document.add_text(self.fields.group, &entry.group);
        document.add_u64(self.fields.number, entry.number);
        document.add_text(self.fields.title, &entry.title);
        document.add_text(self.fields.heading, &entry.heading);
        document.add_text(self.fields.words, &entry.body);
        document.add_text(self.fields.stem(entry.language.as_deref()), &entry.body);
        document
    }
}

/// A deletion only marks: the words go when the segment is written anew.
fn clean(index: &tantivy::Index, writer: &mut IndexWriter) -> Result<(), IndexError> {
    for _ in 0..CLEANINGS {
        let marked: Vec<_> = index
            .searchable_segment_metas()?
            .into_iter()
            .filter(|meta| meta.num_deleted_docs() > 0)
            .map(|meta| meta.id())
            .collect();
        if marked.is_empty() {
            return Ok(());
        }
        // A merge that lost against another one is tried again with what is there then.
        if let Err(error) = writer.merge(&marked).wait()
            && !matches!(error, TantivyError::InvalidArgument(_))
        {
            return Err(error.into());
        }
        writer.commit()?;
    }
    Err(IndexError::Io("removed text could not be cleared from the index yet".into()))
}
