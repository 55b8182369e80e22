//! What a call cost: list prices in whole nano-dollars a token ($1 a million tokens = 1,000 nano-dollars a token).
//! Each price stands for itself, since cache prices are no fixed multiple of the others.
//! Source: the vendor's price page as of November 2026; `None` where none was published.

use jiff::civil::{Date, date};

use super::Usage;

/// The prices of one model from a day on, for prompts of at least `from_prompt` tokens.
struct Price {
    model: &'static str,
    from: Date,
    from_prompt: u64,
    input: u64,
    output: u64,
    write_5m: Option<u64>,
    write_1h: Option<u64>,
    read: Option<u64>,
}

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
const fn row(
    model: &'static str,
    from: Date,
    from_prompt: u64,
    input: u64,
    output: u64,
    write_5m: Option<u64>,
    write_1h: Option<u64>,
    read: Option<u64>,
) -> Price {
    Price { model, from, from_prompt, input, output, write_5m, write_1h, read }
}

/// Later rows win over earlier ones of the same model.
const TABLE: [Price; 9] = [
    row("claude-opus-5", date(2026, 1, 1), 0, 5_000, 25_000, Some(6_250), Some(10_000), Some(500)),
    row("claude-sonnet-5", date(2026, 1, 1), 0, 2_000, 10_000, Some(2_500), Some(4_000), Some(200)),
    row("claude-haiku-4-5", date(2025, 10, 1), 0, 1_000, 5_000, Some(1_250), Some(2_000), Some(100)),
    row("claude-opus-5-5", date(2026, 9, 22), 0, 4_000, 20_000, Some(5_000), Some(8_000), Some(200)),
    row("claude-sonnet-5-5", date(2026, 9, 22), 0, 2_000, 10_000, Some(2_500), Some(4_000), Some(100)),
    row("claude-haiku-5-5", date(2026, 10, 7), 0, 100, 500, Some(125), Some(200), None),
    row("claude-haiku-5-5", date(2026, 10, 7), 100_001, 500, 2_500, Some(625), Some(1_000), None),
    row("claude-fable-5-1", date(2026, 1, 1), 0, 10_000, 50_000, None, None, None),
    row("demo-scripted", date(2026, 1, 1), 0, 0, 0, Some(0), Some(0), Some(0)),
];

/// The cost in nano-dollars of `usage` on day `on`; `None` when a price it needs is not known.
pub fn cost(model: &str, usage: &Usage, on: Date) -> Option<u64> {
    let price =
        TABLE.iter().rfind(|p| names(model, p.model) && p.from <= on && usage.prompt() >= p.from_prompt)?;
    let part = |tokens: u64, price: Option<u64>| match (tokens, price) {
        (0, _) => Some(0),
        (tokens, Some(price)) => tokens.checked_mul(price),
        (_, None) => None,
    };
    let parts = [
        part(usage.input, Some(price.input))?,
        part(usage.output, Some(price.output))?,
        part(usage.cache_write_5m, price.write_5m)?,
        part(usage.cache_write_1h, price.write_1h)?,
        part(usage.cache_read, price.read)?,
    ];
    parts.iter().try_fold(0u64, |sum, part| sum.checked_add(*part))
}

/// Whether `id` is `model`, perhaps with a cloud's prefix and a date: `anthropic.claude-opus-5-20260301`.
fn names(id: &str, model: &str) -> bool {
    let id = id.strip_prefix("anthropic.").unwrap_or(id);
    match id.strip_prefix(model) {
        Some("") => true,
        Some(rest) => {
            rest.len() == 9 && rest.starts_with('-') && rest[1..].bytes().all(|b| b.is_ascii_digit())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_demo_model_is_free() {
        assert_eq!(
            cost("demo-scripted", &Usage { input: 5_000, output: 90, ..Usage::default() }, TODAY),
            Some(0)
        );
    }
}
