//! Folds the events of a streamed answer into what a page shows while it comes and what is kept at its end.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::answer::{AssistantMessage, Citation, Outcome, Stop, ToolCall};
use super::usage::{Usage, estimated_tokens};

const MOST_BLOCKS: usize = 512;
const MOST_EVENTS: usize = 50_000;
const MOST_TEXT: usize = 2 * 1024 * 1024;
const MOST_TOOL_INPUT: usize = 1024 * 1024;

/// What happened in a running answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Citation(Citation),
    Started {
        id: String,
        model: String,
    },
    Stop(Stop),
    Text(String),
    Thinking(String),
    /// The call is written out. It may run only when the answer is complete and stopped for tools.
    ToolCall(ToolCall),
    ToolStarted {
        id: String,
        name: String,
    },
    Usage(Usage),
}

/// Why a stream can't be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("it is not the format of a Messages API")]
    NotAnEvent,
    #[error("it ended before its end")]
    Truncated,
    #[error("it holds too many {0}")]
    TooMuch(&'static str),
    /// The server gave up in the middle.
    #[error("the server gave up: {kind}: {message}")]
    Upstream { kind: String, message: String, request_id: Option<String> },
}

/// An answer while it comes.
#[derive(Debug, Default)]
pub struct Accumulator {
    head: Option<(String, String)>,
    order: Vec<u64>,
    blocks: HashMap<u64, Block>,
    usage: Usage,
    usage_seen: bool,
    stop: Option<Stop>,
    events: usize,
    text_bytes: usize,
}

#[derive(Debug)]
struct Block {
    raw: Map<String, Value>,
    kind: Kind,
    buffer: String,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Other,
    Text,
    Thinking,
    ToolUse,
}

impl Accumulator {
    /// Takes the data of one event and adds what it means to `out`.
    pub fn feed(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), StreamError> {
        if data.trim() == "[DONE]" {
            return Ok(());
        }
        let event: Value = serde_json::from_str(data).map_err(|_| StreamError::NotAnEvent)?;
        let kind = event.get("type").and_then(Value::as_str).ok_or(StreamError::NotAnEvent)?;
        if kind == "ping" {
            return Ok(());
        }
        self.events += 1;
        if self.events > MOST_EVENTS {
            return Err(StreamError::TooMuch("events"));
        }
        match kind {
            "message_start" => self.start(&event, out),
            "content_block_start" => self.open(&event, out),
            "content_block_delta" => self.delta(&event, out),
            "content_block_stop" => self.close(&event, out),
            "message_delta" => {
                self.message_delta(&event, out);
                Ok(())
            }
            "error" => Err(upstream(&event)),
            _ => Ok(()),
        }
    }

    /// Whether anything that a person can see has come.
    pub fn has_content(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Whether the model said why it stopped: without that, an answer is never complete.
    pub fn is_complete(&self) -> bool {
        self.head.is_some() && self.stop.is_some()
    }

    /// What is there at the end of the stream.
    pub fn finish(mut self, request_id: Option<String>) -> Outcome {
        let complete = self.is_complete();
        // The head of an answer tells of its first token only; the real number comes with its end.
        if !complete || !self.usage_seen || self.usage.output == 0 {
            self.usage.estimated = true;
            self.usage.output = self.usage.output.max(estimated_tokens(self.text_bytes));
        }
        let (id, model) = self.head.take().unwrap_or_default();
        let mut content = Vec::new();
        for index in &self.order {
            let Some(block) = self.blocks.remove(index) else { continue };
            content.extend(block.keep(complete));
        }
        let stop = self.stop.unwrap_or(Stop::Other("none".into()));
        let message = AssistantMessage { id, model, content, stop, usage: self.usage, request_id };
        if complete { Outcome::Complete(message) } else { Outcome::Partial(message) }
    }

    fn start(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), StreamError> {
        if self.head.is_some() {
            return Err(StreamError::NotAnEvent);
        }
        let text = |name: &str| {
            event.pointer(&format!("/message/{name}")).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (id, model) = (text("id"), text("model"));
        self.head = Some((id.clone(), model.clone()));
        out.push(Event::Started { id, model });
        self.count(event.pointer("/message/usage"), out);
        Ok(())
    }

    fn open(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), StreamError> {
        let (Some(index), Some(Value::Object(raw))) = (index(event), event.get("content_block")) else {
            return Err(StreamError::NotAnEvent);
        };
        if self.head.is_none() || self.blocks.contains_key(&index) {
            return Err(StreamError::NotAnEvent);
        }
        if self.order.len() == MOST_BLOCKS {
            return Err(StreamError::TooMuch("blocks"));
        }
        let text = |name: &str| raw.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, buffer) = match raw.get("type").and_then(Value::as_str) {
            Some("text") => (Kind::Text, text("text")),
            Some("thinking") => (Kind::Thinking, text("thinking")),
            Some("tool_use") => {
                out.push(Event::ToolStarted { id: text("id"), name: text("name") });
                (Kind::ToolUse, String::new())
            }
            _ => (Kind::Other, String::new()),
        };
        match kind {
            Kind::Text if !buffer.is_empty() => out.push(Event::Text(buffer.clone())),
            Kind::Thinking if !buffer.is_empty() => out.push(Event::Thinking(buffer.clone())),
            _ => {}
        }
        self.text_bytes += buffer.len();
        self.order.push(index);
        self.blocks.insert(index, Block { raw: raw.clone(), kind, buffer, closed: false });
        Ok(())
    }

    fn delta(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), StreamError> {
        let Some(block) = index(event).and_then(|i| self.blocks.get_mut(&i)).filter(|b| !b.closed) else {
            return Ok(());
        };
        let delta = event.get("delta").ok_or(StreamError::NotAnEvent)?;
        let text = |name: &str| delta.get(name).and_then(Value::as_str).unwrap_or_default();
        let added = match (delta.get("type").and_then(Value::as_str).unwrap_or_default(), block.kind) {
            ("text_delta", Kind::Text) => text("text"),
            ("thinking_delta", Kind::Thinking) => text("thinking"),
            ("input_json_delta", Kind::ToolUse) => text("partial_json"),
            ("signature_delta", Kind::Thinking) => {
                block.raw.insert("signature".into(), text("signature").into());
                ""
            }
            ("citations_delta", Kind::Text) => {
                let citation = delta.get("citation").cloned().unwrap_or_default();
                let list = block.raw.entry("citations").or_insert_with(|| json!([]));
                if !list.is_array() {
                    *list = json!([]);
                }
                if let Some(list) = list.as_array_mut() {
                    list.push(citation.clone());
                }
                out.extend(Citation::read(&citation).map(Event::Citation));
                ""
            }
            _ => "",
        };
        if added.is_empty() {
            return Ok(());
        }
        block.buffer.push_str(added);
        self.text_bytes += added.len();
        match block.kind {
            Kind::ToolUse if block.buffer.len() > MOST_TOOL_INPUT => {
                return Err(StreamError::TooMuch("bytes in a tool call"));
            }
            Kind::Text => out.push(Event::Text(added.to_owned())),
            Kind::Thinking => out.push(Event::Thinking(added.to_owned())),
            _ => {}
        }
        if self.text_bytes > MOST_TEXT {
            return Err(StreamError::TooMuch("bytes of text"));
        }
        Ok(())
    }

    fn close(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), StreamError> {
        let Some(block) = index(event).and_then(|i| self.blocks.get_mut(&i)).filter(|b| !b.closed) else {
            return Ok(());
        };
        block.closed = true;
        if block.kind == Kind::ToolUse {
            let call = block.tool_call().ok_or(StreamError::NotAnEvent)?;
            out.push(Event::ToolCall(call));
        }
        Ok(())
    }

    fn message_delta(&mut self, event: &Value, out: &mut Vec<Event>) {
        self.count(event.get("usage"), out);
        let reason = event.pointer("/delta/stop_reason").and_then(Value::as_str).filter(|r| !r.is_empty());
        if let Some(reason) = reason {
            let category = event.pointer("/delta/stop_details/category").and_then(Value::as_str);
            let stop = Stop::read(reason, category);
            self.stop = Some(stop.clone());
            out.push(Event::Stop(stop));
        }
    }

    fn count(&mut self, reported: Option<&Value>, out: &mut Vec<Event>) {
        if let Some(reported) = reported.filter(|r| r.is_object()) {
            self.usage.update(reported);
            self.usage_seen = true;
            out.push(Event::Usage(self.usage));
        }
    }
}

impl Block {
    /// The block as it is replayed later; `None` when its half can't be used. Of a broken-off answer only
    /// text and finished blocks stay; an unfinished tool call or thought never does.
    fn keep(mut self, complete: bool) -> Option<Value> {
        match self.kind {
            Kind::Other | Kind::Thinking if !self.closed => return None,
            Kind::Text if self.buffer.is_empty() => return None,
            Kind::Text => {
                self.raw.insert("text".into(), self.buffer.into());
            }
            Kind::Thinking => {
                self.raw.insert("thinking".into(), self.buffer.into());
            }
            Kind::ToolUse if !self.closed || !complete => return None,
            Kind::ToolUse => {
                let call = self.tool_call()?;
                let input = match call.input {
                    Ok(input) => Value::Object(input),
                    Err(broken) => json!({ "INVALID_JSON": broken }),
                };
                self.raw.insert("input".into(), input);
            }
            Kind::Other => {}
        }
        Some(Value::Object(self.raw))
    }

    fn tool_call(&self) -> Option<ToolCall> {
        let text = |name: &str| Some(self.raw.get(name)?.as_str()?.to_owned());
        let started_with = self.raw.get("input").and_then(Value::as_object);
        let input = if self.buffer.trim().is_empty() {
            Ok(started_with.cloned().unwrap_or_default())
        } else {
            match serde_json::from_str(&self.buffer) {
                Ok(Value::Object(input)) => Ok(input),
                _ => Err(self.buffer.clone()),
            }
        };
        Some(ToolCall { id: text("id")?, name: text("name")?, input })
    }
}

fn index(event: &Value) -> Option<u64> {
    event.get("index").and_then(Value::as_u64)
}

fn upstream(event: &Value) -> StreamError {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    StreamError::Upstream {
        kind: text("/error/type").unwrap_or("api_error").chars().take(80).collect(),
        message: text("/error/message").unwrap_or_default().chars().take(300).collect(),
        request_id: text("/request_id").map(|id| id.chars().take(80).collect()),
    }
}

#[cfg(test)]
mod tests;
