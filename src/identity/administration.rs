//! What an operator does to accounts. An instance always keeps an operator who can sign in.

use serde::Deserialize;

use super::accounts::{ACCOUNTS, Account, AccountState};
use super::control::{Control, ControlTx, Note};
use super::{IdentityError, SignedIn};
use crate::ids::{AccountId, RequestId};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};

/// An act of an operator on an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    MakeOperator,
    Resume,
    Suspend,
    UnmakeOperator,
}

impl Control {
    /// The accounts whose name or address has `text` in it, by address; at most `limit`, and whether there are more.
    pub fn find_accounts(
        &self,
        text: &str,
        limit: usize,
    ) -> Result<(Vec<(AccountId, Account)>, bool), StoreError> {
        let text = text.trim().to_lowercase();
        let mut found = Vec::new();
        self.read()?.scan(&ACCOUNTS).each(|id, account| {
            if account.email.key().contains(&text) || account.name.to_lowercase().contains(&text) {
                found.push((id, account));
            }
            true
        })?;
        found.sort_by_key(|(_, account)| account.email.key());
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// Carries out an act. Whether it would leave nobody who may administer the instance is decided inside the one
    /// writer, so two at once can't both do it.
    pub fn act_on_account(
        &self,
        by: &SignedIn,
        id: AccountId,
        act: Act,
        request: Option<RequestId>,
    ) -> Result<(), IdentityError> {
        let action = match act {
            Act::Resume => Action::AccountResumed,
            Act::Suspend => Action::AccountSuspended,
            Act::MakeOperator | Act::UnmakeOperator => Action::AccountChanged,
        };
        self.change_now(Note::new(by.actor(), action, id).asked_by(request), |tx| {
            let mut account = tx.get(&ACCOUNTS, &id)?.ok_or(IdentityError::NoSuchAccount)?;
            match act {
                Act::MakeOperator => account.operator = true,
                Act::Resume => account.state = AccountState::Active,
                Act::Suspend => account.state = AccountState::Suspended,
                Act::UnmakeOperator => account.operator = false,
            }
            tx.put(&ACCOUNTS, &id, &account)?;
            if !has_operator(tx)? {
                return Err(IdentityError::LastOperator);
            }
            super::sso::keeps_a_way_in(tx)
        })
    }
}

fn has_operator(tx: &ControlTx) -> Result<bool, StoreError> {
    let mut found = false;
    tx.scan(&ACCOUNTS).each(|_, account| {
        found = account.operator && account.acts();
        !found
    })?;
    Ok(found)
}
