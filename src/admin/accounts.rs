//! The accounts of the instance: found by name or address, suspended, resumed, let in again, made an operator.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Nothing, reset};
use crate::identity::administration::Act;
use crate::identity::control::Note;
use crate::identity::{Account, AccountState, IdentityError, Restricted};
use crate::ids::AccountId;
use crate::store::StoreError;
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::page::{local_time, see_other};
use crate::web::{Confirmed, Crumb, Operator, PostForm, Problem, Shell, Web, page};

/// Accounts on the page; the search finds the others.
const SHOWN: usize = 100;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/accounts", web::get().to(list))
        .route("/admin/accounts/{id}", web::get().to(show))
        .route("/admin/accounts/{id}/act", web::post().to(act))
        .route("/admin/accounts/{id}/end-sessions", web::post().to(end_sessions))
        .route("/admin/accounts/{id}/reset", web::post().to(make_reset));
}

struct Row {
    id: AccountId,
    name: String,
    email: String,
    operator: bool,
    state: (&'static str, &'static str),
    second_factor: bool,
    workspaces: usize,
    seen: String,
}

impl Row {
    fn of(web: &Web, id: AccountId, account: Account, zone: &str) -> Result<Self, StoreError> {
        let factors = web.control.second_factors(id)?;
        let seen = web.control.sessions_of(id)?.first().map(|session| local_time(session.seen, zone));
        Ok(Self {
            id,
            email: account.email.to_string(),
            operator: account.operator,
            state: match (account.state, account.deletion.is_some()) {
                (AccountState::Suspended, _) => ("bad", "Suspended"),
                (AccountState::Active, true) => ("warn", "To be deleted"),
                (AccountState::Active, false) => ("ok", "Active"),
            },
            second_factor: factors.any(),
            workspaces: web.control.workspaces_of(id)?.len(),
            seen: seen.unwrap_or_else(|| "Not signed in".into()),
            name: account.name,
        })
    }
}

#[derive(Template)]
#[template(path = "admin/accounts.html")]
struct AccountsPage {
    shell: Shell,
    q: String,
    rows: Vec<Row>,
    more: bool,
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

async fn list(web: web::Data<Web>, me: Operator, query: web::Query<Search>) -> Result<HttpResponse, Problem> {
    let shell = Shell::account(&web, &me, "Accounts")?;
    let (state, q, zone) = (web.clone(), query.q.clone(), shell.time_zone.clone());
    let found = web::block(move || -> Result<_, StoreError> {
        let (found, more) = state.control.find_accounts(&q, SHOWN)?;
        let rows = found.into_iter().map(|(id, account)| Row::of(&state, id, account, &zone));
        Ok((rows.collect::<Result<Vec<_>, _>>()?, more))
    });
    let (rows, more) = found.await??;
    page::render(&AccountsPage { shell, q: query.into_inner().q, rows, more })
}

#[derive(Template)]
#[template(path = "admin/account.html")]
struct AccountPage {
    shell: Shell,
    row: Row,
    created: String,
    sessions: usize,
    you: bool,
    suspended: bool,
    restricted: Option<Restricted>,
    /// A link that was just made; shown once.
    link: Option<(String, String, bool)>,
}

fn account_page(web: &Web, me: &Operator, id: AccountId) -> Result<AccountPage, Problem> {
    let account = web.control.account(id)?.ok_or(Problem::NotFound)?;
    let shell =
        Shell::account(web, me, &account.name)?.under(vec![Crumb::new("Accounts", "/admin/accounts")]);
    let created = local_time(account.created, &shell.time_zone);
    let (suspended, restricted) = (account.state == AccountState::Suspended, account.restricted());
    let sessions = web.control.sessions_of(id)?.len();
    let row = Row::of(web, id, account, &shell.time_zone)?;
    let you = me.account() == id;
    Ok(AccountPage { shell, row, created, sessions, you, suspended, restricted, link: None })
}

fn id_of(path: &web::Path<String>) -> Result<AccountId, Problem> {
    path.parse().map_err(|_| Problem::NotFound)
}

async fn show(web: web::Data<Web>, me: Operator, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    page::render(&account_page(&web, &me, id_of(&path)?)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    act: Act,
}

async fn act(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    confirmed: Confirmed,
    path: web::Path<String>,
    PostForm(wanted): PostForm<Wanted>,
) -> Result<HttpResponse, Problem> {
    let (id, asked) = (id_of(&path)?, request_id(&request));
    if id == me.account() && wanted.act == Act::Suspend {
        return Err(Problem::Conflict("You can’t suspend yourself. Another operator can.".into()));
    }
    let control = web.control.clone();
    web::block(move || control.act_on_account(&confirmed, id, wanted.act, asked)).await??;
    Ok(see_other(&format!("/admin/accounts/{id}")))
}

async fn end_sessions(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    path: web::Path<String>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    web.control.account(id)?.ok_or(Problem::NotFound)?;
    let note = Note::new(me.actor(), Action::SessionEnded, id).asked_by(request_id(&request));
    let control = web.control.clone();
    web.control.change::<_, StoreError>(note, move |tx| control.end_sessions(tx, id, None)).await?;
    Ok(see_other(&format!("/admin/accounts/{id}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetForm {
    #[serde(default)]
    drop_second_factor: bool,
}

async fn make_reset(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    _: Confirmed,
    path: web::Path<String>,
    PostForm(form): PostForm<ResetForm>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    let account = web.control.account(id)?.ok_or(Problem::NotFound)?;
    let note = Note::new(me.actor(), Action::AccountResetByOperator, id).asked_by(request_id(&request));
    let control = web.control.clone();
    let made =
        web::block(move || reset::make(&control, note, (id, &account), form.drop_second_factor)).await?;
    let made = match made {
        Err(IdentityError::NoSuchAccount) => {
            let said = "This account is suspended, so nobody can sign in to it. Nothing was changed. Resume it first.";
            return Err(Problem::Conflict(said.into()));
        }
        other => other?,
    };
    let url = web.external.join(&made.path).map_err(|e| Problem::Broken(e.to_string()))?;
    let page = account_page(&web, &me, id)?;
    let ends = local_time(made.ends, &page.shell.time_zone);
    page::render(&AccountPage { link: Some((url.to_string(), ends, made.mailed)), ..page })
}
