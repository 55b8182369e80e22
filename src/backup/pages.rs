//! Backups, for operators: the plan, a button, and how the last ones went.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::keeper::{Doing, Keeper, folder};
use super::plan::{PLAN, Plan, Run, Standing, moment, runs};
use crate::identity::control::Note;
use crate::store::Read as _;
use crate::store::audit::Action;
use crate::web::access::request_id;
use crate::web::page::{render_with, see_other, size};
use crate::web::problem::FieldError;
use crate::web::{Operator, PostForm, Problem, Shell, Web, page};

/// Runs on the page.
const SHOWN: usize = 30;
/// How far apart backups may be, in hours.
const APART: [u8; 4] = [24, 12, 6, 1];

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/backups", web::get().to(show))
        .route("/admin/backups", web::post().to(save))
        .route("/admin/backups/now", web::post().to(now))
        .route("/admin/backups/off", web::post().to(off));
}

/// The form, as typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    folder: String,
    time: String,
    every_hours: String,
    keep: String,
    keep_days: String,
}

impl Typed {
    fn of(plan: Option<&Plan>) -> Self {
        Self {
            folder: plan.map(|plan| plan.folder.clone()).unwrap_or_default(),
            time: plan.map_or_else(|| "03:00".into(), |plan| format!("{:02}:{:02}", plan.hour, plan.minute)),
            every_hours: plan.map_or(24, |plan| plan.every_hours).to_string(),
            keep: plan.map_or(14, |plan| plan.keep).to_string(),
            keep_days: plan.map_or(0, |plan| plan.keep_days).to_string(),
        }
    }

    /// The plan that this form makes, or what is wrong at which field. Looks at the folder, so it blocks.
    fn read(&self, web: &Web) -> Result<Plan, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong =
            |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
        let place = self.folder.trim().to_owned();
        let usable = folder(&place, web.pool.data().root()).and_then(|found| {
            // Only writing tells whether we may write there.
            let probe = found.join(format!(".vynos-{}", std::process::id()));
            std::fs::write(&probe, b"")?;
            Ok(std::fs::remove_file(&probe)?)
        });
        if let Err(error) = usable {
            wrong("folder", format!("Backups can\u{2019}t be kept there: {error}."));
        }
        let time: Option<jiff::civil::Time> = self.time.trim().parse().ok();
        if time.is_none() {
            wrong("time", "Enter a time of day such as 03:00.".into());
        }
        let time = time.unwrap_or_default();
        let every_hours = self.every_hours.parse().ok().filter(|hours| APART.contains(hours));
        if every_hours.is_none() {
            wrong("every_hours", "Choose how often.".into());
        }
        let mut number = |field: &str, typed: &str, least: u32, most: u32| {
            typed.trim().parse().ok().filter(|n| (least..=most).contains(n)).unwrap_or_else(|| {
                wrong(field, format!("Enter a whole number from {least} to {most}."));
                least
            })
        };
        let keep = number("keep", &self.keep, 1, 1_000);
        let keep_days = number("keep_days", &self.keep_days, 0, 3_650);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Plan {
            folder: place,
            hour: time.hour(),
            minute: time.minute(),
            every_hours: every_hours.unwrap_or(24),
            keep,
            keep_days,
            since: web.clock.now(),
        })
    }
}

#[derive(Template)]
#[template(path = "backup/backups.html")]
struct BackupsPage {
    shell: Shell,
    typed: Typed,
    errors: Vec<FieldError>,
    saved: bool,
    planned: bool,
    next: Option<String>,
    standing: Standing,
    doing: Option<String>,
    runs: Vec<Run>,
}

impl BackupsPage {
    fn new(web: &Web, keeper: &Keeper, me: &Operator, typed: Option<Typed>) -> Result<Self, Problem> {
        let (read, now) = (web.control.read()?, web.clock.now());
        let plan = read.get(&PLAN, &0)?;
        Ok(Self {
            shell: Shell::account(web, me, "Backups")?,
            typed: typed.unwrap_or_else(|| Typed::of(plan.as_ref())),
            errors: Vec::new(),
            saved: false,
            planned: plan.is_some(),
            next: plan.and_then(|plan| plan.next(now)).map(moment),
            standing: Standing::of(&read, now)?,
            doing: keeper.doing().map(said),
            runs: runs(&read, SHOWN)?,
        })
    }

    fn is_wrong(&self) -> bool {
        matches!(self.standing, Standing::Failed { .. } | Standing::Old { .. })
    }
}

fn said(doing: Doing) -> String {
    match doing {
        Doing::ReadingBack(at) => format!("It is written and is being read back: {}.", size(at.bytes)),
        Doing::Writing(at) if at.of > 0 => {
            format!("A backup is being made: {} of {} workspaces, {}.", at.workspaces, at.of, size(at.bytes))
        }
        Doing::Writing(_) => "A backup is being made.".into(),
    }
}

#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    saved: bool,
}

async fn show(
    web: web::Data<Web>,
    keeper: web::Data<Keeper>,
    me: Operator,
    query: web::Query<Saved>,
) -> Result<HttpResponse, Problem> {
    page::render(&BackupsPage { saved: query.saved, ..BackupsPage::new(&web, &keeper, &me, None)? })
}

async fn save(
    web: web::Data<Web>,
    keeper: web::Data<Keeper>,
    me: Operator,
    request: actix_web::HttpRequest,
    PostForm(typed): PostForm<Typed>,
) -> Result<HttpResponse, Problem> {
    let (state, asked) = (web.clone(), request_id(&request));
    let note = Note::new(me.actor(), Action::BackupPlanChanged, "plan").asked_by(asked);
    let (typed, read) = web::block(move || {
        let read = typed.read(&state);
        let kept = match read {
            Ok(plan) => state.control.change_now(note, |tx| tx.put(&PLAN, &0, &plan)).map(|()| Ok(())),
            Err(errors) => Ok(Err(errors)),
        };
        (typed, kept)
    })
    .await?;
    if let Err(errors) = read? {
        let view = BackupsPage { errors, ..BackupsPage::new(&web, &keeper, &me, Some(typed))? };
        return render_with(StatusCode::UNPROCESSABLE_ENTITY, &view);
    }
    Ok(see_other("/admin/backups?saved=true"))
}

/// A form that is only a button.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn now(keeper: web::Data<Keeper>, me: Operator, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    if !keeper.may_begin()? {
        return Err(Problem::Conflict(
            "Nothing was begun: a backup is being made already, or no folder is set. See Instance, Backups."
                .into(),
        ));
    }
    let (keeper, account) = (keeper.clone(), me.account());
    // It goes on when the page is left; the page shows how far it is.
    drop(tokio::task::spawn_blocking(move || {
        if let Err(error) = keeper.back_up(Some(account)) {
            tracing::error!(%error, "a backup that was asked for was not made");
        }
    }));
    Ok(see_other("/admin/backups"))
}

async fn off(
    web: web::Data<Web>,
    me: Operator,
    request: actix_web::HttpRequest,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (state, asked) = (web.clone(), request_id(&request));
    let note = Note::new(me.actor(), Action::BackupPlanChanged, "none").asked_by(asked);
    web::block(move || state.control.change_now(note, |tx| tx.remove(&PLAN, &0).map(|_| ()))).await??;
    Ok::<_, Problem>(see_other("/admin/backups"))
}
