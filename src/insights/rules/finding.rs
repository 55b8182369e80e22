//! Findings, and how a hit of a rule becomes one: severity, suppression, fingerprint.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::catalogue::{Category, rule};
use super::{Component, suppress};
use crate::apex::Node;

/// How bad it is, mildest first so that they compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::str::FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];
        all.into_iter()
            .find(|severity| severity.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("\"{text}\" is no severity. Use critical, high, medium, low or info."))
    }
}

/// The component a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentRef {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
}

/// Something wrong or risky, with its evidence and a fix. Serialises as `vynos analyze --format json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub rule: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    pub category: Category,
    pub component: ComponentRef,
    /// Empty for findings about the org itself.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    pub end_line: u32,
    pub message: String,
    pub why: &'static str,
    pub fix: &'static str,
    /// The same as long as the offending code stays the same, wherever it moves in its file.
    pub fingerprint: String,
}

/// A finding that the source itself asks to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    pub finding: Finding,
    /// What the source says: the comment or annotation.
    pub reason: String,
}

/// A file that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileError {
    pub file: String,
    pub message: String,
}

/// The outcome of a run, ordered by severity, then file and line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub suppressed: Vec<Suppressed>,
    pub errors: Vec<FileError>,
}

impl Report {
    pub(super) fn sort(&mut self) {
        fn order(a: &Finding, b: &Finding) -> std::cmp::Ordering {
            let key = |f: &Finding| (std::cmp::Reverse(f.severity), f.rule, f.line, f.column);
            (key(a).0, &a.file, key(a))
                .cmp(&(key(b).0, &b.file, key(b)))
                .then_with(|| a.message.cmp(&b.message))
        }
        self.findings.sort_by(order);
        self.suppressed.sort_by(|a, b| order(&a.finding, &b.finding));
        self.errors.sort_by(|a, b| (&a.file, &a.message).cmp(&(&b.file, &b.message)));
    }
}

/// A place that a rule objects to.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub rule: &'static str,
    /// When it differs from the rule's own.
    pub severity: Option<Severity>,
    pub line: u32,
    pub column: u32,
    pub end_line: u32,
    pub message: String,
    /// What stays the same when lines shift: the enclosing method and the offending text.
    pub anchor: String,
}

impl Hit {
    pub fn at(rule: &'static str, node: Node<'_>, message: String) -> Self {
        let method = node.nearest(&["constructor_declaration", "method_declaration"]);
        let method = method.and_then(|m| m.field("name")).map_or("", Node::text);
        Self {
            rule,
            severity: None,
            line: node.line(),
            column: node.column(),
            end_line: node.end_line(),
            message,
            anchor: format!("{method}\n{}", one_space(node.text())),
        }
    }

    /// About a whole line of a file, or the file itself at line 1.
    pub fn on_line(rule: &'static str, line: u32, anchor: &str, message: String) -> Self {
        Self { rule, severity: None, line, column: 1, end_line: line, message, anchor: anchor.to_owned() }
    }

    pub fn severity(self, severity: Severity) -> Self {
        Self { severity: Some(severity), ..self }
    }
}

/// The text with single spaces, 400 characters at most.
fn one_space(text: &str) -> String {
    let joined = text.split_whitespace().take(120).collect::<Vec<_>>().join(" ");
    joined.chars().take(400).collect()
}

/// Turns the hits of a component into findings.
pub(super) fn settle(
    component: &Component<'_>,
    hits: Vec<Hit>,
    counts: impl Fn(&str, Severity) -> bool,
    report: &mut Report,
) {
    if hits.is_empty() {
        return;
    }
    let suppressions = suppress::read(component);
    let mut seen: HashMap<String, u32> = HashMap::new();
    for hit in hits {
        let Some(info) = rule(hit.rule) else { continue };
        let severity = hit.severity.unwrap_or(info.severity);
        let key = format!("{}\n{}\n{}\n{}", hit.rule, component.kind, component.name, hit.anchor);
        let nth = seen.entry(key.clone()).and_modify(|n| *n += 1).or_insert(0);
        let fingerprint = fingerprint(&key, *nth);
        if !counts(hit.rule, severity) {
            continue;
        }
        let reason = suppressions.reason(info, hit.line);
        let finding = Finding {
            rule: info.id,
            name: info.name,
            severity,
            category: info.category,
            component: ComponentRef { kind: component.kind.to_owned(), name: component.name.to_owned() },
            file: component.file.to_owned(),
            line: hit.line,
            column: hit.column,
            end_line: hit.end_line,
            message: hit.message,
            why: info.why,
            fix: info.fix,
            fingerprint,
        };
        match reason {
            Some(reason) => report.suppressed.push(Suppressed { finding, reason }),
            None => report.findings.push(finding),
        }
    }
}

/// The first 16 bytes of SHA-256 over what a finding is about, in hex.
fn fingerprint(key: &str, nth: u32) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{key}\n{nth}").as_bytes());
    let first = digest.as_ref().iter().take(16).fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
    format!("{first:032x}")
}
