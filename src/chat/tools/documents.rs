//! Passages of the team's documents, as search results that the model cites itself.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Brought, Failed, Scope, clip, many, parse};
use crate::chat::citations::Source;
use crate::ids::DocumentId;
use crate::knowledge::{self, KnowledgeHit};
use crate::wire::model::ResultBlock;

/// Passages in one result, and of one document.
const MOST: usize = 8;
const OF_ONE: usize = 3;
/// Characters of a passage.
const LONGEST: usize = 1_200;

pub fn input() -> Value {
    json!({ "query": { "type": "string" }, "limit": { "type": "integer" } })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    query: String,
    limit: i64,
}

pub fn search(scope: &Scope, input: Map<String, Value>) -> Result<Brought, Failed> {
    let asked: Asked = parse(input)?;
    let limit = usize::try_from(asked.limit).unwrap_or(MOST).clamp(1, MOST);
    let hits = best(scope, &asked.query, limit)?;
    let mut brought = Brought { found: many(hits.len(), "passage"), ..Brought::default() };
    if hits.is_empty() {
        brought.json = json!({ "results": [], "note": "No document mentions this." });
    }
    for hit in hits {
        let (reference, source) = source(&hit);
        brought.passages.push(ResultBlock::SearchResult {
            source: reference.clone(),
            title: clip(&format!("{}, page {}", hit.name, hit.page), 200),
            texts: vec![source.text.clone()],
        });
        brought.sources.push((reference, source));
    }
    Ok(brought)
}

/// The best passages, not too many of one document.
pub fn best(scope: &Scope, query: &str, limit: usize) -> Result<Vec<KnowledgeHit>, Failed> {
    let found = knowledge::search(&scope.ws, &clip(query, 500), limit * 3).map_err(|problem| {
        tracing::error!(%problem, "the documents could not be searched");
        Failed("The documents could not be searched. Tell the user.".into())
    })?;
    let mut hits: Vec<KnowledgeHit> = Vec::new();
    for hit in found.hits {
        let same = |document: DocumentId| hits.iter().filter(|h| h.document == document).count();
        if hits.len() < limit && same(hit.document) < OF_ONE {
            hits.push(hit);
        }
    }
    Ok(hits)
}

/// A passage as something to cite.
pub fn source(hit: &KnowledgeHit) -> (String, Source) {
    let text = clip(&hit.text, LONGEST);
    let source = Source {
        kind: "document".into(),
        title: hit.name.clone(),
        href: format!("knowledge/{}?page={}&passage={}", hit.document, hit.page, hit.passage),
        page: Some(hit.page),
        lines: None,
        quote: clip(&hit.text, 400),
        text,
    };
    (format!("doc/{}#p{}.{}", hit.document, hit.page, hit.passage), source)
}
