//! A month of usage as a page, and as a file for invoices.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use super::budget::{Typed, Unit};
use super::chart::{self, Chart, short};
use super::report::{By, Month, Report, Row, Whole, org, person};
use crate::identity::{Control, Role};
use crate::ids::AccountId;
use crate::meter::budgets::{self, BUDGETS};
use crate::meter::{Act, Facet, Limit, Prices, Spent, Sums, Whose, dollars, exact_dollars, records};
use crate::store::{Read, StoreError};
use crate::web::page::grouped;
use crate::web::problem::FieldError;
use crate::web::table_file::{Format, Rows, download};
use crate::web::{Me, Problem, Shell, Web, page};
use crate::workspace::Viewer;

/// Prices that nobody looked at for this long are said to be old.
const OLD_DAYS: i32 = 90;
/// Days of a month after which its end can be guessed.
const ENOUGH_DAYS: u64 = 7;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/usage", web::get().to(show))
        .route("/w/{workspace}/usage/file", web::get().to(file));
}

#[derive(Default, Deserialize)]
pub struct Asked {
    month: Option<String>,
    #[serde(default)]
    by: By,
    #[serde(default)]
    format: Format,
}

impl Asked {
    /// What the page showed that a form was sent from: this month.
    pub fn from_request(request: &HttpRequest) -> Self {
        web::Query::<Self>::from_query(request.query_string()).map(web::Query::into_inner).unwrap_or_default()
    }

    fn month(&self, today: Date) -> Result<Month, Problem> {
        let Some(text) = &self.month else { return Ok(Month::of(today)) };
        Month::parse(text).filter(|month| *month <= Month::of(today)).ok_or(Problem::NotFound)
    }
}

/// A budget as shown.
struct BudgetRow {
    /// An account; empty = the workspace.
    key: String,
    name: String,
    limit: Limit,
    used: String,
    percent: u64,
}

impl BudgetRow {
    fn new(whose: Whose, name: String, (limit, spent): (Limit, Spent)) -> Self {
        let key = match whose {
            Whose::Member(id) => id.to_string(),
            Whose::Workspace => String::new(),
        };
        let used = limit.said(limit.counted(spent));
        Self { key, name, limit, used, percent: limit.percent(spent) }
    }

    fn tone(&self) -> &'static str {
        match self.percent {
            0..80 => "",
            80..100 => "warn",
            _ => "bad",
        }
    }
}

#[derive(Template)]
#[template(path = "usage/month.html")]
pub struct UsagePage {
    shell: Shell,
    slug: String,
    month: Month,
    /// It is not over.
    running: bool,
    today: Date,
    months: Vec<Month>,
    own: bool,
    admin: bool,
    total: Sums,
    active: usize,
    people: usize,
    chart: Chart,
    by: By,
    rows: Vec<Row>,
    most: u64,
    budgets: Vec<BudgetRow>,
    members: Vec<(AccountId, String)>,
    /// No price was looked at for a long time.
    old_prices: Option<Date>,
    typed: Typed,
    errors: Vec<FieldError>,
}

impl UsagePage {
    fn cached_percent(&self) -> u64 {
        let cached = self.total.of(Act::CacheReadTokens);
        let all = u128::from(cached) + u128::from(self.total.fresh_input());
        u64::try_from(u128::from(cached) * 100 / all.max(1)).unwrap_or(100)
    }

    /// The first figure stands beside a budget.
    fn budgeted(&self) -> bool {
        self.running && self.budgets.iter().any(|b| b.key.is_empty() || self.own)
    }

    /// What the month will cost if it goes on like this.
    fn coming(&self) -> Option<String> {
        let day = u64::from(self.today.day().unsigned_abs());
        let enough = self.running && day >= ENOUGH_DAYS && self.total.cost_nano_usd > 0;
        let last = self.month.last();
        let days = u64::from(last.day().unsigned_abs());
        let cost = u128::from(self.total.cost_nano_usd) * u128::from(days) / u128::from(day.max(1));
        let cost = u64::try_from(cost).ok().filter(|_| enough && day < days)?;
        Some(format!("About {} by {}", dollars(cost), last.strftime("%-d %b")))
    }

    fn cost(sums: &Sums) -> String {
        match (sums.cost_nano_usd, sums.unpriced_tokens) {
            (0, unpriced) if unpriced > 0 => "Not known".into(),
            (cost, _) => dollars(cost),
        }
    }

    fn share(&self, row: &Row) -> u64 {
        let share = u128::from(row.sums.tokens()) * 100 / u128::from(self.most.max(1));
        u64::try_from(share).unwrap_or(100)
    }
}

async fn show(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    page::render(&drawn(&web, &me, &ws, &asked, None).await?)
}

/// The page of a month, with a form of budgets that may come back with its errors.
pub async fn drawn(
    web: &web::Data<Web>,
    me: &Me,
    ws: &Viewer,
    asked: &Asked,
    form: Option<(Typed, Vec<FieldError>)>,
) -> Result<UsagePage, Problem> {
    let today = records::date(web.clock.now());
    let month = asked.month(today)?;
    let shell = Shell::workspace(web, me, ws, "Usage", "usage")?;
    let (read, control, whole, id) = (ws.read()?, web.control.clone(), Whole::of(ws), ws.id());
    let admin = ws.role() >= Role::Admin;
    let by = match asked.by {
        // The chart and its table show days; of their own numbers people see no names.
        By::Day => By::default(),
        By::Member if !admin => By::Model,
        by => by,
    };
    let seen = web::block(move || -> Result<_, StoreError> {
        let range = (month.first(), month.last());
        let report = Report::read(&read, &control, range, whole, by)?;
        let mut by_day: BTreeMap<Date, Sums> = BTreeMap::new();
        records::between(&read, range.0, range.1, |day, facet, sums| {
            if whole.holds(&facet) {
                by_day.entry(day).or_default().add(&sums);
            }
        })?;
        let prices = Prices::load(&control.read()?)?;
        let mut members = Vec::new();
        for (account, _) in control.members_of(id)? {
            members.push((account, person(&control, Some(account))?));
        }
        members.sort_by_key(|(_, name)| name.to_lowercase());
        let budgets = budgets_seen(&read, &control, records::month(today), whole)?;
        let months = Month::used(&read, today)?;
        Ok((report, chart::draw(month, &by_day), prices.looked_at(), members, budgets, months))
    });
    let (report, chart, looked_at, members, budgets, months) = seen.await??;
    let (typed, errors) = form.unwrap_or_default();
    let most = report.rows.iter().map(|row| row.sums.tokens()).max().unwrap_or(0);
    let old = looked_at.until(today).is_ok_and(|span| span.get_days() > OLD_DAYS);
    Ok(UsagePage {
        shell,
        slug: ws.row().slug.clone(),
        month,
        running: month == Month::of(today),
        today,
        months,
        own: whole != Whole::Everybodys,
        admin,
        total: report.total,
        active: report.active,
        people: members.len(),
        chart,
        by,
        rows: report.rows,
        most,
        budgets,
        members: if admin { members } else { Vec::new() },
        old_prices: old.then_some(looked_at),
        typed,
        errors,
    })
}

/// All budgets for those who set them; else the person's own.
fn budgets_seen(
    read: &impl Read,
    control: &Control,
    month: u32,
    whole: Whole,
) -> Result<Vec<BudgetRow>, StoreError> {
    let mut rows = Vec::new();
    for (whose, _) in read.scan(&BUDGETS).rows()? {
        let name = match (whose, whole) {
            (Whose::Member(id), Whole::Own(own)) if id != own => continue,
            (Whose::Workspace, Whole::Own(_)) => continue,
            (Whose::Member(id), _) => person(control, Some(id))?,
            (Whose::Workspace, Whole::Everybodys) => "Whole workspace".into(),
        };
        if let Some(budget) = budgets::of(read, month, whose)? {
            rows.push(BudgetRow::new(whose, name, budget));
        }
    }
    Ok(rows)
}

const COLUMNS: &[&str] = &[
    "day",
    "member_id",
    "member",
    "feature",
    "model",
    "org_id",
    "org",
    "conversations",
    "messages",
    "input_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "output_tokens",
    "cost_usd",
    "unpriced_tokens",
    "tool_calls",
    "salesforce_calls",
    "pages",
    "stored_bytes",
    "validations",
    "deployments",
    "exports",
    "uses",
];

async fn file(web: web::Data<Web>, ws: Viewer, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    let month = asked.month(records::date(web.clock.now()))?;
    let (control, whole) = (web.control.clone(), Whole::of(&ws));
    let name = format!("usage-{}-{}", ws.row().slug, month.name());
    Ok(download(&name, asked.format, COLUMNS, move |rows: &mut Rows| {
        // A day at a time, so that a slow reader holds no read transaction open.
        for day in month.first().series(jiff::Span::new().days(1)).take_while(|day| *day <= month.last()) {
            let read = ws.read()?;
            let mut found = Vec::new();
            records::between(&read, day, day, |_, facet, sums| {
                if whole.holds(&facet) {
                    found.push((facet, sums));
                }
            })?;
            let mut lines = Vec::new();
            for (facet, sums) in &found {
                lines.push(cells(day, facet, sums, person(&control, facet.account)?, org(&read, facet.org)?));
            }
            drop(read);
            for line in lines {
                if let Err(gone) = rows.put(&line) {
                    return Ok(Err(gone));
                }
            }
        }
        Ok(Ok(()))
    }))
}

fn cells(day: Date, facet: &Facet, sums: &Sums, member: String, org: String) -> [Value; 23] {
    let n = |act| json!(sums.of(act));
    [
        json!(day.to_string()),
        json!(facet.account),
        json!(member),
        json!(facet.feature.name()),
        json!(facet.model),
        json!(facet.org),
        if facet.org.is_some() { json!(org) } else { json!("") },
        n(Act::ConversationStarted),
        n(Act::Message),
        n(Act::InputTokens),
        n(Act::CacheWriteTokens),
        n(Act::CacheReadTokens),
        n(Act::OutputTokens),
        json!(exact_dollars(sums.cost_nano_usd)),
        json!(sums.unpriced_tokens),
        n(Act::ToolCall),
        n(Act::SalesforceCall),
        n(Act::PageIngested),
        n(Act::StoredBytes),
        n(Act::Validation),
        n(Act::Deployment),
        n(Act::Export),
        n(Act::FeatureUsed),
    ]
}
