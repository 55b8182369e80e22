//! Deletion of a workspace: 30 days in which only its owners come in, read, and can keep it; then it is erased, see
//! `erasures`. Nothing of it is processed meanwhile: tokens and invitations end at once.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::control::{Control, ControlTx};
use super::deletion::GRACE;
use super::invitations;
use super::memberships::{MEMBERS, Role, WORKSPACES, WorkspaceRow, WorkspaceState};
use crate::ids::{AccountId, MailId, WorkspaceId};
use crate::store::{Read, StoreError};

/// Owners are reminded this long before the end.
const REMINDED_BEFORE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// That a workspace is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// When an owner asked.
    pub since: Timestamp,
    pub by: AccountId,
    /// Processing was restricted before, and is again when the workspace is kept.
    pub restricted: bool,
    /// The owners were told that seven days are left.
    #[serde(default)]
    pub reminded: bool,
    /// Erasing has begun: nothing brings it back.
    #[serde(default)]
    pub begun: bool,
}

impl Closing {
    /// When it is erased.
    pub fn ends(&self) -> Timestamp {
        self.since.checked_add(GRACE).unwrap_or(Timestamp::MAX)
    }

    /// Its 30 days are over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.begun || self.ends() <= now
    }
}

impl WorkspaceRow {
    /// Set from the day on which an owner asked to delete it.
    pub fn closing(&self) -> Option<Closing> {
        match self.state {
            WorkspaceState::Deleting(closing) => Some(closing),
            WorkspaceState::Active | WorkspaceState::Restricted => None,
        }
    }

    /// Its 30 days are over: nobody comes in any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.closing().is_some_and(|closing| closing.is_over(now))
    }
}

/// What begins with a deletion.
pub struct Started {
    pub row: WorkspaceRow,
    pub closing: Closing,
    pub members: Vec<(AccountId, Role)>,
    /// Mails with invitations that were withdrawn.
    pub mails: Vec<MailId>,
}

impl Control {
    /// Begins the 30 days inside a change: API tokens and invitations of the workspace end. One that is to be deleted
    /// already keeps its day; `None` then.
    pub fn start_workspace_deletion(
        &self,
        tx: &mut ControlTx,
        id: WorkspaceId,
        by: AccountId,
    ) -> Result<Option<Started>, IdentityError> {
        Self::may_manage(tx, by, id, Role::Owner)?;
        let row = tx.get(&WORKSPACES, &id)?.ok_or(IdentityError::NotMember)?;
        let restricted = match row.state {
            WorkspaceState::Deleting(_) => return Ok(None),
            WorkspaceState::Active => false,
            WorkspaceState::Restricted => true,
        };
        let closing = Closing { since: self.clock().now(), by, restricted, reminded: false, begun: false };
        let row = WorkspaceRow { state: WorkspaceState::Deleting(closing), ..row };
        tx.put(&WORKSPACES, &id, &row)?;
        let members: Vec<_> = tx.scan(&MEMBERS).under(&id).rows()?;
        let members: Vec<_> = members.into_iter().map(|((_, account), role)| (account, role)).collect();
        for (account, _) in &members {
            self.revoke_tokens(tx, *account, id)?;
        }
        let mails = invitations::withdraw_all(tx, id)?;
        Ok(Some(Started { row, closing, members, mails }))
    }

    /// Keeps the workspace after all, inside a change; tokens and invitations that ended stay ended. Answers its row and
    /// members; [`IdentityError::Erased`] when its time is over.
    pub fn stop_workspace_deletion(
        &self,
        tx: &mut ControlTx,
        id: WorkspaceId,
        by: AccountId,
    ) -> Result<(WorkspaceRow, Vec<AccountId>), IdentityError> {
        Self::may_manage(tx, by, id, Role::Owner)?;
        let row = tx.get(&WORKSPACES, &id)?.ok_or(IdentityError::Erased)?;
        if row.is_over(self.clock().now()) {
            return Err(IdentityError::Erased);
        }
        let restricted = row.closing().is_some_and(|closing| closing.restricted);
        let restricted = restricted || row.state == WorkspaceState::Restricted;
        let state = if restricted { WorkspaceState::Restricted } else { WorkspaceState::Active };
        let row = WorkspaceRow { state, ..row };
        tx.put(&WORKSPACES, &id, &row)?;
        let members = tx.scan(&MEMBERS).under(&id).rows()?;
        Ok((row, members.into_iter().map(|((_, account), _)| account).collect()))
    }

    /// Workspaces whose 30 days are over.
    pub fn due_erasures(&self) -> Result<Vec<WorkspaceId>, StoreError> {
        let (now, mut due) = (self.clock().now(), Vec::new());
        self.read()?.scan(&WORKSPACES).each(|id, row| {
            due.extend(row.is_over(now).then_some(id));
            true
        })?;
        Ok(due)
    }

    /// Workspaces that have seven days left and whose owners were not reminded.
    pub fn due_deletion_reminders(&self) -> Result<Vec<WorkspaceId>, StoreError> {
        let (now, mut due) = (self.clock().now(), Vec::new());
        self.read()?.scan(&WORKSPACES).each(|id, row| {
            due.extend(row.closing().filter(|closing| is_reminded(closing, now)).map(|_| id));
            true
        })?;
        Ok(due)
    }

    /// Notes inside a change that the owners are reminded; `None` when that is not due.
    pub fn mark_reminded(
        &self,
        tx: &mut ControlTx,
        id: WorkspaceId,
    ) -> Result<Option<(WorkspaceRow, Closing, Vec<AccountId>)>, StoreError> {
        let Some(row) = tx.get(&WORKSPACES, &id)? else { return Ok(None) };
        let now = self.clock().now();
        let Some(closing) = row.closing().filter(|closing| is_reminded(closing, now)) else {
            return Ok(None);
        };
        let state = WorkspaceState::Deleting(Closing { reminded: true, ..closing });
        let row = WorkspaceRow { state, ..row };
        tx.put(&WORKSPACES, &id, &row)?;
        Ok(Some((row, closing, owners(tx, id)?)))
    }
}

fn is_reminded(closing: &Closing, now: Timestamp) -> bool {
    let left = closing.ends().duration_since(now);
    !closing.reminded && !closing.is_over(now) && left <= REMINDED_BEFORE
}

/// The owners of a workspace.
pub(super) fn owners(read: &impl Read, id: WorkspaceId) -> Result<Vec<AccountId>, StoreError> {
    let members = read.scan(&MEMBERS).under(&id).rows()?;
    let owners = members.into_iter().filter(|(_, role)| *role == Role::Owner);
    Ok(owners.map(|((_, account), _)| account).collect())
}
