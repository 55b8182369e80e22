//! THE list: every feature with its routes, tables and jobs. Coverage tests derive from it.

use actix_web::web;

use crate::jobs::Kind;
use crate::orgs::{self, Orgs};
use crate::web::page::{NavItem, Navigation};
use crate::workspace::Viewer;
use crate::{api, audit, demo, health, insights, people};

/// Who may call a route: the least role, or less than a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, signed in or not.
    Anybody,
    /// Only before setup has ended.
    Setup,
    /// Any account with a session.
    Account,
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

use crate::identity::Role::{Admin, Member, Viewer as Reader};
use Access::{Account, Anybody, Role, Setup, Token};

/// Every route of the product.
pub const ROUTES: &[Route] = &[
    route("GET", "/", Account),
    route("GET", "/account/profile", Account),
    route("POST", "/account/profile", Account),
    route("GET", "/api/v1/components/{component}", Token),
    route("GET", "/api/v1/me", Token),
    route("GET", "/api/v1/orgs", Token),
    route("GET", "/api/v1/orgs/{org}/components", Token),
    route("GET", "/api/v1/orgs/{org}/findings", Token),
    route("GET", "/api/v1/orgs/{org}/limits", Token),
    route("GET", "/api/v1/orgs/{org}/sync", Token),
    route("POST", "/api/v1/orgs/{org}/sync", Token),
    route("GET", "/ca.pem", Anybody),
    route("GET", "/demo/{key}", Anybody),
    route("GET", "/healthz", Anybody),
    route("GET", "/oauth/salesforce/callback", Account),
    route("GET", "/readyz", Anybody),
    route("GET", "/setup", Setup),
    route("POST", "/setup/account", Setup),
    route("POST", "/setup/address", Setup),
    route("POST", "/setup/recovery", Setup),
    route("POST", "/setup/recovery/check", Setup),
    route("GET", "/setup/sign-in", Anybody),
    route("POST", "/setup/sign-in", Anybody),
    route("POST", "/setup/workspace", Setup),
    route("GET", "/sign-in", Anybody),
    route("POST", "/sign-in", Anybody),
    route("POST", "/sign-out", Account),
    route("GET", "/w/{workspace}/", Role(Reader)),
    route("GET", "/w/{workspace}/audit", Role(Admin)),
    route("GET", "/w/{workspace}/live", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}", Role(Reader)),
    route("POST", "/w/{workspace}/o/{org}/disconnect", Role(Admin)),
    route("GET", "/w/{workspace}/o/{org}/findings", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/findings/{finding}", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/metadata", Role(Reader)),
    route("GET", "/w/{workspace}/o/{org}/metadata/{kind}/{name}", Role(Reader)),
    route("POST", "/w/{workspace}/o/{org}/sync", Role(Member)),
    route("POST", "/w/{workspace}/o/{org}/sync/cancel", Role(Member)),
    route("GET", "/w/{workspace}/orgs", Role(Reader)),
    route("GET", "/w/{workspace}/orgs/connect", Role(Admin)),
    route("POST", "/w/{workspace}/orgs/connect", Role(Admin)),
    route("POST", "/w/{workspace}/orgs/connect/auth-url", Role(Admin)),
    route("GET", "/w/{workspace}/tokens", Role(Reader)),
    route("POST", "/w/{workspace}/tokens", Role(Reader)),
    route("POST", "/w/{workspace}/tokens/{token}/revoke", Role(Reader)),
    route("GET", "/workspaces", Account),
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
    insights::routes(config);
    audit::routes(config);
}

/// Every kind of background job.
pub fn jobs(orgs: &Orgs) -> Vec<Kind> {
    let mut kinds = orgs.jobs();
    kinds.push(Kind::new(orgs::SYNCED, insights::analyse));
    kinds.push(Kind::new(orgs::FORGOTTEN, insights::forget));
    kinds
}

/// The sidebar of a workspace.
pub fn navigation(ws: &Viewer) -> Navigation {
    let path = |end: &str| format!("/w/{}/{end}", ws.row().slug);
    let item = |end: &str, label, icon| NavItem { href: path(end), label, icon, count: 0 };
    let mut foot = Vec::new();
    if ws.role() >= Admin {
        foot.push(item("audit", "Audit log", "scroll-text"));
    }
    foot.push(item("tokens", "API tokens", "key-round"));
    Navigation { main: vec![item("orgs", "Orgs", "cloud")], foot, ..Navigation::default() }
}
