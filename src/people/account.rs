//! The account's own pages: the profile, and what a token says of itself.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::sso::Linked;
use crate::identity::accounts::{ACCOUNTS, display_name};
use crate::identity::control::Note;
use crate::identity::sso::Sso;
use crate::identity::{IdentityError, Theme, Via};
use crate::store::Read as _;
use crate::store::audit::Action;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::Viewer;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/profile", web::get().to(profile))
        .route("/account/profile", web::post().to(save_profile));
}

pub fn api_routes(config: &mut web::ServiceConfig) {
    config.route("/api/v1/me", web::get().to(me));
}

#[derive(Template)]
#[template(path = "people/profile.html")]
struct ProfilePage {
    shell: Shell,
    errors: Vec<FieldError>,
    name: String,
    saved: bool,
    sso: Option<Linked>,
}

#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    saved: bool,
}

async fn profile(
    web: web::Data<Web>,
    sso: web::Data<Sso>,
    me: Me,
    query: web::Query<Saved>,
) -> Result<HttpResponse, Problem> {
    let sso = Linked::of(&web, &sso, &me)?;
    let shell = Shell::account(&web, &me, "Profile")?;
    page::render(&ProfilePage {
        name: shell.name.clone(),
        shell,
        errors: Vec::new(),
        saved: query.saved,
        sso,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileForm {
    name: String,
    theme: Theme,
}

async fn save_profile(
    web: web::Data<Web>,
    me: Me,
    PostForm(form): PostForm<ProfileForm>,
) -> Result<HttpResponse, Problem> {
    let name = match display_name(&form.name) {
        Ok(name) => name,
        Err(error) => {
            let errors = vec![FieldError { field: "name".into(), message: error.to_string() }];
            let shell = Shell::account(&web, &me, "Profile")?;
            let page = ProfilePage { shell, errors, name: form.name, saved: false, sso: None };
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
    };
    let (id, theme) = (me.account(), form.theme);
    web.control
        .change(Note::new(me.actor(), Action::AccountChanged, id), move |tx| {
            let mut account = tx.get(&ACCOUNTS, &id)?.ok_or(IdentityError::NotSignedIn)?;
            account.name = name;
            account.theme = theme;
            Ok::<_, IdentityError>(tx.put(&ACCOUNTS, &id, &account)?)
        })
        .await?;
    Ok(see_other("/account/profile?saved=true"))
}

async fn me(me: Me, ws: Viewer) -> Result<HttpResponse, Problem> {
    let Via::Token { scopes, .. } = me.via() else { return Err(Problem::SignIn) };
    let row = ws.row();
    Ok(HttpResponse::Ok().json(serde_json::json!({
        "account": { "id": me.account(), "name": me.person().name, "email": me.person().email },
        "workspace": { "id": ws.id(), "slug": row.slug, "name": row.name },
        "role": ws.role().name(),
        "scopes": scopes,
    })))
}
