//! What limits take at a moment: for the page that says it before, and for the sweep that does it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::ids::{AccountId, ConversationId, DocumentId};
use crate::orgs::history::{self, Old};
use crate::store::audit::AUDIT;
use crate::store::{Read as _, StoreError};
use crate::workspace::Workspace;
use crate::workspace::retention::{Limits, audit_months, days_before};
use crate::{chat, knowledge};

/// Documents whose names a preview lists.
const NAMED: usize = 20;

/// Conversations that are due at `at`, oldest first.
pub fn conversations(
    ws: &Workspace,
    limits: Limits,
    at: Timestamp,
    spared: &BTreeSet<AccountId>,
) -> Result<Vec<(ConversationId, Timestamp)>, StoreError> {
    let Some(days) = limits.conversations else { return Ok(Vec::new()) };
    chat::quiet(&ws.read()?, days_before(at, days), spared)
}

/// Documents that are due at `at`, oldest first.
pub fn documents(
    ws: &Workspace,
    limits: Limits,
    at: Timestamp,
    spared: &BTreeSet<AccountId>,
) -> Result<Vec<(DocumentId, knowledge::records::Document)>, StoreError> {
    let Some(days) = limits.documents else { return Ok(Vec::new()) };
    knowledge::uploaded_before(&ws.read()?, days_before(at, days), spared)
}

/// Component versions that are due at `at`.
pub fn versions(ws: &Workspace, limits: Limits, at: Timestamp) -> Result<Vec<Old>, StoreError> {
    let Some(days) = limits.versions else { return Ok(Vec::new()) };
    history::superseded(days_before(at, days), || ws.read())
}

/// How much of one kind goes.
#[derive(Clone, Debug, Default)]
pub struct Amount {
    pub count: u64,
    /// The oldest of it.
    pub oldest: Option<Timestamp>,
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, at: Timestamp, bytes: u64) {
        self.count += 1;
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        self.bytes += bytes;
    }
}

/// What goes: no titles of conversations, because only their owners see them.
#[derive(Clone, Debug, Default)]
pub struct Going {
    pub conversations: Amount,
    pub documents: Amount,
    /// Names of the oldest of them.
    pub names: Vec<String>,
    pub versions: Amount,
    pub audit: Amount,
}

impl Going {
    /// What `limits` take at `at`. Blocks.
    pub fn of(
        ws: &Workspace,
        limits: Limits,
        at: Timestamp,
        spared: &BTreeSet<AccountId>,
    ) -> Result<Self, StoreError> {
        let mut going = Self::default();
        let chats = conversations(ws, limits, at, spared)?;
        let read = ws.read()?;
        for (id, updated) in chats {
            going.conversations.add(updated, chat::said_bytes(&read, id)?);
        }
        drop(read);
        for (_, document) in documents(ws, limits, at, spared)? {
            going.documents.add(document.uploaded, document.bytes);
            if going.names.len() < NAMED {
                going.names.push(document.name);
            }
        }
        for old in versions(ws, limits, at)? {
            going.versions.add(old.seen, old.bytes);
        }
        let until = audit_months(limits.audit).ended(at);
        ws.read()?.scan(&AUDIT).each(|_, line| {
            let due = line.at <= until;
            if due {
                going.audit.add(line.at, (line.target.len() + line.hash.len()) as u64);
            }
            due
        })?;
        Ok(going)
    }
}
