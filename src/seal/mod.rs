//! Keys and sealing. `keys`: master key, data keys, sub-keys. `record`: small values bound to their place.
//! `stream`: large files in chunks. `recovery`: the code a person keeps. `secret`: text that must not leak.
//! AES-256-GCM, HKDF-SHA256 and HMAC-SHA256 by ring; argon2id for the recovery code.

mod keys;
mod record;
mod recovery;
mod secret;
mod stream;

pub use keys::{DataKey, MasterKey, SubKey, Use, WrappedKey};
pub use record::{Place, Sealed};
pub use recovery::RecoveryCode;
pub use secret::{Secret, constant_time_eq, hex};
pub use stream::{CHUNK, OpeningReader, SealingWriter, open_file_chunk, seal_file_chunk};

use std::path::PathBuf;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("sealed data is damaged or was moved; restore it from a backup")]
    Damaged,
    #[error("the key file {0} exists already and was not touched")]
    Exists(PathBuf),
    #[error("the key file can't be used: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0} is not a master key file (expected `vynos-master-key-1` and 32 bytes in base64)")]
    NotAKey(PathBuf),
    #[error("{0} can be read by others; run `chmod 600` on it")]
    Permissions(PathBuf),
    #[error("this is not a recovery code; check it for typing errors")]
    RecoveryCode,
    #[error("this key does not open the data: give the master key that sealed it")]
    WrongKey,
}
