//! The limits of a workspace: what holds, what is wanted, and exactly what that would take before it is saved. Owners set
//! them, admins read.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;

use super::due::{Amount, Going};
use crate::identity::Role;
use crate::jobs::JobCause;
use crate::mail::Letter;
use crate::notifications::{self, Audience, Kind, Notice};
use crate::store::StoreError;
use crate::store::audit::Action;
use crate::web::page::{grouped, render_with, see_other, size};
use crate::web::problem::FieldError;
use crate::web::{Confirmed, Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::retention::{self, AUDIT_DAYS, Limits, MOST_DAYS, RETENTION, Retention};
use crate::workspace::{Admin, Owner};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/privacy/retention", web::get().to(show))
        .route("/w/{workspace}/privacy/retention", web::post().to(save));
}

/// The form as typed; an empty number of days keeps for ever.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    conversations: String,
    #[serde(default)]
    documents: String,
    #[serde(default)]
    versions: String,
    #[serde(default)]
    audit: String,
}

impl Typed {
    fn of(limits: Limits) -> Self {
        let days = |limit: Option<u32>| limit.map(|days| days.to_string()).unwrap_or_default();
        Self {
            conversations: days(limits.conversations),
            documents: days(limits.documents),
            versions: days(limits.versions),
            audit: limits.audit.to_string(),
        }
    }

    fn limits(&self) -> Result<Limits, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut days = |field: &str, text: &str, least: u32| match text.trim() {
            "" => None,
            text => {
                let days = text.parse().ok().filter(|days| (least..=MOST_DAYS).contains(days));
                if days.is_none() {
                    let message = format!("Enter whole days from {least} to {MOST_DAYS}.");
                    errors.push(FieldError { field: field.into(), message });
                }
                days
            }
        };
        let limits = Limits {
            conversations: days("conversations", &self.conversations, 1),
            documents: days("documents", &self.documents, 1),
            versions: days("versions", &self.versions, 1),
            audit: days("audit", &self.audit, AUDIT_DAYS).unwrap_or(AUDIT_DAYS),
        };
        if errors.is_empty() { Ok(limits) } else { Err(errors) }
    }
}

/// What a limit takes, in words.
struct Row {
    what: &'static str,
    amount: Amount,
}

impl Row {
    fn oldest(&self) -> String {
        self.amount.oldest.map(date).unwrap_or_default()
    }
}

struct Preview {
    rows: Vec<Row>,
    names: Vec<String>,
    /// When it would go.
    at: String,
    /// It begins later than the moment it is saved.
    waits: bool,
}

#[derive(Template)]
#[template(path = "retention/limits.html")]
struct LimitsPage {
    shell: Shell,
    slug: String,
    owner: bool,
    errors: Vec<FieldError>,
    typed: Typed,
    /// What holds now, in sentences.
    holds: Vec<String>,
    /// What will hold, and from when.
    coming: Option<(String, Vec<String>)>,
    preview: Option<Preview>,
}

async fn show(
    web: web::Data<Web>,
    me: Me,
    ws: Admin,
    request: actix_web::HttpRequest,
    typed: web::Query<Typed>,
) -> Result<HttpResponse, Problem> {
    let asked = !request.query_string().is_empty();
    let wanted = if asked { Some(typed.limits()) } else { None };
    let mut view = view(&web, &me, &ws)?;
    match wanted {
        None => page::render(&view),
        Some(Err(errors)) => {
            (view.errors, view.typed) = (errors, typed.into_inner());
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &view)
        }
        Some(Ok(limits)) => {
            view.typed = Typed::of(limits);
            let (control, now, by) = (web.control.clone(), web.clock.now(), me.account());
            let preview = web::block(move || -> Result<_, StoreError> {
                let held = retention::in_force(&ws.read()?, now)?;
                let applies = Retention::new(limits, held, now, by).applies;
                let going = Going::of(&ws, limits, applies, &control.restricted_accounts()?)?;
                Ok(preview(going, applies, applies > now))
            });
            view.preview = Some(preview.await??);
            page::render(&view)
        }
    }
}

fn view(web: &Web, me: &Me, ws: &Admin) -> Result<LimitsPage, Problem> {
    let slug = ws.row().slug.clone();
    let (kept, now) = (retention::kept(&ws.read()?)?, web.clock.now());
    let held = kept.map(|kept| kept.in_force(now)).unwrap_or_default();
    let wanted = kept.map(|kept| kept.limits).unwrap_or_default();
    let coming = kept.filter(|kept| kept.applies > now && kept.limits != held);
    let shell = Shell::workspace(web, me, ws, "Retention", "members")?;
    Ok(LimitsPage {
        shell: shell.under(vec![Crumb::new("Data and privacy", format!("/w/{slug}/privacy"))]),
        owner: ws.role() == Role::Owner,
        errors: Vec::new(),
        typed: Typed::of(wanted),
        holds: sentences(held),
        coming: coming.map(|kept| (date(kept.applies), sentences(kept.limits))),
        preview: None,
        slug,
    })
}

fn preview(going: Going, at: Timestamp, waits: bool) -> Preview {
    let rows = vec![
        Row { what: "Chats", amount: going.conversations },
        Row { what: "Documents", amount: going.documents },
        Row { what: "Older versions of components", amount: going.versions },
        Row { what: "Audit lines", amount: going.audit },
    ];
    Preview { rows, names: going.names, at: date(at), waits }
}

fn date(at: Timestamp) -> String {
    at.strftime("%-d %B %Y").to_string()
}

/// What limits do, each as a sentence.
fn sentences(limits: Limits) -> Vec<String> {
    let mut said = Vec::new();
    said.push(match limits.conversations {
        Some(days) => {
            format!("Chats go {days} days after something was said in them last. Pinned chats stay.")
        }
        None => "Chats stay until their owner deletes them.".into(),
    });
    said.push(match limits.documents {
        Some(days) => format!("Documents go {days} days after their upload."),
        None => "Documents stay until somebody deletes them.".into(),
    });
    said.push(match limits.versions {
        Some(days) => format!(
            "Versions of components go after {days} days; the newest version of each component stays."
        ),
        None => "Every version of every component stays.".into(),
    });
    said.push(format!("Audit lines stay for at least {} days.", limits.audit));
    said
}

async fn save(
    web: web::Data<Web>,
    ws: Owner,
    me: Confirmed,
    PostForm(typed): PostForm<Typed>,
) -> Result<HttpResponse, Problem> {
    let limits = match typed.limits() {
        Ok(limits) => limits,
        Err(errors) => {
            let view = LimitsPage { errors, typed, ..view(&web, &me, &ws)? };
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &view);
        }
    };
    let (now, by, cause) = (web.clock.now(), me.account(), JobCause::of(&ws));
    let days = |limit: Option<u32>| limit.map_or_else(|| "none".to_owned(), |days| days.to_string());
    let target = format!(
        "chats {}, documents {}, versions {}, audit {}",
        days(limits.conversations),
        days(limits.documents),
        days(limits.versions),
        limits.audit
    );
    ws.change::<_, StoreError>(Action::RetentionChanged, target, move |tx| {
        let held = retention::in_force(&**tx, now)?;
        let kept = Retention::new(limits, held, now, by);
        tx.put(&RETENTION, &0, &kept)?;
        if limits != held {
            notifications::raise(tx, &cause, Audience::Everyone, told(&kept))?;
        }
        Ok(())
    })
    .await?;
    Ok(see_other(&format!("/w/{}/privacy/retention", ws.row().slug)))
}

/// What members are told before new limits begin.
fn told(kept: &Retention) -> Notice {
    let (before, now) = (sentences(kept.before), sentences(kept.limits));
    let new: Vec<String> = now.into_iter().filter(|said| !before.contains(said)).collect();
    let what = format!("From {} on: {}", date(kept.applies), new.join(" "));
    let letter = Letter::PolicyChanged {
        workspace: String::new(),
        what: what.clone(),
        changed_by: String::new(),
        link: "knowledge".into(),
    };
    let title = "How long chats and documents are kept changes";
    let notice = Notice::new(Kind::PolicyChanged, title, "knowledge").body(what).letter(letter);
    Notice { by: Some(kept.by), ..notice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_audit_lines_stay_a_year() {
        let typed = |conversations: &str, audit: &str| Typed {
            conversations: conversations.into(),
            audit: audit.into(),
            ..Typed::default()
        };
        assert_eq!(typed("", "").limits().unwrap(), Limits::default());
        assert_eq!(typed(" 90 ", "730").limits().unwrap().conversations, Some(90));
        for (conversations, audit) in [("0", ""), ("1.5", ""), ("-3", ""), ("3651", ""), ("", "364")] {
            assert_eq!(typed(conversations, audit).limits().unwrap_err().len(), 1, "{conversations} {audit}");
        }
    }
}
