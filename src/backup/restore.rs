//! Making a data directory of a backup. All of it is read and checked before anything is written; what is written becomes
//! data in one step at the end.

use std::io::{self, Read};
use std::path::Path;

use super::check::{Contents, Taker, check, walk};
use super::format::{MembersIn, RowsIn};
use super::sealed::{Sealed, Stream};
use super::{BackupError, Watch};
use crate::clock::{Clock, Random};
use crate::identity::control::Note;
use crate::ids::WorkspaceId;
use crate::seal::{DataKey, MasterKey};
use crate::store::audit::{Action, Actor};
use crate::store::{StoreError, Table};
use crate::workspace::blobs::BlobName;
use crate::workspace::pool::DataError;
use crate::workspace::rebuilt::{Filling, Rebuilt, is_free};

/// In the control file, until the next start has seen to it: the search indexes have to be built.
pub const RESTORED: Table<u8, jiff::Timestamp> = Table::new("restored", 1);

/// Bytes of rows in one commit.
const BATCH: usize = 4 << 20;

/// Whether `root` can take a restore, and whether all of the backup holds. Writes nothing.
pub fn rehearse(
    sealed: &Sealed,
    key: &DataKey,
    root: &Path,
    watch: Watch<'_>,
) -> Result<Contents, BackupError> {
    if !is_free(root).map_err(|e| DataError::File(root.to_owned(), e))? {
        return Err(DataError::NotEmpty(root.to_owned()).into());
    }
    check(sealed, key, watch)
}

/// Makes `root` the data directory that was backed up, its keys wrapped by `master`. Call [`rehearse`] before; here
/// everything is checked once more as it is written. A failure leaves nothing behind.
pub fn restore(
    sealed: &Sealed,
    key: &DataKey,
    root: &Path,
    master: MasterKey,
    (clock, random): (&Clock, &Random),
    watch: Watch<'_>,
) -> Result<Contents, BackupError> {
    let mut keeper = Keeper(Rebuilt::begin(root, master, random.clone())?);
    let contents = walk(sealed, key, &mut keeper, watch)?;
    let Keeper(rebuilt) = keeper;
    let pool = rebuilt.pool(clock)?;
    let control = pool.data().control(clock.clone(), random.clone())?;
    for (id, row) in control.all_workspaces()? {
        if !pool.data().home(id).join("keyspace.redb").exists() {
            return Err(BackupError::Broken {
                place: format!("workspace {id}"),
                why: format!("the control file names it ({}), and the backup does not hold it", row.slug),
            });
        }
    }
    let note = Note::new(Actor::Operator, Action::InstanceRestored, sealed.head.made);
    let now = clock.now();
    control.change_now(note, |tx| tx.put(&RESTORED, &0, &now))?;
    drop(control);
    drop(pool);
    rebuilt.finish()?;
    Ok(contents)
}

struct Keeper(Rebuilt);

impl Taker for Keeper {
    fn key(&mut self, place: &str, key: &DataKey) -> Result<(), BackupError> {
        Ok(self.0.put_key(place, key)?)
    }

    fn rows(
        &mut self,
        of: Option<WorkspaceId>,
        rows: &mut RowsIn<&mut MembersIn<Stream>>,
        each: &mut dyn FnMut() -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let file = self.0.file(of)?;
        while batch(&file, rows, each)? {}
        Ok(())
    }

    fn blob(&mut self, of: WorkspaceId, name: &BlobName, from: &mut dyn Read) -> Result<(), BackupError> {
        // What fails to be read is told apart from what fails to be written.
        let mut from = Noted { from, failed: None };
        let kept = self.0.blob(of, name, &mut from);
        match (kept, from.failed) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(failed)) => Err(failed.into()),
            (Err(DataError::File(_, e)), None) if e.kind() == io::ErrorKind::StorageFull => {
                Err(BackupError::DiskFull)
            }
            (Err(error), None) => Err(error.into()),
        }
    }
}

/// Writes rows in one commit; answers whether more may follow.
fn batch(
    file: &Filling,
    rows: &mut RowsIn<&mut MembersIn<Stream>>,
    each: &mut dyn FnMut() -> Result<(), BackupError>,
) -> Result<bool, BackupError> {
    file.write(|tx| {
        let mut bytes = 0;
        while bytes < BATCH {
            if !rows.advance()? {
                return Ok(false);
            }
            each()?;
            tx.copy_in(&rows.table, &rows.key, &rows.value)?;
            bytes += rows.key.len() + rows.value.len();
        }
        Ok::<_, BackupError>(true)
    })
}

struct Noted<'a> {
    from: &'a mut dyn Read,
    failed: Option<io::Error>,
}

impl Read for Noted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.from.read(out).map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            self.failed = Some(error);
            told
        })
    }
}

/// Whether this data was restored and its indexes were not built since.
pub fn wants_indexes(control: &crate::identity::Control) -> Result<bool, StoreError> {
    use crate::store::Read as _;
    control.read()?.has(&RESTORED, &0)
}

/// The indexes are being built.
pub fn has_indexes(control: &crate::identity::Control) -> Result<(), StoreError> {
    control.touch(|tx| tx.remove(&RESTORED, &0).map(|_| ()))
}
