//! The checks: pure functions from components and limits to findings. No org, no store, no clock.
//!
//! `run` is the way in; `catalogue` lists every rule; `apex`, `flow`, `objects` and `limits` hold the checks;
//! `score` turns findings into the health score; `export` writes SARIF and CSV.

mod apex;
pub mod catalogue;
pub mod export;
mod finding;
mod flow;
mod limits;
mod literals;
mod objects;
pub mod score;
mod suppress;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use catalogue::{Area, Category, RuleInfo, catalogue};
pub use finding::{ComponentRef, FileError, Finding, Report, Severity, Suppressed};
pub use score::{AreaScore, Counts, Score, Step, score};

use finding::Hit;

/// One piece of metadata to check.
#[derive(Clone, Copy, Debug)]
pub struct Component<'a> {
    /// As Salesforce names the type: `ApexClass`, `ApexTrigger`, `Flow`, `CustomObject`, `CustomField`,
    /// `PermissionSet`, `Workflow`. Other kinds are accepted and not checked.
    pub kind: &'a str,
    /// Full name; of a field `Object.Field`.
    pub name: &'a str,
    /// Shown in findings, as the caller names it.
    pub file: &'a str,
    pub source: &'a str,
    /// Of Apex, where known.
    pub api_version: Option<f64>,
    /// Whether it runs in the org. Only triggers use it.
    pub active: bool,
}

impl<'a> Component<'a> {
    /// An active component of unknown API version.
    pub fn new(kind: &'a str, name: &'a str, file: &'a str, source: &'a str) -> Self {
        Self { kind, name, file, source, api_version: None, active: true }
    }
}

/// One line of the org's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub name: String,
    pub max: i64,
    pub remaining: i64,
}

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub components: &'a [Component<'a>],
    pub limits: &'a [Limit],
    /// The API version of the org, such as 67.0; rules on age count from it.
    pub current_api: f64,
    /// How many threads at most.
    pub jobs: usize,
}

/// Which rules count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    only: Option<BTreeSet<&'static str>>,
    min_severity: Severity,
}

/// A rule was asked for that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("There is no rule \"{0}\". Rules are named by id (APX-001) or name (loop-limit).")]
pub struct UnknownRule(pub String);

impl RuleSet {
    /// Every rule, every severity.
    pub fn all() -> Self {
        Self { only: None, min_severity: Severity::Info }
    }

    /// Only these rules, by id or name; case does not matter.
    pub fn only<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, UnknownRule> {
        let find = |name: &str| {
            let wanted = name.trim();
            let rule = catalogue()
                .iter()
                .find(|rule| rule.id.eq_ignore_ascii_case(wanted) || rule.name.eq_ignore_ascii_case(wanted));
            rule.map(|rule| rule.id).ok_or_else(|| UnknownRule(wanted.to_owned()))
        };
        let only = names.into_iter().map(find).collect::<Result<_, _>>()?;
        Ok(Self { only: Some(only), min_severity: Severity::Info })
    }

    /// Leaves out what is milder than this.
    pub fn at_least(self, severity: Severity) -> Self {
        Self { min_severity: severity, ..self }
    }

    fn counts(&self, rule: &str, severity: Severity) -> bool {
        severity >= self.min_severity && self.only.as_ref().is_none_or(|only| only.contains(rule))
    }
}

/// Checks everything. The report's order depends on nothing but the input.
pub fn run(input: &Input<'_>, rules: &RuleSet) -> Report {
    let settings = objects::custom_settings(input.components);
    let read = read_all(input, &settings);
    let mut flows = BTreeMap::new();
    for (place, part) in read.iter().enumerate() {
        if let Part::Flow(flow) = part {
            flows.insert(place, flow);
        }
    }
    let subflows = flow::facts(flows.iter().map(|(place, flow)| (input.components[*place].name, *flow)));
    let mut report = Report::default();
    let mut collect = |component: &Component<'_>, hits: Vec<Hit>| {
        finding::settle(component, hits, |rule, severity| rules.counts(rule, severity), &mut report);
    };
    let mut heads = Vec::new();
    let mut errors = Vec::new();
    for (component, part) in input.components.iter().zip(read.iter()) {
        match part {
            Part::Apex(checked) => {
                collect(component, checked.hits.clone());
                if let Some(head) = checked.head.clone().filter(|_| component.active) {
                    heads.push((component, head));
                }
            }
            Part::Broken(message) => {
                errors.push(FileError { file: component.file.to_owned(), message: message.clone() });
            }
            Part::Flow(flow) => collect(component, flow::check(flow, &subflows)),
            Part::Other(hits) => collect(component, hits.clone()),
        }
    }
    for (component, hit) in apex::second_triggers(&heads) {
        collect(component, vec![hit]);
    }
    for (component, hit) in objects::fields_without_description(input.components) {
        collect(component, vec![hit]);
    }
    for limit in input.limits {
        let component = Component::new("OrgLimit", &limit.name, "", "");
        collect(&component, limits::check(limit));
    }
    report.errors = errors;
    report.sort();
    report
}

/// What one component gave.
enum Part {
    Apex(apex::Checked),
    Broken(String),
    Flow(flow::Flow),
    Other(Vec<Hit>),
}

fn read_all(input: &Input<'_>, settings: &HashSet<String>) -> Vec<Part> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Part)>> = Mutex::new(Vec::with_capacity(input.components.len()));
    let work = || {
        let mut own = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(component) = input.components.get(place) else { break };
            own.push((place, read(component, input.current_api, settings)));
        }
        if let Ok(mut all) = done.lock() {
            all.append(&mut own);
        }
    };
    std::thread::scope(|threads| {
        for _ in 1..input.jobs.clamp(1, 64).min(input.components.len().max(1)) {
            threads.spawn(work);
        }
        work();
    });
    let mut parts = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    parts.sort_by_key(|(place, _)| *place);
    parts.into_iter().map(|(_, part)| part).collect()
}

fn read(component: &Component<'_>, current_api: f64, settings: &HashSet<String>) -> Part {
    match component.kind {
        "ApexClass" | "ApexTrigger" => match apex::check(component, current_api, settings) {
            Ok(checked) => Part::Apex(checked),
            Err(message) => Part::Broken(message),
        },
        "Flow" => match flow::read(component.source) {
            Ok(flow) => Part::Flow(flow),
            Err(message) => Part::Broken(message),
        },
        "CustomObject" | "PermissionSet" | "Workflow" => match objects::check(component) {
            Ok(hits) => Part::Other(hits),
            Err(message) => Part::Broken(message),
        },
        _ => Part::Other(Vec::new()),
    }
}
