//! Takes mails from the outbox to the server, a few at a time, woken by the commit that put them.
//!
//! A try is committed before the server hears of the mail and its end after the server answered. Between the server's
//! "250" and that second commit lies a window: a process that is killed in it finds the mail begun, not ended, and
//! sends it again, because a lost invitation is worse than a doubled one. The second copy carries the same Message-ID,
//! by which mail servers and programs tell that it is one. While the process lives a mail is never doubled: when the
//! disk refuses the second commit, the sender holds on to the answer and writes it later instead of sending again.

use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::letter::Letter;
use super::outbox::{self, OUTBOX_DUE, Tried};
use super::{MailServer, MailSettingsError, Way, servers};
use crate::egress::{Cause, Purpose};
use crate::ids::MailId;
use crate::store::{Read as _, StoreError};
use crate::wire::mail::{Mail, MailError, Step};

/// Mails on their way at the same time.
const AT_ONCE: usize = 4;
/// Mails taken at a look.
const TAKEN: usize = 64;
/// Tries before a mail is a dead letter: 5 s, 10 s, 20 s … 11 h apart, together 23 hours.
const TRIES: u32 = 15;
/// The wait after the first try, in milliseconds.
const FIRST_WAIT: u64 = 5_000;
/// How long the sender waits when the disk refuses.
const DISK_WAIT: Duration = Duration::from_secs(5);

/// The running sender.
pub struct Sender {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Sender {
    pub fn start(server: MailServer) -> Self {
        let stop = CancellationToken::new();
        let task = Task { server, stop: stop.clone() };
        Self { stop, running: tokio::spawn(async move { task.run().await }) }
    }

    /// Begins no further mail and waits for those on their way, at most half a minute.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.running.await;
    }
}

struct Task {
    server: MailServer,
    stop: CancellationToken,
}

impl Task {
    async fn run(&self) {
        while !self.stop.is_cancelled() {
            let pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "the outbox can't be read or written");
                    Some(DISK_WAIT)
                }
            };
            let due = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.server.control.posted() => {}
                () = due => {}
            }
        }
    }

    /// Sends what is due. Answers how long nothing will be; `None` = until something is posted.
    async fn look(&self) -> Result<Option<Duration>, MailSettingsError> {
        loop {
            let server = self.server.clone();
            let found = tokio::task::spawn_blocking(move || find(&server));
            let found = found.await.map_err(|e| StoreError::Io(std::io::Error::other(e)))??;
            let Some(Found { due, next }) = found else { return Ok(None) };
            if due.is_empty() {
                return Ok(next.map(Duration::from_millis));
            }
            let ways = due.into_iter().map(|(ms, id)| self.deliver(ms, id));
            let ended: Vec<Result<(), StoreError>> =
                futures_util::stream::iter(ways).buffer_unordered(AT_ONCE).collect().await;
            ended.into_iter().collect::<Result<(), StoreError>>()?;
            if self.stop.is_cancelled() {
                return Ok(None);
            }
        }
    }

    async fn deliver(&self, ms: u64, id: MailId) -> Result<(), StoreError> {
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let control = self.server.control.clone();
        let begun = blocking(move || outbox::begin(&control, id, ms)).await?;
        let Some((row, letter)) = begun.and_then(|mut row| row.letter.take().map(|letter| (row, letter)))
        else {
            return Ok(());
        };
        let (server, workspace) = (self.server.clone(), row.workspace);
        let way = tokio::task::spawn_blocking(move || server.way(workspace)).await;
        let tried = match way {
            Ok(Ok(Some(way))) => self.send(&way, id, &row, &letter).await,
            Ok(Ok(None)) => self.later(&row, "no mail server is set up".into()),
            Ok(Err(error)) => self.later(&row, error.to_string()),
            Err(error) => self.later(&row, error.to_string()),
        };
        let known = match &tried {
            Tried::Dead(_) => "dead letter",
            Tried::Later(..) => "put off",
            Tried::Sent(_) => "sent",
        };
        tracing::info!(mail = %id, kind = row.kind, tries = row.tries, "{known}");
        loop {
            let (control, tried) = (self.server.control.clone(), tried.clone());
            match blocking(move || outbox::end(&control, id, &tried)).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::error!(mail = %id, %error, "how a mail ended can't be written yet"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(DISK_WAIT) => {}
            }
        }
    }

    async fn send(&self, way: &Way, id: MailId, row: &outbox::MailRow, letter: &Letter) -> Tried {
        let clock = self.server.control.clock();
        if letter.ends().is_some_and(|ends| ends <= clock.now()) {
            return Tried::Dead("Not sent: its link had ended by then.".into());
        }
        let drawn = match letter.render(&self.server.external) {
            Ok(drawn) => drawn,
            Err(error) => return Tried::Dead(format!("Not sent: {error}.")),
        };
        let mail = Mail {
            from: way.from.clone(),
            to: row.to.clone(),
            subject: drawn.subject,
            text: drawn.text,
            html: drawn.html,
            id: id.to_string(),
            at: row.created,
            unsubscribe: drawn.unsubscribe,
        };
        let why = format!("mail: {}", row.kind);
        let cause = Cause { purpose: Purpose::Mail, workspace: way.whose.workspace(), account: None, why };
        match way.client.send(&cause, &mail).await {
            Ok(said) => Tried::Sent(said),
            Err(error) if is_final(&error) => Tried::Dead(error.to_string()),
            Err(error) => self.later(row, error.to_string()),
        }
    }

    /// Once more, unless it was tried often enough.
    fn later(&self, row: &outbox::MailRow, why: String) -> Tried {
        if row.tries >= TRIES {
            return Tried::Dead(format!("Given up after {TRIES} tries in a day. The last: {why}"));
        }
        let wait = FIRST_WAIT << (row.tries.saturating_sub(1)).min(TRIES);
        Tried::Later(why, wait + self.server.control.random().below(wait / 5))
    }
}

/// Whether this very mail will never be taken. A server that refuses the connection or the sign-in says nothing about
/// the mail: the operator may mend that.
fn is_final(error: &MailError) -> bool {
    match error {
        MailError::Refused { step, code, .. } => {
            *code >= 500 && matches!(step, Step::Contents | Step::Recipient | Step::Sender)
        }
        MailError::Unfit(_) => true,
        _ => false,
    }
}

struct Found {
    due: Vec<(u64, MailId)>,
    /// Milliseconds until the next one is due.
    next: Option<u64>,
}

/// What is due; `None` without a server. Blocks.
fn find(server: &MailServer) -> Result<Option<Found>, MailSettingsError> {
    let (read, now) = (server.control.read()?, server.control.clock().now_ms());
    if !servers::any(&read)? {
        return Ok(None);
    }
    let mut due: Vec<(u64, MailId)> = Vec::new();
    let mut next = None;
    read.scan(&OUTBOX_DUE).limit(TAKEN).each(|(ms, id), ()| {
        if ms > now {
            next = Some(ms - now);
            return false;
        }
        due.push((ms, id));
        true
    })?;
    Ok(Some(Found { due, next }))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))))
}

impl Letter {
    /// When the link in it ends: it is of no use to anybody after that.
    const fn ends(&self) -> Option<Timestamp> {
        match self {
            Self::ExportReady { ends, .. }
            | Self::InvitationReminder { ends, .. }
            | Self::InvitationSent { ends, .. }
            | Self::MailChangeConfirm { ends, .. }
            | Self::PasswordReset { ends, .. } => Some(*ends),
            _ => None,
        }
    }
}
