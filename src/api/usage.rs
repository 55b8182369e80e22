//! `/api/v1/usage`: the sums of a range of days, whole and by day, member, model, feature or org. A token of a viewer or member
//! reads its person's own numbers.

use actix_web::{HttpResponse, web};
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use super::needs;
use crate::identity::Scope;
use crate::meter::{Act, Sums, exact_dollars, records};
use crate::usage::{By, Report, Whole};
use crate::web::{Me, Problem, Web};
use crate::workspace::Viewer;

/// Days of one answer, at most.
const LONGEST: i32 = 366;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/v1/usage", web::get().to(usage));
}

#[derive(Deserialize)]
struct Asked {
    /// First and last day, both included; without them this month so far.
    from: Option<String>,
    to: Option<String>,
    by: Option<String>,
}

async fn usage(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    needs(&me, Scope::Read)?;
    let today = records::date(web.clock.now());
    let day = |field, text: &Option<String>, usual: Date| match text {
        None => Ok(usual),
        Some(text) => text.parse().map_err(|_| Problem::field(field, "Give a day such as 2026-11-24.")),
    };
    let to: Date = day("to", &asked.to, today)?;
    let from: Date = day("from", &asked.from, to.first_of_month())?;
    let days = from.until(to).map_or(i32::MAX, |span| span.get_days());
    if !(0..LONGEST).contains(&days) {
        return Err(Problem::field("from", format!("Ask for 1 to {LONGEST} days, the first day first.")));
    }
    let by = match asked.by.as_deref() {
        None => By::Day,
        Some(name) => serde_json::from_value(json!(name))
            .map_err(|_| Problem::field("by", "Group by day, member, model, feature or org."))?,
    };
    let (control, whole) = (web.control.clone(), Whole::of(&ws));
    let report = web::block(move || Report::read(&ws.read()?, &control, (from, to), whole, by)).await??;
    let items: Vec<Value> = report
        .rows
        .iter()
        .map(|row| {
            let mut item = sums(&row.sums);
            item["key"] = json!(row.key);
            item["name"] = json!(row.name);
            item
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "from": from.to_string(), "to": to.to_string(), "by": by.name(),
        "of": if whole == Whole::Everybodys { "workspace" } else { "own" },
        "total": sums(&report.total), "items": items,
    })))
}

/// Each kind of act by its name; the cost in dollars as exact decimal text, without the tokens whose price is not known.
fn sums(sums: &Sums) -> Value {
    let mut value: Value = Act::ALL.iter().map(|act| (act.name().to_owned(), json!(sums.of(*act)))).collect();
    value["cost_usd"] = json!(exact_dollars(sums.cost_nano_usd));
    value["unpriced_tokens"] = json!(sums.unpriced_tokens);
    value
}
