//! `/api/v1/exports`: exports of the workspace, for owners. Who asked for one is the only one who sees it.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::idempotent::Once;
use super::needs;
use crate::bundle::exports::{self, Export, State};
use crate::bundle::send;
use crate::identity::Scope;
use crate::ids::ExportId;
use crate::orgs::Orgs;
use crate::web::{Me, Problem, Web};
use crate::workspace::Owner;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/exports", web::post().to(start))
        .route("/api/v1/exports/{export}", web::get().to(one))
        .route("/api/v1/exports/{export}/bundle", web::get().to(bundle));
}

async fn start(me: Me, ws: Owner, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    if !matches!(body.as_ref(), b"" | b"{}") {
        return Err(Problem::field("", "This takes no fields. Send nothing, or {}."));
    }
    let once = Once::of(&ws, &request, &body)?;
    if let Some(answered) = once.as_ref().map(|once| once.answered(&ws)).transpose()?.flatten() {
        return Ok(answered);
    }
    let id = exports::ask(&ws).await?;
    Once::answer(once, &ws, StatusCode::ACCEPTED, json!({ "id": id, "status": "queued" })).await
}

async fn one(
    web: web::Data<Web>,
    orgs: web::Data<Orgs>,
    me: Me,
    ws: Owner,
    id: web::Path<ExportId>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    let export = exports::of(&ws, ws.account(), *id)?;
    let state = exports::state(&ws.read()?, &orgs.board, &export, web.clock.now())?;
    Ok(HttpResponse::Ok().json(shown(*id, &export, &state)))
}

fn shown(id: ExportId, export: &Export, state: &State) -> Value {
    let (done, total) = match state {
        State::Running(_, done, total) => (Some(*done), Some(*total).filter(|total| *total > 0)),
        _ => (None, None),
    };
    let error = match state {
        State::Failed(why) => Some(why),
        _ => None,
    };
    json!({
        "id": id, "status": state.name(), "asked": export.asked, "done_bytes": done, "total_bytes": total,
        "bytes": export.made.as_ref().map(|made| made.bytes), "ends": export.made.as_ref().map(|made| made.ends),
        "error": error,
    })
}

async fn bundle(me: Me, ws: Owner, id: web::Path<ExportId>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    send(&ws, *id).await
}
