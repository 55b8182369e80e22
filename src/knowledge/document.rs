//! One document: a page of its text with the passage and the words that were asked for, the file itself, and
//! the page that deletes it.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::records::{DOCUMENTS, Document, PAGES, PASSAGES, Status};
use super::{Knowledge, TOPIC, delete, retry};
use crate::identity::Role;
use crate::ids::DocumentId;
use crate::store::Read as _;
use crate::web::page::{see_other, size};
use crate::web::{Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::index::{Fragment, hits};
use crate::workspace::{Member, Viewer, Workspace};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/knowledge/{document}", web::get().to(show))
        .route("/w/{workspace}/knowledge/{document}/content", web::get().to(content))
        .route("/w/{workspace}/knowledge/{document}/delete", web::get().to(confirm))
        .route("/w/{workspace}/knowledge/{document}/delete", web::post().to(remove))
        .route("/w/{workspace}/knowledge/{document}/retry", web::post().to(again));
}

/// A document of this workspace that is not on its way out.
pub fn of(ws: &Workspace, id: DocumentId) -> Result<Document, Problem> {
    let read = ws.read()?;
    let found = read.get(&DOCUMENTS, &id)?.filter(|d| d.status != Status::Deleting);
    Ok(found.ok_or(Problem::NotFound)?.settled(&read)?)
}

#[derive(Deserialize)]
struct Place {
    page: Option<u32>,
    passage: Option<u64>,
    #[serde(default)]
    q: String,
}

#[derive(Template)]
#[template(path = "knowledge/document.html")]
struct DocumentPage {
    shell: Shell,
    slug: String,
    id: DocumentId,
    document: Document,
    size: String,
    uploaded: String,
    number: u32,
    previous: Option<u32>,
    next: Option<u32>,
    before: Vec<Fragment>,
    inside: Vec<Fragment>,
    after: Vec<Fragment>,
    q: String,
    may_change: bool,
    topic: &'static str,
}

async fn show(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, DocumentId)>,
    place: web::Query<Place>,
) -> Result<HttpResponse, Problem> {
    let id = path.1;
    let document = of(&ws, id)?;
    let read = ws.read()?;
    let passage = place.passage.map(|n| read.get(&PASSAGES, &(id, n))).transpose()?.flatten();
    let number = place.page.or(passage.as_ref().map(|p| p.page)).unwrap_or(1).clamp(1, document.pages.max(1));
    let text = read.get(&PAGES, &(id, number))?.unwrap_or_default();
    let range = passage.filter(|p| p.page == number && text.get(p.start..p.end).is_some());
    let (from, to) = range.map_or((0, 0), |p| (p.start, p.end));
    let words = |piece: &str| marked(piece, &place.q, document.language.as_deref());
    let (before, inside, after) = (words(&text[..from]), words(&text[from..to]), words(&text[to..]));
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, &document.name, "knowledge")?;
    page::render(&DocumentPage {
        shell: shell.under(vec![Crumb::new("Knowledge", format!("/w/{slug}/knowledge"))]),
        slug,
        id,
        size: size(document.bytes),
        uploaded: document.uploaded.strftime("%-d %B %Y").to_string(),
        number,
        previous: (number > 1).then(|| number - 1),
        next: (number < document.pages).then(|| number + 1),
        before,
        inside,
        after,
        q: place.q.clone(),
        may_change: ws.role() >= Role::Member,
        topic: TOPIC,
        document,
    })
}

/// A text with the words of a question marked.
fn marked(text: &str, question: &str, language: Option<&str>) -> Vec<Fragment> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    let mut push = |piece: &str, hit: bool| {
        if !piece.is_empty() {
            pieces.push(Fragment { text: piece.to_owned(), hit });
        }
    };
    for (from, to) in hits(question, text, language) {
        push(&text[at..from], false);
        push(&text[from..to], true);
        at = to;
    }
    push(&text[at..], false);
    pieces
}

/// The file as it was uploaded: to be saved, never to be shown by the browser.
async fn content(ws: Viewer, path: web::Path<(String, DocumentId)>) -> Result<HttpResponse, Problem> {
    let document = of(&ws, path.1)?;
    send(&ws, &document)
}

/// Streams the file of a document out of its sealed blob.
pub fn send(ws: &Workspace, document: &Document) -> Result<HttpResponse, Problem> {
    let broken = |e: std::io::Error| Problem::Broken(format!("a file can't be read: {e}"));
    let reader = ws.blobs().open(&document.blob).map_err(broken)?;
    let stream = futures_util::stream::try_unfold(reader, |mut reader| async move {
        let read = web::block(move || {
            use std::io::Read as _;
            let mut piece = Vec::new();
            reader.by_ref().take(256 * 1024).read_to_end(&mut piece).map(|_| (piece, reader))
        });
        let (piece, reader) = read.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (web::Bytes::from(piece), reader)))
    });
    let plain: String = document
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' })
        .collect();
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header(("content-disposition", format!("attachment; filename=\"{plain}\"")))
        .insert_header(("cache-control", "no-store"))
        .streaming(stream))
}

#[derive(Template)]
#[template(path = "knowledge/delete.html")]
struct DeletePage {
    shell: Shell,
    slug: String,
    id: DocumentId,
    name: String,
}

async fn confirm(
    web: web::Data<Web>,
    me: Me,
    ws: Member,
    path: web::Path<(String, DocumentId)>,
) -> Result<HttpResponse, Problem> {
    let document = of(&ws, path.1)?;
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "Delete document", "knowledge")?;
    let shell = shell.under(vec![Crumb::new("Knowledge", format!("/w/{slug}/knowledge"))]);
    page::render(&DeletePage { shell, slug, id: path.1, name: document.name })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn remove(
    service: web::Data<Knowledge>,
    ws: Member,
    path: web::Path<(String, DocumentId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    delete(&ws, &service.board, path.1).await?;
    Ok(see_other(&format!("/w/{}/knowledge", ws.row().slug)))
}

async fn again(
    ws: Member,
    path: web::Path<(String, DocumentId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    of(&ws, path.1)?;
    retry(&ws, path.1).await?;
    Ok(see_other(&format!("/w/{}/knowledge", ws.row().slug)))
}
