//! Old versions of components: a workspace's limit takes them, but never the newest of a component.

use jiff::Timestamp;

use super::records::{ComponentKey, HISTORY};
use crate::store::audit::Action;
use crate::store::{Read, StoreError};
use crate::workspace::Workspace;

/// Rows read in one transaction.
const RANGE: usize = 500;

/// The key of a version.
pub type VersionKey = (ComponentKey, u64);

/// A version that has a newer one.
#[derive(Clone, Debug)]
pub struct Old {
    pub key: VersionKey,
    pub seen: Timestamp,
    pub bytes: u64,
}

/// Versions that a sync saw before `before` and that are not the newest of their component. Read in ranges through `open`,
/// so that no transaction stays open for long. Blocks.
pub fn superseded<R: Read>(
    before: Timestamp,
    open: impl Fn() -> Result<R, StoreError>,
) -> Result<Vec<Old>, StoreError> {
    let mut found = Vec::new();
    let mut last: Option<Old> = None;
    loop {
        let (read, mut rows) = (open()?, 0);
        let scan = read.scan(&HISTORY).limit(RANGE);
        let scan = match &last {
            Some(old) => scan.after(&old.key),
            None => scan,
        };
        let mut previous = last.take();
        scan.each(|key, version| {
            rows += 1;
            if let Some(old) = previous.take()
                && old.key.0 == key.0
                && old.seen < before
            {
                found.push(old);
            }
            let bytes = version.source.map_or(0, |source| source.len() as u64);
            previous = Some(Old { key, seen: version.seen, bytes });
            true
        })?;
        if rows < RANGE {
            return Ok(found);
        }
        last = previous;
    }
}

/// Removes old versions in one commit with one audit line.
pub async fn expire(ws: &Workspace, keys: Vec<VersionKey>, before: Timestamp) -> Result<(), StoreError> {
    let target = format!("{} component versions seen before {}", keys.len(), before.strftime("%F"));
    ws.change(Action::RetentionApplied, target, move |tx| {
        keys.iter().try_for_each(|key| tx.remove(&HISTORY, key).map(|_| ()))
    })
    .await
}
