//! Simulated Salesforce org and model: real HTTP servers on loopback, for the demo, tests and training.

pub mod model;
pub mod salesforce;
