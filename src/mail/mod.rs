//! The mail server that the operator chose, and those of workspaces (`servers`): kept in the control file, their passwords
//! sealed as records. Setup and the settings test and save them, from the fields of `form`. `letter` is every mail there is, `words`
//! and `render` put it together, `outbox` keeps it until `sender` has brought it to the server.

mod form;
mod letter;
pub mod outbox;
mod render;
mod sender;
mod servers;
mod words;

pub use form::{MailFields, MailForm};
pub use letter::{FactorChange, Letter, Outcome};
pub use outbox::{post, post_as, post_once};
pub use render::{Rendered, Undrawable};
pub use sender::Sender;
pub use servers::{MAIL_SERVER, WORKSPACE_MAIL, Whose, can_leave, forget_workspace};

use serde::{Deserialize, Serialize};
use url::Url;

use self::servers::WORKSPACE_MAIL_SERVERS;
use crate::egress::{Cause, Gate, HostPort, Policy, Purpose};
use crate::identity::Control;
use crate::identity::control::Note;
use crate::ids::{AccountId, MailId, WorkspaceId};
use crate::seal::{SealError, Sealed, Secret};
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError};
use crate::wire::mail::{Mail, MailClient, MailError, Security, Server};

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

/// The mail servers of the instance and its workspaces. Cheap to clone.
#[derive(Clone)]
pub struct MailServer {
    control: Control,
    gate: Gate,
    /// The address people use.
    external: Url,
}

impl MailServer {
    /// Lets the saved servers through the gate.
    pub fn start(control: Control, gate: Gate, external: Url) -> Result<Self, StoreError> {
        let this = Self { control, gate, external };
        this.allow()?;
        Ok(this)
    }

    /// A server as kept; `None` while none is configured.
    pub fn kept(&self, whose: Whose) -> Result<Option<Kept>, StoreError> {
        whose.kept(&self.control.read()?)
    }

    /// Whether mails of the instance can leave. Without a server every link is shown to the one who may hand it over.
    pub fn configured(&self) -> Result<bool, StoreError> {
        can_leave(&self.control.read()?, None)
    }

    /// Whether the mails of a workspace leave through its own server now.
    pub fn uses_own(&self, workspace: WorkspaceId) -> Result<bool, StoreError> {
        Ok(servers::way(&self.control.read()?, Some(workspace))? == Some(Whose::Workspace(workspace)))
    }

    /// Whether a workspace may choose this server.
    fn may_choose(&self, server: &HostPort) -> Result<bool, StoreError> {
        servers::may_choose(&self.control.read()?, server)
    }

    /// The servers that workspaces may choose besides the instance's, as they are typed.
    pub fn listed(&self) -> Result<Vec<String>, StoreError> {
        let listed = self.control.read()?.get(&WORKSPACE_MAIL_SERVERS, &0)?.unwrap_or_default();
        Ok(listed.iter().map(servers::typed).collect())
    }

    /// Every server that a workspace may choose: the listed ones and the instance's.
    pub fn choices(&self) -> Result<Vec<String>, StoreError> {
        let (mut choices, own) = (self.listed()?, self.kept(Whose::Instance)?);
        let own = own.map(|kept| servers::typed(&kept.at())).filter(|own| !choices.contains(own));
        choices.extend(own);
        Ok(choices)
    }

    /// Lets workspaces choose these servers, one `host:port` a line, and no others. A line that is none is told of, and
    /// nothing is changed.
    pub fn list(&self, by: Actor, text: &str) -> Result<Result<(), String>, StoreError> {
        let listed = match servers::listed(text) {
            Ok(listed) => listed,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let note = Note::new(by, Action::MailChanged, "workspaces");
        self.control.change_now::<_, StoreError>(note, |tx| tx.put(&WORKSPACE_MAIL_SERVERS, &0, &listed))?;
        self.allow()?;
        Ok(Ok(()))
    }

    /// A client of the server that mails of `workspace` leave through, and whose it is, and who mails come from.
    fn way(&self, workspace: Option<WorkspaceId>) -> Result<Option<Way>, MailSettingsError> {
        let read = self.control.read()?;
        let Some(whose) = servers::way(&read, workspace)? else { return Ok(None) };
        let Some(kept) = whose.kept(&read)? else { return Ok(None) };
        let at = kept.at();
        let password = kept.password.map(|sealed| self.opened(whose, &sealed)).transpose()?;
        let login = password.filter(|_| !kept.user.is_empty()).map(|p| (kept.user, p));
        let server = Server { at, security: kept.security, login, ca: kept.ca };
        let client = MailClient::new(self.gate.clone(), server, &self.external);
        Ok(Some(Way { whose, client, from: kept.sender }))
    }

    fn opened(&self, whose: Whose, sealed: &Sealed) -> Result<Secret, SealError> {
        whose.place(|place| self.control.records().open_record(place, sealed))
    }

    /// Really sends a mail to `to` through what was entered, without saving it. What comes back are the
    /// server's words.
    pub async fn test(
        &self,
        whose: Whose,
        entered: &Entered,
        by: AccountId,
        to: &str,
    ) -> Result<Result<String, MailError>, MailSettingsError> {
        let (this, wanted) = (self.clone(), entered.clone());
        let completed = tokio::task::spawn_blocking(move || this.completed(whose, &wanted))
            .await
            .map_err(|e| StoreError::Io(std::io::Error::other(e)))??;
        // What a workspace tries has to be allowed already; the operator tries what shall be.
        let gate = match whose {
            Whose::Instance => self.gate.beside(Policy { mail: Some(completed.at()), ..Policy::default() }),
            Whose::Workspace(_) => self.gate.clone(),
        };
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
        let cause = Cause { purpose: Purpose::Mail, workspace: whose.workspace(), account: Some(by), why };
        Ok(client.send(&cause, &mail).await)
    }

    /// Saves the server; mails from now on leave through it.
    pub fn save(&self, whose: Whose, by: Actor, entered: &Entered) -> Result<(), MailSettingsError> {
        let entered = self.completed(whose, entered)?;
        let seal = |p: &Secret| whose.place(|place| self.control.records().seal_record(place, p));
        let kept = Kept {
            password: entered.password.as_ref().map(seal),
            host: entered.host,
            port: entered.port,
            security: entered.security,
            user: entered.user,
            sender: entered.sender,
            ca: entered.ca,
        };
        self.control.change_now::<_, StoreError>(whose.note(by), |tx| whose.put(tx, &kept))?;
        Ok(self.allow()?)
    }

    /// Forgets the server and its password. Mails of a workspace then leave through the instance's; without that one no
    /// mail leaves any more.
    pub fn remove(&self, whose: Whose, by: Actor) -> Result<(), MailSettingsError> {
        self.control.change_now::<_, StoreError>(whose.note(by), |tx| whose.remove(tx))?;
        Ok(self.allow()?)
    }

    /// A password that was left empty is the saved one, as long as the same user shows it to the same server
    /// and nobody new vouches for that server.
    fn completed(&self, whose: Whose, entered: &Entered) -> Result<Entered, MailSettingsError> {
        let mut entered = entered.clone();
        if entered.password.is_none()
            && let Some(kept) = self.kept(whose)?
            && kept.is_same_login(&entered)
            && let Some(sealed) = &kept.password
        {
            entered.password = Some(self.opened(whose, sealed)?);
        }
        Ok(entered)
    }

    /// Tells the gate which servers may be dialled now.
    fn allow(&self) -> Result<(), StoreError> {
        let read = self.control.read()?;
        let own = Whose::Instance.kept(&read)?.map(|kept| kept.at());
        let listed = read.get(&WORKSPACE_MAIL_SERVERS, &0)?.unwrap_or_default();
        self.gate.change_policy(|policy| {
            policy.mail = own;
            policy.workspace_mail = listed;
        });
        Ok(())
    }
}

/// A way out for mails.
struct Way {
    whose: Whose,
    client: MailClient,
    from: String,
}

impl Kept {
    fn at(&self) -> HostPort {
        HostPort { host: self.host.clone(), port: self.port }
    }

    fn is_same_login(&self, entered: &Entered) -> bool {
        self.host == entered.host
            && self.port == entered.port
            && self.user == entered.user
            && self.ca == entered.ca
            && !self.user.is_empty()
    }
}
