//! Where the egress gate's lines are kept: in the workspace on whose behalf a call left, or in the
//! control file when it left for the instance (tests of the model endpoint, mail). Written in the
//! background, in order, so that no call waits for the disk. Beside the lines stand their sums by day and host.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use tokio::sync::mpsc;

use crate::egress::{Line, Purpose};
use crate::identity::Control;
use crate::ids::{AccountId, WorkspaceId};
use crate::store::{Key, Read, StoreError, Table, Tx};
use crate::workspace::Door;

/// Millisecond of the call, and a number that keeps calls of one millisecond apart.
pub const LINES: Table<(u64, u64), Line> = Table::new("egress_lines", 1);

/// Day since 1970 (UTC), host, and what for: the sums of those calls. In a workspace its own calls; in the control file the
/// calls of the whole instance, without persons.
pub const DAYS: Table<(u32, String, Part), Sums> = Table::new("egress_days", 1);

/// What calls to one host are summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub purpose: Purpose,
    /// Who asked; `None` for a schedule.
    pub account: Option<AccountId>,
}

/// Sums of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub calls: u64,
    /// Of these, refused by the gate.
    pub refused: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

impl Sums {
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.refused += other.refused;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
    }
}

/// The day of a moment, counted from 1970, UTC.
pub fn day(at: Timestamp) -> u32 {
    u32::try_from(at.as_second().div_euclid(86_400)).unwrap_or(0)
}

/// No account has this id: ids begin with the time they were made at.
const NOBODY: [u8; 16] = [0; 16];

impl Key for Part {
    fn write(&self, out: &mut Vec<u8>) {
        self.purpose.name().to_owned().write(out);
        self.account.map_or(NOBODY, |id| *id.bytes()).write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let name = String::read(bytes)?;
        let purpose = Purpose::ALL.into_iter().find(|p| p.name() == name)?;
        let account = <[u8; 16]>::read(bytes)?;
        Some(Self { purpose, account: (account != NOBODY).then(|| AccountId::from_bytes(account)) })
    }
}

/// Most lines written in one commit.
const BATCH: usize = 64;

/// The writer of ledger lines.
pub struct Ledger {
    sender: mpsc::UnboundedSender<Option<Line>>,
    writing: tokio::task::JoinHandle<()>,
}

impl Ledger {
    pub fn start(door: Door, control: Control) -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Option<Line>>();
        let writing = tokio::spawn(async move {
            let mut number = 0;
            let mut batch = Vec::new();
            while receiver.recv_many(&mut batch, BATCH).await > 0 {
                let ended = batch.iter().any(Option::is_none);
                let mut of: BTreeMap<Option<WorkspaceId>, Vec<_>> = BTreeMap::new();
                for line in batch.drain(..).flatten() {
                    number += 1;
                    of.entry(line.workspace).or_default().push((number, line));
                }
                if let Err(error) = write(&door, &control, of).await {
                    tracing::error!(%error, "ledger lines of the instance could not be written");
                }
                if ended {
                    return;
                }
            }
        });
        Self { sender, writing }
    }

    /// Takes lines; never blocks.
    pub fn sink(&self) -> crate::egress::Ledger {
        let sender = self.sender.clone();
        Arc::new(move |line| {
            let _ = sender.send(Some(line));
        })
    }

    /// Writes what has come in, then ends.
    pub async fn stop(self) {
        let _ = self.sender.send(None);
        let _ = self.writing.await;
    }
}

async fn write(
    door: &Door,
    control: &Control,
    of: BTreeMap<Option<WorkspaceId>, Vec<(u64, Line)>>,
) -> Result<(), StoreError> {
    let mut instance = Vec::new();
    let mut whole = Vec::new();
    for (workspace, lines) in of {
        for (_, line) in &lines {
            whole.push((
                line.at,
                line.host.clone(),
                Part { purpose: line.purpose, account: None },
                sums(line),
            ));
        }
        let Some(id) = workspace else {
            instance = lines;
            continue;
        };
        // Deleted meanwhile: only the sums of the instance remember the call.
        let Ok(ws) = door.for_runner(id) else { continue };
        let noted = ws.note(move |tx| {
            for (_, line) in &lines {
                let part = Part { purpose: line.purpose, account: line.account };
                add(tx, (day(line.at), line.host.clone(), part), sums(line))?;
            }
            keep(tx, &lines)
        });
        let noted: Result<(), StoreError> = noted.await;
        if let Err(error) = noted {
            tracing::error!(%error, workspace = %id, "ledger lines could not be written");
        }
    }
    let control = control.clone();
    let written = tokio::task::spawn_blocking(move || {
        control.touch(|tx| {
            for (at, host, part, sums) in whole {
                add(tx, (day(at), host, part), sums)?;
            }
            keep(tx, &instance)
        })
    });
    written.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))))
}

fn keep(tx: &mut Tx, lines: &[(u64, Line)]) -> Result<(), StoreError> {
    lines.iter().try_for_each(|(number, line)| tx.put(&LINES, &(millis(line.at), *number), line))
}

/// How many lines were written before `before`, counted up to `most`.
pub fn count_before(read: &impl Read, before: Timestamp, most: usize) -> Result<usize, StoreError> {
    read.scan(&LINES).before(&millis(before)).limit(most).count()
}

/// Removes the oldest lines from before `before`, at most `most`; their sums stay. Answers how many.
pub fn prune(tx: &mut Tx, before: Timestamp, most: usize) -> Result<usize, StoreError> {
    let old = tx.scan(&LINES).before(&millis(before)).limit(most).rows()?;
    for (key, _) in &old {
        tx.remove(&LINES, key)?;
    }
    Ok(old.len())
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

fn add(tx: &mut Tx, key: (u32, String, Part), more: Sums) -> Result<(), StoreError> {
    let mut sums = tx.get(&DAYS, &key)?.unwrap_or_default();
    sums.add(more);
    tx.put(&DAYS, &key, &sums)
}

fn sums(line: &Line) -> Sums {
    Sums {
        calls: 1,
        refused: u64::from(line.refused.is_some()),
        sent_bytes: line.sent_bytes,
        received_bytes: line.received_bytes,
    }
}
