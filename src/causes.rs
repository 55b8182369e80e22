//! What a call of the egress ledger was made for, as a page: the chat, the sync, the deployment, where the reader may see
//! it.

use crate::chat::records::{CONVERSATIONS, TURNS};
use crate::deployments::records::RUNS;
use crate::identity::Role;
use crate::ids::{DeploymentId, OrgId, TurnId};
use crate::orgs::records::ORGS;
use crate::store::{Read, StoreError};
use crate::workspace::Viewer;

/// Path of the page behind the reason in a ledger line, such as `turn 01k…`; `None` where there is none any more, or none
/// for this person: chats are their owner's alone.
pub fn page_of(ws: &Viewer, why: &str) -> Result<Option<String>, StoreError> {
    let Some((kind, id)) = why.split_once(' ') else { return Ok(None) };
    let read = ws.read()?;
    let below = match kind {
        "deployment" => id.parse().ok().map(|id| deployment(&read, id)).transpose()?.flatten(),
        // `sync JOB of ORG`: what the job was given goes when it ends.
        "sync" => {
            let org = id.split_once(" of ").and_then(|(_, org)| org.parse().ok());
            org.map(|org| sync(&read, org)).transpose()?.flatten()
        }
        "turn" => id.parse().ok().map(|id| turn(&read, ws, id)).transpose()?.flatten(),
        _ => None,
    };
    Ok(below.map(|below| format!("/w/{}/{below}", ws.row().slug)))
}

fn deployment(read: &impl Read, id: DeploymentId) -> Result<Option<String>, StoreError> {
    let Some(run) = read.get(&RUNS, &id)? else { return Ok(None) };
    let org = read.get(&ORGS, &run.org)?;
    Ok(org.map(|org| format!("o/{}/deployments/{}", org.slug, run.change_set)))
}

fn sync(read: &impl Read, org: OrgId) -> Result<Option<String>, StoreError> {
    Ok(read.get(&ORGS, &org)?.map(|org| format!("o/{}/connection", org.slug)))
}

fn turn(read: &impl Read, ws: &Viewer, id: TurnId) -> Result<Option<String>, StoreError> {
    let Some(turn) = read.get(&TURNS, &id)? else { return Ok(None) };
    let chat = read.get(&CONVERSATIONS, &turn.conversation)?;
    let theirs = ws.role() >= Role::Member && chat.is_some_and(|chat| chat.owner == ws.account());
    Ok(theirs.then(|| format!("chat/{}", turn.conversation)))
}
