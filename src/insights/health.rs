//! The health of an org on one page: score with its areas, sync, limits, and what to fix first.

use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::{SignedDuration, Timestamp};

use super::analyse::topic;
use super::gauge;
use super::pages::{Row, day, worst_first};
use super::records::{ANALYSES, Analysis, SCORES};
use super::rules::catalogue::{Area, rule};
use crate::identity::Role;
use crate::ids::OrgId;
use crate::orgs::records::{self, Org};
use crate::orgs::{self, Limit, Orgs, SyncState};
use crate::store::{Read, StoreError};
use crate::web::{Crumb, Me, Problem, Shell, Web, page};
use crate::workspace::Viewer;

/// Findings and limits that the page shows.
const FIRST: usize = 5;
const FULLEST: usize = 4;
/// How far back the line of scores goes.
const WEEKS: i64 = 12;

#[derive(Template)]
#[template(path = "insights/health.html")]
struct HealthPage {
    shell: Shell,
    slug: String,
    org: Org,
    topic: String,
    insights_topic: String,
    last: String,
    sync: SyncState,
    counts: Vec<(&'static str, String)>,
    may_sync: bool,
    may_change: bool,
    analysis: Option<Analysis>,
    areas: Vec<AreaRow>,
    gauge: Vec<gauge::Tick>,
    line: Option<gauge::Line>,
    trend: Option<(i64, String)>,
    limits: Vec<Limit>,
    all_limits: usize,
    rows: Vec<Row>,
    open: usize,
}

/// One area of the score.
struct AreaRow {
    name: String,
    icon: &'static str,
    value: Option<u32>,
    /// What is found in it, in words.
    found: String,
}

impl AreaRow {
    fn tone(&self) -> &'static str {
        match self.value {
            Some(..60) => "bad",
            Some(60..80) => "warn",
            _ => "",
        }
    }
}

pub async fn health(
    web: web::Data<Web>,
    service: web::Data<Orgs>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let read = ws.read()?;
    let (id, org) = records::by_slug(&read, &path.1)?.ok_or(Problem::NotFound)?;
    let slug = ws.row().slug.clone();
    let analysis = read.get(&ANALYSES, &id)?;
    let (rows, open) = first_to_fix(&read, id)?;
    let limits = orgs::limits(&org);
    let scores = scores(&read, id, web.clock.now())?;
    let shell = Shell::workspace(&web, &me, &ws, "Org health", &format!("o/{}", org.slug))?;
    page::render(&HealthPage {
        shell: shell.under(vec![Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug))]),
        slug,
        topic: format!("org:{id}"),
        insights_topic: topic(id),
        last: org.last_sync.as_ref().map(|r| orgs::shown(r.at)).unwrap_or_default(),
        sync: orgs::sync_state(&service, &ws, &org)?,
        counts: orgs::counts(&read, id)?.into_iter().map(|(label, n)| (label, page::grouped(n))).collect(),
        may_sync: ws.role() >= Role::Member,
        may_change: ws.role() >= Role::Admin,
        areas: analysis.as_ref().map(areas).unwrap_or_default(),
        gauge: gauge::ticks(analysis.as_ref().map_or(0, |a| a.score)),
        line: gauge::Line::through(&scores.iter().map(|(_, score)| *score).collect::<Vec<_>>()),
        trend: trend(&scores, web.clock.now()),
        analysis,
        all_limits: limits.len(),
        limits: limits.into_iter().take(FULLEST).collect(),
        rows,
        open,
        org,
    })
}

/// The worst findings, the cheaper first of equals; one for each rule and component.
fn first_to_fix(read: &impl Read, id: OrgId) -> Result<(Vec<Row>, usize), StoreError> {
    let all = worst_first(read, id, |kept| kept.closed.is_none())?;
    let open = all.len();
    let mut rows: Vec<Row> = Vec::new();
    for row in all {
        if !rows.iter().any(|r| r.kept.rule == row.kept.rule && r.kept.name == row.kept.name) {
            rows.push(row);
        }
        // Beyond this many a better one can't follow: they are sorted.
        if rows.len() >= FIRST {
            break;
        }
    }
    Ok((rows, open))
}

fn areas(analysis: &Analysis) -> Vec<AreaRow> {
    let icon = |name: &str| match Area::ALL.into_iter().find(|area| area.title() == name) {
        Some(Area::AccessAndSharing) => "lock-keyhole",
        Some(Area::ApexCode) => "code",
        Some(Area::Automation) => "workflow",
        Some(Area::DataModel) => "table-2",
        Some(Area::Limits) => "gauge",
        Some(Area::Tests) => "flask-conical",
        None => "activity",
    };
    let found = |area: &super::records::Area| {
        let parts: Vec<String> =
            area.findings.iter().map(|(severity, number)| format!("{number} {severity}")).collect();
        if parts.is_empty() { "Nothing found".to_owned() } else { parts.join(", ") }
    };
    let row = |area: &super::records::Area| AreaRow {
        icon: icon(&area.name),
        found: if area.value.is_some() { found(area) } else { "Nothing to check".into() },
        name: area.name.clone(),
        value: area.value,
    };
    analysis.areas.iter().map(row).collect()
}

/// Scores of the last weeks, oldest first: the last of each day.
fn scores(read: &impl Read, id: OrgId, now: Timestamp) -> Result<Vec<(Timestamp, u32)>, StoreError> {
    let since = now - SignedDuration::from_hours(WEEKS * 7 * 24);
    let mut found: Vec<(Timestamp, u32)> = Vec::new();
    for ((_, millis), score) in read.scan(&SCORES).under(&id).limit(20_000).rows()? {
        let Ok(at) = Timestamp::from_millisecond(millis.cast_signed()) else { continue };
        let same_day = found
            .last()
            .is_some_and(|(last, _)| at.strftime("%F").to_string() == last.strftime("%F").to_string());
        if same_day {
            found.pop();
        }
        if at >= since {
            found.push((at, score));
        }
    }
    Ok(found)
}

/// How the score moved since a week ago, or since the oldest reading: points, and the day it is compared with.
fn trend(scores: &[(Timestamp, u32)], now: Timestamp) -> Option<(i64, String)> {
    let (_, newest) = scores.last()?;
    let week = now - SignedDuration::from_hours(7 * 24);
    let (at, before) = scores.iter().rev().find(|(at, _)| *at <= week).or(scores.first())?;
    (scores.len() > 1).then(|| (i64::from(*newest) - i64::from(*before), day(*at)))
}

/// What a fix takes, as people say it.
pub fn effort(rule_id: &str) -> &'static str {
    match rule(rule_id).map_or(0, |info| info.effort_minutes) {
        0 => "",
        1..=15 => "Minutes",
        16..=45 => "About ½ h",
        46..=90 => "About 1 h",
        91..=150 => "About 2 h",
        151..=300 => "Half a day",
        _ => "A day or more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_trend_compares_with_a_week_ago_and_needs_two_readings() {
        let now = at("2026-11-23T12:00:00Z");
        let scores = [
            (at("2026-11-01T00:00:00Z"), 60),
            (at("2026-11-15T00:00:00Z"), 70),
            (at("2026-11-20T00:00:00Z"), 90),
            (at("2026-11-23T00:00:00Z"), 74),
        ];
        assert_eq!(trend(&scores, now), Some((4, "15 November 2026".into())));
        assert_eq!(trend(&scores[3..], now), None);
        assert_eq!(trend(&scores[2..], now), Some((-16, "20 November 2026".into())));
    }
}
