//! One open data file: snapshots for reading, one writer at a time, compaction when idle.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

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
    #[expect(clippy::disallowed_types, reason = "store is the one place that opens files")]
    db: RwLock<redb::Database>,
    path: PathBuf,
}

impl File {
    /// Opens `path`, which must exist. `cache` is the most memory, in bytes, that pages may take.
    pub fn open(path: &Path, key: &SubKey, cache: usize) -> Result<Self, StoreError> {
        let opened = pages::open_file(path, key, cache)?;
        if opened.repaired_pages > 0 {
            tracing::warn!(pages = opened.repaired_pages, "data file repaired after a power loss");
        }
        Ok(Self { db: RwLock::new(opened.db), path: path.to_owned() })
    }

    /// Makes a new file: under a temporary name, synced, then renamed. Refuses to replace one.
    pub fn create(path: &Path, key: &SubKey, cache: usize) -> Result<Self, StoreError> {
        let opened = pages::create_file(path, key, cache)?;
        Ok(Self { db: RwLock::new(opened.db), path: path.to_owned() })
    }

    /// The file as of its last commit. Drop it soon: pages it can see are not reused.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let tx = self.guard(|| db.begin_read().map_err(|e| self.failed(e.into())))?;
        Ok(Snapshot { tx, path: self.path.clone() })
    }

    /// Runs `change` in a write transaction and commits it durably; an error or panic keeps nothing.
    pub fn write<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let tx = self.guard(|| db.begin_write().map_err(|e| self.failed(e.into())))?;
        let mut tx = Tx { tx, path: self.path.clone(), touched: Vec::new() };
        let value = catch_unwind(AssertUnwindSafe(|| change(&mut tx)))
            .unwrap_or_else(|_| Err(E::from(self.damaged())))?;
        let Tx { tx, .. } = tx;
        self.guard(|| tx.commit().map_err(|e| self.failed(e.into())))?;
        Ok(value)
    }

    /// Gives the bytes of removed rows back to the disk. Needs the file alone: answers false when a
    /// snapshot is still open.
    pub fn compact(&self) -> Result<bool, StoreError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        match db.compact() {
            Ok(_) => Ok(true),
            Err(redb::CompactionError::TransactionInProgress) => Ok(false),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// Reads every page and checks the engine's own checksums besides the seals.
    pub fn verify(&self) -> Result<(), StoreError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        match db.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.damaged()),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn guard<T>(&self, f: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(self.damaged()))
    }

    fn damaged(&self) -> StoreError {
        damaged(&self.path)
    }

    fn failed(&self, error: redb::Error) -> StoreError {
        failed(&self.path, error)
    }
}

fn damaged(path: &Path) -> StoreError {
    StoreError::Damaged(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn failed(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => damaged(path),
        redb::Error::Io(io) => io.into(),
        redb::Error::Corrupted(_) => damaged(path),
        redb::Error::DatabaseAlreadyOpen => StoreError::Locked(path.display().to_string()),
        other => StoreError::Io(std::io::Error::other(other.to_string())),
    }
}

/// A consistent view of the file.
pub struct Snapshot {
    tx: redb::ReadTransaction,
    path: PathBuf,
}

impl Read for Snapshot {
    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        reading(&self.path, || match self.tx.open_table(raw(table)) {
            Ok(t) => Ok(t.get(key)?.map(|v| v.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.into()),
        })
    }

    fn raw_scan(
        &self,
        table: &'static str,
        range: RawRange,
        reverse: bool,
        row: RawRow<'_>,
    ) -> Result<(), StoreError> {
        match reading(&self.path, || match self.tx.open_table(raw(table)) {
            Ok(t) => Ok(Some(t)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.into()),
        })? {
            Some(t) => scan(&self.path, &t, range, reverse, row),
            None => Ok(()),
        }
    }
}

/// A change being made. It becomes visible, and durable, when the closure that got it returns `Ok`.
pub struct Tx {
    tx: redb::WriteTransaction,
    path: PathBuf,
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
        reading(&self.path, || {
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
        reading(&self.path, || Ok(self.tx.open_table(raw(table.name))?.remove(key.as_slice())?.is_some()))
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
    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        reading(&self.path, || Ok(self.tx.open_table(raw(table))?.get(key)?.map(|v| v.value().to_vec())))
    }

    fn raw_scan(
        &self,
        table: &'static str,
        range: RawRange,
        reverse: bool,
        row: RawRow<'_>,
    ) -> Result<(), StoreError> {
        let t = reading(&self.path, || Ok(self.tx.open_table(raw(table))?))?;
        scan(&self.path, &t, range, reverse, row)
    }
}

/// Runs engine code; its errors and its panics (on damaged pages) become ours.
fn reading<T>(path: &Path, f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(|e| failed(path, e)),
        Err(_) => Err(damaged(path)),
    }
}

fn scan(
    path: &Path,
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    (start, end): RawRange,
    reverse: bool,
    row: RawRow<'_>,
) -> Result<(), StoreError> {
    let bounds = (as_slice(&start), as_slice(&end));
    let mut range = reading(path, || Ok(table.range::<&[u8]>(bounds)?))?;
    loop {
        let next = reading(path, || {
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
