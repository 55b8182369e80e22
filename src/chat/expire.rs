//! Conversations that a workspace's limit takes: the quiet ones that nobody pinned.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::records::{CONVERSATIONS, Conversation, MESSAGES};
use super::topic;
use super::verbs::remove;
use crate::ids::{AccountId, ConversationId};
use crate::store::audit::Action;
use crate::store::{Read, StoreError};
use crate::workspace::Workspace;

/// Conversations in which nothing was said since `since`, oldest first, with when that was. Pinned ones stay, and those of
/// the accounts in `spared`.
pub fn quiet(
    read: &impl Read,
    since: Timestamp,
    spared: &BTreeSet<AccountId>,
) -> Result<Vec<(ConversationId, Timestamp)>, StoreError> {
    let mut found = Vec::new();
    read.scan(&CONVERSATIONS).each(|id, row| {
        found.extend(is_quiet(&row, since, spared).then_some((id, row.updated)));
        true
    })?;
    found.sort_by_key(|(_, updated)| *updated);
    Ok(found)
}

/// Bytes of what was said in a conversation.
pub fn said_bytes(read: &impl Read, id: ConversationId) -> Result<u64, StoreError> {
    let mut bytes = 0;
    read.scan(&MESSAGES).under(&id).each(|_, message| {
        bytes += message.text.len() as u64;
        true
    })?;
    Ok(bytes)
}

/// Removes those of `ids` that still are quiet, as their owner would, in one commit with one audit line.
pub async fn expire(
    ws: &Workspace,
    ids: Vec<ConversationId>,
    since: Timestamp,
    spared: BTreeSet<AccountId>,
) -> Result<(), StoreError> {
    let target = format!("{} conversations quiet since {}", ids.len(), since.strftime("%F"));
    ws.change(Action::RetentionApplied, target, move |tx| {
        for id in ids {
            // Somebody may have gone on with it since it was found.
            if tx.get(&CONVERSATIONS, &id)?.is_some_and(|row| is_quiet(&row, since, &spared)) {
                remove(tx, id)?;
                tx.announce(topic(id));
            }
        }
        Ok(())
    })
    .await
}

fn is_quiet(row: &Conversation, since: Timestamp, spared: &BTreeSet<AccountId>) -> bool {
    row.updated < since && !row.pinned && !spared.contains(&row.owner)
}
