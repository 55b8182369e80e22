//! `Idempotency-Key`: the same request of the same account, sent again within a day or two, gets the first answer
//! and does nothing.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{Read as _, StoreError, Table, Tx};
use crate::web::Problem;
use crate::workspace::{Viewer, Workspace};

/// By day, then by keyed hash of account, path and key.
pub const ANSWERS: Table<(u32, [u8; 32]), Answer> = Table::new("api_answers", 1);
const DAY_MS: u64 = 24 * 3600 * 1000;
const LONGEST: usize = 200;
/// Old answers that one new answer clears away.
const SWEEP: usize = 64;

/// The first answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Keyed hash of the body that it answered.
    pub asked: [u8; 32],
    pub status: u16,
    pub body: Value,
}

/// A request that carries a key.
pub struct Once {
    place: [u8; 32],
    asked: [u8; 32],
}

impl Once {
    /// `None` without the header. A key that was used for another body is a conflict.
    pub fn of(ws: &Viewer, request: &HttpRequest, body: &[u8]) -> Result<Option<Self>, Problem> {
        let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
        let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= LONGEST);
        let Some(key) = key else {
            return Err(Problem::field("Idempotency-Key", format!("A key has 1 to {LONGEST} characters.")));
        };
        let place = ws.lookup(format!("{} {} {key}", ws.account(), request.path()).as_bytes());
        Ok(Some(Self { place, asked: ws.lookup(body) }))
    }

    /// The answer that was given before.
    pub fn answered(&self, ws: &Workspace) -> Result<Option<HttpResponse>, Problem> {
        let answer = self.kept(ws)?;
        Ok(answer.map(|answer| {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
            HttpResponse::build(status).json(answer.body)
        }))
    }

    /// What was kept of it.
    pub fn kept(&self, ws: &Workspace) -> Result<Option<Answer>, Problem> {
        let (read, today) = (ws.read()?, today(ws));
        for day in [today, today.saturating_sub(1)] {
            let Some(answer) = read.get(&ANSWERS, &(day, self.place))? else { continue };
            if answer.asked != self.asked {
                let said = "This Idempotency-Key was used for another body. Nothing was done; use a new one.";
                return Err(Problem::Conflict(said.into()));
            }
            return Ok(Some(answer));
        }
        Ok(None)
    }

    /// Keeps the first answer and gives it.
    pub async fn answer(
        this: Option<Self>,
        ws: &Workspace,
        status: StatusCode,
        body: Value,
    ) -> Result<HttpResponse, Problem> {
        if let Some(once) = this {
            once.keep(ws, status, body.clone()).await?;
        }
        Ok(HttpResponse::build(status).json(body))
    }

    /// Keeps what the same request gets when it comes again.
    pub async fn keep(self, ws: &Workspace, status: StatusCode, body: Value) -> Result<(), StoreError> {
        let Self { place, asked } = self;
        let (today, kept) = (today(ws), Answer { asked, status: status.as_u16(), body });
        ws.note(move |tx| {
            clear(tx, today, SWEEP)?;
            tx.put(&ANSWERS, &(today, place), &kept)
        })
        .await
    }
}

/// Removes answers that nobody can ask for again, at most `most`; answers how many.
pub fn prune_answers(tx: &mut Tx, now_ms: u64, most: usize) -> Result<usize, StoreError> {
    clear(tx, u32::try_from(now_ms / DAY_MS).unwrap_or(u32::MAX), most)
}

fn clear(tx: &mut Tx, today: u32, most: usize) -> Result<usize, StoreError> {
    let old = tx.scan(&ANSWERS).before(&today.saturating_sub(1)).limit(most).rows()?;
    for (key, _) in &old {
        tx.remove(&ANSWERS, key)?;
    }
    Ok(old.len())
}

fn today(ws: &Workspace) -> u32 {
    u32::try_from(ws.clock().now_ms() / DAY_MS).unwrap_or(u32::MAX)
}
