//! Guesses at an account, counted under the account from one network, the network and the account alike: whoever
//! guesses elsewhere makes nobody wait who signed in from their own network before.

use crate::identity::IdentityError;
use crate::identity::sessions::Origin;
use crate::identity::throttle::{Allowance, Throttle};
use crate::store::StoreError;
use crate::web::Web;

pub(super) struct Tries<'a> {
    throttle: &'a Throttle,
    pair: String,
    network: String,
    account: String,
    /// The account signed in from this network before.
    known: bool,
}

impl<'a> Tries<'a> {
    /// Of the password of an account, by the address that was typed.
    pub fn of_password(web: &'a Web, email: &str, from: &Origin) -> Result<Self, StoreError> {
        Self::of(web, "account", email, from)
    }

    /// Of the second step of an account.
    pub fn of_code(web: &'a Web, email: &str, from: &Origin) -> Result<Self, StoreError> {
        Self::of(web, "code", email, from)
    }

    fn of(web: &'a Web, what: &str, email: &str, from: &Origin) -> Result<Self, StoreError> {
        let account = format!("{what} {}", email.trim().to_lowercase());
        let network = format!("{what} address {}", from.network());
        let known = web.control.knows_network(email, from)?;
        Ok(Self { throttle: &web.throttle, pair: format!("{account} {network}"), network, account, known })
    }

    pub fn check(&self) -> Result<(), IdentityError> {
        self.throttle.check(&self.pair)?;
        if self.known {
            return Ok(());
        }
        self.throttle.check_within(&self.network, Allowance::NETWORK)?;
        self.throttle.check_within(&self.account, Allowance::ACCOUNT)
    }

    pub fn failed(&self) {
        for key in [&self.pair, &self.network, &self.account] {
            self.throttle.failed(key);
        }
    }

    pub fn passed(&self) {
        self.throttle.passed(&self.pair);
    }
}
