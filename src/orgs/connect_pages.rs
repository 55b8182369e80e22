//! Pages for connecting an org.

use actix_web::http::StatusCode;
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::connect::{ConnectError, Wanted, begin, denied, finish, from_auth_url, workspace_of};
use super::search::INDEX;
use super::{FORGOTTEN, Orgs, access, records};
use crate::identity::Via;
use crate::ids::SessionId;
use crate::jobs::{JobCause, enqueue};
use crate::notifications;
use crate::seal::Secret;
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::web::page::{grouped, render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::wire::salesforce::SalesforceError;
use crate::workspace::Admin;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/orgs/connect", web::get().to(form))
        .route("/w/{workspace}/orgs/connect", web::post().to(start))
        .route("/w/{workspace}/orgs/connect/auth-url", web::post().to(auth_url))
        .route("/w/{workspace}/o/{org}/disconnect", web::get().to(ask_disconnect))
        .route("/w/{workspace}/o/{org}/disconnect", web::post().to(disconnect))
        .route("/oauth/salesforce/callback", web::get().to(callback));
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Form(field, message) => Self::field(field, message),
            ConnectError::Salesforce(error) => outside(&error),
            ConnectError::Seal(error) => error.into(),
            ConnectError::State => Self::Gone(error.to_string()),
            ConnectError::Store(error) => error.into(),
        }
    }
}

fn outside(error: &SalesforceError) -> Problem {
    Problem::Outside { who: "Salesforce".into(), advice: format!("{error}.") }
}

#[derive(Template)]
#[template(path = "orgs/connect.html")]
struct ConnectPage {
    shell: Shell,
    slug: String,
    errors: Vec<FieldError>,
    callback: String,
    name: String,
    login: String,
    client_id: String,
    /// Set when everything is ready: the link that leaves for Salesforce.
    go: Option<String>,
    go_host: String,
}

fn view(web: &Web, me: &Me, ws: &Admin, orgs: &Orgs) -> Result<ConnectPage, Problem> {
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(web, me, ws, "Connect an org", "orgs")?;
    Ok(ConnectPage {
        shell: shell.under(vec![Crumb::new("Orgs", format!("/w/{slug}/orgs"))]),
        slug,
        errors: Vec::new(),
        callback: orgs.callback.to_string(),
        name: String::new(),
        login: "login.salesforce.com".into(),
        client_id: String::new(),
        go: None,
        go_host: String::new(),
    })
}

fn session_of(me: &Me) -> Result<SessionId, Problem> {
    match me.via() {
        Via::Session { id, .. } => Ok(*id),
        Via::Token { .. } => Err(Problem::SignIn),
    }
}

async fn form(
    web: web::Data<Web>,
    orgs: web::Data<Orgs>,
    me: Me,
    ws: Admin,
) -> Result<HttpResponse, Problem> {
    page::render(&view(&web, &me, &ws, &orgs)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectForm {
    name: String,
    login: String,
    client_id: String,
    #[serde(default)]
    client_secret: String,
}

/// Ends on a page with a link to Salesforce: the page's policy lets no form post there, and a person should
/// see where they go.
async fn start(
    web: web::Data<Web>,
    orgs: web::Data<Orgs>,
    me: Me,
    ws: Admin,
    PostForm(form): PostForm<ConnectForm>,
) -> Result<HttpResponse, Problem> {
    ws.processing()?;
    let mut page = view(&web, &me, &ws, &orgs)?;
    (page.name, page.login, page.client_id) = (form.name.clone(), form.login.clone(), form.client_id.clone());
    let wanted = Wanted {
        name: form.name,
        login: form.login,
        client_id: form.client_id,
        client_secret: Secret::new(form.client_secret),
    };
    match begin(&orgs, &ws, session_of(&me)?, wanted).await {
        Ok(url) => {
            page.go_host = url.host_str().unwrap_or_default().to_owned();
            page.go = Some(url.into());
            page::render(&page)
        }
        Err(ConnectError::Form(field, message)) => {
            page.errors = vec![FieldError { field: field.into(), message }];
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(other) => Err(other.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthUrlForm {
    name: String,
    auth_url: String,
}

async fn auth_url(
    web: web::Data<Web>,
    orgs: web::Data<Orgs>,
    me: Me,
    ws: Admin,
    PostForm(form): PostForm<AuthUrlForm>,
) -> Result<HttpResponse, Problem> {
    ws.processing()?;
    match from_auth_url(&orgs, &ws, &form.name, &Secret::new(form.auth_url)).await {
        Ok(org) => Ok(see_other(&format!("/w/{}/o/{org}", ws.row().slug))),
        Err(ConnectError::Form(field, message)) => {
            let field = if field == "name" { "auth_name" } else { field };
            let errors = vec![FieldError { field: field.into(), message }];
            render_with(
                StatusCode::UNPROCESSABLE_ENTITY,
                &ConnectPage { errors, ..view(&web, &me, &ws, &orgs)? },
            )
        }
        Err(ConnectError::Salesforce(error)) => {
            let errors = vec![FieldError { field: "auth_url".into(), message: format!("{error}.") }];
            render_with(
                StatusCode::UNPROCESSABLE_ENTITY,
                &ConnectPage { errors, ..view(&web, &me, &ws, &orgs)? },
            )
        }
        Err(other) => Err(other.into()),
    }
}

#[derive(Deserialize)]
struct Answered {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

/// Salesforce sends the browser here. The state names the workspace; the door checks the membership anew.
async fn callback(
    web: web::Data<Web>,
    orgs: web::Data<Orgs>,
    request: HttpRequest,
    query: web::Query<Answered>,
) -> Result<HttpResponse, Problem> {
    let me = Me::extract(&request).await?;
    let state = query.state.clone().unwrap_or_default();
    let slug = workspace_of(&state).ok_or_else(|| Problem::from(ConnectError::State))?;
    let ws = web.door.enter(&me, slug, crate::web::access::request_id(&request))?.admin()?;
    let session = session_of(&me)?;
    if let Some(code) = &query.code {
        ws.processing()?;
        let org = finish(&orgs, &ws, session, &state, code).await?;
        return Ok(see_other(&format!("/w/{}/o/{org}", ws.row().slug)));
    }
    denied(&ws, session, &state).await?;
    let message = match query.error.as_deref() {
        Some("access_denied") => "Access was denied on Salesforce’s page. Nothing was connected.".to_owned(),
        Some(other) => {
            let code: String =
                other.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(60).collect();
            format!(
                "Salesforce refused with {code}. Nothing was connected. Check the External Client App and try again."
            )
        }
        None => "Salesforce sent no answer. Nothing was connected.".to_owned(),
    };
    let errors = vec![FieldError { field: String::new(), message }];
    render_with(StatusCode::UNPROCESSABLE_ENTITY, &ConnectPage { errors, ..view(&web, &me, &ws, &orgs)? })
}

#[derive(Template)]
#[template(path = "orgs/disconnect.html")]
struct DisconnectPage {
    shell: Shell,
    slug: String,
    org: records::Org,
    components: String,
}

/// Says what goes before it does.
async fn ask_disconnect(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let read = ws.read()?;
    let (id, org) = records::by_slug(&read, &path.1)?.ok_or(Problem::NotFound)?;
    let components = read.scan(&records::COMPONENTS).under(&id).count()?;
    let slug = ws.row().slug.clone();
    let crumb = Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}/connection", org.slug));
    let shell = Shell::workspace(&web, &me, &ws, "Disconnect", "orgs")?.under(vec![crumb]);
    page::render(&DisconnectPage { shell, slug, org, components: grouped(components as u64) })
}

#[derive(Deserialize)]
struct Nothing {}

/// Ends the tokens at Salesforce, then forgets the org with everything synced from it.
async fn disconnect(
    orgs: web::Data<Orgs>,
    ws: Admin,
    path: web::Path<(String, String)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (id, org) = records::by_slug(&ws.read()?, &path.1)?.ok_or(Problem::NotFound)?;
    if let Some(job) = org.sync_job {
        orgs.board.cancel(job);
    }
    // An org that can't be reached is forgotten all the same: its tokens end here and now on our side.
    if let Err(error) = access::revoke(&orgs.gate, &ws, id, &org).await {
        tracing::warn!(org = %id, %error, "tokens could not be revoked at Salesforce");
    }
    let (cause, slug) = (JobCause::of(&ws), org.slug.clone());
    ws.change(Action::OrgDisconnected, id, move |tx| {
        enqueue(tx, &cause, FORGOTTEN, serde_json::json!({ "org": id }))?;
        enqueue(tx, &cause, INDEX, serde_json::json!({ "org": id }))?;
        tx.remove_under(&records::HISTORY, &id)?;
        tx.remove_under(&records::SOURCES, &id)?;
        tx.remove_under(&records::COMPONENTS, &id)?;
        tx.remove(&records::ORGS, &id)?;
        notifications::forget_org(tx, &slug)?;
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(see_other(&format!("/w/{}/orgs", ws.row().slug)))
}
