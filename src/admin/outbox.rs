//! The outbox of the instance: what waits, what was sent, what can't get there.

use actix_web::{HttpResponse, web};
use jiff::Timestamp;

use super::Nothing;
use crate::ids::MailId;
use crate::mail::outbox::{self, MailRow, Outbox};
use crate::web::page::see_other;
use crate::web::{Operator, PostForm, Problem, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/mail/{mail}/drop", web::post().to(drop))
        .route("/admin/mail/{mail}/retry", web::post().to(retry));
}

/// A mail as the page shows it: to whom and of which kind, never what it says.
pub(super) struct Line {
    pub id: MailId,
    pub to: String,
    pub kind: String,
    pub tries: u32,
    pub said: String,
    pub when: String,
    /// On its way at this moment.
    pub sending: bool,
}

/// The outbox as the page shows it.
pub(super) struct View {
    pub waiting: Vec<Line>,
    pub waiting_count: usize,
    pub sent: usize,
    pub dead: Vec<Line>,
}

impl View {
    pub fn of(web: &Web) -> Result<Self, Problem> {
        let Outbox { waiting, waiting_count, sent, dead } = Outbox::of(&web.control)?;
        let lines = |rows: Vec<(MailId, MailRow)>| rows.into_iter().map(line).collect();
        Ok(Self { waiting: lines(waiting), waiting_count, sent, dead: lines(dead) })
    }
}

fn line((id, row): (MailId, MailRow)) -> Line {
    let due = Timestamp::from_millisecond(i64::try_from(row.due_ms).unwrap_or(0)).unwrap_or(row.created);
    let when = row.ended.unwrap_or(due).strftime("%-d %b, %H:%M UTC").to_string();
    let sending = row.state == outbox::MailState::Sending;
    Line { id, to: row.to, kind: row.kind.replace('-', " "), tries: row.tries, said: row.said, when, sending }
}

async fn retry(
    web: web::Data<Web>,
    me: Operator,
    path: web::Path<String>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let id: MailId = path.parse().map_err(|_| Problem::NotFound)?;
    if !outbox::retry(&web.control, &me, id).await? {
        return Err(Problem::NotFound);
    }
    Ok(see_other("/admin/mail#outbox"))
}

async fn drop(
    web: web::Data<Web>,
    me: Operator,
    path: web::Path<String>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let id: MailId = path.parse().map_err(|_| Problem::NotFound)?;
    if !outbox::drop(&web.control, &me, id).await? {
        return Err(Problem::NotFound);
    }
    Ok(see_other("/admin/mail#outbox"))
}
