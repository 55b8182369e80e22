//! What a source asks to leave out: `//NOPMD` on a line, `@SuppressWarnings('PMD.Rule')` on a class or method,
//! and our own `// vynos:ignore APX-001 because ...`.

use super::Component;
use super::catalogue::RuleInfo;
use crate::apex::{outline, parse};

#[derive(Default)]
pub(super) struct Suppressions {
    /// First line, last line, which rules, and what the source says.
    ranges: Vec<(u32, u32, Which, String)>,
}

enum Which {
    All,
    /// Names in lower case: of PMD's rules, or our ids and names.
    Named(Vec<String>),
}

const OWN: &str = "vynos:ignore";

pub(super) fn read(component: &Component<'_>) -> Suppressions {
    let mut found = Suppressions::default();
    let lower = component.source.to_ascii_lowercase();
    let is_apex = matches!(component.kind, "ApexClass" | "ApexTrigger");
    if !is_apex || !["nopmd", "suppresswarnings", OWN].iter().any(|word| lower.contains(word)) {
        return found;
    }
    let Ok(apex) = parse(component.source) else { return found };
    for node in apex.nodes() {
        if node.is_comment() {
            found.comment(node.text(), node.line(), node.end_line());
        } else if matches!(
            node.kind(),
            "class_declaration" | "constructor_declaration" | "field_declaration" | "method_declaration"
        ) && let Some(annotation) = outline::annotation(node, "SuppressWarnings")
        {
            let literal = annotation.below("string_literal").next();
            let names = literal.map_or("", |l| l.text().trim_matches('\''));
            found.add(node.line(), node.end_line(), which(names), annotation.text());
        }
    }
    found
}

impl Suppressions {
    /// Why this hit is left out, when the source asks for it.
    pub fn reason(&self, rule: &RuleInfo, line: u32) -> Option<String> {
        self.ranges
            .iter()
            .find(|(first, last, which, _)| (*first..=*last).contains(&line) && which.covers(rule))
            .map(|(_, _, _, reason)| reason.clone())
    }

    fn comment(&mut self, text: &str, line: u32, end_line: u32) {
        let words = text.trim_start_matches(['/', '*', ' ']);
        if words.len() >= 5 && words.is_char_boundary(5) && words[..5].eq_ignore_ascii_case("nopmd") {
            self.add(line, end_line, Which::All, text);
        } else if let Some(rest) = words.strip_prefix(OWN) {
            let names = rest.split_whitespace().next().unwrap_or("");
            if !names.is_empty() {
                // The comment may stand on the line itself or on the one above.
                self.add(line, end_line + 1, which(names), text);
            }
        }
    }

    fn add(&mut self, first: u32, last: u32, which: Which, reason: &str) {
        self.ranges.push((first, last, which, reason.trim().chars().take(300).collect()));
    }
}

fn which(names: &str) -> Which {
    let names: Vec<String> = names.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    if names.iter().any(|name| matches!(name.as_str(), "all" | "pmd")) {
        return Which::All;
    }
    Which::Named(names.into_iter().map(|name| name.trim_start_matches("pmd.").to_owned()).collect())
}

impl Which {
    fn covers(&self, rule: &RuleInfo) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| {
                let same = |own: &str| own.eq_ignore_ascii_case(name);
                same(rule.id) || same(rule.name) || rule.pmd.iter().any(|pmd| same(pmd))
            }),
        }
    }
}
