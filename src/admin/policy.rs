//! What holds for the whole instance: who may create workspaces, who needs a second factor, how long sessions live, what a
//! workspace may hold, whom people ask about their data.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::quota;
use crate::identity::{Creators, Quota, Required, Settings};
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/admin/policy", web::get().to(show)).route("/admin/policy", web::post().to(save));
}

/// The form, as typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    who_may_create_workspaces: Creators,
    require_second_factor: Required,
    session_idle_minutes: String,
    session_days: String,
    quota_gigabytes: String,
    quota_documents: String,
    quota_members: String,
    #[serde(default)]
    privacy_contact: String,
}

impl Typed {
    fn of(settings: &Settings) -> Self {
        Self {
            who_may_create_workspaces: settings.who_may_create_workspaces,
            require_second_factor: settings.require_second_factor,
            session_idle_minutes: settings.session_idle_minutes.to_string(),
            session_days: settings.session_days.to_string(),
            quota_gigabytes: (settings.quota.bytes >> 30).to_string(),
            quota_documents: settings.quota.documents.to_string(),
            quota_members: settings.quota.members.to_string(),
            privacy_contact: settings.privacy_contact.clone(),
        }
    }

    /// The settings that this form makes, or what is wrong at which field.
    fn read(&self) -> Result<impl FnOnce(&mut Settings) + use<>, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut number = |field: &str, typed: &str, least: u32, most: u32| {
            quota::whole(&mut errors, field, typed, least, most)
        };
        let idle = number("session_idle_minutes", &self.session_idle_minutes, 15, 10_080);
        let days = number("session_days", &self.session_days, 1, 90);
        let gigabytes = number("quota_gigabytes", &self.quota_gigabytes, 1, quota::MOST_GIGABYTES);
        let documents = number("quota_documents", &self.quota_documents, 1, quota::MOST_DOCUMENTS);
        let members = number("quota_members", &self.quota_members, 1, quota::MOST_MEMBERS);
        let contact = self.privacy_contact.trim().to_owned();
        if contact.chars().count() > 300 || contact.chars().any(char::is_control) {
            let message = "Enter at most 300 characters on one line.".to_owned();
            errors.push(FieldError { field: "privacy_contact".into(), message });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let (creators, required) = (self.who_may_create_workspaces, self.require_second_factor);
        Ok(move |settings: &mut Settings| {
            settings.who_may_create_workspaces = creators;
            settings.require_second_factor = required;
            settings.session_idle_minutes = idle;
            settings.session_days = days;
            settings.quota = Quota { bytes: u64::from(gigabytes) << 30, documents, members };
            settings.privacy_contact = contact;
        })
    }
}

#[derive(Template)]
#[template(path = "admin/policy.html")]
struct PolicyPage {
    shell: Shell,
    typed: Typed,
    errors: Vec<FieldError>,
    saved: bool,
}

impl PolicyPage {
    fn new(web: &Web, me: &Operator, typed: Typed) -> Result<Self, Problem> {
        let shell = Shell::account(web, me, "Policy")?;
        Ok(Self { shell, typed, errors: Vec::new(), saved: false })
    }
}

#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    saved: bool,
}

async fn show(web: web::Data<Web>, me: Operator, query: web::Query<Saved>) -> Result<HttpResponse, Problem> {
    let view = PolicyPage::new(&web, &me, Typed::of(&web.settings()))?;
    page::render(&PolicyPage { saved: query.saved, ..view })
}

async fn save(
    web: web::Data<Web>,
    me: Operator,
    PostForm(typed): PostForm<Typed>,
) -> Result<HttpResponse, Problem> {
    let change = match typed.read() {
        Ok(change) => change,
        Err(errors) => {
            let view = PolicyPage { errors, ..PolicyPage::new(&web, &me, typed)? };
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &view);
        }
    };
    let (control, actor) = (web.control.clone(), me.actor());
    web::block(move || control.change_settings(actor, change)).await??;
    web.refresh_settings()?;
    Ok(see_other("/admin/policy?saved=true"))
}
