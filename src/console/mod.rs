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
use crate::store::audit::verify::{Step, Walk};
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError};
use crate::workspace::Door;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Walks the audit chain of control and of every workspace.
    AuditVerify {
        /// Answers [`Answer::Progress`] now and then before the answer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        progress: bool,
    },
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
    /// How far it is, before the answer.
    Progress {
        /// What is looked at.
        place: String,
        done: u64,
        total: u64,
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
    /// How many hold; in a broken chain the line that is named.
    pub lines: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub broken: Option<String>,
    /// What the named line says of its time, if it is there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub broken_at: Option<Timestamp>,
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

    /// Runs a command; reads and writes files, so call it on a blocking thread. What was asked for in between goes to
    /// `progress`.
    pub fn run(&self, command: &Command, progress: &mut dyn FnMut(Answer)) -> Answer {
        let done = match command {
            Command::AuditVerify { progress: asked } => self.audit(&mut |said| {
                if *asked {
                    progress(said);
                }
            }),
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

    fn audit(&self, progress: &mut dyn FnMut(Answer)) -> Result<Answer, String> {
        let walk = self.control.audit_walk().map_err(said)?;
        let mut chains = vec![chain("control".into(), walk, || self.control.read(), progress)?];
        for (id, _) in self.control.all_workspaces().map_err(said)? {
            let place = format!("workspace {id}");
            let at = |error: &dyn std::fmt::Display| format!("{place}: {error}");
            let ws = self.door.for_runner(id).map_err(|e| at(&e))?;
            let walk = ws.audit_walk().map_err(|e| at(&e))?;
            chains.push(chain(place.clone(), walk, || ws.read(), progress)?);
        }
        for (id, _) in self.control.erasures().map_err(said)? {
            let place = format!("erased workspace {id}");
            let verified = self.control.verify_kept(id).map_err(|e| format!("{place}: {e}"))?;
            let (lines, broken) = match verified {
                Ok(lines) => (lines, None),
                Err(broken) => (broken.line(), Some(broken.to_string())),
            };
            chains.push(Chain { place, lines, broken, broken_at: None });
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

/// Walks a chain in ranges, and says how far it is before each.
fn chain<R: Read>(
    place: String,
    mut walk: Walk,
    read: impl Fn() -> Result<R, StoreError>,
    progress: &mut dyn FnMut(Answer),
) -> Result<Chain, String> {
    let at = |error: StoreError| format!("{place}: {error}");
    loop {
        let (done, total) = walk.progress();
        progress(Answer::Progress { place: place.clone(), done, total });
        let read = read().map_err(at)?;
        let Step::Ended(ended) = walk.step(&read).map_err(at)? else { continue };
        let (lines, broken, broken_at) = match ended {
            Ok(holds) => (holds.lines(), None, None),
            Err(broken) => (broken.line(), Some(broken.to_string()), broken.at(&read)),
        };
        return Ok(Chain { place, lines, broken, broken_at });
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
