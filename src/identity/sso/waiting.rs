//! Who is on the way to the provider and back. Kept in memory alone: it lives ten minutes, and after a restart people
//! begin again. Bound to one browser by the keyed hash of its cookie.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use lru::LruCache;

use crate::clock::Clock;
use crate::ids::AccountId;
use crate::seal::{Secret, constant_time_eq};
use crate::wire::oidc::Identity;

/// The provider's page may stay open this long.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
const KEPT: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// On the way at once from one address, so that one can't push the others out.
const FROM_ONE_ADDRESS: usize = 200;

/// Keyed hash of a browser's cookie.
pub type Browser = [u8; 32];

/// Somebody who went to the provider.
#[derive(Clone, Debug)]
pub struct Departed {
    pub issuer: String,
    pub client_id: String,
    pub state: Secret,
    pub nonce: Secret,
    pub verifier: Secret,
    /// Where they wanted to go.
    pub next: String,
    /// The account that wants the link, when one is signed in already.
    pub link_to: Option<AccountId>,
}

/// Somebody whom the provider vouches for, and who has to show that the account of the same address is theirs.
#[derive(Clone, Debug)]
pub struct Unproven {
    pub identity: Identity,
    pub account: AccountId,
    pub next: String,
}

#[derive(Clone, Debug)]
enum Waiting {
    Departed(Departed),
    Unproven(Unproven),
}

#[derive(Clone, Debug)]
struct Entry {
    at: Timestamp,
    address: String,
    waiting: Waiting,
}

pub struct Waitings {
    entries: Mutex<LruCache<Browser, Entry>>,
    clock: Clock,
}

impl Waitings {
    pub fn new(clock: Clock) -> Self {
        Self { entries: Mutex::new(LruCache::new(KEPT)), clock }
    }

    /// Somebody goes; what this browser had begun before is forgotten.
    pub fn depart(&self, browser: Browser, address: &str, departed: Departed) {
        self.put(browser, address, Waiting::Departed(departed));
    }

    /// Somebody is asked to prove that an account is theirs.
    pub fn ask(&self, browser: Browser, address: &str, unproven: Unproven) {
        self.put(browser, address, Waiting::Unproven(unproven));
    }

    /// Who comes back under `state`: once, in time, and in the browser that went. Another state takes nothing away,
    /// because any page can send a browser here.
    pub fn back(&self, browser: Browser, state: &str) -> Option<Departed> {
        let mut entries = self.live();
        let Some(Entry { waiting: Waiting::Departed(departed), .. }) = entries.peek(&browser) else {
            return None;
        };
        if !constant_time_eq(departed.state.expose().as_bytes(), state.as_bytes()) {
            return None;
        }
        match entries.pop(&browser) {
            Some(Entry { waiting: Waiting::Departed(departed), .. }) => Some(departed),
            _ => None,
        }
    }

    /// Who has still to prove an account in this browser.
    pub fn unproven(&self, browser: Browser) -> Option<Unproven> {
        match self.live().peek(&browser) {
            Some(Entry { waiting: Waiting::Unproven(unproven), .. }) => Some(unproven.clone()),
            _ => None,
        }
    }

    /// Forgets what this browser began.
    pub fn end(&self, browser: Browser) {
        self.live().pop(&browser);
    }

    fn put(&self, browser: Browser, address: &str, waiting: Waiting) {
        let mut entries = self.live();
        let of_address = entries.iter().rev().filter(|(_, entry)| entry.address == address);
        let oldest: Vec<Browser> = of_address.map(|(key, _)| *key).collect();
        let extra = (oldest.len() + 1).saturating_sub(FROM_ONE_ADDRESS);
        for key in oldest.iter().take(extra) {
            entries.pop(key);
        }
        entries.put(browser, Entry { at: self.clock.now(), address: address.to_owned(), waiting });
    }

    /// The entries, without those whose time is over: they stand at the old end.
    fn live(&self) -> MutexGuard<'_, LruCache<Browser, Entry>> {
        let now = self.clock.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        while entries.peek_lru().is_some_and(|(_, entry)| now.duration_since(entry.at) > LIFE) {
            entries.pop_lru();
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departed(state: &str) -> Departed {
        let secret = |text: &str| Secret::new(text.to_owned());
        Departed {
            issuer: "https://id.example".into(),
            client_id: "vynos".into(),
            state: secret(state),
            nonce: secret("n"),
            verifier: secret("v"),
            next: "/".into(),
            link_to: None,
        }
    }

    // security-cases row 31
    #[test]
    fn one_comes_back_once_in_time_and_in_the_same_browser() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let waitings = Waitings::new(clock.clone());
        waitings.depart([1; 32], "a", departed("s"));
        assert!(waitings.back([2; 32], "s").is_none(), "another browser");
        assert!(waitings.back([1; 32], "x").is_none(), "another state");
        assert!(waitings.back([1; 32], "").is_none());
        assert!(waitings.back([1; 32], "s").is_some(), "a wrong state took nothing away");
        assert!(waitings.back([1; 32], "s").is_none(), "once");
        waitings.depart([1; 32], "a", departed("s"));
        clock.advance(LIFE - SignedDuration::from_secs(1));
        assert!(waitings.back([1; 32], "s").is_some(), "in time");
        waitings.depart([1; 32], "a", departed("s"));
        clock.advance(LIFE + SignedDuration::from_secs(1));
        assert!(waitings.back([1; 32], "s").is_none(), "too late");
    }

    #[test]
    fn one_address_pushes_only_itself_out() {
        let waitings = Waitings::new(Clock::manual(Timestamp::UNIX_EPOCH));
        waitings.depart([255; 32], "other", departed("s"));
        for n in 0..=FROM_ONE_ADDRESS {
            waitings.depart([u8::try_from(n).unwrap(); 32], "a", departed("s"));
        }
        assert!(waitings.back([0; 32], "s").is_none() && waitings.back([1; 32], "s").is_some());
        assert!(waitings.back([255; 32], "s").is_some());
    }
}
