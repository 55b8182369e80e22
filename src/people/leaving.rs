//! The pages that ask before a membership ends: a member is removed, one leaves, the workspace is handed over.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::members;
use crate::identity::{ApiToken, Role};
use crate::ids::{AccountId, ApiTokenId};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Confirmed, Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Admin, Owner, Viewer};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/members/{account}/remove", web::get().to(ask_remove))
        .route("/w/{workspace}/members/{account}/remove", web::post().to(remove))
        .route("/w/{workspace}/leave", web::get().to(ask_leave))
        .route("/w/{workspace}/leave", web::post().to(leave))
        .route("/w/{workspace}/transfer", web::get().to(ask_transfer))
        .route("/w/{workspace}/transfer", web::post().to(transfer));
}

#[derive(Template)]
#[template(path = "people/member_remove.html")]
struct RemovePage {
    shell: Shell,
    slug: String,
    workspace: String,
    id: AccountId,
    name: String,
    email: String,
    tokens: usize,
}

fn under_members(shell: Shell, slug: &str) -> Shell {
    shell.under(vec![Crumb::new("Members", format!("/w/{slug}/members"))])
}

async fn ask_remove(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    path: web::Path<(String, AccountId)>,
) -> Result<HttpResponse, Problem> {
    let id = path.1;
    let role = web.control.role_in(id, ws.id())?.ok_or(Problem::NotFound)?;
    if role > ws.role() {
        return Err(Problem::Forbidden(Role::Owner));
    }
    let person = web.control.account(id)?.ok_or(Problem::NotFound)?;
    let now = web.clock.now();
    let tokens = web.control.tokens_of(id, ws.id())?;
    let live = |(_, t): &&(ApiTokenId, ApiToken)| t.revoked.is_none() && t.expires.is_none_or(|at| at > now);
    let title = format!("Remove {}?", person.name);
    let slug = ws.row().slug.clone();
    page::render(&RemovePage {
        shell: under_members(Shell::workspace(&web, &me, &ws, &title, "members")?, &slug),
        slug,
        workspace: ws.row().name.clone(),
        id,
        name: person.name,
        email: person.email.to_string(),
        tokens: tokens.iter().filter(live).count(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn remove(
    web: web::Data<Web>,
    ws: Admin,
    path: web::Path<(String, AccountId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    members::remove(&web, &ws, path.1).await?;
    Ok(see_other(&format!("/w/{}/members?done=removed", ws.row().slug)))
}

#[derive(Template)]
#[template(path = "people/leave.html")]
struct LeavePage {
    shell: Shell,
    slug: String,
    workspace: String,
    last_owner: bool,
}

async fn ask_leave(web: web::Data<Web>, me: Me, ws: Viewer) -> Result<HttpResponse, Problem> {
    let members = web.control.members_of(ws.id())?;
    let owners = members.iter().filter(|(_, role)| *role == Role::Owner).count();
    let title = format!("Leave {}?", ws.row().name);
    page::render(&LeavePage {
        shell: Shell::workspace(&web, &me, &ws, &title, "leave")?,
        slug: ws.row().slug.clone(),
        workspace: ws.row().name.clone(),
        last_owner: ws.role() == Role::Owner && owners == 1,
    })
}

async fn leave(web: web::Data<Web>, ws: Viewer, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    members::leave(&web, &ws).await?;
    Ok(see_other("/workspaces?done=left"))
}

#[derive(Template)]
#[template(path = "people/transfer.html")]
struct TransferPage {
    shell: Shell,
    slug: String,
    workspace: String,
    errors: Vec<FieldError>,
    others: Vec<(AccountId, String, Role)>,
}

async fn ask_transfer(web: web::Data<Web>, me: Me, ws: Owner) -> Result<HttpResponse, Problem> {
    transfer_page(&web, &me, &ws, StatusCode::OK, Vec::new())
}

fn transfer_page(
    web: &Web,
    me: &Me,
    ws: &Owner,
    status: StatusCode,
    errors: Vec<FieldError>,
) -> Result<HttpResponse, Problem> {
    let others = web.control.people_of(ws.id())?.into_iter().filter(|(id, ..)| *id != ws.account());
    let slug = ws.row().slug.clone();
    let page = TransferPage {
        shell: under_members(Shell::workspace(web, me, ws, "Transfer ownership", "members")?, &slug),
        slug,
        workspace: ws.row().name.clone(),
        errors,
        others: others.map(|(id, a, role)| (id, format!("{} ({})", a.name, a.email), role)).collect(),
    };
    render_with(status, &page)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferForm {
    to: String,
}

async fn transfer(
    web: web::Data<Web>,
    me: Confirmed,
    ws: Owner,
    PostForm(form): PostForm<TransferForm>,
) -> Result<HttpResponse, Problem> {
    let done = match form.to.parse::<AccountId>() {
        Ok(to) => members::transfer(&web, &ws, to).await,
        Err(_) => Err(Problem::NotFound),
    };
    match done {
        Ok(()) => Ok(see_other(&format!("/w/{}/members?done=saved", ws.row().slug))),
        Err(Problem::NotFound | Problem::Invalid(_)) => {
            let message = "Choose a member who shall be the owner.".to_owned();
            let errors = vec![FieldError { field: "to".into(), message }];
            transfer_page(&web, &me, &ws, StatusCode::UNPROCESSABLE_ENTITY, errors)
        }
        Err(other) => Err(other),
    }
}
