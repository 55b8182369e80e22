//! `/api/v1/orgs`: orgs, their sync, limits and findings.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{List, Page, needs};
use crate::identity::Scope;
use crate::ids::OrgId;
use crate::insights::records::FINDINGS;
use crate::jobs::{JOBS, JobState};
use crate::orgs::records::{ORGS, Org};
use crate::orgs::{Orgs, request_sync};
use crate::store::Read as _;
use crate::web::{Me, Problem};
use crate::workspace::{Member, Viewer, Workspace};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/orgs", web::get().to(list))
        .route("/api/v1/orgs/{org}/sync", web::get().to(sync_state))
        .route("/api/v1/orgs/{org}/sync", web::post().to(sync))
        .route("/api/v1/orgs/{org}/limits", web::get().to(limits))
        .route("/api/v1/orgs/{org}/findings", web::get().to(findings));
}

fn shown(id: OrgId, org: &Org) -> Value {
    json!({
        "id": id,
        "name": org.name,
        "slug": org.slug,
        "kind": org.kind,
        "salesforce_id": org.salesforce_id,
        "connected": org.connected,
        "signed_out": org.signed_out,
        "last_sync": org.last_sync.as_ref().map(|run| json!({
            "at": run.at, "components": run.components, "changed": run.changed, "api_calls": run.api_calls,
        })),
    })
}

async fn list(me: Me, ws: Viewer) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let items = ws.read()?.scan(&ORGS).rows()?.into_iter().map(|(id, org)| shown(id, &org)).collect();
    Ok(HttpResponse::Ok().json(List::<Value> { items, next: None }))
}

fn org(ws: &Workspace, id: OrgId) -> Result<Org, Problem> {
    ws.read()?.get(&ORGS, &id)?.ok_or(Problem::NotFound)
}

async fn sync(me: Me, ws: Member, id: web::Path<OrgId>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Change)?;
    org(&ws, *id)?;
    request_sync(&ws, *id, ws.processing()?).await?;
    Ok(HttpResponse::Accepted().json(json!({ "status": "queued" })))
}

async fn sync_state(
    orgs: web::Data<Orgs>,
    me: Me,
    ws: Viewer,
    id: web::Path<OrgId>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let org = org(&ws, *id)?;
    let row = match org.sync_job {
        Some(job) => ws.read()?.get(&JOBS, &job)?,
        None => None,
    };
    let progress = org.sync_job.and_then(|job| orgs.board.of(job)).unwrap_or_default();
    let status = match row.as_ref().map(|r| r.state) {
        None | Some(JobState::Done) => "done",
        Some(JobState::Cancelled) => "cancelled",
        Some(JobState::Failed) => "failed",
        Some(JobState::Queued) if progress.phase.is_empty() => "queued",
        Some(JobState::Queued) => "running",
    };
    Ok(HttpResponse::Ok().json(json!({
        "status": status,
        "phase": progress.phase,
        "done": progress.done,
        "total": progress.total,
        // Of this run; of one that ended early nobody keeps them apart from the day's usage.
        "api_calls": match status {
            "done" => org.last_sync.map(|run| run.api_calls),
            "queued" | "running" => Some(progress.calls),
            _ => None,
        },
        "error": row.and_then(|r| r.error),
    })))
}

async fn limits(me: Me, ws: Viewer, id: web::Path<OrgId>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let org = org(&ws, *id)?;
    let items = org.limits.iter().map(|(name, l)| {
        json!({ "name": name, "max": l.max, "remaining": l.remaining, "used_percent": l.used_percent() })
    });
    Ok(HttpResponse::Ok().json(List::<Value> { items: items.collect(), next: None }))
}

#[derive(Deserialize)]
struct Wanted {
    severity: Option<String>,
    status: Option<String>,
}

async fn findings(
    me: Me,
    ws: Viewer,
    id: web::Path<OrgId>,
    wanted: web::Query<Wanted>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    org(&ws, *id)?;
    let closed = wanted.status.as_deref() == Some("closed");
    let read = ws.read()?;
    let mut items: Vec<(String, Value)> = Vec::new();
    let scan = read.scan(&FINDINGS).under(&*id);
    let scan = match &page.cursor {
        Some(print) => scan.after(&(*id, print.clone())),
        None => scan,
    };
    scan.each(|(_, print), kept| {
        let severity = wanted.severity.as_ref().is_none_or(|s| *s == kept.severity);
        if severity && kept.closed.is_some() == closed {
            let value = json!({
                "fingerprint": print, "rule": kept.rule, "severity": kept.severity, "category": kept.category,
                "component": { "type": kept.kind, "name": kept.name }, "line": kept.line, "end_line": kept.end_line,
                "message": kept.message, "why": kept.why, "fix": kept.fix, "first_seen": kept.first_seen,
                "closed": kept.closed,
            });
            items.push((print, value));
        }
        items.len() <= page.limit()
    })?;
    Ok(HttpResponse::Ok().json(List::cut(items, page.limit(), Clone::clone)))
}
