//! Search in the documents: passages with their pages, and the words that were asked for.

use super::records::{DOCUMENTS, PASSAGES, Status};
use crate::ids::DocumentId;
use crate::store::Read as _;
use crate::web::Problem;
use crate::workspace::Workspace;
use crate::workspace::index::{Fragment, IndexError, Shelf, snippet};

/// Characters of a snippet.
const SNIPPET: usize = 240;

/// A passage that answers a search.
#[derive(Clone, Debug)]
pub struct KnowledgeHit {
    pub document: DocumentId,
    pub name: String,
    pub title: String,
    pub page: u32,
    pub passage: u64,
    pub heading: String,
    pub text: String,
    pub score: f32,
    pub snippet: Vec<Fragment>,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct KnowledgeFound {
    pub hits: Vec<KnowledgeHit>,
    /// The question as it was understood, when a word of it is in no document.
    pub instead: Option<String>,
    /// The index is gone or damaged and has to be built again.
    pub incomplete: bool,
}

/// Passages that answer `text`, best first. Blocks.
pub fn search(ws: &Workspace, text: &str, limit: usize) -> Result<KnowledgeFound, Problem> {
    let found = match ws.index().search(Shelf::Knowledge, text, None, false, limit) {
        Ok(found) => found,
        Err(IndexError::Damaged(why)) => {
            tracing::error!(workspace = %ws.id(), why, "the index of the documents is damaged");
            ws.index().reset(Shelf::Knowledge).map_err(|e| Problem::Broken(e.to_string()))?;
            return Ok(KnowledgeFound { incomplete: true, ..KnowledgeFound::default() });
        }
        Err(error) => return Err(Problem::Broken(error.to_string())),
    };
    let read = ws.read()?;
    let mut all = KnowledgeFound { instead: found.instead, ..KnowledgeFound::default() };
    for hit in found.hits {
        let (Ok(document), Ok(number)) = (hit.group.parse::<DocumentId>(), hit.id.parse::<u64>()) else {
            continue;
        };
        let Some(row) = read.get(&DOCUMENTS, &document)?.filter(|d| d.status == Status::Ready) else {
            continue;
        };
        let Some(passage) = read.get(&PASSAGES, &(document, number))? else { continue };
        let asked = all.instead.as_deref().unwrap_or(text);
        all.hits.push(KnowledgeHit {
            snippet: snippet(asked, &passage.text, row.language.as_deref(), SNIPPET),
            document,
            title: row.title.unwrap_or_else(|| row.name.clone()),
            name: row.name,
            page: passage.page,
            passage: number,
            heading: passage.heading,
            text: passage.text,
            score: hit.score,
        });
    }
    if !ws.index().exists(Shelf::Knowledge) {
        let ready =
            read.scan(&DOCUMENTS).rows()?.iter().any(|(_, d)| d.status == Status::Ready && d.passages > 0);
        all.incomplete = ready;
    }
    Ok(all)
}
