//! Metered acts, kept as sums: one row a day (UTC) for each combination of who, with what feature, with which model, in
//! which org; and what each month's model calls took, for budgets. Both are written in the commit of the act itself, so
//! that they are exact at every moment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Cost, Whose};
use crate::ids::{AccountId, OrgId};
use crate::store::{Key, Read, StoreError, Table, Tx};
use crate::wire::model::Usage;

/// Day since 1970 (UTC) and the rest of the key.
pub const DAYS: Table<(u32, Facet), Sums> = Table::new("usage_days", 1);
/// What the model calls of a month took, for the workspace and for each member.
pub const MONTHS: Table<(u32, Whose), Spent> = Table::new("usage_months", 1);

/// No account or org has this id: ids begin with the time they were made at.
pub(super) const NOBODY: [u8; 16] = [0; 16];

macro_rules! named {
    ($(#[$doc:meta])* $enum:ident { $($variant:ident $name:literal $label:literal)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $enum { $(#[serde(rename = $name)] $variant,)* }

        impl $enum {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in files and interfaces.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its name on pages.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

named! {
    /// What is metered: a closed list.
    Act {
        CacheReadTokens "cache_read_tokens" "Cached input tokens"
        CacheWriteTokens "cache_write_tokens" "Input tokens written to the cache"
        ConversationStarted "conversations" "Chats"
        Deployment "deployments" "Deployments"
        Export "exports" "Exports"
        FeatureUsed "uses" "Uses"
        InputTokens "input_tokens" "Input tokens"
        Message "messages" "Messages"
        OutputTokens "output_tokens" "Output tokens"
        PageIngested "pages" "Pages read"
        SalesforceCall "salesforce_calls" "Salesforce calls"
        StoredBytes "stored_bytes" "Bytes uploaded"
        ToolCall "tool_calls" "Tool calls"
        Validation "validations" "Validations"
    }
}

named! {
    /// What people use: a closed list.
    Feature {
        Chat "chat" "Chat"
        Deployments "deployments" "Deployments"
        Export "export" "Export"
        Insights "insights" "Findings"
        Knowledge "knowledge" "Knowledge"
        Orgs "orgs" "Sync"
    }
}

/// Who used what: sums are kept apart by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Facet {
    /// Who asked; `None` for a schedule.
    pub account: Option<AccountId>,
    pub feature: Feature,
    /// The model's id; empty where none was called.
    pub model: String,
    pub org: Option<OrgId>,
}

impl Key for Facet {
    fn write(&self, out: &mut Vec<u8>) {
        self.account.map_or(NOBODY, |id| *id.bytes()).write(out);
        self.feature.name().to_owned().write(out);
        self.model.write(out);
        self.org.map_or(NOBODY, |id| *id.bytes()).write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let account = <[u8; 16]>::read(bytes)?;
        let name = String::read(bytes)?;
        let feature = Feature::ALL.iter().copied().find(|feature| feature.name() == name)?;
        let model = String::read(bytes)?;
        let org = <[u8; 16]>::read(bytes)?;
        let some = |id: &[u8; 16]| *id != NOBODY;
        Some(Self {
            account: Some(account).filter(some).map(AccountId::from_bytes),
            feature,
            model,
            org: Some(org).filter(some).map(OrgId::from_bytes),
        })
    }
}

/// Amounts of acts, and what they cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    amounts: BTreeMap<Act, u64>,
    #[serde(default)]
    pub cost_nano_usd: u64,
    /// Tokens whose price was not known: they are not in the cost.
    #[serde(default)]
    pub unpriced_tokens: u64,
}

impl Sums {
    pub fn of(&self, act: Act) -> u64 {
        self.amounts.get(&act).copied().unwrap_or(0)
    }

    /// All tokens, cached or not.
    pub fn tokens(&self) -> u64 {
        let kinds = [Act::InputTokens, Act::CacheReadTokens, Act::CacheWriteTokens, Act::OutputTokens];
        kinds.into_iter().map(|act| self.of(act)).fold(0, u64::saturating_add)
    }

    /// Tokens that were sent and not read from the cache.
    pub fn fresh_input(&self) -> u64 {
        self.of(Act::InputTokens).saturating_add(self.of(Act::CacheWriteTokens))
    }

    pub fn add(&mut self, other: &Self) {
        for (act, amount) in &other.amounts {
            self.count(*act, *amount);
        }
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(other.cost_nano_usd);
        self.unpriced_tokens = self.unpriced_tokens.saturating_add(other.unpriced_tokens);
    }

    fn count(&mut self, act: Act, amount: u64) {
        if amount > 0 {
            let sum = self.amounts.entry(act).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
}

/// One metered act, or several of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub facet: Facet,
    pub sums: Sums,
}

impl Event {
    pub fn new(account: Option<AccountId>, feature: Feature) -> Self {
        let facet = Facet { account, feature, model: String::new(), org: None };
        Self { facet, sums: Sums::default() }
    }

    pub fn org(mut self, org: Option<OrgId>) -> Self {
        self.facet.org = org;
        self
    }

    pub fn count(mut self, act: Act, amount: u64) -> Self {
        self.sums.count(act, amount);
        self
    }

    /// The tokens of a model call and what they cost.
    pub fn model_call(mut self, model: &str, used: &Usage, cost: Cost) -> Self {
        model.clone_into(&mut self.facet.model);
        self.sums.count(Act::InputTokens, used.input);
        self.sums.count(Act::OutputTokens, used.output);
        self.sums.count(Act::CacheReadTokens, used.cache_read);
        self.sums.count(Act::CacheWriteTokens, used.cache_write_5m.saturating_add(used.cache_write_1h));
        self.sums.cost_nano_usd = self.sums.cost_nano_usd.saturating_add(cost.nano_usd);
        self.sums.unpriced_tokens = self.sums.unpriced_tokens.saturating_add(cost.unpriced_tokens);
        self
    }
}

/// What model calls took: what budgets are held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    pub tokens: u64,
    pub nano_usd: u64,
    /// Tokens whose price was not known.
    #[serde(default)]
    pub unpriced_tokens: u64,
}

impl Spent {
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
            unpriced_tokens: self.unpriced_tokens.saturating_add(other.unpriced_tokens),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            nano_usd: self.nano_usd.saturating_sub(other.nano_usd),
            unpriced_tokens: self.unpriced_tokens.saturating_sub(other.unpriced_tokens),
        }
    }
}

impl From<&Sums> for Spent {
    fn from(sums: &Sums) -> Self {
        Self { tokens: sums.tokens(), nano_usd: sums.cost_nano_usd, unpriced_tokens: sums.unpriced_tokens }
    }
}

/// Adds an event to its day, and its tokens to the month. Call it inside the change that is the act.
pub fn record(tx: &mut Tx, at: Timestamp, event: &Event) -> Result<(), StoreError> {
    let key = (day(at), event.facet.clone());
    let mut sums = tx.get(&DAYS, &key)?.unwrap_or_default();
    sums.add(&event.sums);
    tx.put(&DAYS, &key, &sums)?;
    let spent = Spent::from(&event.sums);
    if spent == Spent::default() {
        return Ok(());
    }
    let whose = [Some(Whose::Workspace), event.facet.account.map(Whose::Member)];
    for whose in whose.into_iter().flatten() {
        let key = (month(date(at)), whose);
        let before = tx.get(&MONTHS, &key)?.unwrap_or_default();
        tx.put(&MONTHS, &key, &before.plus(spent))?;
    }
    Ok(())
}

/// What a month's model calls took so far.
pub fn spent(read: &impl Read, month: u32, whose: Whose) -> Result<Spent, StoreError> {
    Ok(read.get(&MONTHS, &(month, whose))?.unwrap_or_default())
}

/// Calls `row` with each row from `first` to `last`, both days included, oldest first.
pub fn between(
    read: &impl Read,
    first: Date,
    last: Date,
    mut row: impl FnMut(Date, Facet, Sums),
) -> Result<(), StoreError> {
    let scan = read.scan(&DAYS).from(&day_of(first)).before(&day_of(last).saturating_add(1));
    scan.each(|(day, facet), sums| {
        row(date_of(day), facet, sums);
        true
    })
}

/// The day of a moment, UTC.
pub fn date(at: Timestamp) -> Date {
    jiff::tz::TimeZone::UTC.to_datetime(at).date()
}

/// The number of a month: later months have larger ones.
pub fn month(of: Date) -> u32 {
    u32::from(of.year().unsigned_abs()) * 12 + u32::from(of.month().unsigned_abs()) - 1
}

fn day(at: Timestamp) -> u32 {
    u32::try_from(at.as_second().div_euclid(86_400)).unwrap_or(0)
}

/// Days since 1970.
pub fn day_of(date: Date) -> u32 {
    date.to_zoned_datetime(jiff::tz::TimeZone::UTC).map_or(0, |zoned| day(zoned.timestamp()))
}

/// The date of days since 1970.
pub fn date_of(day: u32) -> Date {
    Timestamp::from_second(i64::from(day) * 86_400).map_or(Date::ZERO, date)
}
