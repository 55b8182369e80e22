//! Change sets: drafted (`propose`, `checks`), packed (`package`), validated in the org (`validate`, `watch`),
//! approved and deployed by a person (`approve`, `release`). `records` is what is kept, `state` where one stands,
//! `pages` and its neighbours show it.

mod approve;
mod checks;
mod package;
mod propose;
pub mod records;
mod state;

pub use approve::{Approval, Approved, approval, approve, may_approve, may_release, standing};
pub use state::{Stage, State, drifted, state};
pub use propose::{
    EditError, NewChangeSet, Proposed, ProposedFile, discard, edit, list_topic, of, propose, roll_back,
};
