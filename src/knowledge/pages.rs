//! The library's own page: upload, search, the list of documents with how far each is.

use actix_multipart::{Field, Multipart};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;

use super::extract::ExtractError;
use super::records::{DOCUMENTS, Document, Status, Totals, totals};
use super::{Added, Knowledge, KnowledgeFound, TOPIC, add, rebuild, search};
use crate::identity::Role;
use crate::identity::settings::Quota;
use crate::ids::DocumentId;
use crate::seal::constant_time_eq;
use crate::store::{Read as _, StoreError};
use crate::web::page::{grouped, render_with, see_other, size};
use crate::web::problem::FieldError;
use crate::web::{Me, Problem, Shell, Web, page};
use crate::workspace::{Member, Viewer};

/// Rows on one page.
const SHOWN: usize = 200;
const HITS: usize = 20;
/// Files of one form.
const FILES: usize = 50;
/// Bytes of a small field.
const FIELD: usize = 4096;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/knowledge", web::get().to(library))
        .route("/w/{workspace}/knowledge", web::post().to(upload));
}

#[derive(Deserialize, Default)]
struct Asked {
    #[serde(default)]
    q: String,
}

/// A document as the list shows it.
struct Row {
    id: DocumentId,
    name: String,
    kind: String,
    state: String,
    tone: &'static str,
    badge: &'static str,
    percent: Option<u64>,
}

#[derive(Template)]
#[template(path = "knowledge/library.html")]
struct LibraryPage {
    shell: Shell,
    slug: String,
    q: String,
    found: Option<KnowledgeFound>,
    rows: Vec<Row>,
    more: usize,
    facts: String,
    errors: Vec<FieldError>,
    may_upload: bool,
    topic: &'static str,
}

async fn library(
    web: web::Data<Web>,
    service: web::Data<Knowledge>,
    me: Me,
    ws: Viewer,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let page = draw(&web, &service, &me, ws, &asked.q, Vec::new()).await?;
    page::render(&page)
}

async fn draw(
    web: &Web,
    service: &Knowledge,
    me: &Me,
    ws: Viewer,
    q: &str,
    errors: Vec<FieldError>,
) -> Result<LibraryPage, Problem> {
    let shell = Shell::workspace(web, me, &ws, "Knowledge", "knowledge")?;
    let (slug, may_upload) = (ws.row().slug.clone(), ws.role() >= Role::Member);
    let read = ws.read()?;
    let all = totals(&read)?;
    let mut rows = Vec::new();
    read.scan(&DOCUMENTS).reverse().each(|id, document| {
        if document.status != Status::Deleting {
            rows.push((id, document));
        }
        rows.len() < SHOWN
    })?;
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|(id, document)| Ok(row(service, id, document.settled(&read)?)))
        .collect::<Result<_, StoreError>>()?;
    drop(read);
    let quota = web.control.quota(ws.id())?;
    let question = q.trim().to_owned();
    let (ws, found) = if question.is_empty() {
        (ws, None)
    } else {
        web::block(move || search(&ws, &question, HITS).map(|found| (ws, Some(found)))).await??
    };
    if found.as_ref().is_some_and(|found| found.incomplete) {
        rebuild(&ws).await?;
    }
    Ok(LibraryPage {
        shell,
        slug,
        q: q.trim().to_owned(),
        found,
        more: all.documents.saturating_sub(rows.len()),
        rows,
        facts: facts(&all, quota),
        errors,
        may_upload,
        topic: TOPIC,
    })
}

fn facts(all: &Totals, quota: Quota) -> String {
    let many = |n: u64, one: &str| format!("{} {one}{}", grouped(n), if n == 1 { "" } else { "s" });
    format!(
        "{} · {} · {} of {}",
        many(all.documents as u64, "document"),
        many(all.pages, "page"),
        size(all.bytes),
        size(quota.bytes)
    )
}

fn row(service: &Knowledge, id: DocumentId, document: Document) -> Row {
    let running = service.board.of(document.job).filter(|p| !p.phase.is_empty());
    let percent = running.as_ref().filter(|p| p.total > 0).map(|p| (p.done * 100 / p.total).min(100));
    let pages = |n: u32| format!("{} page{}", grouped(u64::from(n)), if n == 1 { "" } else { "s" });
    let (state, tone, badge) = match (document.status, &document.error) {
        (Status::Failed, Some(ExtractError::NoText(why))) if why.contains("OCR") => {
            (why.clone(), "warn", "Needs OCR")
        }
        (Status::Failed, error) => {
            (error.as_ref().map(ToString::to_string).unwrap_or_default(), "bad", "Not read")
        }
        (Status::Ready, _) => {
            let mut state =
                format!("{} · {}", pages(document.pages), document.uploaded.strftime("%-d %B %Y"));
            for warning in &document.warnings {
                state.push_str(&format!(" · {warning}"));
            }
            (state, "ok", "Ready")
        }
        (Status::Queued, _) => ("Waiting to be read".to_owned(), "", ""),
        _ => match &running {
            Some(p) if p.total > 0 => (format!("{} page {} of {}", p.phase, p.done, p.total), "", ""),
            Some(p) => (p.phase.clone(), "", ""),
            None => ("Being read".to_owned(), "", ""),
        },
    };
    Row { id, kind: ending(&document.name), name: document.name, state, tone, badge, percent }
}

/// The ending of a file's name, for its picture.
pub fn ending(name: &str) -> String {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "markdown" => "md".into(),
        "htm" | "html" | "md" | "pdf" => ending,
        _ => "txt".into(),
    }
}

/// Takes files from the form: the key comes first, then any number of files.
async fn upload(
    web: web::Data<Web>,
    service: web::Data<Knowledge>,
    me: Me,
    ws: Member,
    mut form: Multipart,
) -> Result<HttpResponse, Problem> {
    let (mut keyed, mut errors, mut taken) = (false, Vec::new(), 0);
    let quota = web.control.quota(ws.id())?;
    while let Some(mut field) = form.next().await {
        let field_of = field.as_mut().map_err(|_| broken_off())?;
        let name = field_of.name().unwrap_or_default().to_owned();
        if name == "csrf" {
            let key = small(field_of).await?;
            keyed = !me.csrf().is_empty() && constant_time_eq(key.as_bytes(), me.csrf().as_bytes());
            continue;
        }
        if !keyed {
            return Err(Problem::ForeignForm);
        }
        let file =
            field_of.content_disposition().and_then(|d| d.get_filename()).unwrap_or_default().to_owned();
        if name != "files" || file.is_empty() {
            continue;
        }
        taken += 1;
        if taken > FILES {
            errors.push(FieldError {
                field: "files".into(),
                message: format!("{file}: one form takes {FILES} files."),
            });
            break;
        }
        match add(&ws, quota, &file, None, body(field_of)).await {
            Ok(Added::New(_)) => {}
            Ok(Added::Known(_, known)) => {
                let message = format!("{file}: this file is here already, as “{known}”.");
                errors.push(FieldError { field: "files".into(), message });
            }
            Err(problem @ (Problem::Broken(_) | Problem::DiskFull)) => return Err(problem),
            Err(problem) => {
                let said = problem.said();
                let why = said.errors.first().map_or(said.detail.clone(), |e| e.message.clone());
                errors.push(FieldError { field: "files".into(), message: format!("{file}: {why}") });
            }
        }
    }
    if taken == 0 {
        errors.push(FieldError { field: "files".into(), message: "Choose at least one file.".into() });
    }
    if errors.is_empty() {
        return Ok(see_other(&format!("/w/{}/knowledge", ws.row().slug)));
    }
    let viewer = ws.into_viewer();
    let page = draw(&web, &service, &me, viewer, "", errors).await?;
    render_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

fn broken_off() -> Problem {
    Problem::field("files", "The upload broke off. What had arrived whole is kept. Send the rest again.")
}

/// A short text field.
pub async fn small(field: &mut Field) -> Result<String, Problem> {
    let mut text = Vec::new();
    while let Some(piece) = field.try_next().await.map_err(|_| broken_off())? {
        text.extend_from_slice(&piece);
        if text.len() > FIELD {
            return Err(Problem::field("", "A field is too long."));
        }
    }
    String::from_utf8(text).map_err(|_| Problem::field("", "A field is not text."))
}

/// The bytes of a file of a form.
pub fn body(field: &mut Field) -> impl Stream<Item = Result<bytes::Bytes, Problem>> + '_ {
    field.map(|piece| piece.map_err(|_| broken_off()))
}
