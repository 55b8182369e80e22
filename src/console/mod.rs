//! What the operator can do with a shell: a closed list of commands. They run in the process that holds the data; a
//! running server takes them at `DATA/control.sock`, see `socket`; a backup comes as a `stream`.

mod socket;
mod stream;

use std::io::Write;

pub use socket::{Served, ask, serve};
pub use stream::export;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::admin;
use crate::backup::make::{self, Made, Source};
use crate::backup::{BackupError, Watch};
use crate::health::Status;
use crate::health::checks::{self, Check};
use crate::identity::control::Note;
use crate::identity::{Control, Email, IdentityError};
use crate::store::audit::{Action, Actor, Broken};
use crate::workspace::Door;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Walks the audit chain of control and of every workspace.
    AuditVerify {},
    /// Looks whether the instance is well.
    Doctor {},
    /// Makes a backup: answered as a stream.
    Export {},
    /// Makes a link that sets the password of the account of an address.
    UserReset {
        email: String,
        /// Their second factors are removed, too.
        #[serde(default)]
        drop_second_factor: bool,
    },
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Audit {
        chains: Vec<Chain>,
    },
    Doctor {
        checks: Vec<Check>,
    },
    /// A backup was made, and these are its contents.
    Exported {
        made: Made,
    },
    /// It could not run.
    Failed {
        said: String,
    },
    /// It ran, and the answer is no.
    No {
        said: String,
    },
    Reset {
        email: String,
        link: String,
        ends: Timestamp,
        /// Whether the person is told by mail, too.
        mailed: bool,
    },
}

/// One audit chain: how many lines hold, or what is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    pub place: String,
    pub lines: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub broken: Option<String>,
}

/// The open data that commands work on.
#[derive(Clone)]
pub struct Console {
    control: Control,
    door: Door,
    status: Status,
    /// The address people use.
    external: Url,
}

impl Console {
    pub fn new(status: Status, external: Url) -> Self {
        Self { control: status.control.clone(), door: status.door.clone(), status, external }
    }

    /// Runs a command; reads and writes files, so call it on a blocking thread.
    pub fn run(&self, command: &Command) -> Answer {
        let done = match command {
            Command::AuditVerify {} => self.audit(),
            Command::Doctor {} => Ok(Answer::Doctor { checks: checks::all(&self.status) }),
            Command::Export {} => Err("a backup comes as a stream; nothing was done".to_owned()),
            Command::UserReset { email, drop_second_factor } => self.reset(email, *drop_second_factor),
        };
        done.unwrap_or_else(|said| Answer::Failed { said })
    }

    /// Writes a backup to `to`; blocks.
    pub fn export<W: Write>(&self, to: W, watch: Watch<'_>) -> Result<(W, Made), BackupError> {
        let source = Source { control: &self.control, door: &self.door, pool: &self.status.pool };
        make::write(source, Actor::Operator, to, watch)
    }

    fn audit(&self) -> Result<Answer, String> {
        let mut chains = vec![chain("control".into(), self.control.verify_audit().map_err(said)?)];
        for (id, _) in self.control.all_workspaces().map_err(said)? {
            let place = format!("workspace {id}");
            let verified = self.door.for_runner(id).map_err(|e| format!("{place}: {e}"))?.verify_audit();
            chains.push(chain(place.clone(), verified.map_err(|e| format!("{place}: {e}"))?));
        }
        Ok(Answer::Audit { chains })
    }

    fn reset(&self, email: &str, drop_second_factor: bool) -> Result<Answer, String> {
        let no = |said: String| Ok(Answer::No { said });
        let Ok(address) = email.parse::<Email>() else {
            return no(format!("{email:?} is no e-mail address; nothing was changed"));
        };
        let Some((id, account)) = self.control.account_by_address(&address).map_err(said)? else {
            return no(format!("there is no account with the address {address}; nothing was changed"));
        };
        let note = Note::new(Actor::Operator, Action::AccountResetByOperator, id);
        match admin::reset::make(&self.control, note, (id, &account), drop_second_factor) {
            Ok(made) => {
                let url = self.external.join(&made.path).map_err(said)?;
                Ok(Answer::Reset {
                    email: account.email.to_string(),
                    link: url.to_string(),
                    ends: made.ends,
                    mailed: made.mailed,
                })
            }
            Err(IdentityError::NoSuchAccount) => {
                no(format!("the account {address} is suspended; resume it first. Nothing was changed"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

fn chain(place: String, verified: Result<u64, Broken>) -> Chain {
    match verified {
        Ok(lines) => Chain { place, lines, broken: None },
        Err(broken @ (Broken::Link(line) | Broken::Tail(line))) => {
            Chain { place, lines: line, broken: Some(broken.to_string()) }
        }
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
