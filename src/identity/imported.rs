//! A workspace that comes from an export: listed with its name, people and state, in the commit that lets people in.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::accounts::{ACCOUNTS, ADDRESSES, Email, NewAccount};
use super::control::{Control, ControlTx};
use super::memberships::{MEMBERS, MEMBERSHIPS, SLUGS, WORKSPACES};
use super::{IdentityError, Membership, Role, WorkspaceRow};
use crate::ids::{AccountId, WorkspaceId};
use crate::store::{Read, StoreError};

/// Somebody who belonged to the exported workspace.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The id in the export, which an account without another one gets here.
    pub id: AccountId,
    pub name: String,
    pub email: Email,
    pub role: Role,
    pub joined: Timestamp,
}

impl Control {
    /// The id that each person has here, or will have: that of the account with their address, else their own unless
    /// somebody else has it.
    pub fn accounts_of(&self, people: &[Arrival]) -> Result<BTreeMap<AccountId, AccountId>, StoreError> {
        let read = self.read()?;
        let mut ids = BTreeMap::new();
        for person in people {
            let id = match read.get(&ADDRESSES, &person.email.key())? {
                Some(known) => known,
                None if read.has(&ACCOUNTS, &person.id)? => AccountId::new(self.clock(), self.random()),
                None => person.id,
            };
            ids.insert(person.id, id);
        }
        Ok(ids)
    }

    /// Whether no workspace was ever made here.
    pub fn has_no_workspaces(&self) -> Result<bool, StoreError> {
        let read = self.read()?;
        Ok(read.scan(&SLUGS).limit(1).count()? == 0 && read.scan(&WORKSPACES).limit(1).count()? == 0)
    }

    /// The slug that a workspace with this one would get now.
    pub fn slug_like(&self, slug: &str) -> Result<String, IdentityError> {
        self.free_slug_like(&self.read()?, None, slug)
    }

    /// Lists the workspace with its people. People without an account get one without credentials, under the ids that
    /// [`Control::accounts_of`] said. `owner` becomes one in any case. Answers who had an account before.
    pub fn list_imported(
        &self,
        tx: &mut ControlTx,
        id: WorkspaceId,
        row: WorkspaceRow,
        people: &[Arrival],
        ids: &BTreeMap<AccountId, AccountId>,
        owner: Option<AccountId>,
    ) -> Result<Vec<AccountId>, IdentityError> {
        super::accounts::display_name(&row.name)?;
        if tx.has(&WORKSPACES, &id)? || tx.has(&SLUGS, &row.slug)? {
            return Err(IdentityError::Invalid(
                "Another workspace took this name meanwhile. Nothing was kept; import it again.".into(),
            ));
        }
        tx.put(&SLUGS, &row.slug, &id)?;
        tx.put(&WORKSPACES, &id, &row)?;
        let mut known = Vec::new();
        for person in people {
            let account = ids.get(&person.id).copied().ok_or(IdentityError::NoSuchAccount)?;
            if tx.get(&ADDRESSES, &person.email.key())? == Some(account) {
                known.push(account);
            } else {
                let (email, name) = (person.email.clone(), person.name.clone());
                let new = NewAccount { email, name, password_hash: None, operator: false };
                self.insert_account_as(tx, account, new)?;
            }
            let Arrival { role, joined, .. } = *person;
            tx.put(&MEMBERSHIPS, &(account, id), &Membership { role, joined })?;
            tx.put(&MEMBERS, &(id, account), &role)?;
        }
        if let Some(owner) = owner
            && tx.get(&MEMBERS, &(id, owner))? != Some(Role::Owner)
        {
            self.put_member(tx, id, owner, Role::Owner)?;
        }
        Ok(known)
    }
}
