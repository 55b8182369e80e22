//! The tenant. A [`Workspace`] is one keyspace file, its keys, blobs and index; code reaches it only through
//! the handle that the [`door`] hands out for a verified membership, a due job or the console.
//! `pool` opens and closes the files, `change` is the only way to write, `blobs` holds large files.
//! `building` fills a workspace before anybody is let in. `index` is what search reads, `space` what all of it takes on the disk,
//! `retention` how long it is kept, `erase` takes it off. `held` is one state of it while a backup reads it, `rebuilt` a data
//! directory that is made from a backup.

pub mod blobs;
mod building;
pub mod change;
pub mod door;
mod erase;
pub mod held;
pub mod index;
pub mod live;
pub mod pool;
pub mod rebuilt;
pub mod retention;
pub mod space;

use std::sync::Arc;

use crate::clock::{Clock, Random};
use crate::ids::{RequestId, WorkspaceId};
use crate::seal::{DataKey, Place, Sealed, Secret, SubKey, Use};
use crate::store::audit::verify::Walk;
use crate::store::audit::{Actor, Broken};
use crate::store::{File, Snapshot, StoreError};

pub use building::Building;
pub use change::Change;
pub use door::{Admin, Door, Entered, Keeper, Member, Owner, Processing, Refused, Viewer, Worker};
pub use live::Live;
pub use pool::{DataDir, Pool};

/// Everything of one workspace, with the one who acts in it. No constructor outside this module, no `Clone`:
/// holding it is the proof that somebody may be here.
pub struct Workspace {
    tenant: Arc<Tenant>,
    actor: Actor,
    request: Option<RequestId>,
}

/// The open files of a workspace; shared by all who are in it at the moment.
struct Tenant {
    id: WorkspaceId,
    home: std::path::PathBuf,
    file: File,
    records: SubKey,
    lookups: SubKey,
    audit: SubKey,
    blobs: blobs::Blobs,
    index: index::Index,
    live: Live,
    hooks: Arc<pool::Hooks>,
    clock: Clock,
    random: Random,
    writer: tokio::sync::Mutex<()>,
}

impl Tenant {
    fn new(
        id: WorkspaceId,
        file: File,
        key: &DataKey,
        home: &std::path::Path,
        shared: &pool::Shared,
    ) -> Self {
        Self {
            id,
            home: home.to_owned(),
            file,
            records: key.sub(Use::Records),
            lookups: key.sub(Use::Lookups),
            audit: key.sub(Use::Audit),
            blobs: blobs::Blobs::new(home.join("blobs"), key.sub(Use::Blobs), shared.random.clone()),
            index: index::Index::new(id, home, key.sub(Use::Index), Arc::clone(&shared.readers)),
            live: Live::new(),
            hooks: Arc::clone(&shared.hooks),
            clock: shared.clock.clone(),
            random: shared.random.clone(),
            writer: tokio::sync::Mutex::new(()),
        }
    }
}

impl Workspace {
    pub fn id(&self) -> WorkspaceId {
        self.tenant.id
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The request that caused this, when there is one.
    pub fn request(&self) -> Option<RequestId> {
        self.request
    }

    pub fn clock(&self) -> &Clock {
        &self.tenant.clock
    }

    pub fn random(&self) -> &Random {
        &self.tenant.random
    }

    /// The keyspace as of its last commit. Cached reads may run in place; a long scan belongs on a blocking
    /// thread. Keep no snapshot across an await.
    pub fn read(&self) -> Result<Snapshot, StoreError> {
        self.tenant.file.snapshot()
    }

    /// Large files of this workspace.
    pub fn blobs(&self) -> &blobs::Blobs {
        &self.tenant.blobs
    }

    /// What search reads. Blocks.
    pub fn index(&self) -> &index::Index {
        &self.tenant.index
    }

    /// Tells open pages that something changed.
    pub fn live(&self) -> &Live {
        &self.tenant.live
    }

    /// A keyed hash that means nothing in any other workspace.
    pub fn lookup(&self, data: &[u8]) -> [u8; 32] {
        self.tenant.lookups.lookup(data)
    }

    /// Seals a credential for the row `key` of `table`.
    pub fn seal(&self, table: &str, key: &str, secret: &Secret) -> Sealed {
        self.tenant.records.seal_record(Place { workspace: &self.id().to_string(), table, key }, secret)
    }

    /// Opens a credential of the row `key` of `table`.
    pub fn open(&self, table: &str, key: &str, sealed: &Sealed) -> Result<Secret, crate::seal::SealError> {
        self.tenant.records.open_record(Place { workspace: &self.id().to_string(), table, key }, sealed)
    }

    /// Checks every page and seal of the keyspace file.
    pub fn verify_file(&self) -> Result<(), StoreError> {
        self.tenant.file.verify()
    }

    /// Checks the audit chain of this workspace; answers how many lines hold.
    pub fn verify_audit(&self) -> Result<Result<u64, Broken>, StoreError> {
        let verified = self.audit_walk()?.finish(|| self.read(), |_, _| {})?;
        Ok(verified.map(|chain| chain.lines()))
    }

    /// Begins to check the audit chain of this workspace.
    pub fn audit_walk(&self) -> Result<Walk, StoreError> {
        Walk::begin(&self.read()?, &self.tenant.audit)
    }
}
