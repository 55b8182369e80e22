//! The control file: everything that is not inside one workspace. Every change to it goes through
//! [`Control::change`], which adds the line to its audit chain in the same commit.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};

use crate::clock::{Clock, Random};
use crate::ids::{AccountId, RequestId, WorkspaceId};
use crate::seal::{DataKey, SubKey, Use};
use crate::store::audit::prune::{self, Pruned};
use crate::store::audit::verify::Walk;
use crate::store::audit::{self, Action, Actor, Broken, Entry};
use crate::store::{COMPACTION_DUE, File, Read as _, Snapshot, StoreError, Tx};

/// Memory for cached pages of the control file, in bytes.
const CACHE: usize = 4 << 20;
/// Tables whose writes wake the sender of mails.
const MAIL_TABLES: [&str; 4] = ["outbox_due", "mail_server", "workspace_mail", "workspace_mail_servers"];
/// Accounts waiting for a slow listener; one that falls further behind looks at everything.
const TOLD_WAITING: usize = 256;

/// The open control file with its keys. Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    file: File,
    lookups: SubKey,
    records: SubKey,
    audit: SubKey,
    clock: Clock,
    random: Random,
    posted: Notify,
    /// Accounts that the change being made tells something.
    telling: Mutex<Vec<AccountId>>,
    told: broadcast::Sender<AccountId>,
}

/// The transaction of a control change.
pub type ControlTx = Tx;

impl Control {
    /// Makes `path`, sealed under `key`.
    pub fn create(path: &Path, key: &DataKey, clock: Clock, random: Random) -> Result<Self, StoreError> {
        let file = File::create(path, &key.sub(Use::Pages), CACHE)?;
        Ok(Self::with(file, key, clock, random))
    }

    /// Opens `path`.
    pub fn open(path: &Path, key: &DataKey, clock: Clock, random: Random) -> Result<Self, StoreError> {
        let file = File::open(path, &key.sub(Use::Pages), CACHE)?;
        let control = Self::with(file, key, clock, random);
        control.move_tokens()?;
        control.list_sessions()?;
        Ok(control)
    }

    fn with(file: File, key: &DataKey, clock: Clock, random: Random) -> Self {
        let (lookups, records, audit) = (key.sub(Use::Lookups), key.sub(Use::Records), key.sub(Use::Audit));
        let (posted, telling, told) = (Notify::new(), Mutex::default(), broadcast::channel(TOLD_WAITING).0);
        Self(Arc::new(Inner { file, lookups, records, audit, clock, random, posted, telling, told }))
    }

    /// The file as of its last commit.
    pub fn read(&self) -> Result<Snapshot, StoreError> {
        self.0.file.snapshot()
    }

    /// Changes the control file; runs on a blocking thread. The audit line is committed with the change.
    pub async fn change<T, E>(
        &self,
        note: Note,
        change: impl FnOnce(&mut ControlTx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.change_now(note, change))
            .await
            .unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e)).into()))
    }

    /// [`Control::change`] on the calling thread: for start-up and the console.
    pub fn change_now<T, E: From<StoreError>>(
        &self,
        note: Note,
        change: impl FnOnce(&mut ControlTx) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write(|tx| {
            let value = change(tx)?;
            self.note(tx, note)?;
            Ok(value)
        })
    }

    /// A change of several acts on the calling thread; each adds its line with [`Control::note`].
    pub(super) fn write<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut ControlTx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut mail = false;
        let value = self.0.file.write(|tx| {
            let value = change(tx)?;
            mail = MAIL_TABLES.iter().any(|table| tx.touched(table));
            Ok::<T, E>(value)
        })?;
        if mail {
            self.0.posted.notify_one();
        }
        let telling = std::mem::take(&mut *self.0.telling.lock().unwrap_or_else(PoisonError::into_inner));
        for account in telling {
            // No listener is no error.
            let _ = self.0.told.send(account);
        }
        Ok(value)
    }

    /// Inside a change: lets open pages of `account` look again once it has committed. When it is given up they may
    /// look without need.
    pub fn tell_pages_of(&self, account: AccountId) {
        self.0.telling.lock().unwrap_or_else(PoisonError::into_inner).push(account);
    }

    /// Accounts that were told something, from now on.
    pub fn told(&self) -> broadcast::Receiver<AccountId> {
        self.0.told.subscribe()
    }

    /// Waits for a commit that concerns mail. For the one task that sends it.
    pub async fn posted(&self) {
        self.0.posted.notified().await;
    }

    /// Lets that task look now.
    pub fn look_at_mail(&self) {
        self.0.posted.notify_one();
    }

    /// A change of several acts, each of which adds its line with [`Control::note`]; runs on a blocking thread.
    pub async fn acts<T, E>(
        &self,
        change: impl FnOnce(&mut ControlTx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.write(change))
            .await
            .unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e)).into()))
    }

    /// One more audit line in a change that does several acts at once.
    pub fn note(&self, tx: &mut ControlTx, note: Note) -> Result<(), StoreError> {
        if note.action.removes() {
            tx.compact_later()?;
        }
        audit::append(tx, &self.0.audit, self.entry(note)).map(|_| ())
    }

    fn entry(&self, note: Note) -> Entry {
        let Note { actor, action, target, workspace, request } = note;
        Entry { at: self.0.clock.now(), actor, action, target, workspace, request }
    }

    /// Updates that are no act of anybody (when a session was last seen): no audit line.
    pub fn touch<E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut ControlTx) -> Result<(), E>,
    ) -> Result<(), E> {
        self.write(change)
    }

    /// Checks the audit chain; answers how many lines hold.
    pub fn verify_audit(&self) -> Result<Result<u64, Broken>, StoreError> {
        let verified = self.audit_walk()?.finish(|| self.read(), |_, _| {})?;
        Ok(verified.map(|chain| chain.lines()))
    }

    /// Begins to check the audit chain.
    pub fn audit_walk(&self) -> Result<Walk, StoreError> {
        Walk::begin(&self.read()?, &self.0.audit)
    }

    /// Lets audit lines of `until` and before it go, as many as one commit may, under a line of `actor`. Blocks.
    pub fn prune_audit(
        &self,
        until: Timestamp,
        actor: Actor,
    ) -> Result<Result<Option<Pruned>, Broken>, StoreError> {
        if !prune::is_due(&self.read()?, until)? {
            return Ok(Ok(None));
        }
        let entry = self.entry(Note::new(actor, Action::AuditPruned, ""));
        self.write(|tx| prune::prune(tx, &self.0.audit, until, entry))
    }

    /// Takes the bytes of removed rows off the disk, when some were removed; answers false when somebody reads for too
    /// long. Blocks; writers wait.
    pub fn compact_if_due(&self) -> Result<bool, StoreError> {
        if !self.read()?.has(&COMPACTION_DUE, &0)? {
            return Ok(true);
        }
        self.0.file.compact()
    }

    /// Checks every page and seal of the file.
    pub fn verify_file(&self) -> Result<(), StoreError> {
        self.0.file.verify()
    }

    /// Keyed hashes for look-ups by a secret (session and API tokens).
    pub fn lookups(&self) -> &SubKey {
        &self.0.lookups
    }

    pub(super) fn audit_key(&self) -> &SubKey {
        &self.0.audit
    }

    /// The key that seals credentials once more as records.
    pub fn records(&self) -> &SubKey {
        &self.0.records
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub fn random(&self) -> &Random {
        &self.0.random
    }
}

/// What the audit line of a change says.
#[derive(Clone, Debug)]
pub struct Note {
    pub actor: Actor,
    pub action: Action,
    pub target: String,
    pub workspace: Option<WorkspaceId>,
    pub request: Option<RequestId>,
}

impl Note {
    pub fn new(actor: Actor, action: Action, target: impl ToString) -> Self {
        Self { actor, action, target: target.to_string(), workspace: None, request: None }
    }

    pub fn in_workspace(mut self, workspace: WorkspaceId) -> Self {
        self.workspace = Some(workspace);
        self
    }

    pub fn asked_by(mut self, request: Option<RequestId>) -> Self {
        self.request = request;
        self
    }
}
