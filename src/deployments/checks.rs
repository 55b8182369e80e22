//! Checks of a change set before Salesforce sees it: what a compiler would refuse, names that don't fit, tests
//! that are nowhere. They cost no call and stop nothing: Salesforce has the last word.

use std::collections::BTreeSet;

use super::package::Part;
use super::records::{ChangeFile, Check};
use crate::apex::{Outline, UnitKind, outline, syntax_errors};
use crate::ids::OrgId;
use crate::orgs::records::COMPONENTS;
use crate::store::{Read, StoreError};

/// Findings that are kept.
const MOST: usize = 50;

/// Checks all files of a draft against each other and against the catalogue. Blocks.
pub fn check(
    read: &impl Read,
    org: OrgId,
    files: &[(String, ChangeFile)],
    tests: &[String],
) -> Result<Vec<Check>, StoreError> {
    let mut found = Vec::new();
    let mut drafted: BTreeSet<String> = BTreeSet::new();
    let (mut has_code, mut has_tests) = (false, !tests.is_empty());
    for (path, file) in files {
        let Ok(part) = Part::of(path) else { continue };
        let known = read.has(&COMPONENTS, &(org, part.kind.clone(), part.name.clone()))?;
        match &file.content {
            None if !known => {
                found.push(error(path, 0, format!("The org has no {} {} to delete.", part.kind, part.name)));
            }
            None => {}
            Some(source) if part.is_apex() => {
                drafted.insert(part.name.clone());
                let read = outline(source);
                let is_test = read.as_ref().is_some_and(|o| o.is_test);
                has_code |= !is_test;
                has_tests |= is_test;
                found.extend(apex(&part, source, read.as_ref()));
            }
            Some(source) => found.extend(markup(path, source)),
        }
    }
    for test in tests {
        let known = read.has(&COMPONENTS, &(org, "ApexClass".to_owned(), test.clone()))?;
        if !known && !drafted.contains(test) {
            found.push(error("tests", 0, format!("There is no class {test}, here or in the org.")));
        }
    }
    if has_code && !has_tests {
        let message = "No test class goes with this code. Production asks for 75 % coverage.";
        found.push(Check { path: "tests".into(), line: 0, message: message.into(), warning: true });
    }
    found.truncate(MOST);
    Ok(found)
}

/// Names of the test classes among the files.
pub fn test_classes(files: &[(String, ChangeFile)]) -> Vec<String> {
    let apex =
        files.iter().filter(|(path, _)| Part::of(path).is_ok_and(|p| p.kind == "ApexClass" && !p.is_meta));
    let outlines = apex.filter_map(|(_, file)| file.content.as_deref().and_then(outline));
    outlines.filter(|o| o.is_test).map(|o| o.name).collect()
}

fn apex(part: &Part, source: &str, read: Option<&Outline>) -> Vec<Check> {
    let mut found: Vec<Check> =
        syntax_errors(source).into_iter().map(|e| error(&part.path, e.line, e.message)).collect();
    if !found.is_empty() {
        return found;
    }
    if let Some(read) = read {
        let trigger = read.kind == UnitKind::Trigger;
        if !read.name.eq_ignore_ascii_case(&part.name) {
            let message = format!("The file is called {}, what it declares {}.", part.name, read.name);
            found.push(error(&part.path, read.first_line, message));
        }
        if trigger != (part.kind == "ApexTrigger") {
            let message = "Triggers lie in triggers, classes in classes.".to_owned();
            found.push(error(&part.path, read.first_line, message));
        }
    }
    found
}

/// Metadata that is XML is read once. Visualforce and bundles are not all XML.
fn markup(path: &str, source: &str) -> Vec<Check> {
    if ["aura/", "components/", "lwc/", "pages/"].iter().any(|folder| path.starts_with(folder)) {
        return Vec::new();
    }
    match roxmltree::Document::parse(source) {
        Ok(_) => Vec::new(),
        Err(e) => vec![error(path, e.pos().row, format!("This XML can't be read: {e}."))],
    }
}

fn error(path: &str, line: u32, message: String) -> Check {
    Check { path: path.to_owned(), line, message, warning: false }
}
