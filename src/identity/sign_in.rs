//! Signing in, in one step or two: whoever proved an account goes through [`Control::begin_sign_in`].

use jiff::{SignedDuration, Timestamp};

use super::accounts::{ACCOUNTS, AccountState, Email};
use super::control::{Control, ControlTx, Note};
use super::second_factor::{Accepted, factors};
use super::sessions::{Origin, SESSIONS, Session};
use super::settings::SETTINGS;
use super::{IdentityError, SessionToken, password};
use crate::ids::AccountId;
use crate::seal::Secret;
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// How long a sign-in waits for its second step.
pub(super) const WAITING: SignedDuration = SignedDuration::from_mins(5);
/// Wrong codes after which the first step has to be done again.
const WRONG: u8 = 5;

/// Kinds of browser that an account signed in with, as a keyed hash.
const DEVICES: Table<(AccountId, [u8; 32]), Timestamp> = Table::new("devices", 1);
/// Most of them that are remembered.
const MOST_DEVICES: usize = 100;

/// Networks that an account signed in from, as a keyed hash: whoever guesses elsewhere does not slow them down.
const NETWORKS: Table<(AccountId, [u8; 32]), Timestamp> = Table::new("networks", 1);
/// Most of them that are remembered; the one longest unused makes room.
const MOST_NETWORKS: usize = 30;

/// How somebody proved to be an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proved {
    Password,
    /// By the provider; `true` when it says that a second factor was used, or the operator says so of it.
    SingleSignOn {
        second_factor: bool,
    },
}

/// Where a sign-in stands.
pub enum SignInStep {
    Done(SessionToken),
    /// The cookie of a sign-in that waits for its second step; it is no session for anything else.
    SecondFactor(SessionToken),
}

/// What became of a code.
pub enum CodeAnswer {
    /// Too many wrong ones, too late, or never begun: back to the first step.
    Ended,
    Right {
        token: SessionToken,
        account: AccountId,
        accepted: Accepted,
    },
    Wrong,
}

impl Control {
    /// Checks the pair and begins a sign-in. One argon2 verification on every path; call it on a blocking thread.
    pub fn sign_in(&self, email: &str, secret: &Secret, from: Origin) -> Result<SignInStep, IdentityError> {
        let known = match email.parse::<Email>() {
            Ok(email) => self.account_by_address(&email)?,
            Err(_) => None,
        };
        let stored = known.as_ref().and_then(|(_, account)| account.password.as_deref());
        let right = password::verify(secret, stored);
        match known {
            Some((id, account))
                if right
                    && account.state == AccountState::Active
                    && !account.is_over(self.clock().now())
                    && self.may_skip_sso(id)? =>
            {
                if account.password.as_deref().is_some_and(password::is_outgrown) {
                    self.rehash(id, secret)?;
                }
                self.begin_sign_in(id, from, Proved::Password)
            }
            _ => Err(IdentityError::WrongCredentials),
        }
    }

    /// Hashes a right password again under the parameters of now.
    fn rehash(&self, account: AccountId, secret: &Secret) -> Result<(), IdentityError> {
        let hash = password::hash(secret)?;
        self.touch(|tx| match tx.get(&ACCOUNTS, &account)? {
            Some(mut row) => {
                row.password = Some(hash);
                Ok(tx.put(&ACCOUNTS, &account, &row)?)
            }
            None => Ok(()),
        })
    }

    /// Lets an account in that proved itself, or has it wait for its second step: the code of an app that is on, or
    /// a passkey where the instance asks for a second factor.
    pub fn begin_sign_in(
        &self,
        account: AccountId,
        from: Origin,
        proved: Proved,
    ) -> Result<SignInStep, IdentityError> {
        let read = self.read()?;
        let person = read.get(&ACCOUNTS, &account)?.filter(|p| p.state == AccountState::Active);
        let person = person.ok_or(IdentityError::WrongCredentials)?;
        let one_step = matches!(proved, Proved::SingleSignOn { second_factor: true });
        let has = factors(&read, account)?;
        let wanted = read.get(&SETTINGS, &0)?.unwrap_or_default().wants_second_factor(person.operator);
        if one_step || !(has.totp || wanted && has.passkeys > 0) {
            return self.start_session(account, from).map(SignInStep::Done);
        }
        let note =
            Note::new(Actor::Account { id: account }, Action::SessionWaiting, account).asked_by(from.request);
        let token = self.change_now(note, |tx| self.open_session(tx, account, &from, true))?;
        Ok(SignInStep::SecondFactor(token))
    }

    /// The account whose sign-in waits behind this cookie.
    pub fn waiting(&self, token: &SessionToken) -> Result<AccountId, IdentityError> {
        let found = self.read()?.get(&SESSIONS, &self.session_key(token))?;
        self.still_waiting(found).map(|session| session.account).ok_or(IdentityError::NotSignedIn)
    }

    fn still_waiting(&self, session: Option<Session>) -> Option<Session> {
        let now = self.clock().now();
        session.filter(|s| s.waiting && s.wrong < WRONG && now.duration_since(s.created) <= WAITING)
    }

    /// Takes the code of a second step. The fifth wrong one ends the sign-in.
    pub fn complete_with_code(
        &self,
        token: &SessionToken,
        typed: &str,
        from: &Origin,
    ) -> Result<CodeAnswer, IdentityError> {
        let key = self.session_key(token);
        self.write(|tx| {
            let Some(mut session) = self.still_waiting(tx.get(&SESSIONS, &key)?) else {
                return Ok(CodeAnswer::Ended);
            };
            let account = session.account;
            if let Some(accepted) = self.accept_code(tx, account, typed)? {
                let token = self.admit(tx, &session, &key, from)?;
                return Ok(CodeAnswer::Right { token, account, accepted });
            }
            session.wrong += 1;
            let ended = session.wrong >= WRONG;
            if ended {
                Self::remove_session(tx, account, session.id, &key)?;
            } else {
                tx.put(&SESSIONS, &key, &session)?;
            }
            let note = Note::new(Actor::Visitor, Action::SecondFactorRefused, account).asked_by(from.request);
            self.note(tx, note)?;
            Ok(if ended { CodeAnswer::Ended } else { CodeAnswer::Wrong })
        })
    }

    /// Ends the waiting of a sign-in whose second step was proved otherwise (a passkey).
    pub fn complete_second_factor(
        &self,
        token: &SessionToken,
        from: &Origin,
    ) -> Result<SessionToken, IdentityError> {
        let key = self.session_key(token);
        self.write(|tx| {
            let found = tx.get(&SESSIONS, &key)?;
            let session = self.still_waiting(found).ok_or(IdentityError::NotSignedIn)?;
            Ok(self.admit(tx, &session, &key, from)?)
        })
    }

    /// Notes inside a change that an account signed in with this kind of browser ("Firefox on Linux"); answers whether
    /// it is a new one, though not the account's first.
    pub fn note_device(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        kind: &str,
    ) -> Result<bool, StoreError> {
        let key = (account, self.lookups().lookup(format!("device {account} {kind}").as_bytes()));
        let known = tx.has(&DEVICES, &key)?;
        let others = tx.scan(&DEVICES).under(&account).limit(MOST_DEVICES).count()?;
        if known || others < MOST_DEVICES {
            tx.put(&DEVICES, &key, &self.clock().now())?;
        }
        Ok(!known && others > 0)
    }

    /// Forgets devices and networks of an account that goes.
    pub fn forget_devices(&self, tx: &mut ControlTx, account: AccountId) -> Result<(), StoreError> {
        tx.remove_under(&NETWORKS, &account)?;
        tx.remove_under(&DEVICES, &account).map(|_| ())
    }

    /// Notes inside a change that an account signed in from there.
    pub(super) fn note_network(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        from: &Origin,
    ) -> Result<(), StoreError> {
        let key = self.network_key(account, from);
        let mut known = tx.scan(&NETWORKS).under(&account).rows()?;
        if known.len() >= MOST_NETWORKS && known.iter().all(|(k, _)| *k != key) {
            known.sort_by_key(|(_, used)| *used);
            for (oldest, _) in known.iter().take(known.len() + 1 - MOST_NETWORKS) {
                tx.remove(&NETWORKS, oldest)?;
            }
        }
        tx.put(&NETWORKS, &key, &self.clock().now())
    }

    /// Whether the account with this address signed in from there before.
    pub fn knows_network(&self, email: &str, from: &Origin) -> Result<bool, StoreError> {
        let Ok(email) = email.parse::<Email>() else { return Ok(false) };
        let Some((id, _)) = self.account_by_address(&email)? else { return Ok(false) };
        self.read()?.has(&NETWORKS, &self.network_key(id, from))
    }

    fn network_key(&self, account: AccountId, from: &Origin) -> (AccountId, [u8; 32]) {
        (account, self.lookups().lookup(format!("network {account} {}", from.network()).as_bytes()))
    }

    /// A full session under a new cookie, in place of the waiting one.
    fn admit(
        &self,
        tx: &mut ControlTx,
        waiting: &Session,
        key: &[u8; 32],
        from: &Origin,
    ) -> Result<SessionToken, StoreError> {
        Self::remove_session(tx, waiting.account, waiting.id, key)?;
        let token = self.open_session(tx, waiting.account, from, false)?;
        let actor = Actor::Account { id: waiting.account };
        self.note(tx, Note::new(actor, Action::SessionStarted, waiting.account).asked_by(from.request))?;
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher as _;

    use super::*;
    use crate::clock::{Clock, Random};
    use crate::identity::password::tests::VERIFIED;
    use crate::seal::DataKey;

    const RIGHT: &str = "copper kettle morning";

    fn control() -> (tempfile::TempDir, Control, AccountId) {
        let dir = tempfile::tempdir().unwrap();
        let (clock, random) = (Clock::manual(Timestamp::UNIX_EPOCH), Random::system());
        let control = Control::create(&dir.path().join("control"), &DataKey::new(), clock, random).unwrap();
        let ada = Control::prepare_account("ada@halden.example", "Ada", &Secret::new(RIGHT.into()), true);
        let note = Note::new(Actor::Operator, Action::AccountChanged, "test");
        let id = control.change_now(note, |tx| control.insert_account(tx, ada.unwrap())).unwrap();
        (dir, control, id)
    }

    fn set(control: &Control, id: AccountId, change: impl FnOnce(&mut super::super::Account)) {
        let mut row = control.account(id).unwrap().unwrap();
        change(&mut row);
        control.touch(|tx| tx.put(&ACCOUNTS, &id, &row)).unwrap();
    }

    // security-cases row 40
    #[test]
    fn every_sign_in_verifies_one_password_whoever_it_is_for() {
        let (_dir, control, id) = control();
        let verified = |email: &str, typed: &str| {
            let before = VERIFIED.get();
            let answer = control.sign_in(email, &Secret::new(typed.into()), Origin::default());
            (VERIFIED.get() - before, answer.is_ok())
        };
        assert_eq!(verified("ada@halden.example", RIGHT), (1, true));
        assert_eq!(verified("ada@halden.example", "not it at all"), (1, false));
        assert_eq!(verified("nobody@halden.example", RIGHT), (1, false));
        assert_eq!(verified("no address", RIGHT), (1, false));
        set(&control, id, |row| row.state = AccountState::Suspended);
        assert_eq!(verified("ada@halden.example", RIGHT), (1, false));
        set(&control, id, |row| {
            row.state = AccountState::Active;
            row.password = None;
        });
        assert_eq!(verified("ada@halden.example", RIGHT), (1, false));
    }

    #[test]
    fn a_password_kept_under_weaker_parameters_is_hashed_again_when_it_was_right() {
        let (_dir, control, id) = control();
        let params = argon2::Params::new(8 * 1024, 1, 1, None).unwrap();
        let weak = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let weak = weak.hash_password(RIGHT.as_bytes()).unwrap().to_string();
        set(&control, id, |row| row.password = Some(weak.clone()));
        let kept = || control.account(id).unwrap().unwrap().password.unwrap();
        let sign_in = |typed: &str| {
            control.sign_in("ada@halden.example", &Secret::new(typed.into()), Origin::default())
        };
        assert!(sign_in("not it at all").is_err());
        assert_eq!(kept(), weak);
        assert!(sign_in(RIGHT).is_ok());
        assert!(!password::is_outgrown(&kept()));
        assert!(sign_in(RIGHT).is_ok(), "the new hash is of the same password");
    }

    #[test]
    fn networks_are_remembered_up_to_a_number_and_the_longest_unused_goes() {
        let (_dir, control, id) = control();
        let from = |n: usize| Origin { address: format!("198.51.100.{n}"), ..Origin::default() };
        for n in 0..=MOST_NETWORKS {
            control.clock().advance(SignedDuration::from_secs(1));
            control.start_session(id, from(n)).unwrap();
        }
        let knows = |n| control.knows_network("Ada@Halden.example", &from(n)).unwrap();
        assert!(!knows(0) && knows(1) && knows(MOST_NETWORKS));
        assert!(!control.knows_network("nobody@halden.example", &from(1)).unwrap());
    }

    #[test]
    fn the_addresses_of_one_subscriber_are_one_network() {
        let network = |address: &str| Origin { address: address.into(), ..Origin::default() }.network();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        assert_eq!(network("::ffff:198.51.100.7"), "198.51.100.7");
        assert_ne!(network("198.51.100.7"), network("198.51.100.8"));
    }
}
