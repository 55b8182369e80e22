//! Links that set a password: 256 random bits, kept as a keyed hash, for one hour and one use. Asking is the same work
//! for an address that nobody has: a row is written for it too, and its link opens nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::accounts::{ACCOUNTS, ADDRESSES, Account, AccountState, Email};
use super::control::{Control, ControlTx};
use crate::ids::AccountId;
use crate::seal::Secret;
use crate::store::{Read, StoreError, Table};

/// Keyed hash of a link's token -> what it opens.
pub const RESETS: Table<[u8; 32], Reset> = Table::new("resets", 1);
/// The links of an address, by the keyed hash of it.
pub const RESETS_OF: Table<([u8; 32], [u8; 32]), Timestamp> = Table::new("resets_of", 1);

/// A link works for this long.
pub const LASTS: SignedDuration = SignedDuration::from_hours(1);
/// Links of one address that may be open: nobody fills a mailbox that is not theirs.
const OPEN: usize = 5;
/// Links of all addresses that may be open.
const MOST: usize = 10_000;

/// What a link opens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reset {
    /// `None` for an address that nobody can sign in with.
    account: Option<AccountId>,
    /// Keyed hash of the address it was made for.
    of: [u8; 32],
    ends: Timestamp,
}

/// A link that was just made: the token is known here and nowhere else.
pub struct ResetLink {
    pub token: Secret,
    pub ends: Timestamp,
    /// Whose password it sets; a link for nobody is sent to nobody.
    pub account: Option<AccountId>,
}

impl Control {
    /// Makes a link for whoever has `email`, inside a change. `None` while five are open.
    pub fn ask_reset(&self, tx: &mut ControlTx, email: &Email) -> Result<Option<ResetLink>, StoreError> {
        self.forget_ended_resets(tx)?;
        let of = self.reset_address(email);
        let open = tx.scan(&RESETS_OF).under(&of).count()?;
        if open >= OPEN || tx.scan(&RESETS).limit(MOST).count()? >= MOST {
            return Ok(None);
        }
        self.make_reset(tx, email).map(Some)
    }

    /// Makes a link however many are open: for somebody with a shell.
    pub fn make_reset(&self, tx: &mut ControlTx, email: &Email) -> Result<ResetLink, StoreError> {
        let account = match tx.get(&ADDRESSES, &email.key())? {
            Some(id) => tx.get(&ACCOUNTS, &id)?.filter(|a| a.state == AccountState::Active).map(|_| id),
            None => None,
        };
        let token = URL_SAFE_NO_PAD.encode(self.random().bytes::<32>());
        let (link, of) = (self.reset_link(&token), self.reset_address(email));
        let ends = self.clock().now().checked_add(LASTS).unwrap_or(Timestamp::MAX);
        tx.put(&RESETS, &link, &Reset { account, of, ends })?;
        tx.put(&RESETS_OF, &(of, link), &ends)?;
        Ok(ResetLink { token: Secret::new(token), ends, account })
    }

    /// Whose password a link sets. Wrong, used and ended links answer alike. Uses nothing up.
    pub fn reset_of(&self, token: &str) -> Result<(AccountId, Account), IdentityError> {
        self.opened_reset(&self.read()?, token).map(|(id, account, _)| (id, account))
    }

    fn opened_reset(
        &self,
        read: &impl Read,
        token: &str,
    ) -> Result<(AccountId, Account, Reset), IdentityError> {
        let row = read.get(&RESETS, &self.reset_link(token))?;
        let row = row.filter(|row| row.ends > self.clock().now()).ok_or(IdentityError::NoSuchLink)?;
        let id = row.account.ok_or(IdentityError::NoSuchLink)?;
        let account = read
            .get(&ACCOUNTS, &id)?
            .filter(|a| a.state == AccountState::Active && !a.is_over(self.clock().now()));
        Ok((id, account.ok_or(IdentityError::NoSuchLink)?, row))
    }

    /// Sets the password behind a link inside a change: all links of the address are used up and all sessions of the
    /// account end. A second factor stays what it was.
    pub fn use_reset(
        &self,
        tx: &mut ControlTx,
        token: &str,
        password_hash: String,
    ) -> Result<(AccountId, Account), IdentityError> {
        let (id, mut account, row) = self.opened_reset(tx, token)?;
        account.password = Some(password_hash);
        tx.put(&ACCOUNTS, &id, &account)?;
        drop_resets(tx, row.of)?;
        self.end_sessions(tx, id, None)?;
        Ok((id, account))
    }

    /// Ends the links of an address inside a change: it is another's now, or nobody's.
    pub(super) fn end_resets(&self, tx: &mut ControlTx, email: &Email) -> Result<(), StoreError> {
        drop_resets(tx, self.reset_address(email))
    }

    /// Answers how many there were.
    pub(super) fn forget_ended_resets(&self, tx: &mut ControlTx) -> Result<usize, StoreError> {
        let now = self.clock().now();
        let mut ended = Vec::new();
        tx.scan(&RESETS).each(|link, row| {
            ended.extend((row.ends <= now).then_some((row.of, link)));
            true
        })?;
        for (of, link) in &ended {
            tx.remove(&RESETS, link)?;
            tx.remove(&RESETS_OF, &(*of, *link))?;
        }
        Ok(ended.len())
    }

    fn reset_link(&self, token: &str) -> [u8; 32] {
        self.lookups().lookup(format!("reset {token}").as_bytes())
    }

    fn reset_address(&self, email: &Email) -> [u8; 32] {
        self.lookups().lookup(format!("reset address {}", email.key()).as_bytes())
    }
}

fn drop_resets(tx: &mut ControlTx, of: [u8; 32]) -> Result<(), StoreError> {
    for ((_, link), _) in tx.scan(&RESETS_OF).under(&of).rows()? {
        tx.remove(&RESETS, &link)?;
    }
    tx.remove_under(&RESETS_OF, &of).map(|_| ())
}
