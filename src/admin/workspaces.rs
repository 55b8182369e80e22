//! The workspaces of the instance: names, owners, members, size and state, never contents.

use actix_web::{HttpResponse, web};
use askama::Template;

use crate::identity::{Control, Role, WorkspaceState};
use crate::ids::WorkspaceId;
use crate::store::StoreError;
use crate::web::page::size;
use crate::web::{Operator, Problem, Shell, Web, page};
use crate::workspace::space;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/admin/workspaces", web::get().to(show));
}

struct Row {
    id: WorkspaceId,
    name: String,
    slug: String,
    owners: String,
    members: usize,
    size: String,
    created: String,
    restricted: bool,
    /// When it is erased, if an owner asked for that.
    ends: String,
}

#[derive(Template)]
#[template(path = "admin/workspaces.html")]
struct WorkspacesPage {
    shell: Shell,
    rows: Vec<Row>,
}

async fn show(web: web::Data<Web>, me: Operator) -> Result<HttpResponse, Problem> {
    let shell = Shell::account(&web, &me, "Workspaces")?;
    let state = web.clone();
    let rows = web::block(move || {
        let all = state.control.all_workspaces()?;
        all.into_iter().map(|(id, row)| read(&state, id, row)).collect::<Result<Vec<_>, StoreError>>()
    });
    let mut rows = rows.await??;
    rows.sort_by_key(|row| row.name.to_lowercase());
    page::render(&WorkspacesPage { shell, rows })
}

fn read(web: &Web, id: WorkspaceId, row: crate::identity::WorkspaceRow) -> Result<Row, StoreError> {
    let members = web.control.members_of(id)?;
    Ok(Row {
        id,
        owners: owners(&web.control, &members)?,
        members: members.len(),
        size: size(space::below(&web.pool.data().home(id)).unwrap_or_default()),
        created: row.created.strftime("%-d %b %Y").to_string(),
        restricted: row.state == WorkspaceState::Restricted || row.closing().is_some_and(|c| c.restricted),
        ends: row.closing().map(|c| c.ends().strftime("%-d %b %Y").to_string()).unwrap_or_default(),
        name: row.name,
        slug: row.slug,
    })
}

fn owners(control: &Control, members: &[(crate::ids::AccountId, Role)]) -> Result<String, StoreError> {
    let mut names = Vec::new();
    for (id, _) in members.iter().filter(|(_, role)| *role == Role::Owner) {
        names.extend(control.account(*id)?.map(|account| account.name));
    }
    Ok(names.join(", "))
}
