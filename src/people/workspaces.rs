//! The workspaces of a person: the list, a new one, and the name of one.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::create_workspace;
use super::members::Act;
use super::members_page::ago;
use crate::identity::{Control, IdentityError, Quota, Role};
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::page::{local_time, render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Admin, Viewer};

/// Workspaces that somebody who is no operator may own at the same time.
const OWNED: usize = 20;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(start))
        .route("/workspaces", web::get().to(list))
        .route("/workspaces/new", web::get().to(ask_new))
        .route("/workspaces/new", web::post().to(create))
        .route("/w/{workspace}/", web::get().to(home))
        .route("/w/{workspace}/settings", web::get().to(settings))
        .route("/w/{workspace}/settings", web::post().to(rename));
}

/// To where the person was last.
async fn start(web: web::Data<Web>, me: Me) -> Result<HttpResponse, Problem> {
    let mut workspaces = web.control.workspaces_of(me.account())?;
    // One that is to be deleted lets in its owners, and after its time nobody.
    let now = web.clock.now();
    workspaces
        .retain(|(_, row, role)| !row.is_over(now) && (row.closing().is_none() || *role == Role::Owner));
    if let [(_, row, _)] = workspaces.as_slice() {
        return Ok(see_other(&format!("/w/{}/", row.slug)));
    }
    let mut last = None;
    for (id, row, _) in workspaces {
        let at = web.control.last_visit(me.account(), id)?;
        last = last.max(at.map(|at| (at, row.slug)));
    }
    Ok(see_other(&last.map_or_else(|| "/workspaces".to_owned(), |(_, slug)| format!("/w/{slug}/"))))
}

async fn home(web: web::Data<Web>, ws: Viewer) -> Result<HttpResponse, Problem> {
    let (state, account, id) = (web.clone(), ws.account(), ws.id());
    web::block(move || state.control.mark_visit(account, id)).await??;
    Ok(see_other(&(web.navigation)(&web.control, &ws, "")?.home))
}

#[derive(Deserialize)]
struct Done {
    #[serde(default)]
    done: String,
}

struct Row {
    slug: String,
    name: String,
    role: Role,
    seen: String,
    /// When it is erased, if an owner asked for that.
    ends: String,
}

#[derive(Template)]
#[template(path = "people/workspaces.html")]
struct WorkspacesPage {
    shell: Shell,
    rows: Vec<Row>,
    may_create: bool,
    left: bool,
    /// The person owned a workspace that was erased.
    erased: bool,
}

async fn list(web: web::Data<Web>, me: Me, query: web::Query<Done>) -> Result<HttpResponse, Problem> {
    let now = web.clock.now();
    let mut rows = Vec::new();
    for (id, row, role) in web.control.workspaces_of(me.account())? {
        let seen = web.control.last_visit(me.account(), id)?;
        let seen = seen.map_or_else(|| "Never".to_owned(), |at| ago(at, now));
        let ends = row.closing().map(|closing| local_time(closing.ends(), &me.person().time_zone));
        rows.push(Row { slug: row.slug, name: row.name, role, seen, ends: ends.unwrap_or_default() });
    }
    page::render(&WorkspacesPage {
        shell: Shell::account(&web, &me, "Workspaces")?,
        rows,
        may_create: web.settings().may_create_workspace(me.person().operator),
        left: query.done == "left",
        erased: !web.control.erasures_of(me.account())?.is_empty(),
    })
}

#[derive(Template)]
#[template(path = "people/workspace_new.html")]
struct NewPage {
    shell: Shell,
    errors: Vec<FieldError>,
    name: String,
    may: bool,
}

fn new_page(web: &Web, me: &Me) -> Result<NewPage, Problem> {
    Ok(NewPage {
        shell: Shell::account(web, me, "Create workspace")?,
        errors: Vec::new(),
        name: String::new(),
        may: web.settings().may_create_workspace(me.person().operator),
    })
}

async fn ask_new(web: web::Data<Web>, me: Me) -> Result<HttpResponse, Problem> {
    page::render(&new_page(&web, &me)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameForm {
    name: String,
}

async fn create(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    PostForm(form): PostForm<NameForm>,
) -> Result<HttpResponse, Problem> {
    let page = new_page(&web, &me)?;
    if !page.may {
        return Err(Problem::NotOperator);
    }
    let owned = web.control.workspaces_of(me.account())?;
    let owned = owned.iter().filter(|(_, _, role)| *role == Role::Owner).count();
    if owned >= OWNED && !me.person().operator {
        return Err(Problem::Conflict(format!(
            "You own {OWNED} workspaces, which is the most. Transfer or delete one first."
        )));
    }
    let (state, who, by, name) = (web.clone(), me.account(), me.actor(), form.name.clone());
    let id = request_id(&request);
    let made = web::block(move || create_workspace(&state, by, who, &name, id)).await?;
    match made {
        Ok(row) => Ok(see_other(&format!("/w/{}/", row.slug))),
        Err(Problem::Invalid(errors)) => {
            let errors = at_name(errors);
            let page = NewPage { errors, name: form.name, ..page };
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(other) => Err(other),
    }
}

fn at_name(errors: Vec<FieldError>) -> Vec<FieldError> {
    errors.into_iter().map(|e| FieldError { field: "name".into(), ..e }).collect()
}

#[derive(Template)]
#[template(path = "people/workspace_settings.html")]
struct SettingsPage {
    shell: Shell,
    errors: Vec<FieldError>,
    slug: String,
    name: String,
    address: String,
    saved: bool,
    owner: bool,
    /// What the workspace may hold, and how many members it has.
    quota: Quota,
    bytes: String,
    members: usize,
    /// The operator gave it limits of its own.
    own_quota: bool,
}

fn settings_page(web: &Web, me: &Me, ws: &Admin) -> Result<SettingsPage, Problem> {
    let (row, quota) = (ws.row(), web.control.quota(ws.id())?);
    Ok(SettingsPage {
        shell: Shell::workspace(web, me, ws, "General", "members")?,
        errors: Vec::new(),
        slug: row.slug.clone(),
        name: row.name.clone(),
        address: format!("{}w/{}/", web.external, row.slug),
        saved: false,
        owner: ws.role() == Role::Owner,
        quota,
        bytes: format!("{} GB", quota.bytes >> 30),
        members: web.control.members_of(ws.id())?.len(),
        own_quota: row.quota.is_some(),
    })
}

async fn settings(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    query: web::Query<Done>,
) -> Result<HttpResponse, Problem> {
    page::render(&SettingsPage { saved: query.done == "saved", ..settings_page(&web, &me, &ws)? })
}

async fn rename(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    PostForm(form): PostForm<NameForm>,
) -> Result<HttpResponse, Problem> {
    let (act, control, name) = (Act::of(&ws), web.control.clone(), form.name.clone());
    let renamed = web
        .control
        .change(act.note(Action::WorkspaceRenamed, act.workspace), move |tx| {
            Control::may_manage(tx, act.by, act.workspace, Role::Viewer)?;
            control.rename_workspace(tx, act.workspace, &name)
        })
        .await;
    match renamed {
        Ok(row) => Ok(see_other(&format!("/w/{}/settings?done=saved", row.slug))),
        Err(IdentityError::Invalid(message)) => {
            let errors = vec![FieldError { field: "name".into(), message }];
            let page = SettingsPage { errors, name: form.name, ..settings_page(&web, &me, &ws)? };
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(other) => Err(other.into()),
    }
}
