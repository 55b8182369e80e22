//! The mail server of the instance.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;

use super::Nothing;
use super::outbox::View;
use crate::mail::{MailFields, MailForm, MailServer};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/mail", web::get().to(mail))
        .route("/admin/mail", web::post().to(save_mail))
        .route("/admin/mail/remove", web::post().to(remove_mail));
}

#[derive(Template)]
#[template(path = "admin/mail.html")]
struct MailPage {
    shell: Shell,
    mail: MailFields,
    errors: Vec<FieldError>,
    saved: bool,
    outbox: View,
}

impl MailPage {
    fn new(web: &Web, me: &Operator, mail: MailFields, saved: bool) -> Result<Self, Problem> {
        let shell = Shell::account(web, me, "Mail")?;
        Ok(Self { shell, errors: mail.errors.clone(), mail, saved, outbox: View::of(web)? })
    }
}

async fn mail(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    me: Operator,
) -> Result<HttpResponse, Problem> {
    let fields = MailFields::of(server.kept()?, me.person().email.as_str());
    page::render(&MailPage::new(&web, &me, fields, false)?)
}

async fn save_mail(
    web: web::Data<Web>,
    server: web::Data<MailServer>,
    me: Operator,
    PostForm(form): PostForm<MailForm>,
) -> Result<HttpResponse, Problem> {
    let fields = form.apply(&server, &me).await?;
    let good = fields.errors.is_empty();
    let status = if good { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    render_with(status, &MailPage::new(&web, &me, fields, good)?)
}

async fn remove_mail(
    server: web::Data<MailServer>,
    me: Operator,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (server, actor) = (server.clone(), me.actor());
    web::block(move || server.remove(actor)).await??;
    Ok(see_other("/admin/mail"))
}
