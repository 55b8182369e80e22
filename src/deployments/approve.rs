//! The only way to a real deployment: a person approves, in the page, the hash of bytes that were validated.
//!
//! [`Approved`] has private fields and no constructor: it comes from [`approve`], or, later, from [`standing`], and
//! both ask for a [`Member`], whom only the door makes for a request:
//!
//! ```
//! use vynos::deployments::{Approved, standing};
//! use vynos::ids::ChangeSetId;
//! use vynos::web::Problem;
//! use vynos::workspace::Member;
//! fn handler(ws: &Member, id: ChangeSetId) -> Result<Approved, Problem> {
//!     standing(ws, id, "e3b0c442")
//! }
//! ```
//!
//! A job has a `Worker`, and so has no way to one:
//!
//! ```compile_fail,E0308
//! use vynos::deployments::{Approved, standing};
//! use vynos::ids::ChangeSetId;
//! use vynos::web::Problem;
//! use vynos::workspace::Worker;
//! fn job(ws: &Worker, id: ChangeSetId) -> Result<Approved, Problem> {
//!     standing(ws, id, "e3b0c442")
//! }
//! ```
//!
//! ```compile_fail,E0451
//! fn forged(by: vynos::ids::AccountId) -> vynos::deployments::Approved {
//!     vynos::deployments::Approved { by, hash: String::new(), set: todo!() }
//! }
//! ```

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::package::sha256;
use super::propose::{announce, open};
use super::records::{CHANGE_SETS, ChangeSet, RUNS, Run, RunKind, RunState};
use crate::identity::Role;
use crate::ids::{AccountId, ChangeSetId, DeploymentId};
use crate::orgs::DeployPolicy;
use crate::orgs::records::{ORGS, Org, OrgKind};
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};
use crate::web::Problem;
use crate::workspace::{Change, Member, Workspace};

/// Written here and nowhere else.
const APPROVALS: Table<ChangeSetId, Approval> = Table::new("deployment_approvals", 1);
/// An approval that nobody uses ends.
const LIFE: SignedDuration = SignedDuration::from_hours(24);

/// An approval as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approval {
    hash: String,
    validation: DeploymentId,
    by: AccountId,
    at: Timestamp,
    until: Timestamp,
    released: Option<DeploymentId>,
}

impl Approval {
    pub fn by(&self) -> AccountId {
        self.by
    }

    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether these bytes may still be released under it.
    pub fn holds(&self, hash: &str, now: Timestamp) -> bool {
        self.hash == hash && self.released.is_none() && now < self.until
    }
}

/// The proof that a person approved these bytes of this change set.
#[derive(Debug)]
pub struct Approved {
    set: ChangeSetId,
    hash: String,
    by: AccountId,
}

impl Approved {
    pub fn change_set(&self) -> ChangeSetId {
        self.set
    }

    pub fn hash(&self) -> &str {
        &self.hash
    }
}

/// Bytes whose hash is the approved one, for the run that was released.
pub struct ApprovedBytes(Vec<u8>);

impl ApprovedBytes {
    pub fn into_inner(self) -> Vec<u8> {
        self.0
    }
}

/// Notes that the person approves the bytes whose hash the page showed. `typed` is the org's name as they typed it.
pub async fn approve(ws: &Member, id: ChangeSetId, shown: &str, typed: &str) -> Result<Approved, Problem> {
    // A token acts for a person, and is none.
    let Actor::Account { id: by } = *ws.actor() else { return Err(Problem::NotFound) };
    ws.processing()?;
    let (role, now) = (ws.role(), ws.clock().now());
    let (shown, typed) = (shown.to_owned(), typed.trim().to_owned());
    ws.change(Action::DeploymentApproved, format!("{id} {shown}"), move |tx| {
        let (set, org) = at_hand(&**tx, id)?;
        may_approve(&set, &org, role, by)?;
        open(&**tx, &set)?;
        let (validation, hash) = validated(&**tx, &set, now)?;
        if hash != shown {
            let said =
                "The change set is another one than the page showed. Nothing was approved; read it again.";
            return Err(Problem::Conflict(said.into()));
        }
        if org.kind == OrgKind::Production && typed != org.name {
            return Err(Problem::field("name", format!("Type the name of the org: {}", org.name)));
        }
        let until = now.checked_add(LIFE).unwrap_or(now);
        let approval = Approval { hash: hash.clone(), validation, by, at: now, until, released: None };
        tx.put(&APPROVALS, &id, &approval)?;
        announce(tx, id, set.org);
        Ok(Approved { set: id, hash, by })
    })
    .await
}

/// The approval that was given earlier, for whoever now releases the bytes: the second person, or a token.
pub fn standing(ws: &Member, id: ChangeSetId, hash: &str) -> Result<Approved, Problem> {
    ws.processing()?;
    let read = ws.read()?;
    match approval(&read, id)? {
        Some(approval) if approval.holds(hash, ws.clock().now()) => {
            Ok(Approved { set: id, hash: approval.hash, by: approval.by })
        }
        _ => Err(Problem::Conflict(
            "Nobody has approved these bytes, or the approval has ended. Nothing was deployed. Approve the change set \
             in its page."
                .into(),
        )),
    }
}

/// The approval of a change set as kept.
pub fn approval(read: &impl Read, id: ChangeSetId) -> Result<Option<Approval>, StoreError> {
    read.get(&APPROVALS, &id)
}

/// Forgets the approval of a change set that goes.
pub(super) fn forget(tx: &mut Change<'_>, id: ChangeSetId) -> Result<(), StoreError> {
    tx.remove(&APPROVALS, &id).map(|_| ())
}

/// Checks, inside the change that makes a deployment, that it may be made, and uses the approval up.
/// Answers the validation that it is made from.
pub(super) fn use_up(
    tx: &mut Change<'_>,
    approved: &Approved,
    run: DeploymentId,
    who: (Role, AccountId),
    now: Timestamp,
) -> Result<(ChangeSet, Run), Problem> {
    let (role, by) = who;
    let (set, org) = at_hand(&**tx, approved.set)?;
    may_release(&org, role, by, approved.by)?;
    open(&**tx, &set)?;
    let (validation, hash) = validated(&**tx, &set, now)?;
    let kept = approval(&**tx, approved.set)?.filter(|kept| kept.holds(&approved.hash, now));
    let Some(mut kept) = kept.filter(|kept| hash == approved.hash && kept.validation == validation) else {
        let said = "The approval no longer holds. Nothing was deployed; approve the change set again.";
        return Err(Problem::Conflict(said.into()));
    };
    kept.released = Some(run);
    tx.put(&APPROVALS, &approved.set, &kept)?;
    let run = tx.get(&RUNS, &validation)?.ok_or(Problem::NotFound)?;
    Ok((set, run))
}

/// The bytes of a released deployment, if they are the approved ones. Blocks.
pub(super) fn bytes(ws: &Workspace, id: DeploymentId, run: &Run) -> Result<ApprovedBytes, String> {
    const LARGEST: u64 = 64 << 20;
    let read = ws.read().map_err(|e| e.to_string())?;
    let kept = approval(&read, run.change_set).map_err(|e| e.to_string())?;
    let approved = kept.filter(|kept| kept.released == Some(id) && run.kind == RunKind::Deploy);
    let (Some(approved), Some(package)) = (approved, &run.package) else {
        return Err("nobody approved this deployment".into());
    };
    let bytes = ws.blobs().read(package, LARGEST).map_err(|e| format!("the package can't be read: {e}"))?;
    if sha256(&bytes) != approved.hash {
        return Err("the package is not the one that was approved".into());
    }
    Ok(ApprovedBytes(bytes))
}

/// Whether the policy lets this person approve.
pub fn may_approve(set: &ChangeSet, org: &Org, role: Role, by: AccountId) -> Result<(), Problem> {
    may_deploy(org, role)?;
    if org.policy() == DeployPolicy::FourEyes && set.editors.contains(&by) {
        return Err(Problem::Conflict(format!(
            "{} asks for four eyes: somebody who wrote none of this change set approves it. Nothing was approved.",
            org.name
        )));
    }
    Ok(())
}

/// Whether the policy lets this person release what `approver` approved.
pub fn may_release(org: &Org, role: Role, by: AccountId, approver: AccountId) -> Result<(), Problem> {
    may_deploy(org, role)?;
    if org.policy() == DeployPolicy::FourEyes && by == approver {
        return Err(Problem::Conflict(format!(
            "{} asks for four eyes: another person than the one who approved deploys. Nothing was deployed.",
            org.name
        )));
    }
    Ok(())
}

fn may_deploy(org: &Org, role: Role) -> Result<(), Problem> {
    match org.policy().least_role() {
        None => Err(policy_forbids(org)),
        Some(least) if role < least => Err(Problem::Forbidden(least)),
        Some(_) => Ok(()),
    }
}

fn policy_forbids(org: &Org) -> Problem {
    Problem::Conflict(format!(
        "The deploy policy of {} is “{}”. Nothing was deployed. An admin can change it on the org’s page.",
        org.name,
        org.policy().label()
    ))
}

fn at_hand(read: &impl Read, id: ChangeSetId) -> Result<(ChangeSet, Org), Problem> {
    let set = read.get(&CHANGE_SETS, &id)?.ok_or(Problem::NotFound)?;
    let org = read.get(&ORGS, &set.org)?.ok_or(Problem::NotFound)?;
    Ok((set, org))
}

/// The validation of the draft as it stands, with the hash of its bytes.
fn validated(read: &impl Read, set: &ChangeSet, now: Timestamp) -> Result<(DeploymentId, String), Problem> {
    let again = |why: &str| Problem::Conflict(format!("{why} Nothing was deployed. Validate it again."));
    let Some(id) = set.validation else { return Err(again("This change set was not validated.")) };
    let run = read.get(&RUNS, &id)?.ok_or(Problem::NotFound)?;
    if run.state != RunState::Succeeded {
        return Err(again("The last validation did not succeed."));
    }
    if run.draft != set.draft {
        return Err(again("It was edited after its validation."));
    }
    if run.holds_until().is_none_or(|until| now >= until) {
        return Err(again("Its validation is older than 10 days."));
    }
    match run.hash {
        Some(hash) => Ok((id, hash)),
        None => Err(again("Its validation kept no package.")),
    }
}
