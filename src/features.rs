//! THE list: every feature with its routes, tables and jobs. Coverage tests derive from it.

use std::sync::Arc;

use actix_web::web;

use crate::chat::{self, Chat};
use crate::identity::Control;
use crate::ids::OrgId;
use crate::jobs::{JobContext, JobError, Kind};
use crate::knowledge::{self, Knowledge};
use crate::orgs::{self, Orgs};
use crate::store::StoreError;
use crate::store::audit::Action;
use crate::web::Problem;
use crate::web::live::notice_topics;
use crate::web::page::{Bell, NavItem, NavOrg, Navigation};
use crate::workspace::{Door, Refused, Viewer};
use crate::{
    access, admin, api, audit, backup, bundle, demo, deployments, health, insights, notifications, people,
    privacy, retention, usage,
};

/// Who may call a route: the least role, or less than a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, signed in or not.
    Anybody,
    /// Only before setup has ended.
    Setup,
    /// Any account with a session.
    Account,
    /// An operator of the instance.
    Operator,
    /// A member of the workspace in the URL with at least this role.
    Role(crate::identity::Role),
    /// An API token, whose scope and role the route checks.
    Token,
}

/// One route as tests walk it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub access: Access,
}

const fn route(method: &'static str, path: &'static str, access: Access) -> Route {
    Route { method, path, access }
}

use crate::identity::Role::{Admin, Member, Owner, Viewer as Reader};
use Access::{Account, Anybody, Operator, Role, Setup, Token};

/// Who exports which table.
pub use crate::bundle::claims::TABLES;

/// Every route of the product.
pub const ROUTES: &[Route] = &[
    route("GET", "/", Account),
    route("GET", "/account/address", Account),
    route("POST", "/account/address", Account),
    route("GET", "/account/close", Account),
    route("POST", "/account/close", Account),
    route("POST", "/account/close/stop", Account),
    route("GET", "/account/confirm", Account),
    route("POST", "/account/confirm", Account),
    route("POST", "/account/confirm/passkey/begin", Account),
    route("POST", "/account/confirm/passkey/finish", Account),
    route("GET", "/account/data", Account),
    route("POST", "/account/data", Account),
    route("GET", "/account/erasures", Account),
    route("GET", "/account/erasures/{id}/file", Account),
    route("GET", "/account/notifications", Account),
    route("POST", "/account/notifications", Account),
    route("POST", "/account/passkeys/begin", Account),
    route("POST", "/account/passkeys/finish", Account),
    route("GET", "/account/passkeys/{passkey}", Account),
    route("POST", "/account/passkeys/{passkey}/remove", Account),
    route("POST", "/account/passkeys/{passkey}/rename", Account),
    route("POST", "/account/policy", Account),
    route("GET", "/account/profile", Account),
    route("POST", "/account/profile", Account),
    route("POST", "/account/restrict", Account),
    route("GET", "/account/security", Account),
    route("POST", "/account/security/codes", Account),
    route("POST", "/account/security/password", Account),
    route("POST", "/account/security/sessions/end", Account),
    route("POST", "/account/security/sessions/{session}/end", Account),
    route("GET", "/account/security/totp", Account),
    route("POST", "/account/security/totp", Account),
    route("POST", "/account/security/totp/begin", Account),
    route("POST", "/account/security/totp/off", Account),
    route("GET", "/account/sso/link", Account),
    route("POST", "/account/sso/unlink", Account),
    route("GET", "/address/{token}", Anybody),
    route("POST", "/address/{token}", Anybody),
    route("GET", "/admin", Operator),
    route("GET", "/admin/accounts", Operator),
    route("GET", "/admin/accounts/{id}", Operator),
    route("POST", "/admin/accounts/{id}/act", Operator),
    route("POST", "/admin/accounts/{id}/end-sessions", Operator),
    route("POST", "/admin/accounts/{id}/reset", Operator),
    route("POST", "/admin/accounts/{id}/restrict", Operator),
    route("GET", "/admin/audit", Operator),
    route("GET", "/admin/audit/file", Operator),
    route("POST", "/admin/audit/verify", Operator),
    route("GET", "/admin/backups", Operator),
    route("POST", "/admin/backups", Operator),
    route("POST", "/admin/backups/now", Operator),
    route("POST", "/admin/backups/off", Operator),
    route("GET", "/admin/erasures", Operator),
    route("GET", "/admin/erasures/{id}/file", Operator),
    route("GET", "/admin/mail", Operator),
    route("POST", "/admin/mail", Operator),
    route("POST", "/admin/mail/remove", Operator),
    route("POST", "/admin/mail/servers", Operator),
    route("POST", "/admin/mail/{mail}/drop", Operator),
    route("POST", "/admin/mail/{mail}/retry", Operator),
    route("GET", "/admin/model", Operator),
    route("POST", "/admin/model", Operator),
    route("POST", "/admin/model/remove", Operator),
    route("GET", "/admin/policy", Operator),
    route("POST", "/admin/policy", Operator),
    route("GET", "/admin/prices", Operator),
    route("POST", "/admin/prices", Operator),
    route("POST", "/admin/prices/remove", Operator),
    route("GET", "/admin/privacy", Operator),
    route("POST", "/admin/privacy", Operator),
    route("GET", "/admin/sso", Operator),
    route("POST", "/admin/sso", Operator),
    route("POST", "/admin/sso/remove", Operator),
    route("GET", "/admin/traffic", Operator),
    route("GET", "/admin/traffic/file", Operator),
    route("GET", "/admin/workspaces", Operator),
    route("GET", "/admin/workspaces/{id}/quota", Operator),
    route("POST", "/admin/workspaces/{id}/quota", Operator),
    route("POST", "/admin/workspaces/{id}/restrict", Operator),
    route("GET", "/api/v1/audit", Token),
    route("POST", "/api/v1/change-sets", Token),
    route("GET", "/api/v1/change-sets/{change_set}", Token),
    route("POST", "/api/v1/change-sets/{change_set}/cancel", Token),
    route("POST", "/api/v1/change-sets/{change_set}/deploy", Token),
    route("POST", "/api/v1/change-sets/{change_set}/rollback", Token),
    route("POST", "/api/v1/change-sets/{change_set}/validate", Token),
    route("GET", "/api/v1/components/{component}", Token),
    route("POST", "/api/v1/conversations", Token),
    route("DELETE", "/api/v1/conversations/{conversation}", Token),
    route("GET", "/api/v1/conversations/{conversation}/messages", Token),
    route("POST", "/api/v1/conversations/{conversation}/messages", Token),
    route("GET", "/api/v1/conversations/{conversation}/turns/{turn}/events", Token),
    route("POST", "/api/v1/conversations/{conversation}/turns/{turn}/stop", Token),
    route("GET", "/api/v1/documents", Token),
    route("POST", "/api/v1/documents", Token),
    route("GET", "/api/v1/documents/{document}", Token),
    route("DELETE", "/api/v1/documents/{document}", Token),
    route("GET", "/api/v1/documents/{document}/content", Token),
    route("POST", "/api/v1/exports", Token),
    route("GET", "/api/v1/exports/{export}", Token),
    route("GET", "/api/v1/exports/{export}/bundle", Token),
    route("GET", "/api/v1/invitations", Token),
    route("POST", "/api/v1/invitations", Token),
    route("DELETE", "/api/v1/invitations/{invitation}", Token),
    route("GET", "/api/v1/me", Token),
    route("GET", "/api/v1/members", Token),
    route("DELETE", "/api/v1/members/{account}", Token),
    route("POST", "/api/v1/members/{account}/role", Token),
    route("GET", "/api/v1/orgs", Token),
    route("GET", "/api/v1/orgs/{org}/components", Token),
    route("GET", "/api/v1/orgs/{org}/findings", Token),
    route("GET", "/api/v1/orgs/{org}/limits", Token),
    route("GET", "/api/v1/orgs/{org}/sync", Token),
    route("POST", "/api/v1/orgs/{org}/sync", Token),
    route("GET", "/api/v1/search", Token),
    route("GET", "/api/v1/usage", Token),
    route("GET", "/ca.pem", Anybody),
    route("GET", "/cookies", Anybody),
    route("GET", "/demo/{key}", Anybody),
    route("GET", "/forgot", Anybody),
    route("POST", "/forgot", Anybody),
    route("GET", "/healthz", Anybody),
    route("GET", "/invite/{token}", Anybody),
    route("POST", "/invite/{token}", Anybody),
    route("POST", "/invite/{token}/join", Account),
    route("POST", "/invite/{token}/passkey/begin", Anybody),
    route("POST", "/invite/{token}/passkey/finish", Anybody),
    route("POST", "/invite/{token}/switch", Account),
    route("GET", "/metrics", Anybody),
    route("GET", "/oauth/salesforce/callback", Account),
    route("POST", "/password-strength", Anybody),
    route("GET", "/privacy", Anybody),
    route("GET", "/readyz", Anybody),
    route("GET", "/reset/{token}", Anybody),
    route("POST", "/reset/{token}", Anybody),
    route("GET", "/setup", Setup),
    route("POST", "/setup/account", Setup),
    route("POST", "/setup/address", Setup),
    route("POST", "/setup/mail", Setup),
    route("POST", "/setup/mail/next", Setup),
    route("POST", "/setup/model", Setup),
    route("POST", "/setup/model/next", Setup),
    route("POST", "/setup/recovery", Setup),
    route("POST", "/setup/recovery/check", Setup),
    route("GET", "/setup/sign-in", Anybody),
    route("POST", "/setup/sign-in", Anybody),
    route("POST", "/setup/workspace", Setup),
    route("GET", "/sign-in", Anybody),
    route("POST", "/sign-in", Anybody),
    route("GET", "/sign-in/code", Anybody),
    route("POST", "/sign-in/code", Anybody),
    route("POST", "/sign-in/code/passkey/begin", Anybody),
    route("POST", "/sign-in/code/passkey/finish", Anybody),
    route("POST", "/sign-in/passkey/begin", Anybody),
    route("POST", "/sign-in/passkey/finish", Anybody),
    route("GET", "/sign-in/sso", Anybody),
    route("GET", "/sign-in/sso/callback", Anybody),
    route("GET", "/sign-in/sso/prove", Anybody),
    route("POST", "/sign-in/sso/prove", Anybody),
    route("POST", "/sign-out", Account),
    route("GET", "/w/{workspace}/", Role(Reader)),
    route("GET", "/w/{workspace}/audit", Role(Admin)),
    route("GET", "/w/{workspace}/audit/evidence", Role(Admin)),
    route("GET", "/w/{workspace}/audit/file", Role(Admin)),
    route("POST", "/w/{workspace}/audit/verify", Role(Admin)),
    route("GET", "/w/{workspace}/chat", Role(Member)),
    route("POST", "/w/{workspace}/chat", Role(Member)),
    route("GET", "/w/{workspace}/chat/{conversation}", Role(Member)),
    route("POST", "/w/{workspace}/chat/{conversation}", Role(Member)),
    route("POST", "/w/{workspace}/chat/{conversation}/again", Role(Member)),
    route("POST", "/w/{workspace}/chat/{conversation}/consent", Role(Member)),
    route("GET", "/w/{workspace}/chat/{conversation}/delete", Role(Member)),
    route("POST", "/w/{workspace}/chat/{conversation}/delete", Role(Member)),
    route("GET", "/w/{workspace}/chat/{conversation}/export", Role(Member)),
    route("POST", "/w/{workspace}/chat/{conversation}/pin", Role(Member)),
    route("POST", "/w/{workspace}/chat/{conversation}/rename", Role(Member)),
    route("GET", "/w/{workspace}/chat/{conversation}/turns/{turn}/events", Role(Member)),
    route("POST", "/w/{workspace}/chat/{conversation}/turns/{turn}/stop", Role(Member)),
    route("GET", "/w/{workspace}/chats", Role(Member)),
    route("GET", "/w/{workspace}/knowledge", Role(Reader)),
    route("POST", "/w/{workspace}/knowledge", Role(Member)),
    route("GET", "/w/{workspace}/knowledge/{document}", Role(Reader)),
    route("GET", "/w/{workspace}/knowledge/{document}/content", Role(Reader)),
    route("GET", "/w/{workspace}/knowledge/{document}/delete", Role(Member)),
    route("POST", "/w/{workspace}/knowledge/{document}/delete", Role(Member)),
    route("POST", "/w/{workspace}/knowledge/{document}/retry", Role(Member)),
    route("GET", "/w/{workspace}/leave", Role(Reader)),
    route("POST", "/w/{workspace}/leave", Role(Reader)),
    route("GET", "/w/{workspace}/live", Role(Reader)),
    route("GET", "/w/{workspace}/members", Role(Admin)),
    route("POST", "/w/{workspace}/members", Role(Admin)),
    route("GET", "/w/{workspace}/members/access", Role(Admin)),
    route("POST", "/w/{workspace}/members/invitations/{invitation}/withdraw", Role(Admin)),
    route("POST", "/w/{workspace}/members/roles", Role(Admin)),
    route("GET", "/w/{workspace}/members/{account}/remove", Role(Admin)),
    route("POST", "/w/{workspace}/members/{account}/remove", Role(Admin)),
    route("GET", "/w/{workspace}/n/{notice}", Role(Reader)),
    route("GET", "/w/{workspace}/notifications", Role(Reader)),
    route("POST", "/w/{workspace}/notifications/read", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/connection", Role(Reader)),
    route("POST", "/w/{workspace}/o/{org}/deploy-policy", Role(Admin)),
    route("GET", "/w/{workspace}/o/{org}/deployments", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/deployments/{change_set}", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/deployments/{change_set}/approve", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/deployments/{change_set}/approve", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/deployments/{change_set}/cancel", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/deployments/{change_set}/discard", Role(Member)),
    route("GET", "/w/{workspace}/o/{org}/deployments/{change_set}/edit", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/deployments/{change_set}/edit", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/deployments/{change_set}/release", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/deployments/{change_set}/roll-back", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/deployments/{change_set}/validate", Role(Member)),
    route("GET", "/w/{workspace}/o/{org}/disconnect", Role(Admin)),
    route("POST", "/w/{workspace}/o/{org}/disconnect", Role(Admin)),
    route("GET", "/w/{workspace}/o/{org}/findings", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/findings/{finding}", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/limits", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/metadata", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/metadata/{kind}/{name}", Role(Reader)),
    route("POST", "/w/{workspace}/o/{org}/sync", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/sync/cancel", Role(Member)),
    route("GET", "/w/{workspace}/orgs", Role(Reader)),
    route("GET", "/w/{workspace}/orgs/connect", Role(Admin)),
    route("POST", "/w/{workspace}/orgs/connect", Role(Admin)),
    route("POST", "/w/{workspace}/orgs/connect/auth-url", Role(Admin)),
    route("GET", "/w/{workspace}/privacy", Role(Admin)),
    route("GET", "/w/{workspace}/privacy/delete", Role(Owner)),
    route("POST", "/w/{workspace}/privacy/delete", Role(Owner)),
    route("POST", "/w/{workspace}/privacy/delete/stop", Role(Owner)),
    route("GET", "/w/{workspace}/privacy/export", Role(Owner)),
    route("POST", "/w/{workspace}/privacy/export", Role(Owner)),
    route("GET", "/w/{workspace}/privacy/export/{export}/bundle", Role(Owner)),
    route("POST", "/w/{workspace}/privacy/export/{export}/delete", Role(Owner)),
    route("POST", "/w/{workspace}/privacy/restrict", Role(Owner)),
    route("GET", "/w/{workspace}/privacy/retention", Role(Admin)),
    route("POST", "/w/{workspace}/privacy/retention", Role(Owner)),
    route("GET", "/w/{workspace}/privacy/traffic", Role(Reader)),
    route("GET", "/w/{workspace}/privacy/traffic/file", Role(Reader)),
    route("GET", "/w/{workspace}/settings", Role(Admin)),
    route("POST", "/w/{workspace}/settings", Role(Admin)),
    route("GET", "/w/{workspace}/settings/mail", Role(Admin)),
    route("POST", "/w/{workspace}/settings/mail", Role(Admin)),
    route("POST", "/w/{workspace}/settings/mail/remove", Role(Admin)),
    route("GET", "/w/{workspace}/tokens", Role(Reader)),
    route("POST", "/w/{workspace}/tokens", Role(Reader)),
    route("POST", "/w/{workspace}/tokens/{token}/revoke", Role(Reader)),
    route("GET", "/w/{workspace}/transfer", Role(Owner)),
    route("POST", "/w/{workspace}/transfer", Role(Owner)),
    route("GET", "/w/{workspace}/usage", Role(Reader)),
    route("POST", "/w/{workspace}/usage/budget", Role(Admin)),
    route("GET", "/w/{workspace}/usage/capacity", Role(Admin)),
    route("GET", "/w/{workspace}/usage/file", Role(Reader)),
    route("GET", "/workspaces", Account),
    route("GET", "/workspaces/new", Account),
    route("POST", "/workspaces/new", Account),
    route("GET", "/workspaces/new/import", Account),
    route("POST", "/workspaces/new/import", Account),
];

/// Mounts every feature.
pub fn mount(config: &mut web::ServiceConfig) {
    crate::web::assets::routes(config);
    crate::web::live::routes(config);
    health::routes(config);
    people::routes(config);
    people::api_routes(config);
    api::routes(config);
    demo::routes(config);
    orgs::routes(config);
    access::routes(config);
    insights::routes(config);
    knowledge::routes(config);
    chat::routes(config);
    deployments::routes(config);
    notifications::routes(config);
    audit::routes(config);
    privacy::routes(config);
    retention::routes(config);
    usage::routes(config);
    bundle::routes(config);
    admin::routes(config);
    backup::routes(config);
}

/// Every kind of background job.
pub fn jobs(control: &Control, orgs: &Orgs, knowledge: &Knowledge, chat: &Chat) -> Vec<Kind> {
    let mut kinds = orgs.jobs();
    kinds.extend(knowledge.jobs());
    kinds.extend(chat.jobs());
    kinds.extend(deployments::jobs(orgs));
    kinds.extend(audit::jobs(control));
    kinds.extend(notifications::jobs(control));
    kinds.extend(bundle::jobs(control));
    kinds.push(Kind::new(orgs::SYNCED, insights::analyse));
    kinds.push(Kind::new(orgs::FORGOTTEN, forgotten).also_while_deleting());
    kinds
}

/// Queues the building of the search indexes of every workspace: a backup leaves them out.
pub async fn build_indexes(control: &Control, door: &Door) -> Result<(), Refused> {
    for (id, _) in control.all_workspaces()? {
        let ws = door.for_runner(id)?;
        knowledge::rebuild(&ws).await?;
        orgs::search::rebuild(&ws).await?;
    }
    Ok(())
}

/// Every slice removes what it keeps of an org that was disconnected.
async fn forgotten(job: JobContext) -> Result<(), JobError> {
    let id: OrgId =
        serde_json::from_value(job.args["org"].clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    let (ws, _) = job.split();
    let ws = Arc::new(ws);
    insights::forget(&ws, id).await?;
    deployments::forget(&ws, id).await?;
    // From here on nothing of it is left but bytes in unused pages.
    Ok(ws.change(Action::OrgForgotten, id, |_| Ok::<_, StoreError>(())).await?)
}

/// The sidebar of a workspace; `current` is the path of the open entry below `/w/{slug}/`.
pub fn navigation(control: &Control, ws: &Viewer, current: &str) -> Result<Navigation, Problem> {
    let path = |end: &str| format!("/w/{}/{end}", ws.row().slug);
    let item = |end: &str, label, icon| NavItem { href: path(end), label, icon, count: 0 };
    let read = ws.read()?;
    let all = orgs::records::all(&read)?;
    let (open, section) = match current.strip_prefix("o/") {
        Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        None => ("", ""),
    };
    let here = all.iter().find(|(_, org)| org.slug == open).or(all.first());
    let orgs = all.iter().map(|(_, org)| NavOrg {
        href: path(format!("o/{}/{section}", org.slug).trim_end_matches('/')),
        name: org.name.clone(),
        kind: org.kind.label(),
        signed_out: org.signed_out.is_some(),
        current: here.is_some_and(|(_, h)| h.slug == org.slug),
    });
    let mut main = Vec::new();
    let (mut new_chat, mut recent) = (String::new(), Vec::new());
    if ws.role() >= Member {
        new_chat = path("chat");
        recent = chat::recent(&read, ws.account(), &ws.row().slug)?;
        main.push(item("chat", "Chat", "message-square-text"));
    }
    let mut home = path("orgs");
    if let Some((id, org)) = here {
        let below = |end: &str| format!("o/{}{end}", org.slug);
        home = path(&below(""));
        main.push(item(&below(""), "Org health", "activity"));
        let count = insights::open_findings(&read, *id)?;
        main.push(NavItem { count, ..item(&below("/findings"), "Findings", "shield-alert") });
        main.push(item(&below("/metadata"), "Metadata", "boxes"));
        let count = deployments::waiting(&read, *id, ws.clock().now())?;
        main.push(NavItem { count, ..item(&below("/deployments"), "Deployments", "rocket") });
    }
    main.push(item("knowledge", "Knowledge", "library"));
    let mut foot = vec![item("usage", "Usage", "chart-column"), item("orgs", "Orgs", "cloud")];
    if ws.role() >= Admin {
        foot.push(item("members", "Members", "users"));
        foot.push(item("audit", "Audit log", "scroll-text"));
    }
    foot.push(item("tokens", "API tokens", "key-round"));
    let bell = Bell {
        href: path("notifications"),
        stream: path("live"),
        topics: notice_topics(ws.account()),
        unread: notifications::unread(control, ws)?,
    };
    Ok(Navigation { orgs: orgs.collect(), new_chat, main, recent, foot, home, bell: Some(bell) })
}
