//! The mail server that the operator chose: kept in the control file, its password sealed as a record. Setup
//! and the instance's settings test and save it, from the fields of `form`. `letter` is every mail there is, `words`
//! and `render` put it together, `outbox` keeps it until `sender` has brought it to the server.

mod form;
mod letter;
pub mod outbox;
mod render;
mod sender;
mod words;

pub use form::{MailFields, MailForm};
pub use letter::{FactorChange, Letter, Outcome};
pub use outbox::{post, post_as, post_once};
pub use render::{Rendered, Undrawable};
pub use sender::Sender;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::egress::{Cause, Gate, HostPort, Policy, Purpose};
use crate::identity::Control;
use crate::identity::control::Note;
use crate::ids::{AccountId, MailId};
use crate::seal::{Place, SealError, Sealed, Secret};
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError, Table};
use crate::wire::mail::{Mail, MailClient, MailError, Security, Server};

/// One row: the mail server of the instance.
pub const MAIL_SERVER: Table<u8, Kept> = Table::new("mail_server", 1);
const PLACE: Place<'static> = Place { workspace: "control", table: "mail_server", key: "0" };

/// The server as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// Empty for a server that wants no sign-in.
    pub user: String,
    pub password: Option<Sealed>,
    /// Who mails come from: `Name <address>`, or the address alone.
    pub sender: String,
    /// PEM certificates of a private CA.
    pub ca: Option<String>,
}

/// What a person entered; the password is kept from before when they leave it empty.
#[derive(Clone, Debug)]
pub struct Entered {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub user: String,
    pub password: Option<Secret>,
    pub sender: String,
    pub ca: Option<String>,
}

impl Entered {
    fn at(&self) -> HostPort {
        HostPort { host: self.host.clone(), port: self.port }
    }

    fn server(self) -> Server {
        let login = self.password.filter(|_| !self.user.is_empty()).map(|password| (self.user, password));
        let at = HostPort { host: self.host, port: self.port };
        Server { at, security: self.security, login, ca: self.ca }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum MailSettingsError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The instance's mail server. Cheap to clone.
#[derive(Clone)]
pub struct MailServer {
    control: Control,
    gate: Gate,
    /// The address people use.
    external: Url,
}

impl MailServer {
    /// Lets the saved server through the gate.
    pub fn start(control: Control, gate: Gate, external: Url) -> Result<Self, StoreError> {
        let this = Self { control, gate, external };
        if let Some(kept) = this.kept()? {
            this.allow(Some(HostPort { host: kept.host, port: kept.port }));
        }
        Ok(this)
    }

    /// The server as kept; `None` while none is configured.
    pub fn kept(&self) -> Result<Option<Kept>, StoreError> {
        self.control.read()?.get(&MAIL_SERVER, &0)
    }

    /// Whether mails can leave. Without a server every link is shown to the one who may hand it over.
    pub fn configured(&self) -> Result<bool, StoreError> {
        self.control.read()?.has(&MAIL_SERVER, &0)
    }

    /// A client of the kept server, and who mails come from.
    fn client(&self) -> Result<Option<(MailClient, String)>, MailSettingsError> {
        let Some(kept) = self.kept()? else { return Ok(None) };
        let password = kept.password.map(|sealed| self.control.records().open_record(PLACE, &sealed));
        let login = password.transpose()?.filter(|_| !kept.user.is_empty()).map(|p| (kept.user, p));
        let at = HostPort { host: kept.host, port: kept.port };
        let server = Server { at, security: kept.security, login, ca: kept.ca };
        Ok(Some((MailClient::new(self.gate.clone(), server, &self.external), kept.sender)))
    }

    /// Really sends a mail to `to` through what was entered, without saving it. What comes back are the
    /// server's words.
    pub async fn test(
        &self,
        entered: &Entered,
        by: AccountId,
        to: &str,
    ) -> Result<Result<String, MailError>, MailSettingsError> {
        let (this, wanted) = (self.clone(), entered.clone());
        let completed = tokio::task::spawn_blocking(move || this.completed(&wanted))
            .await
            .map_err(|e| StoreError::Io(std::io::Error::other(e)))??;
        let gate = self.gate.beside(Policy { mail: Some(completed.at()), ..Policy::default() });
        let drawn = match (Letter::Test { to: to.to_owned() }).render(&self.external) {
            Ok(drawn) => drawn,
            Err(error) => return Ok(Err(MailError::Unfit(error.to_string()))),
        };
        let mail = Mail {
            from: completed.sender.clone(),
            to: to.to_owned(),
            subject: drawn.subject,
            text: drawn.text,
            html: drawn.html,
            id: MailId::new(self.control.clock(), self.control.random()).to_string(),
            at: self.control.clock().now(),
            unsubscribe: drawn.unsubscribe,
        };
        let client = MailClient::new(gate, completed.server(), &self.external);
        let why = "test of the mail server".to_owned();
        let cause = Cause { purpose: Purpose::Mail, workspace: None, account: Some(by), why };
        Ok(client.send(&cause, &mail).await)
    }

    /// Saves the server; mails from now on leave through it.
    pub fn save(&self, by: Actor, entered: &Entered) -> Result<(), MailSettingsError> {
        let entered = self.completed(entered)?;
        let at = entered.at();
        let kept = Kept {
            password: entered.password.as_ref().map(|p| self.control.records().seal_record(PLACE, p)),
            host: entered.host,
            port: entered.port,
            security: entered.security,
            user: entered.user,
            sender: entered.sender,
            ca: entered.ca,
        };
        let note = Note::new(by, Action::MailChanged, "instance");
        self.control.change_now::<_, StoreError>(note, |tx| tx.put(&MAIL_SERVER, &0, &kept))?;
        self.allow(Some(at));
        Ok(())
    }

    /// Forgets the server and its password; no mail leaves any more.
    pub fn remove(&self, by: Actor) -> Result<(), MailSettingsError> {
        let note = Note::new(by, Action::MailChanged, "instance");
        self.control.change_now::<_, StoreError>(note, |tx| tx.remove(&MAIL_SERVER, &0).map(|_| ()))?;
        self.allow(None);
        Ok(())
    }

    /// A password that was left empty is the saved one, as long as the same user shows it to the same server
    /// and nobody new vouches for that server.
    fn completed(&self, entered: &Entered) -> Result<Entered, MailSettingsError> {
        let mut entered = entered.clone();
        if entered.password.is_none()
            && let Some(kept) = self.kept()?
            && kept.is_same_login(&entered)
            && let Some(sealed) = &kept.password
        {
            entered.password = Some(self.control.records().open_record(PLACE, sealed)?);
        }
        Ok(entered)
    }

    fn allow(&self, server: Option<HostPort>) {
        self.gate.change_policy(|policy| policy.mail = server);
    }
}

impl Kept {
    fn is_same_login(&self, entered: &Entered) -> bool {
        self.host == entered.host
            && self.port == entered.port
            && self.user == entered.user
            && self.ca == entered.ca
            && !self.user.is_empty()
    }
}
