//! A backup over the control socket: after the one line of the question come frames, a byte that says what, the length and
//! the bytes: `d` bytes of the backup, `p` how far it is, `e` the answer, which ends it. Whoever asked writes the bytes
//! where they may, so the server needs no right on their folder.

use std::io::{self, Read as _, Write};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Answer, Command, Console, socket};
use crate::backup::{BackupError, Progress};

/// Frames that wait for a slow reader.
const WAITING: usize = 8;
const LONGEST: u32 = 1 << 20;
const FRAME: usize = 64 * 1024;
/// Who reads nothing for so long has gone; the backup holds removed files until then.
const STALLED: Duration = Duration::from_mins(10);

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[kind][..], &length.to_be_bytes(), bytes].concat()
}

struct Frames {
    to: mpsc::Sender<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Frames {
    fn send(&self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        self.to.blocking_send(frame(kind, bytes)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Frames {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= FRAME {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.send(b'd', &self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// The server's half.
pub(super) async fn serve(
    console: Console,
    mut to: impl AsyncWrite + Unpin,
    stop: CancellationToken,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(WAITING);
    let making = tokio::task::spawn_blocking(move || {
        let progress = sender.clone();
        let frames = Frames { to: sender.clone(), buffer: Vec::new() };
        let made = console.export(frames, &mut |at| {
            if stop.is_cancelled() {
                return Err(BackupError::Stopped);
            }
            let text = serde_json::to_vec(&at).map_err(io::Error::other)?;
            let sent = progress.blocking_send(frame(b'p', &text));
            sent.map_err(|_| BackupError::Io(io::ErrorKind::BrokenPipe.into()))
        });
        let answer = match made {
            Ok((_, made)) => Answer::Exported { made },
            Err(error) => Answer::Failed { said: error.to_string() },
        };
        let text = serde_json::to_vec(&answer).unwrap_or_default();
        // Whoever asked may be gone.
        let _ = sender.blocking_send(frame(b'e', &text));
    });
    let sent = async {
        while let Some(frame) = receiver.recv().await {
            tokio::time::timeout(STALLED, to.write_all(&frame)).await.map_err(io::Error::other)??;
        }
        Ok(())
    };
    let sent: io::Result<()> = sent.await;
    // Without a receiver the backup ends at its next frame.
    drop(receiver);
    making.await.map_err(io::Error::other)?;
    sent
}

/// Asks the server that holds `data_dir` for a backup and writes it to `to`; `None` when none listens there.
pub fn export(
    data_dir: &Path,
    to: &mut impl Write,
    watch: crate::backup::Watch<'_>,
) -> Result<Option<Answer>, BackupError> {
    let Some(mut stream) = socket::connect(data_dir)? else { return Ok(None) };
    let mut text = serde_json::to_string(&Command::Export {}).map_err(io::Error::other)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let ended = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("the server ended before the backup did"),
        _ => error,
    };
    let mut stream = io::BufReader::new(stream);
    loop {
        let mut kind = [0];
        stream.read_exact(&mut kind).map_err(ended)?;
        if kind == *b"{" {
            return Err(io::Error::other("the server is of another version: restart it").into());
        }
        let mut length = [0; 4];
        stream.read_exact(&mut length).map_err(ended)?;
        let length = u32::from_be_bytes(length);
        if length > LONGEST {
            return Err(io::Error::other("the server does not speak as expected: restart it").into());
        }
        let mut bytes = vec![0; length as usize];
        stream.read_exact(&mut bytes).map_err(ended)?;
        match kind {
            [b'd'] => to.write_all(&bytes)?,
            [b'p'] => watch(serde_json::from_slice::<Progress>(&bytes).map_err(io::Error::other)?)?,
            _ => return Ok(Some(serde_json::from_slice(&bytes).map_err(io::Error::other)?)),
        }
    }
}
