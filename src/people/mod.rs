//! People: first run, sign-in, the account's own pages, API tokens. `setup` is the wizard (`setup_model` and `setup_mail` its
//! steps for model and mail), `sign_in` the
//! session, `account` the profile, `tokens` API tokens. `workspaces` are those of a person, `members` what is done to
//! people in one (`members_page` draws it), `invite` sends invitations and `join` accepts them.

mod account;
mod address;
mod close;
pub mod invite;
mod join;
pub mod members;
mod members_page;
mod reset;
mod setup;
mod setup_mail;
mod setup_model;
mod sign_in;
mod tokens;
mod workspaces;

pub use setup::{create_workspace, gate};
pub use sign_in::with_cookie;

use actix_web::web;

/// Pages of this slice.
pub fn routes(config: &mut web::ServiceConfig) {
    setup::routes(config);
    setup_model::routes(config);
    setup_mail::routes(config);
    sign_in::routes(config);
    account::routes(config);
    reset::routes(config);
    address::routes(config);
    close::routes(config);
    tokens::routes(config);
    workspaces::routes(config);
    members_page::routes(config);
    invite::routes(config);
    join::routes(config);
}

/// `/api/v1/me`.
pub fn api_routes(config: &mut web::ServiceConfig) {
    account::api_routes(config);
}

/// A step number as loops count.
fn nth(step: u8) -> usize {
    usize::from(step)
}
