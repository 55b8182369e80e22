//! Vynos, self-hosted edition. The map; docs/ARCHITECTURE.md walks through it.
//!
//! An arrow may only point down this list:
//! `cli app features` (assembly) · `retention usage health chat deployments insights access people orgs knowledge admin audit backup privacy` (slices) · `meter` · `notifications` · `models mail ledger`
//! · `web` · `jobs` · `workspace` · `identity` · `egress` · `store` · `seal` · `apex clock ids`.

pub mod access;
pub mod admin;
pub mod apex;
pub mod api;
pub mod app;
pub mod audit;
pub mod backup;
pub mod bundle;
pub mod causes;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod console;
pub mod demo;
pub mod deployments;
pub mod egress;
pub mod erasure;
pub mod features;
pub mod health;
pub mod identity;
pub mod ids;
pub mod insights;
pub mod jobs;
pub mod knowledge;
pub mod ledger;
pub mod mail;
pub mod meter;
pub mod models;
pub mod notifications;
pub mod orgs;
pub mod people;
pub mod privacy;
pub mod retention;
pub mod seal;
pub mod sim;
pub mod store;
pub mod usage;
pub mod web;
pub mod wire;
pub mod workspace;
