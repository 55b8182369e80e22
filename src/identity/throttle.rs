//! Throttling of guesses with a growing delay, and of questions by the minute. Bounded, in memory; counted for unknown
//! addresses as for known ones.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use lru::LruCache;

use super::IdentityError;
use crate::clock::Clock;

/// After this long without a failure the count starts again.
const FORGET: SignedDuration = SignedDuration::from_mins(30);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const KEPT: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// How many failures cost nothing, and the longest wait after more, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    free: u32,
    longest: u64,
}

impl Allowance {
    /// Of one account, from wherever: slow enough for a thousand machines that guess together, and never so slow that
    /// its person gives up. Addresses that the account signed in from before are not asked.
    pub const ACCOUNT: Self = Self { free: 50, longest: 30 };
    /// Of one network, whatever the account: many people may share it.
    pub const NETWORK: Self = Self { free: 20, longest: 300 };
    /// Of one account from one network, and of everything else that is guessed at.
    pub const PAIR: Self = Self { free: 5, longest: 300 };

    /// Seconds to wait after `count` failures: none for the free ones, then 2, 4, 8 and so on.
    fn delay(self, count: u32) -> u64 {
        match count.checked_sub(self.free) {
            None | Some(0) => 0,
            Some(n) => 2u64.saturating_pow(n.min(10)).min(self.longest),
        }
    }
}

/// Failed tries by key (`account …` or `address …`).
pub struct Throttle {
    failures: Mutex<LruCache<String, (u32, Timestamp)>>,
    /// Questions of the minute that began then.
    asked: Mutex<LruCache<String, (u32, Timestamp)>>,
    clock: Clock,
}

impl Throttle {
    pub fn new(clock: Clock) -> Self {
        let empty = || Mutex::new(LruCache::new(KEPT));
        Self { failures: empty(), asked: empty(), clock }
    }

    /// Whether a try under `key` may go on now.
    pub fn check(&self, key: &str) -> Result<(), IdentityError> {
        self.check_within(key, Allowance::PAIR)
    }

    /// [`Throttle::check`] where more or less is allowed.
    pub fn check_within(&self, key: &str, allowance: Allowance) -> Result<(), IdentityError> {
        let Some((count, last)) = held(&self.failures).peek(key).copied() else { return Ok(()) };
        let passed = self.clock.now().duration_since(last);
        let wait = SignedDuration::from_secs(allowance.delay(count) as i64);
        if passed > FORGET || passed >= wait {
            Ok(())
        } else {
            Err(IdentityError::TooMany(seconds(wait.saturating_sub(passed))))
        }
    }

    /// Notes a failed try.
    pub fn failed(&self, key: &str) {
        let now = self.clock.now();
        let mut failures = held(&self.failures);
        let count = match failures.get(key) {
            Some((count, last)) if now.duration_since(*last) <= FORGET => count.saturating_add(1),
            _ => 1,
        };
        failures.put(key.to_owned(), (count, now));
    }

    /// Forgets the failures of `key` after a success.
    pub fn passed(&self, key: &str) {
        held(&self.failures).pop(key);
    }

    /// Counts a question that costs work, of which `most` a minute are answered.
    pub fn ask(&self, key: &str, most: u32) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut asked = held(&self.asked);
        let (count, since) = match asked.get(key) {
            Some((count, since)) if now.duration_since(*since) < MINUTE => (*count, *since),
            _ => (0, now),
        };
        if count >= most {
            return Err(IdentityError::TooMany(seconds(MINUTE.saturating_sub(now.duration_since(since)))));
        }
        asked.put(key.to_owned(), (count + 1, since));
        Ok(())
    }
}

fn held<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(left: SignedDuration) -> u64 {
    left.as_secs().max(1).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_and_passes() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let throttle = Throttle::new(clock.clone());
        for _ in 0..6 {
            assert!(throttle.check("account a").is_ok());
            throttle.failed("account a");
        }
        assert!(matches!(throttle.check("account a"), Err(IdentityError::TooMany(2))));
        assert!(throttle.check("account b").is_ok());
        clock.advance(SignedDuration::from_secs(2));
        assert!(throttle.check("account a").is_ok());
    }

    #[test]
    fn questions_of_a_minute_are_counted_and_the_next_minute_is_another() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let throttle = Throttle::new(clock.clone());
        assert!((0..3).all(|_| throttle.ask("strength 10.0.0.1", 3).is_ok()));
        assert!(matches!(throttle.ask("strength 10.0.0.1", 3), Err(IdentityError::TooMany(60))));
        assert!(throttle.ask("strength 10.0.0.2", 3).is_ok());
        clock.advance(SignedDuration::from_mins(1));
        assert!(throttle.ask("strength 10.0.0.1", 3).is_ok());
    }

    #[test]
    fn an_account_waits_for_half_a_minute_at_most_whoever_guesses() {
        assert_eq!(Allowance::ACCOUNT.delay(50), 0);
        assert_eq!(Allowance::ACCOUNT.delay(51), 2);
        assert_eq!(Allowance::ACCOUNT.delay(u32::MAX), 30);
        assert_eq!(Allowance::PAIR.delay(u32::MAX), 300);
    }
}
