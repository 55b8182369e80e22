//! Sealed full-text index.
