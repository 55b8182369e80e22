//! Data export of a workspace: start one, see how far it is, download it, delete it.

use std::io::Read;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::{HttpResponse, web};
use askama::Template;
use futures_util::Stream;
use serde::Deserialize;

use super::exports::{self, State, TOPIC};
use crate::ids::ExportId;
use crate::orgs::Orgs;
use crate::web::page::Crumb;
use crate::web::page::{local_time, see_other, size};
use crate::web::{Confirmed, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Keeper, Owner};

/// Bytes that are read at once.
const PIECE: u64 = 256 * 1024;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/privacy/export", web::get().to(show))
        .route("/w/{workspace}/privacy/export", web::post().to(start))
        .route("/w/{workspace}/privacy/export/{export}/bundle", web::get().to(download))
        .route("/w/{workspace}/privacy/export/{export}/delete", web::post().to(delete));
}

struct Row {
    id: ExportId,
    asked: String,
    state: State,
    size: String,
    ends: String,
    percent: Option<u64>,
}

#[derive(Template)]
#[template(path = "bundle/exports.html")]
struct ExportsPage {
    shell: Shell,
    slug: String,
    rows: Vec<Row>,
    topic: &'static str,
}

async fn show(
    web: web::Data<Web>,
    orgs: web::Data<Orgs>,
    me: Me,
    ws: Owner,
) -> Result<HttpResponse, Problem> {
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "Data export", "members")?
        .under(vec![Crumb::new("Data and privacy", format!("/w/{slug}/privacy"))]);
    let (zone, read, now) = (shell.time_zone.clone(), ws.read()?, web.clock.now());
    let mut rows = Vec::new();
    for (id, export) in exports::all_of(&read, ws.account())? {
        let state = exports::state(&read, &orgs.board, &export, now)?;
        let percent = match &state {
            State::Running(_, done, all) if *all > 0 => Some((done * 100 / all).min(100)),
            _ => None,
        };
        let (size, ends) = match &export.made {
            Some(made) => (size(made.bytes), local_time(made.ends, &zone)),
            None => (String::new(), String::new()),
        };
        rows.push(Row { id, asked: local_time(export.asked, &zone), state, size, ends, percent });
    }
    page::render(&ExportsPage { shell, slug, rows, topic: TOPIC })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Also while the workspace is to be deleted: then most of all.
async fn start(ws: Keeper, _: Confirmed, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    exports::ask(&ws).await?;
    Ok(see_other(&format!("/w/{}/privacy/export", ws.row().slug)))
}

async fn download(ws: Owner, path: web::Path<(String, ExportId)>) -> Result<HttpResponse, Problem> {
    send(&ws, path.1).await
}

async fn delete(
    orgs: web::Data<Orgs>,
    ws: Keeper,
    path: web::Path<(String, ExportId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    exports::delete(&ws, &orgs.board, path.1).await?;
    Ok(see_other(&format!("/w/{}/privacy/export", ws.row().slug)))
}

/// The bundle of an export, to the one who asked for it.
pub async fn send(ws: &Owner, id: ExportId) -> Result<HttpResponse, Problem> {
    let made = exports::take(ws, id).await?;
    let reader =
        ws.blobs().open(&made.blob).map_err(|e| Problem::Broken(format!("an export can't be read: {e}")))?;
    let name = format!("vynos-{}-{}.tar.zst", ws.row().slug, made.at.strftime("%Y-%m-%d"));
    Ok(attachment(&name, reader))
}

/// A file to be saved, streamed.
pub fn attachment(name: &str, reader: impl Read + Send + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/zstd")
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(pieces(reader))
}

fn pieces(reader: impl Read + Send + 'static) -> impl Stream<Item = std::io::Result<web::Bytes>> {
    futures_util::stream::try_unfold(reader, |mut reader| async move {
        let read = web::block(move || {
            let mut piece = Vec::new();
            reader.by_ref().take(PIECE).read_to_end(&mut piece).map(|_| (piece, reader))
        });
        let (piece, reader) = read.await.map_err(std::io::Error::other)??;
        Ok((!piece.is_empty()).then(|| (web::Bytes::from(piece), reader)))
    })
}
