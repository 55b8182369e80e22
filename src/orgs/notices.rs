//! Who is told that an org can't be read any more, that a limit of it is nearly used, that others may deploy to it.

use std::collections::BTreeMap;

use super::records::{LimitReading, ORGS, Org};
use crate::identity::Role;
use crate::ids::{AccountId, OrgId};
use crate::jobs::JobCause;
use crate::mail::Letter;
use crate::notifications::{Audience, Kind, Notice, raise};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::workspace::{Change, Workspace};

/// A limit is told of once it is used by so many percent.
const OVER: u64 = 80;
/// The most limits that one sync tells of.
const TOLD_AT_ONCE: usize = 5;

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

/// Tells members of the limits that a sync found to have come over the threshold, in the change that keeps the readings.
pub(super) fn limits_over(
    tx: &mut Change<'_>,
    cause: &JobCause,
    id: OrgId,
    before: &Org,
    now: &BTreeMap<String, LimitReading>,
) -> Result<(), StoreError> {
    let was_over = |name: &str| before.limits.get(name).is_some_and(|l| l.used_percent() >= OVER);
    let mut over: Vec<_> =
        now.iter().filter(|(name, l)| l.used_percent() >= OVER && !was_over(name)).collect();
    over.sort_by_key(|(_, l)| std::cmp::Reverse(l.used_percent()));
    for (name, reading) in over.into_iter().take(TOLD_AT_ONCE) {
        let letter = Letter::LimitOver {
            workspace: String::new(),
            org: before.name.clone(),
            limit: name.clone(),
            used: reading.max.saturating_sub(reading.remaining),
            of: reading.max,
            link: format!("o/{}/limits", before.slug),
        };
        let notice = Notice::of(Kind::LimitOver, letter)
            .body("Salesforce refuses further calls once it is reached.")
            .group(format!("limits {id}"));
        raise(tx, cause, Audience::Role(Role::Member), notice)?;
    }
    Ok(())
}

/// Tells members, but who did it, that somebody else may deploy to an org now.
pub(super) fn policy_changed(
    tx: &mut Change<'_>,
    cause: &JobCause,
    by: AccountId,
    id: OrgId,
    org: &Org,
) -> Result<(), StoreError> {
    let what = format!("Deploying to {}: {}.", org.name, org.policy().label());
    let letter = Letter::PolicyChanged {
        workspace: String::new(),
        what: what.clone(),
        changed_by: String::new(),
        link: path(org),
    };
    let title = format!("Who may deploy to {} was changed", org.name);
    let notice = Notice::new(Kind::PolicyChanged, title, path(org)).body(what).group(format!("policy {id}"));
    let notice = Notice { by: Some(by), ..notice.letter(letter) };
    raise(tx, cause, Audience::Others { least: Role::Member, but: vec![by] }, notice).map(|_| ())
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
