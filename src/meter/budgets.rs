//! Budgets: what model calls may take in a month (UTC), for the whole workspace and for single members, in tokens or in
//! dollars. People are told once at 80 % and once at 100 %; at 100 % the next call is not made.
//!
//! Calls that run are held against the budget with what their prompts are sure to take, so that calls at the same time
//! see each other, and a call is not made when its prompt alone is more than is left: each can run over by its own answer at
//! most. What is held lives in memory and is let go
//! after the call's real numbers are committed; a process that dies lets go of everything.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::records::{NOBODY, date, month, spent};
use super::{Event, Prices, Spent, dollars, record};
use crate::identity::{Control, Role};
use crate::ids::{AccountId, WorkspaceId};
use crate::jobs::JobCause;
use crate::mail::Letter;
use crate::notifications::{self, Audience, Kind, Notice};
use crate::store::audit::Action;
use crate::store::{Key, Read, StoreError, Table, Tx};
use crate::web::page::grouped;
use crate::workspace::{Change, Workspace};

pub const BUDGETS: Table<Whose, Limit> = Table::new("budgets", 1);
/// The percentage that people were told of, in a month.
pub const TOLD: Table<(u32, Whose), u8> = Table::new("budgets_told", 1);

/// Percentages that people are told of, the higher first.
const TELL: [u8; 2] = [100, 80];

/// Whose calls a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    Workspace,
    Member(AccountId),
}

impl Key for Whose {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Member(id) => id.bytes().write(out),
            Self::Workspace => NOBODY.write(out),
        }
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let id = <[u8; 16]>::read(bytes)?;
        Some(if id == NOBODY { Self::Workspace } else { Self::Member(AccountId::from_bytes(id)) })
    }
}

/// How much a month may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    NanoUsd(u64),
    Tokens(u64),
}

impl Limit {
    /// The part of `spent` that counts towards it.
    pub const fn counted(self, spent: Spent) -> u64 {
        match self {
            Self::NanoUsd(_) => spent.nano_usd,
            Self::Tokens(_) => spent.tokens,
        }
    }

    const fn most(self) -> u64 {
        match self {
            Self::NanoUsd(most) | Self::Tokens(most) => most,
        }
    }

    /// Whole percent, rounded down: 100 only when all of it is used.
    pub fn percent(self, spent: Spent) -> u64 {
        let used = u128::from(self.counted(spent)) * 100 / u128::from(self.most().max(1));
        u64::try_from(used).unwrap_or(u64::MAX)
    }

    /// Whether a call that is sure to take `coming` may be made when so much is used.
    pub fn has_room(self, spent: Spent, coming: Spent) -> bool {
        self.left(spent) > 0 && self.left(spent) >= self.counted(coming)
    }

    /// How much is not used yet.
    pub fn left(self, spent: Spent) -> u64 {
        self.most().saturating_sub(self.counted(spent))
    }

    /// An amount in its unit: `$12.50`, `1,200,000 tokens`.
    pub fn said(self, amount: u64) -> String {
        match self {
            Self::NanoUsd(_) => dollars(amount),
            Self::Tokens(_) => format!("{} tokens", grouped(amount)),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said(self.most()))
    }
}

/// Why a call is not made: a budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    pub whose: Whose,
    pub limit: Limit,
    /// What is left of it: less than the call is sure to take.
    pub left: u64,
    /// The first day of the next month.
    pub again: Date,
}

impl fmt::Display for Reached {
    /// What happened, what was kept, who can do something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.whose {
            Whose::Member(_) => "Your model budget of this month",
            Whose::Workspace => "This month’s model budget of the workspace",
        };
        let again = self.again.strftime("%-d %B");
        let used = match self.left {
            0 => format!("is used up ({})", self.limit),
            left => {
                format!("has {} of {} left, less than this question takes", self.limit.said(left), self.limit)
            }
        };
        write!(
            f,
            "{whose} {used}. Your message is saved and nothing was sent. An admin or owner of this workspace can raise \
             the budget on its Usage page; a new month begins on {again} (UTC)."
        )
    }
}

/// The budget of somebody, and what is used of it.
pub fn of(read: &impl Read, month: u32, whose: Whose) -> Result<Option<(Limit, Spent)>, StoreError> {
    let Some(limit) = read.get(&BUDGETS, &whose)? else { return Ok(None) };
    Ok(Some((limit, spent(read, month, whose)?)))
}

/// Sets a budget, or lifts it, and tells people when most of it is used already. What was told of the one before is forgotten.
pub fn set_and_tell(
    tx: &mut Change<'_>,
    cause: &JobCause,
    month: u32,
    whose: Whose,
    limit: Option<Limit>,
) -> Result<(), StoreError> {
    set(tx, month, whose, limit)?;
    let account = match whose {
        Whose::Member(id) => Some(id),
        Whose::Workspace => None,
    };
    tell_news(tx, cause, month, account)
}

/// Sets a budget, or lifts it. What was told of the one before is forgotten.
pub fn set(tx: &mut Tx, month: u32, whose: Whose, limit: Option<Limit>) -> Result<(), StoreError> {
    tx.remove(&TOLD, &(month, whose))?;
    match limit {
        Some(limit) => tx.put(&BUDGETS, &whose, &limit),
        None => tx.remove(&BUDGETS, &whose).map(|_| ()),
    }
}

/// Months whose notes of what was told are kept.
const TOLD_MONTHS: u32 = 13;

/// Forgets what people were told of in months long past, at most `most` rows; answers how many.
pub fn prune_told(tx: &mut Tx, now: Timestamp, most: usize) -> Result<usize, StoreError> {
    let oldest = month(date(now)).saturating_sub(TOLD_MONTHS);
    let old = tx.scan(&TOLD).before(&oldest).limit(most).rows()?;
    for (key, _) in &old {
        tx.remove(&TOLD, key)?;
    }
    Ok(old.len())
}

type Holding = Arc<Mutex<HashMap<(WorkspaceId, Whose), Spent>>>;

/// What whoever calls a model asks before and tells after. Cheap to clone; clones share what is held.
#[derive(Clone)]
pub struct Meter {
    control: Control,
    holding: Holding,
}

/// A call that is let through; drop it after its numbers are committed.
pub struct Hold {
    holding: Holding,
    of: Vec<(WorkspaceId, Whose)>,
    coming: Spent,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.of {
            if let Some(held) = holding.get_mut(key) {
                *held = held.minus(self.coming);
                if *held == Spent::default() {
                    holding.remove(key);
                }
            }
        }
    }
}

impl Meter {
    pub fn new(control: Control) -> Self {
        Self { control, holding: Holding::default() }
    }

    /// What tokens cost now.
    pub fn prices(&self) -> Result<Prices, StoreError> {
        Prices::load(&self.control.read()?)
    }

    /// Lets a model call through that is sure to take `coming`, unless a budget that counts it is used up by what was
    /// committed and what is held.
    pub fn begin(
        &self,
        ws: &Workspace,
        account: Option<AccountId>,
        coming: Spent,
    ) -> Result<Result<Hold, Reached>, StoreError> {
        let today = date(ws.clock().now());
        let of: Vec<(WorkspaceId, Whose)> = [Some(Whose::Workspace), account.map(Whose::Member)]
            .into_iter()
            .flatten()
            .map(|whose| (ws.id(), whose))
            .collect();
        // Held while it reads: nobody lets go, and nobody else is let through, in between.
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let read = ws.read()?;
        for key in &of {
            let held = holding.get(key).copied().unwrap_or_default();
            if let Some((limit, spent)) = self::of(&read, month(today), key.1)?
                && !limit.has_room(spent.plus(held), coming)
            {
                let again = today.first_of_month().saturating_add(1.month());
                let left = limit.left(spent.plus(held));
                return Ok(Err(Reached { whose: key.1, limit, left, again }));
            }
        }
        for key in &of {
            let held = holding.entry(*key).or_default();
            *held = held.plus(coming);
        }
        Ok(Ok(Hold { holding: Arc::clone(&self.holding), of, coming }))
    }

    /// Commits what a call took together with what `with` writes, and tells people of a budget that it brought to 80 or
    /// 100 %.
    pub async fn ended(
        &self,
        ws: &Workspace,
        event: Event,
        with: impl FnOnce(&mut Tx) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (now, account) = (ws.clock().now(), event.facet.account);
        let this_month = month(date(now));
        let told = ws.note(move |tx| {
            with(tx)?;
            record(tx, now, &event)?;
            Ok::<_, StoreError>(!news(&**tx, this_month, account)?.is_empty())
        });
        if !told.await? {
            return Ok(());
        }
        let cause = JobCause::of(ws);
        ws.change(Action::BudgetReached, this_month_name(date(now)), move |tx| {
            tell_news(tx, &cause, this_month, account)
        })
        .await
    }
}

/// Tells people of budgets that have come to a percentage, once.
fn tell_news(
    tx: &mut Change<'_>,
    cause: &JobCause,
    month: u32,
    account: Option<AccountId>,
) -> Result<(), StoreError> {
    for (whose, percent, limit, spent) in news(&**tx, month, account)? {
        tx.put(&TOLD, &(month, whose), &percent)?;
        tell(tx, cause, month, (whose, percent, limit, spent))?;
    }
    Ok(())
}

type News = (Whose, u8, Limit, Spent);

/// Which budgets have come to a percentage that nobody was told of.
fn news(read: &impl Read, month: u32, account: Option<AccountId>) -> Result<Vec<News>, StoreError> {
    let mut found = Vec::new();
    for whose in [Some(Whose::Workspace), account.map(Whose::Member)].into_iter().flatten() {
        let Some((limit, spent)) = of(read, month, whose)? else { continue };
        let told = read.get(&TOLD, &(month, whose))?.unwrap_or(0);
        let percent = limit.percent(spent);
        let now = TELL.into_iter().find(|tell| percent >= u64::from(*tell));
        found.extend(now.filter(|now| *now > told).map(|now| (whose, now, limit, spent)));
    }
    Ok(found)
}

fn tell(
    tx: &mut Change<'_>,
    cause: &JobCause,
    month: u32,
    (whose, percent, limit, spent): News,
) -> Result<(), StoreError> {
    let used = limit.said(limit.counted(spent));
    let (to, notice) = match whose {
        Whose::Member(id) => {
            let body = if percent < 100 {
                format!("{used} of {limit}. Questions go on as before.")
            } else {
                format!(
                    "{used} of {limit}. New questions wait until the next month, or until an admin raises it."
                )
            };
            let title = format!("{percent}% of your model budget of this month is used");
            (Audience::Account(id), Notice::new(Kind::Budget, title, "usage").body(body))
        }
        Whose::Workspace => {
            let letter = Letter::BudgetUsed {
                workspace: String::new(),
                percent,
                spent: used.clone(),
                budget: limit.to_string(),
                link: "usage".into(),
            };
            let notice = Notice::of(Kind::Budget, letter).body(format!("{used} of {limit}."));
            (Audience::Role(Role::Admin), notice)
        }
    };
    let group = match whose {
        Whose::Member(id) => format!("budget {month} {id}"),
        Whose::Workspace => format!("budget {month}"),
    };
    notifications::raise(tx, cause, to, notice.group(group)).map(|_| ())
}

fn this_month_name(today: Date) -> String {
    today.strftime("%Y-%m").to_string()
}
