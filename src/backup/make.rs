//! Making a backup while people work. What is consistent with what: the control file is of one commit, the one at the
//! start; each workspace is of one commit, the one at its turn, with exactly the files its rows name. A workspace is so
//! never older than the control file: an account erased meanwhile is still there, due to be erased, and goes again.
//! Search indexes are left out; they are built from the rows.

use std::io::{self, Write};

use jiff::Timestamp;

use super::format::{Member, MembersOut, RowsOut};
use super::{BackupError, Progress, Watch, sealed};
use crate::identity::Control;
use crate::identity::control::Note;
use crate::identity::memberships::WORKSPACES;
use crate::identity::settings::SETTINGS;
use crate::ids::WorkspaceId;
use crate::seal::{DataKey, SealingWriter, WrappedKey};
use crate::store::Read as _;
use crate::store::audit::{Action, Actor};
use crate::workspace::pool::FORMAT;
use crate::workspace::{Door, Pool};

/// Told of progress after so many bytes.
const EVERY: u64 = 4 << 20;

/// The open data that is backed up.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub control: &'a Control,
    pub door: &'a Door,
    pub pool: &'a Pool,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Made {
    pub at: Timestamp,
    pub workspaces: u64,
    /// Files of all workspaces.
    pub blobs: u64,
    pub rows: u64,
    /// Plain bytes.
    pub bytes: u64,
}

/// Writes a backup to `to`, flushed, and the audit line of it; blocks. `by` is who asked for it.
pub fn write<W: Write>(
    source: Source<'_>,
    by: Actor,
    to: W,
    watch: Watch<'_>,
) -> Result<(W, Made), BackupError> {
    let at = source.control.clock().now();
    let control = source.control.read()?;
    let recovery = control.get(&SETTINGS, &0)?.and_then(|settings| settings.recovery);
    let (key, out) = sealed::begin(to, source.pool.data(), recovery, at)?;
    let made = Made { at, workspaces: 0, blobs: 0, rows: 0, bytes: 0 };
    let mut making = Making { out, key, made, told: 0, of: 0, watch };

    making.member(&Member::Version {}, format!("{FORMAT}\n").as_bytes())?;
    making.key(source, "control")?;
    if source.pool.data().has_recovery_key() {
        making.key(source, "recovery")?;
    }
    making.rows(&Member::Control {}, |row| control.copy_out(row))?;
    // What is being erased at this moment is left to the erasure, here and where this is restored.
    let mut workspaces = control.scan(&WORKSPACES).rows()?;
    workspaces.retain(|(_, row)| !row.is_over(at));
    drop(control);
    making.of = workspaces.len() as u64;
    for (id, _) in workspaces {
        making.workspace(source, id)?;
    }
    let Making { out, made, .. } = making;
    let to = out.finish()?.finish()?;
    let note = Note::new(by, Action::BackupMade, format!("{} workspaces", made.workspaces));
    source.control.change_now(note, |_| Ok::<_, BackupError>(()))?;
    Ok((to, made))
}

struct Making<'a, W> {
    out: MembersOut<SealingWriter<W>>,
    key: DataKey,
    made: Made,
    /// At how many bytes progress was told.
    told: u64,
    of: u64,
    watch: Watch<'a>,
}

impl<W: Write> Making<'_, W> {
    fn member(&mut self, member: &Member, bytes: &[u8]) -> Result<(), BackupError> {
        self.out.begin(member)?;
        self.out.write_all(bytes)?;
        self.out.end()?;
        self.came(bytes.len() as u64)
    }

    fn key(&mut self, source: Source<'_>, place: &str) -> Result<(), BackupError> {
        let key = source.pool.data().key(place)?;
        let WrappedKey(wrapped) = sealed::wrapping(&self.key).wrap(&key, place);
        self.member(&Member::Key { place: place.to_owned() }, &wrapped)
    }

    /// One member with the rows that `copy` hands over.
    fn rows(
        &mut self,
        member: &Member,
        copy: impl FnOnce(
            &mut dyn FnMut(&str, &[u8], &[u8]) -> Result<(), BackupError>,
        ) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.out.begin(member)?;
        let mut rows = RowsOut::new(&mut self.out);
        let (made, told, of, watch) = (&mut self.made, &mut self.told, self.of, &mut *self.watch);
        copy(&mut |table, key, value| {
            rows.row(table, key, value)?;
            made.rows += 1;
            made.bytes += (key.len() + value.len()) as u64;
            tell(made, told, of, watch)
        })?;
        rows.finish()?;
        Ok(self.out.end()?)
    }

    fn workspace(&mut self, source: Source<'_>, id: WorkspaceId) -> Result<(), BackupError> {
        let place = id.to_string();
        self.key(source, &place)?;
        let mut held = source.door.for_runner(id)?.hold()?;
        self.rows(&Member::Workspace { id }, |row| held.rows(row))?;
        for name in held.blobs() {
            self.out.begin(&Member::Blob { workspace: id, name: name.as_str().to_owned() })?;
            let damaged = |e: io::Error| {
                BackupError::Io(io::Error::new(
                    e.kind(),
                    format!("file {} of workspace {id}: {e}", name.as_str()),
                ))
            };
            let mut blob = held.open(&name).map_err(damaged)?;
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let n = io::Read::read(&mut blob, &mut buffer).map_err(damaged)?;
                if n == 0 {
                    break;
                }
                self.out.write_all(&buffer[..n])?;
                self.came(n as u64)?;
            }
            self.out.end()?;
            self.made.blobs += 1;
        }
        self.made.workspaces += 1;
        let progress = Progress { bytes: self.made.bytes, workspaces: self.made.workspaces, of: self.of };
        (self.watch)(progress)
    }

    fn came(&mut self, bytes: u64) -> Result<(), BackupError> {
        self.made.bytes += bytes;
        tell(&self.made, &mut self.told, self.of, self.watch)
    }
}

fn tell(made: &Made, told: &mut u64, of: u64, watch: Watch<'_>) -> Result<(), BackupError> {
    if made.bytes - *told < EVERY {
        return Ok(());
    }
    *told = made.bytes;
    watch(Progress { bytes: made.bytes, workspaces: made.workspaces, of })
}
