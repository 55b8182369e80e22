//! The audit log. `log` reads the lines of a chain that fit a filter (`asked` is the filter as text, `rows` what people see of a
//! line), `pages` show them to the admins of a workspace, `instance` to operators. `verify` checks a workspace's chains as a
//! job, `evidence` is what to hand over when one does not hold, `keeper` lets lines go whose time is over.

pub mod asked;
mod evidence;
mod instance;
pub mod keeper;
pub mod log;
mod pages;
mod rows;
pub mod verify;

use actix_web::web;

use crate::identity::Control;
use crate::jobs::Kind;

pub use keeper::Keeper;

pub fn routes(config: &mut web::ServiceConfig) {
    pages::routes(config);
    instance::routes(config);
}

pub fn jobs(control: &Control) -> Vec<Kind> {
    vec![verify::job(control)]
}
