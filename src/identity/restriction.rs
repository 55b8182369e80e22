//! Restriction of processing of one account: everything of theirs stays, nothing of theirs is sent, synced, analysed or
//! counted. The person restricts it, or an operator whom they asked; who restricted lifts it, and an operator may always.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::accounts::{ACCOUNTS, Account};
use super::control::{Control, ControlTx};
use crate::ids::AccountId;
use crate::store::{Read, StoreError};

/// A restriction as kept with the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    pub since: Timestamp,
    /// An operator did it on request; then an operator lifts it.
    pub by_operator: bool,
}

/// Whose restriction forbids processing. As text, the reason for people who read about a job that stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restricted {
    /// The acting person's own.
    Account,
    /// The acting person's, by an operator.
    AccountByOperator,
    Workspace,
}

impl Restricted {
    /// What holds and who lifts it, for the person who acts.
    pub const fn said(self) -> &'static str {
        match self {
            Self::Account => {
                "You restricted the processing of your data. What is here stays as it is: nothing of yours is sent, \
                 synced or analysed until you lift the restriction in your profile."
            }
            Self::AccountByOperator => {
                "An operator of this server restricted the processing of your data. What is here stays as it is: \
                 nothing of yours is sent, synced or analysed until an operator lifts the restriction."
            }
            Self::Workspace => {
                "The contents of this workspace stay as they are: nothing is sent, synced or analysed until an owner \
                 lifts the restriction."
            }
        }
    }
}

impl fmt::Display for Restricted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "The person who asked for this restricted the processing of their data",
            Self::AccountByOperator => "An operator restricted processing for the person who asked for this",
            Self::Workspace => "Processing in this workspace is restricted",
        })
    }
}

impl Account {
    /// Why nothing may be processed for this account; `None` while it may.
    pub fn restricted(&self) -> Option<Restricted> {
        let by_operator = self.restriction?.by_operator;
        Some(if by_operator { Restricted::AccountByOperator } else { Restricted::Account })
    }
}

impl Control {
    /// Restricts processing for an account or lifts that, inside a change; answers whether that is new. A person can't
    /// lift what an operator restricted.
    pub fn restrict_account(
        tx: &mut ControlTx,
        id: AccountId,
        restriction: Option<Restriction>,
        by_operator: bool,
    ) -> Result<bool, IdentityError> {
        let account = tx.get(&ACCOUNTS, &id)?.ok_or(IdentityError::NoSuchAccount)?;
        if !by_operator && account.restriction.is_some_and(|r| r.by_operator) {
            return Err(IdentityError::RestrictedByOperator);
        }
        let new = account.restriction.is_some() != restriction.is_some();
        // One that holds keeps its beginning and who began it.
        if new {
            tx.put(&ACCOUNTS, &id, &Account { restriction, ..account })?;
        }
        Ok(new)
    }

    /// The accounts whose processing is restricted.
    pub fn restricted_accounts(&self) -> Result<BTreeSet<AccountId>, StoreError> {
        let mut found = BTreeSet::new();
        self.read()?.scan(&ACCOUNTS).each(|id, account| {
            found.extend(account.restriction.map(|_| id));
            true
        })?;
        Ok(found)
    }

    /// Why nothing may be processed for an account now.
    pub fn account_restriction(&self, id: AccountId) -> Result<Option<Restricted>, StoreError> {
        Ok(self.read()?.get(&ACCOUNTS, &id)?.and_then(|account| account.restricted()))
    }
}
