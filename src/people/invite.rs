//! Invitations as an admin sends them: to one address or a pasted list, again, withdrawn. Where no mail server is set up
//! the links are shown once to the one who may hand them over.

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::members::{Act, announce};
use super::members_page::{self, Outcome};
use crate::identity::accounts::addresses;
use crate::identity::invitations::{AT_ONCE, Issued, NotInvited};
use crate::identity::{Control, ControlTx, Email, IdentityError, Role};
use crate::ids::{InvitationId, MailId};
use crate::mail::outbox::recall;
use crate::mail::{Letter, can_leave, post_as};
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

/// Somebody who is invited now.
pub struct Invited {
    pub id: InvitationId,
    pub email: Email,
    pub role: Role,
    pub ends: Timestamp,
    /// The address that opens the invitation, known only now; `None` when it goes out by mail.
    pub link: Option<String>,
}

/// How a link reaches whom it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Shown to the one who invites.
    Link,
    /// Sent, where a mail server is set up; else shown.
    #[default]
    Mail,
}

/// Whether invitations can go out by mail.
pub(super) fn mails(web: &Web, ws: &Admin) -> Result<bool, Problem> {
    Ok(can_leave(&web.control.read()?, Some(ws.id()))?)
}

/// Invites every address that has no seat and no open invitation; mails leave once this has committed.
pub async fn invite(
    web: &Web,
    ws: &Admin,
    role: Role,
    to: Vec<Email>,
) -> Result<Vec<Result<Invited, NotInvited>>, Problem> {
    let (act, control, external) = (Act::of(ws), web.control.clone(), web.external.clone());
    let results = web
        .control
        .acts(move |tx| {
            let mut results = Vec::new();
            for result in control.invite(tx, act.by, act.workspace, role, to)? {
                results.push(match result {
                    Ok(issued) => {
                        control.note(tx, act.note(Action::InvitationSent, issued.id))?;
                        Ok(hand_over(&control, tx, &act, &external, issued, By::Mail)?)
                    }
                    Err(not) => Err(not),
                });
            }
            Ok::<_, Problem>(results)
        })
        .await?;
    announce(ws);
    Ok(results)
}

/// Makes a new link for an open or ended invitation and ends the old one.
async fn invite_again(web: &Web, ws: &Admin, id: InvitationId, by: By) -> Result<Invited, Problem> {
    let (act, control, external) = (Act::of(ws), web.control.clone(), web.external.clone());
    let invited = web
        .control
        .change(act.note(Action::InvitationSent, id), move |tx| {
            let issued = control.invite_again(tx, act.by, act.workspace, id)?;
            hand_over(&control, tx, &act, &external, issued, by)
        })
        .await?;
    announce(ws);
    Ok(invited)
}

/// Puts the mail with the link into the outbox, in the commit of the invitation; without a mail server the link itself
/// is the answer.
fn hand_over(
    control: &Control,
    tx: &mut ControlTx,
    act: &Act,
    external: &Url,
    issued: Issued,
    by: By,
) -> Result<Invited, IdentityError> {
    let Issued { id, replaces, email, role, token, ends } = issued;
    if let Some(mail) = replaces {
        recall(tx, mail)?;
    }
    let path = format!("/invite/{}", token.expose());
    let mut mailed = false;
    if by == By::Mail {
        let (workspace, invited_by) = (act.name.clone(), act.who(tx)?);
        let letter = Letter::InvitationSent { workspace, invited_by, role, link: path.clone(), ends };
        let mail = MailId::new(control.clock(), control.random());
        mailed = post_as(tx, control, mail, act.workspace, email.as_str(), &letter)?;
        if mailed {
            Control::mailed_invitation(tx, act.workspace, id, mail)?;
        }
    }
    let link = (!mailed).then(|| format!("{}{path}", external.as_str().trim_end_matches('/')));
    Ok(Invited { id, email, role, ends, link })
}

/// Either addresses and a role, or an invitation to send again. Posted to the address of the page itself, so that it
/// keeps itself fresh while its links are shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendForm {
    again: Option<InvitationId>,
    by: Option<By>,
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
        SendForm { again: Some(id), by, email: None, role: None } => {
            let mut outcome = Outcome::default();
            outcome.add(invite_again(&web, &ws, id, by.unwrap_or_default()).await?);
            outcome
        }
        SendForm { again: None, by: None, email: Some(email), role: Some(role) } => {
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
                Ok(invited) => outcome.add(invited),
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
            let row = control.withdraw_invitation(tx, act.by, act.workspace, id)?;
            if let Some(mail) = row.mail {
                recall(tx, mail)?;
            }
            Ok::<_, IdentityError>(())
        })
        .await?;
    announce(ws);
    Ok(())
}
