//! The audit log of a workspace: newest first, filtered by act, with the state of its chain. What is done to the
//! workspace itself (members, invitations, its name) is in the instance's chain and shown beside its own.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::store::audit::{AUDIT, Action, Actor, AuditEvent, Broken};
use crate::store::{Read, StoreError};
use crate::web::{Me, Problem, Shell, Web, page};
use crate::workspace::Admin;

/// Lines on one page.
const SHOWN: usize = 50;
/// Lines looked at for one filtered page.
const LOOKED_AT: usize = 20_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/audit", web::get().to(show));
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    action: String,
    #[serde(default)]
    of: Chain,
    before: Option<u64>,
}

/// Which chain is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Chain {
    #[default]
    Contents,
    Members,
}

struct Row {
    line: u64,
    at: String,
    who: String,
    action: &'static str,
    target: String,
    hash: String,
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct AuditPage {
    shell: Shell,
    slug: String,
    rows: Vec<Row>,
    action: String,
    actions: &'static [Action],
    older: Option<u64>,
    chain: Result<u64, u64>,
    of_members: bool,
}

async fn show(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    query: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let shell = Shell::workspace(&web, &me, &ws, "Audit log", "audit")?;
    let (action, before, of) = (query.action.clone(), query.before, query.of);
    let slug = ws.row().slug.clone();
    let wanted = action.clone();
    let control = web.control.clone();
    let (events, older, chain) = web::block(move || -> Result<_, Problem> {
        let fits = |event: &AuditEvent| wanted.is_empty() || event.action.name() == wanted;
        let ((events, older), chain) = match of {
            Chain::Contents => (lines(&ws.read()?, before, fits)?, ws.verify_audit()?),
            Chain::Members => {
                let ours = |event: &AuditEvent| event.workspace == Some(ws.id()) && fits(event);
                (lines(&control.read()?, before, ours)?, control.verify_audit()?)
            }
        };
        Ok((events, older, chain))
    })
    .await??;
    let control = &web.control;
    let mut rows = Vec::new();
    for (line, event) in events {
        let who = who(control, &event.actor)?;
        let at = event.at.strftime("%-d %B %Y, %H:%M:%S UTC").to_string();
        let hash = event.hash.chars().take(12).collect();
        rows.push(Row { line, at, who, action: event.action.name(), target: event.target, hash });
    }
    let chain = chain.map_err(Broken::line);
    page::render(&AuditPage {
        shell,
        slug,
        rows,
        action,
        actions: Action::ALL,
        older,
        chain,
        of_members: of == Chain::Members,
    })
}

/// Lines with their numbers, and where to go on looking when something may be left.
type Lines = (Vec<(u64, AuditEvent)>, Option<u64>);

/// The newest lines before `before` that fit.
fn lines(
    read: &impl Read,
    before: Option<u64>,
    fits: impl Fn(&AuditEvent) -> bool,
) -> Result<Lines, StoreError> {
    let (mut events, mut looked_at, mut last) = (Vec::new(), 0, 1);
    let mut scan = read.scan(&AUDIT).reverse().limit(LOOKED_AT);
    if let Some(line) = before {
        scan = scan.before(&line);
    }
    scan.each(|line, event| {
        (looked_at, last) = (looked_at + 1, line);
        if fits(&event) {
            events.push((line, event));
        }
        events.len() < SHOWN
    })?;
    let more = last > 1 && (events.len() == SHOWN || looked_at == LOOKED_AT);
    Ok((events, more.then_some(last)))
}

fn who(control: &crate::identity::Control, actor: &Actor) -> Result<String, Problem> {
    let name = match actor.account() {
        Some(id) => control.account(id)?.map_or_else(|| id.to_string(), |a| a.name),
        None => String::new(),
    };
    Ok(match actor {
        Actor::Account { .. } => name,
        Actor::Job { asked_by: Some(_), .. } => format!("Job for {name}"),
        Actor::Job { .. } => "Schedule".into(),
        Actor::Operator => "Operator".into(),
        Actor::Token { .. } => format!("API token of {name}"),
        Actor::Visitor => "Visitor".into(),
    })
}
