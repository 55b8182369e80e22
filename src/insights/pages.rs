//! The findings of an org, worst first; and the page of one finding with its evidence.

use actix_web::{HttpResponse, web};
use askama::Template;
use askama::filters::Safe;
use jiff::Timestamp;
use serde::Deserialize;

use super::analyse::topic;
use super::health::health;
use super::records::{ANALYSES, FINDINGS, Kept};
use super::rules::catalogue::{Area, rule};
use crate::ids::OrgId;
use crate::orgs::records;
use crate::store::{Read, StoreError};
use crate::web::{Crumb, Me, Problem, Shell, Web, page};
use crate::workspace::Viewer;

/// Rows on one page.
const SHOWN: usize = 100;
/// Findings looked at.
const LOOKED_AT: usize = 20_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/o/{org}", web::get().to(health))
        .route("/w/{workspace}/o/{org}/findings", web::get().to(list))
        .route("/w/{workspace}/o/{org}/findings/{finding}", web::get().to(finding));
}

pub fn day(at: Timestamp) -> String {
    at.strftime("%-d %B %Y").to_string()
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    severity: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    area: String,
}

/// A finding as lists show it.
pub struct Row {
    pub print: String,
    pub kept: Kept,
    pub seen: String,
    pub area: &'static str,
    pub effort: &'static str,
}

/// How bad it is, as bars and a word.
pub fn severity(kept: &Kept) -> Safe<String> {
    let class = match kept.rank {
        4.. => "crit",
        3 => "high",
        2 => "med",
        _ => "low",
    };
    let bars: String = [(0.0, 4.0), (3.6, 6.4), (7.2, 8.8), (10.8, 11.2)]
        .iter()
        .zip(1u8..)
        .map(|((x, height), nth)| {
            let tone = if nth <= kept.rank.max(1) { "f" } else { "o" };
            format!(
                "<rect x=\"{x}\" y=\"{:.1}\" width=\"2.4\" height=\"{height}\" rx=\".8\" class=\"{tone}\"/>",
                13.0 - height
            )
        })
        .collect();
    let word: String = kept.severity.chars().filter(char::is_ascii_alphabetic).collect();
    let (first, rest) = word.split_at(word.len().min(1));
    let word = first.to_uppercase() + rest;
    Safe(format!(
        "<span class=\"sev {class}\"><svg viewBox=\"0 0 14 14\" aria-hidden=\"true\">{bars}</svg>{word}</span>"
    ))
}

/// Findings of an org, worst first, the cheaper first of equals.
pub fn worst_first(
    read: &impl Read,
    id: OrgId,
    wanted: impl Fn(&Kept) -> bool,
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    read.scan(&FINDINGS).under(&id).limit(LOOKED_AT).each(|(_, print), kept| {
        if wanted(&kept) {
            let info = rule(&kept.rule);
            let (area, effort) = (info.map_or("", |i| i.area.title()), super::health::effort(&kept.rule));
            rows.push(Row { print, seen: day(kept.first_seen), area, effort, kept });
        }
        true
    })?;
    let minutes = |row: &Row| rule(&row.kept.rule).map_or(0, |info| info.effort_minutes);
    rows.sort_by(|a, b| {
        let order = |r: &Row| (std::cmp::Reverse(r.kept.rank), minutes(r));
        order(a).cmp(&order(b)).then_with(|| {
            (&a.kept.rule, &a.kept.kind, &a.kept.name, a.kept.line).cmp(&(
                &b.kept.rule,
                &b.kept.kind,
                &b.kept.name,
                b.kept.line,
            ))
        })
    });
    Ok(rows)
}

/// How many findings of an org are open, as of its last analysis.
pub fn open_findings(read: &impl Read, id: OrgId) -> Result<usize, StoreError> {
    Ok(read.get(&ANALYSES, &id)?.map_or(0, |analysis| analysis.open as usize))
}

#[derive(Template)]
#[template(path = "insights/findings.html")]
struct FindingsPage {
    shell: Shell,
    slug: String,
    org: String,
    org_name: String,
    topic: String,
    checked: String,
    rows: Vec<Row>,
    total: usize,
    severity: String,
    status: String,
    area: String,
    areas: [&'static str; 6],
}

async fn list(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, String)>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let read = ws.read()?;
    let (id, org) = records::by_slug(&read, &path.1)?.ok_or(Problem::NotFound)?;
    let analysis = read.get(&ANALYSES, &id)?;
    let closed = filter.status == "closed";
    let rows = worst_first(&read, id, |kept| {
        (filter.severity.is_empty() || kept.severity == filter.severity)
            && (filter.area.is_empty()
                || rule(&kept.rule).is_some_and(|info| info.area.title() == filter.area))
            && kept.closed.is_some() == closed
    })?;
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "Findings", &format!("o/{}/findings", org.slug))?;
    let total = rows.len();
    page::render(&FindingsPage {
        shell: shell.under(vec![Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug))]),
        slug,
        org: org.slug,
        org_name: org.name,
        topic: topic(id),
        checked: analysis
            .as_ref()
            .map(|a| a.at.strftime("%-d %B %Y, %H:%M UTC").to_string())
            .unwrap_or_default(),
        rows: rows.into_iter().take(SHOWN).collect(),
        total,
        severity: filter.severity.clone(),
        status: filter.status.clone(),
        area: filter.area.clone(),
        areas: Area::ALL.map(Area::title),
    })
}

#[derive(Template)]
#[template(path = "insights/finding.html")]
struct FindingPage {
    shell: Shell,
    slug: String,
    org: String,
    kept: Kept,
    seen: String,
    closed: String,
    component: bool,
}

async fn finding(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, String, String)>,
) -> Result<HttpResponse, Problem> {
    let read = ws.read()?;
    let (_, org_slug, print) = path.into_inner();
    let (id, org) = records::by_slug(&read, &org_slug)?.ok_or(Problem::NotFound)?;
    let kept = read.get(&FINDINGS, &(id, print))?.ok_or(Problem::NotFound)?;
    let key = (id, kept.kind.clone(), kept.name.clone());
    let component = read.has(&records::COMPONENTS, &key)?;
    let slug = ws.row().slug.clone();
    let base = format!("/w/{slug}/o/{}", org.slug);
    let shell = Shell::workspace(&web, &me, &ws, &kept.name, &format!("o/{}/findings", org.slug))?;
    page::render(&FindingPage {
        shell: shell.under(vec![
            Crumb::new(org.name.clone(), base.clone()),
            Crumb::new("Findings", format!("{base}/findings")),
        ]),
        slug,
        org: org.slug,
        seen: day(kept.first_seen),
        closed: kept.closed.map(day).unwrap_or_default(),
        component,
        kept,
    })
}
