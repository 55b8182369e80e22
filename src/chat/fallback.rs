//! The answer where no model is configured: what a search finds for the question, cited, and nothing made up about it.

use serde_json::{Map, json};

use super::citations::Source;
use super::tools::{self, Scope, documents};

/// Passages shown.
const PASSAGES: usize = 3;

/// What was found, as text with markers.
pub struct Found {
    pub text: String,
    pub sources: Vec<(String, Source)>,
}

pub fn answer(scope: &Scope, question: &str) -> Found {
    let mut text = "No model is configured, so this is only what a search for your words finds.\n".to_owned();
    let mut input = Map::new();
    input.insert("query".into(), json!(question));
    input.insert("types".into(), json!([]));
    input.insert("limit".into(), json!(8));
    let mut passages = Vec::new();
    for hit in documents::best(scope, question, PASSAGES).unwrap_or_default() {
        let (reference, source) = documents::source(&hit);
        let passage = source.quote.split_whitespace().collect::<Vec<_>>().join(" ").replace("[[", "[ [");
        text.push_str(&format!("\n> {passage} [[cite:{reference}]]\n"));
        passages.push((reference, source));
    }
    let mut sources = Vec::new();
    if let Ok(brought) = tools::call(scope, "metadata_search", input) {
        sources = brought.sources;
    }
    if sources.is_empty() && passages.is_empty() {
        text.push_str("\nNo document and nothing in the org answers these words.");
    }
    for (reference, source) in &sources {
        let line: String = source.quote.split_whitespace().collect::<Vec<_>>().join(" ").replace("[[", "[ [");
        text.push_str(&format!("\n- **{}** ({}): {line} [[cite:{reference}]]", source.title, source.kind));
    }
    sources.extend(passages);
    Found { text, sources }
}
