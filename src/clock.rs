//! Time and randomness, handed in so that tests can move one and repeat the other. Nothing else in the
//! crate may ask the system for either (clippy `disallowed-methods`).

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};

/// The current time. Cheap to clone; all clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Manual(Arc<Mutex<Timestamp>>),
    System,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it. For tests.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// Now, in UTC.
    #[expect(clippy::disallowed_methods, reason = "the one place where system time enters")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Manual(at) => *at.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
            Source::System => Timestamp::now(),
        }
    }

    /// Milliseconds since 1970, never negative.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.now().as_millisecond()).unwrap_or(0)
    }

    /// Moves a manual clock; the system clock stays as it is.
    pub fn advance(&self, by: SignedDuration) {
        if let Source::Manual(at) = &self.0 {
            let mut at = at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *at = at.checked_add(by).unwrap_or(Timestamp::MAX);
        }
    }
}

/// Random bytes. The system's generator in the product; a seeded one in tests that must repeat.
/// Keys and nonces never come from a seeded source: `seal` asks the system itself.
#[derive(Clone, Debug)]
pub struct Random(Option<Arc<Mutex<u64>>>);

impl Random {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self(None)
    }

    /// A repeatable sequence (splitmix64), for the demo's simulators and for tests.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(seed))))
    }

    /// Fills `out`. The system generator cannot fail once the process runs (getrandom(2)); should it
    /// ever do so, the process stops instead of going on with predictable ids.
    pub fn fill(&self, out: &mut [u8]) {
        match &self.0 {
            None => {
                if SystemRandom::new().fill(out).is_err() {
                    std::process::abort();
                }
            }
            Some(state) => {
                let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                for chunk in out.chunks_mut(8) {
                    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mut z = *state;
                    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    z ^= z >> 31;
                    chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A number below `n` (0 when `n` is 0); the bias is below 2^-32 for the sizes used here.
    pub fn below(&self, n: u64) -> u64 {
        if n == 0 { 0 } else { u64::from_le_bytes(self.bytes()) % n }
    }
}
