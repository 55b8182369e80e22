//! Uploaded documents: extraction, passages, search.

pub mod extract;
