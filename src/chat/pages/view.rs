//! A conversation as its page shows it: plain data for `templates/chat`, made from what is kept.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

/// A question with the answer that is shown of it.
#[derive(Hash)]
pub struct TurnView {
    pub id: String,
    /// Changes whenever anything here does, so that open pages know what to draw again.
    pub print: String,
    pub number: usize,
    pub question_id: String,
    pub question: String,
    pub answer: Option<AnswerView>,
    /// The newest one, whose sources stand beside the conversation.
    pub newest: bool,
    pub may_retry: bool,
    pub pager: Option<Pager>,
}

#[derive(Hash)]
pub struct AnswerView {
    pub id: String,
    pub running: bool,
    pub stopped: bool,
    pub at: String,
    pub datetime: String,
    /// What kind of model answered, when it is no real one.
    pub label: Option<String>,
    /// What was looked at, in a few words.
    pub checked: String,
    pub took: String,
    pub tools: Vec<ToolView>,
    /// Safe HTML.
    pub html: String,
    pub failure: Option<String>,
    pub proposals: Vec<ProposalView>,
    pub consent: Option<ConsentView>,
    pub sources: Vec<SourceView>,
    pub cost: String,
}

#[derive(Hash)]
pub struct ToolView {
    pub icon: &'static str,
    pub words: String,
    pub found: String,
    pub failed: bool,
}

#[derive(Hash)]
pub struct ProposalView {
    pub href: String,
    pub title: String,
    pub detail: String,
    /// Its stage, with the colour of the badge.
    pub state: &'static str,
    pub tone: &'static str,
}

#[derive(Hash)]
pub struct ConsentView {
    pub org: String,
    pub org_id: String,
}

#[derive(Hash)]
pub struct SourceView {
    pub n: u32,
    pub icon: &'static str,
    pub title: String,
    /// Kind, page or lines.
    pub place: String,
    pub href: String,
    pub quote: String,
    pub code: bool,
}

/// One of several answers to the same question.
#[derive(Hash)]
pub struct Pager {
    pub number: usize,
    pub count: usize,
    pub before: Option<String>,
    pub next: Option<String>,
}

/// The field for the next message.
pub struct Composer {
    pub action: String,
    pub running: bool,
    pub placeholder: String,
    pub text: Option<String>,
    /// Slug and name of the orgs to choose from.
    pub orgs: Vec<(String, String)>,
    /// Slug of the chosen one; empty for none.
    pub org: String,
    pub signed_out: bool,
    pub model: String,
    pub model_title: String,
}

impl TurnView {
    /// Sets the print. While the answer runs its stream writes it, so the print stays the same.
    pub fn printed(mut self) -> Self {
        let mut hasher = DefaultHasher::new();
        match self.answer.as_ref().filter(|answer| answer.running) {
            Some(answer) => (&answer.id, self.newest).hash(&mut hasher),
            None => self.hash(&mut hasher),
        }
        self.print = format!("{:016x}", hasher.finish());
        self
    }
}

/// The time alone on the same day, else the day.
pub fn brief(at: Timestamp, now: Timestamp) -> String {
    let day = |t: Timestamp| t.strftime("%F").to_string();
    if day(at) == day(now) {
        at.strftime("%H:%M").to_string()
    } else if at.strftime("%Y").to_string() == now.strftime("%Y").to_string() {
        at.strftime("%-d %b").to_string()
    } else {
        at.strftime("%-d %b %Y").to_string()
    }
}

/// `6.2 s` from milliseconds; `1 min 5 s` from a minute on.
pub fn seconds(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
    }
}

/// `8,412 tokens · $0.041`; the amount only where the price is known.
pub fn cost(tokens: u64, nano_usd: Option<u64>) -> String {
    let tokens = format!("{} token{}", grouped(tokens), if tokens == 1 { "" } else { "s" });
    match nano_usd {
        Some(0) => format!("{tokens} · $0"),
        // Three digits behind the point, rounded to the nearest.
        Some(nano) => {
            let milli = nano.saturating_add(500_000) / 1_000_000;
            format!("{tokens} · ${}.{:03}", grouped(milli / 1000), milli % 1000)
        }
        None => tokens,
    }
}

/// Thousands apart by commas.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(cost(8_412, Some(41_200_000)), "8,412 tokens · $0.041");
        assert_eq!(cost(1, None), "1 token");
        assert_eq!(cost(2, Some(0)), "2 tokens · $0");
        assert_eq!(seconds(6_249), "6.2 s");
        assert_eq!(seconds(65_000), "1 min 5 s");
    }

    #[test]
    fn times_are_as_short_as_they_can_be() {
        let now = "2026-11-23T09:42:00Z".parse().unwrap();
        let at = |text: &str| brief(text.parse().unwrap(), now);
        assert_eq!(at("2026-11-23T00:05:00Z"), "00:05");
        assert_eq!(at("2026-11-03T09:42:00Z"), "3 Nov");
        assert_eq!(at("2025-11-03T09:42:00Z"), "3 Nov 2025");
    }
}
