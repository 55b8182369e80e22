//! What a call costs: prices in whole nano-dollars a token ($1 a million tokens = 1,000 nano-dollars a token), each from a
//! day on. Each price stands for itself, since cache prices are no fixed multiple of the others.
//!
//! The built-in ones are the vendor's list prices as of [`AS_OF`]; `None` where none was published. The operator's own come
//! before them. What was used keeps the cost of its day: a change of prices changes no sum of the past.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use serde::{Deserialize, Serialize};

use crate::store::{Read, StoreError, Table, Tx};
use crate::wire::model::Usage;

/// In the control file: pattern, first day (`2026-11-01`), least tokens of the prompt -> the operator's price.
pub const PRICES: Table<(String, String, u64), Kept> = Table::new("prices", 1);
/// When the built-in prices were read from the vendor's page.
pub const AS_OF: Date = date(2026, 11, 1);
/// Own prices, at most.
pub const MOST: usize = 500;

/// What tokens cost, in nano-dollars each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    pub input: u64,
    pub output: u64,
    /// Written to the cache for five minutes, and for an hour.
    pub write_5m: Option<u64>,
    pub write_1h: Option<u64>,
    /// Read from the cache.
    pub read: Option<u64>,
}

/// An own price as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub rates: Rates,
    pub entered: Timestamp,
}

/// The price of a model, or of all whose id begins as the pattern does up to its `*`, from a day on, for prompts of at
/// least `from_prompt` tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub pattern: String,
    pub from: Date,
    pub from_prompt: u64,
    pub rates: Rates,
    /// When the operator entered it; `None` = built in.
    pub entered: Option<Timestamp>,
}

/// What a call cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Of the tokens whose price is known.
    pub nano_usd: u64,
    pub unpriced_tokens: u64,
    /// The model has a price.
    pub known: bool,
}

impl Cost {
    /// All of it, in nano-dollars; `None` when a price it needs is not known.
    pub fn whole(self) -> Option<u64> {
        (self.known && self.unpriced_tokens == 0).then_some(self.nano_usd)
    }
}

/// A row of the built-in table: model, first day, least prompt, then the rates.
type Row = (&'static str, Date, u64, u64, u64, Option<u64>, Option<u64>, Option<u64>);

const BUILT_IN: [Row; 9] = [
    ("claude-opus-5", date(2026, 1, 1), 0, 5_000, 25_000, Some(6_250), Some(10_000), Some(500)),
    ("claude-sonnet-5", date(2026, 1, 1), 0, 2_000, 10_000, Some(2_500), Some(4_000), Some(200)),
    ("claude-haiku-4-5", date(2025, 10, 1), 0, 1_000, 5_000, Some(1_250), Some(2_000), Some(100)),
    ("claude-opus-5-5", date(2026, 9, 22), 0, 4_000, 20_000, Some(5_000), Some(8_000), Some(200)),
    ("claude-sonnet-5-5", date(2026, 9, 22), 0, 2_000, 10_000, Some(2_500), Some(4_000), Some(100)),
    ("claude-haiku-5-5", date(2026, 10, 7), 0, 100, 500, Some(125), Some(200), None),
    ("claude-haiku-5-5", date(2026, 10, 7), 100_001, 500, 2_500, Some(625), Some(1_000), None),
    ("claude-fable-5-1", date(2026, 1, 1), 0, 10_000, 50_000, None, None, None),
    ("demo-scripted", date(2026, 1, 1), 0, 0, 0, Some(0), Some(0), Some(0)),
];

/// All prices that are known.
#[derive(Clone, Debug)]
pub struct Prices(Vec<Price>);

impl Prices {
    /// Those of the vendor alone.
    pub fn built_in() -> Self {
        let price = |(model, from, from_prompt, input, output, write_5m, write_1h, read): Row| Price {
            pattern: model.to_owned(),
            from,
            from_prompt,
            rates: Rates { input, output, write_5m, write_1h, read },
            entered: None,
        };
        Self(BUILT_IN.into_iter().map(price).collect())
    }

    /// Those and the operator's; `control` reads the control file.
    pub fn load(control: &impl Read) -> Result<Self, StoreError> {
        let mut all = Self::built_in();
        control.scan(&PRICES).limit(MOST).each(|(pattern, from, from_prompt), kept| {
            if let Ok(from) = from.parse() {
                let Kept { rates, entered } = kept;
                all.0.push(Price { pattern, from, from_prompt, rates, entered: Some(entered) });
            }
            true
        })?;
        Ok(all)
    }

    /// Own ones first, then by pattern, newest first.
    pub fn sorted(mut self) -> Vec<Price> {
        self.0.sort_by(|a, b| {
            let key = |p: &Price| (p.entered.is_none(), p.pattern.clone());
            key(a).cmp(&key(b)).then(b.from.cmp(&a.from)).then(a.from_prompt.cmp(&b.from_prompt))
        });
        self.0
    }

    /// The newest day on which somebody looked at prices: the vendor's list came with this version, own ones were entered.
    pub fn looked_at(&self) -> Date {
        let entered = self.0.iter().filter_map(|price| price.entered).map(super::records::date);
        entered.chain([AS_OF]).max().unwrap_or(AS_OF)
    }

    /// What one call on day `on` cost, as far as prices are known.
    pub fn cost(&self, model: &str, used: &Usage, on: Date) -> Cost {
        let rates = self.rates(model, used.prompt(), on);
        let parts = [
            (used.input, rates.map(|r| r.input)),
            (used.output, rates.map(|r| r.output)),
            (used.cache_write_5m, rates.and_then(|r| r.write_5m)),
            (used.cache_write_1h, rates.and_then(|r| r.write_1h)),
            (used.cache_read, rates.and_then(|r| r.read)),
        ];
        let mut cost = Cost { known: rates.is_some(), ..Cost::default() };
        for (tokens, rate) in parts {
            let priced = rate.and_then(|rate| tokens.checked_mul(rate)?.checked_add(cost.nano_usd));
            match priced {
                Some(sum) => cost.nano_usd = sum,
                None => cost.unpriced_tokens = cost.unpriced_tokens.saturating_add(tokens),
            }
        }
        cost
    }

    /// Own before built in, the model itself before a pattern, the longer pattern, the later day, the larger prompt.
    fn rates(&self, model: &str, prompt: u64, on: Date) -> Option<Rates> {
        let holds = |p: &&Price| matches(&p.pattern, model) && p.from <= on && prompt >= p.from_prompt;
        let rank = |p: &&Price| {
            (p.entered.is_some(), !p.pattern.ends_with('*'), p.pattern.len(), p.from, p.from_prompt)
        };
        self.0.iter().filter(holds).max_by_key(rank).map(|price| price.rates)
    }
}

/// Keeps an own price in place of one for the same pattern, day and prompt.
pub fn keep(tx: &mut Tx, price: &Price, now: Timestamp) -> Result<(), StoreError> {
    let key = (price.pattern.clone(), price.from.to_string(), price.from_prompt);
    tx.put(&PRICES, &key, &Kept { rates: price.rates, entered: now })
}

/// Removes an own price; answers whether there was one.
pub fn remove(tx: &mut Tx, pattern: &str, from: Date, from_prompt: u64) -> Result<bool, StoreError> {
    let key = (pattern.to_owned(), from.to_string(), from_prompt);
    let there = tx.has(&PRICES, &key)?;
    tx.remove(&PRICES, &key)?;
    Ok(there)
}

/// Whether `id` is what `pattern` names, perhaps with a cloud's prefix and a date: `anthropic.claude-opus-5-20260301`.
fn matches(pattern: &str, id: &str) -> bool {
    let bare = id.strip_prefix("anthropic.").unwrap_or(id);
    if let Some(start) = pattern.strip_suffix('*') {
        return id.starts_with(start) || bare.starts_with(start);
    }
    match bare.strip_prefix(pattern) {
        Some("") => true,
        Some(rest) => {
            rest.len() == 9 && rest.starts_with('-') && rest[1..].bytes().all(|b| b.is_ascii_digit())
        }
        None => id == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(model: &str, usage: &Usage, on: Date) -> Option<u64> {
        Prices::built_in().cost(model, usage, on).whole()
    }

    const TODAY: Date = date(2026, 11, 23);

    #[test]
    fn a_million_tokens_cost_the_list_price() {
        let usage = Usage { input: 1_000_000, output: 1_000_000, cache_read: 1_000_000, ..Usage::default() };
        assert_eq!(cost("claude-sonnet-5-5", &usage, TODAY), Some(12_100_000_000));
        assert_eq!(cost("anthropic.claude-opus-5-5-20260922", &usage, TODAY), Some(24_200_000_000));
    }

    #[test]
    fn long_prompts_of_the_tiered_model_cost_more() {
        let at = |input| cost("claude-haiku-5-5", &Usage { input, ..Usage::default() }, TODAY);
        assert_eq!(at(100_000), Some(10_000_000));
        assert_eq!(at(100_001), Some(50_000_500));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let reads = Usage { cache_read: 1, ..Usage::default() };
        assert_eq!(cost("claude-haiku-5-5", &reads, TODAY), None);
        assert_eq!(cost("qwen3-coder", &Usage::default(), TODAY), None);
        assert_eq!(cost("claude-opus-5-5-latest", &Usage::default(), TODAY), None);
        assert_eq!(cost("claude-opus-5-5", &Usage::default(), date(2026, 9, 21)), None);
        let absurd = Usage { output: u64::MAX, ..Usage::default() };
        assert_eq!(cost("claude-opus-5-5", &absurd, TODAY), None);
    }

    #[test]
    fn one_unknown_price_does_not_hide_what_the_others_cost() {
        let used = Usage { input: 1_000, output: 10, cache_read: 5_000, ..Usage::default() };
        let cost = Prices::built_in().cost("claude-haiku-5-5", &used, TODAY);
        assert_eq!(cost, Cost { nano_usd: 105_000, unpriced_tokens: 5_000, known: true });
        let unknown = Prices::built_in().cost("qwen3-coder", &used, TODAY);
        assert_eq!(unknown, Cost { nano_usd: 0, unpriced_tokens: 6_010, known: false });
    }

    #[test]
    fn the_demo_model_is_free() {
        assert_eq!(
            cost("demo-scripted", &Usage { input: 5_000, output: 90, ..Usage::default() }, TODAY),
            Some(0)
        );
    }

    fn own(pattern: &str, from: Date, input: u64) -> Price {
        let rates = Rates { input, output: 0, write_5m: None, write_1h: None, read: None };
        Price { pattern: pattern.into(), from, from_prompt: 0, rates, entered: Some(Timestamp::UNIX_EPOCH) }
    }

    #[test]
    fn own_prices_come_before_built_in_ones_and_the_closest_pattern_wins() {
        let mut prices = Prices::built_in();
        prices.0.push(own("claude-*", date(2026, 1, 1), 1));
        prices.0.push(own("claude-sonnet-*", date(2026, 1, 1), 2));
        prices.0.push(own("claude-sonnet-5-5", date(2026, 12, 1), 3));
        prices.0.push(own("qwen3-coder", date(2026, 11, 1), 7));
        let at = |model, on| prices.cost(model, &Usage { input: 1, ..Usage::default() }, on).whole();
        assert_eq!(at("claude-opus-5-5", TODAY), Some(1));
        assert_eq!(at("anthropic.claude-sonnet-5-5", TODAY), Some(2));
        assert_eq!(at("claude-sonnet-5-5", date(2026, 12, 1)), Some(3), "from its day on");
        assert_eq!([at("qwen3-coder", TODAY), at("qwen3-coder", date(2026, 10, 31))], [Some(7), None]);
        assert_eq!(at("claude-opus-5-5", date(2025, 12, 31)), None);
    }
}
