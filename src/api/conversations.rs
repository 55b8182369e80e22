//! `/api/v1/conversations`: questions with their answers, streamed or whole. A turn outlives its connection.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::change_sets::{parsed, read};
use super::idempotent::Once;
use super::{List, Page, needs};
use crate::chat::hub::Numbered;
use crate::chat::records::{MESSAGES, Message};
use crate::chat::{Chat, of};
use crate::identity::Scope;
use crate::ids::{ConversationId, MessageId, OrgId, TurnId};
use crate::orgs::records::ORGS;
use crate::store::Read as _;
use crate::web::access::Standing;
use crate::web::live::while_standing;
use crate::web::{Me, Problem};
use crate::workspace::Member;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/conversations", web::post().to(create))
        .route("/api/v1/conversations/{conversation}", web::delete().to(delete))
        .route("/api/v1/conversations/{conversation}/messages", web::get().to(messages))
        .route("/api/v1/conversations/{conversation}/messages", web::post().to(ask))
        .route("/api/v1/conversations/{conversation}/turns/{turn}/events", web::get().to(events))
        .route("/api/v1/conversations/{conversation}/turns/{turn}/stop", web::post().to(stop));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    org: Option<OrgId>,
    title: Option<String>,
}

async fn create(
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    let new: New = parsed(&read(payload).await?)?;
    let id = chat.begin(&ws, new.org, new.title.as_deref()).await?;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    text: String,
    org: Option<OrgId>,
}

async fn ask(
    request: HttpRequest,
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    standing: Standing,
    id: web::Path<ConversationId>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    let conversation = of(&ws, *id)?;
    let body = read(payload).await?;
    let once = Once::of(&ws, &request, &body)?;
    let begun = once.as_ref().map(|once| once.kept(&ws)).transpose()?.flatten();
    let turn: TurnId = if let Some(begun) = begun {
        // Asked before: the same answer is told again, as far as it has come.
        serde_json::from_value(begun.body["turn"].clone()).map_err(|_| Problem::NotFound)?
    } else {
        let said: Said = parsed(&body)?;
        if let Some(org) = said.org
            && !ws.read()?.has(&ORGS, &org)?
        {
            return Err(Problem::field("org", "There is no such org in this workspace."));
        }
        let asked = chat.ask(&ws, Some(*id), said.org.or(conversation.org), &said.text).await?;
        if let Some(once) = once {
            // Kept at once, because who waits too long for an answer asks again; and only the turn, because a deleted
            // answer must not live on here.
            once.keep(&ws, StatusCode::OK, json!({ "turn": asked.turn })).await?;
        }
        asked.turn
    };
    let (answer, mut told) = chat.attach(&ws, *id, turn)?;
    let mut accepts = request.headers().get_all(ACCEPT).filter_map(|v| v.to_str().ok());
    if accepts.any(|types| types.contains("text/event-stream")) {
        return Ok(streamed(standing, told, 0));
    }
    while told.next().await.is_some() {}
    if !standing.holds() {
        return Err(Problem::SignIn);
    }
    let row = ws.read()?.get(&MESSAGES, &(*id, answer))?.ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok().json(shown(answer, &row)))
}

async fn messages(
    me: Me,
    ws: Member,
    id: web::Path<ConversationId>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    of(&ws, *id)?;
    let after = page.cursor.as_deref().map(str::parse::<MessageId>).transpose();
    let after = after.map_err(|_| Problem::field("cursor", "This is no cursor of this list."))?;
    let read = ws.read()?;
    let mut scan = read.scan(&MESSAGES).under(&*id).limit(page.limit() + 1);
    if let Some(after) = after {
        scan = scan.after(&(*id, after));
    }
    let rows = scan.rows()?.into_iter().map(|((_, message), row)| (message, shown(message, &row)));
    Ok(HttpResponse::Ok().json(List::cut(rows.collect(), page.limit(), MessageId::to_string)))
}

async fn events(
    request: HttpRequest,
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    standing: Standing,
    path: web::Path<(ConversationId, TurnId)>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let last =
        request.headers().get("last-event-id").and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
    let (_, told) = chat.attach(&ws, path.0, path.1)?;
    Ok(streamed(standing, told, last))
}

async fn stop(
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    path: web::Path<(ConversationId, TurnId)>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    chat.stop(&ws, path.0, path.1).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn delete(
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    id: web::Path<ConversationId>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    chat.delete(&ws, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn streamed(standing: Standing, told: BoxStream<'static, Option<Numbered>>, last: u64) -> HttpResponse {
    let bytes = told.map(move |event| {
        let text = match event {
            Some(event) if event.id <= last => String::new(),
            Some(event) => event.sse(),
            None => ": still here\n\n".to_owned(),
        };
        Ok::<_, actix_web::Error>(web::Bytes::from(text))
    });
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(while_standing(standing, bytes))
}

fn shown(id: MessageId, row: &Message) -> Value {
    json!({
        "id": id,
        "turn": row.turn,
        "role": row.role,
        "created": row.at,
        "text": row.text,
        "state": row.state,
        "citations": row.citations,
        "tools": row.tools,
        "proposals": row.proposals,
        "failure": row.failure,
        "model": row.label,
        "usage": {
            "input_tokens": row.usage.prompt(), "output_tokens": row.usage.output,
            "cost_usd": crate::chat::hub::usd(row.cost_nano_usd),
        },
    })
}
