//! The wizard's step for mail: a test that really sends one, and a way past it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::setup::{MAIL_STEP, Nothing, SetupPage, advance, on_step};
use crate::mail::{MailForm, MailServer, Whose};
use crate::web::page::{render_with, see_other};
use crate::web::{Me, PostForm, Problem, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/setup/mail", web::post().to(save)).route("/setup/mail/next", web::post().to(next));
}

/// Tests and saves; the answer shows what the server said, the next step waits for the person.
async fn save(
    web: web::Data<Web>,
    mail: web::Data<MailServer>,
    me: Me,
    PostForm(form): PostForm<MailForm>,
) -> Result<HttpResponse, Problem> {
    on_step(&web, &me, MAIL_STEP)?;
    let fields = form.apply(&mail, Whose::Instance, &me).await?;
    if fields.errors.is_empty() && fields.worked.is_none() {
        advance(&web, &me, MAIL_STEP + 1).await?;
        return Ok(see_other("/setup"));
    }
    let status = if fields.errors.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let mut view = SetupPage::new(&web, MAIL_STEP);
    view.csrf = me.csrf().to_owned();
    view.errors.clone_from(&fields.errors);
    view.mail = fields;
    render_with(status, &view)
}

/// On with what is saved, or without mail: links are then shown to whoever may hand them over.
async fn next(web: web::Data<Web>, me: Me, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    on_step(&web, &me, MAIL_STEP)?;
    advance(&web, &me, MAIL_STEP + 1).await?;
    Ok(see_other("/setup"))
}
