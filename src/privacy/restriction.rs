//! Restriction of processing: everything stays, nothing is sent, synced or analysed. An owner restricts a workspace, or the
//! operator whom the privacy policy names; the other owners are told. What begins such work asks for a
//! [`crate::workspace::Processing`].

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::identity::control::Note;
use crate::identity::{Control, IdentityError, Role, WorkspaceRow};
use crate::ids::WorkspaceId;
use crate::notifications::{self, Kind, Notice};
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::page::see_other;
use crate::web::{Confirmed, Operator, PostForm, Problem, Web};
use crate::workspace::Owner;

pub fn routes(config: &mut web::ServiceConfig) {
    config
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
