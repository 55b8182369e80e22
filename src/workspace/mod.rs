//! The tenant: its handle, door, audited change, blobs, index.

pub mod index;
