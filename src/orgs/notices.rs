//! Who is told that an org can't be read any more.

use super::records::{ORGS, Org};
use crate::identity::Role;
use crate::ids::OrgId;
use crate::jobs::JobCause;
use crate::mail::Letter;
use crate::notifications::{Audience, Kind, Notice, raise};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::workspace::{Change, Workspace};

fn path(org: &Org) -> String {
    format!("o/{}/connection", org.slug)
}

/// Tells those who can connect it again that Salesforce signed us out, in the change that notes it.
pub(super) fn signed_out(
    tx: &mut Change<'_>,
    cause: &JobCause,
    id: OrgId,
    org: &Org,
) -> Result<(), StoreError> {
    let letter = Letter::OrgSignedOut { workspace: String::new(), org: org.name.clone(), link: path(org) };
    let notice = Notice::of(Kind::OrgSignedOut, letter)
        .body("An admin has to connect it again. What was read so far stays.")
        .group(format!("signed out {id}"));
    raise(tx, cause, Audience::Role(Role::Admin), notice).map(|_| ())
}

/// Tells members that a sync has failed for good. A sign-out was told already.
pub(super) async fn sync_failed(ws: &Workspace, id: OrgId, why: &str) -> Result<(), StoreError> {
    let (why, cause) = (why.to_owned(), JobCause::of(ws));
    ws.change(Action::OrgSyncFailed, id, move |tx| {
        let Some(org) = tx.get(&ORGS, &id)?.filter(|org| org.signed_out.is_none()) else { return Ok(()) };
        let letter = Letter::SyncFailed {
            workspace: String::new(),
            org: org.name.clone(),
            why: why.clone(),
            link: path(&org),
        };
        let notice = Notice::of(Kind::SyncFailed, letter).body(why).group(format!("sync {id}"));
        raise(tx, &cause, Audience::Role(Role::Member), notice).map(|_| ())
    })
    .await
}
