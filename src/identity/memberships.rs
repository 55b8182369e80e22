//! Who belongs to which workspace, and in which role.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::control::{Control, ControlTx};
use super::settings::{Quota, SETTINGS};
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
    /// Its own limits, where the operator gave it others than everybody's.
    #[serde(default)]
    pub quota: Option<Quota>,
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

    /// The limits that hold for a workspace.
    pub fn quota(&self, workspace: WorkspaceId) -> Result<Quota, StoreError> {
        let read = self.read()?;
        let own = read.get(&WORKSPACES, &workspace)?.and_then(|row| row.quota);
        Ok(match own {
            Some(quota) => quota,
            None => read.get(&SETTINGS, &0)?.unwrap_or_default().quota,
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
