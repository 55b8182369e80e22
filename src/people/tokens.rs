//! API tokens of a member in a workspace: made here, shown once.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::identity::tokens::ApiToken;
use crate::identity::{IdentityError, Scope};
use crate::ids::ApiTokenId;
use crate::seal::Secret;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::Viewer;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/tokens", web::get().to(list))
        .route("/w/{workspace}/tokens", web::post().to(create))
        .route("/w/{workspace}/tokens/{token}/revoke", web::post().to(revoke));
}

struct Row {
    id: String,
    name: String,
    shown: String,
    scopes: String,
    used: String,
    state: String,
    live: bool,
}

/// How long ended tokens stay listed.
const LISTED: SignedDuration = SignedDuration::from_hours(24 * 90);

#[derive(Template)]
#[template(path = "people/tokens.html")]
struct TokensPage {
    shell: Shell,
    slug: String,
    rows: Vec<Row>,
    scopes: [Scope; 6],
    fresh: Option<Secret>,
    errors: Vec<FieldError>,
}

fn view(web: &Web, me: &Me, ws: &Viewer, fresh: Option<Secret>) -> Result<TokensPage, Problem> {
    let now = web.clock.now();
    let tokens = web.control.tokens_of(me.account(), ws.id())?;
    let listed = |token: &ApiToken| token.ended(now).is_none_or(|at| now.duration_since(at) <= LISTED);
    let rows = tokens.iter().filter(|(_, t)| listed(t)).map(|(id, token)| row(*id, token, now)).collect();
    Ok(TokensPage {
        shell: Shell::workspace(web, me, ws, "API tokens", "tokens")?,
        slug: ws.row().slug.clone(),
        rows,
        scopes: Scope::ALL,
        fresh,
        errors: Vec::new(),
    })
}

fn row(id: ApiTokenId, token: &ApiToken, now: Timestamp) -> Row {
    let day = |at: Timestamp| at.strftime("%-d %B %Y").to_string();
    let (state, live) = match (token.revoked, token.expires) {
        (Some(at), _) => (format!("Revoked on {}", day(at)), false),
        (None, Some(at)) if at <= now => (format!("Ended on {}", day(at)), false),
        (None, Some(at)) => (format!("Ends on {}", day(at)), true),
        (None, None) => ("Does not end".to_owned(), true),
    };
    let scopes = token.scopes.iter().map(|s| s.name()).collect::<Vec<_>>().join(", ");
    let used = token.used.map_or_else(|| "Never".to_owned(), day);
    let (id, name, shown) = (id.to_string(), token.name.clone(), token.shown.clone());
    Row { id, name, shown, scopes, used, state, live }
}

async fn list(web: web::Data<Web>, me: Me, ws: Viewer) -> Result<HttpResponse, Problem> {
    page::render(&view(&web, &me, &ws, None)?)
}

async fn create(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    PostForm(form): PostForm<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    let value =
        |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
    let scopes: Vec<Scope> =
        Scope::ALL.into_iter().filter(|s| form.iter().any(|(n, v)| n == "scope" && v == s.name())).collect();
    // What such a token does reaches production or people: a forgotten open browser must not make one.
    if scopes.iter().any(|s| matches!(s, Scope::Admin | Scope::Deploy)) && !web.control.is_confirmed(&me) {
        return Err(Problem::Confirm(format!("/w/{}/tokens", ws.row().slug)));
    }
    let days: i64 = value("days").parse().unwrap_or(90);
    let expires = web.clock.now().checked_add(SignedDuration::from_hours(24 * days.clamp(1, 366))).ok();
    let (state, actor, account, id, name) =
        (web.clone(), me.actor(), me.account(), ws.id(), value("name").to_owned());
    let made =
        web::block(move || state.control.create_token(actor, account, id, &name, scopes, expires)).await?;
    match made {
        Ok((secret, _)) => page::render(&view(&web, &me, &ws, Some(secret))?),
        Err(IdentityError::Invalid(message)) => {
            let field = if message.contains("scope") { "scope-read" } else { "name" };
            let errors = vec![FieldError { field: field.into(), message }];
            let page = TokensPage { errors, ..view(&web, &me, &ws, None)? };
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(other) => Err(other.into()),
    }
}

#[derive(Deserialize)]
struct Nothing {}

async fn revoke(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    path: web::Path<(String, ApiTokenId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (state, actor, account, id) = (web.clone(), me.actor(), me.account(), path.1);
    let found = web::block(move || state.control.revoke_token(actor, account, id)).await??;
    if !found {
        return Err(Problem::NotFound);
    }
    Ok(see_other(&format!("/w/{}/tokens", ws.row().slug)))
}
