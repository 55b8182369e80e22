//! The page of a change set: steps, difference to the org, tests, coverage, runs. It follows its runs live.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use askama::Template;

use super::package::{Part, sha256};
use super::pages::{Place, address, found, name_of};
use super::propose::{base, synced};
use super::records::{ChangeFile, ChangeSet, Run, RunKind, RunState, SNAPSHOTS, files, runs_of, topic};
use super::state::{Stage, State, drifted, state};
use super::view::{self, CoverageRow, FileView, Step};
use super::{may_approve, may_release};
use crate::identity::Role;
use crate::ids::{ChangeSetId, OrgId};
use crate::orgs::records::{ORGS, Org, OrgKind};
use crate::orgs::shown;
use crate::store::{Read, StoreError};
use crate::web::diff::Remark;
use crate::web::{Crumb, Me, Problem, Shell, Web, page};
use crate::wire::salesforce::deploy::TestFailure;
use crate::workspace::Viewer;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/o/{org}/deployments/{change_set}", web::get().to(show));
}

struct RunRow {
    what: &'static str,
    state: &'static str,
    tone: &'static str,
    by: String,
    begun: String,
    said: String,
    salesforce: String,
}

/// What the person may do now.
#[derive(Default)]
struct May {
    edit: bool,
    validate: bool,
    cancel: bool,
    approve: bool,
    release: bool,
    discard: bool,
    roll_back: bool,
}

/// The sentence on top: what happened, and first what did not change.
struct Said {
    tone: &'static str,
    icon: &'static str,
    title: String,
    text: String,
}

#[derive(Template)]
#[template(path = "deployments/change_set.html")]
struct ChangeSetPage {
    shell: Shell,
    slug: String,
    base: String,
    topic: String,
    org: Org,
    production: bool,
    set: ChangeSet,
    stage: Stage,
    author: String,
    proposed: String,
    steps: [Step; 5],
    said: Option<Said>,
    beside: Vec<Remark>,
    drifted: Vec<String>,
    files: Vec<FileView>,
    latest: Option<Run>,
    phase: String,
    percent: u32,
    failures: Vec<(TestFailure, Option<u32>)>,
    passed: u32,
    coverage: Option<(u32, Vec<CoverageRow>)>,
    tests: String,
    hash: String,
    rolls_back: Option<ChangeSetId>,
    runs: Vec<RunRow>,
    may: May,
}

async fn show(web: web::Data<Web>, me: Me, ws: Viewer, place: Place) -> Result<HttpResponse, Problem> {
    let read = ws.read()?;
    let (org_id, org, id, set) = found(&read, &place)?;
    let now = ws.clock().now();
    let state = state(&read, id, &set, now)?;
    let drafted = files(&read, id)?;
    let drifted = drifted(&read, &set, &drafted, &state)?;
    let before = before(&read, &set, &drafted, &state)?;
    let latest = state.latest().map(|(_, run)| run.clone());
    let current = latest.clone().filter(|run| run.draft == set.draft);
    let (about, beside) = view::remarks(&set, &drafted, current.as_ref());
    let author = name_of(&web, set.author)?;
    let verified = verified(&read, org_id, &drafted, &state)?;
    let runs =
        runs_of(&read, id)?.into_iter().map(|(_, run)| run_row(&web, run)).collect::<Result<_, _>>()?;
    let rolls_back = match set.rolls_back {
        Some(run) => super::run(&read, run)?.map(|run| run.change_set),
        None => None,
    };
    drop(read);
    let files = web::block(move || view::files(drafted, &before, &about)).await?;
    // A quick deploy runs no tests again: those of its validation count.
    let tested = |run: &&Run| run.result.as_ref().is_some_and(|r| r.tests_total > 0);
    let validation = state.validation.as_ref().map(|(_, run)| run).filter(|run| run.draft == set.draft);
    let tests_of = current.as_ref().filter(tested).or(validation);
    let result = tests_of.and_then(|run| run.result.clone()).unwrap_or_default();
    let failures = result.test_failures.iter().map(|f| (f.clone(), view::line_in(&f.stack, &f.class)));
    let slug = ws.row().slug.clone();
    let section = format!("o/{}/deployments", org.slug);
    let mut shell = Shell::workspace(&web, &me, &ws, &set.title, &section)?;
    shell = shell.under(vec![
        Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug)),
        Crumb::new("Deployments", format!("/w/{slug}/{section}")),
    ]);
    page::render(&ChangeSetPage {
        shell,
        base: address(&place, id),
        topic: format!("{} org:{org_id}", topic(id)),
        production: org.kind == OrgKind::Production,
        stage: state.stage,
        proposed: shown(set.created),
        steps: view::steps(&set, &state, &author, verified),
        said: said(&set, &org, &state),
        phase: latest.as_ref().filter(|r| !r.state.is_over()).map(|r| r.phase.clone()).unwrap_or_default(),
        percent: latest.as_ref().map(percent).unwrap_or_default(),
        failures: failures.collect(),
        passed: result.tests_completed.saturating_sub(result.tests_errors),
        coverage: tests_of.and_then(view::coverage),
        tests: tests(&set, latest.as_ref()),
        hash: latest.as_ref().and_then(|r| r.hash.clone()).unwrap_or_else(|| set.hash.clone()),
        may: may(&ws, &set, &org, &state),
        slug,
        org,
        set,
        author,
        beside,
        drifted,
        files,
        latest,
        rolls_back,
        runs,
    })
}

/// What the difference is shown against: what the latest run read in the org, or else the last sync.
pub(super) fn before(
    read: &impl Read,
    set: &ChangeSet,
    drafted: &[(String, ChangeFile)],
    state: &State,
) -> Result<BTreeMap<String, Option<String>>, StoreError> {
    let run = state.deployment.as_ref().filter(|(_, run)| run.state == RunState::Succeeded);
    let run = run.or(state.validation.as_ref());
    let mut before = BTreeMap::new();
    for (path, _) in drafted {
        let kept = match run {
            Some((id, _)) => read.get(&SNAPSHOTS, &(*id, path.clone()))?,
            None => None,
        };
        let content = match kept {
            Some(snapshot) => snapshot.content,
            None => synced(read, set.org, path)?,
        };
        before.insert(path.clone(), content);
    }
    Ok(before)
}

/// Whether a sync after the deployment found these files; `None` before one has looked.
fn verified(
    read: &impl Read,
    org: OrgId,
    drafted: &[(String, ChangeFile)],
    state: &State,
) -> Result<Option<bool>, StoreError> {
    let ended = match &state.deployment {
        Some((_, run)) if state.stage == Stage::Deployed => run.ended,
        _ => return Ok(None),
    };
    let sync = read.get(&ORGS, &org)?.and_then(|org| org.last_sync);
    if sync.is_none_or(|sync| ended.is_none_or(|at| sync.at < at)) {
        return Ok(None);
    }
    for (path, file) in drafted {
        let Ok(part) = Part::of(path) else { continue };
        if part.is_meta {
            continue;
        }
        let stands = base(read, org, path)?;
        // A sync that had begun before the deployment ended saw what stood there before.
        if stands == file.base && file.content.is_some() {
            return Ok(None);
        }
        // Salesforce writes XML anew; Apex comes back as it went.
        let same = match &file.content {
            Some(content) if part.is_apex() => stands == Some(sha256(content.as_bytes())),
            Some(_) => stands.is_some(),
            None => stands.is_none(),
        };
        if !same {
            return Ok(Some(false));
        }
    }
    Ok(Some(true))
}

fn may(ws: &Viewer, set: &ChangeSet, org: &Org, state: &State) -> May {
    if ws.role() < Role::Member {
        return May::default();
    }
    let (stage, role, by) = (state.stage, ws.role(), ws.account());
    let open = !stage.busy() && !matches!(stage, Stage::Deployed | Stage::Discarded);
    let lost = state.deployment.as_ref().is_some_and(|(_, run)| run.state == RunState::Lost);
    let release = stage == Stage::Approved
        && state.approval.as_ref().is_some_and(|a| may_release(org, role, by, a.by()).is_ok());
    May {
        edit: open,
        validate: open,
        cancel: stage.busy(),
        approve: stage == Stage::Validated && may_approve(set, org, role, by).is_ok(),
        release,
        discard: open,
        roll_back: stage == Stage::Deployed || lost,
    }
}

fn said(set: &ChangeSet, org: &Org, state: &State) -> Option<Said> {
    let (_, run) = state.latest()?;
    let say = |tone, icon, title: String, text: String| Some(Said { tone, icon, title, text });
    match state.stage {
        Stage::DeployFailed if run.state == RunState::Lost => say(
            "bad",
            "circle-alert",
            format!("Whether {} has changed is not known.", org.name),
            run.said.clone(),
        ),
        Stage::ValidationFailed | Stage::DeployFailed => {
            let why = match run.result.as_ref().map(|r| (r.components_errors, r.tests_errors)) {
                Some((0, 1)) => "One test fails".to_owned(),
                Some((0, n)) if n > 1 => format!("{n} tests fail"),
                Some((1, _)) => "One component has an error".to_owned(),
                Some((n, _)) if n > 1 => format!("{n} components have errors"),
                _ if run.state == RunState::Cancelled => "It was cancelled".to_owned(),
                _ => "It did not succeed".to_owned(),
            };
            let title = format!("{why}, so nothing was changed in {}.", org.name);
            say("bad", "circle-alert", title, run.said.clone())
        }
        Stage::Validated | Stage::Approved => {
            let until = run.holds_until().map(|at| at.strftime("%-d %B").to_string()).unwrap_or_default();
            let next = match &state.approval {
                Some(approval) if state.stage == Stage::Approved => {
                    format!("The approval holds until {}.", shown(approval.until()))
                }
                _ => "Salesforce keeps this validation for 10 days.".to_owned(),
            };
            say("ok", "shield-check", format!("Ready to deploy until {until}."), next)
        }
        Stage::Deployed => say(
            "ok",
            "circle-check",
            format!("{} now holds these files.", org.name),
            "What stood there before is kept; one click drafts the way back.".into(),
        ),
        Stage::Outdated if run.draft != set.draft => say(
            "warn",
            "triangle-alert",
            "It was edited after its last validation.".into(),
            "Validate it again before it can be deployed.".into(),
        ),
        Stage::Expired => say(
            "warn",
            "triangle-alert",
            "The validation is older than 10 days.".into(),
            "Validate it again before it can be deployed.".into(),
        ),
        _ => None,
    }
}

fn run_row(web: &Web, run: Run) -> Result<RunRow, StoreError> {
    let tone = match run.state {
        RunState::Succeeded => "ok",
        RunState::Failed | RunState::Lost | RunState::Stopped => "bad",
        RunState::Cancelled | RunState::Queued | RunState::Running => "",
    };
    Ok(RunRow {
        what: match run.kind {
            RunKind::Deploy => "Deployment",
            RunKind::Validate => "Validation",
        },
        state: run.state.label(),
        tone,
        by: name_of(web, run.by)?,
        begun: shown(run.begun),
        said: if run.state.is_over() { run.said } else { run.phase },
        salesforce: run.salesforce.unwrap_or_default(),
    })
}

fn tests(set: &ChangeSet, run: Option<&Run>) -> String {
    let named = run.map_or(&set.tests, |run| &run.tests);
    if named.is_empty() { "By the org’s rule".into() } else { named.join(", ") }
}

/// How far a run is, in whole percent of components and tests.
fn percent(run: &Run) -> u32 {
    let Some(result) = &run.result else { return 0 };
    let total = result.components_total.saturating_add(result.tests_total).max(1);
    let done = result.components_deployed.saturating_add(result.tests_completed);
    (u64::from(done) * 100 / u64::from(total)).min(100).try_into().unwrap_or(100)
}
