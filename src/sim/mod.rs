//! Simulated outside services: real HTTP servers on loopback that keep state and refuse what the real ones
//! refuse, for the demo, tests and training.

pub mod documents;
pub mod model;
pub mod salesforce;
