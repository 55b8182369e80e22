//! Reads the lines of a chain: those that fit a filter, newest first for pages and the API, in ranges for files. What is done to
//! a workspace itself (members, invitations, its name) stands in the instance's chain beside the workspace's own.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::identity::Control;
use crate::ids::{AccountId, RequestId, WorkspaceId};
use crate::store::audit::{AUDIT, AUDIT_HEAD, Action, Actor, AuditEvent};
use crate::store::{Read, StoreError};
use crate::workspace::Workspace;

/// Lines looked at for one page of a filter.
const LOOKED_AT: usize = 20_000;
/// How far lines may stand out of the order of their times, because a clock was set back.
const SLACK: SignedDuration = SignedDuration::from_hours(24);

/// Which chain of a workspace is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// Its own file: what happens in it.
    #[default]
    Contents,
    /// The lines about it in the instance's file.
    Members,
}

impl Chain {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contents => "contents",
            Self::Members => "members",
        }
    }
}

/// Who did it, as a filter asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A person, also by a token or a job of theirs.
    Account(AccountId),
    Operator,
    /// A job that nobody asked for.
    Schedule,
    Visitor,
}

impl Who {
    /// From a filter: an account id, `operator`, `schedule` or `visitor`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "operator" => Some(Self::Operator),
            "schedule" => Some(Self::Schedule),
            "visitor" => Some(Self::Visitor),
            id => id.parse().ok().map(Self::Account),
        }
    }

    fn fits(self, actor: &Actor) -> bool {
        match self {
            Self::Account(id) => actor.account() == Some(id),
            Self::Operator => *actor == Actor::Operator,
            Self::Schedule => matches!(actor, Actor::Job { asked_by: None, .. }),
            Self::Visitor => *actor == Actor::Visitor,
        }
    }
}

/// Whose lines of a file are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Of {
    #[default]
    All,
    /// Those of the instance's file that are about no workspace.
    Instance,
    /// Those of the instance's file about this workspace.
    Workspace(WorkspaceId),
}

/// Which lines are wanted; `None` and empty text = all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub of: Of,
    pub who: Option<Who>,
    pub action: Option<Action>,
    /// Part of the target, in lower case.
    pub target: String,
    pub request: Option<RequestId>,
    pub from: Option<Timestamp>,
    /// The first moment that is too late.
    pub before: Option<Timestamp>,
}

impl Wanted {
    /// Whether a line is one of them.
    pub fn fits(&self, line: &AuditEvent) -> bool {
        let of = match self.of {
            Of::All => true,
            Of::Instance => line.workspace.is_none(),
            Of::Workspace(id) => line.workspace == Some(id),
        };
        of && self.who.is_none_or(|who| who.fits(&line.actor))
            && self.action.is_none_or(|action| action == line.action)
            && (self.target.is_empty() || line.target.to_lowercase().contains(&self.target))
            && self.request.is_none_or(|request| line.request == Some(request))
            && self.from.is_none_or(|from| line.at >= from)
            && self.before.is_none_or(|before| line.at < before)
    }

    /// The lines that can hold what is wanted: the first, and the first that can't any more.
    fn span(&self, read: &impl Read) -> Result<(u64, u64), StoreError> {
        let first = read.scan(&AUDIT).limit(1).keys()?.pop().unwrap_or(1);
        let end = read.get(&AUDIT_HEAD, &0)?.map_or(0, |head| head.line) + 1;
        let from = match self.from.and_then(|from| from.checked_sub(SLACK).ok()) {
            Some(from) => line_of(read, from, (first, end))?,
            None => first,
        };
        let before = match self.before.and_then(|before| before.checked_add(SLACK).ok()) {
            Some(before) => line_of(read, before, (first, end))?,
            None => end,
        };
        Ok((from, before))
    }
}

/// The first of these lines that is not before `at`, found by halving: lines stand in the order of their times but for
/// clocks that were set back.
fn line_of(read: &impl Read, at: Timestamp, (mut low, mut high): (u64, u64)) -> Result<u64, StoreError> {
    while low < high {
        let middle = low + (high - low) / 2;
        match read.get(&AUDIT, &middle)? {
            Some(line) if line.at < at => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The newest lines that fit.
#[derive(Debug)]
pub struct Page {
    /// Each with its number.
    pub lines: Vec<(u64, AuditEvent)>,
    /// Go on looking before this line: something may be left.
    pub older: Option<u64>,
    /// When the last line that was looked at was written.
    pub reached: Option<Timestamp>,
}

/// At most `shown` of the newest lines that fit, before line `before`. Looks at a bounded number of lines: a page may be empty
/// and still say where to go on.
pub fn newest(
    read: &impl Read,
    wanted: &Wanted,
    before: Option<u64>,
    shown: usize,
) -> Result<Page, StoreError> {
    let (first, end) = wanted.span(read)?;
    let end = before.map_or(end, |before| before.min(end));
    let mut page = Page { lines: Vec::new(), older: None, reached: None };
    if first >= end {
        return Ok(page);
    }
    let mut last = end;
    read.scan(&AUDIT).from(&first).before(&end).reverse().limit(LOOKED_AT).each(|number, line| {
        (last, page.reached) = (number, Some(line.at));
        if wanted.fits(&line) {
            page.lines.push((number, line));
        }
        page.lines.len() < shown
    })?;
    page.older = Some(last).filter(|last| *last > first);
    Ok(page)
}

/// A range of lines, oldest first.
#[derive(Debug)]
pub struct Part {
    /// Those that fit, each with its number.
    pub lines: Vec<(u64, AuditEvent)>,
    /// The last line that was looked at, to go on behind; `None` = there was none.
    pub last: Option<u64>,
}

/// The lines that fit of at most `limit` behind line `after`.
pub fn range(read: &impl Read, wanted: &Wanted, after: u64, limit: usize) -> Result<Part, StoreError> {
    let (first, end) = wanted.span(read)?;
    let first = first.max(after + 1);
    let mut part = Part { lines: Vec::new(), last: None };
    if first < end {
        read.scan(&AUDIT).from(&first).before(&end).limit(limit).each(|number, line| {
            part.last = Some(number);
            if wanted.fits(&line) {
                part.lines.push((number, line));
            }
            true
        })?;
    }
    Ok(part)
}

/// The newest lines of a chain of a workspace that fit.
pub fn newest_of(
    control: &Control,
    ws: &Workspace,
    (chain, wanted): (Chain, &Wanted),
    before: Option<u64>,
    shown: usize,
) -> Result<Page, StoreError> {
    match chain {
        Chain::Contents => newest(&ws.read()?, wanted, before, shown),
        Chain::Members => {
            let wanted = Wanted { of: Of::Workspace(ws.id()), ..wanted.clone() };
            newest(&control.read()?, &wanted, before, shown)
        }
    }
}
