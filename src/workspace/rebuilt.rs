//! A data directory being made from a backup. It grows in `DATA/restoring`, where no server looks, and becomes data in one
//! step: the file `VERSION` comes last. A directory without it and with `restoring` in it is what a killed restore left.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blobs::{BlobName, Blobs};
use super::pool::{CACHE, DataError, FORMAT, write_new};
use super::{DataDir, Pool};
use crate::clock::{Clock, Random};
use crate::ids::WorkspaceId;
use crate::seal::{DataKey, MasterKey, Use};
use crate::store::{File, StoreError, Tx};

const FOLDER: &str = "restoring";
/// What a data directory consists of, besides its `VERSION`.
const PARTS: [&str; 3] = ["keys", "workspaces", "control.redb"];

/// What is being made. Dropped before [`Rebuilt::finish`], it leaves nothing behind.
pub struct Rebuilt {
    root: PathBuf,
    data: Option<Arc<DataDir>>,
    random: Random,
}

/// Whether a restore may begin in `root`: it is missing, empty, or holds what a killed restore left.
pub fn is_free(root: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name());
    }
    names.retain(|name| name != "lost+found");
    let left = names.iter().any(|name| name == FOLDER) && !names.iter().any(|name| name == "VERSION");
    Ok(names.is_empty() || left)
}

impl Rebuilt {
    /// Begins in `root`, under a new wrapping by `master`; clears what a killed restore left.
    pub fn begin(root: &Path, master: MasterKey, random: Random) -> Result<Self, DataError> {
        let at = |e| DataError::File(root.to_owned(), e);
        if !is_free(root).map_err(at)? {
            return Err(DataError::NotEmpty(root.to_owned()));
        }
        for part in PARTS.into_iter().chain([FOLDER]) {
            clear(&root.join(part)).map_err(at)?;
        }
        let folder = root.join(FOLDER);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(at)?;
        let data = Arc::new(DataDir::open_or_create(&folder, master)?);
        Ok(Self { root: root.to_owned(), data: Some(data), random })
    }

    fn data(&self) -> Result<&Arc<DataDir>, DataError> {
        self.data.as_ref().ok_or_else(|| DataError::NotEmpty(self.root.clone()))
    }

    /// Keeps the data key of `place`: `control`, `recovery` or a workspace id.
    pub fn put_key(&self, place: &str, key: &DataKey) -> Result<(), DataError> {
        self.data()?.put_key(place, key)
    }

    /// Makes the file of the control data, or of a workspace whose key was put before.
    pub fn file(&self, workspace: Option<WorkspaceId>) -> Result<Filling, DataError> {
        let data = self.data()?;
        let (place, path) = match workspace {
            None => ("control".to_owned(), data.root().join("control.redb")),
            Some(id) => (id.to_string(), data.home(id).join("keyspace.redb")),
        };
        if let Some(folder) = path.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|e| DataError::File(folder.to_owned(), e))?;
        }
        let key = data.key(&place)?;
        Ok(Filling(File::create(&path, &key.sub(Use::Pages), CACHE)?))
    }

    /// Stores a blob of a workspace whose key was put before.
    pub fn blob(&self, id: WorkspaceId, name: &BlobName, from: &mut dyn Read) -> Result<(), DataError> {
        let data = self.data()?;
        let key = data.key(&id.to_string())?.sub(Use::Blobs);
        let folder = data.home(id).join("blobs");
        let blobs = Blobs::new(folder.clone(), key, self.random.clone());
        blobs.restore(name, from).map_err(|e| DataError::File(folder, e))
    }

    /// What was made so far, to look into it; drop it before [`Rebuilt::finish`].
    pub fn pool(&self, clock: &Clock) -> Result<Arc<Pool>, DataError> {
        Ok(Arc::new(Pool::new(Arc::clone(self.data()?), clock.clone(), self.random.clone())))
    }

    /// Makes it the data of `root`. A crash in between leaves what the next restore clears.
    pub fn finish(mut self) -> Result<(), DataError> {
        let folder = self.root.join(FOLDER);
        let at = |e| DataError::File(self.root.clone(), e);
        for part in PARTS {
            fs::rename(folder.join(part), self.root.join(part)).map_err(at)?;
        }
        fs::File::open(&self.root).and_then(|root| root.sync_all()).map_err(at)?;
        write_new(&self.root.join("VERSION"), format!("{FORMAT}\n").as_bytes()).map_err(at)?;
        self.data = None;
        clear(&folder).map_err(at)
    }
}

impl Drop for Rebuilt {
    fn drop(&mut self) {
        if self.data.take().is_some() && !self.root.join("VERSION").exists() {
            for part in PARTS.into_iter().chain([FOLDER]) {
                // What stays is cleared by the next restore.
                let _ = clear(&self.root.join(part));
            }
        }
    }
}

fn clear(path: &Path) -> io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match gone {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A new file that takes rows.
pub struct Filling(File);

impl Filling {
    /// One commit of what `rows` puts with [`Tx::copy_in`].
    pub fn write<T, E: From<StoreError>>(&self, rows: impl FnOnce(&mut Tx) -> Result<T, E>) -> Result<T, E> {
        self.0.write(rows)
    }
}
