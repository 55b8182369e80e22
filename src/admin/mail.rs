//! The mail server of the instance, and the servers that workspaces may choose.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::Nothing;
use super::outbox::View;
use crate::mail::{MailFields, MailForm, MailServer, Whose};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/mail", web::get().to(mail))
        .route("/admin/mail", web::post().to(save_mail))
        .route("/admin/mail/remove", web::post().to(remove_mail))
        .route("/admin/mail/servers", web::post().to(list_servers));
}

#[derive(Template)]
#[template(path = "admin/mail.html")]
struct MailPage {
    shell: Shell,
    mail: MailFields,
    errors: Vec<FieldError>,
    saved: bool,
    outbox: View,
    /// Servers that workspaces may choose, one a line.
    servers: String,
    listed: bool,
}

impl MailPage {
    fn new(
        web: &Web,
        server: &MailServer,
        me: &Operator,
        mail: MailFields,
        saved: bool,
    ) -> Result<Self, Problem> {
        let (shell, outbox) = (Shell::account(web, me, "Mail")?, View::of(web)?);
        let servers = server.listed()?.join("\n");
        Ok(Self { shell, errors: mail.errors.clone(), mail, saved, outbox, servers, listed: false })
    }
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    listed: bool,
}

async fn mail(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    me: Operator,
    query: web::Query<Listed>,
) -> Result<HttpResponse, Problem> {
    let fields = MailFields::of(server.kept(Whose::Instance)?, me.person().email.as_str());
    page::render(&MailPage { listed: query.listed, ..MailPage::new(&web, &server, &me, fields, false)? })
}

async fn save_mail(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    me: Operator,
    PostForm(form): PostForm<MailForm>,
) -> Result<HttpResponse, Problem> {
    let fields = form.apply(&server, Whose::Instance, &me).await?;
    let good = fields.errors.is_empty();
    let status = if good { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    render_with(status, &MailPage::new(&web, &server, &me, fields, good)?)
}

async fn remove_mail(
    server: web::Data<MailServer>,
    me: Operator,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (server, actor) = (server.clone(), me.actor());
    web::block(move || server.remove(Whose::Instance, actor)).await??;
    Ok(see_other("/admin/mail"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Servers {
    servers: String,
}

async fn list_servers(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    me: Operator,
    PostForm(form): PostForm<Servers>,
) -> Result<HttpResponse, Problem> {
    let (store, actor, typed) = (server.clone(), me.actor(), form.servers.clone());
    match web::block(move || store.list(actor, &typed)).await?? {
        Ok(()) => Ok(see_other("/admin/mail?listed=true#servers")),
        Err(message) => {
            let fields = MailFields::of(server.kept(Whose::Instance)?, me.person().email.as_str());
            let errors = vec![FieldError { field: "servers".into(), message }];
            let view = MailPage::new(&web, &server, &me, fields, false)?;
            let view = MailPage { errors, servers: form.servers, ..view };
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &view)
        }
    }
}
