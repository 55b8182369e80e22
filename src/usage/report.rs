//! The sums of a range of days, whole and by what people ask for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Deserialize;

use crate::identity::{Control, Role};
use crate::ids::{AccountId, OrgId};
use crate::meter::{Facet, Feature, Sums, records};
use crate::orgs::records::ORGS;
use crate::store::{Read, StoreError};
use crate::workspace::Viewer;

/// What the rows of a report stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Day,
    Feature,
    #[default]
    Member,
    Model,
    Org,
}

impl By {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Feature => "feature",
            Self::Member => "member",
            Self::Model => "model",
            Self::Org => "org",
        }
    }

    pub const fn label(self) -> &'static str {
        match self {
            Self::Day => "Day",
            Self::Feature => "Feature",
            Self::Member => "Member",
            Self::Model => "Model",
            Self::Org => "Org",
        }
    }
}

/// Whose numbers somebody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    Everybodys,
    Own(AccountId),
}

impl Whole {
    /// Everybody's for admins and owners, else the person's own.
    pub fn of(ws: &Viewer) -> Self {
        if ws.role() >= Role::Admin { Self::Everybodys } else { Self::Own(ws.account()) }
    }

    pub fn holds(self, facet: &Facet) -> bool {
        match self {
            Self::Everybodys => true,
            Self::Own(id) => facet.account == Some(id),
        }
    }
}

/// One row: its id for interfaces (empty where there is none) and its name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: String,
    pub name: String,
    pub sums: Sums,
}

/// A range of days, summed.
#[derive(Debug, Default)]
pub struct Report {
    pub total: Sums,
    /// Days in order, without those on which nothing was used; everything else by tokens, the most first.
    pub rows: Vec<Row>,
    /// Members who used the chat.
    pub active: usize,
}

impl Report {
    /// From `first` to `last`, both included. Blocks.
    pub fn read(
        read: &impl Read,
        control: &Control,
        (first, last): (Date, Date),
        whole: Whole,
        by: By,
    ) -> Result<Self, StoreError> {
        let mut report = Self::default();
        let mut rows: BTreeMap<Group, Sums> = BTreeMap::new();
        let mut active = BTreeSet::new();
        records::between(read, first, last, |day, facet, sums| {
            if !whole.holds(&facet) {
                return;
            }
            report.total.add(&sums);
            if facet.feature == Feature::Chat {
                active.extend(facet.account);
            }
            if let Some(group) = Group::of(by, day, facet) {
                rows.entry(group).or_default().add(&sums);
            }
        })?;
        report.active = active.len();
        for (group, sums) in rows {
            let (key, name) = group.named(read, control)?;
            report.rows.push(Row { key, name, sums });
        }
        if by != By::Day {
            report.rows.sort_by_key(|row| std::cmp::Reverse((row.sums.tokens(), row.sums.cost_nano_usd)));
        }
        Ok(report)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Account(Option<AccountId>),
    Day(Date),
    Feature(Feature),
    Model(String),
    Org(Option<OrgId>),
}

impl Group {
    /// Where a row belongs; what called no model belongs to none.
    fn of(by: By, day: Date, facet: Facet) -> Option<Self> {
        Some(match by {
            By::Day => Self::Day(day),
            By::Feature => Self::Feature(facet.feature),
            By::Member => Self::Account(facet.account),
            By::Model if facet.model.is_empty() => return None,
            By::Model => Self::Model(facet.model),
            By::Org => Self::Org(facet.org),
        })
    }

    fn named(self, read: &impl Read, control: &Control) -> Result<(String, String), StoreError> {
        Ok(match self {
            Self::Account(id) => (id.map(|id| id.to_string()).unwrap_or_default(), person(control, id)?),
            Self::Day(day) => (day.to_string(), day.strftime("%-d %B %Y").to_string()),
            Self::Feature(feature) => (feature.name().into(), feature.label().into()),
            Self::Model(model) => (model.clone(), model),
            Self::Org(id) => (id.map(|id| id.to_string()).unwrap_or_default(), org(read, id)?),
        })
    }
}

/// The name of somebody who used something.
pub fn person(control: &Control, id: Option<AccountId>) -> Result<String, StoreError> {
    let Some(id) = id else { return Ok("Schedule".into()) };
    Ok(control.account(id)?.map_or_else(|| "Deleted account".into(), |account| account.name))
}

/// The name of an org that something was used in.
pub fn org(read: &impl Read, id: Option<OrgId>) -> Result<String, StoreError> {
    let Some(id) = id else { return Ok("No org".into()) };
    Ok(read.get(&ORGS, &id)?.map_or_else(|| "Disconnected org".into(), |org| org.name))
}

/// A month of the calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(Date);

impl Month {
    pub fn of(day: Date) -> Self {
        Self(day.first_of_month())
    }

    /// `2026-11`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        if year.len() != 4 || month.len() != 2 {
            return None;
        }
        let month = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok().map(Self)?;
        Some(month).filter(|month| month.name() == text)
    }

    pub fn first(self) -> Date {
        self.0
    }

    pub fn last(self) -> Date {
        self.0.last_of_month()
    }

    /// How its URLs and files call it.
    pub fn name(self) -> String {
        self.0.strftime("%Y-%m").to_string()
    }

    pub fn label(self) -> String {
        self.0.strftime("%B %Y").to_string()
    }

    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1.month()))
    }

    /// The months from the first in which something was used to `today`'s, newest first.
    pub fn used(read: &impl Read, today: Date) -> Result<Vec<Self>, StoreError> {
        const MOST: usize = 36;
        let mut first = Self::of(today);
        read.scan(&records::DAYS).limit(1).each(|(day, _), _| {
            first = first.min(Self::of(records::date_of(day)));
            true
        })?;
        let months = std::iter::successors(Some(Self::of(today)), |month| Some(month.before()));
        Ok(months.take_while(|month| *month >= first).take(MOST).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_written_in_one_way() {
        let month = Month::parse("2026-02").unwrap();
        assert_eq!(
            (month.first().to_string(), month.last().to_string()),
            ("2026-02-01".into(), "2026-02-28".into())
        );
        assert_eq!(
            (month.name(), month.label(), month.before().name()),
            ("2026-02".into(), "February 2026".into(), "2026-01".into())
        );
        for bad in ["", "2026", "2026-13", "2026-2", "26-02", "2026-02-01", "-026-02", "2026-+2"] {
            assert_eq!(Month::parse(bad), None, "{bad}");
        }
    }
}
