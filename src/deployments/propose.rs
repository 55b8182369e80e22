//! Drafting: a change set is proposed, its files are edited, it is discarded, a deployment is taken back by a new
//! one. Nothing here calls Salesforce.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::checks;
use super::package::{self, Part};
use super::records::{
    CHANGE_FILES, CHANGE_SETS, ChangeFile, ChangeSet, Check, RUNS, RunKind, RunState, SNAPSHOTS, files, topic,
};
use crate::ids::{AccountId, ChangeSetId, ConversationId, DeploymentId, OrgId};
use crate::orgs::records::{COMPONENTS, ORGS, SOURCES};
use crate::store::audit::Action;
use crate::store::{Read, StoreError};
use crate::web::Problem;
use crate::workspace::{Change, Workspace};

/// Files of one change set, and their bytes in all.
const MOST_FILES: usize = 100;
const LARGEST: usize = 5 << 20;
const LONGEST_TITLE: usize = 200;
const LONGEST_SUMMARY: usize = 10_000;
const MOST_TESTS: usize = 100;

/// A file as somebody proposes it.
#[derive(Clone, Debug)]
pub struct ProposedFile {
    /// As in an mdapi package or an SFDX project.
    pub path: String,
    /// `None` deletes the component.
    pub content: Option<String>,
}

/// A change set as somebody proposes it.
#[derive(Clone, Debug)]
pub struct NewChangeSet {
    pub org: OrgId,
    pub title: String,
    pub summary: String,
    pub files: Vec<ProposedFile>,
    pub tests: Vec<String>,
    pub conversation: Option<ConversationId>,
}

/// What became of a proposal.
#[derive(Clone, Debug)]
pub struct Proposed {
    pub id: ChangeSetId,
    /// What the checks before Salesforce say; it was kept all the same.
    pub problems: Vec<String>,
}

/// Keeps a change set as a draft. Nothing is sent anywhere.
pub async fn propose(ws: &Workspace, new: NewChangeSet) -> Result<Proposed, Problem> {
    keep(ws, new, None).await
}

async fn keep(
    ws: &Workspace,
    new: NewChangeSet,
    rolls_back: Option<DeploymentId>,
) -> Result<Proposed, Problem> {
    let NewChangeSet { org, title, summary, files, tests, conversation } = new;
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    if title.is_empty() || title.chars().count() > LONGEST_TITLE {
        return Err(Problem::field("title", format!("A title has 1 to {LONGEST_TITLE} characters.")));
    }
    if summary.chars().count() > LONGEST_SUMMARY {
        return Err(Problem::field("summary", format!("A summary has up to {LONGEST_SUMMARY} characters.")));
    }
    let files = normalised(files)?;
    let tests = test_names(tests)?;
    let id = ChangeSetId::new(ws.clock(), ws.random());
    let (now, by) = (ws.clock().now(), ws.actor().account());
    ws.change(Action::ChangeSetProposed, id, move |tx| {
        if !tx.has(&ORGS, &org)? {
            return Err(Problem::NotFound);
        }
        let mut drafted = Vec::new();
        for (path, content) in files {
            let base = base(&**tx, org, &path)?;
            let file = ChangeFile { content, base };
            tx.put(&CHANGE_FILES, &(id, path.clone()), &file)?;
            drafted.push((path, file));
        }
        let problems = checks::check(&**tx, org, &drafted, &tests)?;
        let set = ChangeSet {
            org,
            title,
            summary,
            author: by,
            editors: by.into_iter().collect(),
            conversation,
            created: now,
            changed: now,
            tests,
            draft: 1,
            hash: package::hash_of(&drafted),
            problems,
            validation: None,
            deployment: None,
            ready_until: None,
            rolls_back,
            discarded: None,
        };
        tx.put(&CHANGE_SETS, &id, &set)?;
        announce(tx, id, org);
        Ok(Proposed { id, problems: set.problems.iter().map(Check::sentence).collect() })
    })
    .await
}

/// Tells the page of the change set and the list of its org.
pub(super) fn announce(tx: &mut Change<'_>, id: ChangeSetId, org: OrgId) {
    tx.announce(topic(id));
    tx.announce(list_topic(org));
}

/// The list of an org's change sets listens to this.
pub fn list_topic(org: OrgId) -> String {
    format!("deployments:{org}")
}

fn normalised(files: Vec<ProposedFile>) -> Result<Vec<(String, Option<String>)>, Problem> {
    if files.is_empty() || files.len() > MOST_FILES {
        return Err(Problem::field("files", format!("A change set has 1 to {MOST_FILES} files.")));
    }
    if files.iter().filter_map(|f| f.content.as_ref()).map(String::len).sum::<usize>() > LARGEST {
        return Err(Problem::TooLarge(format!("The files of a change set may have {} MB.", LARGEST >> 20)));
    }
    let mut by_path = BTreeMap::new();
    for file in files {
        let part = Part::of(&file.path).map_err(|why| Problem::field("files", why))?;
        if part.is_meta && file.content.is_none() {
            return Err(Problem::field("files", format!("{}: delete the component itself.", part.path)));
        }
        let again = format!("{} stands there twice.", part.path);
        if by_path.insert(part.path, file.content).is_some() {
            return Err(Problem::field("files", again));
        }
    }
    Ok(by_path.into_iter().collect())
}

fn test_names(tests: Vec<String>) -> Result<Vec<String>, Problem> {
    let mut names: Vec<String> =
        tests.into_iter().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect();
    names.sort();
    names.dedup();
    let plain = |name: &String| crate::wire::salesforce::rest::is_api_name(name);
    if names.len() > MOST_TESTS || !names.iter().all(plain) {
        return Err(Problem::field("tests", format!("Give up to {MOST_TESTS} names of test classes.")));
    }
    Ok(names)
}

/// Hash of what the org held at the last sync.
pub(super) fn base(read: &impl Read, org: OrgId, path: &str) -> Result<Option<String>, StoreError> {
    let Ok(part) = Part::of(path) else { return Ok(None) };
    let component = read.get(&COMPONENTS, &(org, part.kind, part.name))?;
    Ok(component.filter(|c| c.file == part.path).map(|c| c.hash))
}

/// What the org held under a path at the last sync.
pub(super) fn synced(read: &impl Read, org: OrgId, path: &str) -> Result<Option<String>, StoreError> {
    let Ok(part) = Part::of(path) else { return Ok(None) };
    let key = (org, part.kind, part.name);
    match read.get(&COMPONENTS, &key)? {
        Some(component) if component.file == part.path => read.get(&SOURCES, &key),
        _ => Ok(None),
    }
}

/// Why an edit was not kept.
#[derive(Debug)]
pub enum EditError {
    /// Somebody else changed the file since the page was loaded: what stands there now.
    Moved(String),
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for EditError {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// Replaces the content of a file. `seen` is the SHA-256 of what the person edited.
pub async fn edit(
    ws: &Workspace,
    id: ChangeSetId,
    path: &str,
    seen: &str,
    content: String,
) -> Result<(), EditError> {
    let part = Part::of(path).map_err(|why| Problem::field("file", why))?;
    let (now, by, seen) = (ws.clock().now(), ws.actor().account(), seen.to_owned());
    ws.change(Action::ChangeSetEdited, id, move |tx| {
        let mut set = tx.get(&CHANGE_SETS, &id)?.ok_or(Problem::NotFound)?;
        open(&**tx, &set)?;
        let key = (id, part.path);
        let mut file = tx.get(&CHANGE_FILES, &key)?.ok_or(Problem::NotFound)?;
        let stands = file.content.clone().unwrap_or_default();
        if package::sha256(stands.as_bytes()) != seen {
            return Err(EditError::Moved(stands));
        }
        file.content = Some(content);
        tx.put(&CHANGE_FILES, &key, &file)?;
        redrafted(tx, id, &mut set, now, by)?;
        Ok(())
    })
    .await
}

/// A change set that can still change.
pub(super) fn open(read: &impl Read, set: &ChangeSet) -> Result<(), Problem> {
    if set.discarded.is_some() {
        return Err(Problem::Conflict("This change set was discarded. Nothing was changed.".into()));
    }
    for run in [set.deployment, set.validation].into_iter().flatten() {
        let Some(run) = read.get(&RUNS, &run)? else { continue };
        if run.kind == RunKind::Deploy && run.state == RunState::Succeeded {
            let said = "This change set is deployed, so it stays as it is. Nothing was changed.";
            return Err(Problem::Conflict(said.into()));
        }
        if !run.state.is_over() {
            let said =
                "It is being validated or deployed at the moment. Nothing was changed; cancel that, or wait.";
            return Err(Problem::Conflict(said.into()));
        }
    }
    Ok(())
}

/// A new draft: the validation and the approval of the one before no longer hold.
fn redrafted(
    tx: &mut Change<'_>,
    id: ChangeSetId,
    set: &mut ChangeSet,
    now: Timestamp,
    by: Option<AccountId>,
) -> Result<(), Problem> {
    let files = files(&**tx, id)?;
    if files.iter().filter_map(|(_, f)| f.content.as_ref()).map(String::len).sum::<usize>() > LARGEST {
        return Err(Problem::TooLarge(format!("The files of a change set may have {} MB.", LARGEST >> 20)));
    }
    set.draft += 1;
    set.ready_until = None;
    set.changed = now;
    set.hash = package::hash_of(&files);
    set.problems = checks::check(&**tx, set.org, &files, &set.tests)?;
    if let Some(by) = by.filter(|by| !set.editors.contains(by)) {
        set.editors.push(by);
    }
    tx.put(&CHANGE_SETS, &id, set)?;
    announce(tx, id, set.org);
    Ok(())
}

/// Puts a change set away. Its record stays.
pub async fn discard(ws: &Workspace, id: ChangeSetId) -> Result<(), Problem> {
    let now = ws.clock().now();
    ws.change(Action::ChangeSetDiscarded, id, move |tx| {
        let mut set = tx.get(&CHANGE_SETS, &id)?.ok_or(Problem::NotFound)?;
        open(&**tx, &set)?;
        set.discarded = Some(now);
        set.ready_until = None;
        tx.put(&CHANGE_SETS, &id, &set)?;
        announce(tx, id, set.org);
        Ok(())
    })
    .await
}

/// Drafts a change set that brings back what stood in the org before the last deployment of this one.
pub async fn roll_back(ws: &Workspace, id: ChangeSetId) -> Result<Proposed, Problem> {
    let read = ws.read()?;
    let set = read.get(&CHANGE_SETS, &id)?.ok_or(Problem::NotFound)?;
    let Some(deployment) = set.deployment else { return Err(never_deployed()) };
    let run = read.get(&RUNS, &deployment)?.ok_or(Problem::NotFound)?;
    if !matches!(run.state, RunState::Succeeded | RunState::Lost) {
        return Err(never_deployed());
    }
    let mut before = Vec::new();
    for ((_, path), snapshot) in read.scan(&SNAPSHOTS).under(&deployment).rows()? {
        let is_meta = Part::of(&path).is_ok_and(|p| p.is_meta);
        if !(is_meta && snapshot.content.is_none()) {
            before.push(ProposedFile { path: path.clone(), content: snapshot.content });
        }
        if let Some(meta) = snapshot.meta.filter(|_| !is_meta) {
            let meta_path = format!("{path}-meta.xml");
            if !before.iter().any(|f| f.path == meta_path) {
                before.push(ProposedFile { path: meta_path, content: Some(meta) });
            }
        }
    }
    // A test that goes away can't be asked for.
    let goes =
        |test: &String| before.iter().any(|f| f.content.is_none() && f.path == format!("classes/{test}.cls"));
    let tests = run.tests.iter().filter(|test| !goes(test)).cloned().collect();
    before.sort_by(|a, b| a.path.cmp(&b.path));
    before.dedup_by(|a, b| a.path == b.path);
    drop(read);
    let new = NewChangeSet {
        org: set.org,
        title: format!("Roll back: {}", set.title).chars().take(LONGEST_TITLE).collect(),
        summary: "Brings back what stood in the org before that deployment.".into(),
        files: before,
        tests,
        conversation: None,
    };
    keep(ws, new, Some(deployment)).await
}

fn never_deployed() -> Problem {
    Problem::Conflict("This change set was not deployed, so there is nothing to take back.".into())
}
