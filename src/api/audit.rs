//! `/api/v1/audit`: the lines of a chain that fit, newest first. The cursor is a line to go on before; because only so many lines
//! are looked at for one answer, one may hold no item and still have a cursor.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::{List, Page, needs};
use crate::audit::asked::Asked;
use crate::audit::log::newest_of;
use crate::identity::Scope;
use crate::store::audit::{Actor, AuditEvent};
use crate::web::{Me, Problem, Web};
use crate::workspace::Admin;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/v1/audit", web::get().to(list));
}

async fn list(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    asked: web::Query<Asked>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    let before = page.cursor.as_deref().map(str::parse::<u64>).transpose();
    let before = before.map_err(|_| Problem::field("cursor", "This is no cursor of this list."))?;
    // Days of the API are those of UTC.
    let (wanted, chain, limit) = (asked.wanted("")?, asked.of, page.limit());
    let control = web.control.clone();
    let found = web::block(move || newest_of(&control, &ws, (chain, &wanted), before, limit)).await??;
    let items = found.lines.into_iter().map(|(number, line)| shown(number, &line)).collect();
    let next = found.older.map(|line| line.to_string());
    Ok(HttpResponse::Ok().json(List::<Value> { items, next }))
}

fn shown(number: u64, line: &AuditEvent) -> Value {
    let actor = match &line.actor {
        Actor::Account { id } => json!({ "kind": "account", "account": id }),
        Actor::Job { id, asked_by } => json!({ "kind": "job", "job": id, "account": asked_by }),
        Actor::Operator => json!({ "kind": "operator" }),
        Actor::Token { id, account } => json!({ "kind": "token", "token": id, "account": account }),
        Actor::Visitor => json!({ "kind": "visitor" }),
    };
    json!({
        "line": number, "at": line.at, "actor": actor, "action": line.action.name(), "target": line.target,
        "workspace": line.workspace, "request": line.request, "hash": line.hash,
    })
}
