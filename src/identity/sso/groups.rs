//! Groups at the provider -> roles in workspaces, put in force at each sign-in. What people gave by hand (invitations,
//! roles changed by admins of accounts that were members before) is left alone: a group changes and takes back only what
//! a group gave.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::control::{Control, ControlTx, Note};
use crate::identity::memberships::{MEMBERSHIPS, WORKSPACES};
use crate::identity::{IdentityError, Role};
use crate::ids::{AccountId, WorkspaceId};
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// Memberships that a group gave.
pub const GIVEN: Table<(AccountId, WorkspaceId), Role> = Table::new("sso_given", 1);

/// Members of `group` have `role` in `workspace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    pub group: String,
    pub workspace: WorkspaceId,
    pub role: Role,
}

/// The highest role that each workspace gets from these groups.
fn wanted(mapping: &[Mapping], groups: &[String]) -> BTreeMap<WorkspaceId, Role> {
    let mut wanted = BTreeMap::new();
    for line in mapping.iter().filter(|line| groups.contains(&line.group)) {
        let role = wanted.entry(line.workspace).or_insert(line.role);
        *role = line.role.max(*role);
    }
    wanted
}

/// Brings the memberships that groups gave into line with `groups`. The last owner of a workspace stays one, and a full
/// workspace takes nobody more.
pub fn put_in_force(
    control: &Control,
    tx: &mut ControlTx,
    account: AccountId,
    mapping: &[Mapping],
    groups: &[String],
) -> Result<(), IdentityError> {
    let wanted = wanted(mapping, groups);
    let note = |action, workspace| {
        Note::new(Actor::Account { id: account }, action, account).in_workspace(workspace)
    };
    for (workspace, role) in &wanted {
        let (key, workspace, role) = ((account, *workspace), *workspace, *role);
        let has = tx.get(&MEMBERSHIPS, &key)?.map(|m| m.role);
        match has {
            None if tx.has(&WORKSPACES, &workspace)? && Control::member_quota_left(tx, workspace)? > 0 => {
                control.put_member(tx, workspace, account, role)?;
                tx.put(&GIVEN, &key, &role)?;
                control.note(tx, note(Action::MemberJoined, workspace))?;
            }
            Some(before)
                if before != role
                    && tx.has(&GIVEN, &key)?
                    && kept_owner(control.change_role(tx, workspace, account, role))? =>
            {
                tx.put(&GIVEN, &key, &role)?;
                control.note(tx, note(Action::MemberRoleChanged, workspace))?;
            }
            _ => {}
        }
    }
    for ((_, workspace), _) in tx.scan(&GIVEN).under(&account).rows()? {
        if wanted.contains_key(&workspace) {
            continue;
        }
        let key = (account, workspace);
        if !tx.has(&MEMBERSHIPS, &key)? {
            tx.remove(&GIVEN, &key)?;
        } else if kept_owner(control.remove_member(tx, workspace, account))? {
            tx.remove(&GIVEN, &key)?;
            control.note(tx, note(Action::MemberRemoved, workspace))?;
        }
    }
    Ok(())
}

/// Whether it was done; not when the workspace would have been left without an owner.
fn kept_owner(done: Result<Role, IdentityError>) -> Result<bool, IdentityError> {
    match done {
        Ok(_) => Ok(true),
        Err(IdentityError::LastOwner) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Forgets what groups gave an account: from now on it stays until a person changes it.
pub fn forget_given(tx: &mut ControlTx, account: AccountId) -> Result<(), StoreError> {
    for (key, _) in tx.scan(&GIVEN).under(&account).rows()? {
        tx.remove(&GIVEN, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_role_of_all_groups_counts() {
        let workspace = |n| WorkspaceId::from_bytes([n; 16]);
        let line = |group: &str, n, role| Mapping { group: group.into(), workspace: workspace(n), role };
        let mapping =
            [line("all", 1, Role::Viewer), line("team", 1, Role::Admin), line("team", 2, Role::Member)];
        let groups = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(wanted(&mapping, &groups(&["all"])), BTreeMap::from([(workspace(1), Role::Viewer)]));
        assert_eq!(
            wanted(&mapping, &groups(&["team", "all", "other"])),
            BTreeMap::from([(workspace(1), Role::Admin), (workspace(2), Role::Member)])
        );
        assert!(wanted(&mapping, &groups(&["Team"])).is_empty());
    }
}
