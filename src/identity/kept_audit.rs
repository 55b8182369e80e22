//! Audit lines of workspaces that were erased: they stay for their own year. The hashes are those of the workspace's
//! chain; its ends are sealed anew by a MAC under the control file's audit key, because the workspace's key is destroyed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::control::Control;
use crate::ids::WorkspaceId;
use crate::store::audit::{self, AuditEvent, Broken};
use crate::store::{Read, StoreError, Table};

/// The lines, under their numbers in the chain of the workspace.
pub const KEPT_AUDIT: Table<(WorkspaceId, u64), AuditEvent> = Table::new("kept_audit", 1);
/// Where the kept part of each chain begins and ends.
pub const KEPT_AUDIT_ENDS: Table<WorkspaceId, Ends> = Table::new("kept_audit_ends", 1);

/// Lines removed in one commit.
const REMOVED_AT_ONCE: usize = 1_000;

/// Both ends of what is kept of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Number of the first line that is kept.
    pub first: u64,
    /// Hash of the line before it; empty when there is none.
    pub before: String,
    pub last: u64,
    /// Hash of the last line.
    pub hash: String,
    /// HMAC-SHA256 under the control file's audit key over all of it, hex.
    mac: String,
}

impl Control {
    /// Keeps the next lines of a workspace's chain, in their order, in one commit. `before` is the hash of the line
    /// before the first of all; it counts at the first call.
    pub fn keep(&self, id: WorkspaceId, before: &str, lines: &[(u64, AuditEvent)]) -> Result<(), StoreError> {
        let (Some((first, _)), Some((last, newest))) = (lines.first(), lines.last()) else { return Ok(()) };
        self.touch(|tx| {
            for (line, event) in lines {
                tx.put(&KEPT_AUDIT, &(id, *line), event)?;
            }
            let (first, before) = match tx.get(&KEPT_AUDIT_ENDS, &id)? {
                Some(ends) => (ends.first, ends.before),
                None => (*first, before.to_owned()),
            };
            let ends = self.sealed(id, first, before, *last, newest.hash.clone());
            tx.put(&KEPT_AUDIT_ENDS, &id, &ends)
        })
    }

    /// The number of the last line that was kept.
    pub fn kept_up_to(&self, id: WorkspaceId) -> Result<Option<u64>, StoreError> {
        Ok(self.read()?.get(&KEPT_AUDIT_ENDS, &id)?.map(|ends| ends.last))
    }

    /// How many lines of it are kept.
    pub fn kept_lines(&self, id: WorkspaceId) -> Result<u64, StoreError> {
        let ends = self.read()?.get(&KEPT_AUDIT_ENDS, &id)?;
        Ok(ends.map_or(0, |ends| ends.last + 1 - ends.first))
    }

    /// Walks the kept part of a chain; answers how many lines hold, or the first place that does not.
    pub fn verify_kept(&self, id: WorkspaceId) -> Result<Result<u64, Broken>, StoreError> {
        let read = self.read()?;
        let Some(ends) = read.get(&KEPT_AUDIT_ENDS, &id)? else {
            let left = read.scan(&KEPT_AUDIT).under(&id).limit(1).count()?;
            return Ok(if left == 0 { Ok(0) } else { Err(Broken::Tail(0)) });
        };
        let (mut before, mut next) = (ends.before.clone(), ends.first);
        let (mut broken, mut failure) = (None, None);
        read.scan(&KEPT_AUDIT).under(&id).each(|(_, line), event| {
            match audit::link(&before, &AuditEvent { hash: String::new(), ..event.clone() }) {
                Ok(hash) if line == next && hash == event.hash => {}
                Ok(_) => broken = Some(Broken::Link(line)),
                Err(error) => failure = Some(error),
            }
            (before, next) = (event.hash, line + 1);
            broken.is_none() && failure.is_none()
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        let Ends { first, last, hash, mac, .. } = &ends;
        let sealed = self.sealed(id, *first, ends.before.clone(), *last, hash.clone());
        Ok(match broken {
            Some(broken) => Err(broken),
            None if next == last + 1 && before == *hash && sealed.mac == *mac => Ok(last + 1 - first),
            None => Err(Broken::Tail(next.saturating_sub(1))),
        })
    }

    /// Removes kept lines from before a moment, and answers how many; the rest still verifies. Blocks.
    pub fn prune_kept(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut pruned = 0;
        for (id, _) in self.read()?.scan(&KEPT_AUDIT_ENDS).rows()? {
            loop {
                let removed = self.prune_some(id, before)?;
                pruned += removed as u64;
                if removed < REMOVED_AT_ONCE {
                    break;
                }
            }
        }
        Ok(pruned)
    }

    fn prune_some(&self, id: WorkspaceId, before: Timestamp) -> Result<usize, StoreError> {
        let mut old = self.read()?.scan(&KEPT_AUDIT).under(&id).limit(REMOVED_AT_ONCE).rows()?;
        let young = old.iter().position(|(_, event)| event.at >= before).unwrap_or(old.len());
        old.truncate(young);
        let Some(((_, last_gone), gone)) = old.last() else { return Ok(0) };
        self.touch::<StoreError>(|tx| {
            for (key, _) in &old {
                tx.remove(&KEPT_AUDIT, key)?;
            }
            let Some(ends) = tx.get(&KEPT_AUDIT_ENDS, &id)? else { return Ok(()) };
            if *last_gone >= ends.last {
                return tx.remove(&KEPT_AUDIT_ENDS, &id).map(|_| ());
            }
            let ends = self.sealed(id, last_gone + 1, gone.hash.clone(), ends.last, ends.hash);
            tx.put(&KEPT_AUDIT_ENDS, &id, &ends)
        })?;
        Ok(old.len())
    }

    fn sealed(&self, id: WorkspaceId, first: u64, before: String, last: u64, hash: String) -> Ends {
        let mac = audit::mac(self.audit_key(), last, &format!("kept {id} {first} {before} {hash}"));
        Ends { first, before, last, hash, mac }
    }
}
