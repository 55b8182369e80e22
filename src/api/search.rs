//! `/api/v1/search`: passages of documents, components of the orgs, the caller's own conversations.

use std::time::Instant;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, needs};
use crate::identity::Scope;
use crate::knowledge;
use crate::orgs;
use crate::web::{Me, Problem};
use crate::workspace::Viewer;

const LONGEST: usize = 500;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/v1/search", web::get().to(search));
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
    scope: Option<String>,
}

async fn search(
    me: Me,
    ws: Viewer,
    asked: web::Query<Asked>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let Asked { q, scope } = asked.into_inner();
    if q.trim().is_empty() || q.len() > LONGEST {
        return Err(Problem::field("q", "Ask with 1 to 500 characters."));
    }
    let (limit, began) = (page.limit(), Instant::now());
    let items = match scope.as_deref().unwrap_or("knowledge") {
        "knowledge" => web::block(move || passages(&ws, &q, limit)).await??,
        "metadata" => web::block(move || components(&ws, &q, limit)).await??,
        _ => return Err(Problem::field("scope", "A scope is knowledge or metadata.")),
    };
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(HttpResponse::Ok().json(json!({ "items": items, "took_ms": took })))
}

fn passages(ws: &Viewer, q: &str, limit: usize) -> Result<Vec<Value>, Problem> {
    let found = knowledge::search(ws, q, limit)?;
    let item = |hit: knowledge::KnowledgeHit| {
        json!({
            "id": format!("{}.{}", hit.document, hit.passage),
            "document": { "id": hit.document, "name": hit.name },
            "title": if hit.heading.is_empty() { hit.title } else { hit.heading },
            "page": hit.page, "score": hit.score, "snippet": hit.snippet,
        })
    };
    Ok(found.hits.into_iter().map(item).collect())
}

fn components(ws: &Viewer, q: &str, limit: usize) -> Result<Vec<Value>, Problem> {
    let found = orgs::search::search(ws, None, q, limit)?;
    let item = |hit: orgs::search::ComponentHit| {
        json!({
            "id": format!("{}.{}.{}", hit.org, hit.kind, hit.name), "org": hit.org, "type": hit.kind,
            "title": hit.name, "label": hit.label, "score": hit.score, "snippet": hit.snippet,
        })
    };
    Ok(found.into_iter().map(item).collect())
}
