//! Conversations: `verbs` is what a person does, `turn` the job that answers, with what it looks at in `tools` and what
//! it says it from in `citations`, and what leaves for the model in `prompt` through `mask`, metered by `spending`; `hub` tells running turns to pages, `records` is what is kept, `pages` shows it.

mod citations;
mod expire;
mod fallback;
pub mod hub;
mod mask;
mod pages;
mod prompt;
pub mod records;
mod spending;
mod tools;
mod turn;
mod verbs;

pub use expire::{expire, quiet, said_bytes};
pub use pages::{recent, routes};
pub use verbs::{Asked, TURN, erase, of, pin, rename, topic};

use crate::identity::Role;
use crate::jobs::Kind;
use crate::meter::Meter;
use crate::models::Models;
use hub::Hub;

/// What this slice needs of the process.
#[derive(Clone)]
pub struct Chat {
    pub models: Models,
    pub hub: Hub,
    pub meter: Meter,
}

impl Chat {
    /// The background work of this slice.
    pub fn jobs(&self) -> Vec<Kind> {
        let this = self.clone();
        vec![Kind::new(TURN, move |job| turn::run(this.clone(), job)).interactive().asked_by(Role::Member)]
    }
}
