//! How long things are kept. `pages` shows and sets the limits of a workspace, with what would go said before (`due`);
//! `sweep` looks every day and removes what is due, by the verbs that a person's delete uses. `grown` ends what nobody
//! deletes: lines of the egress gate, ended sessions, old notices. The limits themselves are in
//! [`crate::workspace::retention`], where every slice can ask.

mod due;
mod grown;
mod pages;
mod sweep;

pub use pages::routes;
pub use sweep::{Sweeper, Sweeping};
