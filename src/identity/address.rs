//! A change of the e-mail address: a link to the new address makes it so, and the link in the notice to the old one
//! stops or undoes it, both for a day. One change of an account at a time; a new one replaces it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::accounts::{ACCOUNTS, ADDRESSES, Account, Email};
use super::control::{Control, ControlTx};
use crate::ids::AccountId;
use crate::seal::Secret;
use crate::store::{Read, StoreError, Table};

/// The change of an account that waits, or that was made within the last day.
pub const ADDRESS_CHANGES: Table<AccountId, AddressChange> = Table::new("address_changes", 1);

/// Both links work for this long.
pub const LASTS: SignedDuration = SignedDuration::from_hours(24);

/// A change from one address to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddressChange {
    pub from: Email,
    pub to: Email,
    pub ends: Timestamp,
    pub made: bool,
    /// Keyed hashes of the two tokens.
    confirm: [u8; 32],
    stop: [u8; 32],
}

/// The links of a change: known here and nowhere else. They name the account, whose row holds their hashes.
pub struct AddressLinks {
    pub confirm: Secret,
    pub stop: Secret,
    pub ends: Timestamp,
    /// Nobody else has the new address: only then its mail may say that it can be confirmed.
    pub free: bool,
}

/// Which end a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    New,
    Old,
}

impl Control {
    /// Begins a change inside a change of the control file. An address that another account has is taken as any
    /// other; its link opens nothing.
    pub fn ask_address(
        &self,
        tx: &mut ControlTx,
        id: AccountId,
        to: Email,
    ) -> Result<AddressLinks, IdentityError> {
        let account = tx.get(&ACCOUNTS, &id)?.ok_or(IdentityError::NotSignedIn)?;
        // A new change would end the link by which the last one can be undone.
        let fresh = tx.get(&ADDRESS_CHANGES, &id)?.filter(|row| row.made && row.ends > self.clock().now());
        if fresh.is_some() {
            return Err(IdentityError::Invalid(
                "The address was changed within the last day. It can be changed again a day after that."
                    .into(),
            ));
        }
        let free = tx.get(&ADDRESSES, &to.key())?.is_none_or(|owner| owner == id);
        let token = || format!("{id}.{}", URL_SAFE_NO_PAD.encode(self.random().bytes::<32>()));
        let (confirm, stop) = (token(), token());
        let ends = self.clock().now().checked_add(LASTS).unwrap_or(Timestamp::MAX);
        let change = AddressChange {
            from: account.email,
            to,
            ends,
            made: false,
            confirm: self.address_link(&confirm),
            stop: self.address_link(&stop),
        };
        tx.put(&ADDRESS_CHANGES, &id, &change)?;
        Ok(AddressLinks { confirm: Secret::new(confirm), stop: Secret::new(stop), ends, free })
    }

    /// What a link is about. Wrong, used and ended links answer alike. Uses nothing up.
    pub fn address_change(&self, token: &str) -> Result<(AccountId, AddressChange, End), IdentityError> {
        self.opened_change(&self.read()?, token)
    }

    fn opened_change(
        &self,
        read: &impl Read,
        token: &str,
    ) -> Result<(AccountId, AddressChange, End), IdentityError> {
        let id = token.split_once('.').and_then(|(id, _)| id.parse::<AccountId>().ok());
        let id = id.ok_or(IdentityError::NoSuchLink)?;
        let row = read.get(&ADDRESS_CHANGES, &id)?.filter(|row| row.ends > self.clock().now());
        let row = row.ok_or(IdentityError::NoSuchLink)?;
        let link = self.address_link(token);
        if link == row.confirm && !row.made {
            let owner = read.get(&ADDRESSES, &row.to.key())?;
            if owner.is_none_or(|owner| owner == id) {
                return Ok((id, row, End::New));
            }
        }
        if link == row.stop { Ok((id, row, End::Old)) } else { Err(IdentityError::NoSuchLink) }
    }

    /// Does what a link is for, inside a change: the new end makes the change, the old one stops or undoes it and then
    /// ends every session, because somebody else may hold one.
    pub fn use_address_link(
        &self,
        tx: &mut ControlTx,
        token: &str,
    ) -> Result<(AccountId, AddressChange, End), IdentityError> {
        let (id, change, end) = self.opened_change(tx, token)?;
        let mut account = tx.get(&ACCOUNTS, &id)?.ok_or(IdentityError::NoSuchLink)?;
        match end {
            End::New => {
                self.move_address(tx, id, &mut account, change.to.clone())?;
                tx.put(&ADDRESS_CHANGES, &id, &AddressChange { made: true, ..change.clone() })?;
            }
            End::Old => {
                if change.made {
                    let owner = tx.get(&ADDRESSES, &change.from.key())?;
                    if owner.is_some_and(|owner| owner != id) {
                        return Err(IdentityError::AddressTaken);
                    }
                    self.move_address(tx, id, &mut account, change.from.clone())?;
                }
                tx.remove(&ADDRESS_CHANGES, &id)?;
                self.end_sessions(tx, id, None)?;
            }
        }
        Ok((id, change, end))
    }

    fn move_address(
        &self,
        tx: &mut ControlTx,
        id: AccountId,
        account: &mut Account,
        to: Email,
    ) -> Result<(), StoreError> {
        tx.remove(&ADDRESSES, &account.email.key())?;
        tx.put(&ADDRESSES, &to.key(), &id)?;
        // Links that went to the address before are not the person's any more.
        self.end_resets(tx, &account.email)?;
        account.email = to;
        tx.put(&ACCOUNTS, &id, account)
    }

    fn address_link(&self, token: &str) -> [u8; 32] {
        self.lookups().lookup(format!("address {token}").as_bytes())
    }
}

/// An address as shown where it is not whole: `a…@halden.example`.
pub fn masked(email: &Email) -> String {
    match email.as_str().split_once('@') {
        Some((name, host)) => format!("{}…@{host}", name.chars().next().unwrap_or_default()),
        None => "…".into(),
    }
}
