//! The members page of a workspace: who belongs to it, who is invited; and the pages that remove a member, leave, and
//! hand the workspace over.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;

use super::members::{self, TOPIC, role_changes};
use crate::identity::invitations::Invitation;
use crate::identity::{Account, Role};
use crate::ids::{AccountId, InvitationId};
use crate::web::page::{initials, render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Admin, Owner, Viewer};

/// Members on one page of the list.
const SHOWN: usize = 50;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/members", web::get().to(list))
        .route("/w/{workspace}/members/roles", web::post().to(save_roles))
        .route("/w/{workspace}/members/{account}/remove", web::get().to(ask_remove))
        .route("/w/{workspace}/members/{account}/remove", web::post().to(remove))
        .route("/w/{workspace}/leave", web::get().to(ask_leave))
        .route("/w/{workspace}/leave", web::post().to(leave))
        .route("/w/{workspace}/transfer", web::get().to(ask_transfer))
        .route("/w/{workspace}/transfer", web::post().to(transfer));
}

#[derive(Deserialize, Default)]
struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: usize,
    #[serde(default)]
    done: String,
}

/// What an act on this page led to.
pub(super) struct Outcome {
    pub errors: Vec<FieldError>,
    /// Addresses with their links, which are shown once unless they go out by mail.
    pub issued: Vec<(String, String)>,
    /// What stays in the field.
    pub typed: String,
    pub role: Role,
    /// Whether invitations go out by mail.
    pub mailed: bool,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            errors: Vec::new(),
            issued: Vec::new(),
            typed: String::new(),
            role: Role::Member,
            mailed: false,
        }
    }
}

struct MemberRow {
    id: AccountId,
    name: String,
    email: String,
    initials: String,
    /// Which of the five colours of the round badge.
    tone: usize,
    role: Role,
    /// Roles to choose from; empty where it can't be changed here, with the reason.
    choices: Vec<Role>,
    fixed: &'static str,
    you: bool,
    seen: String,
    removable: bool,
}

struct InvitedRow {
    id: InvitationId,
    email: String,
    facts: String,
    state: String,
    ended: bool,
    may: bool,
}

#[derive(Template)]
#[template(path = "people/members.html")]
struct MembersPage {
    shell: Shell,
    slug: String,
    total: usize,
    rows: Vec<MemberRow>,
    invited: Vec<InvitedRow>,
    roles: Vec<Role>,
    q: String,
    /// `1 to 50 of 80`, and the pages before and after.
    shown: String,
    before: Option<usize>,
    after: Option<usize>,
    outcome: Outcome,
    done: &'static str,
    owner: bool,
    topic: &'static str,
}

async fn list(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    page::render(&view(&web, &me, &ws, &asked, Outcome::default())?)
}

/// The page after an act: 422 where something was wrong and nothing was done.
pub(super) fn show(web: &Web, me: &Me, ws: &Admin, outcome: Outcome) -> Result<HttpResponse, Problem> {
    let failed = !outcome.errors.is_empty() && outcome.issued.is_empty();
    let status = if failed { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    render_with(status, &view(web, me, ws, &Asked::default(), outcome)?)
}

fn view(web: &Web, me: &Me, ws: &Admin, asked: &Asked, outcome: Outcome) -> Result<MembersPage, Problem> {
    let now = web.clock.now();
    let members = web.control.people_of(ws.id())?;
    let owners = members.iter().filter(|(_, _, role)| *role == Role::Owner).count();
    let total = members.len();
    let wanted = asked.q.trim().to_lowercase();
    let found: Vec<_> = members
        .into_iter()
        .filter(|(_, person, _)| {
            person.name.to_lowercase().contains(&wanted) || person.email.key().contains(&wanted)
        })
        .collect();
    let pages = found.len().div_ceil(SHOWN).max(1);
    let at = asked.page.clamp(1, pages);
    let (first, last) = ((at - 1) * SHOWN, (at * SHOWN).min(found.len()));
    let shown = format!("{} to {last} of {}", (first + 1).min(last), found.len());
    let mut rows = Vec::new();
    for (id, person, role) in found.into_iter().skip(first).take(SHOWN) {
        let seen = web.control.last_visit(id, ws.id())?;
        rows.push(row(ws, id, &person, role, owners, seen, now));
    }
    let mut invited = Vec::new();
    for (id, invitation) in web.control.invitations_of(ws.id())? {
        let by = web.control.account(invitation.by)?.map(|a| a.name).unwrap_or_default();
        invited.push(invited_row(id, invitation, &by, ws.role(), now));
    }
    Ok(MembersPage {
        shell: Shell::workspace(web, me, ws, "Members", "members")?,
        slug: ws.row().slug.clone(),
        total,
        rows,
        invited,
        roles: Role::ALL.into_iter().filter(|role| *role <= ws.role()).collect(),
        q: asked.q.clone(),
        shown,
        before: (at > 1).then(|| at - 1),
        after: (at < pages).then_some(at + 1),
        outcome,
        done: done(&asked.done),
        owner: ws.role() == Role::Owner,
        topic: TOPIC,
    })
}

/// What the page says after a redirect.
fn done(name: &str) -> &'static str {
    match name {
        "removed" => "The member is removed. Their tokens are revoked.",
        "saved" => "The roles are saved. They hold from now on.",
        "withdrawn" => "The invitation is withdrawn. Its link opens nothing any more.",
        _ => "",
    }
}

fn row(
    ws: &Admin,
    id: AccountId,
    person: &Account,
    role: Role,
    owners: usize,
    seen: Option<Timestamp>,
    now: Timestamp,
) -> MemberRow {
    let (you, last_owner) = (id == ws.account(), role == Role::Owner && owners == 1);
    let fixed = if last_owner {
        "The last owner"
    } else if role == Role::Owner && ws.role() < Role::Owner {
        "Only an owner changes owners"
    } else {
        ""
    };
    let choices = Role::ALL.into_iter().filter(|r| fixed.is_empty() && *r <= ws.role()).collect();
    MemberRow {
        id,
        name: person.name.clone(),
        email: person.email.to_string(),
        initials: initials(&person.name),
        tone: usize::from(id.bytes()[15]) % 5 + 1,
        role,
        choices,
        fixed,
        you,
        seen: seen.map_or_else(|| "Never".to_owned(), |at| ago(at, now)),
        removable: fixed.is_empty() && !you,
    }
}

fn invited_row(id: InvitationId, invitation: Invitation, by: &str, mine: Role, now: Timestamp) -> InvitedRow {
    let day = |at: Timestamp| at.strftime("%-d %b").to_string();
    let ended = invitation.ends <= now;
    let state = if ended { "Ended".to_owned() } else { format!("Ends {}", day(invitation.ends)) };
    InvitedRow {
        id,
        email: invitation.email.to_string(),
        facts: format!("{} · invited by {by}, {}", invitation.role.label(), day(invitation.sent)),
        state,
        ended,
        may: invitation.role <= mine,
    }
}

/// How long ago, in the largest fitting unit.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(at).as_mins();
    let some = |n: i64, unit: &str| format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" });
    match minutes {
        ..10 => "Now".to_owned(),
        10..60 => some(minutes, "minute"),
        60..1440 => some(minutes / 60, "hour"),
        1440..43_200 => some(minutes / 1440, "day"),
        _ => at.strftime("%-d %b %Y").to_string(),
    }
}

async fn save_roles(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    PostForm(form): PostForm<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    match members::change_roles(&web, &ws, role_changes(&form)?).await {
        Ok(()) => Ok(see_other(&format!("/w/{}/members?done=saved", ws.row().slug))),
        Err(Problem::Conflict(message)) => {
            let errors = vec![FieldError { field: "members".into(), message }];
            let page = view(&web, &me, &ws, &Asked::default(), Outcome { errors, ..Outcome::default() })?;
            render_with(StatusCode::CONFLICT, &page)
        }
        Err(other) => Err(other),
    }
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
    let live = |(_, t): &&(crate::ids::ApiTokenId, crate::identity::ApiToken)| {
        t.revoked.is_none() && t.expires.is_none_or(|at| at > now)
    };
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
    me: Me,
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
