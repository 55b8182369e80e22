//! Sets what a month may take, for the workspace and for single members. Admins and owners do.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::pages::{self, Asked};
use crate::ids::AccountId;
use crate::jobs::JobCause;
use crate::meter::{Limit, NANO, Whose, budgets, records};
use crate::store::StoreError;
use crate::store::audit::Action;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Me, PostForm, Problem, Web};
use crate::workspace::Admin;

/// The largest budget, in dollars and in tokens.
const MOST_DOLLARS: u64 = 10_000_000;
const MOST_TOKENS: u64 = 1_000_000_000_000_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/usage/budget", web::post().to(set));
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    #[default]
    Dollars,
    Tokens,
}

/// The form, as typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    /// An account; empty = the whole workspace.
    pub whose: String,
    pub unit: Unit,
    /// Empty lifts the budget.
    pub amount: String,
}

async fn set(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    ws: Admin,
    PostForm(typed): PostForm<Typed>,
) -> Result<HttpResponse, Problem> {
    let (whose, limit) = match read(&web, &ws, &typed)? {
        Ok(read) => read,
        Err(error) => {
            let asked = Asked::from_request(&request);
            let page = pages::drawn(&web, &me, &ws, &asked, Some((typed, vec![error]))).await?;
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
    };
    let month = records::month(records::date(web.clock.now()));
    let target = match whose {
        Whose::Member(id) => id.to_string(),
        Whose::Workspace => ws.id().to_string(),
    };
    let cause = JobCause::of(&ws);
    ws.change::<_, StoreError>(Action::BudgetChanged, target, move |tx| {
        budgets::set_and_tell(tx, &cause, month, whose, limit)
    })
    .await?;
    Ok(see_other(&format!("/w/{}/usage#budgets", ws.row().slug)))
}

type Read = (Whose, Option<Limit>);

fn read(web: &Web, ws: &Admin, typed: &Typed) -> Result<Result<Read, FieldError>, Problem> {
    let whose = match typed.whose.as_str() {
        "" => Whose::Workspace,
        id => {
            let id: AccountId = id.parse().map_err(|_| Problem::NotFound)?;
            // Who has left can only lose a budget.
            if web.control.role_in(id, ws.id())?.is_none() && !typed.amount.trim().is_empty() {
                return Err(Problem::NotFound);
            }
            Whose::Member(id)
        }
    };
    Ok(limit(typed).map(|limit| (whose, limit)))
}

fn limit(typed: &Typed) -> Result<Option<Limit>, FieldError> {
    let amount: String = typed.amount.chars().filter(|c| !c.is_whitespace() && *c != ',').collect();
    if amount.is_empty() {
        return Ok(None);
    }
    let wrong = |message: String| FieldError { field: "amount".into(), message };
    match typed.unit {
        Unit::Dollars => {
            let cents = cents(amount.trim_start_matches('$')).filter(|cents| *cents <= MOST_DOLLARS * 100);
            let cents = cents.ok_or_else(|| {
                wrong(format!("Enter dollars such as 250 or 12.50, at most {MOST_DOLLARS}."))
            })?;
            Ok(Some(Limit::NanoUsd(cents * (NANO / 100))))
        }
        Unit::Tokens => {
            let tokens = amount.parse().ok().filter(|tokens| *tokens <= MOST_TOKENS);
            tokens
                .map(|tokens| Some(Limit::Tokens(tokens)))
                .ok_or_else(|| wrong("Enter a whole number of tokens, such as 5,000,000.".into()))
        }
    }
}

/// `12`, `12.5` and `12.50` as cents.
fn cents(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    let part: u64 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(unit: Unit, amount: &str) -> Typed {
        Typed { whose: String::new(), unit, amount: amount.into() }
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        let dollars = |text| limit(&typed(Unit::Dollars, text)).ok().flatten();
        assert_eq!(dollars("$1,250.5"), Some(Limit::NanoUsd(1_250_500_000_000)));
        assert_eq!(dollars(" 10 "), Some(Limit::NanoUsd(10 * NANO)));
        assert_eq!(limit(&typed(Unit::Tokens, "5,000,000")), Ok(Some(Limit::Tokens(5_000_000))));
        assert_eq!(limit(&typed(Unit::Tokens, "  ")), Ok(None), "nothing lifts it");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["-1", "1.234", ".5", "1e9", "ten", "99999999999", "18446744073709551616", "1.-1"] {
            assert!(limit(&typed(Unit::Dollars, text)).is_err(), "{text}");
        }
        for text in ["1.5", "-1", "5k", "1000000000000001"] {
            assert!(limit(&typed(Unit::Tokens, text)).is_err(), "{text}");
        }
    }
}
