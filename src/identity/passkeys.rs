//! Passkeys as kept: the public credential of an account's authenticator, its name and last use. `ceremonies`
//! makes and checks the challenges; nothing here believes a browser.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{AuthenticationResult, Passkey, Uuid};

use super::accounts::{ACCOUNTS, display_name};
use super::control::{Control, ControlTx, Note};
use super::second_factor::factors;
use super::settings::SETTINGS;
use super::sso::ACCOUNT_LINKS;
use crate::ids::{AccountId, PasskeyId};
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

pub const PASSKEYS: Table<(AccountId, PasskeyId), KeptPasskey> = Table::new("passkeys", 1);
/// Credential id (base64url) -> whose it is: a credential belongs to one account.
pub const PASSKEY_OWNERS: Table<String, (AccountId, PasskeyId)> = Table::new("passkey_owners", 1);
/// The random name under which authenticators know an account; never its address.
pub const PASSKEY_HANDLES: Table<AccountId, [u8; 16]> = Table::new("passkey_handles", 1);

/// Most passkeys of one account.
pub const MOST: usize = 20;

/// A registered passkey.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptPasskey {
    pub name: String,
    pub added: Timestamp,
    pub used: Option<Timestamp>,
    /// The highest count that the authenticator sent; stays 0 for those that do not count.
    pub counter: u32,
    /// Public key, id and backup state.
    pub credential: Passkey,
}

/// A credential whose registration was checked, not yet kept.
#[derive(Debug)]
pub struct NewPasskey {
    pub(super) handle: Uuid,
    pub(super) credential: Passkey,
}

/// Why a passkey is not taken. Everything unknown, wrong or suspended is [`PasskeyError::Refused`].
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// The counter went back: a copy of the key exists. Strangers are told what [`PasskeyError::Refused`] says.
    #[error("This passkey is not known here. Use another one, or your password.")]
    Copied { account: AccountId, passkey: PasskeyId },
    #[error("This took longer than five minutes or was answered already. Nothing was changed; start again.")]
    Ended,
    #[error("{0}")]
    Invalid(String),
    #[error(
        "This server asks for a second factor and this is your last one. Add another passkey or an authenticator app \
         first, then remove this one."
    )]
    LastFactor,
    #[error(
        "This passkey is the only way you can sign in. Add another one or set a password first, then remove this one."
    )]
    OnlyWayIn,
    #[error("This passkey is not known here. Use another one, or your password.")]
    Refused,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("This passkey is registered already. Use it to sign in.")]
    Taken,
    #[error("An account has at most {MOST} passkeys. Remove one that you no longer use, then add this one.")]
    TooMany,
    #[error(
        "Passkeys need an address with a name and https. The operator of this server can set external_url to such an \
         address; then add the passkey there."
    )]
    Unavailable,
}

impl Control {
    /// The passkeys of an account, oldest first.
    pub fn passkeys_of(&self, account: AccountId) -> Result<Vec<(PasskeyId, KeptPasskey)>, StoreError> {
        let rows = self.read()?.scan(&PASSKEYS).under(&account).limit(MOST).rows()?;
        Ok(rows.into_iter().map(|((_, id), kept)| (id, kept)).collect())
    }

    /// How authenticators know this account: the kept random name, or a new one that
    /// [`Control::insert_passkey`] keeps.
    pub fn passkey_handle(&self, account: AccountId) -> Result<Uuid, StoreError> {
        let kept = self.read()?.get(&PASSKEY_HANDLES, &account)?;
        Ok(kept.map_or_else(|| self.new_passkey_handle(), Uuid::from_bytes))
    }

    /// A random name for an account that authenticators do not know yet.
    pub fn new_passkey_handle(&self) -> Uuid {
        Uuid::from_bytes(self.random().bytes::<16>())
    }

    /// Keeps a checked passkey inside a change.
    pub fn insert_passkey(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        name: &str,
        new: NewPasskey,
    ) -> Result<PasskeyId, PasskeyError> {
        let name = named(name)?;
        let owner = credential_key(new.credential.cred_id());
        if tx.has(&PASSKEY_OWNERS, &owner)? {
            return Err(PasskeyError::Taken);
        }
        if tx.scan(&PASSKEYS).under(&account).limit(MOST).count()? >= MOST {
            return Err(PasskeyError::TooMany);
        }
        match tx.get(&PASSKEY_HANDLES, &account)? {
            None => tx.put(&PASSKEY_HANDLES, &account, new.handle.as_bytes())?,
            Some(kept) if &kept == new.handle.as_bytes() => {}
            // Another tab registered the account's first passkey in the meantime.
            Some(_) => return Err(PasskeyError::Ended),
        }
        let id = PasskeyId::new(self.clock(), self.random());
        let now = self.clock().now();
        let kept = KeptPasskey { name, added: now, used: None, counter: 0, credential: new.credential };
        tx.put(&PASSKEY_OWNERS, &owner, &(account, id))?;
        tx.put(&PASSKEYS, &(account, id), &kept)?;
        Ok(id)
    }

    /// Gives a passkey another name; unknown ids answer false.
    pub fn rename_passkey(
        &self,
        by: Actor,
        account: AccountId,
        id: PasskeyId,
        name: &str,
    ) -> Result<bool, PasskeyError> {
        let name = named(name)?;
        self.change_now(Note::new(by, Action::PasskeyRenamed, id), |tx| {
            let Some(kept) = tx.get(&PASSKEYS, &(account, id))? else { return Ok(false) };
            tx.put(&PASSKEYS, &(account, id), &KeptPasskey { name, ..kept })?;
            Ok(true)
        })
    }

    /// Takes a passkey away inside a change; answers what it was. It signs in nowhere from this commit on. Who would
    /// be left without a way in, or without the second factor that the policy asks for, keeps it.
    pub fn remove_passkey(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        id: PasskeyId,
    ) -> Result<Option<KeptPasskey>, PasskeyError> {
        let person = tx.get(&ACCOUNTS, &account)?.ok_or(PasskeyError::Refused)?;
        let kept = delete(tx, account, id)?;
        if tx.scan(&PASSKEYS).under(&account).limit(1).count()? == 0 {
            if person.password.is_none() && tx.scan(&ACCOUNT_LINKS).under(&account).limit(1).count()? == 0 {
                return Err(PasskeyError::OnlyWayIn);
            }
            let wanted = tx.get(&SETTINGS, &0)?.unwrap_or_default().wants_second_factor(person.operator);
            if wanted && !factors(tx, account)?.any() {
                return Err(PasskeyError::LastFactor);
            }
        }
        Ok(kept)
    }

    /// Forgets every passkey of an account that goes.
    pub fn forget_passkeys(&self, tx: &mut ControlTx, account: AccountId) -> Result<(), StoreError> {
        for ((_, id), _) in tx.scan(&PASSKEYS).under(&account).rows()? {
            delete(tx, account, id)?;
        }
        tx.remove(&PASSKEY_HANDLES, &account).map(|_| ())
    }

    /// Whose credential this is.
    pub(super) fn passkey_by_credential(
        &self,
        credential: &[u8],
    ) -> Result<Option<(AccountId, PasskeyId, KeptPasskey)>, StoreError> {
        let read = self.read()?;
        let Some((account, id)) = read.get(&PASSKEY_OWNERS, &credential_key(credential))? else {
            return Ok(None);
        };
        Ok(read.get(&PASSKEYS, &(account, id))?.map(|kept| (account, id, kept)))
    }

    /// Notes a checked use. Compares the counter inside the commit, so that of two uses with one count only one
    /// passes.
    pub(super) fn note_passkey_use(
        &self,
        account: AccountId,
        id: PasskeyId,
        result: &AuthenticationResult,
    ) -> Result<(), PasskeyError> {
        let now = self.clock().now();
        self.touch(|tx| {
            let mut kept = tx.get(&PASSKEYS, &(account, id))?.ok_or(PasskeyError::Refused)?;
            let counts = result.counter() > 0 || kept.counter > 0;
            if counts && result.counter() <= kept.counter {
                return Err(PasskeyError::Copied { account, passkey: id });
            }
            kept.credential.update_credential(result);
            (kept.counter, kept.used) = (result.counter(), Some(now));
            Ok(tx.put(&PASSKEYS, &(account, id), &kept)?)
        })
    }
}

fn named(name: &str) -> Result<String, PasskeyError> {
    display_name(name).map_err(|error| PasskeyError::Invalid(error.to_string()))
}

fn delete(tx: &mut ControlTx, account: AccountId, id: PasskeyId) -> Result<Option<KeptPasskey>, StoreError> {
    let Some(kept) = tx.get(&PASSKEYS, &(account, id))? else { return Ok(None) };
    tx.remove(&PASSKEYS, &(account, id))?;
    tx.remove(&PASSKEY_OWNERS, &credential_key(kept.credential.cred_id()))?;
    Ok(Some(kept))
}

fn credential_key(credential: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(credential)
}
