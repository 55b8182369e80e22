//! When a call is made again. Only before anything of an answer was shown: a repeated call bills twice, but a
//! repeated half answer confuses.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::HeaderMap;

use crate::clock::Random;

/// Calls in all, the first included.
pub const MOST_CALLS: u32 = 3;
/// A server that asks for more patience than this gets its wish shown to the person instead.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Whether an answer of this kind may be asked for again.
pub fn retryable(status: u16, headers: &HeaderMap) -> bool {
    match headers.get("x-should-retry").and_then(|v| v.to_str().ok()) {
        Some("true") => true,
        Some("false") => false,
        _ => matches!(status, 408 | 409 | 429 | 500..),
    }
}

/// How long the server asks to wait, from `retry-after-ms` or `retry-after` (seconds, or a date compared with
/// when the call left).
pub fn asked_wait(headers: &HeaderMap, sent: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let millis = text("retry-after-ms").and_then(|v| v.parse::<f64>().ok()).map(|ms| ms / 1000.0);
    let seconds = millis.or_else(|| text("retry-after").and_then(|v| v.parse::<f64>().ok()));
    if let Some(seconds) = seconds {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = rfc2822::parse(text("retry-after")?).ok()?.timestamp();
    Duration::try_from(at.duration_since(sent)).ok()
}

/// How long to wait before call number `made + 1`; `None` when it is better to give up.
pub fn wait(made: u32, asked: Option<Duration>, random: &Random) -> Option<Duration> {
    if made >= MOST_CALLS {
        return None;
    }
    if let Some(asked) = asked.filter(|d| !d.is_zero()) {
        (asked <= LONGEST_WAIT).then_some(asked)
    } else {
        let longest = 500u64.saturating_mul(1 << made.saturating_sub(1).min(10)).min(8_000);
        Some(Duration::from_millis(longest - random.below(longest / 4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn the_server_decides_where_it_says_so() {
        assert!([408, 409, 429, 500, 503, 529].iter().all(|s| retryable(*s, &HeaderMap::new())));
        assert!(![400, 401, 402, 403, 404, 413, 422].iter().any(|s| retryable(*s, &HeaderMap::new())));
        assert!(!retryable(429, &headers(&[("x-should-retry", "false")])));
        assert!(retryable(400, &headers(&[("x-should-retry", "true")])));
    }

    #[test]
    fn waits_are_read_in_all_three_forms() {
        let sent: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let read = |pairs: &[_]| asked_wait(&headers(pairs), sent);
        assert_eq!(
            read(&[("retry-after-ms", "1500"), ("retry-after", "9")]),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(read(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(read(&[("retry-after", "Mon, 23 Nov 2026 09:00:20 GMT")]), Some(Duration::from_secs(20)));
        for odd in ["-3", "NaN", "1e300", "soon", "Mon, 23 Nov 2026 08:00:00 GMT"] {
            assert_eq!(read(&[("retry-after", odd)]), None, "{odd}");
        }
    }

    #[test]
    fn waits_grow_are_capped_and_end() {
        let random = Random::seeded(1);
        let first = wait(1, None, &random).unwrap();
        assert!((375..=500).contains(&first.as_millis()));
        assert!(wait(2, None, &random).unwrap() > first);
        assert_eq!(wait(1, Some(Duration::from_secs(30)), &random), Some(Duration::from_secs(30)));
        assert_eq!(wait(1, Some(Duration::from_hours(24)), &random), None);
        assert_eq!(wait(MOST_CALLS, None, &random), None);
    }
}
