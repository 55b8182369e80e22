//! The job of a run: read what the org holds, send the package once, follow it to its end. That it is being sent
//! is committed before it is sent, so that no crash and no retry sends it a second time; what was sent is asked
//! for by its id until it has ended.

use std::sync::Arc;
use std::time::Duration;

use super::approve::{self, ApprovedBytes};
use super::package;
use super::present::{self, Present};
use super::propose::announce;
use super::records::{CHANGE_SETS, RUNS, Run, RunKind, RunState, SNAPSHOTS, VALIDATION_LIFE, files};
use crate::ids::DeploymentId;
use crate::jobs::{JobContext, JobError, Steps};
use crate::orgs::{AccessError, Orgs, request_sync, session};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::wire::salesforce::SalesforceError;
use crate::wire::salesforce::deploy::{DeployResult, DeployStatus, TestLevel};
use crate::wire::salesforce::session::Session;
use crate::workspace::Worker;

/// Names of these kinds of jobs.
pub const DEPLOY: &str = "deployment.deploy";
pub const VALIDATE: &str = "deployment.validate";

/// Between two polls: from a fifth of a second up to this.
const PATIENT: Duration = Duration::from_secs(3);
/// Polls in a row that the network may spoil, half a minute apart at most.
const SPOILT: u32 = 40;
/// The runner gives a job this many tries.
const TRIES: u32 = 5;

/// What a run works with.
struct At {
    ws: Arc<Worker>,
    steps: Steps,
    session: Session,
    id: DeploymentId,
}

/// Validates or deploys: the row says which. A deployment goes on only with the bytes that a person approved.
pub async fn run(orgs: Orgs, job: JobContext) -> Result<(), JobError> {
    let id: DeploymentId =
        serde_json::from_value(job.args["run"].clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    let (ws, steps) = job.split();
    let restricted = ws.is_restricted();
    let ws = Arc::new(ws);
    let Some(run) = ws.read()?.get(&RUNS, &id)?.filter(|run| !run.state.is_over()) else { return Ok(()) };
    if restricted && run.sent.is_none() {
        let said = "Processing in this workspace is restricted. Nothing was sent.";
        return end(&ws, id, RunState::Stopped, said.into(), None).await;
    }
    let session = match session(&orgs, &ws, run.org, format!("deployment {id}")) {
        Ok(session) => session,
        Err(AccessError::Store(e)) => return Err(e.into()),
        Err(error) => {
            return end(&ws, id, RunState::Stopped, format!("{error}. Nothing was sent."), None).await;
        }
    };
    let at = At { ws, steps, session, id };
    match (&run.salesforce, run.sent) {
        (Some(sent), _) => at.follow(sent.clone(), run.cancel_asked).await,
        (None, Some(_)) => at.lost(&run, "Vynos was stopped while it was being sent").await,
        (None, None) => at.send(run).await,
    }
}

/// What is sent.
enum Package {
    /// Check only.
    Drafted(Vec<u8>),
    /// For real: only a person's approval makes these.
    Approved(ApprovedBytes),
}

impl At {
    async fn send(&self, run: Run) -> Result<(), JobError> {
        self.phase("Reading what is in the org").await?;
        let drafted = files(&self.ws.read()?, run.change_set)?;
        let present = match present::fetch(&self.session, &drafted, &self.steps).await {
            Ok(present) => present,
            Err(error) => return self.unsent(error).await,
        };
        let package = match run.kind {
            RunKind::Validate => self.draft(&run, drafted, present).await?,
            RunKind::Deploy => match self.approved(&run, present).await? {
                Ok(bytes) => Package::Approved(bytes),
                Err(said) => return end(&self.ws, self.id, RunState::Stopped, said, None).await,
            },
        };
        if !self.mark_sent().await? {
            let said = "It was cancelled before anything was sent.".to_owned();
            return end(&self.ws, self.id, RunState::Cancelled, said, None).await;
        }
        match self.submit(&run, package).await {
            Ok(salesforce) => {
                let (id, kept) = (self.id, salesforce.clone());
                self.change(Action::DeploymentSubmitted, format!("{id} {kept}"), move |run| {
                    run.salesforce = Some(kept);
                    run.phase = "Salesforce has it".into();
                })
                .await?;
                self.follow(salesforce, false).await
            }
            Err(SalesforceError::AnswerLost(why)) => self.lost(&run, &why).await,
            Err(error) => {
                // Salesforce has not taken it: it may be sent again.
                self.note(|run| run.sent = None).await?;
                self.unsent(JobFault::Salesforce(error)).await
            }
        }
    }

    /// Makes the package of a draft and keeps it with what the org holds now.
    async fn draft(
        &self,
        run: &Run,
        drafted: Vec<(String, super::records::ChangeFile)>,
        present: Present,
    ) -> Result<Package, JobError> {
        let ws = Arc::clone(&self.ws);
        let made = tokio::task::spawn_blocking(move || {
            let zip = package::zip(&drafted, &present)?;
            let blob = ws.blobs().put(&zip).map_err(|e| format!("the package can't be kept: {e}"))?;
            Ok::<_, String>((zip, blob, present))
        });
        let (zip, blob, present) =
            made.await.map_err(|e| JobError::Retry(e.to_string()))?.map_err(JobError::Retry)?;
        let (id, hash, before) = (self.id, package::sha256(&zip), run.package.clone());
        self.ws
            .note(move |tx| {
                keep(tx, id, present)?;
                let Some(mut run) = tx.get(&RUNS, &id)? else { return Ok(()) };
                run.hash = Some(hash);
                run.package = Some(blob);
                tx.put(&RUNS, &id, &run)
            })
            .await?;
        if let Some(before) = before {
            // Of a try that was not sent.
            let ws = Arc::clone(&self.ws);
            let gone = tokio::task::spawn_blocking(move || ws.blobs().remove(&before)).await;
            gone.map_err(|e| JobError::Retry(e.to_string()))?.map_err(|e| JobError::Retry(e.to_string()))?;
        }
        Ok(Package::Drafted(zip))
    }

    /// The approved bytes, as long as the org still holds what it held at their validation.
    async fn approved(&self, run: &Run, present: Present) -> Result<Result<ApprovedBytes, String>, JobError> {
        let read = self.ws.read()?;
        let validation = read.get(&CHANGE_SETS, &run.change_set)?.and_then(|set| set.validation);
        let Some(validation) = validation else { return Ok(Err("It was not validated.".into())) };
        let mut moved = Vec::new();
        for (path, now) in &present {
            if read.get(&SNAPSHOTS, &(validation, path.clone()))?.as_ref() != Some(now) {
                moved.push(path.clone());
            }
        }
        drop(read);
        if !moved.is_empty() {
            return Ok(Err(format!(
                "Somebody changed this in the org after the validation: {}. Nothing was deployed. Validate again.",
                moved.join(", ")
            )));
        }
        let (ws, id, run) = (Arc::clone(&self.ws), self.id, run.clone());
        let bytes = tokio::task::spawn_blocking(move || approve::bytes(&ws, id, &run)).await;
        let bytes = match bytes.map_err(|e| JobError::Retry(e.to_string()))? {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Err(format!("Nothing was deployed: {why}."))),
        };
        self.ws.note(move |tx| keep(tx, id, present)).await?;
        Ok(Ok(bytes))
    }

    /// Commits that it is being sent; answers false when somebody cancelled it before.
    async fn mark_sent(&self) -> Result<bool, JobError> {
        let (id, now) = (self.id, self.ws.clock().now());
        let marked = self.ws.note(move |tx| {
            let Some(mut run) = tx.get(&RUNS, &id)?.filter(|run| !run.cancel_asked) else { return Ok(false) };
            run.sent = Some(now);
            run.state = RunState::Running;
            run.phase = "Sending the package".into();
            tx.put(&RUNS, &id, &run)?;
            announce(tx, run.change_set, run.org);
            Ok::<_, StoreError>(true)
        });
        Ok(marked.await?)
    }

    async fn submit(&self, run: &Run, package: Package) -> Result<String, SalesforceError> {
        let level = if run.tests.is_empty() {
            TestLevel::Default
        } else {
            TestLevel::RunSpecifiedTests(run.tests.clone())
        };
        match package {
            Package::Drafted(zip) => self.session.deploy(zip, true, &level).await,
            Package::Approved(bytes) => {
                if let Some(validated) = self.quick(run) {
                    match self.session.deploy_validated(&validated).await {
                        // Salesforce no longer keeps it: the same bytes go there again, with their tests.
                        Err(SalesforceError::Refused(_)) => {}
                        other => return other,
                    }
                }
                self.session.deploy(bytes.into_inner(), false, &level).await
            }
        }
    }

    /// The validation's id, when Salesforce may deploy from it: it ran tests and is young enough.
    fn quick(&self, run: &Run) -> Option<String> {
        let read = self.ws.read().ok()?;
        let validation = read.get(&CHANGE_SETS, &run.change_set).ok()??.validation?;
        let validation = read.get(&RUNS, &validation).ok()??;
        let tested = validation.result.is_some_and(|result| result.tests_total > 0);
        let young =
            validation.ended.is_some_and(|at| self.ws.clock().now().duration_since(at) < VALIDATION_LIFE);
        (tested && young && validation.hash == run.hash).then_some(validation.salesforce)?
    }

    /// Asks how it goes until it has ended.
    async fn follow(&self, salesforce: String, mut cancel: bool) -> Result<(), JobError> {
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
                        let (phase, kept) = (phase(&result), result.clone());
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
    async fn lost(&self, run: &Run, why: &str) -> Result<(), JobError> {
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
        Ok(request_sync(&self.ws, self.read()?.org).await?)
    }

    /// It could not be sent: tried again where that may help.
    async fn unsent(&self, fault: JobFault) -> Result<(), JobError> {
        match fault {
            JobFault::Job(JobError::Cancelled) if self.read()?.cancel_asked => {
                let said = "It was cancelled before anything was sent.".to_owned();
                end(&self.ws, self.id, RunState::Cancelled, said, None).await
            }
            JobFault::Job(error) => Err(error),
            JobFault::Salesforce(error) if error.may_pass() && self.steps.attempt < TRIES => {
                self.phase(&format!("Tried again in a moment: {error}")).await?;
                Err(JobError::Retry(error.to_string()))
            }
            JobFault::Salesforce(error) => {
                let said = format!("{error}. Nothing was changed in the org.");
                end(&self.ws, self.id, RunState::Failed, said, None).await
            }
        }
    }

    fn read(&self) -> Result<Run, JobError> {
        let run = self.ws.read()?.get(&RUNS, &self.id)?;
        run.ok_or_else(|| JobError::Fail("this run is gone".into()))
    }

    async fn phase(&self, phase: &str) -> Result<(), JobError> {
        let phase = phase.to_owned();
        self.note(move |run| {
            run.phase = phase;
            run.state = RunState::Running;
        })
        .await
    }

    async fn note(&self, change: impl FnOnce(&mut Run) + Send + 'static) -> Result<(), JobError> {
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

    async fn change(
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

/// What stops a run before it is sent.
pub(super) enum JobFault {
    Job(JobError),
    Salesforce(SalesforceError),
}

impl From<SalesforceError> for JobFault {
    fn from(error: SalesforceError) -> Self {
        Self::Salesforce(error)
    }
}

fn keep(tx: &mut crate::workspace::Change<'_>, id: DeploymentId, present: Present) -> Result<(), StoreError> {
    for (path, snapshot) in present {
        tx.put(&SNAPSHOTS, &(id, path), &snapshot)?;
    }
    Ok(())
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

async fn end(
    ws: &Worker,
    id: DeploymentId,
    state: RunState,
    said: String,
    result: Option<DeployResult>,
) -> Result<(), JobError> {
    let now = ws.clock().now();
    let ended = ws.change(Action::DeploymentEnded, format!("{id} {}", state.name()), move |tx| {
        let Some(mut run) = tx.get(&RUNS, &id)? else { return Ok(()) };
        run.state = state;
        run.said = said;
        run.phase = String::new();
        run.ended = Some(now);
        run.result = result.or(run.result);
        tx.put(&RUNS, &id, &run)?;
        announce(tx, run.change_set, run.org);
        Ok::<_, StoreError>(())
    });
    Ok(ended.await?)
}
