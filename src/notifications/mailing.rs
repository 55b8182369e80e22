//! The job between a notice in a workspace's file and its mails in the control file. It may run again after a kill: a
//! mail's id follows from the notice and the person, so that each gets it once.

use super::MAIL_JOB;
use super::records::{Mailing, choices};
use crate::identity::accounts::ACCOUNTS;
use crate::identity::memberships::{MEMBERS, WORKSPACES};
use crate::identity::{AccountState, Control};
use crate::ids::{AccountId, MailId, NoticeId};
use crate::jobs::{JobContext, JobError, Kind};
use crate::mail;
use crate::store::{Read as _, StoreError};

/// The jobs of this slice.
pub fn jobs(control: &Control) -> Vec<Kind> {
    let control = control.clone();
    vec![Kind::new(MAIL_JOB, move |job| post(control.clone(), job))]
}

async fn post(control: Control, job: JobContext) -> Result<(), JobError> {
    let mut mailing: Mailing =
        serde_json::from_value(job.args.clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    let workspace = job.ws.id();
    let posted = tokio::task::spawn_blocking(move || {
        control.touch::<StoreError>(|tx| {
            let Some(row) = tx.get(&WORKSPACES, &workspace)? else { return Ok(()) };
            let by = mailing.by.map(|id| tx.get(&ACCOUNTS, &id)).transpose()?.flatten();
            mailing.letter.fill(&row.name, &row.slug, by.as_ref().map_or("", |person| &person.name));
            for ((_, account), role) in tx.scan(&MEMBERS).under(&workspace).rows()? {
                if !mailing.to.includes(account, role) || !choices(tx, account)?.of(mailing.kind).mail {
                    continue;
                }
                let Some(person) = tx.get(&ACCOUNTS, &account)? else { continue };
                if person.state == AccountState::Active {
                    let id = mail_of(&control, mailing.notice, account);
                    let to = person.email.as_str();
                    mail::post_once(tx, &control, id, to, (workspace, account), &mailing.letter)?;
                }
            }
            Ok(())
        })
    });
    posted.await.map_err(|e| JobError::Retry(e.to_string()))?.map_err(JobError::from)
}

/// The id of the mail that tells `account` of `notice`.
fn mail_of(control: &Control, notice: NoticeId, account: AccountId) -> MailId {
    let hash = control.lookups().lookup(&[notice.bytes().as_slice(), account.bytes()].concat());
    let mut bytes = *notice.bytes();
    bytes[6..].copy_from_slice(&hash[..10]);
    MailId::from_bytes(bytes)
}
