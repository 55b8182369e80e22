//! Certificates of erasure: for the operators all of them, with how far each erasure is and whether the audit lines that
//! stay still hold; for the former owners of a workspace their own.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::identity::erasures::{Certificate, STAYS, Step};
use crate::identity::kept_audit::KEPT_AUDIT_ENDS;
use crate::ids::WorkspaceId;
use crate::store::{Read as _, StoreError};
use crate::web::page::{grouped, local_time, size};
use crate::web::{Me, Operator, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/erasures", web::get().to(own))
        .route("/account/erasures/{id}/file", web::get().to(own_file))
        .route("/admin/erasures", web::get().to(all))
        .route("/admin/erasures/{id}/file", web::get().to(any_file));
}

/// An erasure as shown.
struct Row {
    id: WorkspaceId,
    asked: String,
    begun: String,
    done: String,
    step: &'static str,
    /// How much of the files is gone, in percent; while they are being unlinked.
    percent: Option<u64>,
    took: String,
    rows: String,
    files: String,
    bytes: String,
    /// Audit lines that are still kept.
    lines: u64,
    /// What verifying them found, when it was asked.
    verified: Option<String>,
}

impl Row {
    fn of(web: &Web, id: WorkspaceId, it: &Certificate, zone: &str) -> Result<Self, StoreError> {
        let kept = web.control.read()?.get(&KEPT_AUDIT_ENDS, &id)?;
        let unlinking = it.step == Step::Files;
        Ok(Self {
            id,
            asked: local_time(it.asked, zone),
            begun: local_time(it.begun, zone),
            done: it.done.map(|at| local_time(at, zone)).unwrap_or_default(),
            step: it.step.label(),
            percent: unlinking.then(|| it.bytes_gone.saturating_mul(100) / it.bytes.max(1)),
            took: it
                .done
                .map(|at| format!("{} s", at.duration_since(it.begun).as_secs()))
                .unwrap_or_default(),
            rows: grouped(it.rows),
            files: grouped(it.files),
            bytes: size(it.bytes),
            lines: kept.map_or(0, |ends| ends.last + 1 - ends.first),
            verified: None,
        })
    }
}

#[derive(Template)]
#[template(path = "privacy/erasures.html")]
struct OwnPage {
    shell: Shell,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "admin/erasures.html")]
struct AllPage {
    shell: Shell,
    rows: Vec<Row>,
}

async fn own(web: web::Data<Web>, me: Me) -> Result<HttpResponse, Problem> {
    let zone = &me.person().time_zone;
    let own = web.control.erasures_of(me.account())?;
    let rows = own.iter().map(|(id, it)| Row::of(&web, *id, it, zone)).collect::<Result<_, _>>()?;
    page::render(&OwnPage { shell: Shell::account(&web, &me, "Erased workspaces")?, rows })
}

#[derive(Deserialize)]
struct Wanted {
    /// The workspace whose kept audit lines are verified.
    verify: Option<WorkspaceId>,
}

async fn all(web: web::Data<Web>, me: Operator, query: web::Query<Wanted>) -> Result<HttpResponse, Problem> {
    let zone = &me.person().time_zone;
    let mut rows = Vec::new();
    for (id, it) in web.control.erasures()? {
        let mut row = Row::of(&web, id, &it, zone)?;
        if query.verify == Some(id) {
            let control = web.control.clone();
            row.verified = Some(match web::block(move || control.verify_kept(id)).await?? {
                Ok(lines) => format!("All {} lines hold.", grouped(lines)),
                Err(broken) => format!("Not whole: {broken}."),
            });
        }
        rows.push(row);
    }
    page::render(&AllPage { shell: Shell::account(&web, &me, "Erasures")?, rows })
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Deserialize)]
struct As {
    #[serde(default)]
    format: Format,
}

async fn own_file(
    web: web::Data<Web>,
    me: Me,
    path: web::Path<String>,
    query: web::Query<As>,
) -> Result<HttpResponse, Problem> {
    let id = path.parse::<WorkspaceId>().map_err(|_| Problem::NotFound)?;
    let certificate = web.control.erasure(id)?.filter(|it| it.owners.contains(&me.account()));
    Ok(file(id, &certificate.ok_or(Problem::NotFound)?, query.format))
}

async fn any_file(
    web: web::Data<Web>,
    _: Operator,
    path: web::Path<String>,
    query: web::Query<As>,
) -> Result<HttpResponse, Problem> {
    let id = path.parse::<WorkspaceId>().map_err(|_| Problem::NotFound)?;
    let certificate = web.control.erasure(id)?.ok_or(Problem::NotFound)?;
    Ok(file(id, &certificate, query.format))
}

fn file(id: WorkspaceId, it: &Certificate, format: Format) -> HttpResponse {
    let (ending, kind, body) = match format {
        Format::Json => {
            let body = json!({ "format": 1, "workspace": id, "erasure": it, "stays": STAYS });
            ("json", "application/json", format!("{body:#}\n"))
        }
        Format::Text => ("txt", "text/plain; charset=utf-8", text(id, it)),
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"erasure-{id}.{ending}\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}

/// A certificate to print.
fn text(id: WorkspaceId, it: &Certificate) -> String {
    let at = |at: Option<Timestamp>| at.map_or_else(|| "not yet".to_owned(), |at| local_time(at, ""));
    let held = match it.audit_held {
        Some(true) => "the chain was whole",
        Some(false) => "the chain was broken before",
        None => "the chain could not be read",
    };
    let facts = [
        ("Workspace", id.to_string()),
        ("Deletion asked", at(Some(it.asked))),
        ("Asked by account", it.asked_by.to_string()),
        ("Erasing began", at(Some(it.begun))),
        ("Key destroyed", at(it.key_destroyed)),
        ("Nothing was left", at(it.done)),
        ("Members whose access ended", it.members.to_string()),
        ("Salesforce tokens revoked", format!("{}, not reachable: {}", it.revoked, it.not_revoked)),
        ("Rows", it.rows.to_string()),
        ("Files", it.files.to_string()),
        ("Bytes", it.bytes.to_string()),
        ("Audit lines that stay", format!("{}; {held}", it.audit_lines)),
    ];
    let mut out = String::from("Certificate of erasure\n\n");
    for (name, value) in facts {
        out.push_str(&format!("{name:<28}{value}\n"));
    }
    out.push_str("\nWhat stays\n\n");
    for line in STAYS {
        out.push_str(&format!("- {line}\n"));
    }
    out
}
