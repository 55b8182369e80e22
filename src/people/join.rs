//! An invitation as the invited see it: who offers what, and joining as a new account or as the one that is signed in.
//! Looking uses nothing up; wrong, used, replaced and ended links answer alike.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::members;
use super::setup::named;
use super::sign_in::{signed_out, with_cookie};
use crate::identity::accounts::ACCOUNTS;
use crate::identity::control::Note;
use crate::identity::invitations::Offer;
use crate::identity::memberships::WORKSPACES;
use crate::identity::sessions::Origin;
use crate::identity::{Control, ControlTx, IdentityError, SignedIn};
use crate::ids::{AccountId, WorkspaceId};
use crate::mail::Letter;
use crate::notifications::{Kind, Notice, tell};
use crate::seal::Secret;
use crate::store::Read as _;
use crate::store::audit::{Action, Actor};
use crate::web::access::origin;
use crate::web::form::OpenForm;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Blank, Me, PostForm, Problem, Visitor, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/invite/{token}", web::get().to(show))
        .route("/invite/{token}", web::post().to(join_as_new))
        .route("/invite/{token}/join", web::post().to(join))
        .route("/invite/{token}/switch", web::post().to(switch));
}

#[derive(Template)]
#[template(path = "people/invite.html")]
struct InvitePage {
    shell: Blank,
    token: String,
    offer: Offer,
    ends: String,
    /// The account that is signed in: its address, its key for forms, whether the invitation is for it.
    me: Option<(String, String, bool)>,
    name: String,
    errors: Vec<FieldError>,
    /// Whether passkeys work at this address.
    passkeys: bool,
}

#[derive(Template)]
#[template(path = "people/invite_gone.html")]
struct GonePage {
    shell: Blank,
}

fn gone(web: &Web) -> Result<HttpResponse, Problem> {
    render_with(StatusCode::NOT_FOUND, &GonePage { shell: Blank::new(web, "Invitation") })
}

/// What the link opens; every wrong link makes the next try of this address wait longer.
pub(super) fn offer(web: &Web, from: &Origin, token: &str) -> Result<Option<Offer>, Problem> {
    let key = format!("invitation {}", from.address);
    web.throttle.check(&key)?;
    match web.control.offer(token) {
        Ok(offer) => Ok(Some(offer)),
        Err(IdentityError::NoSuchInvitation) => {
            web.throttle.failed(&key);
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

fn view(web: &Web, token: String, offer: Offer, me: Option<&SignedIn>) -> InvitePage {
    let me = me.map(|me| {
        let email = &me.person().email;
        (email.to_string(), me.csrf().to_owned(), email.key() == offer.invitation.email.key())
    });
    let ends = offer.invitation.ends.strftime("%-d %B %Y").to_string();
    let shell = Blank::new(web, &format!("Join {}", offer.workspace.name));
    let passkeys = web.ceremonies.available();
    InvitePage { shell, token, offer, ends, me, name: String::new(), errors: Vec::new(), passkeys }
}

async fn show(
    web: web::Data<Web>,
    visitor: Visitor,
    token: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    match offer(&web, &visitor.origin, &token)? {
        None => gone(&web),
        Some(offer) => {
            crate::web::page::render(&view(&web, token.into_inner(), offer, visitor.me.as_deref()))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewForm {
    name: String,
    password: String,
}

async fn join_as_new(
    web: web::Data<Web>,
    visitor: Visitor,
    token: web::Path<String>,
    OpenForm(form): OpenForm<NewForm>,
) -> Result<HttpResponse, Problem> {
    let token = token.into_inner();
    if visitor.me.is_some() {
        return Ok(see_other(&format!("/invite/{token}")));
    }
    let Some(offer) = offer(&web, &visitor.origin, &token)? else { return gone(&web) };
    let email = offer.invitation.email.to_string();
    let (name, secret) = (form.name.clone(), Secret::new(form.password));
    let prepared =
        web::block(move || Control::prepare_account(&email, &name, &secret, false)).await?.map_err(named);
    let joined = match prepared {
        Ok(new) => {
            let (control, link) = (web.control.clone(), token.clone());
            web.control
                .acts(move |tx| {
                    let account = control.insert_account(tx, new)?;
                    accept(&control, tx, &link, account).map(|workspace| (account, workspace))
                })
                .await
        }
        Err(problem) => Err(problem),
    };
    match joined {
        Ok((account, workspace)) => {
            let slug = arrived(&web, workspace)?;
            let state = web.clone();
            let session = web::block(move || state.control.start_session(account, visitor.origin)).await??;
            Ok(with_cookie(see_other(&format!("/w/{slug}/")), &web, &session))
        }
        Err(Problem::NotFound) => gone(&web),
        Err(Problem::Invalid(errors)) => {
            let errors = errors.into_iter().map(|error| match error.field.as_str() {
                "email" => FieldError {
                    field: "sign-in".into(),
                    message: "There is an account with this address. Sign in to join with it.".into(),
                },
                _ => error,
            });
            let errors = errors.collect();
            let page = InvitePage { name: form.name, errors, ..view(&web, token, offer, None) };
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(other) => Err(other),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn join(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    token: web::Path<String>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let token = token.into_inner();
    if offer(&web, &origin(&request, &web), &token)?.is_none() {
        return gone(&web);
    }
    let (control, account, link) = (web.control.clone(), me.account(), token.clone());
    let joined = web.control.acts(move |tx| accept(&control, tx, &link, account)).await;
    match joined {
        Ok(workspace) => Ok(see_other(&format!("/w/{}/", arrived(&web, workspace)?))),
        Err(Problem::NotFound) => gone(&web),
        // The page says for whom it is.
        Err(Problem::Conflict(_)) => Ok(see_other(&format!("/invite/{token}"))),
        Err(other) => Err(other),
    }
}

/// Signs out the account that the invitation is not for, and comes back to it.
async fn switch(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    token: web::Path<String>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    if offer(&web, &origin(&request, &web), &token)?.is_none() {
        return gone(&web);
    }
    signed_out(&web, &request, &me, see_other(&format!("/invite/{token}"))).await
}

/// Uses up the link; membership, audit line and the word to who sent it are in the same commit.
pub(super) fn accept(
    control: &Control,
    tx: &mut ControlTx,
    token: &str,
    account: AccountId,
) -> Result<WorkspaceId, Problem> {
    let (workspace, id, invitation) = control.accept_invitation(tx, token, account)?;
    let note = Note::new(Actor::Account { id: account }, Action::InvitationAccepted, id);
    control.note(tx, note.in_workspace(workspace))?;
    let (row, person) = (tx.get(&WORKSPACES, &workspace)?, tx.get(&ACCOUNTS, &account)?);
    if let (Some(row), Some(person)) = (row, person) {
        let link = format!("/w/{}/members", row.slug);
        let letter = Letter::InvitationAccepted {
            workspace: row.name.clone(),
            name: person.name.clone(),
            role: invitation.role,
            link: link.clone(),
        };
        let title = format!("{} joined {}", person.name, row.name);
        let notice = Notice::new(Kind::InvitationAccepted, title, link).letter(letter);
        tell(tx, control, invitation.by, notice.body(format!("As {}.", invitation.role.name())))?;
    }
    Ok(workspace)
}

/// Tells open pages of the workspace; answers its slug.
pub(super) fn arrived(web: &Web, workspace: WorkspaceId) -> Result<String, Problem> {
    let row = web.control.workspace(workspace)?.ok_or(Problem::NotFound)?;
    members::announce(&web.door.for_runner(workspace)?);
    Ok(row.slug)
}
