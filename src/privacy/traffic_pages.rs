//! Outbound traffic: what left this machine, to whom, for whom, how much and when. Owners see a whole workspace, other members
//! their own calls, operators the sums of the instance and its own calls. As a page and as a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};

use super::traffic::{self, Host, Key, Period, Wanted, Whose};
use crate::egress::{Gate, Line, Purpose};
use crate::identity::{Control, Role};
use crate::ids::AccountId;
use crate::ledger::Sums;
use crate::store::{Read, StoreError};
use crate::web::page::{grouped, local_time, size};
use crate::web::table_file::{Format, Gone, Rows, download};
use crate::web::{Crumb, Me, Operator, Problem, Shell, Web, page};
use crate::workspace::Viewer;

/// Lines read at once for a file.
const RANGE: usize = 2_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/traffic", web::get().to(instance))
        .route("/admin/traffic/file", web::get().to(instance_file))
        .route("/w/{workspace}/privacy/traffic", web::get().to(workspace))
        .route("/w/{workspace}/privacy/traffic/file", web::get().to(workspace_file));
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    period: Period,
    #[serde(default)]
    q: String,
    #[serde(default)]
    host: String,
    before: Option<String>,
    #[serde(default)]
    format: Format,
}

impl Asked {
    fn wanted(&self, web: &Web, whose: Whose) -> Wanted {
        Wanted {
            from: self.period.begins(web.clock.now()),
            whose,
            text: self.q.trim().to_lowercase(),
            host: self.host.clone(),
        }
    }

    fn before(&self) -> Result<Option<Key>, Problem> {
        let Some(text) = &self.before else { return Ok(None) };
        let key = text.split_once('-').and_then(|(ms, n)| Some((ms.parse().ok()?, n.parse().ok()?)));
        key.map(Some).ok_or(Problem::NotFound)
    }
}

struct HostRow {
    host: Host,
    asked: String,
}

struct LineRow {
    line: Line,
    at: String,
    name: String,
    /// The page of what it was made for.
    page: Option<String>,
}

#[derive(Template)]
#[template(path = "privacy/traffic.html")]
struct TrafficPage {
    shell: Shell,
    /// The page's own path.
    base: String,
    /// The name of the workspace; `None` is the instance.
    of: Option<String>,
    own: bool,
    period: Period,
    hosts: Vec<HostRow>,
    all: Sums,
    q: String,
    host: String,
    lines: Vec<LineRow>,
    older: Option<String>,
    /// What the gate lets out, for the firewall in front.
    allowed: Vec<(String, Purpose)>,
}

async fn workspace(
    web: web::Data<Web>,
    gate: web::Data<Gate>,
    me: Me,
    ws: Viewer,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let shell = Shell::workspace(&web, &me, &ws, "Outbound traffic", "privacy/traffic")?;
    let shell = if ws.role() >= Role::Admin {
        shell.under(vec![Crumb::new("Data and privacy", format!("/w/{}/privacy", ws.row().slug))])
    } else {
        shell
    };
    let (of, base) = (ws.row().name.clone(), format!("/w/{}/privacy/traffic", ws.row().slug));
    let whose = whose(&me, &ws);
    let (ws, page_of) = (Arc::new(ws), web.cause);
    let reader = Arc::clone(&ws);
    let drawn = Drawn { shell, base, of: Some(of), whose, asked: &asked };
    draw(&web, &gate, drawn, move || reader.read(), move |why| page_of(&ws, why)).await
}

async fn instance(
    web: web::Data<Web>,
    gate: web::Data<Gate>,
    me: Operator,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let shell = Shell::account(&web, &me, "Outbound traffic")?;
    let (base, whose) = ("/admin/traffic".to_owned(), Whose::Everybodys);
    let control = web.control.clone();
    let drawn = Drawn { shell, base, of: None, whose, asked: &asked };
    draw(&web, &gate, drawn, move || control.read(), |_| Ok(None)).await
}

fn whose(me: &Me, ws: &Viewer) -> Whose {
    if ws.role() >= Role::Owner { Whose::Everybodys } else { Whose::Own(me.account()) }
}

struct Drawn<'a> {
    shell: Shell,
    base: String,
    of: Option<String>,
    whose: Whose,
    asked: &'a Asked,
}

async fn draw<R: Read>(
    web: &web::Data<Web>,
    gate: &Gate,
    drawn: Drawn<'_>,
    open: impl FnOnce() -> Result<R, StoreError> + Send + 'static,
    page_of: impl Fn(&str) -> Result<Option<String>, StoreError> + Send + 'static,
) -> Result<HttpResponse, Problem> {
    let Drawn { shell, base, of, whose, asked } = drawn;
    let (wanted, before) = (asked.wanted(web, whose), asked.before()?);
    let zone = shell.time_zone.clone();
    let control = web.control.clone();
    let ((hosts, all), lines, older) = web::block(move || -> Result<_, StoreError> {
        let read = open()?;
        let (hosts, all) = traffic::by_host(&read, wanted.from, whose)?;
        let (lines, older) = traffic::newest(&read, &wanted, before)?;
        let mut names = Names::new(&control);
        let lines = lines.into_iter().map(|line| {
            let (at, name) = (local_time(line.at, &zone), names.of(line.account)?);
            let page = page_of(&line.why)?;
            Ok(LineRow { line, at, name, page })
        });
        let lines = lines.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(((hosts, all), lines, older))
    })
    .await??;
    let instance = of.is_none();
    let hosts = hosts.into_iter().map(|host| HostRow { asked: asked_by(&host, instance), host });
    page::render(&TrafficPage {
        shell,
        base,
        of,
        own: whose != Whose::Everybodys,
        period: asked.period,
        hosts: hosts.collect(),
        all,
        q: asked.q.clone(),
        host: asked.host.clone(),
        lines,
        older: older.map(|(ms, number)| format!("{ms}-{number}")),
        allowed: gate.allowed(),
    })
}

/// "Schedule, 6 people". The sums of the instance know no persons.
fn asked_by(host: &Host, instance: bool) -> String {
    if instance {
        return String::new();
    }
    let people = host.asked.iter().flatten().count();
    let people = match people {
        0 => None,
        1 => Some("1 person".to_owned()),
        n => Some(format!("{n} people")),
    };
    let schedule = host.asked.contains(&None).then(|| "Schedule".to_owned());
    schedule.into_iter().chain(people).collect::<Vec<_>>().join(", ")
}

/// Names of accounts, each read once.
struct Names<'a> {
    control: &'a Control,
    known: BTreeMap<AccountId, String>,
}

impl<'a> Names<'a> {
    fn new(control: &'a Control) -> Self {
        Self { control, known: BTreeMap::new() }
    }

    fn of(&mut self, account: Option<AccountId>) -> Result<String, StoreError> {
        let Some(id) = account else { return Ok("Schedule".into()) };
        if let Some(name) = self.known.get(&id) {
            return Ok(name.clone());
        }
        let name = self.control.account(id)?.map_or_else(|| "Deleted account".into(), |a| a.name);
        self.known.insert(id, name.clone());
        Ok(name)
    }
}

const COLUMNS: &[&str] = &[
    "time",
    "host",
    "purpose",
    "why",
    "person",
    "method",
    "status",
    "refused",
    "sent_bytes",
    "received_bytes",
    "milliseconds",
];

async fn workspace_file(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let wanted = asked.wanted(&web, whose(&me, &ws));
    let control = web.control.clone();
    let name = format!("outbound-traffic-{}", ws.row().slug);
    Ok(download(&name, asked.format, COLUMNS, move |rows| put_all(&control, &wanted, rows, || ws.read())))
}

async fn instance_file(
    web: web::Data<Web>,
    _me: Operator,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let wanted = asked.wanted(&web, Whose::Everybodys);
    let control = web.control.clone();
    let put = move |rows: &mut Rows| put_all(&control, &wanted, rows, || control.read());
    Ok(download("outbound-traffic-instance", asked.format, COLUMNS, put))
}

/// In ranges, so that a slow reader holds no read transaction open.
fn put_all<R: Read>(
    control: &Control,
    wanted: &Wanted,
    rows: &mut Rows,
    open: impl Fn() -> Result<R, StoreError>,
) -> Result<Result<(), Gone>, StoreError> {
    let mut names = Names::new(control);
    let mut after = None;
    loop {
        let (lines, last) = traffic::range(&open()?, wanted, after, RANGE)?;
        let Some(last) = last else { return Ok(Ok(())) };
        after = Some(last);
        for line in lines {
            if let Err(gone) = rows.put(&cells(&line, names.of(line.account)?)) {
                return Ok(Err(gone));
            }
        }
    }
}

fn cells(line: &Line, name: String) -> [Value; 11] {
    [
        json!(line.at),
        json!(line.host),
        json!(line.purpose),
        json!(line.why),
        json!(name),
        json!(line.method),
        json!(line.status),
        json!(line.refused),
        json!(line.sent_bytes),
        json!(line.received_bytes),
        json!(line.millis),
    ]
}
