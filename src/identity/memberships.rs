//! Who belongs to which workspace, and in which role.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::control::{Control, ControlTx};
use crate::ids::{AccountId, WorkspaceId};
use crate::store::{Read, StoreError, Table};

pub const WORKSPACES: Table<WorkspaceId, WorkspaceRow> = Table::new("workspaces", 1);
/// Every slug ever issued: one is never issued again, so an old link can't open another tenant.
pub const SLUGS: Table<String, WorkspaceId> = Table::new("slugs", 1);
pub const MEMBERSHIPS: Table<(AccountId, WorkspaceId), Membership> = Table::new("memberships", 1);
/// The same, the other way round.
pub const MEMBERS: Table<(WorkspaceId, AccountId), Role> = Table::new("members", 1);

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceState {
    Active,
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
        let base = slug_of(&name);
        let mut slug = base.clone();
        for n in 2..10_000u32 {
            if !tx.has(&SLUGS, &slug)? {
                break;
            }
            slug = format!("{base}-{n}");
        }
        let row = WorkspaceRow { slug, name, state: WorkspaceState::Active, created: self.clock().now() };
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
        let role = self.leaves_an_owner(tx, workspace, account)?;
        tx.remove(&MEMBERSHIPS, &(account, workspace))?;
        tx.remove(&MEMBERS, &(workspace, account))?;
        self.revoke_tokens(tx, account, workspace)?;
        Ok(role)
    }

    /// Gives a member another role inside a change. The last owner stays one; a lower role ends the tokens of the
    /// membership. Answers the role that was.
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
            self.leaves_an_owner(tx, workspace, account)?;
            self.revoke_tokens(tx, account, workspace)?;
        }
        tx.put(&MEMBERSHIPS, &(account, workspace), &Membership { role, ..membership })?;
        tx.put(&MEMBERS, &(workspace, account), &role)?;
        Ok(before)
    }

    /// Refuses what `by` may not do to a member: only owners change owners or make one, and below admin nobody
    /// changes anybody. Asked inside the change, so that two at once can't both be right.
    pub fn may_manage(
        &self,
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

    /// The role of a member without whom, or with less of whom, an owner would still be left.
    fn leaves_an_owner(
        &self,
        tx: &ControlTx,
        workspace: WorkspaceId,
        account: AccountId,
    ) -> Result<Role, IdentityError> {
        let members = tx.scan(&MEMBERS).under(&workspace).rows()?;
        let role = members.iter().find(|((_, id), _)| *id == account).map(|(_, role)| *role);
        let role = role.ok_or(IdentityError::NotMember)?;
        let another = members.iter().any(|((_, id), role)| *id != account && *role == Role::Owner);
        if role == Role::Owner && !another { Err(IdentityError::LastOwner) } else { Ok(role) }
    }

    /// The workspaces of an account, oldest first.
    pub fn workspaces_of(
        &self,
        account: AccountId,
    ) -> Result<Vec<(WorkspaceId, WorkspaceRow, Role)>, StoreError> {
        let read = self.read()?;
        let mut found = Vec::new();
        for ((_, id), membership) in read.scan(&MEMBERSHIPS).under(&account).rows()? {
            if let Some(row) = read.get(&WORKSPACES, &id)? {
                found.push((id, row, membership.role));
            }
        }
        Ok(found)
    }

    /// The members of a workspace with their roles.
    pub fn members_of(&self, workspace: WorkspaceId) -> Result<Vec<(AccountId, Role)>, StoreError> {
        let rows = self.read()?.scan(&MEMBERS).under(&workspace).rows()?;
        Ok(rows.into_iter().map(|((_, account), role)| (account, role)).collect())
    }

    pub fn role_in(&self, account: AccountId, workspace: WorkspaceId) -> Result<Option<Role>, StoreError> {
        Ok(self.read()?.get(&MEMBERSHIPS, &(account, workspace))?.map(|m| m.role))
    }

    pub fn workspace(&self, id: WorkspaceId) -> Result<Option<WorkspaceRow>, StoreError> {
        self.read()?.get(&WORKSPACES, &id)
    }

    pub fn workspace_by_slug(&self, slug: &str) -> Result<Option<(WorkspaceId, WorkspaceRow)>, StoreError> {
        let read = self.read()?;
        let Some(id) = read.get(&SLUGS, &slug.to_owned())? else { return Ok(None) };
        Ok(read.get(&WORKSPACES, &id)?.filter(|row| row.slug == slug).map(|row| (id, row)))
    }

    /// All workspaces, for the job runner and the operator's pages.
    pub fn all_workspaces(&self) -> Result<Vec<(WorkspaceId, WorkspaceRow)>, StoreError> {
        self.read()?.scan(&WORKSPACES).rows()
    }
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
