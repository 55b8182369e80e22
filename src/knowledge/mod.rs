//! The library: uploaded documents, extracted in a confined child, searched with their pages.
