//! What the org holds at this moment under the paths of a change set, asked of Salesforce itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::package::Part;
use super::records::{ChangeFile, Snapshot};
use super::send::JobFault;
use crate::jobs::{JobError, Steps};
use crate::wire::salesforce::session::Session;
use crate::wire::salesforce::{SalesforceError, zip};

/// Polls of the retrieve: 0.2, 0.4 … 4 seconds apart, about ten minutes in all.
const POLLS: u32 = 150;

/// Calls in a row that the network may spoil.
const SPOILT: u32 = 3;

/// By path of the change set.
pub type Present = BTreeMap<String, Snapshot>;

/// Retrieves the components of the files. What the org does not have comes back as absent.
pub async fn fetch(
    session: &Session,
    files: &[(String, ChangeFile)],
    steps: &Steps,
) -> Result<Present, JobFault> {
    let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, _) in files {
        if let Ok(part) = Part::of(path) {
            members.entry(part.kind).or_default().insert(part.name);
        }
    }
    let types: Vec<(&str, Vec<String>)> =
        members.iter().map(|(kind, names)| (kind.as_str(), names.iter().cloned().collect())).collect();
    let (mut id, mut spoilt) = (None, 0);
    for poll in 0..POLLS {
        let step = match &id {
            None => session.retrieve(&types).await.map(|begun| {
                id = Some(begun);
                None
            }),
            Some(id) => session.retrieved(id).await,
        };
        match step {
            Ok(Some(retrieved)) => {
                let read = tokio::task::spawn_blocking(move || zip::read(&retrieved.zip)).await;
                let entries = read.map_err(|e| JobFault::Job(JobError::Retry(e.to_string())))??;
                return Ok(by_path(files, entries));
            }
            Ok(None) => spoilt = 0,
            // Reading changes nothing: it is asked again while a person waits.
            Err(error) if error.may_pass() && spoilt < SPOILT => spoilt += 1,
            Err(error) => return Err(error.into()),
        }
        let wait = Duration::from_millis((200u64 << poll.min(5)).min(4_000));
        tokio::select! {
            () = steps.cancel.cancelled() => return Err(JobFault::Job(JobError::Cancelled)),
            () = tokio::time::sleep(wait) => {}
        }
    }
    Err(SalesforceError::Unavailable("it did not finish packing what the org holds".into()).into())
}

fn by_path(files: &[(String, ChangeFile)], entries: Vec<zip::Entry>) -> Present {
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    };
    let there: BTreeMap<String, String> = entries.into_iter().map(|e| (e.path, text(e.bytes))).collect();
    let of = |path: &String| {
        let snapshot = Snapshot {
            content: there.get(path).cloned(),
            meta: there.get(&format!("{path}-meta.xml")).cloned(),
        };
        (path.clone(), snapshot)
    };
    files.iter().map(|(path, _)| of(path)).collect()
}
