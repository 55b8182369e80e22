//! The second factor beside passkeys: codes of an authenticator app (TOTP, RFC 6238: SHA-1, 6 digits, 30 seconds) and
//! ten recovery codes that each work once in place of one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use totp_rs::{Builder, Totp};

use super::control::{Control, ControlTx};
use super::passkeys::PASSKEYS;
use super::settings::SETTINGS;
use super::{IdentityError, SignedIn, Via};
use crate::ids::{AccountId, SessionId};
use crate::seal::{Place, Sealed, Secret, constant_time_eq, hex};
use crate::store::{Read, StoreError, Table};

/// The authenticator app of an account.
pub const TOTPS: Table<AccountId, KeptTotp> = Table::new("totp", 1);
/// An app being added: not in force before its first code.
const PENDING: Table<AccountId, Pending> = Table::new("totp_pending", 1);

/// How long a key waits for its first code.
const PENDING_FOR: SignedDuration = SignedDuration::from_mins(10);
const CODES: usize = 10;
/// Without letters and digits that look alike.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// An authenticator app as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptTotp {
    /// The key, base32, sealed as a record.
    secret: Sealed,
    pub since: Timestamp,
    /// The 30-second step of the last code: a code works once.
    last_step: u64,
    /// Keyed hashes of the recovery codes that are left.
    codes: Vec<String>,
    pub codes_made: Timestamp,
}

impl KeptTotp {
    /// Recovery codes that still work.
    pub fn codes_left(&self) -> usize {
        self.codes.len()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    secret: Sealed,
    session: SessionId,
    until: Timestamp,
}

/// What an account has beside its password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecondFactors {
    pub totp: bool,
    pub passkeys: usize,
}

impl SecondFactors {
    pub fn any(self) -> bool {
        self.totp || self.passkeys > 0
    }
}

/// A key on its way into an app.
pub struct Enrolment {
    /// Base32 without padding, as printed beside the QR code.
    pub key: Secret,
    /// `otpauth://totp/…`, what the QR code holds.
    pub url: Secret,
}

/// What a right code was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    App,
    /// A recovery code, with how many are left.
    Recovery(usize),
}

impl Control {
    pub fn second_factors(&self, account: AccountId) -> Result<SecondFactors, StoreError> {
        factors(&self.read()?, account)
    }

    /// The authenticator app of an account.
    pub fn totp_of(&self, account: AccountId) -> Result<Option<KeptTotp>, StoreError> {
        self.read()?.get(&TOTPS, &account)
    }

    /// Makes a key for an app, in place of one that waits; nothing is in force yet.
    pub fn begin_totp(&self, who: &SignedIn) -> Result<(), IdentityError> {
        let session = session_of(who)?;
        let key = Secret::new(base32(&self.random().bytes::<20>()));
        let secret = self.records().seal_record(place(&who.account().to_string()), &key);
        let until = self.clock().now().checked_add(PENDING_FOR).unwrap_or(Timestamp::MAX);
        self.touch(|tx| tx.put(&PENDING, &who.account(), &Pending { secret, session, until }))?;
        Ok(())
    }

    /// The key that waits for this session, while it does.
    pub fn pending_totp(&self, who: &SignedIn) -> Result<Option<Enrolment>, IdentityError> {
        let Some(pending) = self.pending(&self.read()?, who)? else { return Ok(None) };
        let key = self.open_totp(who.account(), &pending.secret)?;
        let name: String =
            url::form_urlencoded::byte_serialize(who.person().email.as_str().as_bytes()).collect();
        let url = format!(
            "otpauth://totp/Vynos:{name}?secret={}&issuer=Vynos&algorithm=SHA1&digits=6&period=30",
            key.expose()
        );
        Ok(Some(Enrolment { key, url: Secret::new(url) }))
    }

    /// Forgets keys that waited too long; answers how many.
    pub(super) fn forget_ended_keys(&self, tx: &mut ControlTx) -> Result<usize, StoreError> {
        let mut old = tx.scan(&PENDING).rows()?;
        old.retain(|(_, pending)| pending.until <= self.clock().now());
        for (account, _) in &old {
            tx.remove(&PENDING, account)?;
        }
        Ok(old.len())
    }

    /// Turns the app on with its first code, inside a change; answers the recovery codes, to be shown once.
    pub fn turn_on_totp(
        &self,
        tx: &mut ControlTx,
        who: &SignedIn,
        code: &str,
    ) -> Result<Vec<Secret>, IdentityError> {
        let pending = self.pending(tx, who)?.ok_or(IdentityError::NothingToTurnOn)?;
        let key = self.open_totp(who.account(), &pending.secret)?;
        let step = self.step_of(&key, &plain(code))?.ok_or(IdentityError::WrongCode)?;
        let (shown, codes) = self.new_codes(who.account());
        let now = self.clock().now();
        let kept = KeptTotp { secret: pending.secret, since: now, last_step: step, codes, codes_made: now };
        tx.put(&TOTPS, &who.account(), &kept)?;
        tx.remove(&PENDING, &who.account())?;
        Ok(shown)
    }

    /// Turns the app off, inside a change; refused while the instance asks for a second factor and it is the last.
    pub fn turn_off_totp(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        operator: bool,
    ) -> Result<bool, IdentityError> {
        let wanted = tx.get(&SETTINGS, &0)?.unwrap_or_default().wants_second_factor(operator);
        if wanted && tx.scan(&PASSKEYS).under(&account).limit(1).count()? == 0 {
            return Err(IdentityError::LastFactor);
        }
        Ok(tx.remove(&TOTPS, &account)?)
    }

    /// Forgets app and codes of an account, whatever the policy: for the operator's reset and for an account that goes.
    pub fn forget_totp(&self, tx: &mut ControlTx, account: AccountId) -> Result<bool, StoreError> {
        tx.remove(&PENDING, &account)?;
        tx.remove(&TOTPS, &account)
    }

    /// Ten new recovery codes in place of the old ones, inside a change.
    pub fn renew_codes(&self, tx: &mut ControlTx, account: AccountId) -> Result<Vec<Secret>, IdentityError> {
        let kept = tx.get(&TOTPS, &account)?.ok_or(IdentityError::NothingToTurnOn)?;
        let (shown, codes) = self.new_codes(account);
        tx.put(&TOTPS, &account, &KeptTotp { codes, codes_made: self.clock().now(), ..kept })?;
        Ok(shown)
    }

    /// Takes a code of the app or a recovery code, and uses it up inside the change. Wrong, used and unknown answer alike.
    pub(super) fn accept_code(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        typed: &str,
    ) -> Result<Option<Accepted>, IdentityError> {
        let Some(mut kept) = tx.get(&TOTPS, &account)? else { return Ok(None) };
        let typed = plain(typed);
        let key = self.open_totp(account, &kept.secret)?;
        if let Some(step) = self.step_of(&key, &typed)? {
            if step <= kept.last_step {
                return Ok(None);
            }
            kept.last_step = step;
            tx.put(&TOTPS, &account, &kept)?;
            return Ok(Some(Accepted::App));
        }
        let hash = self.code_hash(account, &typed);
        let before = kept.codes.len();
        kept.codes.retain(|known| !constant_time_eq(known.as_bytes(), hash.as_bytes()));
        if kept.codes.len() == before {
            return Ok(None);
        }
        tx.put(&TOTPS, &account, &kept)?;
        Ok(Some(Accepted::Recovery(kept.codes.len())))
    }

    fn pending(&self, read: &impl Read, who: &SignedIn) -> Result<Option<Pending>, IdentityError> {
        let (session, now) = (session_of(who)?, self.clock().now());
        let pending = read.get(&PENDING, &who.account())?;
        Ok(pending.filter(|pending| pending.session == session && pending.until > now))
    }

    fn open_totp(&self, account: AccountId, sealed: &Sealed) -> Result<Secret, IdentityError> {
        let opened = self.records().open_record(place(&account.to_string()), sealed);
        opened
            .map_err(|_| IdentityError::Store(StoreError::Damaged("the key of an authenticator app".into())))
    }

    /// The step that a code of this key belongs to, now, one step before or one after.
    fn step_of(&self, key: &Secret, code: &str) -> Result<Option<u64>, IdentityError> {
        if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(None);
        }
        let now = u64::try_from(self.clock().now().as_second()).unwrap_or_default();
        Ok(generator(key)?.check(code, now))
    }

    fn new_codes(&self, account: AccountId) -> (Vec<Secret>, Vec<String>) {
        let codes = (0..CODES).map(|_| {
            let bytes = self.random().bytes::<10>();
            bytes.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect::<String>()
        });
        codes
            .map(|code| {
                let hash = self.code_hash(account, &code);
                (Secret::new(format!("{}-{}", &code[..5], &code[5..])), hash)
            })
            .unzip()
    }

    fn code_hash(&self, account: AccountId, code: &str) -> String {
        hex(&self.lookups().lookup(format!("recovery code {account} {code}").as_bytes()))
    }
}

/// What an account has, in a snapshot or a change.
pub(super) fn factors(read: &impl Read, account: AccountId) -> Result<SecondFactors, StoreError> {
    let passkeys = read.scan(&PASSKEYS).under(&account).limit(super::passkeys::MOST).count()?;
    Ok(SecondFactors { totp: read.has(&TOTPS, &account)?, passkeys })
}

fn place(account: &str) -> Place<'_> {
    Place { workspace: "control", table: "totp", key: account }
}

fn session_of(who: &SignedIn) -> Result<SessionId, IdentityError> {
    match who.via() {
        Via::Session { id, .. } => Ok(*id),
        Via::Token { .. } => Err(IdentityError::NotSignedIn),
    }
}

/// What was typed, without spaces and hyphens, in the case of the codes.
fn plain(typed: &str) -> String {
    typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_ascii_uppercase())
        .take(32)
        .collect()
}

fn generator(key: &Secret) -> Result<Totp, IdentityError> {
    let unreadable = || IdentityError::Store(StoreError::Damaged("the key of an authenticator app".into()));
    let secret = totp_rs::Secret::try_from_base32(key.expose()).map_err(|_| unreadable())?;
    Builder::new().with_secret(secret).build().map_err(|_| unreadable())
}

fn base32(bytes: &[u8; 20]) -> String {
    totp_rs::Secret::from(*bytes).to_base32().trim_end_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the SHA-1 rows cut to six digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let key = Secret::new(base32(b"12345678901234567890"));
        for (time, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2_000_000_000, "279037")]
        {
            assert_eq!(generator(&key).unwrap().check(code, time), Some(time / 30), "{code}");
        }
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        assert_eq!(plain(" 287 082 "), "287082");
        assert_eq!(plain("abcde-FGHJK"), "ABCDEFGHJK");
    }
}
