//! Accounts: who a person is on this instance.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::control::{Control, ControlTx};
use super::restriction::Restriction;
use super::{IdentityError, password};
use crate::ids::AccountId;
use crate::seal::Secret;
use crate::store::{Read, StoreError, Table};

pub const ACCOUNTS: Table<AccountId, Account> = Table::new("accounts", 1);
/// Lower-case address -> account.
pub const ADDRESSES: Table<String, AccountId> = Table::new("addresses", 1);

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    pub email: Email,
    pub name: String,
    /// PHC string of argon2id; `None` while no password is set.
    pub password: Option<String>,
    /// May administer the instance, never see the contents of a workspace they are not a member of.
    pub operator: bool,
    pub state: AccountState,
    pub created: Timestamp,
    #[serde(default)]
    pub theme: Theme,
    /// Where the person works, as they wrote it; may be empty.
    #[serde(default)]
    pub organisation: String,
    #[serde(default)]
    pub language: Language,
    /// IANA name of the zone in which times are shown; empty = UTC.
    #[serde(default)]
    pub time_zone: String,
    /// Single keys do nothing when off: they get in the way of speech input.
    #[serde(default = "on")]
    pub shortcuts: bool,
    /// When the person asked to delete it.
    #[serde(default)]
    pub deletion: Option<Timestamp>,
    /// The newest version of the privacy policy that the person has read.
    #[serde(default)]
    pub acknowledged_policy: u32,
    /// Nothing of theirs is processed while it holds.
    #[serde(default)]
    pub restriction: Option<Restriction>,
}

fn on() -> bool {
    true
}

/// The languages that pages are written in, by BCP 47 tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    #[default]
    #[serde(rename = "en")]
    English,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    Active,
    Suspended,
}

/// The look a person chose; `System` follows the browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    Dark,
    Light,
    #[default]
    System,
}

impl Theme {
    /// As written in `<html data-theme>`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::System => "system",
        }
    }
}

/// An e-mail address as typed; compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that look-ups use.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Email {
    type Err = IdentityError;

    /// Accepts what mail servers accept in practice: one `@`, a host with a dot or `localhost`, no spaces
    /// or control characters, at most 254 bytes (RFC 5321).
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let text = text.trim();
        let host =
            text.split_once('@').filter(|(name, host)| !name.is_empty() && !host.contains('@')).map(|p| p.1);
        let plain =
            text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"<>\",;:\\()[]".contains(c));
        match host {
            Some(host)
                if plain
                    && text.len() <= 254
                    && (host == "localhost" || host.split('.').filter(|p| !p.is_empty()).count() > 1)
                    && !host.starts_with('.')
                    && !host.ends_with('.') =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(IdentityError::Invalid("Enter an e-mail address like name@company.com.".into())),
        }
    }
}

/// A name as shown to others: trimmed, 1 to 100 characters, no control characters.
pub fn display_name(text: &str) -> Result<String, IdentityError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) {
        return Err(IdentityError::Invalid("Enter a name of 1 to 100 characters.".into()));
    }
    Ok(text.to_owned())
}

/// The place where a person works: may be empty, else as a name.
pub fn organisation(text: &str) -> Result<String, IdentityError> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    display_name(text)
        .map_err(|_| IdentityError::Invalid("Enter an organisation of at most 100 characters.".into()))
}

/// A time zone of the IANA list, by its name; empty = UTC.
pub fn time_zone(name: &str) -> Result<String, IdentityError> {
    if name.is_empty() || jiff::tz::db().get(name).is_ok() {
        return Ok(name.to_owned());
    }
    Err(IdentityError::Invalid("Choose a time zone of the list.".into()))
}

/// What is needed for a new account; the password is hashed before the transaction begins.
pub struct NewAccount {
    pub email: Email,
    pub name: String,
    /// `None` for an account that signs in otherwise.
    pub password_hash: Option<String>,
    pub operator: bool,
}

impl Control {
    /// Parses the form and hashes the password (about 50 ms: call it on a blocking thread).
    pub fn prepare_account(
        email: &str,
        name: &str,
        secret: &Secret,
        operator: bool,
    ) -> Result<NewAccount, IdentityError> {
        let (email, name) = (email.parse::<Email>()?, display_name(name)?);
        password::check_strength(secret, &[email.as_str(), &name])?;
        Ok(NewAccount { email, name, password_hash: Some(password::hash(secret)?), operator })
    }

    /// Adds an account inside a change.
    pub fn insert_account(&self, tx: &mut ControlTx, new: NewAccount) -> Result<AccountId, IdentityError> {
        let id = AccountId::new(self.clock(), self.random());
        self.insert_account_as(tx, id, new).map(|()| id)
    }

    /// Adds an account under an id that nobody has.
    pub(super) fn insert_account_as(
        &self,
        tx: &mut ControlTx,
        id: AccountId,
        new: NewAccount,
    ) -> Result<(), IdentityError> {
        if tx.has(&ADDRESSES, &new.email.key())? || tx.has(&ACCOUNTS, &id)? {
            return Err(IdentityError::AddressTaken);
        }
        tx.put(&ADDRESSES, &new.email.key(), &id)?;
        let account = Account {
            email: new.email,
            name: new.name,
            password: new.password_hash,
            operator: new.operator,
            state: AccountState::Active,
            created: self.clock().now(),
            theme: Theme::System,
            organisation: String::new(),
            language: Language::English,
            time_zone: String::new(),
            shortcuts: true,
            deletion: None,
            acknowledged_policy: 0,
            restriction: None,
        };
        Ok(tx.put(&ACCOUNTS, &id, &account)?)
    }

    pub fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.read()?.get(&ACCOUNTS, &id)
    }

    /// The account of an address, with its id.
    pub fn account_by_address(&self, email: &Email) -> Result<Option<(AccountId, Account)>, StoreError> {
        let read = self.read()?;
        let Some(id) = read.get(&ADDRESSES, &email.key())? else { return Ok(None) };
        Ok(read.get(&ACCOUNTS, &id)?.map(|account| (id, account)))
    }
}

/// The addresses of a pasted list: separated by commas, semicolons, lines or spaces, each once, also written as
/// `Name <address>`. What is no address comes back as it was typed.
pub fn addresses(text: &str) -> (Vec<Email>, Vec<String>) {
    let (mut found, mut bad): (Vec<Email>, Vec<String>) = (Vec::new(), Vec::new());
    for piece in text.split([',', ';', '\n', '\r']).map(str::trim).filter(|piece| !piece.is_empty()) {
        let inner = piece.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inner, _)| inner);
        if !piece.contains('@') {
            bad.push(piece.to_owned());
            continue;
        }
        for word in inner.unwrap_or(piece).split_whitespace() {
            match word.parse::<Email>() {
                Ok(email) if found.iter().any(|known| known.key() == email.key()) => {}
                Ok(email) => found.push(email),
                Err(_) => bad.push(word.to_owned()),
            }
        }
    }
    (found, bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_list_is_read_address_by_address() {
        let text =
            "ada@a.example, Max Born <max@b.example>;\n ADA@a.example max@b\nlise@c.example lost@,no address";
        let (found, bad) = addresses(text);
        let found: Vec<&str> = found.iter().map(Email::as_str).collect();
        assert_eq!(found, ["ada@a.example", "max@b.example", "lise@c.example"]);
        assert_eq!(bad, ["max@b", "lost@", "no address"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reading_of_addresses(text in ".{0,400}") {
            let (found, bad) = addresses(&text);
            proptest::prop_assert!(found.len() + bad.len() <= text.len());
        }
    }
}
