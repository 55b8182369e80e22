//! Sending a run: read what the org holds, make or take the package, hand it to Salesforce. That it is being sent is
//! committed before it is sent, so that no crash and no retry sends it a second time.

use std::sync::Arc;

use super::approve::{self, ApprovedBytes};
use super::package;
use super::present::{self, Present};
use super::propose::announce;
use super::records::{
    CHANGE_SETS, ChangeFile, RUNS, Run, RunKind, RunState, SNAPSHOTS, VALIDATION_LIFE, files,
};
use super::watch::{At, end};
use crate::ids::DeploymentId;
use crate::jobs::JobError;
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::wire::salesforce::SalesforceError;
use crate::wire::salesforce::deploy::TestLevel;
use crate::workspace::Change;

/// The runner gives a job this many tries.
const TRIES: u32 = 5;

/// What is sent.
enum Package {
    /// Check only.
    Drafted(Vec<u8>),
    /// For real: only a person's approval makes these.
    Approved(ApprovedBytes),
}

impl At {
    /// Sends it, then follows it.
    pub async fn send(&self, run: Run) -> Result<(), JobError> {
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
        drafted: Vec<(String, ChangeFile)>,
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

fn keep(tx: &mut Change<'_>, id: DeploymentId, present: Present) -> Result<(), StoreError> {
    for (path, snapshot) in present {
        tx.put(&SNAPSHOTS, &(id, path), &snapshot)?;
    }
    Ok(())
}
