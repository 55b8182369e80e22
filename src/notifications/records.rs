//! Notices as kept: those of a workspace in its own file, for whom they are meant; those of an account in the control
//! file, so that they commit with their cause. Both go after 90 days, and the oldest before that when there are many.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::MAIL_JOB;
use super::kinds::{Choices, Kind};
use crate::clock::Clock;
use crate::identity::accounts::ACCOUNTS;
use crate::identity::control::ControlTx;
use crate::identity::{AccountState, Control, Role};
use crate::ids::{AccountId, NoticeId};
use crate::jobs::{self, JobCause};
use crate::mail::{self, Letter};
use crate::store::{Read, StoreError, Table, Tx};
use crate::web::live::{NOTICES as NOTICES_TOPIC, notices_of};
use crate::workspace::Change;

/// Notices of a workspace.
pub const NOTICES: Table<NoticeId, NoticeRow> = Table::new("notices", 1);
/// Who has read which notice of a workspace.
pub const NOTICES_READ: Table<(NoticeId, AccountId), ()> = Table::new("notices_read", 1);
/// The newest notice that an account had when it marked all as read.
pub const NOTICES_SEEN: Table<AccountId, NoticeId> = Table::new("notices_seen", 1);
/// In the control file: notices of an account.
pub const ACCOUNT_NOTICES: Table<(AccountId, NoticeId), AccountNoticeRow> = Table::new("account_notices", 1);
/// In the control file: what reaches an account, and how.
pub const NOTICE_CHOICES: Table<AccountId, Choices> = Table::new("notice_choices", 1);

/// Notices are kept this long.
const KEEP_MS: u64 = 90 * 24 * 3600 * 1000;
/// The most notices that a workspace keeps.
const MOST: usize = 2_000;
/// The most that an account keeps of its own.
const MOST_OF_ACCOUNT: usize = 200;
/// Old rows removed with a new one.
const REMOVED_AT_ONCE: usize = 16;
/// The longest title or body, in characters.
const LONGEST: usize = 300;

/// Something to tell people. Title and body are plain text of one line.
#[derive(Clone, Debug)]
pub struct Notice {
    pub kind: Kind,
    pub title: String,
    pub body: String,
    /// A path of this instance, or one below the workspace it is raised in (`o/prod/findings`).
    pub link: String,
    /// Whose act it is, when somebody else did it.
    pub by: Option<AccountId>,
    /// Notices of one group are shown as one, with their count.
    pub group: String,
    /// What is mailed to those who want it.
    pub letter: Option<Letter>,
}

impl Notice {
    /// `link` is a path such as `/w/halden/orgs`. It is its own group and is not mailed, unless said.
    pub fn new(kind: Kind, title: impl Into<String>, link: impl Into<String>) -> Self {
        Self {
            kind,
            title: title.into(),
            body: String::new(),
            link: link.into(),
            by: None,
            group: String::new(),
            letter: None,
        }
    }

    /// What `letter` says, in the app and by mail.
    pub fn of(kind: Kind, letter: Letter) -> Self {
        Self { letter: Some(letter.clone()), ..Self::new(kind, letter.headline(), letter.link()) }
    }

    pub fn body(self, body: impl Into<String>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// `group` is any text that the notices which belong together share, such as `sync 01j…`.
    pub fn group(self, group: impl Into<String>) -> Self {
        Self { group: group.into(), ..self }
    }

    pub fn letter(self, letter: Letter) -> Self {
        Self { letter: Some(letter), ..self }
    }
}

/// For whom a notice of a workspace is meant; who is no longer a member gets none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    Account(AccountId),
    Accounts(Vec<AccountId>),
    Everyone,
    /// Members of this role and above, but for some.
    Others {
        least: Role,
        but: Vec<AccountId>,
    },
    /// Members of this role and above.
    Role(Role),
}

impl Audience {
    pub fn includes(&self, account: AccountId, role: Role) -> bool {
        match self {
            Self::Account(id) => *id == account,
            Self::Accounts(ids) => ids.contains(&account),
            Self::Everyone => true,
            Self::Others { least, but } => role >= *least && !but.contains(&account),
            Self::Role(least) => role >= *least,
        }
    }

    /// Topics that open pages of the audience listen to.
    fn topics(&self) -> Vec<String> {
        match self {
            Self::Account(id) => vec![notices_of(*id)],
            Self::Accounts(ids) => ids.iter().copied().map(notices_of).collect(),
            Self::Everyone | Self::Others { .. } | Self::Role(_) => vec![NOTICES_TOPIC.to_owned()],
        }
    }
}

/// A notice of a workspace as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NoticeRow {
    pub kind: Kind,
    pub title: String,
    pub body: String,
    pub link: String,
    pub group: String,
    #[serde(default)]
    pub by: Option<AccountId>,
    pub to: Audience,
    pub at: Timestamp,
}

/// A notice of an account as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountNoticeRow {
    pub kind: Kind,
    pub title: String,
    pub body: String,
    pub link: String,
    pub group: String,
    #[serde(default)]
    pub by: Option<AccountId>,
    pub at: Timestamp,
    pub read: bool,
}

/// What the job that mails a notice is given.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mailing {
    pub notice: NoticeId,
    pub kind: Kind,
    pub to: Audience,
    pub by: Option<AccountId>,
    pub letter: Letter,
}

/// Tells people of a workspace, inside a change of it (not a `note`, whose jobs nobody would begin). Pages of the
/// audience show it once this has committed; a job mails it to those who want that kind by mail.
pub fn raise(
    tx: &mut Change<'_>,
    cause: &JobCause,
    to: Audience,
    notice: Notice,
) -> Result<NoticeId, StoreError> {
    let id = NoticeId::new(cause.clock(), cause.random());
    let Notice { kind, title, body, link, by, group, letter } = notice;
    let (title, body) = (line(&title), line(&body));
    let row = NoticeRow { kind, title, body, link, group, by, to: to.clone(), at: cause.clock().now() };
    tx.put(&NOTICES, &id, &row)?;
    remove_old(tx, cause.clock())?;
    if let Some(letter) = letter {
        let args = json!(Mailing { notice: id, kind, to: to.clone(), by, letter });
        jobs::enqueue(tx, cause, MAIL_JOB, args)?;
    }
    for topic in to.topics() {
        tx.announce(topic);
    }
    Ok(id)
}

fn remove_old(tx: &mut Change<'_>, clock: &Clock) -> Result<(), StoreError> {
    let removed = prune(tx, clock.now_ms(), REMOVED_AT_ONCE)?;
    if removed == 0 && tx.scan(&NOTICES).limit(MOST + 1).count()? > MOST {
        let oldest = tx.scan(&NOTICES).limit(1).rows()?;
        remove(tx, oldest)?;
    }
    Ok(())
}

/// Removes notices of a workspace that are too old, at most `most`; answers how many.
pub fn prune(tx: &mut Tx, now_ms: u64, most: usize) -> Result<usize, StoreError> {
    let before = first_after(now_ms.saturating_sub(KEEP_MS));
    let old = tx.scan(&NOTICES).before(&before).limit(most).rows()?;
    remove(tx, old)
}

fn remove(tx: &mut Tx, rows: Vec<(NoticeId, NoticeRow)>) -> Result<usize, StoreError> {
    for (id, _) in &rows {
        tx.remove(&NOTICES, id)?;
        tx.remove_under(&NOTICES_READ, id)?;
    }
    Ok(rows.len())
}

/// Removes notices of accounts that are too old, at most `most`; answers how many.
pub fn prune_accounts(tx: &mut ControlTx, now_ms: u64, most: usize) -> Result<usize, StoreError> {
    let before = first_after(now_ms.saturating_sub(KEEP_MS));
    let mut old = Vec::new();
    tx.scan(&ACCOUNT_NOTICES).each(|key, _| {
        old.extend((key.1 < before).then_some(key));
        old.len() < most
    })?;
    for key in &old {
        tx.remove(&ACCOUNT_NOTICES, key)?;
    }
    Ok(old.len())
}

/// Tells an account something about itself, inside a change of the control file: in the app, and by mail when the
/// person wants it (or can't refuse it) and mail is configured.
pub fn tell(
    tx: &mut ControlTx,
    control: &Control,
    account: AccountId,
    notice: Notice,
) -> Result<NoticeId, StoreError> {
    let id = NoticeId::new(control.clock(), control.random());
    let Notice { kind, title, body, link, by, group, letter } = notice;
    let (title, body, at) = (line(&title), line(&body), control.clock().now());
    let row = AccountNoticeRow { kind, title, body, link, group, by, at, read: false };
    tx.put(&ACCOUNT_NOTICES, &(account, id), &row)?;
    let oldest = first_after(control.clock().now_ms().saturating_sub(KEEP_MS));
    let mut old = Vec::new();
    let mut kept = 0;
    tx.scan(&ACCOUNT_NOTICES).under(&account).reverse().each(|key, _| {
        kept += 1;
        if kept > MOST_OF_ACCOUNT || key.1 < oldest {
            old.push(key);
        }
        old.len() < REMOVED_AT_ONCE
    })?;
    for key in old {
        tx.remove(&ACCOUNT_NOTICES, &key)?;
    }
    if let Some(letter) = letter
        && choices(tx, account)?.of(kind).mail
        && let Some(person) = tx.get(&ACCOUNTS, &account)?
        && person.state == AccountState::Active
    {
        mail::post(tx, control, person.email.as_str(), &letter)?;
    }
    control.tell_pages_of(account);
    Ok(id)
}

/// What an account chose; `read` is of the control file.
pub fn choices(read: &impl Read, account: AccountId) -> Result<Choices, StoreError> {
    Ok(read.get(&NOTICE_CHOICES, &account)?.unwrap_or_default())
}

/// The smallest id of notices made at or after this millisecond.
pub(super) fn first_after(ms: u64) -> NoticeId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    NoticeId::from_bytes(bytes)
}

/// One line, not endless.
fn line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}
