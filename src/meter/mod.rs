//! What is used, and what it costs. Whoever causes a metered act calls [`record`] inside its own change; `records` sums it up
//! by day at once. `prices` says what tokens cost, `budgets` what a month may take, and stops a call before it is made.
//! The pages that show it are in `usage`.

pub mod budgets;
pub mod prices;
pub mod records;

#[cfg(test)]
mod tests;

pub use budgets::{Hold, Limit, Meter, Reached, Whose};
pub use prices::{Cost, Price, Prices};
pub use records::{Act, Event, Facet, Feature, Spent, Sums, record};

/// Nano-dollars in a dollar.
pub const NANO: u64 = 1_000_000_000;

/// An amount as people read it, rounded to the nearest cent; below ten cents to a hundredth of one.
pub fn dollars(nano: u64) -> String {
    let grouped = crate::web::page::grouped;
    if nano == 0 {
        return "$0".into();
    }
    if nano < NANO / 10 {
        let parts = (nano.saturating_add(50_000) / 100_000).max(1);
        return format!("$0.{parts:04}");
    }
    let cents = nano.saturating_add(5_000_000) / 10_000_000;
    format!("${}.{:02}", grouped(cents / 100), cents % 100)
}

/// An amount in dollars to the last nano-dollar, for files: `12.000400000`.
pub fn exact_dollars(nano: u64) -> String {
    format!("{}.{:09}", nano / NANO, nano % NANO)
}
