//! My data: what the instance and the workspaces of a person hold of them, made while it is downloaded.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{own, pages};
use crate::identity::Role;
use crate::identity::control::Note;
use crate::store::StoreError;
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::{Confirmed, Me, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/account/data", web::get().to(show)).route("/account/data", web::post().to(download));
}

#[derive(Template)]
#[template(path = "bundle/own.html")]
struct OwnPage {
    shell: Shell,
    workspaces: Vec<String>,
    /// Name and slug of those whose whole export the person can start.
    owned: Vec<(String, String)>,
}

async fn show(web: web::Data<Web>, me: Me) -> Result<HttpResponse, Problem> {
    let all = web.control.workspaces_of(me.account())?;
    let owned = all.iter().filter(|(_, _, role)| *role == Role::Owner);
    page::render(&OwnPage {
        shell: Shell::account(&web, &me, "My data")?,
        owned: owned.map(|(_, row, _)| (row.name.clone(), row.slug.clone())).collect(),
        workspaces: all.into_iter().map(|(_, row, _)| row.name).collect(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn download(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Confirmed,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let note = Note::new(me.actor(), Action::AccountDataTaken, me.account()).asked_by(request_id(&request));
    web.control.change(note, |_| Ok::<_, StoreError>(())).await?;
    let (state, account, now) = (web.clone(), me.account(), web.clock.now());
    let spooled = web::block(move || own::collect(&state, account, now)).await??;
    let reader = spooled.open().map_err(super::BundleError::Io)?;
    Ok(pages::attachment(&format!("my-data-{}.tar.zst", now.strftime("%Y-%m-%d")), reader))
}
