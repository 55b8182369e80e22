//! The search index of a workspace. `directory` keeps tantivy's files sealed.

pub mod directory;
