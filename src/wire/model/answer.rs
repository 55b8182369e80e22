//! What a model answered: the blocks as they came, and typed views of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::usage::Usage;

/// How a stream ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The model said why it stopped.
    Complete(AssistantMessage),
    /// The stream broke off. The message holds the text that came and runs no tools.
    Partial(AssistantMessage),
}

/// One answer. `content` holds the raw blocks in order, to be stored and replayed as they are: thoughts are
/// signed and may not be edited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssistantMessage {
    pub id: String,
    pub model: String,
    pub content: Vec<Value>,
    pub stop: Stop,
    pub usage: Usage,
    /// The server's name for the call, for its support.
    pub request_id: Option<String>,
}

impl AssistantMessage {
    /// All text, without thoughts.
    pub fn text(&self) -> String {
        self.content.iter().filter(|b| kind(b) == "text").filter_map(|b| b["text"].as_str()).collect()
    }

    /// The calls to run: none unless the model stopped for them.
    pub fn tool_calls(&self) -> Vec<ToolCall> {
        if self.stop != Stop::ToolUse {
            return Vec::new();
        }
        self.content.iter().filter_map(ToolCall::read).collect()
    }

    /// The citations of all text blocks, in order.
    pub fn citations(&self) -> Vec<Citation> {
        let lists = self.content.iter().filter_map(|b| b.get("citations")?.as_array());
        lists.flatten().filter_map(Citation::read).collect()
    }
}

/// The blocks without thoughts: for histories that were edited, and servers that know none.
pub fn without_thinking(content: &[Value]) -> Vec<Value> {
    content.iter().filter(|b| !matches!(kind(b), "thinking" | "redacted_thinking")).cloned().collect()
}

fn kind(block: &Value) -> &str {
    block["type"].as_str().unwrap_or_default()
}

/// Why a model stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The conversation no longer fits.
    ContextFull,
    EndTurn,
    MaxTokens,
    /// A reason that this edition does not know: treated as the end.
    Other(String),
    PauseTurn,
    /// The model declined; the category is the server's word, if it gave one.
    Refusal(Option<String>),
    StopSequence,
    ToolUse,
}

impl Stop {
    pub(super) fn read(reason: &str, category: Option<&str>) -> Self {
        match reason {
            "end_turn" => Self::EndTurn,
            "max_tokens" => Self::MaxTokens,
            "model_context_window_exceeded" => Self::ContextFull,
            "pause_turn" => Self::PauseTurn,
            "refusal" => Self::Refusal(category.map(|c| c.chars().take(60).collect())),
            "stop_sequence" => Self::StopSequence,
            "tool_use" => Self::ToolUse,
            other => Self::Other(other.chars().take(60).collect()),
        }
    }
}

/// A tool that the model wants to have run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// The arguments, or the raw text when it was no JSON object.
    pub input: Result<Map<String, Value>, String>,
}

impl ToolCall {
    fn read(block: &Value) -> Option<Self> {
        if kind(block) != "tool_use" {
            return None;
        }
        let input = block.get("input")?.as_object()?;
        let broken = input.get("INVALID_JSON").and_then(Value::as_str).filter(|_| input.len() == 1);
        let input = broken.map_or_else(|| Ok(input.clone()), |raw| Err(raw.to_owned()));
        Some(Self { id: block["id"].as_str()?.to_owned(), name: block["name"].as_str()?.to_owned(), input })
    }
}

/// A pointer from a text block to one of the documents or search results of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The `source` of the search result, or the title of the document.
    pub source: String,
    pub title: String,
    /// The passage that the model names. Compare with what was sent before trusting it.
    pub cited_text: String,
    /// First page, where the server counts pages.
    pub page: Option<u64>,
}

impl Citation {
    pub(super) fn read(raw: &Value) -> Option<Self> {
        let text = |name: &str| raw.get(name).and_then(Value::as_str).map(str::to_owned);
        let title = text("title").or_else(|| text("document_title")).unwrap_or_default();
        let source = text("source").or_else(|| text("document_title"))?;
        let page = raw.get("start_page_number").and_then(Value::as_u64);
        Some(Self { source, title, cited_text: text("cited_text").unwrap_or_default(), page })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(stop: Stop) -> AssistantMessage {
        let content = vec![
            json!({"type": "thinking", "thinking": "", "signature": "s"}),
            json!({"type": "text", "text": "a", "citations": [
                {"type": "search_result_location", "source": "doc/1#p3", "title": "Guide", "cited_text": "x", "search_result_index": 0},
                {"type": "page_location", "document_title": "P", "start_page_number": 4, "cited_text": "y"}, {"type": "odd"}]}),
            json!({"type": "tool_use", "id": "t1", "name": "org_limits", "input": {}}),
            json!({"type": "tool_use", "id": "t2", "name": "metadata_get", "input": {"INVALID_JSON": "{\"a"}}),
            json!({"type": "text", "text": "b"}),
        ];
        AssistantMessage {
            id: "m".into(),
            model: "x".into(),
            content,
            stop,
            usage: Usage::default(),
            request_id: None,
        }
    }

    #[test]
    fn tools_run_only_when_the_model_stopped_for_them() {
        assert!(message(Stop::EndTurn).tool_calls().is_empty());
        assert!(message(Stop::MaxTokens).tool_calls().is_empty());
        let calls = message(Stop::ToolUse).tool_calls();
        assert_eq!(calls[0].input, Ok(Map::new()));
        assert_eq!(calls[1].input, Err("{\"a".into()));
    }

    #[test]
    fn text_and_citations_are_read_from_the_raw_blocks() {
        let message = message(Stop::EndTurn);
        assert_eq!(message.text(), "ab");
        let cited = message.citations();
        assert_eq!(cited.iter().map(|c| c.source.as_str()).collect::<Vec<_>>(), ["doc/1#p3", "P"]);
        assert_eq!(cited[1].page, Some(4));
        assert_eq!(without_thinking(&message.content).len(), 4);
    }
}
