//! The model endpoint of the instance.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;

use super::Nothing;
use crate::models::{ModelFields, ModelForm, Models};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
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

async fn remove_model(
    models: web::Data<Models>,
    me: Operator,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (models, actor) = (models.clone(), me.actor());
    web::block(move || models.remove(actor)).await??;
    Ok(see_other("/admin/model"))
}
