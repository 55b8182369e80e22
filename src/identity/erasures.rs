//! Erasures of workspaces: how far each one is, and its certificate, which stays. A certificate names the workspace and
//! people by id alone; of the name in its address a keyed hash is kept, so that it is never issued again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::accounts::ACCOUNTS;
use super::control::{Control, ControlTx};
use super::invitations;
use super::memberships::{MEMBERS, MEMBERSHIPS, SLUGS, VISITS, WORKSPACES, WorkspaceRow, WorkspaceState};
use super::sso::GIVEN;
use super::workspace_deletion::{Closing, owners};
use crate::ids::{AccountId, MailId, WorkspaceId};
use crate::seal::SubKey;
use crate::store::{Read, StoreError, Table};

/// Every erasure that has begun, also those that ended.
pub const ERASURES: Table<WorkspaceId, Certificate> = Table::new("erasures", 1);
/// Keyed hash of a slug -> the erased workspace that had it.
const RETIRED_SLUGS: Table<[u8; 32], WorkspaceId> = Table::new("retired_slugs", 1);

/// What is done next. Each step can be begun again: a process that is killed in it does it once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Salesforce tokens are revoked.
    Tokens,
    /// Rows are counted, audit lines copied.
    Lines,
    /// The key is destroyed: from here on nothing of it can be read.
    Key,
    /// Files are unlinked.
    Files,
    /// What the control file knows goes.
    Control,
    Done,
}

impl Step {
    /// What is being done, for the operator's page.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tokens => "Salesforce tokens are revoked",
            Self::Lines => "Rows are counted, audit lines copied",
            Self::Key => "The key is destroyed",
            Self::Files => "Files are unlinked",
            Self::Control => "Memberships and settings are removed",
            Self::Done => "Erased",
        }
    }
}

/// What is known of an erased workspace: no name, no contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub asked: Timestamp,
    pub asked_by: AccountId,
    /// Those who were owners when erasing began.
    pub owners: Vec<AccountId>,
    pub members: u64,
    pub begun: Timestamp,
    pub step: Step,
    /// Salesforce orgs whose token was revoked there, and those where that failed.
    pub revoked: u64,
    pub not_revoked: u64,
    pub rows: u64,
    pub files: u64,
    pub bytes: u64,
    /// Of these, unlinked so far.
    pub files_gone: u64,
    pub bytes_gone: u64,
    /// Lines of its audit chain that were copied for the rest of their year.
    pub audit_lines: u64,
    /// Whether the whole chain held when they were copied; `None` when it could not be read.
    pub audit_held: Option<bool>,
    /// When the key was overwritten and unlinked.
    pub key_destroyed: Option<Timestamp>,
    /// When nothing was left.
    pub done: Option<Timestamp>,
}

/// What stays after an erasure, for certificates.
pub const STAYS: [&str; 4] = [
    "This certificate: ids, dates and counts, no name and no contents.",
    "The lines of its audit log, each until it is a year old: who did what when, by id, no contents.",
    "Sums of outbound traffic of the whole instance by day and host.",
    "Backups that were made before; the operator of the server deletes them.",
];

/// What the last step removed, for those who are told and for slices that keep rows of their own in the control file.
pub struct Removed {
    pub row: WorkspaceRow,
    /// Every slug it ever had.
    pub slugs: Vec<String>,
    /// Mails with invitations.
    pub mails: Vec<MailId>,
    /// Addresses of the former owners.
    pub owners: Vec<String>,
    /// All former members.
    pub members: Vec<AccountId>,
}

impl Control {
    /// Begins an erasure whose time has come, inside a change: from here on nothing brings the workspace back. Answers
    /// its certificate, also when it began before; `None` when it is not due.
    pub fn begin_erasure(
        &self,
        tx: &mut ControlTx,
        id: WorkspaceId,
    ) -> Result<Option<Certificate>, StoreError> {
        let now = self.clock().now();
        let Some(row) = tx.get(&WORKSPACES, &id)?.filter(|row| row.is_over(now)) else { return Ok(None) };
        let Some(closing) = row.closing() else { return Ok(None) };
        if let Some(certificate) = tx.get(&ERASURES, &id)? {
            return Ok(Some(certificate));
        }
        let state = WorkspaceState::Deleting(Closing { begun: true, ..closing });
        tx.put(&WORKSPACES, &id, &WorkspaceRow { state, ..row })?;
        let certificate = Certificate {
            asked: closing.since,
            asked_by: closing.by,
            owners: owners(tx, id)?,
            members: tx.scan(&MEMBERS).under(&id).count()? as u64,
            begun: now,
            step: Step::Tokens,
            revoked: 0,
            not_revoked: 0,
            rows: 0,
            files: 0,
            bytes: 0,
            files_gone: 0,
            bytes_gone: 0,
            audit_lines: 0,
            audit_held: None,
            key_destroyed: None,
            done: None,
        };
        tx.put(&ERASURES, &id, &certificate)?;
        Ok(Some(certificate))
    }

    /// Keeps how far an erasure is.
    pub fn note_erasure(&self, id: WorkspaceId, certificate: &Certificate) -> Result<(), StoreError> {
        self.touch(|tx| tx.put(&ERASURES, &id, certificate))
    }

    /// The last step, inside a change: everything by which the control file knows the workspace goes, its slugs become
    /// hashes. `None` when that was done before.
    pub fn end_erasure(&self, tx: &mut ControlTx, id: WorkspaceId) -> Result<Option<Removed>, StoreError> {
        let (Some(row), Some(certificate)) = (tx.get(&WORKSPACES, &id)?, tx.get(&ERASURES, &id)?) else {
            return Ok(None);
        };
        let mut slugs = Vec::new();
        tx.scan(&SLUGS).each(|slug, owner| {
            slugs.extend((owner == id).then_some(slug));
            true
        })?;
        for slug in &slugs {
            tx.put(&RETIRED_SLUGS, &hash(self.lookups(), slug), &id)?;
            tx.remove(&SLUGS, slug)?;
        }
        let mails = invitations::withdraw_all(tx, id)?;
        let mut members = Vec::new();
        for ((_, account), _) in tx.scan(&MEMBERS).under(&id).rows()? {
            tx.remove(&MEMBERSHIPS, &(account, id))?;
            members.push(account);
        }
        tx.remove_under(&MEMBERS, &id)?;
        // Also of those who left before.
        let (mut visits, mut given) = (Vec::new(), Vec::new());
        tx.scan(&VISITS).each(|key, _| {
            visits.extend((key.1 == id).then_some(key));
            true
        })?;
        tx.scan(&GIVEN).each(|key, _| {
            given.extend((key.1 == id).then_some(key));
            true
        })?;
        for key in visits {
            tx.remove(&VISITS, &key)?;
        }
        for key in given {
            tx.remove(&GIVEN, &key)?;
        }
        Self::forget_tokens_of_workspace(tx, id)?;
        tx.remove(&WORKSPACES, &id)?;
        let mut addresses = Vec::new();
        for owner in &certificate.owners {
            addresses.extend(tx.get(&ACCOUNTS, owner)?.map(|account| account.email.as_str().to_owned()));
        }
        let done = Some(self.clock().now());
        tx.put(&ERASURES, &id, &Certificate { step: Step::Done, done, ..certificate })?;
        Ok(Some(Removed { row, slugs, mails, owners: addresses, members }))
    }

    /// Every erasure, newest first.
    pub fn erasures(&self) -> Result<Vec<(WorkspaceId, Certificate)>, StoreError> {
        let mut all = self.read()?.scan(&ERASURES).rows()?;
        all.sort_by_key(|(_, certificate)| std::cmp::Reverse(certificate.begun));
        Ok(all)
    }

    /// The erasures of workspaces that this account owned, newest first.
    pub fn erasures_of(&self, owner: AccountId) -> Result<Vec<(WorkspaceId, Certificate)>, StoreError> {
        let mut all = self.erasures()?;
        all.retain(|(_, certificate)| certificate.owners.contains(&owner));
        Ok(all)
    }

    /// The certificate of one erasure.
    pub fn erasure(&self, id: WorkspaceId) -> Result<Option<Certificate>, StoreError> {
        self.read()?.get(&ERASURES, &id)
    }

    /// Whether this slug belonged to a workspace that was erased, and which.
    pub fn erased_slug(&self, slug: &str) -> Result<Option<WorkspaceId>, StoreError> {
        self.read()?.get(&RETIRED_SLUGS, &hash(self.lookups(), slug))
    }

    /// [`Control::erased_slug`] inside a change.
    pub(super) fn is_retired(&self, read: &impl Read, slug: &str) -> Result<bool, StoreError> {
        read.has(&RETIRED_SLUGS, &hash(self.lookups(), slug))
    }
}

fn hash(key: &SubKey, slug: &str) -> [u8; 32] {
    key.lookup(format!("slug {slug}").as_bytes())
}
