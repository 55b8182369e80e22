//! Single sign-on: the provider that the operator chose, kept in the control file with its secret sealed as a record,
//! and [`Sso`], which tests and saves it and takes people there and back. `waiting` remembers who is on the way,
//! `arrival` finds the account of whom the provider vouches for, `groups` gives the memberships of their groups.

mod arrival;
mod groups;
mod waiting;

pub use arrival::{ACCOUNT_LINKS, Arrived, Callback, LINKS, Link};
pub use groups::{GIVEN, Mapping};

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use self::waiting::Waitings;
use super::IdentityError;
use super::accounts::{ACCOUNTS, AccountState};
use super::control::{Control, ControlTx, Note};
use crate::egress::{Cause, Gate, Policy, Purpose};
use crate::ids::AccountId;
use crate::seal::{Place, SealError, Sealed, Secret};
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};
use crate::wire::oidc::{Line, OidcError, Provider, Registration};

/// One row: the provider of the instance.
pub const SSO: Table<u8, Kept> = Table::new("sso", 1);
const PLACE: Place<'static> = Place { workspace: "control", table: "sso", key: "0" };
/// A discovery document is asked for again after this long.
const FRESH: SignedDuration = SignedDuration::from_mins(5);

/// The provider as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub issuer: String,
    pub client_id: String,
    pub secret: Option<Sealed>,
    /// On the button: `Sign in with {label}`.
    pub label: String,
    pub scopes: Vec<String>,
    /// PEM certificates of a private CA.
    pub ca: Option<String>,
    /// What this server may call, as the operator saw it when saving.
    pub origins: Vec<Url>,
    pub groups_claim: String,
    pub mapping: Vec<Mapping>,
    /// Whoever the provider knows gets an account at the first sign-in,
    pub join: bool,
    /// when their address is in one of these domains (all when empty).
    pub domains: Vec<String>,
    /// The provider asks for second factors itself.
    pub second_factor: bool,
    /// Nobody signs in otherwise,
    pub only: bool,
    /// but these.
    pub break_glass: Vec<AccountId>,
}

/// What the operator entered; the secret is kept from before when it is left empty.
#[derive(Clone, Debug)]
pub struct Entered {
    pub issuer: String,
    pub client_id: String,
    pub secret: Option<Secret>,
    pub label: String,
    pub scopes: Vec<String>,
    pub ca: Option<String>,
    pub groups_claim: String,
    pub mapping: Vec<Mapping>,
    pub join: bool,
    pub domains: Vec<String>,
    pub second_factor: bool,
    pub only: bool,
    pub break_glass: Vec<AccountId>,
}

/// Why single sign-on did not go on.
#[derive(Debug, thiserror::Error)]
pub enum SsoError {
    /// The provider said so, in its own words.
    #[error("the provider did not sign you in: {0}")]
    Denied(String),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("this sign-in was not begun in this browser, was used already, or took longer than ten minutes")]
    NotBegun,
    #[error("single sign-on is not configured")]
    NotConfigured,
    #[error(transparent)]
    Oidc(#[from] OidcError),
    #[error("{0}")]
    Refused(&'static str),
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl From<StoreError> for SsoError {
    fn from(error: StoreError) -> Self {
        Self::Identity(error.into())
    }
}

/// Single sign-on of the instance. Cheap to clone.
#[derive(Clone)]
pub struct Sso(Arc<Inner>);

struct Inner {
    control: Control,
    gate: Gate,
    callback: Url,
    waiting: Waitings,
    /// The discovery document as last read.
    found: RwLock<Option<(Timestamp, Provider)>>,
}

impl Sso {
    /// Lets the saved provider through the gate. `external` is the address people use.
    pub fn start(control: Control, gate: Gate, external: &Url) -> Result<Self, SsoError> {
        let callback = external.join("/sign-in/sso/callback");
        let callback = callback.map_err(|e| IdentityError::Invalid(e.to_string()))?;
        let waiting = Waitings::new(control.clock().clone());
        let this = Self(Arc::new(Inner { control, gate, callback, waiting, found: RwLock::default() }));
        if let Some(kept) = this.kept()? {
            this.allow(kept.origins);
        }
        Ok(this)
    }

    /// The address to register at the provider.
    pub fn callback(&self) -> &Url {
        &self.0.callback
    }

    /// The provider as kept; `None` while none is configured.
    pub fn kept(&self) -> Result<Option<Kept>, StoreError> {
        self.0.control.read()?.get(&SSO, &0)
    }

    /// Really asks for discovery document and keys of what was entered.
    pub async fn test(&self, entered: &Entered, by: AccountId) -> Result<Provider, OidcError> {
        let issuer = Url::parse(&entered.issuer).map_err(|e| OidcError::NotAProvider(e.to_string()))?;
        let beside = |sso: Vec<Url>| Line {
            gate: self.0.gate.beside(Policy { sso, ..Policy::default() }),
            cause: cause(Some(by), "test of the provider"),
            ca: entered.ca.clone(),
        };
        let provider = Provider::discover(&beside(vec![issuer]), &entered.issuer).await?;
        let origins = provider.origins();
        provider.with_keys(&beside(origins)).await
    }

    /// Saves what was entered, with the origins that its discovery named.
    pub fn save(&self, by: Actor, entered: Entered, provider: &Provider) -> Result<(), SsoError> {
        let control = &self.0.control;
        let origins = provider.origins();
        let note = Note::new(by, Action::SsoChanged, "instance");
        control.change_now(note, |tx| {
            let before = tx.get(&SSO, &0)?.filter(|kept| kept.issuer == entered.issuer);
            let secret = match &entered.secret {
                Some(secret) => Some(control.records().seal_record(PLACE, secret)),
                None => before.and_then(|kept| kept.secret),
            };
            let kept = Kept {
                issuer: entered.issuer,
                client_id: entered.client_id,
                secret,
                label: entered.label,
                scopes: entered.scopes,
                ca: entered.ca,
                origins: origins.clone(),
                groups_claim: entered.groups_claim,
                mapping: entered.mapping,
                join: entered.join,
                domains: entered.domains,
                second_factor: entered.second_factor,
                only: entered.only,
                break_glass: entered.break_glass,
            };
            tx.put(&SSO, &0, &kept)?;
            keeps_a_way_in(tx)
        })?;
        self.forget_found();
        self.allow(origins);
        Ok(())
    }

    /// Forgets the provider and its secret. Links of accounts stay, and count again when it comes back.
    pub fn remove(&self, by: Actor) -> Result<(), StoreError> {
        let note = Note::new(by, Action::SsoChanged, "instance");
        self.0.control.change_now::<_, StoreError>(note, |tx| tx.remove(&SSO, &0).map(|_| ()))?;
        self.forget_found();
        self.allow(Vec::new());
        Ok(())
    }

    /// The discovery document of the saved provider, not older than a few minutes. Its keys are not with it.
    async fn provider(&self, kept: &Kept, line: &Line) -> Result<Provider, OidcError> {
        let now = self.0.control.clock().now();
        let found = self.0.found.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, provider)) = found
            && now.duration_since(at).abs() < FRESH
            && provider.issuer() == kept.issuer
        {
            return Ok(provider);
        }
        let provider = Provider::discover(line, &kept.issuer).await?;
        let fresh = Some((now, provider.clone()));
        *self.0.found.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(provider)
    }

    fn line(&self, kept: &Kept, why: &str) -> Line {
        Line { gate: self.0.gate.clone(), cause: cause(None, why), ca: kept.ca.clone() }
    }

    fn registration(&self, kept: &Kept) -> Result<Registration, SsoError> {
        let records = self.0.control.records();
        let secret = kept.secret.as_ref().map(|sealed| records.open_record(PLACE, sealed)).transpose()?;
        Ok(Registration {
            client_id: kept.client_id.clone(),
            secret,
            callback: self.0.callback.clone(),
            scopes: kept.scopes.clone(),
            groups_claim: kept.groups_claim.clone(),
        })
    }

    fn allow(&self, origins: Vec<Url>) {
        self.0.gate.change_policy(|policy| policy.sso = origins);
    }

    fn forget_found(&self) {
        *self.0.found.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn cause(account: Option<AccountId>, why: &str) -> Cause {
    Cause { purpose: Purpose::Sso, workspace: None, account, why: why.to_owned() }
}

/// Refuses a state in which nobody could administer the instance when the provider is down: where only single sign-on
/// counts, one of the named accounts is an operator who may sign in and has a password.
pub fn keeps_a_way_in(tx: &ControlTx) -> Result<(), IdentityError> {
    let Some(kept) = tx.get(&SSO, &0)?.filter(|kept| kept.only) else { return Ok(()) };
    for id in &kept.break_glass {
        let account = tx.get(&ACCOUNTS, id)?;
        if account.is_some_and(|a| a.operator && a.state == AccountState::Active && a.password.is_some()) {
            return Ok(());
        }
    }
    Err(IdentityError::Invalid(
        "Only single sign-on would be left. One of the named accounts has to be an operator with a password, for the day the provider is down. Nothing was changed.".into(),
    ))
}

impl Control {
    /// Whether an account may sign in by password or passkey: everybody may, unless only single sign-on counts.
    pub fn may_skip_sso(&self, account: AccountId) -> Result<bool, StoreError> {
        let kept = self.read()?.get(&SSO, &0)?;
        Ok(kept.is_none_or(|kept| !kept.only || kept.break_glass.contains(&account)))
    }
}
