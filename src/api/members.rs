//! `/api/v1/members` and `/api/v1/invitations`: who belongs to the workspace, in which role, and who is asked in.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::change_sets::{parsed, read};
use super::{List, Page, needs};
use crate::identity::{Email, Role, Scope};
use crate::ids::{AccountId, InvitationId};
use crate::people::invite::{invite, withdraw_invitation};
use crate::people::members::{RoleChange, change_roles, remove};
use crate::web::{Me, Problem, Web};
use crate::workspace::Admin;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/members", web::get().to(list))
        .route("/api/v1/members/{account}", web::delete().to(end))
        .route("/api/v1/members/{account}/role", web::post().to(change))
        .route("/api/v1/invitations", web::get().to(open))
        .route("/api/v1/invitations", web::post().to(send))
        .route("/api/v1/invitations/{invitation}", web::delete().to(withdraw));
}

async fn list(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    let after = page.cursor.as_deref().map(str::parse::<AccountId>).transpose();
    let after = after.map_err(|_| Problem::field("cursor", "This is no cursor of this list."))?;
    let mut members = web.control.members_of(ws.id())?;
    members.retain(|(id, _)| after.is_none_or(|after| *id > after));
    let mut rows = Vec::new();
    for (id, role) in members.into_iter().take(page.limit() + 1) {
        let Some(account) = web.control.account(id)? else { continue };
        let seen = web.control.last_visit(id, ws.id())?;
        let shown = json!({
            "id": id, "name": account.name, "email": account.email, "role": role, "last_visit": seen,
        });
        rows.push((id, shown));
    }
    Ok(HttpResponse::Ok().json(List::cut(rows, page.limit(), AccountId::to_string)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: Role,
}

async fn change(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    id: web::Path<AccountId>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    let NewRole { role } = parsed(&read(payload).await?)?;
    let was = web.control.role_in(*id, ws.id())?.ok_or(Problem::NotFound)?;
    change_roles(&web, &ws, vec![RoleChange { account: *id, was, role }]).await?;
    Ok(HttpResponse::Ok().json(json!({ "id": *id, "role": role })))
}

async fn end(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    id: web::Path<AccountId>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    remove(&web, &ws, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn open(web: web::Data<Web>, me: Me, ws: Admin) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    let rows = web.control.invitations_of(ws.id())?.into_iter();
    let items = rows.map(|(id, row)| {
        json!({
            "id": id, "email": row.email, "role": row.role, "invited_by": row.by, "sent": row.sent, "ends": row.ends,
        })
    });
    Ok(HttpResponse::Ok().json(List::<Value> { items: items.collect(), next: None }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    email: String,
    role: Role,
}

async fn send(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    let new: New = parsed(&read(payload).await?)?;
    let email: Email =
        new.email.parse().map_err(|_| Problem::field("email", "This is no e-mail address."))?;
    let made = invite(&web, &ws, new.role, vec![email]).await?.into_iter().next();
    match made {
        Some(Ok(new)) => Ok(HttpResponse::Created().json(json!({
            "id": new.id, "email": new.email, "role": new.role, "ends": new.ends, "link": new.link,
        }))),
        Some(Err(not)) => Err(Problem::field("email", format!("{} {}.", not.email, not.why))),
        None => Err(Problem::Broken("an invitation has no answer".into())),
    }
}

async fn withdraw(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    id: web::Path<InvitationId>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Admin)?;
    withdraw_invitation(&web, &ws, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}
