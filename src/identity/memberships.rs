//! Who belongs to which workspace, and in which role.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::accounts::{ACCOUNTS, Account};
use super::control::{Control, ControlTx, Note};
use super::settings::{Quota, SETTINGS};
use crate::ids::{AccountId, WorkspaceId};
use crate::store::{Read, StoreError, Table};

pub const WORKSPACES: Table<WorkspaceId, WorkspaceRow> = Table::new("workspaces", 1);
/// Every slug ever issued: one is never issued again, so an old link can't open another tenant.
pub const SLUGS: Table<String, WorkspaceId> = Table::new("slugs", 1);
pub const MEMBERSHIPS: Table<(AccountId, WorkspaceId), Membership> = Table::new("memberships", 1);
/// The same, the other way round.
pub const MEMBERS: Table<(WorkspaceId, AccountId), Role> = Table::new("members", 1);

/// When a member was last in a workspace.
pub const VISITS: Table<(AccountId, WorkspaceId), Timestamp> = Table::new("visits", 1);

/// What a member may do; each role may do what the one before it may (PRODUCT, "Roles").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Member,
    Admin,
    Owner,
}

impl Role {
    /// From the least.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Admin, Self::Owner];

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Its name as people read it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer",
            Self::Member => "Member",
            Self::Admin => "Admin",
            Self::Owner => "Owner",
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Membership {
    pub role: Role,
    pub joined: Timestamp,
}

/// A workspace as the instance knows it: no contents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkspaceRow {
    pub slug: String,
    pub name: String,
    pub state: WorkspaceState,
    pub created: Timestamp,
    /// Its own limits, where the operator gave it others than everybody's.
    #[serde(default)]
    pub quota: Option<Quota>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceState {
    Active,
    /// An owner asked to delete it: only owners come in, to read, to export and to keep it.
    Deleting(super::workspace_deletion::Closing),
    /// Contents stay, nothing is sent, synced or analysed.
    Restricted,
}

impl Control {
    /// Registers a workspace and its first owner; the keyspace was made before. The slug gets a suffix
    /// when it was issued before.
    pub fn insert_workspace(
        &self,
        tx: &mut ControlTx,
        id: WorkspaceId,
        name: &str,
        owner: AccountId,
    ) -> Result<WorkspaceRow, IdentityError> {
        let name = super::accounts::display_name(name)?;
        let slug = self.free_slug(tx, id, &name)?;
        let created = self.clock().now();
        let row = WorkspaceRow { slug, name, state: WorkspaceState::Active, created, quota: None };
        tx.put(&SLUGS, &row.slug, &id)?;
        tx.put(&WORKSPACES, &id, &row)?;
        self.put_member(tx, id, owner, Role::Owner)?;
        Ok(row)
    }

    pub fn put_member(
        &self,
        tx: &mut ControlTx,
        workspace: WorkspaceId,
        account: AccountId,
        role: Role,
    ) -> Result<(), StoreError> {
        tx.put(&MEMBERSHIPS, &(account, workspace), &Membership { role, joined: self.clock().now() })?;
        tx.put(&MEMBERS, &(workspace, account), &role)
    }

    /// Ends a membership inside a change: its tokens and the invitations it sent end with it, open streams within a
    /// second. The last owner stays. Answers the role that was.
    pub fn remove_member(
        &self,
        tx: &mut ControlTx,
        workspace: WorkspaceId,
        account: AccountId,
    ) -> Result<Role, IdentityError> {
        let role = leaves_an_owner(tx, workspace, account)?;
        tx.remove(&MEMBERSHIPS, &(account, workspace))?;
        tx.remove(&MEMBERS, &(workspace, account))?;
        tx.remove(&VISITS, &(account, workspace))?;
        self.revoke_tokens(tx, account, workspace)?;
        Self::withdraw_invitations_by(tx, account, workspace, None)?;
        Ok(role)
    }

    /// Gives a member another role inside a change. The last owner stays one; a lower role ends the tokens of the
    /// membership and the invitations it could not send now. Answers the role that was.
    pub fn change_role(
        &self,
        tx: &mut ControlTx,
        workspace: WorkspaceId,
        account: AccountId,
        role: Role,
    ) -> Result<Role, IdentityError> {
        let membership = tx.get(&MEMBERSHIPS, &(account, workspace))?.ok_or(IdentityError::NotMember)?;
        let before = membership.role;
        if role < before {
            leaves_an_owner(tx, workspace, account)?;
            self.revoke_tokens(tx, account, workspace)?;
            let invites = (role >= Role::Admin).then_some(role);
            Self::withdraw_invitations_by(tx, account, workspace, invites)?;
        }
        tx.put(&MEMBERSHIPS, &(account, workspace), &Membership { role, ..membership })?;
        tx.put(&MEMBERS, &(workspace, account), &role)?;
        Ok(before)
    }

    /// Refuses what `by` may not do to a member: only owners change owners or make one, and below admin nobody
    /// changes anybody. Asked inside the change, so that two at once can't both be right.
    pub fn may_manage(
        tx: &ControlTx,
        by: AccountId,
        workspace: WorkspaceId,
        touched: Role,
    ) -> Result<(), IdentityError> {
        match tx.get(&MEMBERSHIPS, &(by, workspace))?.map(|m| m.role) {
            Some(Role::Owner) => Ok(()),
            Some(Role::Admin) if touched < Role::Owner => Ok(()),
            Some(Role::Admin) => Err(IdentityError::NotAnOwner),
            _ => Err(IdentityError::NotMember),
        }
    }

    /// The workspaces of an account, oldest first.
    pub fn workspaces_of(
        &self,
        account: AccountId,
    ) -> Result<Vec<(WorkspaceId, WorkspaceRow, Role)>, StoreError> {
        struct Found(Vec<(WorkspaceId, WorkspaceRow, Role)>);
        let found = self.read()?.kept(&account, |read| {
            let mut found = Vec::new();
            for ((_, id), membership) in read.scan(&MEMBERSHIPS).under(&account).rows()? {
                if let Some(row) = read.get(&WORKSPACES, &id)? {
                    found.push((id, row, membership.role));
                }
            }
            Ok::<_, StoreError>(Found(found))
        })?;
        Ok(found.0.clone())
    }

    /// The members of a workspace with their roles.
    pub fn members_of(&self, workspace: WorkspaceId) -> Result<Vec<(AccountId, Role)>, StoreError> {
        let rows = self.read()?.scan(&MEMBERS).under(&workspace).rows()?;
        Ok(rows.into_iter().map(|((_, account), role)| (account, role)).collect())
    }

    /// The members of a workspace with their accounts, by name.
    pub fn people_of(&self, workspace: WorkspaceId) -> Result<Vec<(AccountId, Account, Role)>, StoreError> {
        let read = self.read()?;
        let mut found = Vec::new();
        for ((_, id), role) in read.scan(&MEMBERS).under(&workspace).rows()? {
            found.extend(read.get(&ACCOUNTS, &id)?.map(|account| (id, account, role)));
        }
        found.sort_by_key(|(_, account, _)| account.name.to_lowercase());
        Ok(found)
    }

    pub fn role_in(&self, account: AccountId, workspace: WorkspaceId) -> Result<Option<Role>, StoreError> {
        Ok(self.read()?.get(&MEMBERSHIPS, &(account, workspace))?.map(|m| m.role))
    }

    pub fn workspace(&self, id: WorkspaceId) -> Result<Option<WorkspaceRow>, StoreError> {
        self.read()?.get(&WORKSPACES, &id)
    }

    pub fn workspace_by_slug(&self, slug: &str) -> Result<Option<(WorkspaceId, WorkspaceRow)>, StoreError> {
        struct Found(Option<(WorkspaceId, WorkspaceRow)>);
        let slug = slug.to_owned();
        let found = self.read()?.kept(&slug, |read| {
            let Some(id) = read.get(&SLUGS, &slug)? else { return Ok(Found(None)) };
            let row = read.get(&WORKSPACES, &id)?.filter(|row| row.slug == slug);
            Ok::<_, StoreError>(Found(row.map(|row| (id, row))))
        })?;
        Ok(found.0.clone())
    }

    /// The limits that hold for a workspace.
    pub fn quota(&self, workspace: WorkspaceId) -> Result<Quota, StoreError> {
        let read = self.read()?;
        let own = read.get(&WORKSPACES, &workspace)?.and_then(|row| row.quota);
        Ok(match own {
            Some(quota) => quota,
            None => read.get(&SETTINGS, &0)?.unwrap_or_default().quota,
        })
    }

    /// Gives a workspace limits of its own under an audit line; `None` = those of the instance hold again.
    pub fn set_quota(&self, note: Note, id: WorkspaceId, quota: Option<Quota>) -> Result<(), IdentityError> {
        self.change_now(note, |tx| {
            let row = tx.get(&WORKSPACES, &id)?.ok_or(IdentityError::NotMember)?;
            Ok(tx.put(&WORKSPACES, &id, &WorkspaceRow { quota, ..row })?)
        })
    }

    /// How many more members the workspace's limit allows, inside the change that adds one.
    pub fn member_quota_left(tx: &ControlTx, workspace: WorkspaceId) -> Result<usize, StoreError> {
        let own = tx.get(&WORKSPACES, &workspace)?.and_then(|row| row.quota);
        let quota = match own {
            Some(quota) => quota,
            None => tx.get(&SETTINGS, &0)?.unwrap_or_default().quota,
        };
        let most = usize::try_from(quota.members).unwrap_or(usize::MAX);
        Ok(most.saturating_sub(tx.scan(&MEMBERS).under(&workspace).count()?))
    }

    /// Gives a workspace another name inside a change, and the slug that goes with it. The old slug opens nothing and
    /// is only ever issued to this workspace again.
    pub fn rename_workspace(
        &self,
        tx: &mut ControlTx,
        id: WorkspaceId,
        name: &str,
    ) -> Result<WorkspaceRow, IdentityError> {
        let name = super::accounts::display_name(name)?;
        let row = tx.get(&WORKSPACES, &id)?.ok_or(IdentityError::NotMember)?;
        let kept = slug_of(&name) == slug_of(&row.name);
        let slug = if kept { row.slug.clone() } else { self.free_slug(tx, id, &name)? };
        let row = WorkspaceRow { slug, name, ..row };
        tx.put(&SLUGS, &row.slug, &id)?;
        tx.put(&WORKSPACES, &id, &row)?;
        Ok(row)
    }

    /// Restricts processing in a workspace or lifts that, inside a change; answers whether that is new.
    pub fn set_restricted(
        tx: &mut ControlTx,
        id: WorkspaceId,
        restricted: bool,
    ) -> Result<bool, IdentityError> {
        let row = tx.get(&WORKSPACES, &id)?.ok_or(IdentityError::NotMember)?;
        let state = match (row.state, restricted) {
            (WorkspaceState::Deleting(closing), _) => {
                WorkspaceState::Deleting(super::workspace_deletion::Closing { restricted, ..closing })
            }
            (_, true) => WorkspaceState::Restricted,
            (_, false) => WorkspaceState::Active,
        };
        let new = row.state != state;
        tx.put(&WORKSPACES, &id, &WorkspaceRow { state, ..row })?;
        Ok(new)
    }

    /// Notes that a member was in the workspace.
    pub fn mark_visit(&self, account: AccountId, workspace: WorkspaceId) -> Result<(), StoreError> {
        let now = self.clock().now();
        self.touch(|tx| {
            if tx.has(&MEMBERSHIPS, &(account, workspace))? {
                tx.put(&VISITS, &(account, workspace), &now)?;
            }
            Ok(())
        })
    }

    /// When a member was last in the workspace, to a few minutes.
    pub fn last_visit(
        &self,
        account: AccountId,
        workspace: WorkspaceId,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.read()?.get(&VISITS, &(account, workspace))
    }

    /// All workspaces but those that are being erased, for the job runner and the operator's pages.
    pub fn all_workspaces(&self) -> Result<Vec<(WorkspaceId, WorkspaceRow)>, StoreError> {
        let now = self.clock().now();
        let all = self.read()?.scan(&WORKSPACES).rows()?;
        Ok(all.into_iter().filter(|(_, row)| !row.is_over(now)).collect())
    }

    /// The slug of a name that no other workspace ever had.
    fn free_slug(&self, tx: &ControlTx, id: WorkspaceId, name: &str) -> Result<String, IdentityError> {
        self.free_slug_like(tx, Some(id), &slug_of(name))
    }

    /// The slug `base`, with a suffix when another workspace than `id` ever had it, also one that was erased.
    pub(super) fn free_slug_like(
        &self,
        read: &impl Read,
        id: Option<WorkspaceId>,
        base: &str,
    ) -> Result<String, IdentityError> {
        let mut slug = base.to_owned();
        for n in 2..10_000u32 {
            let free = read.get(&SLUGS, &slug)?.is_none_or(|owner| Some(owner) == id);
            if free && !self.is_retired(read, &slug)? {
                return Ok(slug);
            }
            slug = format!("{base}-{n}");
        }
        Err(IdentityError::Invalid("There are too many workspaces of this name. Choose another.".into()))
    }
}

/// The role of a member without whom, or with less of whom, an owner would still be left.
fn leaves_an_owner(
    tx: &ControlTx,
    workspace: WorkspaceId,
    account: AccountId,
) -> Result<Role, IdentityError> {
    let members = tx.scan(&MEMBERS).under(&workspace).rows()?;
    let role = members.iter().find(|((_, id), _)| *id == account).map(|(_, role)| *role);
    let role = role.ok_or(IdentityError::NotMember)?;
    let another = super::deletion::another_owner(tx, workspace, account)?;
    if role == Role::Owner && !another { Err(IdentityError::LastOwner) } else { Ok(role) }
}

/// Lower-case letters, digits and single hyphens, at most 40 characters; `workspace` when nothing is left.
fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 40 {
            break;
        }
    }
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "workspace".into() } else { slug.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_plain() {
        assert_eq!(slug_of("Halden Energy"), "halden-energy");
        assert_eq!(slug_of("  Ünï / Code  "), "n-code");
        assert_eq!(slug_of("東京"), "workspace");
    }
}
