//! The metadata explorer and the page of a component: source, fields, who changed it and when, what changed
//! between syncs.

use std::collections::HashSet;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::pages::{KINDS, shown};
use super::records::{self, COMPONENTS, Component, ComponentKey, HISTORY, SOURCES};
use super::search::search;
use crate::apex::{Language, Span, highlight};
use crate::store::Read as _;
use crate::web::diff::{self, Diff};
use crate::web::{Crumb, Me, Problem, Shell, Web, page};
use crate::workspace::Viewer;

/// Rows on one page.
const SHOWN: usize = 100;
/// Components looked at for one filtered page.
const LOOKED_AT: usize = 50_000;
/// Components that are added because their text says the words.
const FOUND_BY_TEXT: usize = 50;
/// Lines of source on a page.
const LINES: usize = 5_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/o/{org}/metadata", web::get().to(list))
        .route("/w/{workspace}/o/{org}/metadata/{kind}/{name}", web::get().to(component));
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    q: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    from: usize,
}

struct Row {
    kind: String,
    name: String,
    label: String,
    modified: String,
    by: String,
    size: u64,
}

#[derive(Template)]
#[template(path = "orgs/metadata.html")]
struct MetadataPage {
    shell: Shell,
    slug: String,
    org: String,
    q: String,
    kind: String,
    kinds: [(&'static str, &'static str); 6],
    rows: Vec<Row>,
    matches: usize,
    synced: String,
    older: Option<usize>,
}

async fn list(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, String)>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let (id, org) = records::by_slug(&ws.read()?, &path.1)?.ok_or(Problem::NotFound)?;
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "Metadata", &format!("o/{}/metadata", org.slug))?;
    let shell = shell.under(vec![Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug))]);
    let (q, kind, from) = (filter.q.trim().to_lowercase(), filter.kind.clone(), filter.from);
    let found = web::block(move || -> Result<Vec<(ComponentKey, Component)>, Problem> {
        let read = ws.read()?;
        let mut found = Vec::new();
        let scan = read.scan(&COMPONENTS).limit(LOOKED_AT);
        let wanted_kind = kind.clone();
        let scan = if kind.is_empty() { scan.under(&id) } else { scan.under(&(id, kind)) };
        scan.each(|key, component| {
            let label = component.label.as_deref().unwrap_or_default().to_lowercase();
            let fields = || component.fields.iter().any(|f| f.name.to_lowercase().contains(&q));
            if q.is_empty() || key.2.to_lowercase().contains(&q) || label.contains(&q) || fields() {
                found.push((key, component));
            }
            true
        })?;
        // Behind the names that hold the words: everything else that says them.
        let known: HashSet<ComponentKey> = found.iter().map(|(key, _)| key.clone()).collect();
        if q.chars().count() > 1 {
            for hit in search(&ws, Some(id), &q, FOUND_BY_TEXT)? {
                let key = (hit.org, hit.kind, hit.name);
                let wanted = wanted_kind.is_empty() || key.1 == wanted_kind;
                if wanted
                    && !known.contains(&key)
                    && let Some(component) = read.get(&COMPONENTS, &key)?
                {
                    found.push((key, component));
                }
            }
        }
        Ok(found)
    })
    .await??;
    let matches = found.len();
    let rows = found.into_iter().skip(from).take(SHOWN).map(|((_, kind, name), c)| Row {
        kind,
        name,
        label: c.label.unwrap_or_default(),
        modified: c.modified.map(shown).unwrap_or_default(),
        by: c.modified_by,
        size: c.lines,
    });
    page::render(&MetadataPage {
        shell,
        slug,
        org: org.slug,
        q: filter.q.clone(),
        kind: filter.kind.clone(),
        kinds: KINDS,
        rows: rows.collect(),
        matches,
        synced: org.last_sync.map(|r| shown(r.at)).unwrap_or_default(),
        older: (matches > from + SHOWN).then_some(from + SHOWN),
    })
}

#[derive(Deserialize)]
struct Shown {
    /// Number of the version to compare with the one before it.
    v: Option<u64>,
}

struct HistoryRow {
    number: u64,
    change: &'static str,
    seen: String,
    modified: String,
    by: String,
}

#[derive(Template)]
#[template(path = "orgs/component.html")]
struct ComponentPage {
    shell: Shell,
    slug: String,
    org: String,
    kind: String,
    name: String,
    component: Option<Component>,
    modified: String,
    synced: String,
    lines: Vec<Vec<Span>>,
    cut: bool,
    history: Vec<HistoryRow>,
    diff_of: Option<u64>,
    diff: Diff,
}

async fn component(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, String, String, String)>,
    query: web::Query<Shown>,
) -> Result<HttpResponse, Problem> {
    let (_, org_slug, kind, name) = path.into_inner();
    let read = ws.read()?;
    let (id, org) = records::by_slug(&read, &org_slug)?.ok_or(Problem::NotFound)?;
    let key: ComponentKey = (id, kind.clone(), name.clone());
    let component = read.get(&COMPONENTS, &key)?;
    let versions = read.scan(&HISTORY).under(&key).reverse().limit(50).rows()?;
    if component.is_none() && versions.is_empty() {
        return Err(Problem::NotFound);
    }
    let source = read.get(&SOURCES, &key)?.unwrap_or_default();
    let version =
        |n: u64| versions.iter().find(|((_, number), _)| *number == n).and_then(|(_, v)| v.source.as_deref());
    let compared = query.v.map(|n| {
        let of = |n: u64| version(n).unwrap_or_default().to_owned();
        (of(n.saturating_sub(1)), of(n))
    });
    let history = versions.iter().map(|((_, number), v)| HistoryRow {
        number: *number,
        change: v.change.label(),
        seen: shown(v.seen),
        modified: v.modified.map(shown).unwrap_or_default(),
        by: v.modified_by.clone(),
    });
    drop(read);
    let language = Language::of_path(component.as_ref().map_or("", |c| c.file.as_str()));
    let cut = source.lines().count() > LINES;
    let (lines, diff) = web::block(move || {
        let diff = compared.map(|(before, after)| diff::unified(&before, &after, language, &[]));
        (highlight(&source, language), diff.unwrap_or_default())
    })
    .await?;
    let lines = lines.into_iter().take(LINES).map(|line| line.0).collect();
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, &name, &format!("o/{}/metadata", org.slug))?;
    let base = format!("/w/{slug}/o/{}", org.slug);
    page::render(&ComponentPage {
        shell: shell.under(vec![
            Crumb::new(org.name.clone(), base.clone()),
            Crumb::new("Metadata", format!("{base}/metadata")),
        ]),
        modified: component.as_ref().and_then(|c| c.modified).map(shown).unwrap_or_default(),
        synced: component.as_ref().map(|c| shown(c.synced)).unwrap_or_default(),
        cut,
        lines,
        history: history.collect(),
        diff_of: query.v,
        diff,
        slug,
        org: org.slug,
        kind,
        name,
        component,
    })
}
