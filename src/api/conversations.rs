//! `/api/v1/conversations`: the caller's own chats. A question is answered as a stream of events or, to a client
//! that wants JSON, as the finished message; the turn goes on when the connection is lost.

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{List, Page, needs};
use crate::chat::records::{Conversation, MESSAGES, Message, Role};
use crate::chat::{Asked, Chat, of};
use crate::identity::Scope;
use crate::ids::{ConversationId, MessageId, OrgId, TurnId};
use crate::store::Read as _;
use crate::web::{Me, Problem};
use crate::workspace::Member;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/conversations", web::post().to(begin))
        .route("/api/v1/conversations/{conversation}", web::delete().to(remove))
        .route("/api/v1/conversations/{conversation}/messages", web::get().to(list))
        .route("/api/v1/conversations/{conversation}/messages", web::post().to(ask))
        .route("/api/v1/conversations/{conversation}/turns/{turn}/events", web::get().to(events))
        .route("/api/v1/conversations/{conversation}/turns/{turn}/stop", web::post().to(stop));
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct New {
    org: Option<OrgId>,
    title: Option<String>,
}

async fn begin(
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    new: Option<web::Json<New>>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    let new = new.map(web::Json::into_inner).unwrap_or_default();
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
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    id: web::Path<ConversationId>,
    request: HttpRequest,
    said: web::Json<Said>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    let Conversation { org, .. } = of(&ws, *id)?;
    let said = said.into_inner();
    let asked = chat.ask(&ws, Some(*id), said.org.or(org), &said.text).await?;
    if wants_events(&request) {
        stream(&chat, &ws, asked.conversation, asked.turn, 0)
    } else {
        whole(&chat, &ws, asked).await
    }
}

fn wants_events(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    accept.contains("text/event-stream")
}

/// Waits for the end of a turn, and answers its message.
async fn whole(chat: &Chat, ws: &Member, asked: Asked) -> Result<HttpResponse, Problem> {
    let (id, events) = chat.attach(ws, asked.conversation, asked.turn)?;
    events.for_each(|_| std::future::ready(())).await;
    let message = ws.read()?.get(&MESSAGES, &(asked.conversation, id))?.ok_or(Problem::NotFound)?;
    let mut value = shown(id, &message);
    value["turn"] = json!(asked.turn);
    Ok(HttpResponse::Ok().json(value))
}

async fn events(
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    path: web::Path<(ConversationId, TurnId)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    let last =
        request.headers().get("last-event-id").and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
    stream(&chat, &ws, path.0, path.1, last)
}

/// The events of a turn behind number `last`; a comment now and then while nothing happens.
fn stream(
    chat: &Chat,
    ws: &Member,
    id: ConversationId,
    turn: TurnId,
    last: u64,
) -> Result<HttpResponse, Problem> {
    let (_, events) = chat.attach(ws, id, turn)?;
    let bytes = events.filter_map(move |event| {
        let text = match event {
            Some(event) if event.id > last => Some(event.sse()),
            Some(_) => None,
            None => Some(": still here\n\n".to_owned()),
        };
        std::future::ready(text.map(|text| Ok::<_, actix_web::Error>(web::Bytes::from(text))))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-turn", turn.to_string()))
        .streaming(bytes))
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

async fn remove(
    chat: web::Data<Chat>,
    me: Me,
    ws: Member,
    id: web::Path<ConversationId>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    chat.delete(&ws, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn list(
    me: Me,
    ws: Member,
    id: web::Path<ConversationId>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Chat)?;
    of(&ws, *id)?;
    let limit = page.limit();
    let read = ws.read()?;
    let scan = read.scan(&MESSAGES).under(&*id);
    let after = page.cursor.as_deref().map(str::parse::<MessageId>).transpose();
    let after = after.map_err(|_| Problem::field("cursor", "This is no cursor of this list."))?;
    let scan = match after {
        Some(after) => scan.after(&(*id, after)),
        None => scan,
    };
    let rows = scan.limit(limit + 1).rows()?;
    let rows = rows.into_iter().map(|((_, message), row)| (message, shown(message, &row))).collect();
    Ok(HttpResponse::Ok().json(List::cut(rows, limit, ToString::to_string)))
}

fn shown(id: MessageId, message: &Message) -> Value {
    let mut value = json!({
        "id": id,
        "role": if message.role == Role::User { "user" } else { "assistant" },
        "at": message.at,
        "text": message.text,
        "state": message.state,
    });
    if message.role == Role::Assistant {
        value["answers"] = json!(message.answers);
        value["citations"] = json!(message.citations);
        value["tools"] = json!(message.tools);
        value["proposals"] = json!(message.proposals);
        value["failure"] = json!(message.failure);
        value["model"] = json!(message.label);
        value["usage"] = json!({
            "input_tokens": message.usage.prompt(), "output_tokens": message.usage.output,
            "cost_usd": message.cost_nano_usd.map(|nano| nano as f64 / 1e9),
        });
    }
    value
}
