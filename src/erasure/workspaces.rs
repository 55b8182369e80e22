//! Workspaces whose 30 days are over, step by step: Salesforce tokens revoked, audit lines copied to the control file, the
//! key destroyed, files unlinked, the control file cleaned. After each step its certificate says which one is next; a step
//! that was cut off is done again.

use std::sync::Arc;
use std::time::Duration;

use super::{AUDIT_KEPT, Eraser, ErasureError, blocking};
use crate::identity::control::Note;
use crate::identity::erasures::{Certificate, Removed, Step};
use crate::identity::memberships::WORKSPACES;
use crate::ids::{JobId, WorkspaceId};
use crate::mail::{self, Letter};
use crate::notifications::{self, Kind, Notice};
use crate::orgs;
use crate::store::audit::{AUDIT, AUDIT_CHECKPOINTS, Action, Actor};
use crate::store::{Read as _, StoreError};
use crate::workspace::Worker;

/// How long one org may take to revoke a token, and all of a workspace.
const REVOKING: Duration = Duration::from_secs(10);
const REVOKING_ALL: Duration = Duration::from_mins(1);
/// How long it waits for those who are still in the workspace, and how often it looks.
const LEAVING: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);
/// Audit lines copied in one commit.
const LINES: usize = 1_000;
/// Files unlinked between two notes of how far it is.
const FILES: u64 = 256;

impl Eraser {
    /// Erases every workspace that is due; answers how many, and how many have to wait.
    pub async fn erase_workspaces(&self) -> Result<(usize, usize), StoreError> {
        let control = self.control.clone();
        let (mut erased, mut left) = (0, 0);
        for id in blocking(move || control.due_erasures()).await? {
            match self.erase_workspace(id).await {
                Ok(()) => erased += 1,
                Err(error) => {
                    tracing::error!(%error, workspace = %id, "a workspace was not erased; again in a minute");
                    left += 1;
                }
            }
        }
        Ok((erased, left))
    }

    async fn erase_workspace(&self, id: WorkspaceId) -> Result<(), ErasureError> {
        while self.advance(id).await? != Step::Done {}
        Ok(())
    }

    /// Does the next step of an erasure that is due; answers which one comes then.
    pub async fn advance(&self, id: WorkspaceId) -> Result<Step, ErasureError> {
        let _turn = self.turn.lock().await;
        let Some(mut it) = self.certificate(id).await? else { return Ok(Step::Done) };
        match it.step {
            Step::Tokens => {
                self.orgs.board.cancel_all(id);
                (it.revoked, it.not_revoked) = self.revoke(id).await?;
                it.step = Step::Lines;
            }
            Step::Lines => {
                self.copy_lines(id, &mut it).await?;
                it.step = Step::Key;
            }
            Step::Key => {
                self.close(id).await?;
                let pool = Arc::clone(&self.pool);
                blocking(move || Ok(pool.data().destroy_key(id)?)).await?;
                it.key_destroyed = Some(self.clock.now());
                it.step = Step::Files;
            }
            Step::Files => {
                it = self.unlink(id, it).await?;
                it.step = Step::Control;
            }
            Step::Control => {
                self.clean(id).await?;
                return Ok(Step::Done);
            }
            Step::Done => return Ok(Step::Done),
        }
        let (control, step) = (self.control.clone(), it.step);
        blocking(move || control.note_erasure(id, &it)).await?;
        Ok(step)
    }

    /// The certificate of an erasure, which begins with it.
    async fn certificate(&self, id: WorkspaceId) -> Result<Option<Certificate>, StoreError> {
        if let Some(known) = self.control.erasure(id)? {
            return Ok(Some(known));
        }
        let control = self.control.clone();
        let job = JobId::new(&self.clock, &self.random);
        let asked_by = self.control.workspace(id)?.and_then(|row| row.closing()).map(|closing| closing.by);
        let note = Note::new(Actor::Job { id: job, asked_by }, Action::WorkspaceErasureBegun, id);
        self.control.change(note.in_workspace(id), move |tx| control.begin_erasure(tx, id)).await
    }

    /// The workspace, for what is read before its key goes. One that can't be opened is erased all the same.
    fn opened(&self, id: WorkspaceId) -> Option<Worker> {
        let job = JobId::new(&self.clock, &self.random);
        let opened = self.door.for_erasure(id, job);
        opened
            .map_err(|error| tracing::warn!(%error, workspace = %id, "it is erased without being opened"))
            .ok()
    }

    /// Ends the tokens at Salesforce. What can't be reached there is not waited for: the key that seals its token goes.
    async fn revoke(&self, id: WorkspaceId) -> Result<(u64, u64), StoreError> {
        let (mut revoked, mut failed) = (0, 0);
        let Some(ws) = self.opened(id) else { return Ok((0, 0)) };
        let until = tokio::time::Instant::now() + REVOKING_ALL;
        for (org, row) in orgs::records::all(&ws.read()?)? {
            let deadline = until.min(tokio::time::Instant::now() + REVOKING);
            let asked = orgs::revoke(&self.orgs.gate, &ws, org, &row);
            match tokio::time::timeout_at(deadline, asked).await {
                Ok(Ok(())) => revoked += 1,
                Ok(Err(error)) => {
                    tracing::warn!(%org, %error, "tokens could not be revoked at Salesforce");
                    failed += 1;
                }
                Err(_) => {
                    tracing::warn!(%org, "Salesforce did not answer in time, its tokens were not revoked");
                    failed += 1;
                }
            }
        }
        Ok((revoked, failed))
    }

    /// Counts what there is, and copies the audit lines that are not yet a year old.
    async fn copy_lines(&self, id: WorkspaceId, it: &mut Certificate) -> Result<(), ErasureError> {
        let pool = Arc::clone(&self.pool);
        (it.files, it.bytes) = blocking(move || Ok(pool.data().measure_home(id)?)).await?;
        let Some(ws) = self.opened(id) else { return Ok(()) };
        let (control, clock) = (self.control.clone(), self.clock.clone());
        let counted = move || {
            let rows = ws.read()?.count_rows()?;
            let held = ws.verify_audit()?.is_ok();
            let since = clock.now().checked_sub(AUDIT_KEPT).unwrap_or(jiff::Timestamp::MIN);
            let mut from = control.kept_up_to(id)?.map_or(0, |last| last + 1);
            // A chain whose first lines were pruned begins behind its first checkpoint.
            let base = ws.read()?.scan(&AUDIT_CHECKPOINTS).limit(1).rows()?.pop();
            let mut before =
                base.filter(|(_, base)| base.pruned).map_or_else(String::new, |(_, base)| base.hash);
            loop {
                // A look of its own for each part, so that no state of the file is held for long.
                let lines = ws.read()?.scan(&AUDIT).from(&from).limit(LINES).rows()?;
                let Some((last, newest)) = lines.last() else { break };
                (from, before) = (last + 1, {
                    let old = lines.iter().take_while(|(_, event)| event.at < since).count();
                    let hash = if old == 0 { before } else { lines[old - 1].1.hash.clone() };
                    control.keep(id, &hash, &lines[old..])?;
                    newest.hash.clone()
                });
            }
            Ok((rows, held, control.kept_lines(id)?))
        };
        match blocking(counted).await {
            Ok((rows, held, lines)) => (it.rows, it.audit_held, it.audit_lines) = (rows, Some(held), lines),
            // What is damaged is erased as well.
            Err(StoreError::Damaged(what)) => {
                tracing::warn!(workspace = %id, %what, "its audit lines could not be copied");
            }
            Err(other) => return Err(other.into()),
        }
        Ok(())
    }

    /// Closes the files; whoever is still in the workspace has a moment to leave.
    async fn close(&self, id: WorkspaceId) -> Result<(), ErasureError> {
        self.orgs.board.cancel_all(id);
        let until = tokio::time::Instant::now() + LEAVING;
        while !self.pool.close(id) {
            if tokio::time::Instant::now() >= until {
                return Err(ErasureError::Busy);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn unlink(&self, id: WorkspaceId, mut it: Certificate) -> Result<Certificate, StoreError> {
        let (pool, control) = (Arc::clone(&self.pool), self.control.clone());
        let unlinked = blocking(move || {
            let mut failed = None;
            pool.data().remove_home(id, &mut |bytes| {
                it.files_gone += 1;
                it.bytes_gone += bytes;
                if it.files_gone.is_multiple_of(FILES)
                    && let Err(error) = control.note_erasure(id, &it)
                {
                    failed = Some(error);
                }
            })?;
            failed.map_or(Ok(it), Err)
        });
        let it = unlinked.await?;
        Ok(Certificate { files_gone: it.files, bytes_gone: it.bytes, ..it })
    }

    /// The last commit: the control file forgets the workspace, and its former owners are told.
    async fn clean(&self, id: WorkspaceId) -> Result<(), StoreError> {
        let control = self.control.clone();
        let actor = Actor::Job { id: JobId::new(&self.clock, &self.random), asked_by: None };
        let note = Note::new(actor, Action::WorkspaceErased, id).in_workspace(id);
        self.control
            .change(note, move |tx| {
                let Some(Removed { row, slugs, mails, owners, members }) = control.end_erasure(tx, id)?
                else {
                    return Ok(());
                };
                for mail in mails {
                    mail::outbox::recall(tx, mail)?;
                }
                let mut shared = false;
                tx.scan(&WORKSPACES).each(|_, other| {
                    shared = other.name == row.name;
                    !shared
                })?;
                let name = (!shared).then_some(row.name.as_str());
                mail::outbox::forget_workspace(tx, id, &slugs, name)?;
                mail::forget_workspace(tx, id)?;
                notifications::forget_workspace(tx, &slugs, name)?;
                let letter = Letter::DeletionDone { workspace: row.name.clone(), at: control.clock().now() };
                for owner in owners {
                    mail::post(tx, &control, &owner, &letter)?;
                }
                for member in members {
                    control.tell_pages_of(member);
                }
                Ok::<_, StoreError>(())
            })
            .await
    }

    /// Tells owners once that seven days are left.
    pub async fn remind(&self) -> Result<(), StoreError> {
        for id in self.control.due_deletion_reminders()? {
            let control = self.control.clone();
            let reminded = blocking(move || {
                control.touch::<StoreError>(|tx| {
                    let Some((row, closing, owners)) = control.mark_reminded(tx, id)? else { return Ok(()) };
                    for owner in owners {
                        let letter = Letter::DeletionSevenDaysLeft {
                            workspace: row.name.clone(),
                            ends: closing.ends(),
                            link: format!("/w/{}/privacy/delete", row.slug),
                        };
                        notifications::tell(tx, &control, owner, Notice::of(Kind::Deletion, letter))?;
                    }
                    Ok(())
                })
            });
            reminded.await?;
        }
        Ok(())
    }
}
