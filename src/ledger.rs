//! Where the egress gate's lines are kept: in the workspace on whose behalf a call left, or in the
//! control file when it left for the instance (tests of the model endpoint, mail). Written in the
//! background, in order, so that no call waits for the disk.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::egress::Line;
use crate::identity::Control;
use crate::store::{StoreError, Table};
use crate::workspace::Door;

/// Millisecond of the call, and a number that keeps calls of one millisecond apart.
pub const LINES: Table<(u64, u64), Line> = Table::new("egress_lines", 1);

/// Lines written in one commit.
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
                for line in batch.drain(..).flatten() {
                    number += 1;
                    if let Err(error) = write(&door, &control, line, number).await {
                        tracing::error!(%error, "a ledger line could not be written");
                    }
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

async fn write(door: &Door, control: &Control, line: Line, number: u64) -> Result<(), StoreError> {
    let key = (u64::try_from(line.at.as_millisecond()).unwrap_or(0), number);
    let Some(id) = line.workspace else {
        let control = control.clone();
        let written = tokio::task::spawn_blocking(move || control.touch(|tx| tx.put(&LINES, &key, &line)));
        return written.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))));
    };
    let Ok(ws) = door.for_runner(id) else { return Ok(()) };
    ws.note(move |tx| tx.put(&LINES, &key, &line)).await
}
