//! What has ended in the control file and would stay for ever: sessions, tokens, links and keys that nobody used.

use super::address::ADDRESS_CHANGES;
use super::control::{Control, ControlTx};
use super::memberships::WORKSPACES;
use crate::store::{Read as _, StoreError};

impl Control {
    /// Forgets what has ended, at most about `most` rows of each kind, inside a change; answers how many. Addresses of
    /// changes and invitations go with their rows.
    pub fn forget_ended(&self, tx: &mut ControlTx, most: usize) -> Result<usize, StoreError> {
        let now = self.clock().now();
        let mut removed = self.forget_ended_sessions(tx, most)?
            + self.forget_ended_tokens(tx, most)?
            + self.forget_ended_resets(tx)?
            + self.forget_ended_keys(tx)?;
        let mut changes = tx.scan(&ADDRESS_CHANGES).rows()?;
        changes.retain(|(_, change)| change.ends <= now);
        for (id, _) in &changes {
            tx.remove(&ADDRESS_CHANGES, id)?;
        }
        removed += changes.len();
        for (workspace, _) in tx.scan(&WORKSPACES).rows()? {
            removed += self.forget_ended_invitations(tx, workspace)?;
        }
        Ok(removed)
    }
}
