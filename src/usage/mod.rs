//! Usage of a workspace: `report` reads the sums of the meter for a range of days, `chart` draws them, `pages` shows a month
//! and hands it out as a file, `budget` sets what a month may take. Admins and owners see everybody's numbers, other members
//! their own.

mod budget;
mod chart;
mod pages;
mod report;

pub use report::{By, Report, Row, Whole};

use actix_web::web;

pub fn routes(config: &mut web::ServiceConfig) {
    budget::routes(config);
    pages::routes(config);
}
