//! Usage of a workspace: `report` reads the sums of the meter for a range of days, `chart` draws them, `pages` shows a month
//! and hands it out as a file, `budget` sets what a month may take. `samples` are taken once a day, `capacity` shows them with their `forecast`. Admins and owners see everybody's numbers, other members
//! their own.

mod budget;
mod capacity;
mod chart;
mod forecast;
mod pages;
mod report;
pub mod samples;

pub use report::{By, Report, Row, Whole};
pub use samples::{Sampler, Sampling};

use actix_web::web;

pub fn routes(config: &mut web::ServiceConfig) {
    budget::routes(config);
    capacity::routes(config);
    pages::routes(config);
}
