//! The job of a run: `send` has it sent once, then it is followed to its end. What was sent is asked for by its id
//! until it has ended, whatever restarts lie between.

use std::sync::Arc;
use std::time::Duration;

use super::notices;
use super::propose::announce;
use super::records::{CHANGE_SETS, RUNS, Run, RunKind, RunState};
use crate::ids::DeploymentId;
use crate::jobs::{JobCause, JobContext, JobError, Steps};
use crate::meter::{self, Act, Event, Feature};
use crate::orgs::{AccessError, Orgs, request_sync, session};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::wire::salesforce::deploy::{DeployResult, DeployStatus};
use crate::wire::salesforce::session::Session;
use crate::workspace::Worker;

/// Names of these kinds of jobs.
pub const DEPLOY: &str = "deployment.deploy";
pub const VALIDATE: &str = "deployment.validate";

/// Between two polls: from a fifth of a second up to this.
const PATIENT: Duration = Duration::from_secs(3);
/// Polls in a row that the network may spoil, half a minute apart at most.
const SPOILT: u32 = 40;

/// What a run works with.
pub(super) struct At {
    pub ws: Arc<Worker>,
    pub steps: Steps,
    pub session: Session,
    pub id: DeploymentId,
}

/// Validates or deploys: the row says which. A deployment goes on only with the bytes that a person approved.
pub async fn run(orgs: Orgs, job: JobContext) -> Result<(), JobError> {
    let id: DeploymentId =
        serde_json::from_value(job.args["run"].clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    let (ws, steps) = job.split();
    let hindered = ws.hindered();
    let ws = Arc::new(ws);
    let Some(run) = ws.read()?.get(&RUNS, &id)?.filter(|run| !run.state.is_over()) else { return Ok(()) };
    if let Some(why) = hindered.filter(|_| run.sent.is_none()) {
        return end(&ws, id, RunState::Stopped, format!("{why}. Nothing was sent."), None).await;
    }
    let session = match session(&orgs, &ws, run.org, format!("deployment {id}")) {
        Ok(session) => session,
        Err(AccessError::Store(e)) => return Err(e.into()),
        Err(error) if run.sent.is_none() => {
            return end(&ws, id, RunState::Stopped, format!("{error}. Nothing was sent."), None).await;
        }
        Err(error) => {
            let said = format!("{error}. It was sent, and how it ended is not known.");
            return end(&ws, id, RunState::Lost, said, None).await;
        }
    };
    let at = At { ws, steps, session, id };
    let org = run.org;
    let done = match (&run.salesforce, run.sent) {
        (Some(sent), _) => at.follow(sent.clone(), run.cancel_asked).await,
        (None, Some(_)) => at.lost(&run, "Vynos was stopped while it was being sent").await,
        (None, None) => at.send(run).await,
    };
    // However it went, the calls were made.
    let used = Event::new(at.ws.counted(), Feature::Deployments).org(Some(org));
    let used = used.count(Act::SalesforceCall, at.session.calls());
    let now = at.ws.clock().now();
    at.ws.note(move |tx| meter::record(tx, now, &used)).await?;
    done
}

impl At {
    /// Asks how it goes until it has ended.
    pub async fn follow(&self, salesforce: String, mut cancel: bool) -> Result<(), JobError> {
        let (mut pause, mut spoilt, mut told) = (Duration::from_millis(200), 0, false);
        let mut last: Option<DeployResult> = None;
        loop {
            if cancel && !told {
                told = true;
                // Refused when it is ending already: then its end is what counts.
                match self.session.cancel_deploy(&salesforce).await {
                    Ok(()) => self.phase("Cancelling").await?,
                    Err(error) => self.phase(&format!("It could not be cancelled: {error}")).await?,
                }
            }
            match self.session.deploy_status(&salesforce).await {
                Ok(result) if result.done => return self.ended(result).await,
                Ok(result) => {
                    spoilt = 0;
                    if last.as_ref() != Some(&result) {
                        let (phase, kept) = (phase(&result), bounded(result.clone()));
                        self.note(move |run| {
                            run.phase = phase;
                            run.result = Some(kept);
                        })
                        .await?;
                        last = Some(result);
                    }
                }
                Err(error) if error.may_pass() && spoilt < SPOILT => {
                    spoilt += 1;
                    pause = Duration::from_secs(u64::from(spoilt).min(30));
                    self.phase("Salesforce can’t be reached at the moment; it is asked again").await?;
                }
                Err(error) => {
                    let said = format!(
                        "{error}. It was sent, and how it ended is not known: look at Deployment Status in Setup \
                         ({salesforce}), then sync and compare."
                    );
                    return end(&self.ws, self.id, RunState::Lost, said, None).await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.steps.cancel.cancelled(), if !told => {
                    cancel = self.ws.read()?.get(&RUNS, &self.id)?.is_some_and(|run| run.cancel_asked);
                    // The process is stopping: the next one goes on asking.
                    if !cancel {
                        return Err(JobError::Cancelled);
                    }
                }
            }
            pause = (pause * 2).min(PATIENT);
        }
    }

    async fn ended(&self, result: DeployResult) -> Result<(), JobError> {
        let state = match result.status {
            DeployStatus::Canceled => RunState::Cancelled,
            _ if result.success => RunState::Succeeded,
            _ => RunState::Failed,
        };
        let deployed = state == RunState::Succeeded && self.read()?.kind == RunKind::Deploy;
        if deployed {
            self.sync().await?;
        }
        end(&self.ws, self.id, state, said(&result), Some(result)).await
    }

    /// It went out, and no answer came.
    pub async fn lost(&self, run: &Run, why: &str) -> Result<(), JobError> {
        let said = match run.kind {
            RunKind::Validate => format!(
                "No answer came back ({why}). A validation changes nothing in the org; validate again."
            ),
            RunKind::Deploy => {
                self.sync().await?;
                format!(
                    "No answer came back ({why}). Vynos sends a deployment once. The org is being synced: compare, and \
                     look at Deployment Status in Setup."
                )
            }
        };
        end(&self.ws, self.id, RunState::Lost, said, None).await
    }

    async fn sync(&self) -> Result<(), JobError> {
        let Ok(leave) = self.ws.processing() else { return Ok(()) };
        Ok(request_sync(&self.ws, self.read()?.org, leave).await?)
    }

    pub fn read(&self) -> Result<Run, JobError> {
        let run = self.ws.read()?.get(&RUNS, &self.id)?;
        run.ok_or_else(|| JobError::Fail("this run is gone".into()))
    }

    pub async fn phase(&self, phase: &str) -> Result<(), JobError> {
        let phase = phase.to_owned();
        self.note(move |run| {
            run.phase = phase;
            run.state = RunState::Running;
        })
        .await
    }

    pub async fn note(&self, change: impl FnOnce(&mut Run) + Send + 'static) -> Result<(), JobError> {
        let id = self.id;
        let noted = self.ws.note(move |tx| {
            let Some(mut run) = tx.get(&RUNS, &id)? else { return Ok(()) };
            change(&mut run);
            tx.put(&RUNS, &id, &run)?;
            announce(tx, run.change_set, run.org);
            Ok::<_, StoreError>(())
        });
        Ok(noted.await?)
    }

    pub async fn change(
        &self,
        action: Action,
        target: String,
        change: impl FnOnce(&mut Run) + Send + 'static,
    ) -> Result<(), JobError> {
        let id = self.id;
        let changed = self.ws.change(action, target, move |tx| {
            let Some(mut run) = tx.get(&RUNS, &id)? else { return Ok(()) };
            change(&mut run);
            tx.put(&RUNS, &id, &run)?;
            announce(tx, run.change_set, run.org);
            Ok::<_, StoreError>(())
        });
        Ok(changed.await?)
    }
}

/// What it does now, in words.
fn phase(result: &DeployResult) -> String {
    match (result.status, result.tests_total, result.components_total) {
        (DeployStatus::Pending, ..) => "Salesforce has queued it".into(),
        (DeployStatus::Canceling, ..) => "Cancelling".into(),
        (_, tests, _) if tests > 0 && result.components_deployed == result.components_total => {
            format!("Tests: {} of {tests}", result.tests_completed)
        }
        (_, _, 0) => "Salesforce is unpacking it".into(),
        (_, _, total) => format!("Components: {} of {total}", result.components_deployed),
    }
}

/// How it ended, in words: what Salesforce says of the whole.
fn said(result: &DeployResult) -> String {
    if result.success {
        return String::new();
    }
    let mut said: Vec<&str> = result.error_message.as_deref().into_iter().collect();
    said.extend(result.coverage_warnings.iter().map(String::as_str));
    said.join(" ")
}

/// What is kept of a result: an org may say much.
fn bounded(mut result: DeployResult) -> DeployResult {
    const MOST: usize = 1_000;
    const LONGEST: usize = 4_000;
    let cut = |text: &mut String| {
        if let Some((at, _)) = text.char_indices().nth(LONGEST) {
            text.truncate(at);
        }
    };
    result.component_failures.truncate(MOST);
    result.test_failures.truncate(MOST);
    result.coverage.truncate(MOST);
    result.coverage_warnings.truncate(MOST);
    result.component_failures.iter_mut().for_each(|f| cut(&mut f.message));
    result.coverage_warnings.iter_mut().for_each(cut);
    result.error_message.iter_mut().for_each(cut);
    for failure in &mut result.test_failures {
        cut(&mut failure.message);
        cut(&mut failure.stack);
    }
    result
}

pub(super) async fn end(
    ws: &Worker,
    id: DeploymentId,
    state: RunState,
    said: String,
    result: Option<DeployResult>,
) -> Result<(), JobError> {
    let (now, counted) = (ws.clock().now(), ws.counted());
    let cause = JobCause::of(ws);
    let ended = ws.change(Action::DeploymentEnded, format!("{id} {}", state.name()), move |tx| {
        let Some(mut run) = tx.get(&RUNS, &id)? else { return Ok(()) };
        if run.sent.is_some() && !run.state.is_over() {
            let act = match run.kind {
                RunKind::Deploy => Act::Deployment,
                RunKind::Validate => Act::Validation,
            };
            let used = Event::new(counted, Feature::Deployments).org(Some(run.org)).count(act, 1);
            meter::record(tx, now, &used)?;
        }
        run.state = state;
        run.said = said;
        run.phase = String::new();
        run.ended = Some(now);
        run.result = result.map(bounded).or(run.result);
        tx.put(&RUNS, &id, &run)?;
        if let Some(mut set) = tx.get(&CHANGE_SETS, &run.change_set)?
            && run.kind == RunKind::Validate
            && set.validation == Some(id)
        {
            let green = state == RunState::Succeeded && run.draft == set.draft;
            set.ready_until = run.holds_until().filter(|_| green);
            tx.put(&CHANGE_SETS, &run.change_set, &set)?;
        }
        notices::ended(tx, &cause, &run)?;
        announce(tx, run.change_set, run.org);
        Ok::<_, StoreError>(())
    });
    Ok(ended.await?)
}
