//! Reminds people of what ends soon: who was invited and has not come, two days before the link ends; whose API token
//! ends, a week before. Each is told once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::identity::accounts::ACCOUNTS;
use crate::identity::control::Note;
use crate::identity::memberships::{MEMBERSHIPS, WORKSPACES};
use crate::identity::{Control, WorkspaceRow, WorkspaceState};
use crate::ids::{InvitationId, JobId, MailId, WorkspaceId};
use crate::mail::outbox::{MailState, OUTBOX};
use crate::mail::{Letter, can_leave, post_as};
use crate::notifications::{Kind, Notice, tell};
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError};

/// How often it looks.
const EVERY: Duration = Duration::from_hours(1);

/// Finds what is due. Cheap to clone.
#[derive(Clone)]
pub struct Reminders {
    control: Control,
}

/// The running look, once an hour.
pub struct Reminding {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Reminders {
    pub fn new(control: Control) -> Self {
        Self { control }
    }

    /// Looks now and every hour.
    pub fn start(&self) -> Reminding {
        let (this, stop) = (self.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = this.remind_due().await {
                    tracing::error!(%error, "people could not be reminded of what ends soon; again in an hour");
                }
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        });
        Reminding { stop, task }
    }

    /// Reminds everybody who is due; answers how many invitations and tokens that were.
    pub async fn remind_due(&self) -> Result<(usize, usize), StoreError> {
        let this = self.clone();
        let work = tokio::task::spawn_blocking(move || Ok((this.invitations()?, this.tokens()?)));
        work.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))))
    }

    fn invitations(&self) -> Result<usize, StoreError> {
        let mut reminded = 0;
        for (workspace, id, first) in self.control.due_reminders()? {
            let read = self.control.read()?;
            let left = read.get(&OUTBOX, &first)?.is_some_and(|mail| mail.state == MailState::Sent);
            let row = read.get(&WORKSPACES, &workspace)?.filter(|row| row.state == WorkspaceState::Active);
            // While processing is restricted nobody is written to who did not ask.
            if let Some(row) = row.filter(|_| left)
                && can_leave(&read, Some(workspace))?
            {
                drop(read);
                reminded += usize::from(self.invitation(workspace, &row, id)?);
            }
        }
        Ok(reminded)
    }

    fn invitation(
        &self,
        workspace: WorkspaceId,
        row: &WorkspaceRow,
        id: InvitationId,
    ) -> Result<bool, StoreError> {
        let (control, mut reminded) = (&self.control, false);
        let mail = MailId::new(control.clock(), control.random());
        let job = JobId::new(control.clock(), control.random());
        control.touch::<StoreError>(|tx| {
            let Some((token, invitation)) = control.remind(tx, workspace, id, mail)? else { return Ok(()) };
            let invited_by = tx.get(&ACCOUNTS, &invitation.by)?.map(|a| a.name).unwrap_or_default();
            let letter = Letter::InvitationReminder {
                workspace: row.name.clone(),
                invited_by,
                role: invitation.role,
                link: format!("/invite/{}", token.expose()),
                ends: invitation.ends,
            };
            reminded = post_as(tx, control, mail, workspace, invitation.email.as_str(), &letter)?;
            let by = Actor::Job { id: job, asked_by: Some(invitation.by) };
            let note = Note::new(by, Action::InvitationReminded, id).in_workspace(workspace);
            control.note(tx, note)
        })?;
        Ok(reminded)
    }

    fn tokens(&self) -> Result<usize, StoreError> {
        if !self.control.has_ending_tokens()? {
            return Ok(0);
        }
        let (control, mut told) = (&self.control, 0);
        control.touch::<StoreError>(|tx| {
            for (account, workspace, token) in control.take_ending(tx)? {
                let row = tx.get(&WORKSPACES, &workspace)?;
                let member = tx.has(&MEMBERSHIPS, &(account, workspace))?;
                if let (Some(row), Some(ends), true) = (row, token.expires, member) {
                    let link = format!("/w/{}/tokens", row.slug);
                    let notice =
                        Notice::of(Kind::TokenEnding, Letter::TokenEnding { name: token.name, ends, link });
                    tell(tx, control, account, notice.body(format!("In {}.", row.name)))?;
                    told += 1;
                }
            }
            Ok(())
        })?;
        Ok(told)
    }
}

impl Reminding {
    /// Ends after what it does now.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}
