//! What is wrong or risky in an org: the checks are in `rules` (pure functions), `analyse` runs them after
//! each sync, `records` is what is kept, `health` and
//! `pages` show it.

mod analyse;
mod gauge;
mod health;
mod pages;
pub mod records;
pub mod rules;

pub use analyse::{forget, run as analyse};
pub use pages::{open_findings, routes};

/// The API version that ages count from: the newest that this build was tested with.
const CURRENT_API: f64 = 67.0;
