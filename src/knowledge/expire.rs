//! Documents that a workspace's limit takes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::erase::hide;
use super::records::{DOCUMENTS, Document, Status};
use crate::ids::{AccountId, DocumentId};
use crate::jobs::JobCause;
use crate::store::audit::Action;
use crate::store::{Read, StoreError};
use crate::workspace::Workspace;

/// Documents uploaded before `before`, oldest first. Those that are being read wait until that has ended; those of the
/// accounts in `spared` stay.
pub fn uploaded_before(
    read: &impl Read,
    before: Timestamp,
    spared: &BTreeSet<AccountId>,
) -> Result<Vec<(DocumentId, Document)>, StoreError> {
    let mut found = Vec::new();
    read.scan(&DOCUMENTS).each(|id, row| {
        if is_due(&row, before, spared) {
            found.push((id, row));
        }
        true
    })?;
    found.sort_by_key(|(_, row)| row.uploaded);
    Ok(found)
}

/// Deletes those of `ids` that still are due, as a person would: hidden in one commit with one audit line, then a job for
/// each takes its words, rows and file.
pub async fn expire(
    ws: &Workspace,
    ids: Vec<DocumentId>,
    before: Timestamp,
    spared: BTreeSet<AccountId>,
) -> Result<(), StoreError> {
    let target = format!("{} documents uploaded before {}", ids.len(), before.strftime("%F"));
    let cause = JobCause::of(ws);
    ws.change(Action::RetentionApplied, target, move |tx| {
        for id in ids {
            if let Some(row) = tx.get(&DOCUMENTS, &id)?.filter(|row| is_due(row, before, &spared)) {
                hide(tx, &cause, id, row)?;
            }
        }
        Ok(())
    })
    .await
}

fn is_due(row: &Document, before: Timestamp, spared: &BTreeSet<AccountId>) -> bool {
    row.uploaded < before
        && row.status != Status::Deleting
        && !row.status.is_busy()
        && row.uploaded_by.is_none_or(|by| !spared.contains(&by))
}
