//! How much the server answers, and how fast: counted by the guard, shown to operators.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the classes of durations, in milliseconds; what is longer falls into a last one.
pub const MILLIS: [u64; 8] = [5, 10, 25, 50, 100, 250, 1_000, 5_000];

/// Requests since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// By the hundred of the status: 1xx to 5xx.
    answers: [AtomicU64; 5],
    took: [AtomicU64; MILLIS.len() + 1],
    micros: AtomicU64,
}

/// The counts of one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub answers: [u64; 5],
    pub took: [u64; MILLIS.len() + 1],
    /// The sum of all durations.
    pub micros: u64,
}

impl Counts {
    /// One answer, whose head was ready after `took`.
    pub fn count(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.answers[class].fetch_add(1, Ordering::Relaxed);
        // Not in whole milliseconds: what took a little longer than the end of a class is not in it.
        let within = |most: &u64| took <= Duration::from_millis(*most);
        let place = MILLIS.iter().position(within).unwrap_or(MILLIS.len());
        self.took[place].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub fn now(&self) -> Counted {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            answers: self.answers.each_ref().map(read),
            took: self.took.each_ref().map(read),
            micros: read(&self.micros),
        }
    }
}

impl Counted {
    pub fn all(&self) -> u64 {
        self.answers.iter().sum()
    }

    /// The class that holds the slowest hundredth, as its upper end in milliseconds; `None` above all of them.
    pub fn slow(&self) -> Option<u64> {
        let mut left = self.all().div_ceil(100);
        for (place, count) in self.took.iter().enumerate().rev() {
            if *count >= left {
                return MILLIS.get(place).copied();
            }
            left -= count;
        }
        MILLIS.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fall_into_their_classes() {
        let counts = Counts::default();
        for _ in 0..99 {
            counts.count(200, Duration::from_millis(5));
        }
        assert_eq!(counts.now().slow(), Some(5));
        counts.count(503, Duration::from_micros(5_000_001));
        let now = counts.now();
        assert_eq!((now.all(), now.answers[1], now.answers[4]), (100, 99, 1));
        assert_eq!((now.took[0], now.took[8], now.slow()), (99, 1, None));
        counts.count(999, Duration::ZERO);
        assert_eq!(counts.now().answers[4], 2, "no status is lost");
    }
}
