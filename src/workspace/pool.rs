//! The data directory and the open workspaces in it.
//!
//! ```text
//! DATA/VERSION                         format number
//! DATA/control.redb                    accounts, sessions, memberships, settings
//! DATA/keys/<id>                       one wrapped data key per workspace, and `control`
//! DATA/workspaces/<id>/keyspace.redb   everything of one workspace
//! DATA/workspaces/<id>/blobs|index/…   its files, sealed
//! ```

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use lru::LruCache;

use super::Tenant;
use super::index::{Readers, Shelf};
use crate::clock::{Clock, Random};
use crate::identity::Control;
use crate::ids::WorkspaceId;
use crate::seal::{DataKey, MasterKey, SealError, Use, WrappedKey};
use crate::store::{File, StoreError};

/// Format of the data directory that this build writes.
pub const FORMAT: u32 = 1;
/// Open workspaces that are kept when nobody is in them: about 74 KB and one descriptor each.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// Memory for cached pages of one workspace, in bytes.
pub(super) const CACHE: usize = 2 << 20;
/// The table whose writes wake the job runner.
pub(super) const JOBS_TABLE: &str = "jobs_due";

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{0} holds no Vynos data; run `vynos serve` or install.sh to begin there")]
    Empty(PathBuf),
    #[error("this workspace is being erased")]
    Erased,
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error(
        "{path} has format {found}, made by a newer Vynos; this one reads up to {FORMAT}. Nothing was changed"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("{0} holds data already; a restore needs an empty directory. Nothing was changed")]
    NotEmpty(PathBuf),
    #[error("{0} holds files that are not Vynos data; choose an empty directory")]
    NotOurs(PathBuf),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The data directory with the key that opens it.
pub struct DataDir {
    root: PathBuf,
    master: MasterKey,
}

impl DataDir {
    /// Takes `root`, making it (0700) when it is missing or empty.
    pub fn open_or_create(root: &Path, master: MasterKey) -> Result<Self, DataError> {
        let at = |e| DataError::File(root.to_owned(), e);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(at)?;
        if !root.join("VERSION").exists() {
            if fs::read_dir(root).map_err(at)?.any(|e| e.is_ok_and(|e| e.file_name() != "lost+found")) {
                return Err(DataError::NotOurs(root.to_owned()));
            }
            for folder in ["keys", "workspaces"] {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(folder)).map_err(at)?;
            }
            write_new(&root.join("VERSION"), format!("{FORMAT}\n").as_bytes()).map_err(at)?;
        }
        Self::open(root, master)
    }

    /// Takes `root`, which must hold data of a format this build reads.
    pub fn open(root: &Path, master: MasterKey) -> Result<Self, DataError> {
        let version = fs::read_to_string(root.join("VERSION")).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => DataError::Empty(root.to_owned()),
            _ => DataError::File(root.join("VERSION"), e),
        })?;
        let found = version.trim().parse().map_err(|_| DataError::NotOurs(root.to_owned()))?;
        if found > FORMAT {
            return Err(DataError::Newer { path: root.to_owned(), found });
        }
        Ok(Self { root: root.to_owned(), master })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn fingerprint(&self) -> String {
        self.master.fingerprint()
    }

    /// Opens the control file, making it at the first start.
    pub fn control(&self, clock: Clock, random: Random) -> Result<Control, DataError> {
        let path = self.root.join("control.redb");
        if path.exists() {
            let key = self.key("control")?;
            return Ok(Control::open(&path, &key, clock, random)?);
        }
        let key = match self.key("control") {
            Err(DataError::File(_, e)) if e.kind() == io::ErrorKind::NotFound => self.new_key("control")?,
            other => other?,
        };
        Ok(Control::create(&path, &key, clock, random)?)
    }

    /// The data key of `place` (`control`, or a workspace id).
    pub fn key(&self, place: &str) -> Result<DataKey, DataError> {
        let path = self.root.join("keys").join(place);
        let wrapped = fs::read(&path).map_err(|e| DataError::File(path, e))?;
        Ok(self.master.unwrap_key(&WrappedKey(wrapped), place)?)
    }

    /// The key that seals the keys of backups besides the master key; the recovery code opens it.
    pub fn recovery_key(&self) -> Result<DataKey, DataError> {
        match self.key("recovery") {
            Err(DataError::File(_, e)) if e.kind() == io::ErrorKind::NotFound => self.new_key("recovery"),
            other => other,
        }
    }

    /// Opens what [`DataDir::wrap_for_backup`] sealed.
    pub fn unwrap_of_backup(&self, wrapped: &WrappedKey, place: &str) -> Result<DataKey, SealError> {
        self.master.unwrap_key(wrapped, place)
    }

    /// Whether setup, or the first backup, has made that key.
    pub fn has_recovery_key(&self) -> bool {
        self.root.join("keys/recovery").exists()
    }

    fn new_key(&self, place: &str) -> Result<DataKey, DataError> {
        let key = DataKey::new();
        self.put_key(place, &key)?;
        Ok(key)
    }

    /// Keeps the data key of `place`, wrapped by the master key.
    pub(super) fn put_key(&self, place: &str, key: &DataKey) -> Result<(), DataError> {
        let path = self.root.join("keys").join(place);
        write_new(&path, &self.master.wrap(key, place).0).map_err(|e| DataError::File(path, e))
    }

    /// Seals the key of a backup with the master key.
    pub fn wrap_for_backup(&self, key: &DataKey, place: &str) -> WrappedKey {
        self.master.wrap(key, place)
    }

    pub fn home(&self, id: WorkspaceId) -> PathBuf {
        self.root.join("workspaces").join(id.to_string())
    }
}

/// Writes a small file so that it is there whole or not at all.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// What upper layers hang on to commits.
#[derive(Default)]
pub struct Hooks {
    queued: OnceLock<Box<dyn Fn(WorkspaceId) + Send + Sync>>,
    removed: Mutex<BTreeSet<WorkspaceId>>,
}

impl Hooks {
    /// Called after each commit that queued a job. Set once, by the job runner.
    pub fn on_queued(&self, call: impl Fn(WorkspaceId) + Send + Sync + 'static) {
        let _ = self.queued.set(Box::new(call));
    }

    /// Remembers that rows were removed in a workspace, whose bytes have to leave its file.
    pub fn removed(&self, id: WorkspaceId) {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// Hands out the workspaces in which rows were removed since the last call. What an earlier process left is not
    /// among them.
    pub fn take_removed(&self) -> BTreeSet<WorkspaceId> {
        std::mem::take(&mut *self.removed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the job runner look at a workspace.
    pub fn queued(&self, id: WorkspaceId) {
        if let Some(call) = self.queued.get() {
            call(id);
        }
    }
}

pub(super) struct Shared {
    pub(super) hooks: Arc<Hooks>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) readers: Arc<Readers>,
}

/// The workspaces that are open now.
pub struct Pool {
    data: Arc<DataDir>,
    shared: Shared,
    open: Mutex<Opened>,
}

struct Opened {
    /// Kept although nobody may be in them.
    kept: LruCache<WorkspaceId, Arc<Tenant>>,
    /// Dropped from `kept` while somebody was still in them: the file is still open.
    lent: Vec<(WorkspaceId, Weak<Tenant>)>,
    /// Never opened again: they are being erased.
    closed: HashSet<WorkspaceId>,
}

impl Pool {
    pub fn new(data: Arc<DataDir>, clock: Clock, random: Random) -> Self {
        let shared = Shared { hooks: Arc::default(), clock, random, readers: Arc::default() };
        let open = Opened { kept: LruCache::new(KEPT), lent: Vec::new(), closed: HashSet::new() };
        Self { data, shared, open: Mutex::new(open) }
    }

    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// The data directory, to share with another pool.
    pub fn shared_data(&self) -> &Arc<DataDir> {
        &self.data
    }

    pub fn hooks(&self) -> &Hooks {
        &self.shared.hooks
    }

    /// Makes the files of a new workspace; nobody is in it until control lists it.
    pub fn create(&self, id: WorkspaceId) -> Result<(), DataError> {
        let home = self.data.home(id);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&home)
            .map_err(|e| DataError::File(home.clone(), e))?;
        let key = self.data.new_key(&id.to_string())?;
        drop(File::create(&home.join("keyspace.redb"), &key.sub(Use::Pages), CACHE)?);
        Ok(())
    }

    /// The open files of a workspace. Blocks for under a millisecond when they must be opened.
    pub(super) fn tenant(&self, id: WorkspaceId) -> Result<Arc<Tenant>, DataError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.closed.contains(&id) {
            return Err(DataError::Erased);
        }
        if let Some(tenant) = open.kept.get(&id) {
            return Ok(Arc::clone(tenant));
        }
        open.lent.retain(|(_, lent)| lent.strong_count() > 0);
        let lent = open.lent.iter().find(|(lent, _)| *lent == id).and_then(|(_, lent)| lent.upgrade());
        let tenant = match lent {
            Some(tenant) => tenant,
            None => Arc::new(self.load(id)?),
        };
        if let Some((old, evicted)) = open.kept.push(id, Arc::clone(&tenant))
            && Arc::strong_count(&evicted) > 1
        {
            open.lent.push((old, Arc::downgrade(&evicted)));
        }
        Ok(tenant)
    }

    fn load(&self, id: WorkspaceId) -> Result<Tenant, DataError> {
        let home = self.data.home(id);
        let key = self.data.key(&id.to_string())?;
        let file = File::open(&home.join("keyspace.redb"), &key.sub(Use::Pages), CACHE)?;
        let tenant = Tenant::new(id, file, &key, &home, &self.shared);
        tenant
            .blobs
            .sweep()
            .and_then(|()| super::held::sweep(&home))
            .map_err(|e| DataError::File(home, e))?;
        Ok(tenant)
    }

    /// Opens a workspace no more, and closes its files; answers whether they are closed. While somebody is still in it
    /// they are not: ask again.
    pub fn close(&self, id: WorkspaceId) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.closed.insert(id);
        if let Some(tenant) = open.kept.pop(&id) {
            open.lent.push((id, Arc::downgrade(&tenant)));
        }
        for shelf in Shelf::ALL {
            self.shared.readers.forget((id, shelf));
        }
        open.lent.retain(|(_, lent)| lent.strong_count() > 0);
        open.lent.iter().all(|(lent, _)| *lent != id)
    }

    /// Closes a workspace that nobody is in: who looks at all of them, one after the other, leaves none open behind. It is
    /// closed under the lock, so that nobody opens the same file meanwhile.
    pub(super) fn let_go(&self, id: WorkspaceId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.kept.peek(&id).is_some_and(|tenant| Arc::strong_count(tenant) == 1) {
            open.kept.pop(&id);
            for shelf in Shelf::ALL {
                self.shared.readers.forget((id, shelf));
            }
        }
    }

    /// Closes a workspace whose files go.
    pub(super) fn forget(&self, id: WorkspaceId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.kept.pop(&id);
        open.lent.retain(|(lent, _)| *lent != id);
    }

    /// Closes what nobody is in; called at shutdown, and by tests that copy files.
    pub fn close_idle(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.kept.clear();
    }
}
