//! Keys, envelope, record, stream and page sealing, keyed hashes.
