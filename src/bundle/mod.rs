//! The readable export of a workspace, and of what is kept about a person: a bundle (docs/EXPORT-FORMAT.md). `claims` says of
//! every table who exports it, `tables` how its rows become records (`table`, `key`, `schema`); `container` is the archive,
//! `manifest` its first member, `write` makes a bundle and `read` checks one; `import` makes a workspace of it. `exports` are
//! the exports of a workspace, made by a job and kept for a week; `own` is a person's data, which `spool` holds sealed while it
//! is downloaded.

pub mod claims;
pub mod container;
pub mod exports;
pub mod import;
mod import_page;
mod key;
pub mod manifest;
pub mod own;
mod own_page;
mod own_schema;
mod pages;
pub mod read;
pub mod schema;
mod spool;
mod table;
pub mod tables;
pub mod write;

pub use pages::send;
pub use read::{Checked, check};
pub use spool::Spool;
pub use table::{Records, Source};
pub use write::pack_workspace;

use actix_web::web;

use crate::identity::{Control, IdentityError};
use crate::jobs::Kind;
use crate::store::StoreError;
use crate::web::Problem;
use crate::workspace::pool::DataError;

/// Pages of exports and imports.
pub fn routes(config: &mut web::ServiceConfig) {
    pages::routes(config);
    own_page::routes(config);
    import_page::routes(config);
}

/// The background work of exports.
pub fn jobs(control: &Control) -> Vec<Kind> {
    let control = control.clone();
    let make = move |job| exports::make(control.clone(), job);
    vec![
        Kind::new(exports::MAKE, make).also_while_deleting(),
        Kind::new(exports::EXPIRE, exports::expire).also_while_deleting(),
    ]
}

/// Why a bundle can't be made or taken in.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Io(std::io::Error),
    /// What is wrong with a bundle, for the person who gave it.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BundleError {
    /// Something in a member of the bundle is not right.
    fn refused(place: &str, why: impl std::fmt::Display) -> Self {
        Self::Refused(format!("{place}: {why}"))
    }

    /// The same, said of a place.
    fn at(self, place: &str) -> Self {
        match self {
            Self::Refused(why) => Self::refused(place, why),
            other => other,
        }
    }
}

impl From<std::io::Error> for BundleError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                Self::Refused(error.to_string())
            }
            _ => Self::Io(error),
        }
    }
}

impl From<BundleError> for Problem {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Data(error) => error.into(),
            BundleError::Identity(error) => error.into(),
            BundleError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Self::DiskFull,
            BundleError::Io(error) => Self::Broken(error.to_string()),
            BundleError::Refused(why) => Self::field("bundle", why),
            BundleError::Store(error) => error.into(),
        }
    }
}
