//! What a model may look at, and draft. Tools read within fixed sizes, and what they cut they say; none deploys. Results are JSON, so that
//! nothing in them can pose as anything else.

pub mod change;
pub mod documents;
mod insights;
mod metadata;
mod org;
mod uses;

use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::citations::Source;
use crate::ids::OrgId;
use crate::orgs::records::{self, Org};
use crate::store::{Read as _, StoreError};
use crate::wire::model::{ResultBlock, Tool, ToolResult};
use crate::workspace::Worker;

/// Longest result, in bytes.
const LONGEST: usize = 16 * 1024;

/// What a turn's tools work on.
#[derive(Clone)]
pub struct Scope {
    pub ws: Arc<Worker>,
    pub org: Option<OrgId>,
}

/// What a call brought.
#[derive(Debug, Default)]
pub struct Brought {
    pub json: Value,
    /// For people: `12 found`.
    pub found: String,
    /// Passages that the model cites itself; instead of `json`.
    pub passages: Vec<ResultBlock>,
    /// What the answer may cite.
    pub sources: Vec<(String, Source)>,
}

/// Why a call brought nothing, in words for the model.
#[derive(Debug)]
pub struct Failed(pub String);

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a tool could not read");
        Self("The data could not be read. Tell the user.".into())
    }
}

/// How a tool reads.
type Reads = fn(&Scope, Map<String, Value>) -> Result<Brought, Failed>;

struct Kind {
    name: &'static str,
    description: &'static str,
    properties: fn() -> Value,
    /// Reads; `None` for what the turn itself does.
    run: Option<Reads>,
    said: fn(&Map<String, Value>) -> String,
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "knowledge_search",
        description: "Passages of the team's own documents (naming rules, runbooks, processes), with their pages.",
        properties: documents::input,
        run: Some(documents::search),
        said: |input| format!("Searched the documents for “{}”", word(input, "query")),
    },
    Kind {
        name: "metadata_get",
        description: "Reads one component or field by its ref: part summary (facts, what uses it), or source (text, in pages by \
                      offset).",
        properties: metadata::get_input,
        run: Some(metadata::get),
        said: |input| format!("Read {}", word(input, "ref").replace('/', " ")),
    },
    Kind {
        name: "metadata_search",
        description: "Finds components of the org by names, labels and words in their source.",
        properties: metadata::search_input,
        run: Some(metadata::search),
        said: |input| format!("Searched the metadata for “{}”", word(input, "query")),
    },
    Kind {
        name: "object_describe",
        description: "Fields of an object: name, label, type, references.",
        properties: metadata::describe_input,
        run: Some(metadata::describe),
        said: |input| format!("Described {}", word(input, "object")),
    },
    Kind {
        name: "org_limits",
        description: "The org's limits with what is used, fullest first.",
        properties: || json!({}),
        run: Some(org::limits),
        said: |_| "Read the limits".to_owned(),
    },
    Kind {
        name: "org_overview",
        description: "What the org is, how much of each type it holds, when it was synced.",
        properties: || json!({}),
        run: Some(org::overview),
        said: |_| "Read the overview of the org".to_owned(),
    },
    Kind {
        name: change::PROPOSE,
        description: "Stores a change set of whole files as a draft, with static checks. Nothing is sent to the org. \
                      Paths as in an mdapi package: classes/Name.cls.",
        properties: change::propose_input,
        run: None,
        said: |input| format!("Drafted the change set “{}”", word(input, "title")),
    },
    Kind {
        name: "run_analysis",
        description: "Open findings of the last analysis, worst first, with what is wrong, where and how to fix it.",
        properties: || json!({}),
        run: Some(insights::run),
        said: |_| "Read the findings".to_owned(),
    },
    Kind {
        name: change::VALIDATE,
        description: "Validates a stored change set in the org (check-only, with tests). Needs the person's consent; \
                      saves nothing in the org.",
        properties: change::validate_input,
        run: None,
        said: |_| "Validated the change set".to_owned(),
    },
];

/// The tools on offer: the same for every turn.
pub fn offer() -> Arc<[Tool]> {
    static OFFER: LazyLock<Arc<[Tool]>> = LazyLock::new(|| KINDS.iter().map(tool).collect());
    Arc::clone(&OFFER)
}

fn tool(kind: &Kind) -> Tool {
    let properties = (kind.properties)();
    let required: Vec<String> =
        properties.as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
    Tool {
        name: kind.name.to_owned(),
        description: kind.description.to_owned(),
        input_schema: json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        }),
        strict: true,
    }
}

/// What a call does, in words for people.
pub fn said(name: &str, input: &Map<String, Value>) -> String {
    let kind = KINDS.iter().find(|kind| kind.name == name);
    kind.map_or_else(|| format!("Tried {}", clip(name, 40)), |kind| (kind.said)(input))
}

/// Carries out a call. Blocks.
pub fn call(scope: &Scope, name: &str, input: Map<String, Value>) -> Result<Brought, Failed> {
    let Some(run) = KINDS.iter().find(|kind| kind.name == name).and_then(|kind| kind.run) else {
        return Err(Failed(format!("There is no tool {}.", clip(name, 40))));
    };
    run(scope, input)
}

impl Brought {
    /// What goes back to the model.
    pub fn result(&self, call: &str) -> ToolResult {
        if self.passages.is_empty() {
            return ToolResult::text(call, self.text());
        }
        ToolResult { call: call.to_owned(), content: self.passages.clone(), is_error: false }
    }

    /// The result as the model reads it; never longer than a tool may be.
    pub fn text(&self) -> String {
        let mut json = self.json.clone();
        json["trust"] = "untrusted".into();
        let text = json.to_string();
        if text.len() <= LONGEST * 2 {
            return text;
        }
        json!({ "truncated": true, "note": "The result was too large. Ask for less." }).to_string()
    }
}

impl Scope {
    fn org(&self) -> Result<(OrgId, Org), Failed> {
        let none = || Failed("No org is chosen for this conversation. Tell the user to choose one.".into());
        let id = self.org.ok_or_else(none)?;
        let row = self.ws.read()?.get(&records::ORGS, &id)?;
        Ok((id, row.ok_or_else(none)?))
    }
}

fn parse<T: DeserializeOwned>(input: Map<String, Value>) -> Result<T, Failed> {
    serde_json::from_value(Value::Object(input)).map_err(|e| Failed(format!("The input does not fit: {e}.")))
}

fn word(input: &Map<String, Value>, name: &str) -> String {
    clip(input.get(name).and_then(Value::as_str).unwrap_or_default(), 80)
}

/// At most `most` characters, without control and direction characters.
fn clip(text: &str, most: usize) -> String {
    let plain = |c: &char| {
        !(c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'))
    };
    let mut out: String = text.chars().filter(plain).take(most).collect();
    if text.chars().count() > most {
        out.push('…');
    }
    out
}

fn many(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// The longest that a tool which only reads may take.
const LONGEST_READ: std::time::Duration = std::time::Duration::from_secs(20);

/// A tool that only reads, off the async threads.
pub async fn read(scope: Scope, name: String, input: Map<String, Value>) -> Result<Brought, Failed> {
    let work = tokio::task::spawn_blocking(move || call(&scope, &name, input));
    match tokio::time::timeout(LONGEST_READ, work).await {
        Ok(Ok(brought)) => brought,
        Ok(Err(_)) => Err(Failed("The tool broke off. Tell the user.".into())),
        Err(_) => Err(Failed("The tool took too long. Ask for less.".into())),
    }
}
