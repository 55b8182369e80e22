//! Change sets: drafted (`propose`, `checks`), packed (`package`), validated in the org (`runs`, `send`, `watch`), approved
//! and deployed by a person (`approve`, `runs`). `records` is what is kept, `state` where one stands; `pages`,
//! `change_page`, `edit_page` and `approve_page` show it.

mod approve;
mod approve_page;
mod change_page;
mod checks;
mod edit_page;
mod forget;
mod notices;
mod package;
mod pages;
mod present;
mod propose;
pub mod records;
mod runs;
mod send;
mod state;
mod view;
mod watch;

pub use approve::{Approval, Approved, approval, approve, may_approve, may_release, standing};
pub use forget::forget;
pub use pages::waiting;
pub use propose::{
    EditError, NewChangeSet, Proposed, ProposedFile, discard, edit, list_topic, propose, roll_back,
};
pub use records::topic;
pub use runs::{cancel, release, request_validation, run};
pub use state::{Stage, State, drifted, state};

use actix_web::web;

use crate::jobs::Kind;
use crate::orgs::Orgs;

/// The background work of this slice.
pub fn jobs(orgs: &Orgs) -> Vec<Kind> {
    let (validate, deploy) = (orgs.clone(), orgs.clone());
    vec![
        Kind::new(watch::VALIDATE, move |job| watch::run(validate.clone(), job)).interactive(),
        Kind::new(watch::DEPLOY, move |job| watch::run(deploy.clone(), job)).interactive(),
    ]
}

/// Pages of this slice.
pub fn routes(config: &mut web::ServiceConfig) {
    pages::routes(config);
    change_page::routes(config);
    edit_page::routes(config);
    approve_page::routes(config);
}
