//! Vynos, self-hosted edition. The map; docs/ARCHITECTURE.md walks through it.
//!
//! An arrow may only point down this list:
//! `cli app features` (assembly) · the slices (`people orgs insights knowledge chat deployments …`) ·
//! `sim` · `web` · `jobs` · `workspace` · `identity` · `wire` · `egress` · `store` · `seal` ·
//! `clock ids config log apex`.

pub mod apex;
pub mod clock;
pub mod egress;
pub mod identity;
pub mod ids;
pub mod insights;
pub mod knowledge;
pub mod seal;
pub mod sim;
pub mod store;
pub mod wire;
pub mod workspace;
