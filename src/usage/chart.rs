//! Tokens by day as bars, drawn here: the page only puts numbers into an SVG.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::report::Month;
use crate::meter::{Act, Sums};

/// The drawing's own units.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 1080.0;
const TOP: f64 = 10.0;
const GROUND: f64 = 204.0;
/// Lines above the ground line.
const LINES: u64 = 4;

pub struct Chart {
    pub lines: Vec<Line>,
    pub days: Vec<Day>,
    /// What it shows, in a sentence.
    pub said: String,
}

/// A line across at an amount.
pub struct Line {
    pub y: String,
    pub label_y: String,
    pub label: String,
}

/// A day of the month, with what was used.
pub struct Day {
    pub date: Date,
    pub x: String,
    pub width: String,
    pub parts: Vec<Part>,
    /// Where its name stands, under some of the days.
    pub label_x: Option<String>,
    pub sums: Sums,
}

impl Day {
    pub fn label(&self) -> String {
        self.date.strftime("%-d %b").to_string()
    }
}

/// A piece of a bar.
pub struct Part {
    pub class: &'static str,
    pub y: String,
    pub height: String,
    pub title: String,
}

/// Draws a month; days without use are empty places.
pub fn draw(month: Month, by_day: &BTreeMap<Date, Sums>) -> Chart {
    let days = u32::from(month.last().day().unsigned_abs());
    let most = by_day.values().map(Sums::tokens).max().unwrap_or(0);
    let step = step(most);
    let top = step.saturating_mul(LINES);
    let height = |tokens: u64| share(tokens, top) * (GROUND - TOP);
    let lines = (0..=LINES).map(|n| {
        let y = GROUND - share(n, LINES) * (GROUND - TOP);
        Line { y: at(y), label_y: at(y + 4.0), label: short(step.saturating_mul(n)) }
    });
    let wide = (RIGHT - LEFT) / f64::from(days);
    let dates = month.first().series(jiff::Span::new().days(1)).take(days as usize);
    let drawn = dates.zip(0u32..).map(|(date, n)| {
        let sums = by_day.get(&date).cloned().unwrap_or_default();
        let x = LEFT + f64::from(n) * wide;
        let name = date.strftime("%-d %b");
        let kinds = [
            ("b2", "cached input", sums.of(Act::CacheReadTokens)),
            ("b1", "input", sums.fresh_input()),
            ("b3", "output", sums.of(Act::OutputTokens)),
        ];
        let mut ground = GROUND;
        let mut parts = Vec::new();
        for (class, kind, tokens) in kinds {
            if tokens > 0 {
                let tall = height(tokens).max(0.8);
                ground -= tall;
                let title = format!("{name}: {} {kind} tokens", short(tokens));
                parts.push(Part { class, y: at(ground), height: at((tall - 0.9).max(0.8)), title });
            }
        }
        let named = n % 5 == 0 && n + 3 < days || n + 1 == days;
        let label_x = named.then(|| at((x + wide / 2.0).min(RIGHT - 18.0)));
        Day { date, x: at(x + wide * 0.17), width: at(wide * 0.66), parts, label_x, sums }
    });
    Chart { lines: lines.collect(), days: drawn.collect(), said: said(by_day) }
}

fn said(by_day: &BTreeMap<Date, Sums>) -> String {
    let total = by_day.values().map(Sums::tokens).fold(0, u64::saturating_add);
    let busiest = by_day.iter().max_by_key(|(_, sums)| sums.tokens());
    match busiest.filter(|_| total > 0) {
        None => "No tokens were used.".into(),
        Some((day, sums)) => format!(
            "{} tokens in all. The busiest day was {} with {}.",
            short(total),
            day.strftime("%-d %B"),
            short(sums.tokens())
        ),
    }
}

/// 1, 2 or 5 times a power of ten, so that four of them reach the most.
fn step(most: u64) -> u64 {
    let needed = most.div_ceil(LINES).max(1);
    let mut power = 1u64;
    loop {
        for n in [1, 2, 5] {
            let step = power.saturating_mul(n);
            if step >= needed {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a place in a drawing")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn at(place: f64) -> String {
    format!("{place:.1}")
}

/// 950, 12.3k, 41.8M, 1.2B: at most one digit behind the point, rounded down.
pub fn short(n: u64) -> String {
    for (unit, name) in [(1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")] {
        if n >= unit {
            let tenths = n / (unit / 10);
            return match (tenths / 10, tenths % 10) {
                (whole, tenth) if whole < 100 && tenth > 0 => format!("{whole}.{tenth}{name}"),
                (whole, _) => format!("{}{name}", crate::web::page::grouped(whole)),
            };
        }
    }
    n.to_string()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::meter::{Event, Feature};
    use crate::wire::model::Usage;

    #[test]
    fn amounts_are_short_and_lines_are_round() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 999_999, 1_000_000, 41_812_000, 1_250_000_000].map(short),
            ["0", "999", "1k", "12.3k", "999k", "1M", "41.8M", "1.2B"]
        );
        assert_eq!([0, 1, 4, 5, 3_000_000, 4_000_001].map(step), [1, 1, 1, 2, 1_000_000, 2_000_000]);
        assert!(step(u64::MAX) >= u64::MAX / 4, "ends for every number");
    }

    #[test]
    fn bars_stand_on_the_ground_and_stay_below_the_top() {
        let used = Usage { input: 700, output: 300, cache_read: 1_000, ..Usage::default() };
        let sums = Event::new(None, Feature::Chat).model_call("m", &used, crate::meter::Cost::default()).sums;
        let by_day = BTreeMap::from([(date(2026, 11, 24), sums)]);
        let chart = draw(Month::parse("2026-11").unwrap(), &by_day);
        assert_eq!((chart.days.len(), chart.lines.len()), (30, 5));
        let day = &chart.days[23];
        assert_eq!(day.parts.len(), 3);
        let top: f64 = day.parts[2].y.parse().unwrap();
        assert!((TOP..GROUND).contains(&top), "{top}");
        assert!(chart.days[0].parts.is_empty());
        assert_eq!(chart.said, "2k tokens in all. The busiest day was 24 November with 2k.");
    }

    #[test]
    fn the_largest_numbers_draw_too() {
        let used = Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() };
        let sums = Event::new(None, Feature::Chat).model_call("m", &used, crate::meter::Cost::default()).sums;
        let chart = draw(Month::parse("2026-02").unwrap(), &BTreeMap::from([(date(2026, 2, 1), sums)]));
        assert_eq!(chart.days.len(), 28);
    }
}
