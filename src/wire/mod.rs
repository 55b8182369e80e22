//! Clients of the services outside: concrete types with a base URL, over the egress gate.

pub mod mail;
pub mod model;
pub mod oidc;
pub mod salesforce;
