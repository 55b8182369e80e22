//! Capacity: what the workspace takes on the disk and what its orgs' API calls take of their limit, with where both are going.

use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::civil::Date;

use super::forecast::{ENOUGH, Expected, Line};
use super::samples::{DAILY_CALLS, SAMPLES, Sample};
use crate::ids::OrgId;
use crate::knowledge;
use crate::meter::{Act, records};
use crate::orgs::records as orgs;
use crate::store::{Read, StoreError};
use crate::web::page::{grouped, size};
use crate::web::{Me, Problem, Shell, Web, page};
use crate::workspace::Admin;

/// Days that a line is drawn through, and how far it goes on.
const PAST: u32 = 90;
const AHEAD: u32 = 30;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/usage/capacity", web::get().to(show));
}

type Day = (u32, Sample);

/// A part of what is kept.
struct Kind {
    name: &'static str,
    what: &'static str,
    now: u64,
    /// What it took at the beginning of the past that is looked at.
    before: Option<(Date, u64)>,
    expected: Option<Expected>,
}

impl Kind {
    fn new(
        name: &'static str,
        what: &'static str,
        now: u64,
        past: &[Day],
        of: impl Fn(&Sample) -> u64,
    ) -> Self {
        let points: Vec<(u32, u64)> = past.iter().map(|(day, sample)| (*day, of(sample))).collect();
        let last = points.last().map_or(0, |(day, _)| *day);
        Self {
            name,
            what,
            now,
            before: points.first().map(|(day, amount)| (records::date_of(*day), *amount)),
            expected: Line::through(&points).map(|line| line.at(last + AHEAD)),
        }
    }

    /// `+12.0 MB since 1 Nov`.
    fn change(&self) -> String {
        let Some((day, before)) = self.before else { return String::new() };
        let since = day.strftime("%-d %b");
        match self.now.checked_sub(before) {
            Some(0) => format!("As on {since}"),
            Some(more) => format!("+{} since {since}", size(more)),
            None => format!("−{} since {since}", size(before - self.now)),
        }
    }
}

/// The API calls of an org.
struct Calls {
    org: String,
    used: u64,
    max: u64,
    /// What this instance called today, UTC.
    ours: u64,
    expected: Option<Expected>,
    history: usize,
}

impl Calls {
    fn percent(&self) -> u64 {
        self.used.saturating_mul(100) / self.max.max(1)
    }
}

/// All that is kept, drawn: the past, the line on, its band.
struct Drawn {
    past: String,
    line: String,
    band: String,
    ticks: Vec<(String, String, String)>,
    labels: Vec<(String, &'static str, String)>,
    said: String,
}

#[derive(Template)]
#[template(path = "usage/capacity.html")]
struct CapacityPage {
    shell: Shell,
    slug: String,
    kinds: Vec<Kind>,
    total: Kind,
    drawn: Option<Drawn>,
    /// Newest first.
    days: Vec<(Date, Sample)>,
    calls: Vec<Calls>,
    documents: u64,
    quota: u64,
    /// The day on which the documents come to their limit, if they go on like this.
    full: Option<Date>,
}

impl CapacityPage {
    fn history(&self) -> usize {
        self.days.len()
    }

    fn quota_percent(&self) -> u64 {
        let percent = u128::from(self.documents) * 100 / u128::from(self.quota.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

async fn show(web: web::Data<Web>, me: Me, ws: Admin) -> Result<HttpResponse, Problem> {
    let shell = Shell::workspace(&web, &me, &ws, "Capacity", "usage")?;
    let slug = ws.row().slug.clone();
    let quota = web.control.quota(ws.id())?.bytes;
    let today = records::day_of(records::date(web.clock.now()));
    let view = web::block(move || -> Result<_, StoreError> {
        let read = ws.read()?;
        let past = read.scan(&SAMPLES).from(&today.saturating_sub(PAST)).rows()?;
        let now = ws.space().map_err(StoreError::Io)?;
        let now = Sample { keyspace: now.keyspace, index: now.index, blobs: now.blobs, ..Sample::default() };
        let documents = knowledge::records::totals(&read)?.bytes;
        Ok((calls(&read, &past, today)?, past, now, documents))
    });
    let (calls, past, now, documents) = view.await??;
    let kinds = vec![
        Kind::new("Files", "Uploads and packages", now.blobs, &past, |s| s.blobs),
        Kind::new("Search index", "Built from documents and metadata", now.index, &past, |s| s.index),
        Kind::new("Database", "Chats, metadata, findings, usage, audit", now.keyspace, &past, |s| s.keyspace),
    ];
    let total = Kind::new("All of it", "On the disk of the server", now.bytes(), &past, Sample::bytes);
    let files: Vec<(u32, u64)> = past.iter().map(|(day, sample)| (*day, sample.blobs)).collect();
    let full = Line::through(&files).and_then(|line| line.reaches(quota, today)).map(records::date_of);
    page::render(&CapacityPage {
        shell,
        slug,
        kinds,
        total,
        drawn: draw(&past),
        days: past.into_iter().rev().map(|(day, sample)| (records::date_of(day), sample)).collect(),
        calls,
        documents,
        quota,
        full,
    })
}

fn calls(read: &impl Read, past: &[Day], today: u32) -> Result<Vec<Calls>, StoreError> {
    let mut ours: Vec<(OrgId, u64)> = Vec::new();
    let day = records::date_of(today);
    records::between(read, day, day, |_, facet, sums| {
        ours.extend(facet.org.map(|org| (org, sums.of(Act::SalesforceCall))));
    })?;
    let mut rows = Vec::new();
    for (id, org) in orgs::all(read)? {
        let Some(reading) = org.limits.get(DAILY_CALLS) else { continue };
        let of_day = |(day, sample): &Day| {
            let reading = sample.orgs.get(&id)?;
            Some((*day, reading.max.saturating_sub(reading.remaining)))
        };
        let points: Vec<(u32, u64)> = past.iter().filter_map(of_day).collect();
        let last = points.last().map_or(0, |(day, _)| *day);
        rows.push(Calls {
            used: reading.max.saturating_sub(reading.remaining),
            max: reading.max,
            ours: ours.iter().filter(|(org, _)| *org == id).map(|(_, calls)| *calls).sum(),
            expected: Line::through(&points).map(|line| line.at(last + AHEAD)),
            history: points.len(),
            org: org.name,
        });
    }
    Ok(rows)
}

/// `None` without enough history.
fn draw(past: &[Day]) -> Option<Drawn> {
    const LEFT: f64 = 64.0;
    const RIGHT: f64 = 1080.0;
    const TOP: f64 = 10.0;
    const GROUND: f64 = 204.0;
    let points: Vec<(u32, u64)> = past.iter().map(|(day, sample)| (*day, sample.bytes())).collect();
    let line = Line::through(&points)?;
    let (first, last) = (points.first()?.0, points.last()?.0);
    let end = last + AHEAD;
    let highest = points.iter().map(|(_, bytes)| *bytes).chain([line.at(end).high]).max()?.max(1);
    #[expect(clippy::cast_precision_loss, reason = "a place in a drawing")]
    let y = |bytes: u64| GROUND - bytes as f64 / highest as f64 * (GROUND - TOP);
    let x = |day: u32| LEFT + f64::from(day - first) / f64::from(end - first) * (RIGHT - LEFT);
    let place = |day: u32, bytes: u64| format!("{:.1},{:.1}", x(day), y(bytes));
    let join = |places: Vec<String>| places.join(" ");
    let ahead: Vec<(u32, Expected)> = (last..=end).step_by(5).map(|day| (day, line.at(day))).collect();
    let low = ahead.iter().map(|(day, e)| place(*day, e.low));
    let high = ahead.iter().rev().map(|(day, e)| place(*day, e.high));
    let day_name = |day: u32| records::date_of(day).strftime("%-d %b").to_string();
    let tick = |part: u64| {
        let bytes = highest / 4 * part;
        (format!("{:.1}", y(bytes)), format!("{:.1}", y(bytes) + 4.0), size(bytes))
    };
    Some(Drawn {
        past: join(points.iter().map(|(day, bytes)| place(*day, *bytes)).collect()),
        line: join(ahead.iter().map(|(day, e)| place(*day, e.likely)).collect()),
        band: join(low.chain(high).collect()),
        ticks: (0..=4).map(tick).collect(),
        labels: vec![
            (format!("{:.1}", x(first)), "start", day_name(first)),
            (format!("{:.1}", x(last)), "middle", day_name(last)),
            (format!("{:.1}", x(end)), "end", day_name(end)),
        ],
        said: format!(
            "{} on {}. About {} on {}, if it goes on like this.",
            size(points.last()?.1),
            day_name(last),
            size(line.at(end).likely),
            day_name(end)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(days: u32) -> Vec<Day> {
        (0..days)
            .map(|n| (20_000 + n, Sample { blobs: 1_000_000 * u64::from(n + 1), ..Sample::default() }))
            .collect()
    }

    #[test]
    fn a_drawing_needs_a_week() {
        assert!(draw(&past(6)).is_none());
        let drawn = draw(&past(8)).unwrap();
        assert_eq!(drawn.past.split(' ').count(), 8);
        assert!(
            drawn.line.starts_with(drawn.past.split(' ').next_back().unwrap()),
            "the line goes on from the past"
        );
        assert_eq!(drawn.said, "8.00 MB on 11 Oct. About 38.0 MB on 10 Nov, if it goes on like this.");
    }

    #[test]
    fn a_change_is_said_in_words() {
        let past = past(8);
        let kind = |now| Kind::new("Files", "", now, &past, Sample::bytes).change();
        assert_eq!(kind(3_500_000), "+2.50 MB since 4 Oct");
        assert_eq!([kind(1_000_000), kind(400_000)], ["As on 4 Oct", "−600 KB since 4 Oct"]);
        assert_eq!(Kind::new("Files", "", 5, &[], Sample::bytes).change(), "");
    }
}
