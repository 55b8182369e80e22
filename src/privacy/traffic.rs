//! Reads the egress ledger: sums by host, and the lines themselves, for one person, one workspace or the instance.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};
use serde::Deserialize;

use crate::egress::{Line, Purpose};
use crate::ids::AccountId;
use crate::ledger::{DAYS, LINES, Sums, day};
use crate::store::{Read, StoreError};

/// Lines looked at for one filtered page.
const LOOKED_AT: usize = 20_000;
/// Lines on one page.
pub const SHOWN: usize = 50;

/// How far back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    #[default]
    Month,
    Year,
}

impl Period {
    pub const ALL: [Self; 3] = [Self::Day, Self::Month, Self::Year];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    pub const fn label(self) -> &'static str {
        match self {
            Self::Day => "Today",
            Self::Month => "This month",
            Self::Year => "12 months",
        }
    }

    /// Where it begins, at midnight UTC.
    pub fn begins(self, now: Timestamp) -> Timestamp {
        let today = now.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let first = match self {
            Self::Day => today,
            Self::Month => today.first_of_month(),
            Self::Year => today.saturating_sub(1.year()),
        };
        first.to_zoned_datetime(jiff::tz::TimeZone::UTC).map_or(Timestamp::MIN, |zoned| zoned.timestamp())
    }
}

/// Whose calls are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Everybodys,
    Own(AccountId),
}

impl Whose {
    fn fits(self, account: Option<AccountId>) -> bool {
        match self {
            Self::Everybodys => true,
            Self::Own(id) => account == Some(id),
        }
    }
}

/// What went to one host.
#[derive(Debug, Default)]
pub struct Host {
    pub name: String,
    pub purposes: BTreeSet<&'static str>,
    pub carries: BTreeSet<&'static str>,
    pub icon: &'static str,
    /// Who asked; `None` is a schedule.
    pub asked: BTreeSet<Option<AccountId>>,
    pub sums: Sums,
}

/// The hosts called since `from`, the most used first, and the sum of all.
pub fn by_host(read: &impl Read, from: Timestamp, whose: Whose) -> Result<(Vec<Host>, Sums), StoreError> {
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    let mut all = Sums::default();
    read.scan(&DAYS).from(&day(from)).each(|(_, name, part), sums| {
        if whose.fits(part.account) {
            all.add(sums);
            let host = hosts.entry(name).or_default();
            host.sums.add(sums);
            host.purposes.insert(part.purpose.label());
            host.carries.insert(part.purpose.carries());
            host.icon = icon(part.purpose);
            host.asked.insert(part.account);
        }
        true
    })?;
    let mut hosts: Vec<Host> = hosts.into_iter().map(|(name, host)| Host { name, ..host }).collect();
    hosts.sort_by_key(|host| std::cmp::Reverse(host.sums.sent_bytes + host.sums.received_bytes));
    Ok((hosts, all))
}

fn icon(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Mail => "mail",
        Purpose::Model => "bot",
        Purpose::Salesforce | Purpose::SalesforceLogin => "cloud",
        Purpose::Sso => "key-round",
    }
}

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub from: Timestamp,
    pub whose: Whose,
    /// Part of a host, a purpose or a reason; empty = all.
    pub text: String,
    /// Exactly this host; empty = all.
    pub host: String,
}

impl Wanted {
    fn fits(&self, line: &Line) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.text);
        self.whose.fits(line.account)
            && (self.host.is_empty() || line.host == self.host)
            && (self.text.is_empty()
                || has(&line.host)
                || has(&line.why)
                || has(line.purpose.label())
                || line.refused.as_deref().is_some_and(has))
    }
}

/// Key of a line: millisecond and number.
pub type Key = (u64, u64);

/// The newest lines that fit before `before`, and where to go on looking when something may be left.
pub fn newest(
    read: &impl Read,
    wanted: &Wanted,
    before: Option<Key>,
) -> Result<(Vec<Line>, Option<Key>), StoreError> {
    let from = u64::try_from(wanted.from.as_millisecond()).unwrap_or(0);
    let mut scan = read.scan(&LINES).from(&from).reverse().limit(LOOKED_AT);
    if let Some(key) = before {
        scan = scan.before(&key);
    }
    let (mut lines, mut looked_at, mut last) = (Vec::new(), 0, None);
    scan.each(|key, line| {
        (looked_at, last) = (looked_at + 1, Some(key));
        if wanted.fits(&line) {
            lines.push(line);
        }
        lines.len() < SHOWN
    })?;
    let more = lines.len() == SHOWN || looked_at == LOOKED_AT;
    Ok((lines, last.filter(|_| more)))
}

/// At most `limit` lines looked at after `after`, oldest first: those that fit, and where to go on.
pub fn range(
    read: &impl Read,
    wanted: &Wanted,
    after: Option<Key>,
    limit: usize,
) -> Result<(Vec<Line>, Option<Key>), StoreError> {
    let from = u64::try_from(wanted.from.as_millisecond()).unwrap_or(0);
    let scan = read.scan(&LINES).limit(limit);
    let scan = match &after {
        Some(key) => scan.after(key),
        None => scan.from(&from),
    };
    let (mut lines, mut last) = (Vec::new(), None);
    scan.each(|key, line| {
        last = Some(key);
        if wanted.fits(&line) {
            lines.push(line);
        }
        true
    })?;
    Ok((lines, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_at_midnight() {
        let now: Timestamp = "2026-11-23T13:05:00Z".parse().unwrap();
        let begins = Period::ALL.map(|period| period.begins(now).to_string());
        assert_eq!(begins, ["2026-11-23T00:00:00Z", "2026-11-01T00:00:00Z", "2025-11-23T00:00:00Z"]);
    }
}
