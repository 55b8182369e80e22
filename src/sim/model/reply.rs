//! An answer, as one message or as the events of a stream.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Random;
use crate::seal::hex;

/// A block of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text { text: String, citations: Vec<Value> },
    Thinking(String),
    Tool { name: String, input: Value },
}

impl Part {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), citations: Vec::new() }
    }
}

/// How the stream ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// With an error event of this type.
    MidStream(String),
    #[default]
    Proper,
    /// The connection breaks.
    Reset,
    /// The body ends early, politely.
    Truncate,
}

#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub parts: Vec<Part>,
    pub ending: Ending,
    pub slow: Duration,
    pub refusal: Option<String>,
    content: Vec<Value>,
    head: Value,
    stop: Value,
}

impl Reply {
    pub fn of(parts: Vec<Part>) -> Self {
        Self { parts, ..Self::default() }
    }

    /// Fixes ids, limits and counters for the request; `seed` makes the ids repeatable.
    pub fn finish(&mut self, body: &Value, mut usage: Value, seed: u64) {
        let random = Random::seeded(seed);
        let id = |prefix: &str| format!("{prefix}_{}", hex(&random.bytes::<12>()));
        let message_id = id("msg");
        if body.pointer("/thinking/type") == Some(&json!("adaptive"))
            && !matches!(self.parts.first(), Some(Part::Thinking(_)))
        {
            self.parts.insert(0, Part::Thinking("I read the question and decide what to look up.".into()));
        }
        let shown = body.pointer("/thinking/display") == Some(&json!("summarized"));
        let mut left = body["max_tokens"].as_u64().unwrap_or(u64::MAX);
        let (mut spent, mut reason, mut sequence) = (0, "end_turn", Value::Null);
        for part in &self.parts {
            let bytes = match part {
                Part::Text { text, .. } | Part::Thinking(text) => text.len(),
                Part::Tool { input, .. } => input.to_string().len() + 20,
            };
            let cost = (bytes as u64).div_ceil(4);
            match part {
                Part::Thinking(text) => {
                    let text = if shown { text.as_str() } else { "" };
                    self.content
                        .push(json!({ "type": "thinking", "thinking": text, "signature": id("sig") }));
                }
                Part::Text { text, citations } => {
                    let mut text = text.clone();
                    if let Some((at, found)) = first_stop(&text, body) {
                        text.truncate(at);
                        (reason, sequence) = ("stop_sequence", found.into());
                    }
                    if cost > left {
                        text.truncate(text.floor_char_boundary((left * 4) as usize));
                        (reason, sequence) = ("max_tokens", Value::Null);
                    }
                    let mut block = json!({ "type": "text", "text": text });
                    if !citations.is_empty() {
                        block["citations"] = citations.clone().into();
                    }
                    if !text.is_empty() {
                        self.content.push(block);
                    }
                }
                Part::Tool { .. } if cost > left => reason = "max_tokens",
                Part::Tool { name, input } => {
                    reason = "tool_use";
                    self.content
                        .push(json!({ "type": "tool_use", "id": id("toolu"), "name": name, "input": input }));
                }
            }
            spent += cost.min(left);
            left -= cost.min(left);
            if matches!(reason, "max_tokens" | "stop_sequence") {
                break;
            }
        }
        let details = match &self.refusal {
            Some(category) => {
                reason = "refusal";
                json!({ "type": "refusal", "category": category })
            }
            None => Value::Null,
        };
        self.head = json!({ "id": message_id, "type": "message", "role": "assistant", "model": body["model"], "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage });
        usage["output_tokens"] = spent.max(1).into();
        self.stop = json!({ "stop_reason": reason, "stop_sequence": sequence, "stop_details": details, "usage": usage });
    }

    /// The whole message of a request that does not stream.
    pub fn message(&self) -> Value {
        let mut message = self.head.clone();
        message["content"] = self.content.clone().into();
        for name in ["stop_reason", "stop_sequence", "stop_details", "usage"] {
            message[name] = self.stop[name].clone();
        }
        message
    }

    /// The events of a stream, each with its blank line.
    pub fn events(&self) -> Vec<String> {
        let mut events = vec![event("message_start", json!({ "message": self.head }))];
        for (index, block) in self.content.iter().enumerate() {
            let (start, deltas) = unfold(block);
            events.push(event("content_block_start", json!({ "index": index, "content_block": start })));
            if index == 0 {
                events.push(event("ping", json!({})));
            }
            let deltas = deltas
                .into_iter()
                .map(|d| event("content_block_delta", json!({ "index": index, "delta": d })));
            events.extend(deltas);
            events.push(event("content_block_stop", json!({ "index": index })));
        }
        if self.ending != Ending::Proper {
            // Not even the last block is finished.
            events.truncate(events.len().saturating_sub(2).max(1));
            if let Ending::MidStream(kind) = &self.ending {
                events.push(event(
                    "error",
                    json!({ "error": { "type": kind, "message": "Ordered by a test" } }),
                ));
            }
            return events;
        }
        let mut delta = self.stop.clone();
        let usage = json!({ "output_tokens": delta["usage"]["output_tokens"] });
        if let Some(delta) = delta.as_object_mut() {
            delta.shift_remove("usage");
        }
        events.push(event("message_delta", json!({ "delta": delta, "usage": usage })));
        events.push(event("message_stop", json!({})));
        events
    }
}

fn event(name: &str, mut data: Value) -> String {
    data["type"] = name.into();
    format!("event: {name}\ndata: {data}\n\n")
}

/// A block's start and the deltas that fill it.
fn unfold(block: &Value) -> (Value, Vec<Value>) {
    let text = |name: &str| block[name].as_str().unwrap_or_default();
    match text("type") {
        "text" => {
            let mut deltas: Vec<Value> =
                pieces(text("text"), 14).map(|p| json!({ "type": "text_delta", "text": p })).collect();
            let citations = block["citations"].as_array().into_iter().flatten();
            deltas.extend(citations.map(|c| json!({ "type": "citations_delta", "citation": c })));
            (json!({ "type": "text", "text": "" }), deltas)
        }
        "thinking" => {
            let mut deltas: Vec<Value> = pieces(text("thinking"), 20)
                .map(|p| json!({ "type": "thinking_delta", "thinking": p }))
                .collect();
            deltas.push(json!({ "type": "signature_delta", "signature": block["signature"] }));
            (json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas)
        }
        _ => {
            let input = block["input"].to_string();
            let mut deltas = vec![json!({ "type": "input_json_delta", "partial_json": "" })];
            deltas
                .extend(pieces(&input, 40).map(|p| json!({ "type": "input_json_delta", "partial_json": p })));
            let mut start = block.clone();
            start["input"] = json!({});
            (start, deltas)
        }
    }
}

/// Pieces of about `size` bytes, cut between characters.
fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.ceil_char_boundary(size.min(rest.len()));
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn first_stop(text: &str, body: &Value) -> Option<(usize, String)> {
    let sequences = body["stop_sequences"].as_array()?.iter().filter_map(Value::as_str);
    sequences.filter_map(|s| Some((text.find(s)?, s.to_owned()))).min()
}
