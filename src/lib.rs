//! Vynos, self-hosted edition. The map; docs/ARCHITECTURE.md walks through it.
//!
//! An arrow may only point down this list:
//! `cli app features` (assembly) · `people audit health insights` (slices) · `web` · `jobs` · `workspace` ·
//! `identity` · `egress` · `store` · `seal` · `apex clock ids`.

pub mod apex;
pub mod api;
pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod demo;
pub mod egress;
pub mod features;
pub mod health;
pub mod identity;
pub mod ids;
pub mod insights;
pub mod jobs;
pub mod ledger;
pub mod orgs;
pub mod people;
pub mod seal;
pub mod sim;
pub mod store;
pub mod web;
pub mod wire;
pub mod workspace;
