//! Invitations as an admin sends them: to one address or a pasted list, again, withdrawn. Where no mail server is set up
//! the links are shown once to the one who may hand them over.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::members::{Act, announce};
use super::members_page::{self, Outcome};
use crate::identity::invitations::{AT_ONCE, Issued, NotInvited, addresses};
use crate::identity::{Email, Role};
use crate::ids::InvitationId;
use crate::store::audit::Action;
use crate::web::page::see_other;
use crate::web::problem::FieldError;
use crate::web::{Me, PostForm, Problem, Web};
use crate::workspace::Admin;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/members", web::post().to(send))
        .route("/w/{workspace}/members/invitations/{invitation}/withdraw", web::post().to(withdraw));
}

/// The address that opens an invitation.
pub fn link(web: &Web, issued: &Issued) -> String {
    format!("{}invite/{}", web.external, issued.token.expose())
}

/// Invites every address that has no seat and no open invitation.
pub async fn invite(
    web: &Web,
    ws: &Admin,
    role: Role,
    to: Vec<Email>,
) -> Result<Vec<Result<Issued, NotInvited>>, Problem> {
    let (act, control) = (Act::of(ws), web.control.clone());
    let results = web
        .control
        .acts(move |tx| {
            let results = control.invite(tx, act.by, act.workspace, role, to)?;
            for issued in results.iter().flatten() {
                control.note(tx, act.note(Action::InvitationSent, issued.id))?;
            }
            Ok::<_, Problem>(results)
        })
        .await?;
    announce(ws);
    Ok(results)
}

/// Makes a new link for an open or ended invitation and ends the old one.
pub async fn invite_again(web: &Web, ws: &Admin, id: InvitationId) -> Result<Issued, Problem> {
    let (act, control) = (Act::of(ws), web.control.clone());
    let issued = web
        .control
        .change(act.note(Action::InvitationSent, id), move |tx| {
            control.invite_again(tx, act.by, act.workspace, id)
        })
        .await?;
    announce(ws);
    Ok(issued)
}

/// Either addresses and a role, or an invitation to send again. Posted to the address of the page itself, so that it
/// keeps itself fresh while its links are shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendForm {
    again: Option<InvitationId>,
    email: Option<String>,
    role: Option<Role>,
}

async fn send(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    PostForm(form): PostForm<SendForm>,
) -> Result<HttpResponse, Problem> {
    let outcome = match form {
        SendForm { again: Some(id), email: None, role: None } => {
            let issued = invite_again(&web, &ws, id).await?;
            let issued = vec![(issued.email.to_string(), link(&web, &issued))];
            Outcome { issued, ..Outcome::default() }
        }
        SendForm { again: None, email: Some(email), role: Some(role) } => {
            invite_all(&web, &ws, email, role).await?
        }
        _ => return Err(Problem::field("", "The form is not complete.")),
    };
    members_page::show(&web, &me, &ws, outcome)
}

/// Invites a pasted list; what was no address, or was not invited, stays in the field.
async fn invite_all(web: &Web, ws: &Admin, typed: String, role: Role) -> Result<Outcome, Problem> {
    let (found, mut bad) = addresses(&typed);
    let mut outcome = Outcome { role, ..Outcome::default() };
    let mut wrong = |message: String| outcome.errors.push(FieldError { field: "email".into(), message });
    for text in &bad {
        wrong(format!("{text} is no e-mail address."));
    }
    if found.len() > AT_ONCE {
        wrong(format!("These are {} addresses; {AT_ONCE} at once is the most.", found.len()));
        outcome.typed = typed;
        return Ok(outcome);
    }
    if found.is_empty() && bad.is_empty() {
        wrong("Enter at least one e-mail address.".to_owned());
    }
    if !found.is_empty() {
        for result in invite(web, ws, role, found).await? {
            match result {
                Ok(issued) => outcome.issued.push((issued.email.to_string(), link(web, &issued))),
                Err(not) => {
                    let message = format!("{} {}.", not.email, not.why);
                    outcome.errors.push(FieldError { field: "email".into(), message });
                    bad.push(not.email.to_string());
                }
            }
        }
    }
    outcome.typed = bad.join(", ");
    Ok(outcome)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn withdraw(
    web: web::Data<Web>,
    ws: Admin,
    path: web::Path<(String, InvitationId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    withdraw_invitation(&web, &ws, path.1).await?;
    Ok(see_other(&format!("/w/{}/members?done=withdrawn", ws.row().slug)))
}

/// Ends an invitation that nobody has accepted.
pub async fn withdraw_invitation(web: &Web, ws: &Admin, id: InvitationId) -> Result<(), Problem> {
    let (act, control) = (Act::of(ws), web.control.clone());
    web.control
        .change(act.note(Action::InvitationRevoked, id), move |tx| {
            control.withdraw_invitation(tx, act.by, act.workspace, id)
        })
        .await?;
    announce(ws);
    Ok(())
}
