//! The instance's own chain, for its operators: the lines that are about no workspace, and whether the whole chain holds.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::asked::Asked;
use super::keeper::{Instance, Keeper};
use super::log::{Of, Wanted, newest};
use super::pages::{BrokenView, ListView, SHOWN, StateView, lines};
use super::rows::{COLUMNS, Names, exact_time, put_all, rows, shortened};
use crate::jobs::Progress;
use crate::store::Read as _;
use crate::store::audit::AUDIT_HEAD;
use crate::web::page::{grouped, see_other};
use crate::web::table_file::{Rows, download};
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/audit", web::get().to(show))
        .route("/admin/audit/file", web::get().to(file))
        .route("/admin/audit/verify", web::post().to(ask));
}

#[derive(Template)]
#[template(path = "audit/instance.html")]
struct InstancePage {
    shell: Shell,
    state: StateView,
    /// The instance has no evidence file: its operator has the data directory.
    evidence: String,
    list: ListView,
    /// Operators filter by the id of an account.
    people: Vec<(String, String)>,
}

async fn show(
    web: web::Data<Web>,
    keeper: web::Data<Keeper>,
    me: Operator,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let shell = Shell::account(&web, &me, "Audit log")?;
    let zone = shell.time_zone.clone();
    let last = web.control.read()?.get(&AUDIT_HEAD, &0)?.map_or(0, |head| head.line);
    let state = seen(keeper.instance(), last, &zone);
    let (asked, control, of_zone) = (asked.into_inner(), web.control.clone(), zone.clone());
    let before = asked.before;
    let look = move |wanted: Wanted| {
        let read = control.read()?;
        let mut page = newest(&read, &Wanted { of: Of::Instance, ..wanted }, before, SHOWN)?;
        let lines = std::mem::take(&mut page.lines);
        let rows = rows(&read, &mut Names::new(&control), lines, &of_zone)?;
        Ok((page, rows))
    };
    let list = ListView::of("/admin/audit".into(), asked, &zone, look).await?;
    page::render(&InstancePage { shell, state, evidence: String::new(), list, people: Vec::new() })
}

fn seen(instance: Instance, newest_line: u64, zone: &str) -> StateView {
    let Instance { running, checked, failed } = instance;
    let phase = "Checking the chain".to_owned();
    let mut view = StateView {
        running: running.map(|(done, total)| Progress { phase, done, total, calls: 0 }),
        waiting: None,
        failed,
        broken: Vec::new(),
        holds: None,
        hash: String::new(),
        newest: grouped(newest_line),
    };
    if let Some((at, held)) = checked {
        view.broken.extend(held.broken.as_ref().map(|found| BrokenView::of("Server", found, zone)));
        if view.broken.is_empty() {
            view.holds = Some(format!("{} checked on {}.", lines(&held), exact_time(at, zone)));
            view.hash = shortened(&held.hash);
        }
    }
    view
}

async fn file(web: web::Data<Web>, me: Operator, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    let wanted = Wanted { of: Of::Instance, ..asked.wanted(&me.person().time_zone)? };
    let control = web.control.clone();
    let put = move |rows: &mut Rows| put_all(&control, &wanted, rows, || control.read());
    Ok(download("audit-instance", asked.format, COLUMNS, put))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn ask(keeper: web::Data<Keeper>, _: Operator, _: PostForm<Nothing>) -> HttpResponse {
    keeper.ask();
    see_other("/admin/audit")
}
