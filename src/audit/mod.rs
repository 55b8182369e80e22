//! The audit log of a workspace: newest first, filtered by act, with the state of its chain.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::store::Read as _;
use crate::store::audit::{AUDIT, Action, Actor, AuditEvent, Broken};
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
    before: Option<u64>,
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
}

async fn show(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    query: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let shell = Shell::workspace(&web, &me, &ws, "Audit log", "audit")?;
    let (action, before) = (query.action.clone(), query.before);
    let slug = ws.row().slug.clone();
    let wanted = action.clone();
    let control = web.control.clone();
    let (events, chain) = web::block(move || -> Result<_, Problem> {
        let read = ws.read()?;
        let mut events: Vec<(u64, AuditEvent)> = Vec::new();
        let mut scan = read.scan(&AUDIT).reverse().limit(LOOKED_AT);
        if let Some(line) = before {
            scan = scan.before(&line);
        }
        scan.each(|line, event| {
            if wanted.is_empty() || event.action.name() == wanted {
                events.push((line, event));
            }
            events.len() <= SHOWN
        })?;
        Ok((events, ws.verify_audit()?))
    })
    .await??;
    let older = events.get(SHOWN).map(|_| events[SHOWN - 1].0);
    let mut rows = Vec::new();
    for (line, event) in events.into_iter().take(SHOWN) {
        let who = who(&control, &event.actor)?;
        let at = event.at.strftime("%-d %B %Y, %H:%M:%S UTC").to_string();
        let hash = event.hash.chars().take(12).collect();
        rows.push(Row { line, at, who, action: event.action.name(), target: event.target, hash });
    }
    let chain = chain.map_err(|broken| match broken {
        Broken::Link(line) | Broken::Tail(line) => line,
    });
    page::render(&AuditPage { shell, slug, rows, action, actions: Action::ALL, older, chain })
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
