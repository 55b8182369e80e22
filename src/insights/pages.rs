//! The findings of an org, worst first, with the score; and the page of one finding with its evidence.

use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;

use super::analyse::topic;
use super::records::{ANALYSES, Analysis, FINDINGS, Kept};
use crate::orgs::records;
use crate::store::Read as _;
use crate::web::{Crumb, Me, Problem, Shell, Web, page};
use crate::workspace::Viewer;

/// Rows on one page.
const SHOWN: usize = 100;
/// Findings looked at.
const LOOKED_AT: usize = 20_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/o/{org}/findings", web::get().to(list))
        .route("/w/{workspace}/o/{org}/findings/{finding}", web::get().to(finding));
}

fn day(at: Timestamp) -> String {
    at.strftime("%-d %B %Y").to_string()
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    severity: String,
    #[serde(default)]
    status: String,
}

struct Row {
    print: String,
    kept: Kept,
    seen: String,
}

#[derive(Template)]
#[template(path = "insights/findings.html")]
struct FindingsPage {
    shell: Shell,
    slug: String,
    org: String,
    org_name: String,
    topic: String,
    analysis: Option<Analysis>,
    checked: String,
    rows: Vec<Row>,
    total: usize,
    severity: String,
    status: String,
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
    let mut rows: Vec<(String, Kept)> = Vec::new();
    read.scan(&FINDINGS).under(&id).limit(LOOKED_AT).each(|(_, print), kept| {
        let wanted = filter.severity.is_empty() || kept.severity == filter.severity;
        if wanted && kept.closed.is_some() == closed {
            rows.push((print, kept));
        }
        true
    })?;
    rows.sort_by(|(_, a), (_, b)| {
        (b.rank, &a.rule, &a.kind, &a.name, a.line).cmp(&(a.rank, &b.rule, &b.kind, &b.name, b.line))
    });
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "Findings", "orgs")?;
    let total = rows.len();
    let rows =
        rows.into_iter().take(SHOWN).map(|(print, kept)| Row { print, seen: day(kept.first_seen), kept });
    page::render(&FindingsPage {
        shell: shell.under(vec![
            Crumb::new("Orgs", format!("/w/{slug}/orgs")),
            Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug)),
        ]),
        slug,
        org: org.slug,
        org_name: org.name,
        topic: topic(id),
        checked: analysis
            .as_ref()
            .map(|a| a.at.strftime("%-d %B %Y, %H:%M UTC").to_string())
            .unwrap_or_default(),
        analysis,
        rows: rows.collect(),
        total,
        severity: filter.severity.clone(),
        status: filter.status.clone(),
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
    let shell = Shell::workspace(&web, &me, &ws, &kept.name, "orgs")?;
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
