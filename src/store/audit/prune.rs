//! Lets lines go that have been kept long enough. A checkpoint stays where they ended, under the file's key, so that the rest
//! still verifies; the pruning is a line itself.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::verify::follows;
use super::{AUDIT, AUDIT_CHECKPOINTS, Broken, Checkpoint, Entry, add};
use crate::seal::SubKey;
use crate::store::{Key as _, Read, StoreError, Tx};

/// Lines that leave in one commit, at most.
const MOST: usize = 5_000;

/// How long lines are kept: whole months, never under a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeepFor(u16);

impl KeepFor {
    pub const YEAR: Self = Self(12);

    /// `months`, or a year when that is less.
    pub const fn months(months: u16) -> Self {
        if months < Self::YEAR.0 { Self::YEAR } else { Self(months) }
    }

    /// Lines of this moment or before it leave at `now`. Reckoned by the calendar, in UTC: a year has all its days, and a
    /// line of 29 February leaves on 1 March.
    pub fn ended(self, now: Timestamp) -> Timestamp {
        let then = now.to_zoned_datetime(TimeZone::UTC).checked_sub(i64::from(self.0).months());
        then.map_or(Timestamp::MIN, |then| then.timestamp())
    }
}

impl Default for KeepFor {
    fn default() -> Self {
        Self::YEAR
    }
}

/// What left in one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The first and the last line that left.
    pub first: u64,
    pub last: u64,
    /// Older lines are left: prune again.
    pub more: bool,
}

impl Pruned {
    pub const fn lines(&self) -> u64 {
        self.last + 1 - self.first
    }
}

/// Whether the oldest line is of `until` or before it.
pub fn is_due(read: &impl Read, until: Timestamp) -> Result<bool, StoreError> {
    let oldest = read.scan(&AUDIT).limit(1).rows()?.pop();
    Ok(oldest.is_some_and(|(_, line)| line.at <= until))
}

/// Removes the lines of `until` and before it, at most 5,000, from the front of the chain up to the first younger one, and
/// appends `entry`, which names them. A piece that does not hold stays as it is, for whoever looks into it.
pub fn prune(
    tx: &mut Tx,
    key: &SubKey,
    until: Timestamp,
    entry: Entry,
) -> Result<Result<Option<Pruned>, Broken>, StoreError> {
    let base = tx.scan(&AUDIT_CHECKPOINTS).limit(1).rows()?.pop().filter(|(_, base)| base.pruned);
    let (start, mut before) = match base {
        Some((line, base)) if base.holds(key, line) => (line, base.hash),
        Some((line, _)) => return Ok(Err(Broken::Checkpoint(line))),
        None => (0, String::new()),
    };
    let (mut last, mut more, mut broken) = (start, false, None);
    let range = (std::ops::Bound::Excluded(start.encoded()), std::ops::Bound::Unbounded);
    tx.raw_scan(AUDIT.name, range, false, &mut |mut number, value| {
        let line = u64::read(&mut number).unwrap_or(0);
        if AUDIT.decode(value)?.at > until {
            return Ok(false);
        }
        if last - start >= MOST as u64 {
            more = true;
            return Ok(false);
        }
        match follows(&before, value) {
            Some(hash) if line == last + 1 => (last, before) = (line, hash),
            _ => broken = Some(Broken::Link(line)),
        }
        Ok(broken.is_none())
    })?;
    if let Some(broken) = broken {
        return Ok(Err(broken));
    }
    if last == start {
        return Ok(Ok(None));
    }
    let pruned = Pruned { first: start + 1, last, more };
    for line in pruned.first..=last {
        tx.remove(&AUDIT, &line)?;
    }
    let passed = tx.scan(&AUDIT_CHECKPOINTS).before(&(last + 1)).keys()?;
    for line in passed {
        tx.remove(&AUDIT_CHECKPOINTS, &line)?;
    }
    let base = Checkpoint { at: entry.at, hash: before, after: 0, pruned: true, mac: String::new() };
    tx.put(&AUDIT_CHECKPOINTS, &last, &base.sealed(key, last))?;
    let target = format!("lines {} to {last}", pruned.first);
    add(tx, key, Entry { target, ..entry }, true)?;
    Ok(Ok(Some(pruned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(keep: KeepFor, now: &str) -> String {
        keep.ended(now.parse().unwrap()).to_string()
    }

    #[test]
    fn a_year_has_all_its_days() {
        assert_eq!(ended(KeepFor::YEAR, "2027-11-23T09:00:00Z"), "2026-11-23T09:00:00Z");
        // Over a leap day: 366 days.
        assert_eq!(ended(KeepFor::YEAR, "2028-11-23T09:00:00Z"), "2027-11-23T09:00:00Z");
        // A line of 29 February stays on 28 February and leaves on 1 March.
        assert_eq!(ended(KeepFor::YEAR, "2029-02-28T23:59:59Z"), "2028-02-28T23:59:59Z");
        assert_eq!(ended(KeepFor::YEAR, "2029-03-01T00:00:00Z"), "2028-03-01T00:00:00Z");
    }

    #[test]
    fn no_setting_goes_below_a_year() {
        assert_eq!([KeepFor::months(0), KeepFor::months(11), KeepFor::default()], [KeepFor::YEAR; 3]);
        assert_eq!(ended(KeepFor::months(18), "2027-11-23T09:00:00Z"), "2026-05-23T09:00:00Z");
    }
}
