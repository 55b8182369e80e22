//! The price table of the instance: what a million tokens of a model cost, each price from a day on. Own prices stand before
//! the built-in ones; what was used keeps the cost of its day.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use jiff::civil::Date;
use serde::Deserialize;

use crate::identity::control::Note;
use crate::meter::prices::{self, AS_OF, MOST, PRICES, Price, Prices, Rates};
use crate::store::Read as _;
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::page::{grouped, render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

/// The largest price, in dollars a million tokens.
const DEAREST: u64 = 1_000_000;
const LONGEST: usize = 120;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/prices", web::get().to(show))
        .route("/admin/prices", web::post().to(save))
        .route("/admin/prices/remove", web::post().to(remove));
}

/// The form, as typed. Amounts are dollars a million tokens; an empty one is not known.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    pattern: String,
    from: String,
    from_prompt: String,
    input: String,
    output: String,
    read: String,
    write_5m: String,
    write_1h: String,
}

impl Typed {
    /// The price that this form makes, or what is wrong at which field.
    fn price(&self) -> Result<Price, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: &str| {
            errors.push(FieldError { field: field.to_owned(), message: message.to_owned() });
        };
        let pattern = self.pattern.trim();
        let plain = |c: char| c.is_ascii_graphic() && c != '*';
        let stem = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || pattern.len() > LONGEST || !stem.chars().all(plain) {
            wrong("pattern", "Enter a model’s id, or its beginning with a * behind it.");
        }
        let from: Option<Date> = self.from.trim().parse().ok();
        if from.is_none_or(|day| !(1970..=9998).contains(&day.year())) {
            wrong("from", "Enter a day such as 2026-11-24.");
        }
        let from_prompt = match self.from_prompt.trim() {
            "" => Some(0),
            text => text.parse().ok(),
        };
        if from_prompt.is_none() {
            wrong("from_prompt", "Enter a whole number of tokens, or nothing.");
        }
        let mut rate = |field: &str, typed: &str, needed: bool| {
            let typed = typed.trim();
            if typed.is_empty() && !needed {
                return None;
            }
            let rate = nano_per_token(typed);
            if rate.is_none() {
                wrong(
                    field,
                    "Enter dollars a million tokens, such as 2.50, with at most three digits behind the point.",
                );
            }
            rate
        };
        let (input, output) = (rate("input", &self.input, true), rate("output", &self.output, true));
        let read = rate("read", &self.read, false);
        let (write_5m, write_1h) =
            (rate("write_5m", &self.write_5m, false), rate("write_1h", &self.write_1h, false));
        match (from, from_prompt, input, output) {
            (Some(from), Some(from_prompt), Some(input), Some(output)) if errors.is_empty() => Ok(Price {
                pattern: pattern.to_owned(),
                from,
                from_prompt,
                rates: Rates { input, output, write_5m, write_1h, read },
                entered: None,
            }),
            _ => Err(errors),
        }
    }
}

/// Dollars a million tokens as nano-dollars a token: `2.5` is 2,500.
fn nano_per_token(text: &str) -> Option<u64> {
    let text = text.trim_start_matches('$');
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= DEAREST)?;
    Some(whole * 1_000 + format!("{part:0<3}").parse::<u64>().ok()?)
}

/// Nano-dollars a token as dollars a million tokens.
fn shown(rate: Option<u64>) -> String {
    let Some(rate) = rate else { return "Not known".into() };
    let (whole, part) = (grouped(rate / 1_000), rate % 1_000);
    if part % 10 == 0 { format!("${whole}.{:02}", part / 10) } else { format!("${whole}.{part:03}") }
}

#[derive(Template)]
#[template(path = "admin/prices.html")]
struct PricesPage {
    shell: Shell,
    rows: Vec<Price>,
    as_of: Date,
    typed: Typed,
    errors: Vec<FieldError>,
}

impl PricesPage {
    fn new(web: &Web, me: &Operator, typed: Typed, errors: Vec<FieldError>) -> Result<Self, Problem> {
        let rows = Prices::load(&web.control.read()?)?.sorted();
        Ok(Self { shell: Shell::account(web, me, "Prices")?, rows, as_of: AS_OF, typed, errors })
    }

    /// The fields of amounts: name, label, what was typed, and whether something has to be.
    fn amounts(&self) -> [(&str, &str, &str, bool); 5] {
        let typed = &self.typed;
        [
            ("input", "Input", &typed.input, true),
            ("output", "Output", &typed.output, true),
            ("read", "Cache read", &typed.read, false),
            ("write_5m", "Cache write", &typed.write_5m, false),
            ("write_1h", "Cache write, 1 hour", &typed.write_1h, false),
        ]
    }
}

async fn show(web: web::Data<Web>, me: Operator) -> Result<HttpResponse, Problem> {
    page::render(&PricesPage::new(&web, &me, Typed::default(), Vec::new())?)
}

async fn save(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    PostForm(typed): PostForm<Typed>,
) -> Result<HttpResponse, Problem> {
    let price = match typed.price() {
        Ok(price) => price,
        Err(errors) => {
            let view = PricesPage::new(&web, &me, typed, errors)?;
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &view);
        }
    };
    let note = Note::new(me.actor(), Action::PricesChanged, &price.pattern).asked_by(request_id(&request));
    let now = web.clock.now();
    let kept = web.control.change(note, move |tx| {
        if tx.scan(&PRICES).limit(MOST).count()? >= MOST {
            return Err(Problem::Conflict(format!(
                "The table has {MOST} prices of your own. Nothing was changed. Remove some first."
            )));
        }
        prices::keep(tx, &price, now).map_err(Problem::from)
    });
    kept.await?;
    Ok(see_other("/admin/prices"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    pattern: String,
    from: Date,
    from_prompt: u64,
}

async fn remove(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    PostForm(which): PostForm<Which>,
) -> Result<HttpResponse, Problem> {
    let note = Note::new(me.actor(), Action::PricesChanged, &which.pattern).asked_by(request_id(&request));
    let Which { pattern, from, from_prompt } = which;
    let removed = web.control.change::<_, Problem>(note, move |tx| {
        if prices::remove(tx, &pattern, from, from_prompt)? { Ok(()) } else { Err(Problem::NotFound) }
    });
    removed.await?;
    Ok(see_other("/admin/prices"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_a_million_tokens_are_read_exactly() {
        let read = ["2", "$2.5", "0.125", "1000000", "0"].map(nano_per_token);
        assert_eq!(read, [Some(2_000), Some(2_500), Some(125), Some(1_000_000_000), Some(0)]);
        for bad in ["", "-1", "1.2345", "1e3", ".5", "1,5", "1000001", "99999999999999999999"] {
            assert_eq!(nano_per_token(bad), None, "{bad}");
        }
        let said = [Some(2_000), Some(125), Some(1_250_500), None].map(shown);
        assert_eq!(said, ["$2.00", "$0.125", "$1,250.50", "Not known"]);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let typed = Typed {
            pattern: "a b".into(),
            from: "today".into(),
            from_prompt: "-1".into(),
            ..Typed::default()
        };
        let fields: Vec<String> = typed.price().unwrap_err().into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["pattern", "from", "from_prompt", "input", "output"]);
        let typed = Typed {
            pattern: "qwen3-*".into(),
            from: "2026-11-24".into(),
            input: "0.1".into(),
            output: "0.4".into(),
            ..Typed::default()
        };
        let price = typed.price().unwrap();
        assert_eq!((price.rates.input, price.rates.output, price.rates.read), (100, 400, None));
    }
}
