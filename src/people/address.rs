//! A change of the e-mail address: the person proves themselves, the new address confirms, the old one can stop it.
//! Nothing says whether somebody else has the new address.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::account::confirm;
use crate::identity::address::{AddressChange, End, masked};
use crate::identity::control::Note;
use crate::identity::sessions::Origin;
use crate::identity::{Email, IdentityError};
use crate::ids::AccountId;
use crate::mail::{self, Letter};
use crate::notifications::{self, Kind, Notice};
use crate::store::audit::{Action, Actor};
use crate::web::form::OpenForm;
use crate::web::page::render_with;
use crate::web::problem::FieldError;
use crate::web::{Blank, Me, PostForm, Problem, Shell, Visitor, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/address", web::get().to(show))
        .route("/account/address", web::post().to(ask))
        .route("/address/{token}", web::get().to(look))
        .route("/address/{token}", web::post().to(act));
}

#[derive(Template)]
#[template(path = "people/address.html")]
struct AddressPage {
    shell: Shell,
    errors: Vec<FieldError>,
    email: String,
    /// What was asked for just now.
    asked: Option<Sent>,
}

struct Sent {
    to: String,
    /// Without a mail server: the link, for whoever reads that mailbox.
    link: Option<String>,
}

#[derive(Template)]
#[template(path = "people/address_link.html")]
struct LinkPage {
    shell: Blank,
    token: String,
    change: AddressChange,
    end: End,
}

#[derive(Template)]
#[template(path = "people/address_done.html")]
struct DonePage {
    shell: Blank,
    /// What is so now; `None` = the link opened nothing.
    done: Option<(&'static str, String)>,
}

async fn show(web: web::Data<Web>, me: Me) -> Result<HttpResponse, Problem> {
    let shell = Shell::account(&web, &me, "Change e-mail address")?;
    page::render(&AddressPage { shell, errors: Vec::new(), email: String::new(), asked: None })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskForm {
    email: String,
    password: String,
}

async fn ask(
    web: web::Data<Web>,
    me: Me,
    visitor: Visitor,
    PostForm(form): PostForm<AskForm>,
) -> Result<HttpResponse, Problem> {
    let email = form.email.clone();
    let asked = async {
        let to = email.parse::<Email>().map_err(|e| Problem::field("email", e.to_string()))?;
        if to.key() == me.person().email.key() {
            return Err(Problem::field("email", "This is your address already."));
        }
        confirm(&web, &me, &visitor.origin, form.password).await?;
        begin(&web, &me, &visitor.origin, to).await
    };
    let shell = Shell::account(&web, &me, "Change e-mail address")?;
    match asked.await {
        Ok(sent) => page::render(&AddressPage { shell, errors: Vec::new(), email, asked: Some(sent) }),
        Err(Problem::Invalid(errors)) => {
            let page = AddressPage { shell, errors, email, asked: None };
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(other) => Err(other),
    }
}

async fn begin(web: &web::Data<Web>, me: &Me, from: &Origin, to: Email) -> Result<Sent, Problem> {
    let (control, id, old) = (web.control.clone(), me.account(), me.person().email.clone());
    let note = Note::new(me.actor(), Action::AccountAddressAsked, id).asked_by(from.request);
    let new = to.clone();
    let (links, mailed) = web
        .control
        .change(note, move |tx| {
            let links = control.ask_address(tx, id, new.clone())?;
            let letter = Letter::MailChangeNotice {
                new_address_masked: masked(&new),
                at: control.clock().now(),
                link: format!("/address/{}", links.stop.expose()),
            };
            let mailed = mail::post(tx, &control, old.as_str(), &letter)?;
            if links.free {
                let link = format!("/address/{}", links.confirm.expose());
                let letter = Letter::MailChangeConfirm { link, ends: links.ends };
                mail::post(tx, &control, new.as_str(), &letter)?;
            }
            let title = format!("A change of your e-mail address to {} was asked for", masked(&new));
            let notice = Notice::new(Kind::SecurityChanged, title, "/account/address");
            notifications::tell(tx, &control, id, notice)?;
            Ok::<_, IdentityError>((links, mailed))
        })
        .await
        .map_err(|error| match error {
            IdentityError::Invalid(message) => Problem::field("email", message),
            other => other.into(),
        })?;
    let link = web.external.join(&format!("/address/{}", links.confirm.expose()));
    let link = (!mailed).then_some(link).transpose().map_err(|e| Problem::Broken(e.to_string()))?;
    Ok(Sent { to: to.to_string(), link: link.map(|url| url.to_string()) })
}

/// What a link is about; every wrong one makes the next try of this address wait longer.
fn opened(web: &Web, from: &Origin, token: &str) -> Result<Option<(AccountId, AddressChange, End)>, Problem> {
    let key = format!("address link {}", from.address);
    web.throttle.check(&key)?;
    match web.control.address_change(token) {
        Ok(found) => Ok(Some(found)),
        Err(IdentityError::NoSuchLink) => {
            web.throttle.failed(&key);
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

fn gone(web: &Web) -> Result<HttpResponse, Problem> {
    let shell = Blank::new(web, "E-mail address");
    render_with(StatusCode::NOT_FOUND, &DonePage { shell, done: None })
}

async fn look(
    web: web::Data<Web>,
    visitor: Visitor,
    token: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let Some((_, change, end)) = opened(&web, &visitor.origin, &token)? else { return gone(&web) };
    let shell = Blank::new(&web, "E-mail address");
    page::render(&LinkPage { shell, token: token.into_inner(), change, end })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn act(
    web: web::Data<Web>,
    visitor: Visitor,
    token: web::Path<String>,
    OpenForm(_): OpenForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let Some((id, _, end)) = opened(&web, &visitor.origin, &token)? else { return gone(&web) };
    let action = match end {
        End::New => Action::AccountAddressChanged,
        End::Old => Action::AccountAddressKept,
    };
    let (control, token) = (web.control.clone(), token.into_inner());
    let note = Note::new(Actor::Visitor, action, id).asked_by(visitor.origin.request);
    let done = web.control.change(note, move |tx| {
        let (id, change, end) = control.use_address_link(tx, &token)?;
        let title = match end {
            End::New => "Your e-mail address was changed",
            End::Old => "The change of your e-mail address was stopped; all sessions ended",
        };
        notifications::tell(tx, &control, id, Notice::new(Kind::SecurityChanged, title, "/account/profile"))?;
        Ok::<_, IdentityError>((change, end))
    });
    let shell = Blank::new(&web, "E-mail address");
    match done.await {
        Ok((change, End::New)) => {
            page::render(&DonePage { shell, done: Some(("This is your address now", change.to.to_string())) })
        }
        Ok((change, End::Old)) => {
            let done = Some(("Your address stays as it was", change.from.to_string()));
            page::render(&DonePage { shell, done })
        }
        Err(IdentityError::NoSuchLink) => gone(&web),
        Err(IdentityError::AddressTaken) => Err(Problem::Conflict(
            "The old address belongs to another account by now. Nothing was changed; ask the operator of this instance."
                .into(),
        )),
        Err(other) => Err(other.into()),
    }
}
