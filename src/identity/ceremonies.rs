//! The two ceremonies of WebAuthn (Level 3, sections 7.1 and 7.2): adding a passkey and proving one. What the server must
//! remember between begin and finish stays in memory: bounded, five minutes, for one answer, for the one who
//! began.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use lru::LruCache;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, DiscoverableKey, PasskeyRegistration, Uuid, Webauthn, WebauthnBuilder,
    WebauthnError,
};
pub use webauthn_rs::prelude::{PublicKeyCredential, RegisterPublicKeyCredential};

use super::control::Control;
use super::passkeys::{KeptPasskey, NewPasskey, PasskeyError};
use crate::clock::{Clock, Random};
use crate::ids::{AccountId, PasskeyId, SessionId};
use crate::seal::hex;

/// How long an answer may take.
const LASTS: SignedDuration = SignedDuration::from_mins(5);
/// Open ceremonies kept of people who proved something, and as many of strangers: a flood of strangers pushes out
/// only strangers.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Who began a ceremony and may finish it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Whoever holds this secret, as a keyed hash: an invitation, or a sign-in that waits for its second step.
    Holder(String),
    /// A signed-in session.
    Session(SessionId),
    /// Nobody yet: holds the random ceremony id and nothing else.
    Stranger,
}

/// What the browser is given.
#[derive(Debug, Serialize)]
pub struct Begun {
    /// Names the ceremony in the answer: 256 random bits, base64url.
    pub ceremony: String,
    /// The argument of `navigator.credentials.create` or `.get`; byte strings are base64url.
    pub options: Value,
}

/// The open ceremonies of this process.
pub struct Ceremonies {
    /// `None` when the address of this instance has no name: there is no relying party then.
    site: Option<Webauthn>,
    members: Mutex<LruCache<String, Open>>,
    strangers: Mutex<LruCache<String, Open>>,
    clock: Clock,
    random: Random,
}

struct Open {
    asker: Asker,
    until: Timestamp,
    step: Step,
}

enum Step {
    Add { handle: Uuid, state: PasskeyRegistration },
    Prove(DiscoverableAuthentication),
}

impl Asker {
    /// Whoever holds a secret, which is kept here as a keyed hash.
    pub fn holder(control: &Control, of: &str, secret: &str) -> Self {
        Self::Holder(hex(&control.lookups().lookup(format!("{of} {secret}").as_bytes())))
    }
}

impl Ceremonies {
    /// For the address that people use; its origin is compared exactly.
    pub fn new(external: &Url, clock: Clock, random: Random) -> Self {
        let kept = || Mutex::new(LruCache::new(KEPT));
        Self { site: site(external), members: kept(), strangers: kept(), clock, random }
    }

    /// Whether browsers can use passkeys at this address.
    pub fn available(&self) -> bool {
        self.site.is_some()
    }

    /// Begins to add a passkey. `handle` is how authenticators will know the account, `name` and `shown` what
    /// they show of it, `known` its passkeys, which are not registered twice.
    pub fn begin_adding(
        &self,
        asker: Asker,
        handle: Uuid,
        (name, shown): (&str, &str),
        known: &[(PasskeyId, KeptPasskey)],
    ) -> Result<Begun, PasskeyError> {
        let known = known.iter().map(|(_, kept)| kept.credential.cred_id().clone()).collect();
        let (options, state) =
            self.site()?.start_passkey_registration(handle, name, shown, Some(known)).map_err(refused)?;
        let mut options = serde_json::to_value(options).map_err(|_| PasskeyError::Refused)?;
        // Every passkey listed here signs in alone, so it must be findable without an account's name.
        let selection = &mut options["publicKey"]["authenticatorSelection"];
        selection["residentKey"] = json!("required");
        selection["requireResidentKey"] = json!(true);
        Ok(self.begun(asker, options, Step::Add { handle, state }))
    }

    /// Checks what the authenticator made.
    pub fn finish_adding(
        &self,
        asker: &Asker,
        ceremony: &str,
        response: &RegisterPublicKeyCredential,
    ) -> Result<NewPasskey, PasskeyError> {
        let Step::Add { handle, state } = self.take(asker, ceremony)? else {
            return Err(PasskeyError::Ended);
        };
        let credential = self.site()?.finish_passkey_registration(response, &state).map_err(refused)?;
        Ok(NewPasskey { handle, credential })
    }

    /// Begins to prove a passkey: any of this instance, or one of `allowed` when the account is known.
    pub fn begin_proving(
        &self,
        asker: Asker,
        allowed: &[(PasskeyId, KeptPasskey)],
    ) -> Result<Begun, PasskeyError> {
        let (mut options, state) = self.site()?.start_discoverable_authentication().map_err(refused)?;
        // The page decides whether it asks in the field or with a dialog.
        options.mediation = None;
        let mut options = serde_json::to_value(options).map_err(|_| PasskeyError::Refused)?;
        options["publicKey"]["allowCredentials"] = allowed
            .iter()
            .map(|(_, kept)| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(kept.credential.cred_id()) }))
            .collect();
        Ok(self.begun(asker, options, Step::Prove(state)))
    }

    /// Checks the proof; answers whose passkey it is. `expected` is the account when it is known already. The
    /// account may be suspended: whoever starts a session checks that.
    pub fn finish_proving(
        &self,
        control: &Control,
        asker: &Asker,
        ceremony: &str,
        response: &PublicKeyCredential,
        expected: Option<AccountId>,
    ) -> Result<AccountId, PasskeyError> {
        let Step::Prove(state) = self.take(asker, ceremony)? else { return Err(PasskeyError::Ended) };
        let site = self.site()?;
        let (account, id, kept) =
            control.passkey_by_credential(response.get_credential_id())?.ok_or(PasskeyError::Refused)?;
        let handle = response.get_user_unique_id();
        let named = match handle {
            Some(handle) => handle == control.passkey_handle(account)?.as_bytes(),
            None => expected.is_some(),
        };
        if !named || expected.is_some_and(|expected| expected != account) {
            return Err(PasskeyError::Refused);
        }
        let key = DiscoverableKey::from(&kept.credential);
        match site.finish_discoverable_authentication_v2(response, state, &key) {
            Ok(result) if result.user_verified() => {
                control.note_passkey_use(account, id, &result).map(|()| account)
            }
            Ok(_) => Err(PasskeyError::Refused),
            Err(WebauthnError::CredentialPossibleCompromise) => {
                Err(PasskeyError::Copied { account, passkey: id })
            }
            Err(error) => Err(refused(error)),
        }
    }

    fn site(&self) -> Result<&Webauthn, PasskeyError> {
        self.site.as_ref().ok_or(PasskeyError::Unavailable)
    }

    fn open(&self, asker: &Asker) -> &Mutex<LruCache<String, Open>> {
        match asker {
            Asker::Holder(_) | Asker::Session(_) => &self.members,
            Asker::Stranger => &self.strangers,
        }
    }

    fn begun(&self, asker: Asker, options: Value, step: Step) -> Begun {
        let ceremony = URL_SAFE_NO_PAD.encode(self.random.bytes::<32>());
        let until = self.clock.now().checked_add(LASTS).unwrap_or(Timestamp::MAX);
        let mut open = self.open(&asker).lock().unwrap_or_else(PoisonError::into_inner);
        open.put(ceremony.clone(), Open { asker: asker.clone(), until, step });
        Begun { ceremony, options }
    }

    /// Takes the ceremony out, so that it answers once; another asker leaves it where it is.
    fn take(&self, asker: &Asker, ceremony: &str) -> Result<Step, PasskeyError> {
        let mut open = self.open(asker).lock().unwrap_or_else(PoisonError::into_inner);
        if open.peek(ceremony).is_none_or(|found| found.asker != *asker) {
            return Err(PasskeyError::Ended);
        }
        let found = open.pop(ceremony).filter(|found| found.until > self.clock.now());
        found.map(|found| found.step).ok_or(PasskeyError::Ended)
    }
}

/// The relying party of an address: its host, over https or on this machine. An IP address has none.
fn site(external: &Url) -> Option<Webauthn> {
    let host = external.domain()?;
    if external.scheme() != "https" && host != "localhost" {
        return None;
    }
    WebauthnBuilder::new(host, external).ok()?.rp_name("Vynos").build().ok()
}

fn refused(error: WebauthnError) -> PasskeyError {
    tracing::debug!(%error, "a passkey was refused");
    PasskeyError::Refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceremonies(address: &str, clock: &Clock) -> Ceremonies {
        Ceremonies::new(&Url::parse(address).unwrap(), clock.clone(), Random::seeded(7))
    }

    fn clock() -> Clock {
        Clock::manual(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_address_without_a_name_or_https_has_no_passkeys() {
        for (address, available) in [
            ("https://vynos.example.com", true),
            ("https://vynos.example.com:8443", true),
            ("http://localhost:8080", true),
            ("http://vynos.example.com", false),
            ("https://10.20.30.40", false),
            ("https://[::1]:8443", false),
        ] {
            assert_eq!(ceremonies(address, &clock()).available(), available, "{address}");
        }
        let none = ceremonies("https://10.20.30.40", &clock());
        assert!(matches!(none.begin_proving(Asker::Stranger, &[]), Err(PasskeyError::Unavailable)));
    }

    #[test]
    fn a_ceremony_is_for_one_answer_of_the_one_who_began_within_five_minutes() {
        let clock = clock();
        let open = ceremonies("https://vynos.example.com", &clock);
        let mine = Asker::Session(SessionId::new(&clock, &Random::seeded(1)));
        let theirs = Asker::Session(SessionId::new(&clock, &Random::seeded(2)));
        let begun = open.begin_proving(mine.clone(), &[]).unwrap();
        for other in [&theirs, &Asker::Stranger, &Asker::Holder("x".into())] {
            assert!(matches!(open.take(other, &begun.ceremony), Err(PasskeyError::Ended)));
        }
        assert!(open.take(&mine, &begun.ceremony).is_ok());
        assert!(matches!(open.take(&mine, &begun.ceremony), Err(PasskeyError::Ended)));
        let late = open.begin_proving(mine.clone(), &[]).unwrap();
        clock.advance(LASTS);
        assert!(matches!(open.take(&mine, &late.ceremony), Err(PasskeyError::Ended)));
    }

    #[test]
    fn a_flood_of_strangers_pushes_out_nobody_with_a_session() {
        let open = ceremonies("https://vynos.example.com", &clock());
        let mine = Asker::Session(SessionId::new(&clock(), &Random::seeded(1)));
        let begun = open.begin_proving(mine.clone(), &[]).unwrap();
        for _ in 0..KEPT.get() + 5 {
            open.begin_proving(Asker::Stranger, &[]).unwrap();
        }
        assert_eq!(open.strangers.lock().unwrap().len(), KEPT.get());
        assert!(open.take(&mine, &begun.ceremony).is_ok());
    }

    #[test]
    fn browsers_are_asked_for_a_verified_and_findable_passkey() {
        let open = ceremonies("https://vynos.example.com", &clock());
        let handle = Uuid::from_bytes([9; 16]);
        let begun = open.begin_adding(Asker::Stranger, handle, ("ada@halden.example", "Ada"), &[]).unwrap();
        let wanted = &begun.options["publicKey"];
        assert_eq!(wanted["authenticatorSelection"]["userVerification"], "required");
        assert_eq!(wanted["authenticatorSelection"]["residentKey"], "required");
        assert_eq!(wanted["rp"]["id"], "vynos.example.com");
        assert_eq!(wanted["user"]["id"], URL_SAFE_NO_PAD.encode([9; 16]));
        assert_eq!(wanted["attestation"], "none");
        let begun = open.begin_proving(Asker::Stranger, &[]).unwrap();
        assert_eq!(begun.options["publicKey"]["userVerification"], "required");
        assert!(begun.options.get("mediation").is_none());
    }
}
