//! The library: uploaded documents, extracted in a confined child, searched with their pages.

pub mod extract;
pub mod passages;
