//! Data and privacy of a workspace.

use actix_web::{HttpResponse, web};
use askama::Template;

use crate::identity::{Role, WorkspaceState};
use crate::web::{Me, Problem, Shell, Web, page};
use crate::workspace::Admin;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/privacy", web::get().to(show));
}

#[derive(Template)]
#[template(path = "privacy/data.html")]
struct DataPage {
    shell: Shell,
    slug: String,
    owner: bool,
    restricted: bool,
    /// Whom people ask about their data; may be empty.
    contact: String,
}

async fn show(web: web::Data<Web>, me: Me, ws: Admin) -> Result<HttpResponse, Problem> {
    page::render(&DataPage {
        shell: Shell::workspace(&web, &me, &ws, "Data and privacy", "members")?,
        slug: ws.row().slug.clone(),
        owner: ws.role() == Role::Owner,
        restricted: ws.row().state == WorkspaceState::Restricted,
        contact: web.settings().privacy_contact,
    })
}
