//! Members of a workspace: what an admin does to them, for the page and the API alike. Whether a person may is decided
//! inside the change, so that two at once can't both be right.

use std::collections::HashMap;

use crate::identity::accounts::ACCOUNTS;
use crate::identity::control::Note;
use crate::identity::memberships::MEMBERSHIPS;
use crate::identity::{Control, ControlTx, IdentityError, Role};
use crate::ids::{AccountId, RequestId, WorkspaceId};
use crate::mail::Letter;
use crate::notifications::{Kind, Notice, tell};
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError};
use crate::web::{Problem, Web};
use crate::workspace::{Admin, Owner, Viewer, Workspace};

/// What pages of members listen to.
pub const TOPIC: &str = "members";

/// A role that somebody shall have, and the one that the asker saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    pub account: AccountId,
    pub was: Role,
    pub role: Role,
}

/// Who acts in which workspace, as audit lines name it.
#[derive(Clone)]
pub(super) struct Act {
    pub actor: Actor,
    pub by: AccountId,
    pub workspace: WorkspaceId,
    /// Name of the workspace, for those who are told.
    pub name: String,
    request: Option<RequestId>,
}

impl Act {
    pub fn of(ws: &Viewer) -> Self {
        let (actor, name) = (ws.actor().clone(), ws.row().name.clone());
        Self { actor, by: ws.account(), workspace: ws.id(), name, request: ws.request() }
    }

    /// The name of the person who acts.
    pub fn who(&self, tx: &ControlTx) -> Result<String, StoreError> {
        Ok(tx.get(&ACCOUNTS, &self.by)?.map(|account| account.name).unwrap_or_default())
    }

    pub fn note(&self, action: Action, target: impl ToString) -> Note {
        Note::new(self.actor.clone(), action, target).in_workspace(self.workspace).asked_by(self.request)
    }
}

/// Tells open pages that members or invitations changed.
pub(super) fn announce(ws: &Workspace) {
    ws.live().publish(TOPIC.to_owned());
}

/// Changes all these roles or none. A role that changed since it was seen is a conflict.
pub async fn change_roles(web: &Web, ws: &Admin, changes: Vec<RoleChange>) -> Result<(), Problem> {
    let (act, control) = (Act::of(ws), web.control.clone());
    let mut changes: Vec<RoleChange> = changes.into_iter().filter(|c| c.was != c.role).collect();
    // Who becomes an owner does so before another stops being one.
    changes.sort_by_key(|change| std::cmp::Reverse(change.role));
    web.control
        .acts(move |tx| {
            for change in changes {
                change_role(&control, tx, &act, change)?;
            }
            Ok::<_, Problem>(())
        })
        .await?;
    announce(ws);
    Ok(())
}

fn change_role(control: &Control, tx: &mut ControlTx, act: &Act, change: RoleChange) -> Result<(), Problem> {
    let RoleChange { account, was, role } = change;
    let now = tx.get(&MEMBERSHIPS, &(account, act.workspace))?.map(|m| m.role);
    Control::may_manage(tx, act.by, act.workspace, was.max(role).max(now.unwrap_or(was)))?;
    if now != Some(was) {
        return Err(Problem::Conflict(
            "Somebody else changed or removed one of these members meanwhile. Nothing was changed; load the page \
             again."
                .into(),
        ));
    }
    control.change_role(tx, act.workspace, account, role)?;
    control.note(tx, act.note(Action::MemberRoleChanged, format!("{account} {}", role.name())))?;
    tell_role(control, tx, act, account, role)?;
    Ok(())
}

/// Tells a member their new role, by notice and mail.
fn tell_role(
    control: &Control,
    tx: &mut ControlTx,
    act: &Act,
    account: AccountId,
    role: Role,
) -> Result<(), StoreError> {
    if account == act.by {
        return Ok(());
    }
    let (workspace, changed_by) = (act.name.clone(), act.who(tx)?);
    let title = format!("You are {} of {workspace} now", role.name());
    let body = format!("{changed_by} changed your role.");
    let letter = Letter::RoleChanged { workspace, role, changed_by };
    tell(tx, control, account, Notice::new(Kind::RoleChanged, title, "/workspaces").body(body).letter(letter))
        .map(|_| ())
}

/// Ends a membership.
pub async fn remove(web: &Web, ws: &Admin, account: AccountId) -> Result<(), Problem> {
    let (act, control) = (Act::of(ws), web.control.clone());
    web.control
        .change(act.note(Action::MemberRemoved, account), move |tx| {
            let role = tx.get(&MEMBERSHIPS, &(account, act.workspace))?.map(|m| m.role);
            let role = role.ok_or(IdentityError::NotMember)?;
            Control::may_manage(tx, act.by, act.workspace, role)?;
            control.remove_member(tx, act.workspace, account)?;
            let (workspace, removed_by) = (act.name.clone(), act.who(tx)?);
            let notice =
                Notice::new(Kind::RoleChanged, format!("You were removed from {workspace}"), "/workspaces");
            let notice = notice.body(format!("{removed_by} removed you."));
            let letter = Letter::RemovedFromWorkspace { workspace, removed_by };
            tell(tx, &control, account, notice.letter(letter))?;
            Ok::<_, IdentityError>(())
        })
        .await?;
    announce(ws);
    Ok(())
}

/// Ends one's own membership.
pub async fn leave(web: &Web, ws: &Viewer) -> Result<(), Problem> {
    let (act, control) = (Act::of(ws), web.control.clone());
    web.control
        .change(act.note(Action::MemberLeft, act.by), move |tx| {
            control.remove_member(tx, act.workspace, act.by)
        })
        .await?;
    announce(ws);
    Ok(())
}

/// Makes another member the owner and oneself an admin.
pub async fn transfer(web: &Web, ws: &Owner, to: AccountId) -> Result<(), Problem> {
    let (act, control) = (Act::of(ws), web.control.clone());
    web.control
        .change(act.note(Action::WorkspaceTransferred, to), move |tx| {
            Control::may_manage(tx, act.by, act.workspace, Role::Owner)?;
            if to == act.by {
                return Err(IdentityError::Invalid("Choose another member.".into()));
            }
            control.change_role(tx, act.workspace, to, Role::Owner)?;
            control.change_role(tx, act.workspace, act.by, Role::Admin)?;
            Ok(tell_role(&control, tx, &act, to, Role::Owner)?)
        })
        .await?;
    announce(ws);
    Ok(())
}

/// Role changes of a form: fields `role-{account}-{role as shown}` with the role to have. Anything else is refused.
pub(super) fn role_changes(form: &[(String, String)]) -> Result<Vec<RoleChange>, Problem> {
    let mut changes: HashMap<AccountId, RoleChange> = HashMap::new();
    for (name, value) in form {
        let parsed = name.strip_prefix("role-").and_then(|rest| rest.split_once('-'));
        let change = parsed.and_then(|(account, was)| {
            let account = account.parse().ok()?;
            Some(RoleChange { account, was: Role::named(was)?, role: Role::named(value)? })
        });
        let change = change.ok_or_else(|| Problem::field("", "The form holds a field that is no role."))?;
        if changes.insert(change.account, change).is_some() {
            return Err(Problem::field("", "The form names a member twice."));
        }
    }
    Ok(changes.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_roles_is_read_whole_or_refused() {
        let id = AccountId::from_bytes([7; 16]);
        let field = |name: &str, value: &str| (name.replace("ID", &id.to_string()), value.to_owned());
        let read = |fields: &[(String, String)]| role_changes(fields).ok();
        let expected = RoleChange { account: id, was: Role::Viewer, role: Role::Admin };
        assert_eq!(read(&[field("role-ID-viewer", "admin")]), Some(vec![expected]));
        for (name, value) in [
            ("role-ID-viewer", "root"),
            ("role-ID-nobody", "admin"),
            ("role-x-viewer", "admin"),
            ("workspace", "x"),
        ] {
            assert_eq!(read(&[field(name, value)]), None, "{name}");
        }
        let twice = [field("role-ID-viewer", "admin"), field("role-ID-member", "viewer")];
        assert_eq!(read(&twice), None);
    }
}
