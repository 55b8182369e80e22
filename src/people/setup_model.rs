//! The wizard's step for the model endpoint: a test that really calls it, and a way past it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::setup::{MODEL_STEP, Nothing, SetupPage, advance, on_step};
use crate::models::{ModelForm, Models};
use crate::web::page::{render_with, see_other};
use crate::web::{Me, PostForm, Problem, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/setup/model", web::post().to(save)).route("/setup/model/next", web::post().to(next));
}

/// Tests and saves; the answer shows what the endpoint said, the next step waits for the person.
async fn save(
    web: web::Data<Web>,
    models: web::Data<Models>,
    me: Me,
    PostForm(form): PostForm<ModelForm>,
) -> Result<HttpResponse, Problem> {
    on_step(&web, &me, MODEL_STEP)?;
    let fields = form.apply(&models, &me).await?;
    if fields.errors.is_empty() && fields.worked.is_none() {
        advance(&web, &me, MODEL_STEP + 1).await?;
        return Ok(see_other("/setup"));
    }
    let status = if fields.errors.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let mut view = SetupPage::new(&web, MODEL_STEP);
    view.csrf = me.csrf().to_owned();
    view.errors.clone_from(&fields.errors);
    view.fields = fields;
    render_with(status, &view)
}

/// On with what is saved, or without a model: chat then answers with passages and components.
async fn next(web: web::Data<Web>, me: Me, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    on_step(&web, &me, MODEL_STEP)?;
    advance(&web, &me, MODEL_STEP + 1).await?;
    Ok(see_other("/setup"))
}
