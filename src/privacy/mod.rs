//! What people are owed about their data: what is kept and where it goes (`pages`), where it went (`traffic`), and that
//! processing can be restricted (`restriction`).

mod pages;
mod restriction;
mod traffic;
mod traffic_pages;

use actix_web::web;

pub fn routes(config: &mut web::ServiceConfig) {
    pages::routes(config);
    restriction::routes(config);
    traffic_pages::routes(config);
}
