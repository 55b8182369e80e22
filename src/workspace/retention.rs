//! How long a workspace keeps what it holds: limits in days that its owners set. What removes things asks here; so do
//! pages that say when something will go.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Workspace;
use crate::ids::AccountId;
use crate::store::audit::prune::KeepFor;
use crate::store::{Read, StoreError, Table};

/// One row; none while everything is as at the beginning.
pub const RETENTION: Table<u8, Retention> = Table::new("retention", 1);
/// Audit lines are never kept shorter than a year, in days.
pub const AUDIT_DAYS: u32 = 365;
/// Longest limit, in days.
pub const MOST_DAYS: u32 = 3_650;
/// People are told so long before a stricter limit begins to apply.
pub const NOTICE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Days after which something goes; `None` keeps it until somebody deletes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Since something was said in a chat last. Pinned ones stay.
    pub conversations: Option<u32>,
    /// Since the upload.
    pub documents: Option<u32>,
    /// Since a sync first saw a version of a component; the newest version always stays.
    pub versions: Option<u32>,
    /// Audit lines.
    pub audit: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { conversations: None, documents: None, versions: None, audit: AUDIT_DAYS }
    }
}

impl Limits {
    /// Of each limit the one that keeps longer.
    pub fn looser(self, other: Self) -> Self {
        let longer = |a: Option<u32>, b: Option<u32>| a.zip(b).map(|(a, b)| a.max(b));
        Self {
            conversations: longer(self.conversations, other.conversations),
            documents: longer(self.documents, other.documents),
            versions: longer(self.versions, other.versions),
            audit: self.audit.max(other.audit),
        }
    }
}

/// The limits as set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub limits: Limits,
    /// What held before; where it keeps longer it holds until `applies`.
    pub before: Limits,
    pub applies: Timestamp,
    pub changed: Timestamp,
    pub by: AccountId,
}

impl Retention {
    /// New limits in place of what holds `now`: a stricter one begins after [`NOTICE`], a looser one at once.
    pub fn new(limits: Limits, held: Limits, now: Timestamp, by: AccountId) -> Self {
        let stricter = limits.looser(held) != limits;
        let applies = if stricter { now.checked_add(NOTICE).unwrap_or(Timestamp::MAX) } else { now };
        Self { limits, before: held, applies, changed: now, by }
    }

    /// What holds at a moment.
    pub fn in_force(&self, now: Timestamp) -> Limits {
        if now >= self.applies { self.limits } else { self.limits.looser(self.before) }
    }

    /// When a chat goes in which something was said last at `updated`; `None` while no limit is set.
    pub fn conversation_goes(&self, updated: Timestamp) -> Option<Timestamp> {
        let early = self.limits.looser(self.before).conversations.and_then(|days| after(updated, days));
        let early = early.filter(|at| *at < self.applies);
        let last = self.limits.conversations.and_then(|days| after(updated, days));
        early.or_else(|| last.map(|at| at.max(self.applies)))
    }
}

/// The limits as set; `None` when nobody set any.
pub fn kept(read: &impl Read) -> Result<Option<Retention>, StoreError> {
    read.get(&RETENTION, &0)
}

/// What holds now.
pub fn in_force(read: &impl Read, now: Timestamp) -> Result<Limits, StoreError> {
    Ok(kept(read)?.map(|kept| kept.in_force(now)).unwrap_or_default())
}

/// How long the workspace keeps its audit lines now: a year or more. For what prunes them.
pub fn audit_kept(ws: &Workspace) -> Result<KeepFor, StoreError> {
    Ok(audit_months(in_force(&ws.read()?, ws.clock().now())?.audit))
}

/// Whole months that are at least so many days.
pub fn audit_months(days: u32) -> KeepFor {
    let (years, rest) = (days / AUDIT_DAYS, days % AUDIT_DAYS);
    KeepFor::months(u16::try_from(years * 12 + rest.div_ceil(28)).unwrap_or(u16::MAX))
}

/// The moment `days` before: what is older is due.
pub fn days_before(at: Timestamp, days: u32) -> Timestamp {
    at.checked_sub(SignedDuration::from_hours(i64::from(days) * 24)).unwrap_or(Timestamp::MIN)
}

fn after(at: Timestamp, days: u32) -> Option<Timestamp> {
    at.checked_add(SignedDuration::from_hours(i64::from(days) * 24)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(conversations: Option<u32>) -> Limits {
        Limits { conversations, ..Limits::default() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_stricter_limit_waits_and_the_one_before_holds_meanwhile() {
        let (now, by) = (at("2026-11-01T00:00:00Z"), AccountId::from_bytes([1; 16]));
        let set = Retention::new(limits(Some(30)), limits(Some(90)), now, by);
        assert_eq!(set.applies, at("2026-11-08T00:00:00Z"));
        assert_eq!(set.in_force(at("2026-11-07T23:59:59Z")).conversations, Some(90));
        assert_eq!(set.in_force(set.applies).conversations, Some(30));
        // Quiet for 89 days: the older limit takes it before the new one begins.
        assert_eq!(set.conversation_goes(at("2026-08-04T00:00:00Z")), Some(at("2026-11-02T00:00:00Z")));
        assert_eq!(set.conversation_goes(at("2026-10-01T00:00:00Z")), Some(set.applies));
        assert_eq!(set.conversation_goes(now), Some(at("2026-12-01T00:00:00Z")));
    }

    #[test]
    fn audit_lines_stay_at_least_so_many_days() {
        assert_eq!(audit_months(365), KeepFor::YEAR);
        assert_eq!(audit_months(0), KeepFor::YEAR);
        assert_eq!(audit_months(730), KeepFor::months(24));
        for days in [366, 400, 500, 1_000, MOST_DAYS] {
            let now = at("2027-03-01T00:00:00Z");
            assert!(audit_months(days).ended(now) <= days_before(now, days), "{days}");
        }
    }

    #[test]
    fn a_looser_limit_holds_at_once() {
        let (now, by) = (at("2026-11-01T00:00:00Z"), AccountId::from_bytes([1; 16]));
        for (wanted, held) in [(None, Some(30)), (Some(60), Some(30)), (Some(30), Some(30))] {
            let set = Retention::new(limits(wanted), limits(held), now, by);
            assert_eq!((set.applies, set.in_force(now).conversations), (now, wanted));
        }
        assert_eq!(Retention::new(limits(None), limits(Some(30)), now, by).conversation_goes(now), None);
    }
}
