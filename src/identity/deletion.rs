//! Deletion of an account: 30 days in which its person can come back and do nothing else, then everything that the
//! control file knows of them is erased. What workspaces hold is erased by the slices before, see `people::close`.

use jiff::{SignedDuration, Timestamp};

use super::IdentityError;
use super::accounts::{ACCOUNTS, ADDRESSES, Account, AccountState};
use super::address::ADDRESS_CHANGES;
use super::control::{Control, ControlTx};
use super::invitations::INVITATIONS;
use super::memberships::{MEMBERS, MEMBERSHIPS, Role, VISITS, WORKSPACES, WorkspaceRow};
use crate::ids::{AccountId, SessionId};
use crate::store::{Read, StoreError};

/// How long an account can be restored.
pub const GRACE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What keeps an account from being deleted.
#[derive(Debug, Default)]
pub struct Hindrance {
    /// Workspaces that would be left without an owner.
    pub workspaces: Vec<WorkspaceRow>,
    /// No other operator can sign in.
    pub last_operator: bool,
}

impl Hindrance {
    pub fn none(&self) -> bool {
        self.workspaces.is_empty() && !self.last_operator
    }
}

impl Account {
    /// When it is erased; `None` while nobody asked for that.
    pub fn erased_at(&self) -> Option<Timestamp> {
        self.deletion.and_then(|asked| asked.checked_add(GRACE).ok())
    }

    /// Its 30 days are over: nobody can sign in to it any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.erased_at().is_some_and(|at| at <= now)
    }

    /// May sign in and act: neither suspended nor about to be erased.
    pub fn acts(&self) -> bool {
        self.state == AccountState::Active && self.deletion.is_none()
    }
}

impl Control {
    /// What would keep an account from being deleted now.
    pub fn hindrance(&self, read: &impl Read, account: AccountId) -> Result<Hindrance, StoreError> {
        let mut found = Hindrance::default();
        for ((_, id), membership) in read.scan(&MEMBERSHIPS).under(&account).rows()? {
            if membership.role == Role::Owner && !another_owner(read, id, account)? {
                let row = read.get(&WORKSPACES, &id)?;
                // One that goes as well needs no owner.
                found.workspaces.extend(row.filter(|row| row.closing().is_none()));
            }
        }
        let operator = read.get(&ACCOUNTS, &account)?.is_some_and(|a| a.operator);
        found.last_operator = operator && !another_operator(read, account)?;
        Ok(found)
    }

    /// Begins the 30 days inside a change: every session but `except` ends and every token. Answers when they end.
    pub fn start_deletion(
        &self,
        tx: &mut ControlTx,
        id: AccountId,
        except: Option<SessionId>,
    ) -> Result<Timestamp, IdentityError> {
        let hindrance = self.hindrance(tx, id)?;
        if hindrance.last_operator {
            return Err(IdentityError::LastOperator);
        }
        if !hindrance.workspaces.is_empty() {
            return Err(IdentityError::LastOwner);
        }
        let mut account = tx.get(&ACCOUNTS, &id)?.ok_or(IdentityError::NoSuchAccount)?;
        if account.deletion.is_none() {
            account.deletion = Some(self.clock().now());
            tx.put(&ACCOUNTS, &id, &account)?;
            self.end_sessions(tx, id, except)?;
            for ((_, workspace), _) in tx.scan(&MEMBERSHIPS).under(&id).rows()? {
                self.revoke_tokens(tx, id, workspace)?;
                Self::withdraw_invitations_by(tx, id, workspace, None)?;
            }
        }
        account.erased_at().ok_or(IdentityError::NoSuchAccount)
    }

    /// Keeps the account after all, inside a change.
    pub fn stop_deletion(&self, tx: &mut ControlTx, id: AccountId) -> Result<(), IdentityError> {
        let kept = tx.get(&ACCOUNTS, &id)?.filter(|a| !a.is_over(self.clock().now()));
        let mut account = kept.ok_or(IdentityError::NoSuchAccount)?;
        account.deletion = None;
        Ok(tx.put(&ACCOUNTS, &id, &account)?)
    }

    /// Accounts whose 30 days are over.
    pub fn due_deletions(&self) -> Result<Vec<AccountId>, StoreError> {
        let (now, mut due) = (self.clock().now(), Vec::new());
        self.read()?.scan(&ACCOUNTS).each(|id, account| {
            due.extend(account.is_over(now).then_some(id));
            true
        })?;
        Ok(due)
    }

    /// Removes an account whose 30 days are over, inside a change, with everything by which the control file knows the
    /// person; audit lines keep the id. `None` when it is gone already or was restored.
    pub fn erase_account(&self, tx: &mut ControlTx, id: AccountId) -> Result<Option<Account>, StoreError> {
        let now = self.clock().now();
        let due = tx.get(&ACCOUNTS, &id)?.filter(|a| a.is_over(now));
        let Some(account) = due else { return Ok(None) };
        self.end_sessions(tx, id, None)?;
        self.end_resets(tx, &account.email)?;
        tx.remove(&ADDRESS_CHANGES, &id)?;
        Self::forget_tokens(tx, id)?;
        self.forget_totp(tx, id)?;
        self.forget_devices(tx, id)?;
        self.forget_passkeys(tx, id)?;
        self.remove_sso_links(tx, id)?;
        for ((_, workspace), _) in tx.scan(&MEMBERSHIPS).under(&id).rows()? {
            Self::withdraw_invitations_by(tx, id, workspace, None)?;
            tx.remove(&MEMBERS, &(workspace, id))?;
        }
        tx.remove_under(&MEMBERSHIPS, &id)?;
        tx.remove_under(&VISITS, &id)?;
        let mut invited = Vec::new();
        tx.scan(&INVITATIONS).each(|(workspace, invitation), row| {
            invited.extend((row.email.key() == account.email.key()).then_some((workspace, invitation)));
            true
        })?;
        for (workspace, invitation) in invited {
            super::invitations::forget(tx, workspace, invitation)?;
        }
        if tx.get(&ADDRESSES, &account.email.key())? == Some(id) {
            tx.remove(&ADDRESSES, &account.email.key())?;
        }
        tx.remove(&ACCOUNTS, &id)?;
        Ok(Some(account))
    }
}

/// Whether a workspace has an owner besides `account` who stays.
pub(super) fn another_owner(
    read: &impl Read,
    workspace: crate::ids::WorkspaceId,
    account: AccountId,
) -> Result<bool, StoreError> {
    for ((_, id), role) in read.scan(&MEMBERS).under(&workspace).rows()? {
        let owner = id != account && role == Role::Owner;
        if owner && read.get(&ACCOUNTS, &id)?.is_some_and(|a| a.deletion.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether somebody besides `account` can sign in and administer the instance.
fn another_operator(read: &impl Read, account: AccountId) -> Result<bool, StoreError> {
    let mut found = false;
    read.scan(&ACCOUNTS).each(|id, row| {
        found = id != account && row.operator && row.acts();
        !found
    })?;
    Ok(found)
}
