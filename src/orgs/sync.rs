//! The sync job: what the org holds now, compared with the catalogue. A handful of API calls whatever the
//! size: limits, describe, one retrieve or one for each type. It can be cancelled and begun again at any point:
//! each component is stored with its version in one commit, and an unchanged one is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring::digest;

use crate::ids::OrgId;
use crate::jobs::{JobCause, JobContext, JobError, Steps, enqueue};
use crate::meter::{self, Act, Event, Feature};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::wire::salesforce::session::Session;
use crate::wire::salesforce::soap::{FileProperties, Retrieved};
use crate::wire::salesforce::{SalesforceError, zip};
use crate::workspace::Worker;

use super::access::{AccessError, session};
use super::records::{
    COMPONENTS, Change, Component, ComponentKey, Field, HISTORY, LimitReading, ORGS, SOURCES, SyncRun,
    Version,
};
use super::search::INDEX;
use super::{Orgs, describe_fields, notices};

/// Name of this kind of job.
pub const SYNC: &str = "org.sync";
/// Queued with the end of each sync; the feature list says who takes it.
pub const SYNCED: &str = "org.synced";

/// Types that are retrieved with all their members.
const TYPES: [&str; 6] =
    ["ApexClass", "ApexTrigger", "CustomObject", "Flow", "LightningComponentBundle", "PermissionSet"];
/// The type whose components are folders: the script stands for the bundle.
const BUNDLE: &str = "LightningComponentBundle";
/// Standard objects whose customisations are read, as far as the org has them: a wildcard leaves them out.
const STANDARD: [&str; 8] =
    ["Account", "Asset", "Case", "Contact", "Contract", "Lead", "Opportunity", "User"];
/// Components stored in one commit.
const BATCH: usize = 100;
/// Source that is kept, in bytes; a larger file is listed without it.
const LARGEST_SOURCE: usize = 1 << 20;
/// Polls of a retrieve: 0.2, 0.4 … 8 seconds apart, about twenty minutes in all.
const POLLS: u32 = 150;

pub async fn run(orgs: Orgs, job: JobContext) -> Result<(), JobError> {
    let id: OrgId =
        serde_json::from_value(job.args["org"].clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    let (ws, steps) = job.split();
    let ws = Arc::new(ws);
    let result = sync(&orgs, &ws, &steps, id).await;
    match &result {
        Err(JobError::Fail(why)) => notices::sync_failed(&ws, id, why).await?,
        Err(JobError::Retry(why)) if steps.is_last_try() => notices::sync_failed(&ws, id, why).await?,
        _ => {}
    }
    result
}

/// Neither cancelled nor restricted meanwhile.
fn going_on(ws: &Worker, steps: &Steps) -> Result<(), JobError> {
    if let Some(why) = ws.hindered() {
        return Err(JobError::Fail(format!("{why}. Nothing more was sent.")));
    }
    steps.check()
}

async fn sync(orgs: &Orgs, ws: &Arc<Worker>, steps: &Steps, id: OrgId) -> Result<(), JobError> {
    going_on(ws, steps)?;
    let topic = format!("org:{id}");
    let session = match session(orgs, ws, id, format!("sync {} of {id}", steps.id)) {
        Err(AccessError::Gone) => return Ok(()),
        other => other.map_err(failed)?,
    };
    let done = with(&session, ws, steps, id, &topic).await;
    // However it went, the calls were made.
    let used = Event::new(ws.counted(), Feature::Orgs).org(Some(id));
    let used = used.count(Act::FeatureUsed, 1).count(Act::SalesforceCall, session.calls());
    let now = ws.clock().now();
    ws.note(move |tx| meter::record(tx, now, &used)).await?;
    done
}

async fn with(
    session: &Session,
    ws: &Arc<Worker>,
    steps: &Steps,
    id: OrgId,
    topic: &str,
) -> Result<(), JobError> {
    steps.progress(ws, topic, "Reading limits and objects", 0, 0);
    let may = || {
        steps.called(session.calls());
        going_on(ws, steps)
    };
    let limits = session.limits().await.map_err(|e| failed(e.into()))?;
    let present: BTreeSet<String> =
        session.objects().await.map_err(|e| failed(e.into()))?.into_iter().map(|o| o.name).collect();
    may()?;
    steps.progress(ws, topic, "Asking for metadata", 0, 0);
    let retrieved = retrieve(session, &present, steps, ws, topic).await?;
    let described = describe_fields::all(session, &present, &STANDARD, |n, of| {
        let goes_on = may().is_ok();
        steps.progress(ws, topic, "Reading standard objects", n, of);
        goes_on
    })
    .await
    .map_err(|e| failed(e.into()))?;
    may()?;
    let messages = retrieved.iter().flat_map(|r| r.messages.clone()).collect();
    let found = tokio::task::spawn_blocking(move || {
        let parts = retrieved.into_iter().map(|one| read(one, &described));
        parts.collect::<Result<Vec<_>, _>>().map(|parts| parts.into_iter().flatten().collect::<Vec<_>>())
    })
    .await;
    let found = found.map_err(|e| JobError::Retry(e.to_string()))?.map_err(|e| failed(e.into()))?;
    let total = found.len() as u64;
    let mut changed = 0;
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let mut left = found.into_iter().peekable();
    while left.peek().is_some() {
        may()?;
        let batch: Vec<Found> = left.by_ref().take(BATCH).collect();
        seen.extend(batch.iter().map(|f| (f.kind.clone(), f.name.clone())));
        changed += store(ws, id, batch).await?;
        steps.progress(ws, topic, "Storing components", seen.len() as u64, total);
    }
    changed += remove_absent(ws, id, seen).await?;
    finish(ws, id, session, limits, total, changed, messages).await
}

/// Sentences of failures say whether trying again may help.
fn failed(error: AccessError) -> JobError {
    match error {
        AccessError::Salesforce(e) if e.may_pass() => JobError::Retry(e.to_string()),
        AccessError::Store(e) => e.into(),
        other => JobError::Fail(other.to_string()),
    }
}

/// All types in one retrieve, or type by type where the org is too large for that.
async fn retrieve(
    session: &Session,
    present: &BTreeSet<String>,
    steps: &Steps,
    ws: &Worker,
    topic: &str,
) -> Result<Vec<Retrieved>, JobError> {
    let members = |kind: &str| {
        let standard = STANDARD.iter().filter(|name| kind == "CustomObject" && present.contains(**name));
        std::iter::once("*").chain(standard.copied()).map(str::to_owned).collect()
    };
    let types: Vec<(&str, Vec<String>)> = TYPES.iter().map(|kind| (*kind, members(kind))).collect();
    match retrieve_once(session, &types, steps, ws, topic).await {
        Ok(retrieved) => return Ok(vec![retrieved]),
        Err(NotRetrieved::TooManyFiles) => {}
        Err(NotRetrieved::Other(error)) => return Err(error),
    }
    let mut all = Vec::new();
    for one in types.chunks(1) {
        match retrieve_once(session, one, steps, ws, topic).await {
            Ok(retrieved) => all.push(retrieved),
            Err(NotRetrieved::TooManyFiles) => return Err(failed(SalesforceError::TooManyFiles.into())),
            Err(NotRetrieved::Other(error)) => return Err(error),
        }
    }
    Ok(all)
}

enum NotRetrieved {
    TooManyFiles,
    Other(JobError),
}

impl From<SalesforceError> for NotRetrieved {
    fn from(error: SalesforceError) -> Self {
        match error {
            SalesforceError::TooManyFiles => Self::TooManyFiles,
            other => Self::Other(failed(other.into())),
        }
    }
}

async fn retrieve_once(
    session: &Session,
    types: &[(&str, Vec<String>)],
    steps: &Steps,
    ws: &Worker,
    topic: &str,
) -> Result<Retrieved, NotRetrieved> {
    let may = || {
        steps.called(session.calls());
        going_on(ws, steps).map_err(NotRetrieved::Other)
    };
    may()?;
    let id = session.retrieve(types).await?;
    for poll in 0..POLLS {
        may()?;
        if let Some(retrieved) = session.retrieved(&id).await? {
            return Ok(retrieved);
        }
        steps.progress(ws, topic, "Salesforce is packing the metadata", u64::from(poll) + 1, 0);
        let wait = Duration::from_millis((200u64 << poll.min(6)).min(8_000));
        tokio::select! {
            () = steps.cancel.cancelled() => return Err(NotRetrieved::Other(JobError::Cancelled)),
            () = tokio::time::sleep(wait) => {}
        }
    }
    let text = "Salesforce did not finish packing the metadata in time";
    Err(NotRetrieved::Other(JobError::Retry(text.into())))
}

/// A component as this sync found it.
struct Found {
    kind: String,
    name: String,
    source: String,
    properties: FileProperties,
    fields: Vec<Field>,
}

/// Brings files, their properties and described fields together.
fn read(
    retrieved: Retrieved,
    described: &BTreeMap<String, Vec<Field>>,
) -> Result<Vec<Found>, SalesforceError> {
    let mut files: BTreeMap<String, Vec<u8>> =
        zip::read(&retrieved.zip)?.into_iter().map(|entry| (entry.path, entry.bytes)).collect();
    let mut found = Vec::new();
    for mut properties in retrieved.files {
        if properties.kind == BUNDLE {
            // Listed file by file: the script comes once and stands for the bundle.
            properties.file_name = format!("lwc/{0}/{0}.js", properties.full_name);
        }
        let path = properties.file_name.trim_start_matches("unpackaged/").to_owned();
        let Some(bytes) = files.remove(&path) else { continue };
        let source =
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        let fields = if properties.kind == "CustomObject" {
            describe_fields::merge(&source, described.get(&properties.full_name))
        } else {
            Vec::new()
        };
        let (kind, name) = (properties.kind.clone(), properties.full_name.clone());
        found.push(Found { kind, name, source, properties, fields });
    }
    Ok(found)
}

/// Stores what is new or changed; answers how many that were.
async fn store(ws: &Worker, id: OrgId, batch: Vec<Found>) -> Result<u64, JobError> {
    let now = ws.clock().now();
    let changed = ws
        .note(move |tx| {
            let mut changed = 0;
            for found in batch {
                let key: ComponentKey = (id, found.kind.clone(), found.name.clone());
                let hash =
                    crate::seal::hex(digest::digest(&digest::SHA256, found.source.as_bytes()).as_ref());
                let before = tx.get(&COMPONENTS, &key)?;
                if before.as_ref().is_some_and(|b| b.hash == hash && b.fields == found.fields) {
                    continue;
                }
                changed += 1;
                let same_source = before.as_ref().is_some_and(|b| b.hash == hash);
                let component = component(&found, hash, now);
                if !same_source {
                    let change = if before.is_some() { Change::Changed } else { Change::Added };
                    let kept = (found.source.len() <= LARGEST_SOURCE).then_some(found.source);
                    let version = Version {
                        seen: now,
                        change,
                        modified: component.modified,
                        modified_by: component.modified_by.clone(),
                        source: kept.clone(),
                    };
                    add_version(tx, &key, &version)?;
                    tx.put(&SOURCES, &key, &kept.unwrap_or_default())?;
                }
                tx.put(&COMPONENTS, &key, &component)?;
            }
            Ok::<_, StoreError>(changed)
        })
        .await?;
    Ok(changed)
}

fn component(found: &Found, hash: String, now: Timestamp) -> Component {
    let p = &found.properties;
    Component {
        salesforce_id: p.id.clone(),
        label: describe_fields::label(&found.source, &found.kind),
        namespace: p.namespace.clone(),
        file: p.file_name.trim_start_matches("unpackaged/").to_owned(),
        hash,
        bytes: found.source.len() as u64,
        lines: found.source.lines().count() as u64,
        modified: p.last_modified,
        modified_by: p.last_modified_by.clone(),
        synced: now,
        fields: found.fields.clone(),
    }
}

fn add_version(
    tx: &mut crate::workspace::Change<'_>,
    key: &ComponentKey,
    version: &Version,
) -> Result<(), StoreError> {
    let last = tx.scan(&HISTORY).under(key).reverse().limit(1).rows()?;
    let number = last.first().map_or(0, |((_, n), _)| *n) + 1;
    tx.put(&HISTORY, &(key.clone(), number), version)
}

/// Components that the org no longer has leave the catalogue; their history stays and says so.
async fn remove_absent(ws: &Worker, id: OrgId, seen: BTreeSet<(String, String)>) -> Result<u64, JobError> {
    let now = ws.clock().now();
    let removed = ws
        .note(move |tx| {
            let mut gone = Vec::new();
            tx.scan(&COMPONENTS).under(&id).each(|key, _| {
                if TYPES.contains(&key.1.as_str()) && !seen.contains(&(key.1.clone(), key.2.clone())) {
                    gone.push(key);
                }
                true
            })?;
            for key in &gone {
                let version = Version {
                    seen: now,
                    change: Change::Removed,
                    modified: None,
                    modified_by: String::new(),
                    source: None,
                };
                add_version(tx, key, &version)?;
                tx.remove(&COMPONENTS, key)?;
                tx.remove(&SOURCES, key)?;
            }
            Ok::<_, StoreError>(gone.len() as u64)
        })
        .await?;
    Ok(removed)
}

async fn finish(
    ws: &Worker,
    id: OrgId,
    session: &Session,
    limits: BTreeMap<String, crate::wire::salesforce::rest::Limit>,
    components: u64,
    changed: u64,
    messages: Vec<String>,
) -> Result<(), JobError> {
    let run = SyncRun { at: ws.clock().now(), api_calls: session.calls(), components, changed, messages };
    let limits: BTreeMap<String, LimitReading> = limits
        .into_iter()
        .map(|(name, l)| (name, LimitReading { max: l.max, remaining: l.remaining }))
        .collect();
    let cause = JobCause::of(ws);
    ws.change(Action::OrgSynced, id, move |tx| {
        if let Some(mut org) = tx.get(&ORGS, &id)? {
            enqueue(tx, &cause, SYNCED, serde_json::json!({ "org": id }))?;
            enqueue(tx, &cause, INDEX, serde_json::json!({ "org": id }))?;
            super::notices::limits_over(tx, &cause, id, &org, &limits)?;
            org.last_sync = Some(run);
            org.limits = limits;
            org.signed_out = None;
            tx.put(&ORGS, &id, &org)?;
        }
        tx.announce(format!("org:{id}"));
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(())
}
