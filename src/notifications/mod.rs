//! What people are told: notices of a workspace and of an account, the bell and the inbox that show them, the choice of
//! what comes by mail. Others call [`raise`] and [`tell`]; `kinds` is the closed list, `records` keeps the rows,
//! `inbox` reads them for one person, `mailing` brings them to the outbox, `pages` and `preferences` draw.

mod erase;
mod inbox;
mod kinds;
mod mailing;
mod pages;
mod preferences;
pub mod records;

pub use erase::{erase, forget, forget_org, forget_workspace};
pub use inbox::unread;
pub use kinds::{Choice, Choices, Kind};
pub use mailing::jobs;
pub use records::{ACCOUNT_NOTICES, Audience, Notice, prune, prune_accounts, raise, tell};

pub fn routes(config: &mut actix_web::web::ServiceConfig) {
    pages::routes(config);
    preferences::routes(config);
}

/// The job that puts a notice into the outbox of the instance.
pub(crate) const MAIL_JOB: &str = "notices.mail";
