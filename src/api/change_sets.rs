//! `/api/v1/change-sets`: draft, validate, deploy what a person approved, cancel, roll back.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::idempotent::Once;
use super::needs;
use crate::deployments::records::{CHANGE_SETS, Check, Run, RunKind, files};
use crate::deployments::{self, NewChangeSet, ProposedFile};
use crate::identity::Scope;
use crate::ids::{ChangeSetId, DeploymentId, OrgId};
use crate::orgs::Orgs;
use crate::store::Read as _;
use crate::web::{Me, Problem};
use crate::workspace::{Member, Viewer, Workspace};

/// Largest body: the files of a change set as JSON.
const LARGEST: usize = 12 << 20;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/change-sets", web::post().to(create))
        .route("/api/v1/change-sets/{change_set}", web::get().to(show))
        .route("/api/v1/change-sets/{change_set}/validate", web::post().to(validate))
        .route("/api/v1/change-sets/{change_set}/deploy", web::post().to(deploy))
        .route("/api/v1/change-sets/{change_set}/cancel", web::post().to(cancel))
        .route("/api/v1/change-sets/{change_set}/rollback", web::post().to(roll_back));
}

/// A body of at most `LARGEST` bytes.
pub(super) async fn read(mut payload: web::Payload) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| Problem::field("", "The body ended early."))?;
        if body.len() + piece.len() > LARGEST {
            return Err(Problem::TooLarge(format!("A change set may have {} MB as JSON.", LARGEST >> 20)));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|e| Problem::field("", format!("The body can't be read: {e}.")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    org: OrgId,
    title: String,
    #[serde(default)]
    summary: String,
    files: Vec<NewFile>,
    #[serde(default)]
    tests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFile {
    path: String,
    /// `null` deletes the component; leaving it out by mistake must not.
    #[serde(deserialize_with = "said")]
    content: Option<String>,
}

/// A field that has to be there, even as `null`.
fn said<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(value)
}

async fn create(
    request: HttpRequest,
    me: Me,
    ws: Member,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Change)?;
    let body = read(payload).await?;
    let once = Once::of(&ws, &request, &body)?;
    if let Some(answered) = once.as_ref().map(|once| once.answered(&ws)).transpose()?.flatten() {
        return Ok(answered);
    }
    let new: New = parsed(&body)?;
    let files = new.files.into_iter().map(|f| ProposedFile { path: f.path, content: f.content });
    let proposed = deployments::propose(
        &ws,
        NewChangeSet {
            org: new.org,
            title: new.title,
            summary: new.summary,
            files: files.collect(),
            tests: new.tests,
            conversation: None,
        },
    )
    .await?;
    let answer = json!({ "id": proposed.id, "status": "draft", "problems": proposed.problems });
    Once::answer(once, &ws, StatusCode::CREATED, answer).await
}

async fn show(me: Me, ws: Viewer, id: web::Path<ChangeSetId>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    Ok(HttpResponse::Ok().json(shown(&ws, *id)?))
}

fn shown(ws: &Workspace, id: ChangeSetId) -> Result<Value, Problem> {
    let read = ws.read()?;
    let set = read.get(&CHANGE_SETS, &id)?.ok_or(Problem::NotFound)?;
    let files = files(&read, id)?;
    let now = ws.clock().now();
    let state = deployments::state(&read, id, &set, now)?;
    let drifted = deployments::drifted(&read, &set, &files, &state)?;
    let validated = state.validation.as_ref().and_then(|(_, run)| run.hash.clone());
    let approved = state.approval.as_ref().filter(|a| validated.as_deref().is_some_and(|h| a.holds(h, now)));
    let files = files.iter().map(|(path, file)| json!({ "path": path, "content": file.content }));
    Ok(json!({
        "id": id,
        "org": set.org,
        "title": set.title,
        "summary": set.summary,
        "status": state.stage.name(),
        "draft": set.draft,
        "hash": validated,
        "tests": set.tests,
        "files": files.collect::<Vec<_>>(),
        "problems": set.problems.iter().map(Check::sentence).collect::<Vec<_>>(),
        "changed_in_org": drifted,
        "approved_until": approved.map(deployments::Approval::until),
        "validation": state.validation.as_ref().map(|(id, run)| run_json(*id, run)),
        "deployment": state.deployment.as_ref().map(|(id, run)| run_json(*id, run)),
        "created": set.created,
        "changed": set.changed,
    }))
}

fn run_json(id: DeploymentId, run: &Run) -> Value {
    let result = run.result.clone().unwrap_or_default();
    json!({
        "id": id,
        "kind": match run.kind { RunKind::Deploy => "deploy", RunKind::Validate => "validate" },
        "status": run.state.name(),
        "phase": run.phase,
        "error": (!run.said.is_empty()).then_some(&run.said),
        "hash": run.hash,
        "salesforce_id": run.salesforce,
        "components": { "total": result.components_total, "done": result.components_deployed, "errors": result.components_errors },
        "tests": { "total": result.tests_total, "done": result.tests_completed, "errors": result.tests_errors },
        "component_failures": result.component_failures,
        "test_failures": result.test_failures,
        "coverage": result.coverage,
        "begun": run.begun,
        "ended": run.ended,
    })
}

/// The run that was asked for, as 202.
async fn accepted(ws: &Workspace, once: Option<Once>, run: DeploymentId) -> Result<HttpResponse, Problem> {
    let row = deployments::run(&ws.read()?, run)?.ok_or(Problem::NotFound)?;
    Once::answer(once, ws, StatusCode::ACCEPTED, run_json(run, &row)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn validate(
    request: HttpRequest,
    me: Me,
    ws: Member,
    id: web::Path<ChangeSetId>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Change)?;
    let body = read(payload).await?;
    let once = Once::of(&ws, &request, &body)?;
    if let Some(answered) = once.as_ref().map(|once| once.answered(&ws)).transpose()?.flatten() {
        return Ok(answered);
    }
    parsed::<Nothing>(&body)?;
    let run = deployments::request_validation(&ws, *id, ws.processing()?).await?;
    accepted(&ws, once, run).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    /// The hash that was approved; without it, that of the last validation.
    hash: Option<String>,
}

/// A token releases; it never approves. The approval comes from a person, in the page.
async fn deploy(
    request: HttpRequest,
    me: Me,
    ws: Member,
    id: web::Path<ChangeSetId>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Deploy)?;
    let body = read(payload).await?;
    let once = Once::of(&ws, &request, &body)?;
    if let Some(answered) = once.as_ref().map(|once| once.answered(&ws)).transpose()?.flatten() {
        return Ok(answered);
    }
    let wanted: Release = parsed(&body)?;
    let hash = match wanted.hash {
        Some(hash) => hash,
        None => shown(&ws, *id)?["hash"].as_str().unwrap_or_default().to_owned(),
    };
    if !ws.read()?.has(&CHANGE_SETS, &*id)? {
        return Err(Problem::NotFound);
    }
    let run = deployments::release(&ws, deployments::standing(&ws, *id, &hash)?).await?;
    accepted(&ws, once, run).await
}

async fn cancel(
    orgs: web::Data<Orgs>,
    me: Me,
    ws: Member,
    id: web::Path<ChangeSetId>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Change)?;
    deployments::cancel(&ws, &orgs.board, *id).await?;
    Ok(HttpResponse::Accepted().json(shown(&ws, *id)?))
}

async fn roll_back(me: Me, ws: Member, id: web::Path<ChangeSetId>) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Change)?;
    let proposed = deployments::roll_back(&ws, *id).await?;
    let answer = json!({ "id": proposed.id, "status": "draft", "problems": proposed.problems });
    Ok(HttpResponse::Created().json(answer))
}
