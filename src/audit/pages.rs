//! The audit log of a workspace: its lines newest first, filtered by a URL, with the state of the chains, as a page and as a file.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::asked::{Asked, Wrong};
use super::evidence;
use super::log::{Chain, Of, Page, Wanted, newest_of};
use super::rows::{COLUMNS, Names, Row, exact_time, put_all, rows, shortened};
use super::verify::{self, Checked, Found, Held};
use crate::identity::Control;
use crate::jobs::{Board, JobState, Progress};
use crate::store::audit::AUDIT_HEAD;
use crate::store::{Read as _, StoreError};
use crate::web::page::{grouped, see_other};
use crate::web::table_file::{Rows, download};
use crate::web::{Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Admin, Workspace};

/// Lines on one page.
pub(super) const SHOWN: usize = 50;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/audit", web::get().to(show))
        .route("/w/{workspace}/audit/evidence", web::get().to(evidence_file))
        .route("/w/{workspace}/audit/file", web::get().to(file))
        .route("/w/{workspace}/audit/verify", web::post().to(ask));
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct AuditPage {
    shell: Shell,
    slug: String,
    state: StateView,
    /// Where the evidence is.
    evidence: String,
    list: ListView,
    /// Members to filter by: id and name.
    people: Vec<(String, String)>,
}

/// Filter and lines, as the pages of workspaces and of the instance show them.
pub(super) struct ListView {
    /// The page's own path.
    pub base: String,
    pub asked: Asked,
    /// The filter as a query.
    pub query: String,
    pub wrong: Option<Wrong>,
    pub rows: Vec<Row>,
    /// Go on looking before this line.
    pub older: Option<u64>,
    /// The query that does, and the line with its thousands apart.
    pub older_query: String,
    pub older_label: String,
    /// When the last line was written that was looked at.
    pub reached: String,
    pub zone: String,
}

impl ListView {
    /// What a filter gives; `look` reads the log.
    pub async fn of(
        base: String,
        asked: Asked,
        zone: &str,
        look: impl FnOnce(Wanted) -> Result<(Page, Vec<Row>), StoreError> + Send + 'static,
    ) -> Result<Self, Problem> {
        let (wrong, (page, rows)) = match asked.wanted(zone) {
            Ok(wanted) => (None, web::block(move || look(wanted)).await??),
            Err(wrong) => (Some(wrong), (Page { lines: Vec::new(), older: None, reached: None }, Vec::new())),
        };
        let reached = page.reached.map(|at| exact_time(at, zone)).unwrap_or_default();
        let zone = if zone.is_empty() { "UTC".to_owned() } else { zone.to_owned() };
        let older_label = page.older.map(grouped).unwrap_or_default();
        let query = asked.query();
        let older_query = Asked { before: page.older, ..asked.clone() }.onward();
        Ok(Self {
            base,
            asked,
            query,
            wrong,
            rows,
            older: page.older,
            older_query,
            older_label,
            reached,
            zone,
        })
    }

    /// The query of a link, going on behind what the filter says.
    pub fn and(&self, more: impl std::fmt::Display) -> String {
        if self.query.is_empty() { more.to_string() } else { format!("{}&{more}", self.query) }
    }

    /// The query with another person.
    pub fn of_person(&self, person: &str) -> String {
        Asked { person: person.to_owned(), ..self.asked.clone() }.query()
    }

    /// Whether the person of the filter is one of those to choose from.
    pub fn is_known(&self, people: &[(String, String)]) -> bool {
        let person = self.asked.person.as_str();
        ["schedule", "operator"].contains(&person) || people.iter().any(|(id, _)| id == person)
    }

    /// A field for days takes no moment, which a URL may hold.
    pub fn date_type(&self) -> &'static str {
        let is_day = |text: &str| text.is_empty() || text.parse::<jiff::civil::Date>().is_ok();
        let moment = |text: &str| text.contains('T');
        let days = [&self.asked.from, &self.asked.to].iter().all(|text| is_day(text) && !moment(text));
        if days { "date" } else { "text" }
    }

    pub fn of_members(&self) -> bool {
        self.asked.of == Chain::Members
    }
}

/// The state of the chains, in words.
pub(super) struct StateView {
    pub running: Option<Progress>,
    /// Waits to begin, and why it is tried again.
    pub waiting: Option<String>,
    pub failed: Option<String>,
    /// What does not hold: which chain, where.
    pub broken: Vec<BrokenView>,
    /// What holds, in a line.
    pub holds: Option<String>,
    /// The last hash, by its ends.
    pub hash: String,
    /// The number of the newest line.
    pub newest: String,
}

pub(super) struct BrokenView {
    pub chain: &'static str,
    pub line: u64,
    pub at: String,
    pub said: String,
}

impl BrokenView {
    pub fn of(chain: &'static str, found: &Found, zone: &str) -> Self {
        let at = found.at.map(|at| exact_time(at, zone)).unwrap_or_default();
        Self { chain, line: found.line, at, said: found.said.clone() }
    }
}

impl StateView {
    /// "12,000 of 48,212 entries", once that is known.
    pub fn counted(&self) -> String {
        match &self.running {
            Some(Progress { done, total, .. }) if *total > 0 => {
                format!("{} of {} entries", grouped(*done), grouped(*total))
            }
            _ => String::new(),
        }
    }

    /// Whole percent of the running check.
    pub fn percent(&self) -> u64 {
        self.running.as_ref().map_or(0, |p| p.done * 100 / p.total.max(1)).min(100)
    }

    pub fn busy(&self) -> bool {
        self.running.is_some() || self.waiting.is_some()
    }

    fn read(ws: &Workspace, control: &Control, board: &Board, zone: &str) -> Result<Self, StoreError> {
        let state = verify::state(ws)?;
        let progress = state.progress(board);
        let queued = state.job == Some(JobState::Queued);
        let running = progress.filter(|p| !p.phase.is_empty());
        let mut view = Self {
            waiting: (queued && running.is_none()).then(|| state.error.clone().unwrap_or_default()),
            running,
            failed: state.error.filter(|_| state.job == Some(JobState::Failed)),
            broken: Vec::new(),
            holds: None,
            hash: String::new(),
            newest: grouped(ws.read()?.get(&AUDIT_HEAD, &0)?.map_or(0, |head| head.line)),
        };
        let Some(checked) = state.result else { return Ok(view) };
        let chains = [("Contents", &checked.contents), ("Members and workspace", &checked.members)];
        view.broken = chains
            .iter()
            .filter_map(|(name, held)| held.broken.as_ref().map(|found| BrokenView::of(name, found, zone)))
            .collect();
        if view.broken.is_empty() {
            view.holds = Some(said(&checked, control, zone)?);
            view.hash = shortened(&checked.contents.hash);
        }
        Ok(view)
    }
}

/// "48,212 entries checked on 23 Nov 2026, 13:02:11 in 0.4 s for Ada."
fn said(checked: &Checked, control: &Control, zone: &str) -> Result<String, StoreError> {
    let by = match checked.asked_by {
        Some(id) => control.account(id)?.map(|account| format!(" for {}", account.name)).unwrap_or_default(),
        None => String::new(),
    };
    let seconds = checked.took_ms as f64 / 1000.0;
    let (own, members) = (lines(&checked.contents), lines(&checked.members));
    let at = exact_time(checked.at, zone);
    Ok(format!("{own} of its contents and {members} of the server checked on {at} in {seconds:.1} s{by}."))
}

pub(super) fn lines(held: &Held) -> String {
    match held.lines() {
        1 => "1 entry".to_owned(),
        count => format!("{} entries", grouped(count)),
    }
}

async fn show(
    web: web::Data<Web>,
    board: web::Data<Board>,
    me: Me,
    ws: Admin,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let shell = Shell::workspace(&web, &me, &ws, "Audit log", "audit")?;
    let (slug, zone) = (ws.row().slug.clone(), shell.time_zone.clone());
    let state = StateView::read(&ws, &web.control, &board, &zone)?;
    let people = web.control.people_of(ws.id())?;
    let people = people.into_iter().map(|(id, account, _)| (id.to_string(), account.name)).collect();
    let (asked, control) = (asked.into_inner(), web.control.clone());
    let (chain, before, of_zone) = (asked.of, asked.before, zone.clone());
    let look = move |wanted: Wanted| {
        let mut page = newest_of(&control, &ws, (chain, &wanted), before, SHOWN)?;
        let (lines, mut names) = (std::mem::take(&mut page.lines), Names::new(&control));
        let rows = match chain {
            Chain::Contents => rows(&ws.read()?, &mut names, lines, &of_zone)?,
            Chain::Members => rows(&control.read()?, &mut names, lines, &of_zone)?,
        };
        Ok((page, rows))
    };
    let list = ListView::of(format!("/w/{slug}/audit"), asked, &zone, look).await?;
    let evidence = format!("/w/{slug}/audit/evidence");
    page::render(&AuditPage { shell, slug, state, evidence, list, people })
}

async fn file(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let wanted = asked.wanted(&me.person().time_zone)?;
    let name = format!("audit-{}-{}", asked.of.name(), ws.row().slug);
    let (control, chain) = (web.control.clone(), asked.of);
    let put = move |rows: &mut Rows| match chain {
        Chain::Contents => put_all(&control, &wanted, rows, || ws.read()),
        Chain::Members => {
            let wanted = Wanted { of: Of::Workspace(ws.id()), ..wanted };
            put_all(&control, &wanted, rows, || control.read())
        }
    };
    Ok(download(&name, asked.format, COLUMNS, put))
}

async fn evidence_file(web: web::Data<Web>, ws: Admin) -> Result<HttpResponse, Problem> {
    let name = format!("audit-evidence-{}", ws.row().slug);
    let control = web.control.clone();
    let evidence = web::block(move || evidence::of(&control, &ws)).await??;
    Ok(evidence::answer(&name, &evidence))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn ask(ws: Admin, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    verify::ask(&ws).await?;
    Ok(see_other(&format!("/w/{}/audit", ws.row().slug)))
}
