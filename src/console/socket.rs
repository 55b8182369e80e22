//! `DATA/control.sock`: one line of JSON in, one out. The file is 0600 in a folder that is 0700, and who connects must
//! be the owner of the data or root, which the kernel says.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Answer, Command, Console, stream};

const NAME: &str = "control.sock";
/// Bytes of a question; nothing that can be asked is longer.
const LONGEST: u64 = 16 * 1024;
/// How long somebody who connected may take to ask.
const ASKING: Duration = Duration::from_secs(10);
/// The longest a command may take, as the one who asked waits.
const ANSWERING: Duration = Duration::from_mins(10);
/// Words about progress that wait to be sent; further ones are left out.
const PROGRESS: usize = 16;
/// Commands at once; further ones wait.
const AT_ONCE: usize = 4;

/// The socket of a running server.
pub struct Served {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    path: PathBuf,
}

/// Begins to answer at the socket of `data_dir`. The caller holds the directory's lock, so a socket that is there is
/// one that a killed process left.
pub fn serve(data_dir: &Path, console: Console) -> io::Result<Served> {
    let path = data_dir.join(NAME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let owner = std::fs::metadata(data_dir)?.uid();
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let stop = CancellationToken::new();
    let task = listen(listener, owner, console, stop.clone());
    Ok(Served { stop, running: tokio::spawn(task), path })
}

impl Served {
    /// Takes no further command and removes the socket. What runs goes on to its end, but for a backup, which stops.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.running.await;
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn listen(listener: UnixListener, owner: u32, console: Console, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let (place, stream) = tokio::select! {
            () = stop.cancelled() => break,
            pair = async { (place.await, listener.accept().await) } => pair,
        };
        let Ok((stream, _)) = stream else {
            // Out of descriptors: look again once some may be free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if !stream.peer_cred().is_ok_and(|peer| may_ask(peer.uid(), owner)) {
            tracing::warn!(
                "somebody who is not the owner of the data was turned away from the control socket"
            );
            continue;
        }
        let (console, stop) = (console.clone(), stop.clone());
        tasks.spawn(async move {
            let _place = place;
            if let Err(error) = answer(stream, console, stop).await {
                tracing::warn!(%error, "a console command was not answered");
            }
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

/// The owner of the data, who could read the key and the files as well, and root, who can anyway.
const fn may_ask(peer: u32, owner: u32) -> bool {
    peer == owner || peer == 0
}

async fn answer(stream: UnixStream, console: Console, stop: CancellationToken) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LONGEST));
    tokio::time::timeout(ASKING, reader.read_line(&mut line)).await.map_err(io::Error::other)??;
    let Ok(command) = serde_json::from_str::<Command>(&line) else {
        let said = "the server does not know this command: it is of another version. Restart it; nothing was \
                    changed";
        return tell(&mut write, &Answer::Failed { said: said.into() }).await;
    };
    if command == (Command::Export {}) {
        return stream::serve(console, write, stop).await;
    }
    let (sender, mut progress) = tokio::sync::mpsc::channel(PROGRESS);
    let running = tokio::task::spawn_blocking(move || {
        // A slow or lost listener misses some of it and delays nothing.
        console.run(&command, &mut |said| drop(sender.try_send(said)))
    });
    while let Some(said) = progress.recv().await {
        tell(&mut write, &said).await?;
    }
    tell(&mut write, &running.await.map_err(io::Error::other)?).await
}

async fn tell(write: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// A connection to the server that holds `data_dir`; `None` when none listens there.
pub(super) fn connect(data_dir: &Path) -> io::Result<Option<std::os::unix::net::UnixStream>> {
    let stream = std::os::unix::net::UnixStream::connect(data_dir.join(NAME));
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(ANSWERING))?;
    Ok(Some(stream))
}

/// Asks the server that holds `data_dir`; `None` when none listens there. How far it is goes to `progress`.
pub fn ask(
    data_dir: &Path,
    command: &Command,
    progress: &mut dyn FnMut(Answer),
) -> io::Result<Option<Answer>> {
    let Some(mut stream) = connect(data_dir)? else { return Ok(None) };
    let mut text = serde_json::to_string(command)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut reader = io::BufReader::new(stream);
    loop {
        let mut line = String::new();
        (&mut reader).take(64 * LONGEST * 16).read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::Error::other(
                "the server closed the connection; only the owner of the data may ask",
            ));
        }
        match serde_json::from_str(&line)? {
            said @ Answer::Progress { .. } => progress(said),
            answer => return Ok(Some(answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_ask() {
        assert!(may_ask(1000, 1000) && may_ask(0, 1000));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }
}
