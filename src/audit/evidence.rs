//! What to hand over when a chain does not hold: the place that was found, the head, the checkpoints and the lines around it as
//! they stand in the file, each with the hash it should have. Of the instance's chain only what concerns the workspace.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::log::{Of, Wanted};
use super::rows::hash_before;
use super::verify::{Held, state};
use crate::identity::Control;
use crate::store::audit::{AUDIT, AUDIT_CHECKPOINTS, AUDIT_HEAD, AuditEvent, link};
use crate::store::{Read, StoreError};
use crate::workspace::Workspace;

/// Lines before and behind the place.
const AROUND: u64 = 200;
/// Checkpoints before and behind it.
const CHECKPOINTS: usize = 20;

/// The evidence of the last check of a workspace's chains.
pub fn of(control: &Control, ws: &Workspace) -> Result<Value, StoreError> {
    let checked = state(ws)?.result;
    let chains = match &checked {
        None => Vec::new(),
        Some(checked) => vec![
            chain("contents", &ws.read()?, &checked.contents, Of::All)?,
            chain("members", &control.read()?, &checked.members, Of::Workspace(ws.id()))?,
        ],
    };
    Ok(json!({
        "workspace": ws.id(),
        "written": ws.clock().now(),
        "checked": checked.map(|checked| checked.at),
        "how": "The hash of a line is SHA-256, in hex, of hash_before followed by text.",
        "chains": chains,
    }))
}

fn chain(name: &str, read: &impl Read, held: &Held, of: Of) -> Result<Value, StoreError> {
    let at = held.broken.as_ref().map_or(held.last, |found| found.line);
    let wanted = Wanted { of, ..Wanted::default() };
    let (mut lines, mut failed) = (Vec::new(), None);
    let end = at.saturating_add(AROUND);
    read.scan(&AUDIT).from(&at.saturating_sub(AROUND)).before(&end).each(|number, line| {
        match shown(read, number, line, &wanted) {
            Ok(shown) => lines.push(shown),
            Err(error) => failed = Some(error),
        }
        failed.is_none()
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let mut checkpoints = read.scan(&AUDIT_CHECKPOINTS).before(&at).reverse().limit(CHECKPOINTS).rows()?;
    checkpoints.reverse();
    checkpoints.extend(read.scan(&AUDIT_CHECKPOINTS).from(&at).limit(CHECKPOINTS).rows()?);
    let checkpoints: Vec<Value> =
        checkpoints.into_iter().map(|(line, sealed)| json!({ "line": line, "checkpoint": sealed })).collect();
    Ok(json!({
        "chain": name,
        "found": held,
        "head": read.get(&AUDIT_HEAD, &0)?,
        "checkpoints": checkpoints,
        "lines": lines,
    }))
}

/// A line as it stands, the text that its hash is of, and the hash it should have. Of lines that are not the workspace's, only the
/// hashes.
fn shown(read: &impl Read, number: u64, line: AuditEvent, wanted: &Wanted) -> Result<Value, StoreError> {
    let (own, hash, before) = (wanted.fits(&line), line.hash.clone(), hash_before(read, number)?);
    let hashed = AuditEvent { hash: String::new(), ..line };
    let should_be = link(&before, &hashed)?;
    let text = own.then(|| serde_json::to_string(&hashed)).transpose();
    let text = text.map_err(|e| StoreError::Encoding { table: AUDIT.name, why: e.to_string() })?;
    Ok(json!({
        "line": number, "text": text, "hash": hash, "hash_before": before, "hash_should_be": should_be,
    }))
}

/// The evidence as a file.
pub fn answer(name: &str, evidence: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.json\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(format!("{evidence:#}\n"))
}
