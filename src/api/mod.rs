//! REST under `/api/v1`: JSON over the slices' own verbs. The bearer token decides the workspace; a scope is
//! needed besides the role. Lists answer `{"items":[],"next":null}`; errors are problem+json.

mod audit;
mod change_sets;
mod components;
mod conversations;
mod documents;
mod exports;
pub mod idempotent;
mod members;
mod orgs;
mod search;
mod usage;

pub use idempotent::prune_answers;

use actix_web::web;
use serde::{Deserialize, Serialize};

use crate::identity::Scope;
use crate::web::{Me, Problem};

/// Rows of a list when nothing else is asked for, and at most.
const USUAL: usize = 50;
const MOST: usize = 200;

pub fn routes(config: &mut web::ServiceConfig) {
    audit::routes(config);
    change_sets::routes(config);
    orgs::routes(config);
    components::routes(config);
    conversations::routes(config);
    documents::routes(config);
    exports::routes(config);
    members::routes(config);
    search::routes(config);
    usage::routes(config);
}

/// Which part of a list.
#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(USUAL).clamp(1, MOST)
    }
}

/// Part of a list, and the cursor of what follows.
#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> List<T> {
    /// From at most one row more than `limit`: that one only tells that something follows.
    fn cut<K>(mut rows: Vec<(K, T)>, limit: usize, cursor: impl Fn(&K) -> String) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|(key, _)| cursor(key));
        Self { items: rows.into_iter().map(|(_, item)| item).collect(), next }
    }
}

/// Refuses a token without the scope; the role was checked by the handler's extractor.
fn needs(me: &Me, scope: Scope) -> Result<(), Problem> {
    if me.has(scope) { Ok(()) } else { Err(Problem::NoScope(scope)) }
}
