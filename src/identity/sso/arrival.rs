//! To the provider and back: the browser leaves bound to a state, and comes back as an account. An account is found by
//! its link (issuer and subject) alone; an address links only after the account itself proved that it agrees.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::waiting::{Browser, Departed, Unproven};
use super::{Kept, SSO, Sso, SsoError, groups};
use crate::identity::accounts::{ACCOUNTS, ADDRESSES, AccountState, NewAccount, display_name};
use crate::identity::control::{Control, ControlTx, Note};
use crate::identity::{Email, IdentityError, SessionToken, password};
use crate::ids::AccountId;
use crate::seal::Secret;
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError, Table};
use crate::wire::oidc::{Identity, OidcError};

/// Keyed hash of issuer and subject -> account.
pub const LINKS: Table<[u8; 32], AccountId> = Table::new("sso_links", 1);
/// The same, the other way round.
pub const ACCOUNT_LINKS: Table<(AccountId, [u8; 32]), Link> = Table::new("sso_account_links", 1);

/// What an account is known by at a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    pub issuer: String,
    pub subject: String,
    pub linked: Timestamp,
}

/// How somebody came back.
#[derive(Debug)]
pub enum Arrived {
    /// As an account. `complete` when the provider asked for a second factor too.
    Account { account: AccountId, complete: bool, next: String },
    /// To the account that was signed in, which now has the link.
    Linked { next: String },
    /// There is an account of this address, not linked yet: its password has to be given once.
    Prove,
}

/// What the provider sent the browser back with.
#[derive(Debug, Default, Deserialize)]
pub struct Callback {
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub code: String,
    /// The issuer that answers (RFC 9207).
    pub iss: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

const NO_ADDRESS: SsoError =
    SsoError::Refused("The provider names no e-mail address that it verified. Ask its administrator.");
const NO_ACCOUNT: SsoError = SsoError::Refused(
    "There is no account for you here yet. Ask an admin of your workspace for an invitation.",
);
const NO_ENTRY: SsoError =
    SsoError::Refused("Your account may not sign in. Ask the operator of this instance.");
const NO_PASSWORD: SsoError = SsoError::Refused(
    "There is an account with your address that has no password. Sign in the way you do otherwise and link single sign-on on your profile.",
);
const LINKED_ELSEWHERE: SsoError = SsoError::Refused("This identity is linked to another account already.");

impl Sso {
    /// Where the browser that holds `cookie` has to go.
    pub async fn depart(
        &self,
        cookie: &SessionToken,
        address: &str,
        next: String,
        link_to: Option<AccountId>,
    ) -> Result<Url, SsoError> {
        let kept = self.kept()?.ok_or(SsoError::NotConfigured)?;
        let us = self.registration(&kept)?;
        let provider = self.provider(&kept, &self.line(&kept, "sign-in")).await?;
        let way = provider.depart(&us, self.0.control.random())?;
        let departed = Departed {
            issuer: kept.issuer,
            client_id: kept.client_id,
            state: way.state,
            nonce: way.nonce,
            verifier: way.verifier,
            next,
            link_to,
        };
        self.0.waiting.depart(self.browser(cookie), address, departed);
        Ok(way.url)
    }

    /// Takes somebody in who comes back. `signed_in` is who this browser is signed in as now.
    pub async fn arrive(
        &self,
        cookie: &SessionToken,
        address: &str,
        signed_in: Option<AccountId>,
        back: Callback,
    ) -> Result<Arrived, SsoError> {
        let departed = self.0.waiting.back(self.browser(cookie), &back.state).ok_or(SsoError::NotBegun)?;
        let kept = self.kept()?.ok_or(SsoError::NotConfigured)?;
        let same = kept.issuer == departed.issuer && kept.client_id == departed.client_id;
        if !same || departed.link_to != signed_in {
            return Err(SsoError::NotBegun);
        }
        if back.iss.as_ref().is_some_and(|iss| *iss != kept.issuer) {
            return Err(OidcError::Token("it comes from another issuer".into()).into());
        }
        if let Some(error) = back.error {
            let words = back.error_description.map(|words| format!("{words} ({error})")).unwrap_or(error);
            return Err(SsoError::Denied(words.chars().filter(|c| !c.is_control()).take(300).collect()));
        }
        let line = self.line(&kept, "sign-in");
        let us = self.registration(&kept)?;
        let provider = self.provider(&kept, &line).await?.with_keys(&line).await?;
        let clock = self.0.control.clock();
        let redeemed = provider.redeem(&line, &us, clock, &back.code, &departed.nonce, &departed.verifier);
        let identity = redeemed.await?;
        if let Some(account) = departed.link_to {
            self.change(move |control, tx| link(control, tx, account, &identity)).await?;
            return Ok(Arrived::Linked { next: departed.next });
        }
        let complete = identity.second_factor || kept.second_factor;
        let (known, next) = (identity.clone(), departed.next);
        match self.change(move |control, tx| found(control, tx, &kept, &known)).await? {
            Found::Account(account) => Ok(Arrived::Account { account, complete, next }),
            Found::Unproven(account) => {
                self.0.waiting.ask(self.browser(cookie), address, Unproven { identity, account, next });
                Ok(Arrived::Prove)
            }
        }
    }

    /// The address of the account that has to be proven in this browser.
    pub fn unproven(&self, cookie: &SessionToken) -> Result<Option<String>, StoreError> {
        let Some(unproven) = self.0.waiting.unproven(self.browser(cookie)) else { return Ok(None) };
        Ok(self.0.control.account(unproven.account)?.map(|account| account.email.to_string()))
    }

    /// Links the account that had to be proven, if `secret` is its password.
    pub async fn prove(&self, cookie: &SessionToken, secret: Secret) -> Result<Arrived, SsoError> {
        let browser = self.browser(cookie);
        let unproven = self.0.waiting.unproven(browser).ok_or(SsoError::NotBegun)?;
        let kept = self.kept()?.ok_or(SsoError::NotConfigured)?;
        if kept.issuer != unproven.identity.issuer {
            return Err(SsoError::NotBegun);
        }
        let Unproven { identity, account, next } = unproven;
        let complete = identity.second_factor || kept.second_factor;
        let person = self.0.control.account(account)?.filter(|a| a.state == AccountState::Active);
        let stored = person.and_then(|a| a.password);
        let (given, known) = (secret, stored.clone());
        let right = tokio::task::spawn_blocking(move || password::verify(&given, known.as_deref())).await;
        if !right.unwrap_or_default() {
            return Err(IdentityError::WrongCredentials.into());
        }
        self.change(move |control, tx| {
            // The password that was checked is still the account's.
            let now = tx.get(&ACCOUNTS, &account)?.filter(|a| a.state == AccountState::Active);
            if now.and_then(|a| a.password) != stored {
                return Err(IdentityError::WrongCredentials.into());
            }
            link(control, tx, account, &identity)?;
            Ok(groups::put_in_force(control, tx, account, &kept.mapping, &identity.groups)?)
        })
        .await?;
        self.0.waiting.end(browser);
        Ok(Arrived::Account { account, complete, next })
    }

    /// A cookie value for a browser that has none. It is no session.
    pub fn new_browser(&self) -> SessionToken {
        SessionToken::new(crate::seal::hex(&self.0.control.random().bytes::<32>()))
    }

    fn browser(&self, cookie: &SessionToken) -> Browser {
        self.0.control.lookups().lookup(format!("sso browser {}", cookie.expose()).as_bytes())
    }

    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Control, &mut ControlTx) -> Result<T, SsoError> + Send + 'static,
    ) -> Result<T, SsoError> {
        let control = self.0.control.clone();
        self.0.control.acts(move |tx| change(&control, tx)).await
    }
}

enum Found {
    Account(AccountId),
    Unproven(AccountId),
}

fn found(control: &Control, tx: &mut ControlTx, kept: &Kept, who: &Identity) -> Result<Found, SsoError> {
    if let Some(account) = tx.get(&LINKS, &key(control, who))? {
        let person = tx.get(&ACCOUNTS, &account)?.filter(|a| a.state == AccountState::Active);
        person.ok_or(NO_ENTRY)?;
        groups::put_in_force(control, tx, account, &kept.mapping, &who.groups)?;
        return Ok(Found::Account(account));
    }
    let email: Email = who.email.as_deref().and_then(|e| e.parse().ok()).ok_or(NO_ADDRESS)?;
    if let Some(account) = tx.get(&ADDRESSES, &email.key())? {
        let person = tx.get(&ACCOUNTS, &account)?.filter(|a| a.state == AccountState::Active);
        let person = person.ok_or(NO_ENTRY)?;
        person.password.as_ref().ok_or(NO_PASSWORD)?;
        return Ok(Found::Unproven(account));
    }
    let domain = email.key().rsplit('@').next().unwrap_or_default().to_owned();
    if !kept.join || !kept.domains.is_empty() && !kept.domains.contains(&domain) {
        return Err(NO_ACCOUNT);
    }
    let name = who.name.as_deref().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    let own = email.as_str().split('@').next().unwrap_or_default().chars().take(100).collect::<String>();
    let name = display_name(&name).or_else(|_| display_name(&own))?;
    let new = NewAccount { email, name, password_hash: None, operator: false };
    let account = control.insert_account(tx, new)?;
    control.note(tx, Note::new(Actor::Account { id: account }, Action::AccountJoined, account))?;
    link(control, tx, account, who)?;
    groups::put_in_force(control, tx, account, &kept.mapping, &who.groups)?;
    Ok(Found::Account(account))
}

fn link(control: &Control, tx: &mut ControlTx, account: AccountId, who: &Identity) -> Result<(), SsoError> {
    let key = key(control, who);
    match tx.get(&LINKS, &key)? {
        Some(owner) if owner == account => return Ok(()),
        Some(_) => return Err(LINKED_ELSEWHERE),
        None => {}
    }
    let linked = control.clock().now();
    let row = Link { issuer: who.issuer.clone(), subject: who.subject.clone(), linked };
    tx.put(&LINKS, &key, &account)?;
    tx.put(&ACCOUNT_LINKS, &(account, key), &row)?;
    let note = Note::new(Actor::Account { id: account }, Action::SsoLinked, account);
    Ok(control.note(tx, note)?)
}

fn key(control: &Control, who: &Identity) -> [u8; 32] {
    control.lookups().lookup(format!("sso {}\n{}", who.issuer, who.subject).as_bytes())
}

impl Control {
    /// What an account is linked to.
    pub fn sso_links(&self, account: AccountId) -> Result<Vec<Link>, StoreError> {
        let rows = self.read()?.scan(&ACCOUNT_LINKS).under(&account).rows()?;
        Ok(rows.into_iter().map(|(_, link)| link).collect())
    }

    /// Removes all links of an account inside a change: before it is deleted, or because its person says so.
    pub fn remove_sso_links(&self, tx: &mut ControlTx, account: AccountId) -> Result<(), StoreError> {
        for ((_, key), _) in tx.scan(&ACCOUNT_LINKS).under(&account).rows()? {
            tx.remove(&ACCOUNT_LINKS, &(account, key))?;
            tx.remove(&LINKS, &key)?;
        }
        groups::forget_given(tx, account)
    }

    /// Unlinks an account from its provider, if it can still sign in: it has a password, and single sign-on is not the
    /// only way.
    pub fn unlink_sso(&self, tx: &mut ControlTx, account: AccountId) -> Result<(), IdentityError> {
        let person = tx.get(&ACCOUNTS, &account)?.ok_or(IdentityError::NoSuchAccount)?;
        let only = tx.get(&SSO, &0)?.is_some_and(|kept| kept.only && !kept.break_glass.contains(&account));
        if person.password.is_none() || only {
            let why = "You could not sign in any more: single sign-on is your only way. Nothing was changed.";
            return Err(IdentityError::Invalid(why.into()));
        }
        groups::put_in_force(self, tx, account, &[], &[])?;
        Ok(self.remove_sso_links(tx, account)?)
    }
}
