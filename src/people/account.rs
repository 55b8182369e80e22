//! The account's own pages: the profile, and what a token says of itself.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::sso::Linked;
use crate::identity::accounts::{ACCOUNTS, Account, display_name, organisation, time_zone};
use crate::identity::control::Note;
use crate::identity::sessions::Origin;
use crate::identity::sso::Sso;
use crate::identity::{IdentityError, Language, Restricted, Theme, Via, password};
use crate::seal::Secret;
use crate::store::Read as _;
use crate::store::audit::Action;
use crate::web::page::{local_time, render_with, see_other};
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
    organisation: String,
    time_zone: String,
    shortcuts: bool,
    zones: Vec<String>,
    /// The time now, as the person's pages show it.
    now: String,
    saved: bool,
    sso: Option<Linked>,
    restricted: Option<Restricted>,
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
    page::render(&ProfilePage { saved: query.saved, sso, ..profile_page(&web, &me)? })
}

fn profile_page(web: &Web, me: &Me) -> Result<ProfilePage, Problem> {
    let person = me.person();
    let mut zones: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
    zones.retain(|zone| zone.contains('/') && !zone.starts_with("Etc/"));
    Ok(ProfilePage {
        shell: Shell::account(web, me, "Profile")?,
        errors: Vec::new(),
        name: person.name.clone(),
        organisation: person.organisation.clone(),
        time_zone: person.time_zone.clone(),
        shortcuts: person.shortcuts,
        zones,
        now: local_time(web.clock.now(), &person.time_zone),
        saved: false,
        sso: None,
        restricted: person.restricted(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileForm {
    name: String,
    theme: Theme,
    #[serde(default)]
    organisation: String,
    #[serde(default)]
    language: Language,
    #[serde(default)]
    time_zone: String,
    /// A checkbox: there when ticked.
    #[serde(default)]
    shortcuts: Option<String>,
}

async fn save_profile(
    web: web::Data<Web>,
    me: Me,
    PostForm(form): PostForm<ProfileForm>,
) -> Result<HttpResponse, Problem> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, e: IdentityError| {
        errors.push(FieldError { field: field.into(), message: e.to_string() });
    };
    let name = display_name(&form.name).map_err(|e| wrong("name", e)).unwrap_or_default();
    let organisation = organisation(&form.organisation).map_err(|e| wrong("organisation", e));
    let time_zone = time_zone(&form.time_zone).map_err(|e| wrong("time_zone", e));
    let (Ok(organisation), Ok(time_zone), true) = (organisation, time_zone, errors.is_empty()) else {
        let ProfileForm { name, organisation, time_zone, .. } = form;
        let page = ProfilePage { errors, name, organisation, time_zone, ..profile_page(&web, &me)? };
        return render_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    };
    let id = me.account();
    web.control
        .change(Note::new(me.actor(), Action::AccountChanged, id), move |tx| {
            let account = tx.get(&ACCOUNTS, &id)?.ok_or(IdentityError::NotSignedIn)?;
            let account = Account {
                name,
                organisation,
                time_zone,
                theme: form.theme,
                language: form.language,
                shortcuts: form.shortcuts.is_some(),
                ..account
            };
            Ok::<_, IdentityError>(tx.put(&ACCOUNTS, &id, &account)?)
        })
        .await?;
    Ok(see_other("/account/profile?saved=true"))
}

/// Whether the person at a session knows the password of its account; wrong tries are counted as at sign-in.
pub(super) async fn confirm(
    web: &web::Data<Web>,
    me: &Me,
    from: &Origin,
    password: String,
) -> Result<(), Problem> {
    let key = format!("account {} address {}", me.person().email.key(), from.address);
    web.throttle.check(&key)?;
    let (secret, stored) = (Secret::new(password), me.person().password.clone());
    if web::block(move || password::verify(&secret, stored.as_deref())).await? {
        return Ok(());
    }
    web.throttle.failed(&key);
    Err(Problem::field("password", "The password is not right. Nothing was changed."))
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
