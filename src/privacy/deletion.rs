//! Deleting a workspace: said before what happens to whom and when; for 30 days its owners read it, take its data away,
//! or keep it. What comes after is `erasure`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::identity::control::Note;
use crate::identity::deletion::GRACE;
use crate::identity::{IdentityError, Role};
use crate::mail::{self, Letter};
use crate::notifications::{self, Kind, Notice};
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::page::{local_time, render_with, see_other, size};
use crate::web::problem::FieldError;
use crate::web::{Confirmed, Crumb, Me, PostForm, Problem, Shell, Web};
use crate::workspace::{Keeper, Owner};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/privacy/delete", web::get().to(show))
        .route("/w/{workspace}/privacy/delete", web::post().to(start))
        .route("/w/{workspace}/privacy/delete/stop", web::post().to(stop));
}

#[derive(Template)]
#[template(path = "privacy/delete.html")]
struct DeletePage {
    shell: Shell,
    errors: Vec<FieldError>,
    slug: String,
    name: String,
    /// People who lose it besides this one, and of these owners.
    others: usize,
    other_owners: usize,
    takes: String,
    /// When it is erased: of a deletion that runs, or of one that would begin now.
    ends: String,
    /// Set while it is to be deleted: when that was asked, and by whom.
    asked: Option<(String, String)>,
    contact: String,
}

async fn show(web: web::Data<Web>, me: Me, ws: Owner) -> Result<HttpResponse, Problem> {
    draw(&web, &me, &ws, StatusCode::OK, Vec::new())
}

fn draw(
    web: &Web,
    me: &Me,
    ws: &Owner,
    status: StatusCode,
    errors: Vec<FieldError>,
) -> Result<HttpResponse, Problem> {
    let (slug, zone) = (ws.row().slug.clone(), me.person().time_zone.as_str());
    let closing = ws.row().closing();
    let ends = match closing {
        Some(closing) => closing.ends(),
        None => web.clock.now().checked_add(GRACE).map_err(|e| Problem::Broken(e.to_string()))?,
    };
    let asked = match closing {
        Some(closing) => {
            let by = web.control.account(closing.by)?.map_or_else(|| "A former owner".into(), |a| a.name);
            Some((local_time(closing.since, zone), by))
        }
        None => None,
    };
    let members = web.control.members_of(ws.id())?;
    let others = members.iter().filter(|(id, _)| *id != ws.account());
    let space = ws.space().map_err(|e| Problem::from(crate::store::StoreError::from(e)))?;
    let shell = Shell::workspace(web, me, ws, "Delete workspace", "members")?;
    let page = DeletePage {
        shell: shell.under(vec![Crumb::new("Data and privacy", format!("/w/{slug}/privacy"))]),
        errors,
        slug,
        name: ws.row().name.clone(),
        others: others.clone().count(),
        other_owners: others.filter(|(_, role)| *role == Role::Owner).count(),
        takes: size(space.keyspace + space.index + space.blobs),
        ends: local_time(ends, zone),
        asked,
        contact: web.settings().privacy_contact,
    };
    render_with(status, &page)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    name: String,
}

async fn start(
    web: web::Data<Web>,
    request: HttpRequest,
    ws: Owner,
    me: Confirmed,
    PostForm(typed): PostForm<Typed>,
) -> Result<HttpResponse, Problem> {
    if typed.name.trim() != ws.row().name {
        let message = format!("Type {} as it stands here. Nothing was changed.", ws.row().name);
        let errors = vec![FieldError { field: "name".into(), message }];
        return draw(&web, &me, &ws, StatusCode::UNPROCESSABLE_ENTITY, errors);
    }
    let (control, id, by, asked_by) = (web.control.clone(), ws.id(), ws.account(), me.person().name.clone());
    let note = Note::new(me.actor(), Action::WorkspaceDeletionStarted, id).in_workspace(id);
    web.control
        .change(note.asked_by(request_id(&request)), move |tx| {
            let Some(started) = control.start_workspace_deletion(tx, id, by)? else { return Ok(()) };
            for mail in started.mails {
                mail::outbox::recall(tx, mail)?;
            }
            for (account, _) in started.members {
                let letter = Letter::DeletionStarted {
                    workspace: started.row.name.clone(),
                    asked_by: asked_by.clone(),
                    ends: started.closing.ends(),
                    link: format!("/w/{}/privacy/delete", started.row.slug),
                };
                notifications::tell(tx, &control, account, Notice::of(Kind::Deletion, letter))?;
            }
            Ok::<_, IdentityError>(())
        })
        .await?;
    web.board.close(id);
    // Whoever has a page of it open looks again.
    ws.live().publish("*".into());
    Ok(see_other(&format!("/w/{}/privacy/delete", ws.row().slug)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn stop(
    web: web::Data<Web>,
    request: HttpRequest,
    ws: Keeper,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let back = see_other(&format!("/w/{}/privacy", ws.row().slug));
    if ws.row().closing().is_none() {
        return Ok(back);
    }
    let (control, id, by) = (web.control.clone(), ws.id(), ws.account());
    let note = Note::new(ws.actor().clone(), Action::WorkspaceDeletionStopped, id).in_workspace(id);
    web.control
        .change(note.asked_by(request_id(&request)), move |tx| {
            let (row, members) = control.stop_workspace_deletion(tx, id, by)?;
            for account in members.into_iter().filter(|account| *account != by) {
                let title = format!("“{}” is kept", row.name);
                let notice = Notice::new(Kind::Deletion, title, format!("/w/{}/", row.slug));
                let notice = Notice { by: Some(by), ..notice };
                notifications::tell(tx, &control, account, notice)?;
            }
            Ok::<_, IdentityError>(())
        })
        .await?;
    // Jobs that waited.
    web.pool.hooks().queued(id);
    Ok(back)
}
