//! People: first run, sign-in, the account's own pages, API tokens. `setup` is the wizard (`setup_model` and `setup_mail`
//! its steps for model and mail), `sign_in` the session with `code` its second step and `confirm` before dangerous acts,
//! `security` what an account signs in with (`password`, `passkeys`), `account` the profile, `tokens` API tokens.
//! `workspaces` are those of a person, `members` what is done to people in one (`members_page` and `leaving` draw it),
//! `invite` sends invitations, `reminders` reminds of them, and `join` accepts them, `join_passkey` with a passkey; `passkey_sign_in` and `sso` sign in.
//! `workspace_mail` is the mail server of one workspace. `tries` counts guesses at accounts.

mod account;
mod address;
mod close;
mod code;
mod confirm;
mod device;
pub mod invite;
mod join;
mod join_passkey;
mod leaving;
pub mod members;
mod members_page;
mod passkey_sign_in;
pub mod passkeys;
mod password;
mod reminders;
mod reset;
mod security;
mod setup;
mod setup_mail;
mod setup_model;
mod sign_in;
mod sso;
mod tokens;
mod tries;
mod workspace_mail;
mod workspaces;

pub use reminders::{Reminders, Reminding};
pub use setup::{create_workspace, gate};
pub use sign_in::with_cookie;

use actix_web::web;

/// Pages of this slice.
pub fn routes(config: &mut web::ServiceConfig) {
    setup::routes(config);
    setup_model::routes(config);
    setup_mail::routes(config);
    sign_in::routes(config);
    code::routes(config);
    confirm::routes(config);
    password::routes(config);
    security::routes(config);
    passkeys::routes(config);
    passkey_sign_in::routes(config);
    sso::routes(config);
    account::routes(config);
    reset::routes(config);
    address::routes(config);
    close::routes(config);
    tokens::routes(config);
    workspaces::routes(config);
    workspace_mail::routes(config);
    members_page::routes(config);
    leaving::routes(config);
    invite::routes(config);
    join::routes(config);
    join_passkey::routes(config);
}

/// `/api/v1/me`.
pub fn api_routes(config: &mut web::ServiceConfig) {
    account::api_routes(config);
}

/// An error as a sentence of its own.
fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut rest = text.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}{}", rest.as_str(), if text.ends_with('.') { "" } else { "." })
}

/// A step number as loops count.
fn nth(step: u8) -> usize {
    usize::from(step)
}
