//! Backups: one sealed `.vynos` file with everything that an instance keeps, made while people work, read back with the
//! master key or with the recovery code.
//!
//! ```text
//! magic 8 · u32 length · head as JSON · SHA-256 of all before it · sealed stream (`seal/stream.rs`) of members (`format`)
//! ```
//! The stream is sealed under a key of its own, which the head holds twice: wrapped by the master key, and by a key that
//! the recovery code opens. The stream's name is the hash of the head, so that no head fits another stream.
//!
//! `make` writes one into a `file`, `sealed` opens one, `check` reads it back, `restore` makes a data directory of it.
//! `plan` is when the server makes one by itself, `keeper` does it, `pages` shows it to operators.

pub mod check;
pub mod file;
pub mod format;
pub mod keeper;
pub mod make;
mod pages;
pub mod plan;
pub mod restore;
pub mod sealed;

pub use pages::routes;

use std::io;

use crate::seal::SealError;
use crate::store::StoreError;
use crate::workspace::Refused;
use crate::workspace::pool::DataError;

/// Why a backup can't be made, read or restored. The text says what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// What was read is not what was written: where, and what is wrong there.
    #[error("the backup is damaged: {place}: {why}. Use another backup")]
    Broken { place: String, why: String },
    #[error("a backup is being made already; wait for its end")]
    Busy,
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the disk is full; nothing half-written was kept. Free space and try again")]
    DiskFull,
    #[error("{0}")]
    Io(io::Error),
    /// The key given does not open it.
    #[error("{0}")]
    Key(String),
    #[error("this is a backup of a newer Vynos (format {0}); use that version. Nothing was changed")]
    Newer(u32),
    #[error("this is no Vynos backup, or its first bytes are damaged")]
    NotABackup,
    #[error("it was stopped; nothing half-written was kept")]
    Stopped,
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

impl From<Refused> for BackupError {
    fn from(error: Refused) -> Self {
        match error {
            Refused::Data(error) => error.into(),
            other => Self::Io(io::Error::other(other.to_string())),
        }
    }
}

impl From<SealError> for BackupError {
    fn from(error: SealError) -> Self {
        Self::Data(error.into())
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::DiskFull,
            other => Self::Data(other.into()),
        }
    }
}

/// How far making, checking or restoring has come. Workspaces are counted in making, members in reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Plain bytes so far.
    pub bytes: u64,
    pub workspaces: u64,
    /// Workspaces there are; 0 while that is not known.
    pub of: u64,
}

/// Told of progress every now and then; an error ends the work.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> Result<(), BackupError>;
