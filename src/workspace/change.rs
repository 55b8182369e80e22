//! The only way to write: state, job, usage row and audit line commit together.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use jiff::Timestamp;

use super::Workspace;
use crate::store::audit::prune::{self, Pruned};
use crate::store::audit::{self, Action, Broken, Entry};
use crate::store::{COMPACTION_DUE, Read as _, StoreError, Tx};

/// A change being made to a workspace: the transaction, plus what is announced when it has committed.
pub struct Change<'a> {
    tx: &'a mut Tx,
    topics: Vec<String>,
}

impl Change<'_> {
    /// Tells pages that show `topic` to look again, once this has committed.
    pub fn announce(&mut self, topic: impl Into<String>) {
        self.topics.push(topic.into());
    }
}

impl Deref for Change<'_> {
    type Target = Tx;
    fn deref(&self) -> &Tx {
        self.tx
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Tx {
        self.tx
    }
}

impl Workspace {
    /// Changes the workspace durably on a blocking thread, with one audit line that names `action` and
    /// `target` (an id or an API name, never contents). An error keeps nothing.
    pub async fn change<T, E>(
        &self,
        action: Action,
        target: impl ToString,
        change: impl FnOnce(&mut Change<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let tenant = Arc::clone(&self.tenant);
        let entry = Entry {
            at: tenant.clock.now(),
            actor: self.actor.clone(),
            action,
            target: target.to_string(),
            workspace: Some(tenant.id),
            request: self.request,
        };
        // The engine has one writer; waiting here keeps blocking threads free.
        let _turn = self.tenant.writer.lock().await;
        let written = tokio::task::spawn_blocking(move || {
            let mut announced = Vec::new();
            let (mut queued, removes) = (false, entry.action.removes());
            let value = tenant.file.write(|tx| {
                let mut change_of = Change { tx, topics: Vec::new() };
                let value = change(&mut change_of)?;
                announced = change_of.topics;
                queued = tx.touched(super::pool::JOBS_TABLE);
                if removes {
                    tx.compact_later()?;
                }
                audit::append(tx, &tenant.audit, entry)?;
                Ok::<T, E>(value)
            })?;
            for topic in announced {
                tenant.live.publish(topic);
            }
            if removes {
                tenant.hooks.removed(tenant.id);
            }
            if queued {
                tenant.hooks.queued(tenant.id);
            }
            Ok(value)
        });
        written.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e)).into()))
    }

    /// Takes the bytes of removed rows off the disk, when some were removed. Readers go on, writers wait meanwhile. Answers
    /// false when somebody reads for too long: try again later.
    pub async fn compact_if_due(&self) -> Result<bool, StoreError> {
        if !self.read()?.has(&COMPACTION_DUE, &0)? {
            return Ok(true);
        }
        let tenant = Arc::clone(&self.tenant);
        let _turn = self.tenant.writer.lock().await;
        let compacted = tokio::task::spawn_blocking(move || tenant.file.compact());
        compacted.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))))
    }

    /// Progress and usage rows that are no act of anybody: durable, without an audit line.
    pub async fn note<T, E>(
        &self,
        change: impl FnOnce(&mut Change<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let tenant = Arc::clone(&self.tenant);
        let _turn = self.tenant.writer.lock().await;
        let written = tokio::task::spawn_blocking(move || {
            let mut announced = Vec::new();
            let value = tenant.file.write(|tx| {
                let mut change_of = Change { tx, topics: Vec::new() };
                let value = change(&mut change_of)?;
                announced = change_of.topics;
                Ok::<T, E>(value)
            })?;
            for topic in announced {
                tenant.live.publish(topic);
            }
            Ok(value)
        });
        written.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e)).into()))
    }
    /// Lets audit lines of `until` and before it go, as many as one commit may, under a line of its own.
    pub async fn prune_audit(&self, until: Timestamp) -> Result<Result<Option<Pruned>, Broken>, StoreError> {
        let tenant = Arc::clone(&self.tenant);
        let entry = Entry {
            at: tenant.clock.now(),
            actor: self.actor.clone(),
            action: Action::AuditPruned,
            target: String::new(),
            workspace: Some(tenant.id),
            request: self.request,
        };
        let _turn = self.tenant.writer.lock().await;
        let pruned = tokio::task::spawn_blocking(move || {
            if !prune::is_due(&tenant.file.snapshot()?, until)? {
                return Ok(Ok(None));
            }
            tenant.file.write(|tx| prune::prune(tx, &tenant.audit, until, entry))
        });
        pruned.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))))
    }
}
