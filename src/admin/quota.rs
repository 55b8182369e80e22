//! What one workspace may hold, where the operator gives it other limits than everybody's.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::identity::control::Note;
use crate::identity::{IdentityError, Quota};
use crate::ids::WorkspaceId;
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

/// The largest limits that can be set, here and for the whole instance.
pub(super) const MOST_GIGABYTES: u32 = 100_000;
pub(super) const MOST_DOCUMENTS: u32 = 1_000_000;
pub(super) const MOST_MEMBERS: u32 = 100_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/workspaces/{id}/quota", web::get().to(show))
        .route("/admin/workspaces/{id}/quota", web::post().to(save));
}

/// The form, as typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    gigabytes: String,
    documents: String,
    members: String,
    /// `instance` gives the limits of the instance back; everything else saves what was typed.
    #[serde(default)]
    act: String,
}

impl Typed {
    fn of(quota: Quota) -> Self {
        Self {
            gigabytes: (quota.bytes >> 30).to_string(),
            documents: quota.documents.to_string(),
            members: quota.members.to_string(),
            act: String::new(),
        }
    }

    fn read(&self) -> Result<Option<Quota>, Vec<FieldError>> {
        if self.act == "instance" {
            return Ok(None);
        }
        let mut errors = Vec::new();
        let gigabytes = whole(&mut errors, "gigabytes", &self.gigabytes, 1, MOST_GIGABYTES);
        let documents = whole(&mut errors, "documents", &self.documents, 1, MOST_DOCUMENTS);
        let members = whole(&mut errors, "members", &self.members, 1, MOST_MEMBERS);
        let quota = Quota { bytes: u64::from(gigabytes) << 30, documents, members };
        if errors.is_empty() { Ok(Some(quota)) } else { Err(errors) }
    }
}

/// The whole number of a field; what is none is noted, and the least stands in for it.
pub(super) fn whole(errors: &mut Vec<FieldError>, field: &str, typed: &str, least: u32, most: u32) -> u32 {
    typed.trim().parse().ok().filter(|n| (least..=most).contains(n)).unwrap_or_else(|| {
        let message = format!("Enter a whole number from {least} to {most}.");
        errors.push(FieldError { field: field.to_owned(), message });
        least
    })
}

#[derive(Template)]
#[template(path = "admin/quota.html")]
struct QuotaPage {
    shell: Shell,
    id: WorkspaceId,
    name: String,
    /// The workspace has limits of its own.
    own: bool,
    /// Members that it has.
    members: usize,
    typed: Typed,
    errors: Vec<FieldError>,
    saved: bool,
}

impl QuotaPage {
    fn new(web: &Web, me: &Operator, id: WorkspaceId) -> Result<Self, Problem> {
        let row = web.control.workspace(id)?.ok_or(Problem::NotFound)?;
        Ok(Self {
            shell: Shell::account(web, me, "Workspaces")?,
            id,
            name: row.name,
            own: row.quota.is_some(),
            members: web.control.members_of(id)?.len(),
            typed: Typed::of(web.control.quota(id)?),
            errors: Vec::new(),
            saved: false,
        })
    }
}

#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    saved: bool,
}

async fn show(
    web: web::Data<Web>,
    me: Operator,
    path: web::Path<WorkspaceId>,
    query: web::Query<Saved>,
) -> Result<HttpResponse, Problem> {
    page::render(&QuotaPage { saved: query.saved, ..QuotaPage::new(&web, &me, *path)? })
}

async fn save(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Operator,
    path: web::Path<WorkspaceId>,
    PostForm(typed): PostForm<Typed>,
) -> Result<HttpResponse, Problem> {
    let id = *path;
    let quota = match typed.read() {
        Ok(quota) => quota,
        Err(errors) => {
            let view = QuotaPage { typed, errors, ..QuotaPage::new(&web, &me, id)? };
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &view);
        }
    };
    let note = Note::new(me.actor(), Action::WorkspaceQuotaChanged, id).in_workspace(id);
    let (control, note) = (web.control.clone(), note.asked_by(request_id(&request)));
    match web::block(move || control.set_quota(note, id, quota)).await? {
        Ok(()) => Ok(see_other(&format!("/admin/workspaces/{id}/quota?saved=true"))),
        Err(IdentityError::NotMember) => Err(Problem::NotFound),
        Err(other) => Err(other.into()),
    }
}
