//! What the pages of a change set show of its files, steps and results.

use std::collections::BTreeMap;

use super::package::Part;
use super::records::{ChangeFile, ChangeSet, Run, RunState};
use super::state::{Stage, State};
use crate::apex::Language;
use crate::orgs::shown;
use crate::web::diff::{self, Diff, Remark};

/// One file with its difference to the org.
pub struct FileView {
    pub path: String,
    pub icon: &'static str,
    pub badge: &'static str,
    pub tone: &'static str,
    pub diff: Diff,
    pub errors: usize,
}

/// Compares every file with what the org holds. Blocks.
pub fn files(
    files: Vec<(String, ChangeFile)>,
    before: &BTreeMap<String, Option<String>>,
    remarks: &BTreeMap<String, Vec<Remark>>,
) -> Vec<FileView> {
    let none = Vec::new();
    let view = |(path, file): (String, ChangeFile)| {
        let was = before.get(&path).and_then(Option::as_deref);
        let is = file.content.as_deref();
        let (badge, tone) = match (was, is) {
            (_, None) => ("Deleted", "bad"),
            (None, Some(_)) => ("New", "ok"),
            (Some(a), Some(b)) if a == b => ("Unchanged", ""),
            _ => ("Changed", ""),
        };
        let remarks = remarks.get(&path).unwrap_or(&none);
        let language = Language::of_path(&path);
        let diff = diff::unified(was.unwrap_or_default(), is.unwrap_or_default(), language, remarks);
        let errors = remarks.iter().filter(|r| !r.warning).count();
        FileView { icon: icon(&path), badge, tone, diff, errors, path }
    };
    files.into_iter().map(view).collect()
}

/// The icon of a component's type.
pub fn icon(path: &str) -> &'static str {
    match Part::of(path).map(|p| p.kind).as_deref() {
        Ok("ApexClass") if path.ends_with("Test.cls") => "flask-conical",
        Ok("ApexClass" | "ApexTrigger") => "code",
        Ok("CustomObject") => "database",
        Ok("Flow") => "workflow",
        Ok("PermissionSet") => "key-round",
        _ => "file-text",
    }
}

/// What is said about lines of the files: by the checks before Salesforce, or, once it has spoken, by Salesforce.
/// Remarks that belong to no file of the change set come second.
pub fn remarks(
    set: &ChangeSet,
    files: &[(String, ChangeFile)],
    run: Option<&Run>,
) -> (BTreeMap<String, Vec<Remark>>, Vec<Remark>) {
    let mut about: BTreeMap<String, Vec<Remark>> = BTreeMap::new();
    let mut beside = Vec::new();
    let mut add = |path: &str, remark: Remark| {
        if files.iter().any(|(p, _)| p == path) {
            about.entry(path.to_owned()).or_default().push(remark);
        } else {
            beside.push(remark);
        }
    };
    let run = run.filter(|run| run.draft == set.draft);
    let Some(result) = run.and_then(|run| run.result.as_ref()) else {
        for check in &set.problems {
            let remark =
                Remark { line: check.line as usize, text: check.message.clone(), warning: check.warning };
            add(&check.path, remark);
        }
        return (about, beside);
    };
    for failure in &result.component_failures {
        let path = Part::of(&failure.file).map_or_else(|_| failure.file.clone(), |part| part.path);
        let named = files.iter().any(|(p, _)| *p == path);
        let text =
            if named { failure.message.clone() } else { format!("{}: {}", failure.name, failure.message) };
        let line = failure.line.unwrap_or_default() as usize;
        add(&path, Remark { line, text, warning: failure.warning });
    }
    for failure in &result.test_failures {
        let text = format!("{} fails: {}", failure.method, failure.message);
        let line = line_in(&failure.stack, &failure.class).unwrap_or_default() as usize;
        let path = format!("classes/{}.cls", failure.class);
        if files.iter().any(|(p, _)| *p == path) {
            add(&path, Remark { line, text, warning: false });
        }
    }
    (about, beside)
}

/// The line of a class in an Apex stack trace: `Class.AccountTest.works: line 12, column 1`.
pub fn line_in(stack: &str, class: &str) -> Option<u32> {
    let start = format!("Class.{class}.");
    let line = stack.lines().find(|l| l.trim().starts_with(&start))?;
    let (_, rest) = line.split_once(": line ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// One of the five steps.
pub struct Step {
    pub title: &'static str,
    pub detail: String,
    /// `ok`, `bad` or nothing.
    pub mark: &'static str,
    pub current: bool,
}

/// Proposed, Validated, Approval, Deploy, Verify.
pub fn steps(set: &ChangeSet, state: &State, author: &str, verified: Option<bool>) -> [Step; 5] {
    let stage = state.stage;
    let validation = state.validation.as_ref().map(|(_, run)| run);
    let deployment = state.deployment.as_ref().map(|(_, run)| run).filter(|run| run.draft == set.draft);
    let green = validation.is_some_and(|run| {
        run.state == RunState::Succeeded && run.draft == set.draft && stage != Stage::Expired
    });
    let deployed = stage == Stage::Deployed;
    let step = |title, detail: String, mark, current| Step { title, detail, mark, current };
    [
        step("Proposed", format!("{} by {author}", shown(set.created)), "ok", false),
        match stage {
            Stage::ValidationFailed => {
                step("Validation failed", validation.map(failed).unwrap_or_default(), "bad", true)
            }
            Stage::Validating => step("Validating", validation.map(progress).unwrap_or_default(), "", true),
            Stage::Outdated => step("Validate", "Edited since the last one".into(), "", true),
            Stage::Expired => step("Validate", "The last one is older than 10 days".into(), "", true),
            Stage::Draft => step("Validate", "Not yet".into(), "", true),
            _ if green => step("Validated", validation.map(tests).unwrap_or_default(), "ok", false),
            _ => step("Validate", String::new(), "", false),
        },
        match stage {
            Stage::Validated => step("Approval", "Waiting for a person".into(), "", true),
            Stage::Approved | Stage::Deploying | Stage::Deployed | Stage::DeployFailed => {
                step("Approval", "Approved".into(), "ok", false)
            }
            _ => step("Approval", String::new(), "", false),
        },
        match stage {
            Stage::Approved => step("Deploy", "Waiting for a person".into(), "", true),
            Stage::Deploying => step("Deploying", deployment.map(progress).unwrap_or_default(), "", true),
            Stage::DeployFailed => {
                step("Deployment failed", deployment.map(failed).unwrap_or_default(), "bad", true)
            }
            Stage::Deployed => {
                let at = deployment.and_then(|run| run.ended).map(shown);
                step("Deployed", at.unwrap_or_default(), "ok", false)
            }
            _ => step("Deploy", String::new(), "", false),
        },
        match verified {
            Some(true) if deployed => step("Verified", "The org holds these files".into(), "ok", false),
            Some(false) if deployed => {
                step("Verify", "The org holds something else by now".into(), "bad", true)
            }
            _ => step("Verify", "Sync and compare".into(), "", deployed),
        },
    ]
}

fn progress(run: &Run) -> String {
    run.phase.clone()
}

fn failed(run: &Run) -> String {
    let Some(result) = &run.result else { return run.state.name().into() };
    match (result.components_errors, result.tests_errors) {
        (0, 0) => run.state.name().into(),
        (0, 1) => format!("1 of {} tests fails", result.tests_total),
        (0, tests) => format!("{tests} of {} tests fail", result.tests_total),
        (1, _) => "1 component has an error".into(),
        (components, _) => format!("{components} components have errors"),
    }
}

fn tests(run: &Run) -> String {
    match run.result.as_ref().map(|r| (r.tests_completed, r.tests_total)) {
        Some((done, total)) if total > 0 => format!("{done} of {total} tests"),
        _ => "Without tests".into(),
    }
}

/// Coverage of one class by the tests of a run.
pub struct CoverageRow {
    pub class: String,
    pub percent: u32,
    pub uncovered: String,
}

/// Covered percent of all lines, and by class, least first.
pub fn coverage(run: &Run) -> Option<(u32, Vec<CoverageRow>)> {
    let result = run.result.as_ref()?;
    let (mut lines, mut bare) = (0u32, 0u32);
    let mut rows = Vec::new();
    for class in &result.coverage {
        let uncovered = u32::try_from(class.uncovered.len()).unwrap_or(u32::MAX);
        lines = lines.saturating_add(class.lines);
        bare = bare.saturating_add(uncovered);
        let numbers: Vec<String> = class.uncovered.iter().take(20).map(u32::to_string).collect();
        rows.push(CoverageRow {
            class: class.class.clone(),
            percent: percent(class.lines, uncovered),
            uncovered: numbers.join(", "),
        });
    }
    rows.sort_by(|a, b| (a.percent, &a.class).cmp(&(b.percent, &b.class)));
    (lines > 0).then(|| (percent(lines, bare), rows))
}

/// Whole percent of lines that are covered; a class without lines is covered.
fn percent(lines: u32, uncovered: u32) -> u32 {
    match lines {
        0 => 100,
        lines => lines.saturating_sub(uncovered).saturating_mul(100) / lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_names_the_line_of_the_test_class() {
        let stack =
            "Class.RenewalService.run: line 9, column 1\nClass.RenewalServiceTest.works: line 41, column 5";
        assert_eq!(line_in(stack, "RenewalServiceTest"), Some(41));
        assert_eq!(line_in(stack, "Renewal"), None);
        assert_eq!(line_in("", "A"), None);
    }

    #[test]
    fn coverage_is_counted_in_whole_percent() {
        assert_eq!((percent(0, 0), percent(4, 1), percent(3, 1), percent(2, 9)), (100, 75, 66, 0));
    }
}
