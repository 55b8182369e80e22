//! What the forms of a conversation do. Each ends on the page that shows it.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::chat::{Chat, of};
use crate::ids::{ConversationId, OrgId, TurnId};
use crate::orgs::records as orgs;
use crate::web::page::see_other;
use crate::web::{PostForm, Problem};
use crate::workspace::Member;

/// What a person says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    text: String,
    /// Slug of the org it is about; empty for none.
    #[serde(default)]
    org: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

pub async fn begin(
    chat: web::Data<Chat>,
    ws: Member,
    PostForm(said): PostForm<Said>,
) -> Result<HttpResponse, Problem> {
    let org = org(&ws, &said.org)?;
    let asked = chat.ask(&ws, None, org, &said.text).await?;
    Ok(see_other(&format!("{}#m-{}", page(&ws, asked.conversation), asked.question)))
}

pub async fn ask(
    chat: web::Data<Chat>,
    ws: Member,
    path: web::Path<(String, ConversationId)>,
    PostForm(said): PostForm<Said>,
) -> Result<HttpResponse, Problem> {
    let org = org(&ws, &said.org)?;
    let asked = chat.ask(&ws, Some(path.1), org, &said.text).await?;
    Ok(see_other(&format!("{}#m-{}", page(&ws, path.1), asked.question)))
}

pub async fn again(
    chat: web::Data<Chat>,
    ws: Member,
    path: web::Path<(String, ConversationId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let asked = chat.again(&ws, path.1).await?;
    Ok(see_other(&format!("{}#m-{}", page(&ws, path.1), asked.question)))
}

pub async fn stop(
    chat: web::Data<Chat>,
    ws: Member,
    path: web::Path<(String, ConversationId, TurnId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    chat.stop(&ws, path.1, path.2).await?;
    Ok(see_other(&page(&ws, path.1)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    org: OrgId,
}

/// Consents to validating in an org, and asks for it.
pub async fn consent(
    chat: web::Data<Chat>,
    ws: Member,
    path: web::Path<(String, ConversationId)>,
    PostForm(consent): PostForm<Consent>,
) -> Result<HttpResponse, Problem> {
    let asked = chat.consent(&ws, path.1, consent.org).await?;
    Ok(see_other(&format!("{}#m-{}", page(&ws, path.1), asked.question)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Title {
    title: String,
}

pub async fn rename(
    ws: Member,
    path: web::Path<(String, ConversationId)>,
    PostForm(form): PostForm<Title>,
) -> Result<HttpResponse, Problem> {
    crate::chat::rename(&ws, path.1, &form.title).await?;
    Ok(see_other(&page(&ws, path.1)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    pinned: Pinned,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Pinned {
    No,
    Yes,
}

pub async fn pin(
    ws: Member,
    path: web::Path<(String, ConversationId)>,
    PostForm(form): PostForm<Pin>,
) -> Result<HttpResponse, Problem> {
    crate::chat::pin(&ws, path.1, form.pinned == Pinned::Yes).await?;
    Ok(see_other(&format!("/w/{}/chats", ws.row().slug)))
}

pub async fn delete(
    chat: web::Data<Chat>,
    ws: Member,
    path: web::Path<(String, ConversationId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    of(&ws, path.1)?;
    chat.delete(&ws, path.1).await?;
    Ok(see_other(&format!("/w/{}/chats", ws.row().slug)))
}

fn page(ws: &Member, id: ConversationId) -> String {
    format!("/w/{}/chat/{id}", ws.row().slug)
}

/// The org behind a slug; none for the empty one.
fn org(ws: &Member, slug: &str) -> Result<Option<OrgId>, Problem> {
    if slug.is_empty() {
        return Ok(None);
    }
    let known = orgs::by_slug(&ws.read()?, slug)?;
    let unknown = || Problem::field("org", "This org is not connected any more. Choose another one.");
    known.map(|(id, _)| Some(id)).ok_or_else(unknown)
}
