//! The members page of a workspace: who belongs to it in which role, and who is invited.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;

use super::invite::{Invited, mails};
use super::members::{self, TOPIC, role_changes};
use crate::identity::invitations::Invitation;
use crate::identity::{Account, Role};
use crate::ids::{AccountId, InvitationId};
use crate::mail::outbox::{MailState, OUTBOX};
use crate::store::Read as _;
use crate::web::page::{initials, render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::Admin;

/// Members on one page of the list.
const SHOWN: usize = 50;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/members", web::get().to(list))
        .route("/w/{workspace}/members/roles", web::post().to(save_roles));
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
    /// Addresses with their links, which are shown once.
    pub links: Vec<(String, String)>,
    /// Addresses to which a mail is on its way.
    pub mailed: Vec<String>,
    /// What stays in the field.
    pub typed: String,
    pub role: Role,
}

impl Default for Outcome {
    fn default() -> Self {
        let (errors, links, mailed, typed) = <_>::default();
        Self { errors, links, mailed, typed, role: Role::Member }
    }
}

impl Outcome {
    pub fn add(&mut self, invited: Invited) {
        let email = invited.email.to_string();
        match invited.link {
            Some(link) => self.links.push((email, link)),
            None => self.mailed.push(email),
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
    /// Class of the badge: `warn`, `bad` or none.
    tone: &'static str,
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
    /// Addresses that joined lately, with what the list says of them.
    accepted: Vec<(String, String)>,
    roles: Vec<Role>,
    q: String,
    /// `1 to 50 of 80`, and the pages before and after.
    shown: String,
    before: Option<usize>,
    after: Option<usize>,
    outcome: Outcome,
    done: &'static str,
    owner: bool,
    /// Whether invitations can go out by mail.
    mails: bool,
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
    let failed = !outcome.errors.is_empty() && outcome.links.is_empty() && outcome.mailed.is_empty();
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
        invited.push(invited_row(web, id, &invitation, ws.role(), now)?);
    }
    let mut accepted = Vec::new();
    for (_, invitation) in web.control.accepted_invitations_of(ws.id())? {
        let Some(at) = invitation.accepted else { continue };
        let facts = format!("{} · joined {}", invitation.role.label(), at.strftime("%-d %b"));
        accepted.push((invitation.email.to_string(), facts));
    }
    Ok(MembersPage {
        shell: Shell::workspace(web, me, ws, "Members", "members")?,
        slug: ws.row().slug.clone(),
        total,
        rows,
        invited,
        accepted,
        roles: Role::ALL.into_iter().filter(|role| *role <= ws.role()).collect(),
        q: asked.q.clone(),
        shown,
        before: (at > 1).then(|| at - 1),
        after: (at < pages).then_some(at + 1),
        outcome,
        done: done(&asked.done),
        owner: ws.role() == Role::Owner,
        mails: mails(web, ws)?,
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

fn invited_row(
    web: &Web,
    id: InvitationId,
    invitation: &Invitation,
    mine: Role,
    now: Timestamp,
) -> Result<InvitedRow, Problem> {
    let by = web.control.account(invitation.by)?.map(|a| a.name).unwrap_or_default();
    let mail = match invitation.mail {
        Some(mail) => web.control.read()?.get(&OUTBOX, &mail)?,
        None => None,
    };
    let day = |at: Timestamp| at.strftime("%-d %b").to_string();
    let mut facts = format!("{} · invited by {by}, {}", invitation.role.label(), day(invitation.sent));
    let (state, tone) = match mail {
        _ if invitation.ends <= now => ("Ended".to_owned(), "warn"),
        Some(mail) if mail.state == MailState::Dead => {
            facts = format!("{facts} · “{}”", mail.said);
            ("Mail refused".to_owned(), "bad")
        }
        Some(mail) if mail.tries > 0 && mail.ended.is_none() => ("Mail waits".to_owned(), "warn"),
        _ => (format!("Ends {}", day(invitation.ends)), ""),
    };
    if invitation.ends > now && !tone.is_empty() {
        facts = format!("{facts} · ends {}", day(invitation.ends));
    }
    let may = invitation.role <= mine;
    Ok(InvitedRow { id, email: invitation.email.to_string(), facts, state, tone, may })
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
