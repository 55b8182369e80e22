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
        .route("/w/{workspace}/members/invite", web::post().to(send))
        .route("/w/{workspace}/members/invitations/{invitation}/again", web::post().to(again))
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteForm {
    email: String,
    role: Role,
}

async fn send(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    PostForm(form): PostForm<InviteForm>,
) -> Result<HttpResponse, Problem> {
    let (found, mut bad) = addresses(&form.email);
    let mut outcome = Outcome { role: form.role, ..Outcome::default() };
    let mut wrong = |message: String| outcome.errors.push(FieldError { field: "email".into(), message });
    for text in &bad {
        wrong(format!("{text} is no e-mail address."));
    }
    if found.len() > AT_ONCE {
        wrong(format!("These are {} addresses; {AT_ONCE} at once is the most.", found.len()));
        outcome.typed = form.email;
        return members_page::show(&web, &me, &ws, outcome);
    }
    if found.is_empty() && bad.is_empty() {
        wrong("Enter at least one e-mail address.".to_owned());
    }
    if !found.is_empty() {
        for result in invite(&web, &ws, form.role, found).await? {
            match result {
                Ok(issued) => outcome.issued.push((issued.email.to_string(), link(&web, &issued))),
                Err(not) => {
                    let message = format!("{} {}.", not.email, not.why);
                    outcome.errors.push(FieldError { field: "email".into(), message });
                    bad.push(not.email.to_string());
                }
            }
        }
    }
    outcome.typed = bad.join(", ");
    members_page::show(&web, &me, &ws, outcome)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn again(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    path: web::Path<(String, InvitationId)>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let issued = invite_again(&web, &ws, path.1).await?;
    let issued = vec![(issued.email.to_string(), link(&web, &issued))];
    members_page::show(&web, &me, &ws, Outcome { issued, ..Outcome::default() })
}

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
