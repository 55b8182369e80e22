//! The catalogue in the search index: brought in line after each sync, asked by the explorer, the API and chat.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::records::{COMPONENTS, Component, ComponentKey, SOURCES, all};
use crate::ids::OrgId;
use crate::jobs::{JobCause, JobContext, JobError, enqueue};
use crate::store::audit::Action;
use crate::store::{Read, StoreError, Table};
use crate::web::Problem;
use crate::workspace::Workspace;
use crate::workspace::index::{Entry, Fragment, IndexError, Shelf, snippet};

/// Queued with the end of each sync, and when an org is disconnected.
pub const INDEX: &str = "org.index";
/// The hash of each component as the index holds it.
pub const INDEXED: Table<ComponentKey, String> = Table::new("components_indexed", 1);

/// Components in one commit of the index.
const BATCH: usize = 400;
/// Text of one component that is indexed, in bytes.
const LARGEST: usize = 256 * 1024;
/// Hits looked at for one that may be of another org.
const LOOKED_AT: usize = 400;
const SNIPPET: usize = 180;

/// A component that answers a search.
#[derive(Clone, Debug)]
pub struct ComponentHit {
    pub org: OrgId,
    pub kind: String,
    pub name: String,
    pub label: String,
    pub snippet: Vec<Fragment>,
    pub score: f32,
}

#[derive(Deserialize)]
struct Args {
    org: OrgId,
}

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Store(error) => error.into(),
            SearchError::Index(error) => Self::Broken(error.to_string()),
        }
    }
}

impl From<IndexError> for JobError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Damaged(_) => Self::Fail(error.to_string()),
            IndexError::Io(_) => Self::Retry(error.to_string()),
        }
    }
}

/// Queues the building of the index of every org from what is kept.
pub async fn rebuild(ws: &Workspace) -> Result<(), StoreError> {
    let (cause, orgs) = (JobCause::of(ws), all(&ws.read()?)?);
    ws.change(Action::OrgIndexed, ws.id(), move |tx| {
        orgs.iter().try_for_each(|(org, _)| enqueue(tx, &cause, INDEX, json!({ "org": org })).map(|_| ()))
    })
    .await
}

/// Brings the index in line with the catalogue of an org; of an org that is gone nothing stays.
pub async fn index(job: JobContext) -> Result<(), JobError> {
    let Args { org } = serde_json::from_value(job.args.clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    let (ws, steps) = job.split();
    let ws = std::sync::Arc::new(ws);
    loop {
        steps.check()?;
        let worker = std::sync::Arc::clone(&ws);
        let done = tokio::task::spawn_blocking(move || batch(&worker, org)).await;
        let changes = done.map_err(|e| JobError::Retry(e.to_string()))??;
        if changes.is_empty() {
            return Ok(());
        }
        ws.change(Action::OrgIndexed, org, move |tx| {
            for (key, hash) in changes {
                match hash {
                    Some(hash) => tx.put(&INDEXED, &key, &hash)?,
                    None => tx.remove(&INDEXED, &key).map(|_| ())?,
                }
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    }
}

type Changes = Vec<(ComponentKey, Option<String>)>;

/// Indexes the next components that differ; answers what the index holds of them now.
fn batch(ws: &Workspace, org: OrgId) -> Result<Changes, JobError> {
    if !ws.index().exists(Shelf::Metadata) {
        // A shelf that was lost, or never was: everything is to be done again.
        if ws.read()?.scan(&INDEXED).limit(1).count()? > 0 {
            return Ok(ws.read()?.scan(&INDEXED).rows()?.into_iter().map(|(key, _)| (key, None)).collect());
        }
    }
    let read = ws.read()?;
    let known: BTreeMap<ComponentKey, String> = read.scan(&INDEXED).under(&org).rows()?.into_iter().collect();
    let mut changes: Changes = Vec::new();
    let mut entries = Vec::new();
    let mut there = std::collections::BTreeSet::new();
    let mut failed = None;
    read.scan(&COMPONENTS).under(&org).each(|key, component| {
        let mark = mark(&component);
        there.insert(key.clone());
        if known.get(&key) != Some(&mark) {
            match read.get(&SOURCES, &key) {
                Ok(source) => entries.push(entry(&key, &component, &source.unwrap_or_default())),
                Err(error) => failed = Some(error),
            }
            changes.push((key, Some(mark)));
        }
        failed.is_none() && changes.len() < BATCH
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if changes.len() < BATCH {
        changes.extend(known.keys().filter(|key| !there.contains(*key)).map(|key| (key.clone(), None)));
    }
    drop(read);
    if !changes.is_empty() {
        let groups: Vec<String> = changes.iter().map(|(key, _)| group(key)).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        match ws.index().replace_all(Shelf::Metadata, &groups, &entries) {
            Err(IndexError::Damaged(why)) => {
                ws.index().reset(Shelf::Metadata)?;
                return Err(JobError::Retry(format!("the search index is built again: {why}")));
            }
            other => other?,
        }
    }
    Ok(changes)
}

/// What changes when the indexed text does: the source, the label, the fields.
fn mark(component: &Component) -> String {
    format!(
        "{} {} {}",
        component.hash,
        component.label.as_deref().unwrap_or_default(),
        component.fields.len()
    )
}

fn group((org, kind, name): &ComponentKey) -> String {
    format!("{org} {kind} {name}")
}

fn key(group: &str) -> Option<ComponentKey> {
    let mut parts = group.splitn(3, ' ');
    Some((parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.to_owned()))
}

fn entry(key: &ComponentKey, component: &Component, source: &str) -> Entry {
    Entry {
        id: String::new(),
        group: group(key),
        number: 0,
        language: None,
        title: key.2.clone(),
        heading: component.label.clone().unwrap_or_default(),
        body: body(key, component, source),
    }
}

/// The text of a component: its names, its fields, its source; of XML only what stands between the tags.
fn body((_, kind, name): &ComponentKey, component: &Component, source: &str) -> String {
    let mut text = format!("{name}\n");
    if let Some(label) = &component.label {
        text.push_str(label);
        text.push('\n');
    }
    for field in &component.fields {
        text.push_str(&format!("{} {}", field.name, field.label));
        if let Some(description) = &field.description {
            text.push_str(&format!(": {description}"));
        }
        text.push('\n');
    }
    let mut cut = source.len().min(LARGEST);
    while !source.is_char_boundary(cut) {
        cut -= 1;
    }
    match kind.as_str() {
        "Flow" | "PermissionSet" | "CustomObject" => text.push_str(&between_tags(&source[..cut])),
        _ => text.push_str(&source[..cut]),
    }
    text
}

fn between_tags(xml: &str) -> String {
    let mut text = String::new();
    for piece in xml.split('<') {
        let inside = piece.split_once('>').map_or("", |(_, inside)| inside).trim();
        if !inside.is_empty() {
            text.push_str(inside);
            text.push('\n');
        }
    }
    text
}

/// Components that answer `text`, best first; of one org, or of all. Blocks.
pub fn search(
    ws: &Workspace,
    org: Option<OrgId>,
    text: &str,
    limit: usize,
) -> Result<Vec<ComponentHit>, SearchError> {
    let found = match ws.index().search(Shelf::Metadata, text, None, true, LOOKED_AT) {
        Err(IndexError::Damaged(why)) => {
            // Thrown away, so that the next run of the job builds it again from the catalogue.
            tracing::error!(workspace = %ws.id(), why, "the metadata index is damaged");
            ws.index().reset(Shelf::Metadata)?;
            return Ok(Vec::new());
        }
        found => found?,
    };
    let read = ws.read()?;
    let mut hits = Vec::new();
    for hit in found.hits {
        let Some(key) = key(&hit.group) else { continue };
        if org.is_some_and(|org| org != key.0) || hits.len() >= limit {
            continue;
        }
        // Gone since it was indexed: the next run of the job removes it.
        let Some(component) = read.get(&COMPONENTS, &key)? else { continue };
        let body = body(&key, &component, &read.get(&SOURCES, &key)?.unwrap_or_default());
        hits.push(ComponentHit {
            snippet: snippet(text, &body, None, SNIPPET),
            org: key.0,
            kind: key.1,
            label: component.label.unwrap_or_default(),
            name: key.2,
            score: hit.score,
        });
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_xml_only_the_text_is_indexed() {
        assert_eq!(between_tags("<Flow><label>Renewal sync</label>\n<x>1</x></Flow>"), "Renewal sync\n1\n");
    }
}
