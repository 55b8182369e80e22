//! Tests "run" by declared rules: a test method fails when one of its own assertions is false by its literals, or
//! when a comment in it says `// sim: fails "message"`; otherwise it passes. A class or trigger is covered when a
//! test that ran names it, itself or through classes that name it; a comment `// sim: coverage 40` in it says how
//! far, 90 percent otherwise.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::Sources;
use super::constant::{Constant, constant};
use super::package::Package;
use super::{DeployOptions, TestLevel};
use crate::apex::{self, Node};
use crate::sim::salesforce::state::Org;

/// Percent that must be covered.
const ENOUGH: usize = 75;
const USUAL: usize = 90;

/// What the tests of a deploy came to.
#[derive(Clone, Debug, Default)]
pub struct TestRun {
    /// The level asked for tests, or the org did.
    pub asked: bool,
    pub passed: Vec<(String, String)>,
    pub failures: Vec<Failure>,
    pub coverage: Vec<Covered>,
    /// Name of the class or trigger, if it is about one, and the text.
    pub warnings: Vec<(Option<String>, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub class: String,
    pub method: String,
    pub message: String,
    pub stack: String,
}

/// How far a class or trigger is covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    pub name: String,
    pub is_trigger: bool,
    /// Lines that can run.
    pub lines: usize,
    pub uncovered: Vec<u32>,
}

impl Covered {
    fn percent(&self) -> f64 {
        if self.lines == 0 {
            return 100.0;
        }
        (self.lines - self.uncovered.len()) as f64 * 100.0 / self.lines as f64
    }
}

impl TestRun {
    /// Methods that ran.
    pub fn total(&self) -> u32 {
        (self.passed.len() + self.failures.len()) as u32
    }
}

/// Runs the tests that the options and the kind of org ask for.
pub fn run(org: &Org, after: &Sources, package: &Package, options: &DeployOptions) -> TestRun {
    let level = options.test_level.unwrap_or(if org.production && package.has_apex() {
        TestLevel::RunLocalTests
    } else {
        TestLevel::NoTestRun
    });
    let mut result = TestRun { asked: level != TestLevel::NoTestRun, ..TestRun::default() };
    let classes = match level {
        TestLevel::NoTestRun => return result,
        TestLevel::RunSpecifiedTests => specified(after, &options.run_tests, &mut result),
        TestLevel::RunAllTestsInOrg | TestLevel::RunLocalTests => {
            tests_in(after).map(|(name, _)| name.to_owned()).collect()
        }
    };
    for class in &classes {
        run_class(class, &after[&("ApexClass".to_owned(), class.clone())], &mut result);
    }
    let covered = coverage(after, &classes);
    judge(org, package, level, covered, &mut result);
    result
}

/// Test classes of the org with their sources.
pub fn tests_in(sources: &Sources) -> impl Iterator<Item = (&str, &str)> {
    sources
        .iter()
        .filter(|((kind, _), source)| kind == "ApexClass" && is_test(source))
        .map(|((_, name), source)| (name.as_str(), source.as_str()))
}

/// Whether `@IsTest` stands in front of the class. A large org is not parsed for this.
fn is_test(source: &str) -> bool {
    const MARK: &str = "@istest";
    for line in source.lines() {
        let line = line.trim_start().to_ascii_lowercase();
        let comment = line.starts_with('*') || line.starts_with("//") || line.starts_with("/*");
        if !comment && line.contains(MARK) {
            return true;
        }
        if !comment && line.split_whitespace().any(|word| matches!(word, "class" | "interface" | "enum")) {
            return false;
        }
    }
    false
}

/// The classes that were named; those that are not there fail.
fn specified(after: &Sources, wanted: &[String], result: &mut TestRun) -> Vec<String> {
    let mut found = Vec::new();
    for name in wanted {
        match tests_in(after).find(|(class, _)| class.eq_ignore_ascii_case(name)) {
            Some((class, _)) => found.push(class.to_owned()),
            None => result.failures.push(Failure {
                class: name.clone(),
                method: String::new(),
                message: format!(
                    "This class name's value is invalid: {name}. Provide the name of an Apex class that has test methods."
                ),
                stack: String::new(),
            }),
        }
    }
    found.sort();
    found.dedup();
    found
}

fn run_class(class: &str, source: &str, result: &mut TestRun) {
    let Ok(apex) = apex::parse(source) else { return };
    for method in apex.of_kind("method_declaration").filter(|m| apex::outline::is_test(*m)) {
        let name = method.field("name").map_or("", Node::text).to_owned();
        match failure(method) {
            None => result.passed.push((class.to_owned(), name)),
            Some((message, at)) => {
                let stack = format!("Class.{class}.{name}: line {}, column {}", at.line(), at.column());
                result.failures.push(Failure { class: class.to_owned(), method: name, message, stack });
            }
        }
    }
}

/// What makes a test method fail, and where.
fn failure(method: Node<'_>) -> Option<(String, Node<'_>)> {
    let body = method.field("body")?;
    body.descendants().find_map(|node| match node.kind() {
        "line_comment" => Some((format!("System.AssertException: Assertion Failed: {}", told(node)?), node)),
        "method_invocation"
            if node.nearest(&["block", "if_statement", "switch_expression"]) == Some(body) =>
        {
            Some((assertion(node)?, node))
        }
        _ => None,
    })
}

/// The text of `// sim: fails "text"`.
fn told(comment: Node<'_>) -> Option<&str> {
    comment
        .text()
        .trim_start_matches('/')
        .trim()
        .strip_prefix("sim: fails")?
        .trim()
        .strip_prefix('"')?
        .strip_suffix('"')
}

/// The message of an assertion that is false by its literals.
fn assertion(call: Node<'_>) -> Option<String> {
    let class = call.field("object")?.text().to_ascii_lowercase();
    let name = call.field("name")?.text().to_ascii_lowercase();
    let arguments: Vec<Option<Constant>> = call.field("arguments")?.named_children().map(constant).collect();
    let value = |n: usize| arguments.get(n).cloned().flatten();
    let label = |n: usize| value(n).map_or(String::new(), |text| format!(": {text}"));
    let two = |equal: bool| {
        let (a, b) = (value(0)?, value(1)?);
        let says = if equal { format!("Expected: {a}, Actual: {b}") } else { format!("Same value: {a}") };
        ((a == b) != equal).then(|| format!("{}: {says}", label(2)))
    };
    let truth = |wanted: bool| {
        let given = value(0)?;
        (given != Constant::Truth(wanted))
            .then(|| format!("{}: Expected: {wanted}, Actual: {given}", label(1)))
    };
    let detail = match (class.as_str(), name.as_str()) {
        ("system", "assert") => (value(0)? == Constant::Truth(false)).then(|| label(1)),
        ("system", "assertequals") | ("assert", "areequal") => two(true),
        ("system", "assertnotequals") | ("assert", "arenotequal") => two(false),
        ("assert", "fail") => Some(label(0)),
        ("assert", "istrue") => truth(true),
        ("assert", "isfalse") => truth(false),
        ("assert", "isnotnull") => (value(0)? == Constant::Null).then(|| label(1)),
        ("assert", "isnull") => (value(0)? != Constant::Null).then(|| label(1)),
        _ => None,
    }?;
    Some(format!("System.AssertException: Assertion Failed{detail}"))
}

/// How far these test classes cover every class and trigger that is no test.
pub fn coverage(sources: &Sources, tests: &[String]) -> Vec<Covered> {
    let code: BTreeMap<&str, (&str, bool)> = sources
        .iter()
        .filter(|((kind, _), source)| {
            matches!(kind.as_str(), "ApexClass" | "ApexTrigger") && !is_test(source)
        })
        .map(|((kind, name), source)| (name.as_str(), (source.as_str(), kind == "ApexTrigger")))
        .collect();
    let reached = reach(sources, &code, tests);
    let covered = code.iter().filter_map(|(name, (source, is_trigger))| {
        let lines = runnable(source)?;
        let percent = if reached.contains(name) { declared(source) } else { 0 };
        let run = (lines.len() * percent + 50) / 100;
        let uncovered = lines.iter().skip(run).copied().collect();
        Some(Covered { name: (*name).to_owned(), is_trigger: *is_trigger, lines: lines.len(), uncovered })
    });
    covered.collect()
}

/// Classes and triggers that tests name, themselves or through others. A trigger runs when something that is
/// reached names its object.
fn reach<'s>(
    sources: &'s Sources,
    code: &BTreeMap<&'s str, (&'s str, bool)>,
    tests: &[String],
) -> BTreeSet<&'s str> {
    let words = |source: &'s str| -> BTreeSet<&'s str> {
        source.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect()
    };
    let mut open: Vec<&str> = tests
        .iter()
        .filter_map(|name| sources.get(&("ApexClass".to_owned(), name.clone())))
        .map(String::as_str)
        .collect();
    let triggers: Vec<(&str, &str)> = code
        .iter()
        .filter(|(_, (_, is_trigger))| *is_trigger)
        .filter_map(|(name, (source, _))| Some((*name, trigger_object(source)?)))
        .collect();
    let mut reached = BTreeSet::new();
    while let Some(source) = open.pop() {
        let words = words(source);
        let by_object = triggers.iter().filter(|(_, object)| words.contains(object)).map(|(name, _)| *name);
        let named: Vec<&str> = words.iter().filter_map(|w| code.get_key_value(w)).map(|(k, _)| *k).collect();
        for name in named.into_iter().chain(by_object) {
            if reached.insert(name) {
                open.push(code[name].0);
            }
        }
    }
    reached
}

fn trigger_object(source: &str) -> Option<&str> {
    let head = source.split_once('(')?.0;
    head.rsplit(char::is_whitespace).find(|w| !w.is_empty())
}

/// Lines with a statement; `None` for what can't be parsed.
fn runnable(source: &str) -> Option<Vec<u32>> {
    let apex = apex::parse(source).ok()?;
    let lines: BTreeSet<u32> = apex
        .nodes()
        .filter(|n| n.kind().ends_with("_statement") || n.is("local_variable_declaration"))
        .map(Node::line)
        .collect();
    Some(lines.into_iter().collect())
}

/// The percent that a source says of itself.
fn declared(source: &str) -> usize {
    let said = source
        .split_once("// sim: coverage ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok());
    said.unwrap_or(USUAL).min(100)
}

/// What the level asks of the coverage; nothing in a sandbox, where it is only shown.
fn judge(org: &Org, package: &Package, level: TestLevel, covered: Vec<Covered>, result: &mut TestRun) {
    let deployed = |c: &Covered| package.parts.iter().any(|p| p.is_apex() && p.name == c.name);
    if level == TestLevel::RunSpecifiedTests {
        for one in covered.iter().filter(|c| deployed(c) && c.percent() < ENOUGH as f64) {
            let what = if one.is_trigger { "Trigger" } else { "Class" };
            let text = format!(
                "Test coverage of selected Apex {what} is {}%, at least {ENOUGH}% test coverage is required",
                rounded(one.percent())
            );
            result.warnings.push((Some(one.name.clone()), text));
        }
    } else if org.production && package.has_apex() {
        let lines: usize = covered.iter().map(|c| c.lines).sum();
        let missed: usize = covered.iter().map(|c| c.uncovered.len()).sum();
        let percent = (lines - missed) * 100 / lines.max(1);
        if percent < ENOUGH && lines > 0 {
            let text = format!(
                "Average test coverage across all Apex Classes and Triggers is {percent}%, at least {ENOUGH}% test coverage is required."
            );
            result.warnings.push((None, text));
        }
        for one in covered
            .iter()
            .filter(|c| c.is_trigger && deployed(c) && c.uncovered.len() == c.lines && c.lines > 0)
        {
            let text = "Test coverage of selected Apex Trigger is 0%, at least 1% test coverage is required";
            result.warnings.push((Some(one.name.clone()), text.to_owned()));
        }
    }
    let reached = |c: &Covered| deployed(c) || c.uncovered.len() < c.lines;
    result.coverage = covered.into_iter().filter(reached).collect();
}

fn rounded(percent: f64) -> String {
    let text = format!("{percent:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
