//! The only code that names redb. A [`File`] is one page-encrypted database (`pages`); slices keep plain
//! typed values in typed [`Table`]s and read them through [`Read`]. `audit` is the hash chain that every
//! change extends; `compact` takes the bytes of removed rows off the disk. No redb type leaves this module, so that a second engine stays possible.

pub mod audit;
mod compact;
mod file;
pub mod pages;
mod table;

pub use compact::COMPACTION_DUE;
pub use file::{File, Snapshot, Tx};
pub use table::{Key, Read, Scan, Table};

/// What can go wrong with a data file. The text says what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0} is damaged; nothing was changed. Run `vynos verify`, then restore it from a backup")]
    Damaged(String),
    #[error(
        "the disk is full; the last change may not have been kept, everything before it was. Free space and try again"
    )]
    DiskFull,
    #[error("a stored value of table {table} can't be read: {why}")]
    Encoding { table: &'static str, why: String },
    #[error("the disk refused: {0}")]
    Io(std::io::Error),
    #[error("{0} is in use by another Vynos process; stop it first")]
    Locked(String),
    #[error("table {table} was written by a newer Vynos (format {found}); use that version")]
    Newer { table: &'static str, found: u8 },
    #[error("{0} was sealed with another key; give the right --master-key-file")]
    WrongKey(String),
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            Self::DiskFull
        } else {
            Self::Io(error)
        }
    }
}
