//! The instance, for its operators: the model endpoint and the mail server so far. Never the contents of a workspace.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::mail::{MailFields, MailForm, MailServer};
use crate::models::{ModelFields, ModelForm, Models};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/mail", web::get().to(mail))
        .route("/admin/mail", web::post().to(save_mail))
        .route("/admin/mail/remove", web::post().to(remove_mail))
        .route("/admin/model", web::get().to(model))
        .route("/admin/model", web::post().to(save_model))
        .route("/admin/model/remove", web::post().to(remove_model));
}

#[derive(Template)]
#[template(path = "admin/model.html")]
struct ModelPage {
    shell: Shell,
    fields: ModelFields,
    errors: Vec<FieldError>,
    configured: bool,
    saved: bool,
}

impl ModelPage {
    fn new(web: &Web, me: &Operator, fields: ModelFields, configured: bool) -> Result<Self, Problem> {
        let shell = Shell::account(web, me, "Model endpoint")?;
        Ok(Self { shell, errors: fields.errors.clone(), fields, configured, saved: false })
    }
}

async fn model(
    web: web::Data<Web>,
    models: web::Data<Models>,
    me: Operator,
) -> Result<HttpResponse, Problem> {
    let kept = models.kept()?;
    let configured = kept.is_some();
    page::render(&ModelPage::new(&web, &me, ModelFields::of(kept), configured)?)
}

async fn save_model(
    web: web::Data<Web>,
    models: web::Data<Models>,
    me: Operator,
    PostForm(form): PostForm<ModelForm>,
) -> Result<HttpResponse, Problem> {
    let fields = form.apply(&models, &me).await?;
    let good = fields.errors.is_empty();
    let configured = models.kept()?;
    let fields = if good {
        ModelFields { worked: fields.worked, offered: fields.offered, ..ModelFields::of(configured.clone()) }
    } else {
        fields
    };
    let view = ModelPage { saved: good, ..ModelPage::new(&web, &me, fields, configured.is_some())? };
    render_with(if good { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, &view)
}

#[derive(Deserialize)]
struct Nothing {}

async fn remove_model(
    models: web::Data<Models>,
    me: Operator,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (models, actor) = (models.clone(), me.actor());
    web::block(move || models.remove(actor)).await??;
    Ok(see_other("/admin/model"))
}

#[derive(Template)]
#[template(path = "admin/mail.html")]
struct MailPage {
    shell: Shell,
    mail: MailFields,
    errors: Vec<FieldError>,
    saved: bool,
}

impl MailPage {
    fn new(web: &Web, me: &Operator, mail: MailFields, saved: bool) -> Result<Self, Problem> {
        let shell = Shell::account(web, me, "Mail")?;
        Ok(Self { shell, errors: mail.errors.clone(), mail, saved })
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
