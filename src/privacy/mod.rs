//! What people are owed about their data: what is kept and where it goes (`pages`), where it went (`traffic`), that
//! processing can be restricted (`restriction`), that a workspace can be deleted (`deletion`, with the certificates in
//! `erasures`), and the `policy` that promises it, whose changes are mailed (`policy_mail`).

mod deletion;
mod erasures;
mod pages;
mod policy;
mod policy_mail;
mod restriction;
mod traffic;
mod traffic_pages;

pub use policy_mail::{POLICY_MAILS, mail_policy};

use actix_web::web;

pub fn routes(config: &mut web::ServiceConfig) {
    deletion::routes(config);
    erasures::routes(config);
    pages::routes(config);
    policy::routes(config);
    restriction::routes(config);
    traffic_pages::routes(config);
}
