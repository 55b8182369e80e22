//! One open data file: snapshots for reading, one writer at a time, compaction when idle. `copy` reads and writes rows as
//! bytes.

mod copy;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};

use super::table::{RawRange, RawRow};
use super::{Key, Read, StoreError, Table, pages};
use crate::seal::SubKey;

fn raw(name: &'static str) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// An open, page-encrypted file. Reads see the last commit; writes block the calling thread for about one
/// fsync, so they belong on a blocking thread.
pub struct File {
    /// `None` only while, or after, opening it again failed.
    #[expect(clippy::disallowed_types, reason = "store is the one place that opens files")]
    pub(super) db: RwLock<Option<redb::Database>>,
    /// What all readers share until the next commit: beginning to read, and opening a table, each cost as
    /// much as reading a row.
    current: Mutex<Option<Arc<View>>>,
    /// Every view that somebody may still read.
    views: Mutex<Vec<Weak<View>>>,
    /// Whose turn it is to write. Taken before `db`.
    pub(super) writing: Mutex<()>,
    pub(super) place: Arc<Place>,
    pub(super) key: SubKey,
    pub(super) cache: usize,
}

/// Where the file is, and whether the engine has to be opened anew: after one failed access it refuses
/// every other one, although the disk may have space again and other pages are whole.
pub(super) struct Place {
    pub(super) path: PathBuf,
    stuck: AtomicBool,
}

impl Place {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), stuck: AtomicBool::new(false) }
    }
}

impl File {
    /// Opens `path`, which must exist. `cache` is the most memory, in bytes, that pages may take.
    pub fn open(path: &Path, key: &SubKey, cache: usize) -> Result<Self, StoreError> {
        super::compact::remove_left(path)?;
        Ok(Self::with(opened(path, key, cache)?, path, key, cache))
    }

    /// Makes a new file: under a temporary name, synced, then renamed. Refuses to replace one.
    pub fn create(path: &Path, key: &SubKey, cache: usize) -> Result<Self, StoreError> {
        Ok(Self::with(pages::create_file(path, key, cache)?.db, path, key, cache))
    }

    #[expect(clippy::disallowed_types, reason = "store is the one place that opens files")]
    fn with(db: redb::Database, path: &Path, key: &SubKey, cache: usize) -> Self {
        Self {
            db: RwLock::new(Some(db)),
            current: Mutex::default(),
            views: Mutex::default(),
            writing: Mutex::default(),
            place: Arc::new(Place::new(path)),
            key: key.clone(),
            cache,
        }
    }

    /// The file as of its last commit. Drop it soon: pages it can see are not reused.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.unstick()?;
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or_else(|| damaged(&self.place))?;
        // Locked while it begins, so that what `forget` drops after a commit is all that was seen before it.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = current.as_ref() {
            return Ok(Snapshot(Arc::clone(view)));
        }
        let tx = reading(&self.place, || Ok(db.begin_read()?))?;
        let view = Arc::new(View {
            tx,
            place: Arc::clone(&self.place),
            tables: RwLock::default(),
            kept: Mutex::default(),
        });
        *current = Some(Arc::clone(&view));
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|view| view.strong_count() > 0);
        views.push(Arc::downgrade(&view));
        Ok(Snapshot(view))
    }

    /// Whether somebody still reads, once [`File::forget`] was called with `db` locked.
    pub(super) fn is_read(&self) -> bool {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.iter().any(|view| view.strong_count() > 0)
    }

    /// Lets go of the view that readers share: the next one sees the last commit, and pages are reused.
    pub(super) fn forget(&self) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Runs `change` in a write transaction and commits it durably; an error or panic keeps nothing.
    pub fn write<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.unstick()?;
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or_else(|| damaged(&self.place))?;
        self.forget();
        let tx = reading(&self.place, || Ok(db.begin_write()?))?;
        let mut tx = Tx { tx, place: Arc::clone(&self.place), touched: Vec::new() };
        let value = catch_unwind(AssertUnwindSafe(|| change(&mut tx)))
            .unwrap_or_else(|_| Err(E::from(damaged(&self.place))))?;
        let Tx { tx, .. } = tx;
        let committed: Result<(), StoreError> = reading(&self.place, || Ok(tx.commit()?));
        self.forget();
        committed?;
        Ok(value)
    }

    /// Reads every page and checks the engine's own checksums besides the seals.
    pub fn verify(&self) -> Result<(), StoreError> {
        self.unstick()?;
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_mut().ok_or_else(|| damaged(&self.place))?;
        self.forget();
        match db.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err(damaged(&self.place)),
            Err(error) => Err(failed(&self.place, error.into())),
        }
    }

    /// Opens the engine anew after a failed access.
    fn unstick(&self) -> Result<(), StoreError> {
        if !self.place.stuck.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever waited here finds it done.
        if !self.place.stuck.load(Ordering::Acquire) {
            return Ok(());
        }
        // The old one holds the file's lock until it is dropped.
        self.forget();
        drop(db.take());
        *db = Some(opened(&self.place.path, &self.key, self.cache)?);
        self.place.stuck.store(false, Ordering::Release);
        Ok(())
    }
}

#[expect(clippy::disallowed_types, reason = "store is the one place that opens files")]
fn opened(path: &Path, key: &SubKey, cache: usize) -> Result<redb::Database, StoreError> {
    let opened = pages::open_file(path, key, cache)?;
    if opened.repaired_pages > 0 {
        tracing::warn!(pages = opened.repaired_pages, "data file repaired after a power loss");
    }
    Ok(opened.db)
}

pub(super) fn damaged(place: &Place) -> StoreError {
    StoreError::Damaged(place.path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn failed(place: &Place, error: redb::Error) -> StoreError {
    if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::Corrupted(_)) {
        place.stuck.store(true, Ordering::Release);
    }
    match error {
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => damaged(place),
        redb::Error::Io(io) => io.into(),
        redb::Error::Corrupted(_) => damaged(place),
        redb::Error::DatabaseAlreadyOpen => StoreError::Locked(place.path.display().to_string()),
        redb::Error::PreviousIo => {
            StoreError::Io(std::io::Error::other("an access just before this one failed"))
        }
        other => StoreError::Io(std::io::Error::other(other.to_string())),
    }
}

/// A consistent view of the file.
pub struct Snapshot(pub(super) Arc<View>);

pub(super) struct View {
    pub(super) tx: redb::ReadTransaction,
    place: Arc<Place>,
    /// The tables that were read.
    tables: RwLock<Vec<(&'static str, Arc<RawTable>)>>,
    kept: Mutex<HashMap<Question, Arc<dyn Any + Send + Sync>>>,
}

/// The type of an answer, and what it is about.
type Question = (TypeId, Vec<u8>);

/// Answers that a view keeps at once; then it begins anew.
const KEPT: usize = 512;

type RawTable = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

impl View {
    /// The table, or `None` while nothing was ever put into it.
    fn table(&self, name: &'static str) -> Result<Option<Arc<RawTable>>, StoreError> {
        let known = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = known.iter().find(|(known, _)| *known == name) {
            return Ok(Some(Arc::clone(table)));
        }
        drop(known);
        let opened = reading(&self.place, || match self.tx.open_table(raw(name)) {
            Ok(table) => Ok(Some(Arc::new(table))),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.into()),
        })?;
        if let Some(table) = &opened {
            let mut known = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            known.push((name, Arc::clone(table)));
        }
        Ok(opened)
    }
}

impl Snapshot {
    /// What `find` reads from this state of the file, found once for all who ask until the next commit. The answer's
    /// type names the question, `key` what it is about. For small answers that nearly every request needs.
    pub fn kept<T, E>(&self, key: &impl Key, find: impl FnOnce(&Self) -> Result<T, E>) -> Result<Arc<T>, E>
    where
        T: Any + Send + Sync,
    {
        let place = (TypeId::of::<T>(), key.encoded());
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        if let Some(found) = kept.and_then(|any| any.downcast::<T>().ok()) {
            return Ok(found);
        }
        let found = Arc::new(find(self)?);
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(place, Arc::<T>::clone(&found));
        Ok(found)
    }
}

impl Snapshot {
    /// The tables in which some row has `text` in its key or value: whether something was really forgotten.
    pub fn tables_with(&self, text: &str) -> Result<Vec<String>, StoreError> {
        use redb::{ReadableTable as _, TableHandle as _};
        let holds = |bytes: &[u8]| bytes.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        reading(&self.0.place, || {
            let mut found = Vec::new();
            for handle in self.0.tx.list_tables()? {
                let definition = TableDefinition::<&[u8], &[u8]>::new(handle.name());
                for row in self.0.tx.open_table(definition)?.iter()? {
                    let (key, value) = row?;
                    if holds(key.value()) || holds(value.value()) {
                        found.push(handle.name().to_owned());
                        break;
                    }
                }
            }
            Ok(found)
        })
    }
}

impl Snapshot {
    /// How many rows there are in all tables.
    pub fn count_rows(&self) -> Result<u64, StoreError> {
        use redb::{ReadableTableMetadata as _, TableHandle as _};
        reading(&self.0.place, || {
            let mut rows = 0;
            for handle in self.0.tx.list_tables()? {
                let table = TableDefinition::<&[u8], &[u8]>::new(handle.name());
                rows += self.0.tx.open_table(table)?.len()?;
            }
            Ok(rows)
        })
    }
}

impl Read for Snapshot {
    fn raw_get<T>(
        &self,
        table: &'static str,
        key: &[u8],
        value: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(t) = self.0.table(table)? else { return Ok(None) };
        let found = reading(&self.0.place, || Ok(t.get(key)?))?;
        found.map(|found| value(found.value())).transpose()
    }

    fn raw_scan(
        &self,
        table: &'static str,
        range: RawRange,
        reverse: bool,
        row: RawRow<'_>,
    ) -> Result<(), StoreError> {
        match self.0.table(table)? {
            Some(t) => scan(&self.0.place, &*t, range, reverse, row),
            None => Ok(()),
        }
    }
}

/// A change being made. It becomes visible, and durable, when the closure that got it returns `Ok`.
pub struct Tx {
    tx: redb::WriteTransaction,
    place: Arc<Place>,
    touched: Vec<&'static str>,
}

impl Tx {
    /// Stores `value` under `key`, replacing what was there.
    pub fn put<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), StoreError> {
        let (key, value) = (key.encoded(), table.encode(value)?);
        self.touch(table.name);
        reading(&self.place, || {
            self.tx.open_table(raw(table.name))?.insert(key.as_slice(), value.as_slice())?;
            Ok(())
        })
    }

    /// Removes the row under `key`; answers whether there was one.
    pub fn remove<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<bool, StoreError> {
        let key = key.encoded();
        self.touch(table.name);
        reading(&self.place, || Ok(self.tx.open_table(raw(table.name))?.remove(key.as_slice())?.is_some()))
    }

    /// Removes every row whose key begins with `prefix`; answers how many there were.
    pub fn remove_under<K: Key, V: Serialize + DeserializeOwned, P: Key>(
        &mut self,
        table: &Table<K, V>,
        prefix: &P,
    ) -> Result<usize, StoreError> {
        let mut keys = Vec::new();
        self.scan(table).under(prefix).each(|key, _| {
            keys.push(key);
            true
        })?;
        for key in &keys {
            self.remove(table, key)?;
        }
        Ok(keys.len())
    }

    /// Whether this change wrote to the table called `name`.
    pub fn touched(&self, name: &str) -> bool {
        self.touched.contains(&name)
    }

    fn touch(&mut self, name: &'static str) {
        if !self.touched.contains(&name) {
            self.touched.push(name);
        }
    }
}

impl Read for Tx {
    fn raw_get<T>(
        &self,
        table: &'static str,
        key: &[u8],
        value: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let t = reading(&self.place, || Ok(self.tx.open_table(raw(table))?))?;
        let found = reading(&self.place, || Ok(t.get(key)?))?;
        found.map(|found| value(found.value())).transpose()
    }

    fn raw_scan(
        &self,
        table: &'static str,
        range: RawRange,
        reverse: bool,
        row: RawRow<'_>,
    ) -> Result<(), StoreError> {
        let t = reading(&self.place, || Ok(self.tx.open_table(raw(table))?))?;
        scan(&self.place, &t, range, reverse, row)
    }
}

/// Runs engine code; its errors and its panics (on damaged pages) become ours.
#[inline]
pub(super) fn reading<T>(place: &Place, f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    if let Ok(result) = catch_unwind(AssertUnwindSafe(f)) {
        return result.map_err(|e| failed(place, e));
    }
    place.stuck.store(true, Ordering::Release);
    Err(damaged(place))
}

fn scan(
    place: &Place,
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    (start, end): RawRange,
    reverse: bool,
    row: RawRow<'_>,
) -> Result<(), StoreError> {
    let bounds = (as_slice(&start), as_slice(&end));
    let mut range = reading(place, || Ok(table.range::<&[u8]>(bounds)?))?;
    loop {
        let next = reading(place, || {
            Ok(if reverse { range.next_back().transpose()? } else { range.next().transpose()? })
        })?;
        match next {
            Some((key, value)) if row(key.value(), value.value())? => {}
            _ => return Ok(()),
        }
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(v) => Bound::Included(v.as_slice()),
        Bound::Excluded(v) => Bound::Excluded(v.as_slice()),
        Bound::Unbounded => Bound::Unbounded,
    }
}
