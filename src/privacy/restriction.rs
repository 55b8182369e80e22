//! Restriction of processing: everything stays, nothing is sent, synced or analysed. An owner restricts a workspace, a
//! person what is theirs in all of them; the operator whom the privacy policy names does either on request, and those
//! concerned are told. What begins such work asks for a [`crate::workspace::Processing`].

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::identity::control::Note;
use crate::identity::{Control, IdentityError, Restriction, Role, WorkspaceRow};
use crate::ids::{AccountId, WorkspaceId};
use crate::notifications::{self, Kind, Notice};
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::page::see_other;
use crate::web::{Confirmed, Operator, PostForm, Problem, Web};
use crate::workspace::Owner;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/restrict", web::post().to(by_person))
        .route("/admin/accounts/{id}/restrict", web::post().to(account_by_operator))
        .route("/admin/workspaces/{id}/restrict", web::post().to(by_operator))
        .route("/w/{workspace}/privacy/restrict", web::post().to(by_owner));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    restricted: bool,
}

async fn by_owner(
    web: web::Data<Web>,
    request: HttpRequest,
    ws: Owner,
    me: Confirmed,
    PostForm(wanted): PostForm<Wanted>,
) -> Result<HttpResponse, Problem> {
    let note = Note::new(me.actor(), action(&wanted), ws.id()).asked_by(request_id(&request));
    restrict(&web, note.in_workspace(ws.id()), ws.id(), ws.row().clone(), wanted).await?;
    Ok(see_other(&format!("/w/{}/privacy", ws.row().slug)))
}

async fn by_operator(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    _: Confirmed,
    path: web::Path<String>,
    PostForm(wanted): PostForm<Wanted>,
) -> Result<HttpResponse, Problem> {
    let id: WorkspaceId = path.parse().map_err(|_| Problem::NotFound)?;
    let row = web.control.workspace(id)?.ok_or(Problem::NotFound)?;
    let note = Note::new(me.actor(), action(&wanted), id).asked_by(request_id(&request));
    restrict(&web, note.in_workspace(id), id, row, wanted).await?;
    Ok(see_other("/admin/workspaces"))
}

fn action(wanted: &Wanted) -> Action {
    if wanted.restricted { Action::WorkspaceRestricted } else { Action::WorkspaceUnrestricted }
}

async fn restrict(
    web: &Web,
    note: Note,
    id: WorkspaceId,
    row: WorkspaceRow,
    Wanted { restricted }: Wanted,
) -> Result<(), Problem> {
    let (control, by) = (web.control.clone(), note.actor.account());
    let done = web.control.change(note, move |tx| {
        if !Control::set_restricted(tx, id, restricted)? {
            return Ok::<_, IdentityError>(());
        }
        let said = if restricted { "is restricted" } else { "is allowed again" };
        for (account, role) in control.members_of(id)? {
            if role == Role::Owner && Some(account) != by {
                let title = format!("Processing in {} {said}", row.name);
                let link = format!("/w/{}/privacy", row.slug);
                notifications::tell(tx, &control, account, Notice::new(Kind::PolicyChanged, title, link))?;
            }
        }
        Ok(())
    });
    Ok(done.await?)
}

async fn by_person(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Confirmed,
    PostForm(wanted): PostForm<Wanted>,
) -> Result<HttpResponse, Problem> {
    let id = me.account();
    let note = Note::new(me.actor(), account_action(&wanted), id).asked_by(request_id(&request));
    restrict_account(&web, note, id, wanted, false).await?;
    Ok(see_other("/account/profile#restrict"))
}

async fn account_by_operator(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    _: Confirmed,
    path: web::Path<String>,
    PostForm(wanted): PostForm<Wanted>,
) -> Result<HttpResponse, Problem> {
    let id: AccountId = path.parse().map_err(|_| Problem::NotFound)?;
    let note = Note::new(me.actor(), account_action(&wanted), id).asked_by(request_id(&request));
    restrict_account(&web, note, id, wanted, true).await?;
    Ok(see_other(&format!("/admin/accounts/{id}")))
}

fn account_action(wanted: &Wanted) -> Action {
    if wanted.restricted { Action::AccountRestricted } else { Action::AccountUnrestricted }
}

async fn restrict_account(
    web: &Web,
    note: Note,
    id: AccountId,
    Wanted { restricted }: Wanted,
    by_operator: bool,
) -> Result<(), Problem> {
    let (control, since) = (web.control.clone(), web.clock.now());
    let done = web.control.change(note, move |tx| {
        let restriction = restricted.then_some(Restriction { since, by_operator });
        let new = Control::restrict_account(tx, id, restriction, by_operator)?;
        if new && by_operator {
            let said = if restricted { "is restricted" } else { "is allowed again" };
            let title = format!("The processing of your data {said}");
            let notice = Notice::new(Kind::PolicyChanged, title, "/account/profile#restrict");
            notifications::tell(tx, &control, id, notice.body("An operator of this server did this."))?;
        }
        Ok::<_, IdentityError>(())
    });
    Ok(done.await?)
}
