//! Salesforce orgs: `connect` them, keep their tokens (`access`), `sync` their metadata into the catalogue
//! (`records`), show it (`pages`, `explorer`), find in it (`search`), say who deploys to it (`policy`).

mod access;
mod connect;
mod connect_pages;
mod describe_fields;
mod explorer;
pub mod history;
mod notices;
mod pages;
mod policy;
pub mod records;
pub mod search;
mod sync;

pub use access::{AccessError, Refreshing, revoke, session};
pub use connect::{from_auth_url, prune_pending};
pub use pages::{Limit, SyncState, counts, limits, request_sync, shown, sync_state};
pub use policy::DeployPolicy;
pub use sync::{SYNC, SYNCED};

use actix_web::web;
use url::Url;

use crate::egress::Gate;
use crate::identity::Role;
use crate::jobs::{Board, Kind};

/// Queued when an org is disconnected: other slices remove what they keep of it.
pub const FORGOTTEN: &str = "org.forgotten";

/// What this slice needs of the process.
#[derive(Clone)]
pub struct Orgs {
    pub gate: Gate,
    pub board: Board,
    pub refreshing: Refreshing,
    /// Our OAuth callback, as it has to be registered.
    pub callback: Url,
}

impl Orgs {
    /// The background work of this slice.
    pub fn jobs(&self) -> Vec<Kind> {
        let this = self.clone();
        vec![
            Kind::new(SYNC, move |job| sync::run(this.clone(), job)).asked_by(Role::Member),
            Kind::new(search::INDEX, search::index),
        ]
    }
}

/// Pages of this slice.
pub fn routes(config: &mut web::ServiceConfig) {
    connect_pages::routes(config);
    pages::routes(config);
    policy::routes(config);
    explorer::routes(config);
}
