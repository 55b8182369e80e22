//! Accounts whose 30 days are over: first what every workspace holds of the person, then, in one commit, the account. Until
//! that commit the account is due, so a process that is killed in between does it all again.

use super::{Eraser, ErasureError};
use crate::identity::control::Note;
use crate::identity::{Account, Email};
use crate::ids::{AccountId, JobId};
use crate::mail::{self, Letter};
use crate::store::StoreError;
use crate::store::audit::{Action, Actor};
use crate::{chat, notifications};

impl Eraser {
    /// Erases every account that is due; answers how many. One that can't be erased now stays due.
    pub async fn erase_due(&self) -> Result<usize, StoreError> {
        let mut erased = 0;
        let control = self.control.clone();
        let due = tokio::task::spawn_blocking(move || control.due_deletions()).await;
        for id in due.map_err(|e| StoreError::Io(std::io::Error::other(e)))?? {
            match self.erase(id).await {
                Ok(gone) => erased += usize::from(gone),
                Err(error) => {
                    tracing::error!(%error, account = %id, "an account was not deleted; again in an hour");
                }
            }
        }
        Ok(erased)
    }

    async fn erase(&self, id: AccountId) -> Result<bool, ErasureError> {
        let Some(account) = self.control.account(id)? else { return Ok(false) };
        let job = JobId::new(&self.clock, &self.random);
        // All workspaces, because people leave some before they go.
        for (workspace, _) in self.control.all_workspaces()? {
            if let Some(ws) = self.door.for_job(workspace, job, Some(id))? {
                chat::erase(&ws, id).await?;
                notifications::erase(&ws, id, &account).await?;
            }
        }
        let address = account.email.clone();
        let erased = self.erase_account(id, account, job).await?;
        self.look_again(id, address).await?;
        Ok(erased)
    }

    /// Says in the log where the address is still known. The last mail to it is the only place that may, until it left.
    async fn look_again(&self, id: AccountId, address: Email) -> Result<(), StoreError> {
        let control = self.control.clone();
        let found = move || control.read()?.tables_with(address.as_str());
        let found = tokio::task::spawn_blocking(found).await;
        let mut found = found.map_err(|e| StoreError::Io(std::io::Error::other(e)))??;
        found.retain(|table| table != mail::outbox::OUTBOX.name);
        if !found.is_empty() {
            tracing::error!(account = %id, tables = ?found, "the address of a deleted account is still kept");
        }
        Ok(())
    }

    async fn erase_account(&self, id: AccountId, account: Account, job: JobId) -> Result<bool, StoreError> {
        let control = self.control.clone();
        let note = Note::new(Actor::Job { id: job, asked_by: Some(id) }, Action::AccountErased, id);
        self.control
            .change(note, move |tx| {
                if control.erase_account(tx, id)?.is_none() {
                    return Ok(false);
                }
                notifications::forget(tx, id, &account)?;
                mail::outbox::forget(tx, account.email.as_str(), &account.name)?;
                let letter = Letter::AccountDeleted { at: control.clock().now() };
                mail::post(tx, &control, account.email.as_str(), &letter)?;
                Ok(true)
            })
            .await
    }
}
