//! What a filter form or a query of the API asks for, from text to what the log reads by.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::log::{Chain, Wanted, Who};
use crate::store::audit::Action;
use crate::web::Problem;
use crate::web::table_file::Format;

/// A filter as it stands in a URL; empty = all.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Asked {
    #[serde(default)]
    pub of: Chain,
    /// An account id, `operator`, `schedule` or `visitor`.
    #[serde(default)]
    pub person: String,
    #[serde(default)]
    pub action: String,
    #[serde(default)]
    pub target: String,
    #[serde(default)]
    pub request: String,
    /// A day such as 2026-11-23, or a moment of RFC 3339.
    #[serde(default)]
    pub from: String,
    /// The last day, included; or the first moment that is too late.
    #[serde(default)]
    pub to: String,
    /// Only lines before this one.
    #[serde(default, skip_serializing)]
    pub before: Option<u64>,
    #[serde(default, skip_serializing)]
    pub format: Format,
}

/// A field of the filter that means nothing, with what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub field: &'static str,
    pub said: &'static str,
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        Self::field(wrong.field, wrong.said)
    }
}

impl Asked {
    /// What is wanted; days are those of the zone (IANA name, empty or unknown = UTC).
    pub fn wanted(&self, zone: &str) -> Result<Wanted, Wrong> {
        let zone = jiff::tz::db().get(zone).unwrap_or(TimeZone::UTC);
        let filled = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let wrong = |field, said| Wrong { field, said };
        let who = filled(&self.person).map(|text| {
            Who::parse(&text)
                .ok_or_else(|| wrong("person", "Choose a person, or operator, schedule or visitor."))
        });
        let action = filled(&self.action).map(|text| {
            let action = Action::ALL.iter().find(|action| action.name() == text);
            action.copied().ok_or_else(|| wrong("action", "There is no such act."))
        });
        let request = filled(&self.request).map(|text| {
            text.to_lowercase().parse().map_err(|_| wrong("request", "A request id has 26 characters."))
        });
        let from = filled(&self.from).map(|text| {
            moment(&text, &zone, 0).ok_or_else(|| wrong("from", "Give a day such as 2026-11-23."))
        });
        let before = filled(&self.to)
            .map(|text| moment(&text, &zone, 1).ok_or_else(|| wrong("to", "Give a day such as 2026-11-23.")));
        Ok(Wanted {
            who: who.transpose()?,
            action: action.transpose()?,
            target: self.target.trim().to_lowercase(),
            request: request.transpose()?,
            from: from.transpose()?,
            before: before.transpose()?,
            ..Wanted::default()
        })
    }

    /// The filter as the query of a URL, without what is empty.
    pub fn query(&self) -> String {
        let all = serde_urlencoded::to_string(self).unwrap_or_default();
        let says = |pair: &&str| !pair.ends_with('=') && *pair != "of=contents";
        all.split('&').filter(says).collect::<Vec<_>>().join("&")
    }

    /// The same with the line to go on before.
    pub fn onward(&self) -> String {
        let before = self.before.map(|line| format!("before={line}"));
        let parts = [Some(self.query()).filter(|query| !query.is_empty()), before];
        parts.into_iter().flatten().collect::<Vec<_>>().join("&")
    }

    /// Whether it leaves anything out.
    pub fn is_filter(&self) -> bool {
        let Self { person, action, target, request, from, to, .. } = self;
        [person, action, target, request, from, to].iter().any(|text| !text.trim().is_empty())
    }
}

/// A moment, or the beginning of a day so many days later.
fn moment(text: &str, zone: &TimeZone, later: i64) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let day = text.parse::<Date>().ok()?.checked_add(later.days()).ok()?;
    day.to_zoned_datetime(zone.clone()).ok().map(|begins| begins.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_zone_and_the_last_one_counts() {
        let asked = Asked { from: "2026-11-23".into(), to: "2026-11-23".into(), ..Asked::default() };
        let wanted = asked.wanted("Europe/Berlin").unwrap();
        let moments = [wanted.from, wanted.before].map(|at| at.unwrap().to_string());
        assert_eq!(moments, ["2026-11-22T23:00:00Z", "2026-11-23T23:00:00Z"]);
        let asked = Asked { to: "2026-11-23T10:00:00Z".into(), ..Asked::default() };
        assert_eq!(asked.wanted("").unwrap().before.unwrap().to_string(), "2026-11-23T10:00:00Z");
    }

    #[test]
    fn what_means_nothing_is_named() {
        let wrong = |asked: Asked| asked.wanted("").unwrap_err().field;
        assert_eq!(wrong(Asked { person: "nobody".into(), ..Asked::default() }), "person");
        assert_eq!(wrong(Asked { action: "x".into(), ..Asked::default() }), "action");
        assert_eq!(wrong(Asked { request: "x".into(), ..Asked::default() }), "request");
        assert_eq!(wrong(Asked { from: "yesterday".into(), ..Asked::default() }), "from");
        assert_eq!(wrong(Asked { to: "2026-13-01".into(), ..Asked::default() }), "to");
    }

    #[test]
    fn a_filter_is_a_url() {
        let asked = Asked { of: Chain::Members, target: "a&b".into(), before: Some(7), ..Asked::default() };
        assert_eq!(asked.query(), "of=members&target=a%26b");
        assert_eq!(asked.onward(), "of=members&target=a%26b&before=7");
        assert!(asked.is_filter() && !Asked::default().is_filter());
        assert_eq!(Asked::default().query(), "");
    }
}
