//! What Salesforce reports of a deploy, and how it is read. What is unknown or absent is left empty: a report
//! with a new state or field is still a report.

use serde::{Deserialize, Deserializer, Serialize};

/// The state of a deploy. One that is finalizing is still in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DeployStatus {
    Canceled,
    Canceling,
    Failed,
    InProgress,
    #[default]
    Pending,
    Succeeded,
    SucceededPartial,
}

/// Where a deploy stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployResult {
    pub id: String,
    pub done: bool,
    pub success: bool,
    pub status: DeployStatus,
    pub components_total: u32,
    pub components_deployed: u32,
    pub components_errors: u32,
    pub tests_total: u32,
    pub tests_completed: u32,
    pub tests_errors: u32,
    pub component_failures: Vec<ComponentFailure>,
    pub test_failures: Vec<TestFailure>,
    pub coverage: Vec<Coverage>,
    /// Why the coverage is not enough, in Salesforce's words.
    pub coverage_warnings: Vec<String>,
    /// What stopped the whole deploy, in Salesforce's words.
    pub error_message: Option<String>,
}

/// A component that was refused, or a warning about one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentFailure {
    /// Path in the package.
    pub file: String,
    pub kind: String,
    pub name: String,
    /// From 1.
    pub line: Option<u32>,
    /// From 1.
    pub column: Option<u32>,
    pub message: String,
    pub warning: bool,
}

/// A test method that did not pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestFailure {
    pub class: String,
    pub method: String,
    pub message: String,
    pub stack: String,
}

/// How far the tests of a deploy cover a class or trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub class: String,
    /// Lines that can be run.
    pub lines: u32,
    /// Line numbers from 1, of those that did not run.
    pub uncovered: Vec<u32>,
}

/// `deployResult` as it travels.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wire {
    #[serde(deserialize_with = "lenient")]
    id: String,
    done: bool,
    success: bool,
    #[serde(deserialize_with = "lenient")]
    status: String,
    #[serde(deserialize_with = "lenient")]
    number_components_total: u32,
    #[serde(deserialize_with = "lenient")]
    number_components_deployed: u32,
    #[serde(deserialize_with = "lenient")]
    number_component_errors: u32,
    #[serde(deserialize_with = "lenient")]
    number_tests_total: u32,
    #[serde(deserialize_with = "lenient")]
    number_tests_completed: u32,
    #[serde(deserialize_with = "lenient")]
    number_test_errors: u32,
    error_message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    #[serde(deserialize_with = "lenient")]
    component_failures: Vec<Message>,
    /// Warnings stand among the successes.
    #[serde(deserialize_with = "lenient")]
    component_successes: Vec<Message>,
    #[serde(deserialize_with = "lenient")]
    run_test_result: Tests,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Message {
    #[serde(deserialize_with = "lenient")]
    component_type: String,
    #[serde(deserialize_with = "lenient")]
    file_name: String,
    #[serde(deserialize_with = "lenient")]
    full_name: String,
    line_number: Option<u32>,
    column_number: Option<u32>,
    #[serde(deserialize_with = "lenient")]
    problem: String,
    problem_type: Option<String>,
    #[serde(deserialize_with = "lenient")]
    warning: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Tests {
    #[serde(deserialize_with = "lenient")]
    failures: Vec<Failure>,
    #[serde(deserialize_with = "lenient")]
    code_coverage: Vec<Covered>,
    #[serde(deserialize_with = "lenient")]
    code_coverage_warnings: Vec<Warning>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Failure {
    #[serde(deserialize_with = "lenient")]
    name: String,
    #[serde(deserialize_with = "lenient")]
    method_name: String,
    #[serde(deserialize_with = "lenient")]
    message: String,
    #[serde(deserialize_with = "lenient")]
    stack_trace: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Covered {
    #[serde(deserialize_with = "lenient")]
    name: String,
    #[serde(deserialize_with = "lenient")]
    num_locations: u32,
    #[serde(deserialize_with = "lenient")]
    locations_not_covered: Vec<Location>,
}

#[derive(Deserialize)]
struct Location {
    line: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Warning {
    name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    message: String,
}

/// `null` stands for what is not there.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

impl From<Wire> for DeployResult {
    fn from(wire: Wire) -> Self {
        let Details { component_failures, component_successes, run_test_result: tests } = wire.details;
        let warnings = component_successes.into_iter().filter(|m| m.warning && !m.problem.is_empty());
        Self {
            status: status(&wire.status, wire.done, wire.success),
            id: wire.id,
            done: wire.done,
            success: wire.success,
            components_total: wire.number_components_total,
            components_deployed: wire.number_components_deployed,
            components_errors: wire.number_component_errors,
            tests_total: wire.number_tests_total,
            tests_completed: wire.number_tests_completed,
            tests_errors: wire.number_test_errors,
            component_failures: component_failures.into_iter().chain(warnings).map(Into::into).collect(),
            test_failures: tests.failures.into_iter().map(Into::into).collect(),
            coverage: tests.code_coverage.into_iter().map(Into::into).collect(),
            coverage_warnings: tests.code_coverage_warnings.into_iter().map(Warning::sentence).collect(),
            error_message: wire.error_message.filter(|m| !m.is_empty()),
        }
    }
}

fn status(word: &str, done: bool, success: bool) -> DeployStatus {
    match word {
        "Canceled" => DeployStatus::Canceled,
        "Canceling" => DeployStatus::Canceling,
        "Failed" | "FinalizingFailed" => DeployStatus::Failed,
        "Pending" => DeployStatus::Pending,
        "Succeeded" => DeployStatus::Succeeded,
        "SucceededPartial" => DeployStatus::SucceededPartial,
        _ if !done => DeployStatus::InProgress,
        _ if success => DeployStatus::Succeeded,
        _ => DeployStatus::Failed,
    }
}

impl From<Message> for ComponentFailure {
    fn from(message: Message) -> Self {
        // 0 stands for "nowhere in particular".
        let place = |n: Option<u32>| n.filter(|n| *n > 0);
        Self {
            file: message.file_name,
            kind: message.component_type,
            // Lightning web components are named by their markup.
            name: message.full_name.strip_prefix("markup://c:").unwrap_or(&message.full_name).to_owned(),
            line: place(message.line_number),
            column: place(message.column_number),
            message: message.problem,
            warning: message.warning || message.problem_type.as_deref() == Some("Warning"),
        }
    }
}

impl From<Failure> for TestFailure {
    fn from(failure: Failure) -> Self {
        Self {
            class: failure.name,
            method: failure.method_name,
            message: failure.message,
            stack: failure.stack_trace,
        }
    }
}

impl From<Covered> for Coverage {
    fn from(covered: Covered) -> Self {
        let uncovered = covered.locations_not_covered.into_iter().map(|l| l.line).collect();
        Self { class: covered.name, lines: covered.num_locations, uncovered }
    }
}

impl Warning {
    fn sentence(self) -> String {
        match self.name.filter(|name| !name.is_empty()) {
            Some(name) => format!("{name}: {}", self.message),
            None => self.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> DeployResult {
        serde_json::from_value::<Wire>(value).unwrap().into()
    }

    #[test]
    fn a_failed_deploy_tells_its_places() {
        let result = read(json!({
            "id": "0Af000000000101AAA", "done": true, "success": false, "status": "Failed", "numberComponentsTotal": 2,
            "numberComponentErrors": 1, "errorMessage": null,
            "details": {
                "componentSuccesses": [{ "fullName": "A", "warning": false }],
                "componentFailures": [{
                    "componentType": "ApexClass", "fileName": "classes/Bad.cls", "fullName": "Bad", "lineNumber": 2,
                    "columnNumber": 5, "problem": "Unexpected token 'x'.", "problemType": "Error", "warning": false,
                }],
                "runTestResult": {
                    "failures": [{ "name": "T", "methodName": "m", "message": "no", "stackTrace": "Class.T.m: line 3, column 1" }],
                    "codeCoverage": [{ "name": "A", "numLocations": 4, "locationsNotCovered": [{ "line": 7, "column": 0 }] }],
                    "codeCoverageWarnings": [{ "id": null, "name": "A", "message": "too little" }],
                },
            },
        }));
        assert_eq!(result.status, DeployStatus::Failed);
        let failure = &result.component_failures[0];
        assert_eq!((failure.name.as_str(), failure.line, failure.column), ("Bad", Some(2), Some(5)));
        assert_eq!(result.component_failures.len(), 1);
        assert_eq!(result.test_failures[0].stack, "Class.T.m: line 3, column 1");
        assert_eq!((result.coverage[0].lines, &result.coverage[0].uncovered), (4, &vec![7]));
        assert_eq!(result.coverage_warnings, ["A: too little"]);
    }

    #[test]
    fn nulls_gaps_and_new_states_are_borne() {
        let bare = read(
            json!({ "id": "0Af000000000101AAA", "done": false, "status": "Finalizing", "details": null }),
        );
        assert_eq!(bare.status, DeployStatus::InProgress);
        let ended =
            read(json!({ "done": true, "success": false, "status": "FinalizingFailed", "extra": [1] }));
        assert_eq!(ended.status, DeployStatus::Failed);
        let lwc = read(
            json!({ "details": { "componentFailures": [{ "fullName": "markup://c:tile", "lineNumber": 0 }],
            "componentSuccesses": null, "runTestResult": null } }),
        );
        assert_eq!((lwc.component_failures[0].name.as_str(), lwc.component_failures[0].line), ("tile", None));
    }
}
