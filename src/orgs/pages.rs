//! The list of orgs, an org's connection and limits, and its sync with live progress.

use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::records::{self, COMPONENTS, ORGS, Org};
use super::{DeployPolicy, Orgs, SYNC};
use crate::ids::OrgId;
use crate::jobs::{JOBS, JobCause, JobState, Progress, enqueue};
use crate::store::audit::Action;
use crate::store::{Read, StoreError};
use crate::web::page::{grouped, see_other};
use crate::web::{Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Member, Processing, Viewer, Workspace};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/orgs", web::get().to(list))
        .route("/w/{workspace}/o/{org}/connection", web::get().to(connection))
        .route("/w/{workspace}/o/{org}/limits", web::get().to(limits_page))
        .route("/w/{workspace}/o/{org}/sync", web::post().to(sync))
        .route("/w/{workspace}/o/{org}/sync/cancel", web::post().to(cancel));
}

/// A time as pages show it.
pub fn shown(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

/// Where the sync of an org stands.
pub struct SyncState {
    pub running: Option<Progress>,
    /// It waits to be begun, for the first time or again.
    pub waiting: Option<String>,
    pub failed: Option<String>,
    pub cancelled: bool,
}

impl SyncState {
    pub fn busy(&self) -> bool {
        self.running.is_some() || self.waiting.is_some()
    }

    /// Whole percent of what is known to come; 0 while that is unknown.
    pub fn percent(&self) -> u64 {
        self.running.as_ref().map_or(0, |p| p.done * 100 / p.total.max(1)).min(100)
    }
}

pub fn sync_state(orgs: &Orgs, ws: &Workspace, org: &Org) -> Result<SyncState, StoreError> {
    let mut state = SyncState { running: None, waiting: None, failed: None, cancelled: false };
    let Some(job) = org.sync_job else { return Ok(state) };
    let Some(row) = ws.read()?.get(&JOBS, &job)? else { return Ok(state) };
    match row.state {
        JobState::Queued => {
            state.running = orgs.board.of(job).filter(|p| !p.phase.is_empty());
            if state.running.is_none() {
                state.waiting = Some(row.error.unwrap_or_default());
            }
        }
        JobState::Failed => state.failed = row.error,
        JobState::Cancelled => state.cancelled = true,
        JobState::Done => {}
    }
    Ok(state)
}

struct Row {
    slug: String,
    name: String,
    kind: &'static str,
    state: String,
    good: bool,
    components: u64,
}

#[derive(Template)]
#[template(path = "orgs/list.html")]
struct ListPage {
    shell: Shell,
    slug: String,
    rows: Vec<Row>,
    may_connect: bool,
}

async fn list(
    web: web::Data<Web>,
    orgs: web::Data<Orgs>,
    me: Me,
    ws: Viewer,
) -> Result<HttpResponse, Problem> {
    let mut rows = Vec::new();
    for (_, org) in records::all(&ws.read()?)? {
        let sync = sync_state(&orgs, &ws, &org)?;
        let (state, good) = match (&org.signed_out, &org.last_sync) {
            (Some(_), _) => ("Signed out: connect it again".to_owned(), false),
            _ if sync.busy() => ("Syncing".to_owned(), true),
            (None, Some(run)) => (format!("Synced {}", shown(run.at)), true),
            (None, None) => ("Not synced yet".to_owned(), true),
        };
        let components = org.last_sync.as_ref().map_or(0, |r| r.components);
        rows.push(Row { slug: org.slug, name: org.name, kind: org.kind.label(), state, good, components });
    }
    let shell = Shell::workspace(&web, &me, &ws, "Orgs", "orgs")?;
    let may_connect = ws.role() >= crate::identity::Role::Admin;
    page::render(&ListPage { shell, slug: ws.row().slug.clone(), rows, may_connect })
}

/// A limit of an org as last read.
pub struct Limit {
    pub name: String,
    pub used: String,
    pub max: String,
    pub percent: u64,
}

/// The limits of an org, fullest first.
pub fn limits(org: &Org) -> Vec<Limit> {
    let mut limits: Vec<Limit> = org
        .limits
        .iter()
        .filter(|(_, l)| l.max > 0)
        .map(|(name, l)| Limit {
            name: words(name),
            used: grouped(l.max.saturating_sub(l.remaining)),
            max: grouped(l.max),
            percent: l.used_percent(),
        })
        .collect();
    limits.sort_by_key(|l| std::cmp::Reverse(l.percent));
    limits
}

/// How many components of each type were read.
pub fn counts(read: &impl Read, id: OrgId) -> Result<Vec<(&'static str, u64)>, StoreError> {
    KINDS
        .iter()
        .map(|(kind, label)| {
            Ok((*label, read.scan(&COMPONENTS).under(&(id, (*kind).to_owned())).count()? as u64))
        })
        .collect()
}

/// Types with their names on pages.
pub const KINDS: [(&str, &str); 6] = [
    ("ApexClass", "Apex classes"),
    ("ApexTrigger", "Apex triggers"),
    ("CustomObject", "Objects"),
    ("Flow", "Flows"),
    ("LightningComponentBundle", "Lightning web components"),
    ("PermissionSet", "Permission sets"),
];

#[derive(Template)]
#[template(path = "orgs/connection.html")]
struct ConnectionPage {
    shell: Shell,
    slug: String,
    org: Org,
    connected: String,
    last: String,
    policies: [DeployPolicy; 5],
    may_change: bool,
}

async fn connection(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (_, org) = records::by_slug(&ws.read()?, &path.1)?.ok_or(Problem::NotFound)?;
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "Connection", "orgs")?;
    page::render(&ConnectionPage {
        shell: shell.under(below(&slug, &org)),
        slug,
        connected: shown(org.connected),
        last: org.last_sync.as_ref().map(|r| shown(r.at)).unwrap_or_default(),
        policies: DeployPolicy::ALL,
        may_change: ws.role() >= crate::identity::Role::Admin,
        org,
    })
}

/// The steps of the breadcrumb above a page of an org's connection.
fn below(slug: &str, org: &Org) -> Vec<Crumb> {
    vec![
        Crumb::new("Orgs", format!("/w/{slug}/orgs")),
        Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug)),
    ]
}

#[derive(Template)]
#[template(path = "orgs/limits.html")]
struct LimitsPage {
    shell: Shell,
    slug: String,
    org: Org,
    topic: String,
    last: String,
    limits: Vec<Limit>,
}

async fn limits_page(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, org) = records::by_slug(&ws.read()?, &path.1)?.ok_or(Problem::NotFound)?;
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "Limits", &format!("o/{}", org.slug))?;
    page::render(&LimitsPage {
        shell: shell.under(vec![Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug))]),
        slug,
        topic: format!("org:{id}"),
        last: org.last_sync.as_ref().map(|r| shown(r.at)).unwrap_or_default(),
        limits: limits(&org),
        org,
    })
}

/// `DailyApiRequests` as people read it: `Daily Api Requests`.
fn words(name: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        out.push(c);
        before = c;
    }
    out
}

#[derive(Deserialize)]
struct Nothing {}

async fn sync(
    ws: Member,
    path: web::Path<(String, String)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (id, _) = records::by_slug(&ws.read()?, &path.1)?.ok_or(Problem::NotFound)?;
    request_sync(&ws, id, ws.processing()?).await?;
    Ok(see_other(&format!("/w/{}/o/{}", ws.row().slug, path.1)))
}

/// Queues a sync, unless one is queued or running already.
pub async fn request_sync(ws: &Workspace, id: OrgId, _: Processing) -> Result<(), StoreError> {
    let cause = JobCause::of(ws);
    ws.change(Action::OrgSyncRequested, id, move |tx| {
        let Some(mut org) = tx.get(&ORGS, &id)? else { return Ok(()) };
        if let Some(job) = org.sync_job
            && tx.get(&JOBS, &job)?.is_some_and(|row| row.state == JobState::Queued)
        {
            return Ok(());
        }
        org.sync_job = Some(enqueue(tx, &cause, SYNC, json!({ "org": id }))?);
        tx.put(&ORGS, &id, &org)?;
        tx.announce(format!("org:{id}"));
        Ok(())
    })
    .await
}

async fn cancel(
    orgs: web::Data<Orgs>,
    ws: Member,
    path: web::Path<(String, String)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (_, org) = records::by_slug(&ws.read()?, &path.1)?.ok_or(Problem::NotFound)?;
    if let Some(job) = org.sync_job {
        orgs.board.cancel(job);
    }
    Ok(see_other(&format!("/w/{}/o/{}", ws.row().slug, path.1)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn limit_names_become_words() {
        assert_eq!(super::words("DailyApiRequests"), "Daily Api Requests");
        assert_eq!(super::words("DataStorageMB"), "Data Storage MB");
    }
}
