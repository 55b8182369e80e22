//! The outbox: mails that wait in the control file, committed with their cause. [`post`] puts one there; `sender` takes
//! it from there to the server. What a mail says is forgotten once it was sent; its row goes after 30 days.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::can_leave;
use super::letter::Letter;
use crate::identity::control::{ControlTx, Note};
use crate::identity::memberships::MEMBERSHIPS;
use crate::identity::{Control, SignedIn};
use crate::ids::{AccountId, MailId, WorkspaceId};
use crate::store::audit::Action;
use crate::store::{Read, StoreError, Table};

pub const OUTBOX: Table<MailId, MailRow> = Table::new("outbox", 1);
/// Mails that have not ended, by the millisecond they are due.
pub const OUTBOX_DUE: Table<(u64, MailId), ()> = Table::new("outbox_due", 1);
/// Mails that have ended, by the millisecond they did.
pub const OUTBOX_ENDED: Table<(u64, MailId), MailState> = Table::new("outbox_ended", 1);

/// Mails that may wait; a further one is not put.
const LONGEST_QUEUE: usize = 10_000;
/// Ended mails are kept this long for the operator.
const KEEP_MS: u64 = 30 * DAY_MS;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Kinds of the mails that say that an account or a workspace is gone: they are forgotten once they have ended.
const LAST_MAILS: [&str; 2] = ["account-deleted", "deletion-done"];
/// Rows that the operator's page shows of each kind.
const SHOWN: usize = 50;

/// A mail as kept; sealed with the file like everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MailRow {
    pub to: String,
    /// [`Letter::kind`].
    pub kind: String,
    /// What it says; gone once it was sent.
    pub letter: Option<Letter>,
    /// Sent only while this account is in this workspace.
    #[serde(default)]
    pub member: Option<(WorkspaceId, AccountId)>,
    /// It leaves through the server of this workspace, where there is one.
    #[serde(default)]
    pub workspace: Option<WorkspaceId>,
    pub created: Timestamp,
    pub due_ms: u64,
    /// How often it was begun.
    pub tries: u32,
    pub state: MailState,
    /// The last words of the server, or why it did not get there.
    pub said: String,
    #[serde(default)]
    pub ended: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailState {
    /// It can't get there, or did not for a day: a dead letter.
    Dead,
    /// Begun. After a kill it is begun again, see `sender`.
    Sending,
    Sent,
    Waiting,
}

/// Puts a mail to `to` into the outbox, inside the caller's change of the control file; it leaves once that has
/// committed. Answers whether it was put: not without a mail server, nor while 10,000 others wait.
pub fn post(tx: &mut ControlTx, control: &Control, to: &str, letter: &Letter) -> Result<bool, StoreError> {
    put(tx, control, MailId::new(control.clock(), control.random()), to, For::Nobody, letter)
}

/// Like [`post`] for a workspace, whose own mail server it leaves through where there is one; under an id that the caller
/// keeps, to look later how it went.
pub fn post_as(
    tx: &mut ControlTx,
    control: &Control,
    id: MailId,
    workspace: WorkspaceId,
    to: &str,
    letter: &Letter,
) -> Result<bool, StoreError> {
    put(tx, control, id, to, For::Workspace(workspace), letter)
}

/// Like [`post`], for something that may run again: the mail of an id is put once, and goes out only while `member`
/// still is one.
pub fn post_once(
    tx: &mut ControlTx,
    control: &Control,
    id: MailId,
    to: &str,
    member: (WorkspaceId, AccountId),
    letter: &Letter,
) -> Result<bool, StoreError> {
    if tx.has(&OUTBOX, &id)? {
        return Ok(true);
    }
    put(tx, control, id, to, For::Member(member), letter)
}

/// For whom a mail is.
enum For {
    /// Sent only while the account is in the workspace.
    Member((WorkspaceId, AccountId)),
    Nobody,
    /// Sent in its name.
    Workspace(WorkspaceId),
}

fn put(
    tx: &mut ControlTx,
    control: &Control,
    id: MailId,
    to: &str,
    whom: For,
    letter: &Letter,
) -> Result<bool, StoreError> {
    let (member, workspace) = match whom {
        For::Member(member) => (Some(member), Some(member.0)),
        For::Nobody => (None, None),
        For::Workspace(workspace) => (None, Some(workspace)),
    };
    if !can_leave(tx, workspace)? {
        return Ok(false);
    }
    if tx.scan(&OUTBOX_DUE).limit(LONGEST_QUEUE).count()? >= LONGEST_QUEUE {
        tracing::error!("a mail was not put into the outbox: {LONGEST_QUEUE} wait there already");
        return Ok(false);
    }
    let due_ms = control.clock().now_ms();
    let row = MailRow {
        to: to.to_owned(),
        kind: letter.kind().to_owned(),
        letter: Some(letter.clone()),
        member,
        workspace,
        created: control.clock().now(),
        due_ms,
        tries: 0,
        state: MailState::Waiting,
        said: String::new(),
        ended: None,
    };
    tx.put(&OUTBOX, &id, &row)?;
    tx.put(&OUTBOX_DUE, &(due_ms, id), &())?;
    Ok(true)
}

/// Begins a due mail: counts the try and commits that before the server hears of it. `None` when there is nothing to
/// send any more.
pub(super) fn begin(control: &Control, id: MailId, key_ms: u64) -> Result<Option<MailRow>, StoreError> {
    let mut begun = None;
    control.touch::<StoreError>(|tx| {
        let row = tx.get(&OUTBOX, &id)?.filter(|row| row.letter.is_some() && row.ended.is_none());
        let Some(mut row) = row else { return tx.remove(&OUTBOX_DUE, &(key_ms, id)).map(|_| ()) };
        if let Some((workspace, account)) = row.member
            && !tx.has(&MEMBERSHIPS, &(account, workspace))?
        {
            tx.remove(&OUTBOX, &id)?;
            return tx.remove(&OUTBOX_DUE, &(key_ms, id)).map(|_| ());
        }
        row.tries += 1;
        row.state = MailState::Sending;
        tx.put(&OUTBOX, &id, &row)?;
        begun = Some(row);
        Ok(())
    })?;
    Ok(begun)
}

/// How a try at a mail ended.
#[derive(Clone, Debug)]
pub(super) enum Tried {
    /// The server's words, or our reason.
    Dead(String),
    /// Again after this many milliseconds.
    Later(String, u64),
    /// The server's words.
    Sent(String),
}

/// Writes how a try ended.
pub(super) fn end(control: &Control, id: MailId, tried: &Tried) -> Result<(), StoreError> {
    let (now, now_ms) = (control.clock().now(), control.clock().now_ms());
    control.touch(|tx| {
        let Some(mut row) = tx.get(&OUTBOX, &id)? else { return Ok(()) };
        tx.remove(&OUTBOX_DUE, &(row.due_ms, id))?;
        match tried {
            Tried::Later(why, wait) => {
                row.state = MailState::Waiting;
                row.said.clone_from(why);
                row.due_ms = now_ms + wait;
                tx.put(&OUTBOX_DUE, &(row.due_ms, id), &())?;
            }
            Tried::Dead(said) | Tried::Sent(said) => {
                let sent = matches!(tried, Tried::Sent(_));
                row.state = if sent { MailState::Sent } else { MailState::Dead };
                row.letter = row.letter.filter(|_| !sent);
                row.said.clone_from(said);
                row.ended = Some(now);
                // The last mail: nothing may know the address, or the name, any more.
                if LAST_MAILS.contains(&row.kind.as_str()) {
                    return tx.remove(&OUTBOX, &id).map(|_| ());
                }
                tx.put(&OUTBOX_ENDED, &(now_ms, id), &row.state)?;
            }
        }
        tx.put(&OUTBOX, &id, &row)?;
        prune(tx, now_ms, 16).map(|_| ())
    })
}

/// Removes mails that ended long ago, at most `most`; answers how many.
pub fn prune(tx: &mut ControlTx, now_ms: u64, most: usize) -> Result<usize, StoreError> {
    let old = tx.scan(&OUTBOX_ENDED).before(&now_ms.saturating_sub(KEEP_MS)).limit(most).rows()?;
    for (key, _) in &old {
        tx.remove(&OUTBOX_ENDED, key)?;
        tx.remove(&OUTBOX, &key.1)?;
    }
    Ok(old.len())
}

/// Whether a mail to everybody may go on: half of the queue stays free for mails that somebody waits for.
pub fn has_room(read: &impl Read) -> Result<bool, StoreError> {
    Ok(read.scan(&OUTBOX_DUE).limit(LONGEST_QUEUE / 2).count()? < LONGEST_QUEUE / 2)
}

/// The outbox as the operator sees it.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    pub waiting: Vec<(MailId, MailRow)>,
    pub waiting_count: usize,
    /// Sent in the last 24 hours.
    pub sent: usize,
    /// Newest first.
    pub dead: Vec<(MailId, MailRow)>,
}

impl Outbox {
    pub fn of(control: &Control) -> Result<Self, StoreError> {
        let (read, now_ms) = (control.read()?, control.clock().now_ms());
        let mut waiting = Vec::new();
        for ((_, id), ()) in read.scan(&OUTBOX_DUE).limit(SHOWN).rows()? {
            waiting.extend(read.get(&OUTBOX, &id)?.map(|row| (id, row)));
        }
        let mut sent = 0;
        read.scan(&OUTBOX_ENDED).from(&now_ms.saturating_sub(DAY_MS)).each(|_, state| {
            sent += usize::from(state == MailState::Sent);
            true
        })?;
        let mut ids = Vec::new();
        read.scan(&OUTBOX_ENDED).reverse().each(|(_, id), state| {
            ids.extend((state == MailState::Dead).then_some(id));
            ids.len() < SHOWN
        })?;
        let mut dead = Vec::new();
        for id in ids {
            dead.extend(read.get(&OUTBOX, &id)?.map(|row| (id, row)));
        }
        let waiting_count = read.scan(&OUTBOX_DUE).limit(LONGEST_QUEUE).count()?;
        Ok(Self { waiting, waiting_count, sent, dead })
    }
}

/// Sends a dead letter anew, from its first try. Answers whether it was a dead letter.
pub async fn retry(control: &Control, by: &SignedIn, id: MailId) -> Result<bool, StoreError> {
    let due_ms = control.clock().now_ms();
    control
        .change(Note::new(by.actor(), Action::MailRetried, id), move |tx| {
            let dead = tx.get(&OUTBOX, &id)?.filter(|row| row.state == MailState::Dead);
            let Some(row) = dead else { return Ok(false) };
            forget_end(tx, id, &row)?;
            let row = MailRow { state: MailState::Waiting, tries: 0, due_ms, ended: None, ..row };
            tx.put(&OUTBOX, &id, &row)?;
            tx.put(&OUTBOX_DUE, &(due_ms, id), &())?;
            Ok(true)
        })
        .await
}

/// Throws a mail away that waits or is dead. Answers whether there was one; a mail on its way can't be stopped.
pub async fn drop(control: &Control, by: &SignedIn, id: MailId) -> Result<bool, StoreError> {
    control.change(Note::new(by.actor(), Action::MailDropped, id), move |tx| recall(tx, id)).await
}

/// [`drop`] inside a change that makes the mail pointless: its link was replaced or withdrawn.
pub fn recall(tx: &mut ControlTx, id: MailId) -> Result<bool, StoreError> {
    let Some(row) = tx.get(&OUTBOX, &id)? else { return Ok(false) };
    if matches!(row.state, MailState::Sending | MailState::Sent) {
        return Ok(false);
    }
    forget_end(tx, id, &row)?;
    tx.remove(&OUTBOX_DUE, &(row.due_ms, id))?;
    tx.remove(&OUTBOX, &id)
}

/// Forgets the mails to somebody whose account is erased, and dead ones that name them, inside that change.
pub fn forget(tx: &mut ControlTx, to: &str, name: &str) -> Result<(), StoreError> {
    let mut found = Vec::new();
    tx.scan(&OUTBOX).each(|id, row| {
        let said = || serde_json::to_string(&row.letter).unwrap_or_default();
        let names = row.state == MailState::Dead && (said().contains(name) || said().contains(to));
        if row.to.eq_ignore_ascii_case(to) || names || row.said.contains(to) {
            found.push((id, row));
        }
        true
    })?;
    for (id, row) in found {
        forget_end(tx, id, &row)?;
        tx.remove(&OUTBOX_DUE, &(row.due_ms, id))?;
        tx.remove(&OUTBOX, &id)?;
    }
    Ok(())
}

/// Forgets the mails of a workspace that is erased, inside that change: by its id, and by links below one of its slugs.
/// Those that only have its name go when `name` is given, which no other workspace may have.
pub fn forget_workspace(
    tx: &mut ControlTx,
    id: WorkspaceId,
    slugs: &[String],
    name: Option<&str>,
) -> Result<(), StoreError> {
    let mut found = Vec::new();
    tx.scan(&OUTBOX).each(|mail, row| {
        let letter = serde_json::to_value(&row.letter).unwrap_or_default();
        let link = letter["link"].as_str().unwrap_or_default();
        let below = slugs.iter().any(|slug| link.starts_with(&format!("/w/{slug}/")));
        let named = name.is_some_and(|name| letter["workspace"] == name) && !link.starts_with("/w/");
        if row.workspace == Some(id) || row.member.is_some_and(|(of, _)| of == id) || below || named {
            found.push((mail, row));
        }
        true
    })?;
    for (mail, row) in found {
        forget_end(tx, mail, &row)?;
        tx.remove(&OUTBOX_DUE, &(row.due_ms, mail))?;
        tx.remove(&OUTBOX, &mail)?;
    }
    Ok(())
}

fn forget_end(tx: &mut ControlTx, id: MailId, row: &MailRow) -> Result<(), StoreError> {
    if let Some(at) = row.ended {
        tx.remove(&OUTBOX_ENDED, &(u64::try_from(at.as_millisecond()).unwrap_or(0), id))?;
    }
    Ok(())
}
