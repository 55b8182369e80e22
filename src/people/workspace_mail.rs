//! The mail server of one workspace: its invitations and notices leave through it, in the name of its sender. Admins
//! choose among the servers that the operator allows.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::mail::{MailFields, MailForm, MailServer, Whose};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::Admin;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/settings/mail", web::get().to(show))
        .route("/w/{workspace}/settings/mail", web::post().to(save))
        .route("/w/{workspace}/settings/mail/remove", web::post().to(remove));
}

#[derive(Template)]
#[template(path = "people/workspace_mail.html")]
struct MailPage {
    shell: Shell,
    slug: String,
    mail: MailFields,
    errors: Vec<FieldError>,
    saved: bool,
    /// Its mails leave through its own server now.
    own: bool,
    /// Who mails come from that leave through the instance's server; `None` = it has none.
    instance: Option<String>,
    /// Servers that can be chosen: `host:port`.
    servers: Vec<String>,
}

impl MailPage {
    fn new(web: &Web, server: &MailServer, me: &Me, ws: &Admin, mail: MailFields) -> Result<Self, Problem> {
        Ok(Self {
            shell: Shell::workspace(web, me, ws, "Mail", "members")?,
            slug: ws.row().slug.clone(),
            errors: mail.errors.clone(),
            mail,
            saved: false,
            own: server.uses_own(ws.id())?,
            instance: server.kept(Whose::Instance)?.map(|kept| kept.sender),
            servers: server.choices()?,
        })
    }
}

async fn show(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    me: Me,
    ws: Admin,
) -> Result<HttpResponse, Problem> {
    let fields = MailFields::of(server.kept(Whose::Workspace(ws.id()))?, me.person().email.as_str());
    page::render(&MailPage::new(&web, &server, &me, &ws, fields)?)
}

async fn save(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    me: Me,
    ws: Admin,
    PostForm(form): PostForm<MailForm>,
) -> Result<HttpResponse, Problem> {
    ws.processing()?;
    let fields = form.apply(&server, Whose::Workspace(ws.id()), &me).await?;
    let saved = fields.errors.is_empty();
    let status = if saved { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    render_with(status, &MailPage { saved, ..MailPage::new(&web, &server, &me, &ws, fields)? })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn remove(
    server: web::Data<MailServer>,
    ws: Admin,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (server, whose, actor) = (server.clone(), Whose::Workspace(ws.id()), ws.actor().clone());
    web::block(move || server.remove(whose, actor)).await??;
    Ok(see_other(&format!("/w/{}/settings/mail", ws.row().slug)))
}
