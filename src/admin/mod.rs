//! The instance, for its operators: its `workspaces` (each with its `quota`) and `accounts` (and the `reset` that lets somebody in again), its `policy`, the
//! `model` endpoint with its `prices` and the `mail` server with its `outbox`. Never the contents of a workspace: names, sizes, members and state at most.

mod accounts;
mod mail;
mod model;
mod outbox;
mod policy;
mod prices;
mod quota;
pub mod reset;
mod sso;
mod workspaces;

use actix_web::web;
use serde::Deserialize;

pub fn routes(config: &mut web::ServiceConfig) {
    accounts::routes(config);
    mail::routes(config);
    model::routes(config);
    outbox::routes(config);
    policy::routes(config);
    prices::routes(config);
    quota::routes(config);
    sso::routes(config);
    workspaces::routes(config);
}

/// The pages: path below `/admin`, title, and what the tab says.
pub const TABS: &[(&str, &str, &str)] = &[
    ("", "Server status", "Status"),
    ("/workspaces", "Workspaces", "Workspaces"),
    ("/accounts", "Accounts", "Accounts"),
    ("/erasures", "Erasures", "Erasures"),
    ("/policy", "Policy", "Policy"),
    ("/model", "Model endpoint", "Model endpoint"),
    ("/prices", "Prices", "Prices"),
    ("/mail", "Mail", "Mail"),
    ("/backups", "Backups", "Backups"),
    ("/privacy", "Privacy policy", "Privacy"),
    ("/sso", "Single sign-on", "Single sign-on"),
    ("/traffic", "Outbound traffic", "Traffic"),
    ("/audit", "Audit log", "Audit"),
];

/// A form that is only a button.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}
