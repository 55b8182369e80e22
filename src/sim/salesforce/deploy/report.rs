//! A deploy as `DeployResult`: JSON for REST, the same as XML for SOAP. Names and their order are the WSDL's.

use serde_json::{Map, Value, json};

use super::testing::{Covered, Failure};
use super::{COMPONENT_STEPS, Deploy, Message, State};
use crate::sim::salesforce::fixture::user_id;
use crate::sim::salesforce::soap::escape;

const DEPLOYER: usize = 4;

/// `DeployResult`; the details only once there are some, and when asked for.
pub fn report(deploy: &Deploy, with_details: bool) -> Value {
    let outcome = &deploy.outcome;
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string());
    let ended = deploy.is_done() && deploy.state != State::Canceled;
    let share = |total: usize, step: u32, of: u32| {
        if ended || of == 0 { total } else { total * step.min(of) as usize / of as usize }
    };
    let components = outcome.successes.len() + outcome.failures.len();
    let errors = outcome.failures.len();
    let tests = outcome.tests.total() as usize;
    let seen = share(components, deploy.step, COMPONENT_STEPS);
    let test_step = deploy.step.saturating_sub(COMPONENT_STEPS);
    let tests_run = share(tests, test_step, deploy.steps() - COMPONENT_STEPS);
    let failed_tests = outcome.tests.failures.len();
    let shown_failures = failed_tests.min(tests_run.saturating_sub(outcome.tests.passed.len()));
    let status = format!("{:?}", deploy.state);
    let by = Some(user_id(DEPLOYER));
    let canceled = (deploy.state == State::Canceled).then(|| by.clone()).flatten();
    let detail = match (deploy.state, test_step) {
        (State::InProgress, 0) => Some("Processing Type: Apex Component"),
        (State::InProgress, _) => Some("Running Tests"),
        _ => None,
    };
    json!({
        "canceledBy": canceled, "checkOnly": deploy.options.check_only, "completedDate": time(deploy.completed),
        "createdBy": by, "createdByName": "Vynos Integration", "createdDate": time(Some(deploy.created)),
        "details": with_details.then(|| details(deploy, ended)), "done": deploy.is_done(),
        "id": deploy.id, "ignoreWarnings": deploy.options.ignore_warnings,
        "lastModifiedDate": time(deploy.completed.or(deploy.started).or(Some(deploy.created))),
        "numberComponentErrors": if seen == components { errors } else { errors.min(seen) },
        "numberComponentsDeployed": seen.saturating_sub(errors),
        "numberComponentsTotal": components,
        "numberTestErrors": if ended { failed_tests } else { shown_failures },
        "numberTestsCompleted": tests_run.saturating_sub(if ended { failed_tests } else { shown_failures }),
        "numberTestsTotal": tests,
        "rollbackOnError": deploy.options.rollback_on_error, "runTestsEnabled": outcome.tests.asked,
        "startDate": time(deploy.started), "stateDetail": detail, "status": status,
        "success": deploy.state == State::Succeeded,
    })
}

/// Failures of components show as soon as they are known, tests at the end.
fn details(deploy: &Deploy, ended: bool) -> Value {
    let outcome = &deploy.outcome;
    let known = ended || deploy.step >= COMPONENT_STEPS;
    let created = deploy.created.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    let list = |messages: &[Message], good: bool| -> Vec<Value> {
        messages.iter().filter(|_| known).map(|m| message(m, good, &created)).collect()
    };
    let mut details = json!({
        "allComponentMessages": [], "componentFailures": list(&outcome.failures, false),
        "componentSuccesses": list(&outcome.successes, true), "retrieveResult": null,
    });
    if ended {
        details["runTestResult"] = tests(deploy);
    }
    details
}

fn message(message: &Message, good: bool, created: &str) -> Value {
    let problem_type = message.problem.as_ref().map(|_| if message.warning { "Warning" } else { "Error" });
    json!({
        "changed": message.changed, "columnNumber": message.place.map(|p| p.1), "componentType": message.kind,
        "created": message.created, "createdDate": created, "deleted": message.deleted, "fileName": message.file,
        "fullName": message.name, "id": message.id, "lineNumber": message.place.map(|p| p.0),
        "problem": message.problem, "problemType": problem_type, "success": good, "warning": message.warning,
    })
}

fn tests(deploy: &Deploy) -> Value {
    let tests = &deploy.outcome.tests;
    let warnings: Vec<Value> = tests
        .warnings
        .iter()
        .map(|(name, text)| json!({ "id": null, "message": text, "name": name, "namespace": null }))
        .collect();
    let passed: Vec<Value> = tests
        .passed
        .iter()
        .map(|(class, method)| {
            json!({ "id": null, "methodName": method, "name": class, "namespace": null, "seeAllData": false, "time": 12.0 })
        })
        .collect();
    json!({
        "apexLogId": "", "codeCoverage": tests.coverage.iter().map(coverage).collect::<Vec<_>>(),
        "codeCoverageWarnings": warnings, "failures": tests.failures.iter().map(failure).collect::<Vec<_>>(),
        "flowCoverage": [], "flowCoverageWarnings": [], "numFailures": tests.failures.len(),
        "numTestsRun": tests.total(), "successes": passed, "totalTime": 12.0 * f64::from(tests.total()),
    })
}

fn failure(failure: &Failure) -> Value {
    json!({
        "id": null, "message": failure.message, "methodName": failure.method, "name": failure.class, "namespace": null,
        "packageName": failure.class, "seeAllData": false, "stackTrace": failure.stack, "time": 5.0, "type": "Class",
    })
}

fn coverage(covered: &Covered) -> Value {
    let missed: Vec<Value> = covered
        .uncovered
        .iter()
        .map(|line| json!({ "column": 0, "line": line, "numExecutions": 0, "time": -1.0 }))
        .collect();
    json!({
        "dmlInfo": [], "id": null, "locationsNotCovered": missed, "methodInfo": [], "name": covered.name,
        "namespace": null, "numLocations": covered.lines, "numLocationsNotCovered": covered.uncovered.len(),
        "soqlInfo": [], "soslInfo": [], "type": if covered.is_trigger { "Trigger" } else { "Class" },
    })
}

/// A JSON object as the elements inside an XML element: lists repeat, what is null is left out.
pub fn xml(object: &Map<String, Value>) -> String {
    object.iter().map(|(name, value)| element(name, value)).collect()
}

fn element(name: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(all) => all.iter().map(|one| element(name, one)).collect(),
        Value::Object(object) => format!("<{name}>{}</{name}>", xml(object)),
        Value::String(text) => format!("<{name}>{}</{name}>", escape(text)),
        other => format!("<{name}>{other}</{name}>"),
    }
}
