//! What is wrong or risky in an org: the checks are in `rules` (pure functions), `analyse` runs them after
//! each sync, `records` is what is kept, `pages` shows it.

mod analyse;
mod pages;
pub mod records;
pub mod rules;

pub use analyse::{forget, run as analyse};
pub use pages::routes;

/// The API version that ages count from: the newest that this build was tested with.
const CURRENT_API: f64 = 67.0;
