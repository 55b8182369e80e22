//! What reaches a person, and how: one form of kinds by channel.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::kinds::{Choice, Choices, Kind};
use super::records::{NOTICE_CHOICES, choices};
use crate::identity::Role;
use crate::identity::control::Note;
use crate::mail::MailServer;
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::web::page::see_other;
use crate::web::{Me, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/notifications", web::get().to(show))
        .route("/account/notifications", web::post().to(save));
}

struct Row {
    kind: Kind,
    name: String,
    choice: Choice,
}

#[derive(Template)]
#[template(path = "notifications/preferences.html")]
struct PreferencesPage {
    shell: Shell,
    rows: Vec<Row>,
    saved: bool,
    /// Mails can leave this instance.
    mail: bool,
}

#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    saved: bool,
}

async fn show(
    web: web::Data<Web>,
    mail: web::Data<MailServer>,
    me: Me,
    query: web::Query<Saved>,
) -> Result<HttpResponse, Problem> {
    let shell = Shell::account(&web, &me, "Notifications")?;
    let chosen = choices(&web.control.read()?, me.account())?;
    let rows =
        kinds(&web, &me)?.into_iter().map(|kind| Row { kind, name: kind.name(), choice: chosen.of(kind) });
    page::render(&PreferencesPage {
        shell,
        rows: rows.collect(),
        saved: query.saved,
        mail: mail.configured()?,
    })
}

/// The kinds that this person can get in one of their workspaces.
fn kinds(web: &Web, me: &Me) -> Result<Vec<Kind>, StoreError> {
    let highest = web.control.workspaces_of(me.account())?.into_iter().map(|(_, _, role)| role).max();
    let can = |kind: &Kind| kind.least_role().is_none_or(|least: Role| highest.is_some_and(|h| h >= least));
    Ok(Kind::ALL.iter().copied().filter(can).collect())
}

/// A ticked box is sent as `KIND.app` or `KIND.mail`; one that is not ticked is not sent.
async fn save(
    web: web::Data<Web>,
    me: Me,
    PostForm(ticked): PostForm<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    let shown = kinds(&web, &me)?;
    let mut known: Vec<String> = Vec::new();
    for kind in shown.iter().filter(|kind| !kind.is_security()) {
        known.extend(["app", "mail"].map(|channel| format!("{}.{channel}", kind.name())));
    }
    if ticked.iter().any(|(name, _)| !known.contains(name)) {
        return Err(Problem::field("", "The form holds a field that this page does not have."));
    }
    let account = me.account();
    web.control
        .change(Note::new(me.actor(), Action::NotificationsChosen, account), move |tx| {
            let mut chosen: Choices = tx.get(&NOTICE_CHOICES, &account)?.unwrap_or_default();
            for kind in shown {
                let on = |channel: &str| {
                    let name = format!("{}.{channel}", kind.name());
                    ticked.iter().any(|(ticked, _)| *ticked == name)
                };
                chosen.set(kind, Choice { app: on("app"), mail: on("mail") });
            }
            tx.put(&NOTICE_CHOICES, &account, &chosen)
        })
        .await?;
    Ok(see_other("/account/notifications?saved=true"))
}
