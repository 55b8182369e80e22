//! `/api/v1/documents`: upload, state, content, deletion of documents.

use actix_multipart::Multipart;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{List, Page, needs};
use crate::identity::Scope;
use crate::ids::DocumentId;
use crate::knowledge::records::{DOCUMENTS, Document, Status};
use crate::knowledge::{Added, Knowledge, add, delete, file_of, send};
use crate::store::Read as _;
use crate::web::{Me, Problem, Web};
use crate::workspace::{Member, Viewer};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/documents", web::get().to(list))
        .route("/api/v1/documents", web::post().to(upload))
        .route("/api/v1/documents/{document}", web::get().to(one))
        .route("/api/v1/documents/{document}", web::delete().to(remove))
        .route("/api/v1/documents/{document}/content", web::get().to(content));
}

fn shown(id: DocumentId, document: &Document) -> Value {
    json!({
        "id": id, "name": document.name, "status": document.status.name(), "bytes": document.bytes,
        "kind": document.kind, "language": document.language, "title": document.title,
        "pages": document.pages, "passages": document.passages, "warnings": document.warnings,
        "collection": document.collection, "uploaded": document.uploaded,
        "error": document.error.as_ref().map(|e| json!({ "code": e.code(), "message": e.to_string() })),
    })
}

async fn list(me: Me, ws: Viewer, page: web::Query<Page>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let limit = page.limit();
    let after: Option<DocumentId> = match &page.cursor {
        Some(cursor) => {
            Some(cursor.parse().map_err(|_| Problem::field("cursor", "This is no cursor of this list."))?)
        }
        None => None,
    };
    let items = web::block(move || -> Result<_, Problem> {
        let mut rows = Vec::new();
        let read = ws.read()?;
        let scan = read.scan(&DOCUMENTS);
        let scan = match &after {
            Some(after) => scan.after(after),
            None => scan,
        };
        scan.each(|id, document| {
            if document.status != Status::Deleting {
                rows.push((id, document));
            }
            rows.len() <= limit
        })?;
        rows.into_iter().map(|(id, document)| Ok((id, shown(id, &document.settled(&read)?)))).collect()
    })
    .await??;
    Ok(HttpResponse::Ok().json(List::cut(items, limit, ToString::to_string)))
}

/// One `file`, and before it, if at all, a `collection`.
async fn upload(
    web: web::Data<Web>,
    me: Me,
    ws: Member,
    request: HttpRequest,
    mut form: Multipart,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Upload)?;
    let broken = || Problem::field("file", "The upload broke off. It was not kept. Send it again.");
    let again = request.headers().contains_key("idempotency-key");
    let mut collection = None;
    while let Some(field) = form.next().await {
        let mut field = field.map_err(|_| broken())?;
        match field.name().unwrap_or_default() {
            "collection" => {
                let text = file_of::small(&mut field).await?;
                collection = Some(text).filter(|text| !text.is_empty());
            }
            "file" => {
                let name =
                    field.content_disposition().and_then(|d| d.get_filename()).unwrap_or_default().to_owned();
                let added =
                    add(&ws, web.control.quota(ws.id())?, &name, collection, file_of::body(&mut field))
                        .await?;
                let id = match added {
                    Added::New(id) => id,
                    // The same file under an idempotency key is the same request.
                    Added::Known(id, _) if again => id,
                    Added::Known(id, name) => {
                        return Err(Problem::Conflict(format!(
                            "This file is here already as “{name}”, document {id}. Nothing was changed."
                        )));
                    }
                };
                return Ok(HttpResponse::Accepted().json(json!({ "id": id, "status": "queued" })));
            }
            other => {
                return Err(Problem::field(
                    other,
                    "This field is not known. Send file, and before it collection.",
                ));
            }
        }
    }
    Err(Problem::field("file", "Send the file as the multipart field named file."))
}

fn of(ws: &Viewer, id: DocumentId) -> Result<Document, Problem> {
    let read = ws.read()?;
    let found = read.get(&DOCUMENTS, &id)?.filter(|d| d.status != Status::Deleting);
    Ok(found.ok_or(Problem::NotFound)?.settled(&read)?)
}

async fn one(me: Me, ws: Viewer, id: web::Path<DocumentId>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    Ok(HttpResponse::Ok().json(shown(*id, &of(&ws, *id)?)))
}

async fn remove(
    service: web::Data<Knowledge>,
    me: Me,
    ws: Member,
    id: web::Path<DocumentId>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Upload)?;
    delete(&ws, &service.board, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn content(me: Me, ws: Viewer, id: web::Path<DocumentId>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let document = of(&ws, *id)?;
    send(&ws, &document)
}
