//! LIM-001: an org limit that is nearly used up.

use super::Limit;
use super::finding::{Hit, Severity};

/// Share of use from which it counts, and from which it is high.
const NEAR: f64 = 0.80;
const CLOSE: f64 = 0.90;

pub(super) fn check(limit: &Limit) -> Vec<Hit> {
    if limit.max <= 0 {
        return Vec::new();
    }
    let used = limit.max.saturating_sub(limit.remaining).max(0);
    let share = used as f64 / limit.max as f64;
    if share < NEAR {
        return Vec::new();
    }
    let severity = if share < CLOSE { Severity::Medium } else { Severity::High };
    let message = format!(
        "{} is {:.0} % used: {used} of {}, {} left.",
        limit.name,
        share * 100.0,
        limit.max,
        limit.remaining.max(0)
    );
    vec![Hit::on_line("LIM-001", 1, "", message).severity(severity)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity(max: i64, remaining: i64) -> Option<Severity> {
        check(&Limit { name: "DailyApiRequests".into(), max, remaining }).pop().and_then(|hit| hit.severity)
    }

    #[test]
    fn a_limit_counts_from_80_percent_and_is_high_from_90() {
        assert_eq!(severity(100, 21), None);
        assert_eq!(severity(100, 20), Some(Severity::Medium));
        assert_eq!(severity(100, 10), Some(Severity::High));
        assert_eq!(severity(100, -5), Some(Severity::High));
    }

    #[test]
    fn a_limit_the_org_does_not_have_never_counts() {
        assert_eq!(severity(0, 0), None);
        assert_eq!(severity(-1, 0), None);
        assert_eq!(severity(5, 9), None);
    }
}
