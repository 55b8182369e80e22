//! Compaction: a file is written anew from what is in it, so that no byte of a removed row is left, not even in pages
//! that nothing uses. Until then such bytes lie sealed in unused pages.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redb::{ReadableTable as _, TableDefinition, TableHandle as _};

use super::file::{File, Place, damaged, reading};
use super::{StoreError, Table, Tx, pages};

/// One row while removed rows may have left bytes. A change that removes people's data puts it, compaction leaves it out.
pub const COMPACTION_DUE: Table<u8, ()> = Table::new("compaction_due", 1);

/// How often it waits for those who read, and how long each time.
const WAITS: usize = 100;
const WAIT: Duration = Duration::from_millis(10);

impl Tx {
    /// Notes that what this change removes has to leave the file.
    pub fn compact_later(&mut self) -> Result<(), StoreError> {
        self.put(&COMPACTION_DUE, &0, &())
    }
}

impl File {
    /// Writes the file anew without the bytes of removed rows. It blocks while it copies: readers go on, writers wait. Answers
    /// false, and leaves everything as it is, when somebody reads an older state for longer than a second.
    pub fn compact(&self) -> Result<bool, StoreError> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = &self.place.path;
        let fresh = beside(path);
        remove_left(path)?;
        #[expect(clippy::disallowed_types, reason = "store is the one place that opens files")]
        let copied: redb::Database = self.copy(&fresh)?;
        for _ in 0..WAITS {
            let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
            self.forget();
            if self.is_read() {
                drop(db);
                std::thread::sleep(WAIT);
                continue;
            }
            std::fs::rename(&fresh, path)?;
            if let Some(folder) = path.parent() {
                std::fs::File::open(folder)?.sync_all()?;
            }
            // Nobody reads the old one any more: its bytes go with it.
            drop(db.replace(copied));
            return Ok(true);
        }
        drop(copied);
        remove_left(path)?;
        Ok(false)
    }

    /// All rows in a new file at `fresh`.
    #[expect(clippy::disallowed_types, reason = "store is the one place that opens files")]
    fn copy(&self, fresh: &Path) -> Result<redb::Database, StoreError> {
        let read = self.snapshot()?;
        let copied = pages::create_file(fresh, &self.key, self.cache)?.db;
        // Named like the file itself in what a person is told.
        let place = Arc::new(Place::new(&self.place.path));
        let written = reading(&place, || {
            let tx = copied.begin_write()?;
            for handle in read.0.tx.list_tables()? {
                if handle.name() == COMPACTION_DUE.name {
                    continue;
                }
                let table = TableDefinition::<&[u8], &[u8]>::new(handle.name());
                let mut into = tx.open_table(table)?;
                for row in read.0.tx.open_table(table)?.iter()? {
                    let (key, value) = row?;
                    into.insert(key.value(), value.value())?;
                }
            }
            tx.commit()?;
            Ok(())
        });
        match written {
            Ok(()) => Ok(copied),
            Err(StoreError::Damaged(_)) => Err(damaged(&self.place)),
            Err(other) => Err(other),
        }
    }
}

/// Removes what a compaction left that was killed.
pub(super) fn remove_left(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(beside(path)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".compact");
    path.with_file_name(name)
}
