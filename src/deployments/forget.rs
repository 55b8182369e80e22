//! When an org is disconnected, its change sets go with everything else that is kept of it.

use std::sync::Arc;

use super::approve;
use super::records::{CHANGE_FILES, CHANGE_SETS, RUNS, SNAPSHOTS, of_org, runs_of};
use crate::ids::OrgId;
use crate::jobs::JobError;
use crate::store::StoreError;
use crate::workspace::Worker;

/// Removes the change sets of an org, their runs and packages.
pub async fn forget(ws: &Arc<Worker>, org: OrgId) -> Result<(), JobError> {
    let packages = ws
        .note(move |tx| {
            let mut packages = Vec::new();
            for (id, _) in of_org(&**tx, org, usize::MAX)? {
                for (run, row) in runs_of(&**tx, id)? {
                    packages.extend(row.package);
                    tx.remove_under(&SNAPSHOTS, &run)?;
                    tx.remove(&RUNS, &run)?;
                }
                tx.remove_under(&CHANGE_FILES, &id)?;
                approve::forget(tx, id)?;
                tx.remove(&CHANGE_SETS, &id)?;
            }
            Ok::<_, StoreError>(packages)
        })
        .await?;
    let ws = Arc::clone(ws);
    let removed = tokio::task::spawn_blocking(move || {
        packages.iter().try_for_each(|package| ws.blobs().remove(package))
    });
    removed.await.map_err(|e| JobError::Retry(e.to_string()))?.map_err(|e| JobError::Retry(e.to_string()))
}
