//! A workspace that is being filled and that nobody can enter: control does not list it yet. A mark in its folder says so,
//! and what still has the mark at the next start without being listed is removed.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use super::pool::{DataError, Pool};
use super::{Tenant, Workspace};
use crate::ids::WorkspaceId;
use crate::store::audit::{self, Actor, Entry};
use crate::store::{StoreError, Tx};

/// The name of the mark.
const MARK: &str = "unfinished";

/// The workspace until it is listed. Dropped before [`Building::finish`], it leaves nothing behind.
pub struct Building {
    pool: Arc<Pool>,
    ws: Workspace,
    finished: bool,
}

impl Building {
    /// Makes the files of a new workspace.
    pub fn begin(pool: &Arc<Pool>, id: WorkspaceId, actor: Actor) -> Result<Self, DataError> {
        let home = pool.data().home(id);
        let failed = |e| DataError::File(home.clone(), e);
        if home.exists() {
            return Err(failed(io::Error::from(io::ErrorKind::AlreadyExists)));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&home).map_err(failed)?;
        fs::File::create(home.join(MARK)).and_then(|mark| mark.sync_all()).map_err(failed)?;
        let made = pool.create(id).and_then(|()| pool.tenant(id));
        let tenant = made.inspect_err(|_| {
            if let Err(error) = remove(pool, id) {
                tracing::warn!(workspace = %id, %error, "an unfinished workspace goes at the next start");
            }
        })?;
        let ws = Workspace { tenant, actor, request: None };
        Ok(Self { pool: Arc::clone(pool), ws, finished: false })
    }

    /// What is being filled.
    pub fn workspace(&self) -> &Workspace {
        &self.ws
    }

    /// Writes rows, on the calling thread.
    pub fn write<T, E: From<StoreError>>(&self, fill: impl FnOnce(&mut Tx) -> Result<T, E>) -> Result<T, E> {
        self.ws.tenant.file.write(fill)
    }

    /// Appends a line to the audit chain, as it was written elsewhere.
    pub fn append(&self, tx: &mut Tx, entry: Entry) -> Result<u64, StoreError> {
        audit::append(tx, &self.ws.tenant.audit, entry)
    }

    /// Takes the mark off, once control lists the workspace, and begins its jobs.
    pub fn finish(mut self) -> io::Result<()> {
        self.finished = true;
        unmark(&self.ws.tenant)?;
        self.ws.tenant.hooks.queued(self.ws.id());
        Ok(())
    }
}

fn unmark(tenant: &Tenant) -> io::Result<()> {
    fs::remove_file(tenant.home.join(MARK))
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = remove(&self.pool, self.ws.id())
        {
            tracing::warn!(workspace = %self.ws.id(), %error, "an unfinished workspace goes at the next start");
        }
    }
}

impl Pool {
    /// Removes what an earlier process left unfinished, but for what control lists.
    pub fn remove_unfinished(&self, listed: &[WorkspaceId]) -> io::Result<()> {
        for entry in fs::read_dir(self.data().root().join("workspaces"))? {
            let path = entry?.path();
            let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let Some(id) = id.filter(|_| path.join(MARK).exists()) else { continue };
            if listed.contains(&id) {
                fs::remove_file(path.join(MARK))?;
            } else {
                remove(self, id)?;
            }
        }
        Ok(())
    }
}

/// The key first: without it nothing of the rest can be read.
fn remove(pool: &Pool, id: WorkspaceId) -> io::Result<()> {
    pool.forget(id);
    gone(fs::remove_file(pool.data().root().join("keys").join(id.to_string())))?;
    remove_folder(&pool.data().home(id))
}

/// Everything but the mark, then the mark, so that a crash leaves it for the next start.
fn remove_folder(home: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(home) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path.file_name().is_some_and(|name| name != MARK) {
            fs::remove_file(&path)?;
        }
    }
    fs::remove_dir_all(home)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
