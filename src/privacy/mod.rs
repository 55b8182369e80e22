//! What people are owed about their data: where it went (`traffic`).

mod traffic;
mod traffic_pages;

use actix_web::web;

pub fn routes(config: &mut web::ServiceConfig) {
    traffic_pages::routes(config);
}
