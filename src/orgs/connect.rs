//! Connecting an org: begun in a session, finished by Salesforce's redirect to the same session, once; or
//! from an SFDX auth URL.

use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::egress::{Cause, Purpose};
use crate::ids::{OrgId, SessionId};
use crate::jobs::{JobCause, enqueue};
use crate::seal::{SealError, Sealed, Secret};
use crate::store::audit::Action;
use crate::store::{Read, StoreError, Tx};
use crate::wire::salesforce::SalesforceError;
use crate::wire::salesforce::oauth::{self, App, Grant, Pkce, SfdxAuthUrl};
use crate::wire::salesforce::session::{Refresher, Session};
use crate::workspace::{Admin, Workspace};

use super::records::{ORGS, Org, OrgKind, PENDING, Pending, all};
use super::{Orgs, SYNC, access};

/// Salesforce's page may stay open this long.
const PENDING_LIFE: SignedDuration = SignedDuration::from_mins(30);
/// Connections begun and never finished that are kept.
const MOST_PENDING: usize = 50;

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0}")]
    Form(&'static str, String),
    #[error(transparent)]
    Salesforce(#[from] SalesforceError),
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The state is unknown, used, too old, or of another session.
    #[error("this connection was not begun in this browser, or it was used already; begin again")]
    State,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the form asks for.
pub struct Wanted {
    pub name: String,
    pub login: String,
    pub client_id: String,
    pub client_secret: Secret,
}

/// Reads a login host as people write it: with or without https, a path, or the Lightning host.
pub fn login_url(text: &str) -> Result<Url, ConnectError> {
    let bad = |why: &str| ConnectError::Form("login", why.to_owned());
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).map_err(|_| bad("Enter a host like acme.my.salesforce.com."))?;
    let host = url.host_str().unwrap_or_default();
    if host.ends_with(".lightning.force.com") {
        let name = host.trim_end_matches(".lightning.force.com");
        let hint = format!("That is the Lightning host. Enter {name}.my.salesforce.com.");
        return Err(ConnectError::Form("login", hint));
    }
    let origin = url.origin().ascii_serialization();
    Url::parse(&origin).map_err(|_| bad("Enter a host like acme.my.salesforce.com."))
}

/// Removes connections that waited too long for Salesforce's answer; answers how many.
pub fn prune_pending(tx: &mut Tx, now: Timestamp) -> Result<usize, StoreError> {
    let mut old = tx.scan(&PENDING).rows()?;
    old.retain(|(_, pending)| now.duration_since(pending.begun) > PENDING_LIFE);
    for (key, _) in &old {
        tx.remove(&PENDING, key)?;
    }
    Ok(old.len())
}

fn callback_cause(ws: &Workspace) -> Cause {
    Cause {
        purpose: Purpose::SalesforceLogin,
        workspace: Some(ws.id()),
        account: ws.actor().account(),
        why: "connect".into(),
    }
}

/// Begins: answers where the browser has to go. The state names the workspace and is known by its hash only.
pub async fn begin(orgs: &Orgs, ws: &Admin, session: SessionId, wanted: Wanted) -> Result<Url, ConnectError> {
    let login = login_url(&wanted.login)?;
    orgs.gate
        .allows(&login, Purpose::SalesforceLogin)
        .map_err(|e| ConnectError::Form("login", e.to_string()))?;
    let name = display_name(&wanted.name)?;
    if wanted.client_id.trim().is_empty() || wanted.client_id.len() > 500 {
        return Err(ConnectError::Form(
            "client_id",
            "Enter the consumer key of the External Client App.".into(),
        ));
    }
    let pkce = Pkce::generate(ws.random());
    let token = base64_url(&ws.random().bytes::<32>());
    let state = format!("{}.{token}", ws.row().slug);
    let key = ws.lookup(state.as_bytes());
    let place = crate::seal::hex(&key);
    let secret = (!wanted.client_secret.expose().is_empty())
        .then(|| ws.seal("org_pending", &place, &wanted.client_secret));
    let app = App {
        client_id: wanted.client_id.trim().to_owned(),
        client_secret: None,
        callback: orgs.callback.clone(),
    };
    let url = oauth::authorize_url(&login, &app, &state, &pkce.challenge)?;
    let now = ws.clock().now();
    let pending = Pending {
        session,
        begun: now,
        name,
        login,
        client_id: app.client_id,
        client_secret: secret,
        verifier: ws.seal("org_pending", &format!("{place} verifier"), &pkce.verifier),
    };
    ws.change(Action::OrgConnectionStarted, "salesforce", move |tx| {
        let mut old = tx.scan(&PENDING).limit(MOST_PENDING * 2).rows()?;
        old.sort_by_key(|(_, p)| p.begun);
        let extra = (old.len() + 1).saturating_sub(MOST_PENDING);
        for (n, (key, p)) in old.iter().enumerate() {
            if n < extra || now.duration_since(p.begun) > PENDING_LIFE {
                tx.remove(&PENDING, key)?;
            }
        }
        tx.put(&PENDING, &key, &pending)
    })
    .await?;
    Ok(url)
}

fn display_name(name: &str) -> Result<String, ConnectError> {
    crate::identity::accounts::display_name(name).map_err(|e| ConnectError::Form("name", e.to_string()))
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// The workspace that a state names.
pub fn workspace_of(state: &str) -> Option<&str> {
    state.rsplit_once('.').map(|(slug, _)| slug).filter(|slug| !slug.is_empty())
}

/// Takes the pending connection of a state out, so that it works once, for the session that began it.
async fn take(ws: &Admin, session: SessionId, state: &str) -> Result<(String, Pending), ConnectError> {
    let key = ws.lookup(state.as_bytes());
    let now = ws.clock().now();
    let pending = ws
        .note(move |tx| {
            let pending = tx.get(&PENDING, &key)?;
            // Another session's try must not use up the connection of the one who began it.
            if pending.as_ref().is_some_and(|p| p.session == session) {
                tx.remove(&PENDING, &key)?;
            }
            Ok::<_, StoreError>(pending)
        })
        .await?;
    let pending = pending.filter(|p| p.session == session && now.duration_since(p.begun) <= PENDING_LIFE);
    Ok((crate::seal::hex(&key), pending.ok_or(ConnectError::State)?))
}

/// Finishes with Salesforce's code.
pub async fn finish(
    orgs: &Orgs,
    ws: &Admin,
    session: SessionId,
    state: &str,
    code: &str,
) -> Result<String, ConnectError> {
    let (place, pending) = take(ws, session, state).await?;
    let secret = pending.client_secret.as_ref().map(|s| ws.open("org_pending", &place, s)).transpose()?;
    let verifier = ws.open("org_pending", &format!("{place} verifier"), &pending.verifier)?;
    let app = App { client_id: pending.client_id, client_secret: secret, callback: orgs.callback.clone() };
    let grant =
        oauth::exchange(&orgs.gate, &callback_cause(ws), &pending.login, &app, code, &verifier).await?;
    store(orgs, ws, &pending.name, pending.login, app, grant, None).await
}

/// Ends a connection that a person denied on Salesforce's page.
pub async fn denied(ws: &Admin, session: SessionId, state: &str) -> Result<(), ConnectError> {
    take(ws, session, state).await.map(|_| ())
}

/// Connects from `force://…`: the refresh token in it is tried at once.
pub async fn from_auth_url(
    orgs: &Orgs,
    ws: &Admin,
    name: &str,
    text: &Secret,
) -> Result<String, ConnectError> {
    let name = display_name(name)?;
    let parsed = SfdxAuthUrl::parse(text).ok_or_else(|| {
        ConnectError::Form(
            "auth_url",
            "This is not an SFDX auth URL: force://client:secret:token@host.".into(),
        )
    })?;
    orgs.gate
        .allows(&parsed.login, Purpose::SalesforceLogin)
        .map_err(|e| ConnectError::Form("auth_url", e.to_string()))?;
    let app = App {
        client_id: parsed.client_id,
        client_secret: parsed.client_secret,
        callback: orgs.callback.clone(),
    };
    let grant = oauth::refresh(&orgs.gate, &callback_cause(ws), &parsed.login, &app, &parsed.refresh).await?;
    store(orgs, ws, &name, parsed.login, app, grant, Some(parsed.refresh)).await
}

/// Keeps the connection and queues its first sync. Connecting an org that is connected replaces its tokens.
async fn store(
    orgs: &Orgs,
    ws: &Admin,
    name: &str,
    login: Url,
    app: App,
    grant: Grant,
    older_refresh: Option<Secret>,
) -> Result<String, ConnectError> {
    let known = all(&ws.read()?)?.into_iter().find(|(_, org)| org.salesforce_id == grant.org_id);
    let id = known.as_ref().map_or_else(|| OrgId::new(ws.clock(), ws.random()), |(id, _)| *id);
    let sealed = |what: &str, secret: &Secret| -> Sealed { ws.seal("orgs", &format!("{id} {what}"), secret) };
    let refresh = grant.refresh.as_ref().or(older_refresh.as_ref()).map(|r| sealed("refresh", r));
    let never: Refresher = std::sync::Arc::new(|_| {
        Box::pin(async { Err(SalesforceError::NeedsReauth("the new session was refused".into())) })
    });
    let cause = access::cause(ws, format!("connect {id}"));
    let session =
        Session::new(orgs.gate.clone(), cause, grant.instance_url.clone(), grant.access.clone(), never);
    let organization = session.organization().await?;
    let kind = if organization.is_sandbox { OrgKind::Sandbox } else { OrgKind::Production };
    let taken: Vec<String> =
        all(&ws.read()?)?.into_iter().filter(|(i, _)| *i != id).map(|(_, o)| o.slug).collect();
    let slug = known.as_ref().map_or_else(|| slug(name, &taken), |(_, org)| org.slug.clone());
    let mut org = Org {
        slug: slug.clone(),
        name: name.to_owned(),
        kind,
        salesforce_id: grant.org_id,
        login,
        instance: grant.instance_url,
        client_id: app.client_id,
        client_secret: app.client_secret.as_ref().map(|s| sealed("secret", s)),
        access: sealed("access", &grant.access),
        refresh,
        signed_out: None,
        connected: ws.clock().now(),
        connected_by: ws.actor().account(),
        sync_job: None,
        last_sync: known.as_ref().and_then(|(_, org)| org.last_sync.clone()),
        deploy_policy: known.as_ref().and_then(|(_, org)| org.deploy_policy),
        limits: known.map(|(_, org)| org.limits).unwrap_or_default(),
    };
    let cause = JobCause::of(ws);
    ws.change(Action::OrgConnected, id, move |tx| {
        org.sync_job = Some(enqueue(tx, &cause, SYNC, serde_json::json!({ "org": id }))?);
        tx.put(&ORGS, &id, &org)
    })
    .await?;
    Ok(slug)
}

/// A short name for URLs, unlike those in use.
fn slug(name: &str, taken: &[String]) -> String {
    let base: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(30)
        .collect();
    let base = base.split('-').filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-");
    let base = if base.is_empty() { "org".to_owned() } else { base };
    let candidates = std::iter::once(base.clone()).chain((2..10_000).map(|n| format!("{base}-{n}")));
    candidates.into_iter().find(|candidate| !taken.contains(candidate)).unwrap_or(base)
}
