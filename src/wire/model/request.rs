//! What is asked of a model, and its JSON for the vendor's server and for those that know only the basics.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::without_thinking;
use super::usage::estimated_tokens;

/// Which parts of the Messages API a server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// All of it.
    Anthropic,
    /// Text and tools: local servers and gateways. Everything else is flattened to text.
    Minimal,
}

/// One request. The messages are rules-proof: [`Ask::body`] puts each tool result where the API wants it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub model: String,
    pub max_tokens: u32,
    pub system: Vec<SystemBlock>,
    pub messages: Vec<Message>,
    pub tools: Arc<[Tool]>,
    /// `false` for a last answer without further tools.
    pub may_use_tools: bool,
    /// `true` asks for thinking with a readable summary, where the server knows it.
    pub thinking: bool,
    /// A hash that stands for the person; never a name or address.
    pub user: Option<String>,
}

impl Ask {
    /// A question without tools.
    pub fn new(model: &str, max_tokens: u32, messages: Vec<Message>) -> Self {
        Self {
            model: model.to_owned(),
            max_tokens,
            system: Vec::new(),
            messages,
            tools: Arc::default(),
            may_use_tools: true,
            thinking: false,
            user: None,
        }
    }

    /// The JSON of a streaming request.
    pub fn body(&self, profile: Profile) -> Result<String, AskError> {
        let user = self.user.as_ref().filter(|_| profile == Profile::Anthropic);
        written(&Body {
            max_tokens: Some(self.max_tokens),
            stream: true,
            metadata: user.map(|user| json!({ "user_id": user })),
            ..self.shared(profile)?
        })
    }

    /// The JSON of a token count.
    pub fn count_body(&self, profile: Profile) -> Result<String, AskError> {
        written(&self.shared(profile)?)
    }

    /// About how many tokens the prompt has, for servers that don't count.
    pub fn estimated_tokens(&self, profile: Profile) -> u64 {
        self.count_body(profile).map_or(0, |body| estimated_tokens(body.len()))
    }

    fn shared(&self, profile: Profile) -> Result<Body<'_>, AskError> {
        let full = profile == Profile::Anthropic;
        let mut tools: Vec<ToolBody<'_>> = Vec::new();
        if full || self.may_use_tools {
            tools.extend(self.tools.iter().map(|t| t.body(profile)));
            tools.sort_by(|a, b| a.name.cmp(b.name));
        }
        let none = (!tools.is_empty() && !self.may_use_tools).then(|| json!({ "type": "none" }));
        let thinking = json!({ "type": "adaptive", "display": "summarized" });
        Ok(Body {
            model: &self.model,
            system: self.system_json(profile),
            messages: messages(&self.messages, profile)?,
            tools,
            tool_choice: none,
            cache_control: full.then(|| json!({ "type": "ephemeral" })),
            thinking: (full && self.thinking).then_some(thinking),
            max_tokens: None,
            stream: false,
            metadata: None,
        })
    }

    fn system_json(&self, profile: Profile) -> Option<Value> {
        let blocks: Vec<&SystemBlock> = self.system.iter().filter(|b| !b.text.trim().is_empty()).collect();
        if blocks.is_empty() {
            return None;
        }
        Some(match profile {
            Profile::Anthropic => blocks.iter().map(|b| b.json()).collect(),
            Profile::Minimal => {
                blocks.iter().map(|b| b.text.as_str()).collect::<Vec<_>>().join("\n\n").into()
            }
        })
    }
}

/// Why an [`Ask`] is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("there is no question in this conversation yet")]
    Empty,
    /// The cause, for the log.
    #[error("the request can't be written as JSON: {0}")]
    Unwritable(String),
    #[error("the conversation ends with an answer; ask something to go on")]
    EndsWithAnswer,
}

/// A part of the system prompt, and how long its prefix should stay cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemBlock {
    pub text: String,
    pub cache: Cache,
}

/// How long a prefix is kept by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    FiveMinutes,
    None,
    OneHour,
}

impl SystemBlock {
    fn json(&self) -> Value {
        let mut block = json!({ "type": "text", "text": self.text });
        match self.cache {
            Cache::FiveMinutes => block["cache_control"] = json!({ "type": "ephemeral" }),
            Cache::None => {}
            Cache::OneHour => block["cache_control"] = json!({ "type": "ephemeral", "ttl": "1h" }),
        }
        block
    }
}

/// One side of a turn.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Message {
    /// The raw blocks of an answer, as they came.
    Assistant(Vec<Value>),
    /// The results of the tool calls of the answer before.
    Results(Vec<ToolResult>),
    /// What a person wrote.
    User(String),
}

/// What a tool brought.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ToolResult {
    /// Id of the call.
    pub call: String,
    pub content: Vec<ResultBlock>,
    pub is_error: bool,
}

impl ToolResult {
    pub fn text(call: &str, text: String) -> Self {
        Self { call: call.to_owned(), content: vec![ResultBlock::Text(text)], is_error: false }
    }

    /// A result that says what failed and what to try.
    pub fn error(call: &str, text: String) -> Self {
        Self { is_error: true, ..Self::text(call, text) }
    }
}

/// A piece of a tool's result.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ResultBlock {
    /// Something citable: `source` is our own reference, one text a passage.
    SearchResult {
        source: String,
        title: String,
        texts: Vec<String>,
    },
    Text(String),
}

impl ResultBlock {
    fn json(&self, profile: Profile) -> Option<Value> {
        match (self, profile) {
            (Self::SearchResult { source, title, texts }, Profile::Anthropic) => {
                let content: Vec<Value> =
                    texts.iter().filter(|t| !t.trim().is_empty()).map(|t| text_block(t)).collect();
                (!content.is_empty()).then(|| {
                    json!({ "type": "search_result", "source": source, "title": title, "content": content,
                        "citations": { "enabled": true } })
                })
            }
            (Self::SearchResult { source, title, texts }, Profile::Minimal) => {
                Some(text_block(&format!("[[source: {source} | {title}]]\n{}", texts.join("\n"))))
            }
            (Self::Text(text), _) => (!text.trim().is_empty()).then(|| text_block(text)),
        }
    }
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: String,
    /// A JSON Schema of type object.
    pub input_schema: Value,
    /// The server holds the model to the schema.
    pub strict: bool,
}

impl Tool {
    fn body(&self, profile: Profile) -> ToolBody<'_> {
        ToolBody {
            name: &self.name,
            description: &self.description,
            input_schema: &self.input_schema,
            strict: self.strict && profile == Profile::Anthropic,
        }
    }
}

/// A request as it is written: what is not set is left out.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<Value>,
    messages: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

#[derive(Serialize)]
struct ToolBody<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
}

fn written(body: &Body<'_>) -> Result<String, AskError> {
    serde_json::to_string(body).map_err(|e| AskError::Unwritable(e.to_string()))
}

/// The messages under the API's rules: a person first and last, same roles merged, nothing empty, and each
/// answer with tool calls followed by exactly one result a call, results before text.
fn messages(messages: &[Message], profile: Profile) -> Result<Vec<Value>, AskError> {
    let mut out: Vec<(bool, Vec<Value>)> = Vec::new();
    let mut waiting: Vec<String> = Vec::new();
    for message in messages {
        let results: &[ToolResult] = if let Message::Results(results) = message { results } else { &[] };
        let mut blocks: Vec<Value> = std::mem::take(&mut waiting)
            .iter()
            .map(|call| match results.iter().find(|r| r.call == *call) {
                Some(result) => result_json(result, profile),
                None => result_json(&never_ran(call), profile),
            })
            .collect();
        match message {
            Message::Results(_) => add(&mut out, true, blocks),
            Message::User(text) => {
                if !text.trim().is_empty() {
                    blocks.push(text_block(text));
                }
                add(&mut out, true, blocks);
            }
            Message::Assistant(content) => {
                add(&mut out, true, blocks);
                let content = replayed(content, profile);
                waiting = content
                    .iter()
                    .filter(|b| b["type"] == "tool_use")
                    .filter_map(|b| b["id"].as_str().map(str::to_owned))
                    .collect();
                if out.is_empty() {
                    waiting.clear();
                } else {
                    add(&mut out, false, content);
                }
            }
        }
    }
    let results = waiting.iter().map(|call| result_json(&never_ran(call), profile)).collect();
    add(&mut out, true, results);
    match out.last() {
        None => Err(AskError::Empty),
        Some((false, _)) => Err(AskError::EndsWithAnswer),
        Some((true, _)) => Ok(out
            .into_iter()
            .map(|(user, content)| json!({ "role": if user { "user" } else { "assistant" }, "content": content }))
            .collect()),
    }
}

fn add(out: &mut Vec<(bool, Vec<Value>)>, user: bool, blocks: Vec<Value>) {
    match out.last_mut() {
        _ if blocks.is_empty() => {}
        Some((same, content)) if *same == user => content.extend(blocks),
        _ => out.push((user, blocks)),
    }
}

fn replayed(content: &[Value], profile: Profile) -> Vec<Value> {
    let kept = match profile {
        Profile::Anthropic => content.to_vec(),
        Profile::Minimal => without_thinking(content),
    };
    let empty_text =
        |b: &Value| b["type"] == "text" && b["text"].as_str().is_none_or(|t| t.trim().is_empty());
    let mut kept: Vec<Value> = kept.into_iter().filter(|b| !empty_text(b)).collect();
    if profile == Profile::Minimal {
        for block in &mut kept {
            if let Some(block) = block.as_object_mut() {
                block.shift_remove("citations");
                block.shift_remove("caller");
            }
        }
    }
    kept
}

fn result_json(result: &ToolResult, profile: Profile) -> Value {
    let content: Vec<Value> = result.content.iter().filter_map(|b| b.json(profile)).collect();
    let mut block = json!({ "type": "tool_result", "tool_use_id": result.call, "content": content });
    if result.is_error {
        block["is_error"] = true.into();
    }
    block
}

fn never_ran(call: &str) -> ToolResult {
    ToolResult::error(
        call,
        "Not executed: the turn ended before this ran. Call it again if it is still needed.".into(),
    )
}

fn text_block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[cfg(test)]
mod tests;
