//! `/api/v1/orgs/{org}/components`: the catalogue.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{List, Page, needs};
use crate::identity::Scope;
use crate::ids::OrgId;
use crate::orgs::records::{COMPONENTS, Component, ComponentKey, HISTORY, ORGS, SOURCES};
use crate::store::Read as _;
use crate::web::{Me, Problem};
use crate::workspace::Viewer;

/// Components looked at for one page of a search.
const LOOKED_AT: usize = 20_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/orgs/{org}/components", web::get().to(list))
        .route("/api/v1/components/{component}", web::get().to(one));
}

/// Names a component in URLs: org, type and name with dots between; the name may hold dots itself.
fn handle((org, kind, name): &ComponentKey) -> String {
    format!("{org}.{kind}.{name}")
}

fn key(handle: &str) -> Option<ComponentKey> {
    let mut parts = handle.splitn(3, '.');
    Some((parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.to_owned()))
}

fn shown(key: &ComponentKey, component: &Component) -> Value {
    json!({
        "id": handle(key), "type": key.1, "name": key.2, "label": component.label, "file": component.file,
        "lines": component.lines, "modified": component.modified, "modified_by": component.modified_by,
        "synced": component.synced,
    })
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    q: String,
    #[serde(default, rename = "type")]
    kind: String,
}

async fn list(
    me: Me,
    ws: Viewer,
    id: web::Path<OrgId>,
    wanted: web::Query<Wanted>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let id = *id;
    let limit = page.limit();
    let items = web::block(move || -> Result<_, Problem> {
        let read = ws.read()?;
        if !read.has(&ORGS, &id)? {
            return Err(Problem::NotFound);
        }
        let mut items: Vec<(ComponentKey, Value)> = Vec::new();
        let scan = read.scan(&COMPONENTS).limit(LOOKED_AT);
        let scan =
            if wanted.kind.is_empty() { scan.under(&id) } else { scan.under(&(id, wanted.kind.clone())) };
        let cursor = page
            .cursor
            .as_deref()
            .map(|c| key(c).ok_or(Problem::field("cursor", "Not a cursor.")))
            .transpose()?;
        let scan = match &cursor {
            Some(key) if key.0 == id => scan.after(key),
            Some(_) => return Err(Problem::field("cursor", "A cursor of another list.")),
            None => scan,
        };
        let q = wanted.q.to_lowercase();
        scan.each(|key, component| {
            let label = component.label.as_deref().unwrap_or_default().to_lowercase();
            if q.is_empty() || key.2.to_lowercase().contains(&q) || label.contains(&q) {
                let value = shown(&key, &component);
                items.push((key, value));
            }
            items.len() <= limit
        })?;
        Ok(items)
    });
    Ok(HttpResponse::Ok().json(List::cut(items.await??, limit, handle)))
}

async fn one(me: Me, ws: Viewer, handle: web::Path<String>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let key = key(&handle).ok_or(Problem::NotFound)?;
    let read = ws.read()?;
    let component = read.get(&COMPONENTS, &key)?.ok_or(Problem::NotFound)?;
    let history: Vec<Value> = read
        .scan(&HISTORY)
        .under(&key)
        .reverse()
        .limit(50)
        .rows()?
        .into_iter()
        .map(|((_, number), v)| {
            json!({ "version": number, "change": v.change, "seen": v.seen, "modified": v.modified, "modified_by": v.modified_by })
        })
        .collect();
    let mut body = shown(&key, &component);
    body["fields"] = json!(component.fields);
    body["source"] = json!(read.get(&SOURCES, &key)?);
    body["history"] = json!(history);
    Ok(HttpResponse::Ok().json(body))
}
