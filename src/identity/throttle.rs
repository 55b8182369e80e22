//! Sign-in throttling: per account and per address, with a growing delay. Bounded, in memory; counted for
//! unknown addresses as for known ones.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use lru::LruCache;

use super::IdentityError;
use crate::clock::Clock;

/// Tries before the first delay.
const FREE: u32 = 5;
/// The longest wait between tries.
const LONGEST: u64 = 300;
/// After this long without a failure the count starts again.
const FORGET: SignedDuration = SignedDuration::from_mins(30);
const KEPT: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Failed tries by key (`account …` or `address …`).
pub struct Throttle {
    failures: Mutex<LruCache<String, (u32, Timestamp)>>,
    clock: Clock,
}

impl Throttle {
    pub fn new(clock: Clock) -> Self {
        Self { failures: Mutex::new(LruCache::new(KEPT)), clock }
    }

    /// Whether a try under `key` may go on now.
    pub fn check(&self, key: &str) -> Result<(), IdentityError> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, last)) = failures.peek(key).copied() else { return Ok(()) };
        let passed = self.clock.now().duration_since(last);
        let wait = SignedDuration::from_secs(delay(count) as i64);
        if passed > FORGET || passed >= wait {
            Ok(())
        } else {
            let left = wait.saturating_sub(passed).as_secs().max(1);
            Err(IdentityError::TooMany(left.unsigned_abs()))
        }
    }

    /// Notes a failed try.
    pub fn failed(&self, key: &str) {
        let now = self.clock.now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match failures.get(key) {
            Some((count, last)) if now.duration_since(*last) <= FORGET => count.saturating_add(1),
            _ => 1,
        };
        failures.put(key.to_owned(), (count, now));
    }

    /// Forgets the failures of `key` after a success.
    pub fn passed(&self, key: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).pop(key);
    }
}

/// Seconds to wait after `count` failures: none for the first five, then 2, 4, 8 … 300.
fn delay(count: u32) -> u64 {
    match count.checked_sub(FREE) {
        None | Some(0) => 0,
        Some(n) => 2u64.saturating_pow(n.min(10)).min(LONGEST),
    }
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
}
