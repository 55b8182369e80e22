//! What bundles carry: every table with its records, in the order in which they stand in a bundle.

mod chat;
mod deployments;
mod knowledge;
mod orgs;
mod rest;

use super::table::Records;

/// The tables of the workspace's file, in order.
pub fn all() -> Vec<Box<dyn Records>> {
    let mut all = rest::audit();
    all.extend(orgs::all());
    all.extend(knowledge::all());
    all.extend(chat::all());
    all.extend(deployments::all());
    all.extend(rest::all());
    all
}
