//! The page and API toolkit; names no feature. `access` turns a request into a signed-in person or a
//! workspace handle, `form` reads posts, `page` draws the chrome, `problem` is every error a person sees,
//! `guard` wraps all routes, `counts` is how many it saw, `markdown` draws answers, `diff` compares two texts, `table_file` sends tables as CSV and JSON,
//! `assets` serves embedded files, `tls` makes and loads certificates.

pub mod access;
pub mod assets;
pub mod counts;
pub mod diff;
pub mod form;
pub mod guard;
pub mod live;
pub mod markdown;
pub mod page;
pub mod problem;
pub mod table_file;
pub mod tls;

pub use access::{Confirmed, Me, Operator, Returning, Visitor};
pub use assets::{asset, icon};
pub use form::PostForm;
pub use page::{Blank, Crumb, NavItem, Shell, render};
pub use problem::Problem;

use url::Url;

use crate::clock::Clock;
use crate::identity::ceremonies::Ceremonies;
use crate::identity::throttle::Throttle;
use crate::identity::{Control, Settings};
use crate::jobs::Board;
use crate::store::StoreError;
use crate::workspace::{Door, Pool, Viewer};
use std::sync::{Arc, RwLock};

/// What handlers share. One for the process, in actix's app data.
pub struct Web {
    pub control: Control,
    pub door: Door,
    pub pool: Arc<Pool>,
    /// The jobs that run now.
    pub board: Board,
    pub clock: Clock,
    pub throttle: Throttle,
    pub counts: counts::Counts,
    /// Passkeys that are being added or proved right now.
    pub ceremonies: Ceremonies,
    /// The address people use; links in mails and the OAuth callback are made from it.
    pub external: Url,
    /// The first hop is a trusted proxy on this machine that sets `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// A throw-away instance with a simulated org and a scripted model.
    pub demo: bool,
    /// Entries of the sidebar, from the feature list; given the path of the open entry.
    pub navigation: fn(&Control, &Viewer, &str) -> Result<page::Navigation, Problem>,
    /// The page behind the reason of a call in the egress ledger, where the person may see it.
    pub cause: fn(&Viewer, &str) -> Result<Option<String>, StoreError>,
    /// Settings as last read; refreshed by whoever changes them.
    pub settings: RwLock<Settings>,
}

impl Web {
    /// Whether cookies are marked Secure and named `__Host-`.
    pub fn secure(&self) -> bool {
        self.external.scheme() == "https"
    }

    /// The settings of the instance.
    pub fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Reads the settings again after a change.
    pub fn refresh_settings(&self) -> Result<(), StoreError> {
        let fresh = self.control.settings()?;
        *self.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
        Ok(())
    }
}
