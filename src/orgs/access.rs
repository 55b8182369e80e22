//! Tokens of a connected org: sealed as records, refreshed by one call at a time, a rotated refresh token
//! stored before the new access token is used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::egress::{Cause, Gate, Purpose};
use crate::ids::OrgId;
use crate::jobs::JobCause;
use crate::seal::{SealError, Secret};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::wire::salesforce::SalesforceError;
use crate::wire::salesforce::oauth::{self, App};
use crate::wire::salesforce::session::{Refresher, Session};
use crate::workspace::{Worker, Workspace};

use super::records::{ORGS, Org};
use super::{Orgs, notices};

/// Why a session can't be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("this org was disconnected")]
    Gone,
    #[error(transparent)]
    Salesforce(#[from] SalesforceError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose turn it is to refresh, by org. Clones share it.
#[derive(Clone, Default)]
pub struct Refreshing(Arc<Mutex<HashMap<OrgId, Arc<tokio::sync::Mutex<()>>>>>);

impl Refreshing {
    fn of(&self, org: OrgId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody waits for is not kept.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(org).or_default())
    }
}

/// On whose behalf a job calls Salesforce.
pub fn cause(ws: &Workspace, why: String) -> Cause {
    Cause { purpose: Purpose::Salesforce, workspace: Some(ws.id()), account: ws.actor().account(), why }
}

impl Org {
    pub fn app(&self, ws: &Workspace, id: OrgId, orgs: &Orgs) -> Result<App, SealError> {
        let secret =
            self.client_secret.as_ref().map(|s| ws.open("orgs", &format!("{id} secret"), s)).transpose()?;
        Ok(App { client_id: self.client_id.clone(), client_secret: secret, callback: orgs.callback.clone() })
    }

    pub fn refresh_token(&self, ws: &Workspace, id: OrgId) -> Result<Option<Secret>, SealError> {
        self.refresh.as_ref().map(|s| ws.open("orgs", &format!("{id} refresh"), s)).transpose()
    }
}

/// A session of a connected org for a job.
pub fn session(orgs: &Orgs, ws: &Arc<Worker>, id: OrgId, why: String) -> Result<Session, AccessError> {
    let org = ws.read()?.get(&ORGS, &id)?.ok_or(AccessError::Gone)?;
    let access = ws.open("orgs", &format!("{id} access"), &org.access)?;
    let cause = cause(ws, why);
    let (gate, again, handle, asked) = (orgs.gate.clone(), orgs.clone(), Arc::clone(ws), cause.clone());
    let refresh: Refresher = Arc::new(move |ended| {
        let (orgs, ws, cause) = (again.clone(), Arc::clone(&handle), asked.clone());
        Box::pin(async move { refresh(&orgs, &ws, id, &cause, &ended).await })
    });
    Ok(Session::new(gate, cause, org.instance, access, refresh))
}

/// Two jobs of one org must not spend its refresh token twice: where tokens rotate, the second try would sign the org
/// out. Whoever waited takes the token that the other one stored.
async fn refresh(
    orgs: &Orgs,
    ws: &Workspace,
    id: OrgId,
    cause: &Cause,
    ended: &Secret,
) -> Result<Secret, SalesforceError> {
    let turn = orgs.refreshing.of(id);
    let _alone = turn.lock().await;
    let broken = |e: &dyn std::error::Error| SalesforceError::Unavailable(e.to_string());
    let org = ws.read().and_then(|r| r.get(&ORGS, &id)).map_err(|e| broken(&e))?;
    let org = org.ok_or_else(|| SalesforceError::NeedsReauth("it was disconnected".into()))?;
    let stored = ws.open("orgs", &format!("{id} access"), &org.access).map_err(|e| broken(&e))?;
    if stored != *ended {
        return Ok(stored);
    }
    let app = org.app(ws, id, orgs).map_err(|e| broken(&e))?;
    let Some(token) = org.refresh_token(ws, id).map_err(|e| broken(&e))? else {
        return signed_out(ws, id, "the app gave no refresh token").await;
    };
    match oauth::refresh(&orgs.gate, cause, &org.login, &app, &token).await {
        Ok(grant) => {
            let access = ws.seal("orgs", &format!("{id} access"), &grant.access);
            let rotated = grant.refresh.as_ref().map(|r| ws.seal("orgs", &format!("{id} refresh"), r));
            ws.change(Action::OrgTokenRefreshed, id, move |tx| {
                if let Some(mut org) = tx.get(&ORGS, &id)? {
                    org.access = access;
                    org.refresh = rotated.or(org.refresh);
                    org.signed_out = None;
                    tx.put(&ORGS, &id, &org)?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .map_err(|e| broken(&e))?;
            Ok(grant.access)
        }
        Err(SalesforceError::NeedsReauth(why)) => signed_out(ws, id, &why).await,
        Err(other) => Err(other),
    }
}

/// Notes that somebody has to connect the org again.
async fn signed_out(ws: &Workspace, id: OrgId, why: &str) -> Result<Secret, SalesforceError> {
    let (reason, cause) = (why.to_owned(), JobCause::of(ws));
    ws.change(Action::OrgSignedOut, id, move |tx| {
        if let Some(mut org) = tx.get(&ORGS, &id)? {
            let before = org.signed_out.replace(reason);
            tx.put(&ORGS, &id, &org)?;
            if before.is_none() {
                notices::signed_out(tx, &cause, id, &org)?;
            }
        }
        tx.announce(format!("org:{id}"));
        Ok::<_, StoreError>(())
    })
    .await
    .map_err(|e| SalesforceError::Unavailable(e.to_string()))?;
    Err(SalesforceError::NeedsReauth(why.to_owned()))
}

/// Ends the tokens at Salesforce; what can't be reached there ends by itself.
pub async fn revoke(gate: &Gate, ws: &Workspace, id: OrgId, org: &Org) -> Result<(), AccessError> {
    if let Some(token) = org.refresh_token(ws, id)? {
        oauth::revoke(gate, &cause(ws, format!("disconnect {id}")), &org.login, &token).await?;
    }
    Ok(())
}
