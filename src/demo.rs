//! Fills a fresh instance for `vynos demo`: an account, a workspace, the simulated org connected and synced.
//! It does what a person would do in the pages, by the same verbs.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::identity::control::Note;
use crate::identity::{Control, Scope};
use crate::ids::{AccountId, WorkspaceId};
use crate::jobs::{JOBS, JOBS_DUE, JobState, Runner};
use crate::knowledge;
use crate::models::{Entered, Models};
use crate::orgs::{self, Orgs};
use crate::people::create_workspace;
use crate::seal::{Secret, constant_time_eq};
use crate::sim::documents;
use crate::sim::model::SimulatedModel;
use crate::sim::salesforce::SimulatedOrg;
use crate::store::Read as _;
use crate::store::audit::{Action, Actor};
use crate::web::access::origin;
use crate::web::page::see_other;
use crate::web::{Problem, Web};
use crate::wire::model::{Auth, Profile};

pub const EMAIL: &str = "mira.kovac@halden.example";
const NAME: &str = "Mira Kovač";
/// How long a demo may take to be ready.
const LONGEST: Duration = Duration::from_secs(30);

/// What the demo prints.
pub struct Ready {
    pub account: AccountId,
    pub workspace: WorkspaceId,
    pub slug: String,
    pub password: Secret,
    pub api_token: Secret,
    pub link: Secret,
}

/// `/demo/{key}` signs the visitor in; mounted always, answers only on a demo.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/demo/{key}", web::get().to(sign_in));
}

/// The key of the printed link. Derived, so that it works again when a kept demo starts again.
fn link(control: &Control) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(control.lookups().lookup(b"demo sign-in link")))
}

fn password(control: &Control) -> Secret {
    let hex = crate::seal::hex(&control.lookups().lookup(b"demo password")[..8]);
    Secret::new(format!("demo-{hex}"))
}

async fn sign_in(
    web: web::Data<Web>,
    request: HttpRequest,
    key: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let expected = link(&web.control);
    if !web.demo || !constant_time_eq(key.as_bytes(), expected.expose().as_bytes()) {
        return Err(Problem::NotFound);
    }
    let from = origin(&request, &web);
    let state = web.clone();
    let token = web::block(move || -> Result<_, Problem> {
        let email = EMAIL.parse()?;
        let (id, _) = state.control.account_by_address(&email)?.ok_or(Problem::NotFound)?;
        Ok(state.control.start_session(id, from)?)
    })
    .await??;
    Ok(crate::people::with_cookie(see_other("/"), &web, &token))
}

/// Makes account, workspace, connection; goes on with what a kept demo has already.
pub async fn prepare(web: &web::Data<Web>, orgs: &Orgs, org: &SimulatedOrg) -> Result<Ready, Problem> {
    let state = web.clone();
    let (account, workspace, slug) = web::block(move || people(&state)).await??;
    let (state, actor) = (web.clone(), Actor::Account { id: account });
    let token = web::block(move || {
        state.control.create_token(actor, account, workspace, "Demo", Scope::ALL.to_vec(), None)
    });
    let (api_token, _) = token.await??;
    let ws = web.door.for_demo(workspace, account)?;
    let auth_url = Secret::new(org.sfdx_auth_url());
    orgs::from_auth_url(orgs, &ws, "Production", &auth_url).await?;
    let control = &web.control;
    Ok(Ready { account, workspace, slug, password: password(control), api_token, link: link(control) })
}

/// Takes the scripted model as the instance's endpoint, as an operator would: tested, then saved.
pub async fn choose_model(models: &Models, ready: &Ready, model: &SimulatedModel) -> Result<(), Problem> {
    let entered = Entered {
        base_url: model.url().clone(),
        model: crate::sim::model::MODEL.to_owned(),
        auth: Auth::XApiKey,
        key: Some(Secret::new(model.key().to_owned())),
        profile: Profile::Anthropic,
    };
    let tested = models.test(&entered, Some(ready.account)).await?;
    let tested = tested.map_err(|e| Problem::Broken(format!("the scripted model: {e}")))?;
    Ok(models.save(Actor::Account { id: ready.account }, &entered, Some(&tested))?)
}

fn people(web: &Web) -> Result<(AccountId, WorkspaceId, String), Problem> {
    let control = &web.control;
    let known = control.account_by_address(&EMAIL.parse()?)?;
    if let Some((account, _)) = known
        && let Some((workspace, row, _)) = control.workspaces_of(account)?.into_iter().next()
    {
        return Ok((account, workspace, row.slug));
    }
    let new = Control::prepare_account(EMAIL, NAME, &password(control), true)?;
    let note = Note::new(Actor::Operator, Action::InstanceSetUp, "demo");
    let account = control.change_now(note, |tx| control.insert_account(tx, new))?;
    let row = create_workspace(web, Actor::Operator, account, "Halden Energy", None)?;
    control.change_settings(Actor::Operator, |settings| {
        settings.demo = true;
        settings.set_up = true;
    })?;
    web.refresh_settings()?;
    let (workspace, _) = control.workspace_by_slug(&row.slug)?.ok_or(Problem::NotFound)?;
    Ok((account, workspace, row.slug))
}

/// Uploads the documents of the simulated company, as a member would; those of a kept demo are there already.
pub async fn add_documents(web: &Web, ready: &Ready) -> Result<(), Problem> {
    let ws = web.door.for_demo(ready.workspace, ready.account)?;
    for (name, content) in documents::ALL {
        let body = futures_util::stream::iter([Ok(Bytes::from_static(content))]);
        knowledge::add(&ws, web.control.quota(ready.workspace)?, name, None, body).await?;
    }
    Ok(())
}

/// Waits until nothing is left to do: the org is synced, checked and indexed, the documents can be searched.
pub async fn wait_for_jobs(web: &Web, runner: &Runner, ready: &Ready) -> Result<(), Problem> {
    let ws = web.door.for_runner(ready.workspace)?;
    let mut changes = ws.live().listen();
    runner.wake(ready.workspace);
    let idle = async {
        loop {
            let read = ws.read()?;
            if let Some((_, row)) =
                read.scan(&JOBS).rows()?.into_iter().find(|(_, row)| row.state == JobState::Failed)
            {
                let why = row.error.unwrap_or_default();
                return Err(Problem::Broken(format!("a job of the demo ({}) failed: {why}", row.kind)));
            }
            if read.scan(&JOBS_DUE).limit(1).count()? == 0 {
                return Ok(());
            }
            drop(read);
            // A change, or a moment: the row ends just after the last change is announced.
            let _ = tokio::time::timeout(Duration::from_millis(50), changes.recv()).await;
        }
    };
    tokio::time::timeout(LONGEST, idle)
        .await
        .unwrap_or_else(|_| Err(Problem::Broken("the demo was not ready in time".into())))
}
