//! The events of a running turn for the page that shows it: the same as the API's, and after the text of each finished
//! block its HTML (`block`), so that a page never has to draw Markdown itself.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use serde_json::json;

use crate::chat::hub::{Event, Numbered};
use crate::chat::{Chat, of};
use crate::ids::{ConversationId, MessageId, TurnId};
use crate::web::Problem;
use crate::web::access::Standing;
use crate::web::live::while_standing;
use crate::web::markdown::{self, Blocks, Place};
use crate::workspace::Member;

pub async fn events(
    chat: web::Data<Chat>,
    ws: Member,
    standing: Standing,
    path: web::Path<(String, ConversationId, TurnId)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    of(&ws, path.1)?;
    let last =
        request.headers().get("last-event-id").and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
    let (answer, events) = chat.attach(&ws, path.1, path.2)?;
    let mut relay = Relay::new(answer, last);
    let bytes = events.map(move |event| {
        Ok::<_, actix_web::Error>(web::Bytes::from(
            event.map_or_else(|| ": still here\n\n".to_owned(), |event| relay.tell(&event)),
        ))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(while_standing(standing, bytes)))
}

/// Writes events for one page; those that it had before are read, for the state they leave, and not sent again.
struct Relay {
    answer: String,
    last: u64,
    blocks: Blocks,
    citations: Vec<u32>,
}

impl Relay {
    fn new(answer: MessageId, last: u64) -> Self {
        Self { answer: answer.to_string(), last, blocks: Blocks::default(), citations: Vec::new() }
    }

    fn tell(&mut self, event: &Numbered) -> String {
        let mut out = event.sse();
        match &event.event {
            Event::Citation(citation) => self.citations.push(citation.n),
            Event::Text(text) => out.extend(self.block(text)),
            _ => {}
        }
        if event.id <= self.last { String::new() } else { out }
    }

    /// A finished block as an event without an id: it belongs to the text before it.
    fn block(&mut self, text: &str) -> Option<String> {
        let done = self.blocks.push(text)?;
        let place = Place { heading: 3, prefix: &self.answer, citations: &self.citations };
        let data = json!({ "html": markdown::html(&done, place), "rest": self.blocks.rest() });
        Some(format!("event: block\ndata: {data}\n\n"))
    }
}
