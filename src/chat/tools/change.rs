//! Change sets: drafted, and validated once a person has allowed it. Nothing here deploys.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Brought, Failed, Scope, clip, many, parse};
use crate::chat::mask::Known;
use crate::chat::records::CONSENTS;
use crate::deployments::records::CHANGE_SETS;
use crate::deployments::{self, NewChangeSet, ProposedFile};
use crate::ids::{ChangeSetId, ConversationId, DeploymentId, OrgId};
use crate::store::{Read as _, StoreError};
use crate::web::Problem;

pub const PROPOSE: &str = "propose_change";
pub const VALIDATE: &str = "validate_change";
pub const NO_CONSENT: &str = "Needs consent: the person has not allowed validations in this org from this conversation. \
                              The page asks them now. Say that the change set waits for it.";
/// Failures of each kind in a result.
const FAILURES: usize = 20;

/// Why a validation did not happen.
pub enum Refused {
    Failed(Failed),
    NoConsent(OrgId),
}

impl From<Failed> for Refused {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

fn problem(problem: &Problem) -> Failed {
    let said = problem.said();
    let fields: Vec<String> = said.errors.into_iter().map(|error| error.message).collect();
    Failed(clip(&format!("{}. {} {}", said.title, said.detail, fields.join(" ")), 600))
}

pub fn propose_input() -> Value {
    let file = json!({
        "type": "object", "properties": { "path": { "type": "string" }, "content": { "type": ["string", "null"] } },
        "required": ["path", "content"], "additionalProperties": false,
    });
    json!({
        "title": { "type": "string" },
        "summary": { "type": "string" },
        "files": { "type": "array", "items": file },
        "tests": { "type": "array", "items": { "type": "string" } },
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Propose {
    title: String,
    summary: String,
    files: Vec<File>,
    tests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    content: Option<String>,
}

pub async fn propose(
    scope: &Scope,
    conversation: ConversationId,
    input: Map<String, Value>,
    known: &Known,
) -> Result<(ChangeSetId, Brought), Failed> {
    let Propose { title, summary, files, tests } = parse(input)?;
    let (org, row) = scope.org()?;
    let mut drafted = Vec::new();
    for File { path, content } in files {
        let masked = || {
            Failed(format!(
                "{} holds a masked secret that is not known any more. Read its source again.",
                clip(&path, 100)
            ))
        };
        let content = match content {
            Some(text) => Some(known.draft(&text).ok_or_else(masked)?),
            None => None,
        };
        drafted.push(ProposedFile { path, content });
    }
    let count = drafted.len();
    let new = NewChangeSet { org, title, summary, files: drafted, tests, conversation: Some(conversation) };
    let proposed = deployments::propose(&scope.ws, new).await.map_err(|error| problem(&error))?;
    let json = json!({
        "change_id": proposed.id, "org": row.name, "files": count, "problems": proposed.problems,
        "note": "A draft. Nothing is in the org.",
    });
    Ok((proposed.id, Brought { json, found: many(count, "file"), ..Brought::default() }))
}

pub fn validate_input() -> Value {
    json!({ "change_id": { "type": "string" } })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Validate {
    change_id: ChangeSetId,
}

/// Asks for a validation and waits for its end.
pub async fn validate(
    scope: &Scope,
    conversation: ConversationId,
    input: Map<String, Value>,
) -> Result<Brought, Refused> {
    let Validate { change_id: id } = parse(input)?;
    let unknown = || Failed("There is no such change set in this conversation. Propose one first.".into());
    let read = scope.ws.read()?;
    let set = read.get(&CHANGE_SETS, &id)?.filter(|set| set.conversation == Some(conversation));
    let set = set.ok_or_else(unknown)?;
    if !read.has(&CONSENTS, &(conversation, set.org))? {
        return Err(Refused::NoConsent(set.org));
    }
    drop(read);
    let mut changes = scope.ws.live().listen();
    let leave = scope.ws.processing().map_err(|error| Failed(error.to_string()))?;
    let run = deployments::request_validation(&scope.ws, id, leave).await.map_err(|error| problem(&error))?;
    let topic = deployments::topic(id);
    loop {
        if let Some(brought) = ended(scope, run)? {
            return Ok(brought);
        }
        // One that missed some looks again.
        while let Ok(changed) = changes.recv().await {
            if changed == topic {
                break;
            }
        }
    }
}

/// The result of a validation that is over.
fn ended(scope: &Scope, id: DeploymentId) -> Result<Option<Brought>, StoreError> {
    let run = deployments::run(&scope.ws.read()?, id)?;
    let Some(run) = run.filter(|run| run.state.is_over()) else { return Ok(None) };
    let label = run.state.label();
    let mut json = json!(run.result);
    for list in ["component_failures", "test_failures", "coverage_warnings"] {
        if let Some(list) = json.get_mut(list).and_then(Value::as_array_mut) {
            list.truncate(FAILURES);
        }
    }
    match json.as_object_mut() {
        // Of the whole org's classes: the warnings say which of them matter.
        Some(result) => {
            result.shift_remove("coverage");
            result.shift_remove("id");
        }
        None => json = json!({}),
    }
    json["state"] = label.into();
    json["success"] = (run.state == deployments::records::RunState::Succeeded).into();
    json["said"] = run.said.into();
    Ok(Some(Brought { json, found: label.to_owned(), ..Brought::default() }))
}
