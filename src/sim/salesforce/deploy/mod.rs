//! Deploys: one runs, others wait; each poll takes the running one a step further. `package` reads the archive,
//! `compile` refuses what a compiler would, `testing` runs tests by declared rules, `apply` changes the org,
//! `report` tells, `routes` answers over REST and SOAP.

mod apply;
mod compile;
mod constant;
mod objects;
mod package;
mod platform;
mod report;
mod resolve;
pub mod routes;
pub mod testing;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::state::Org;
use package::{Package, Unreadable};
use testing::TestRun;

/// How long a validation may be deployed without its tests.
const VALIDATION_LIFE: SignedDuration = SignedDuration::from_hours(24 * 10);
/// The 39 MB that the platform takes.
const LARGEST_ZIP: usize = 39 << 20;
/// Steps that the components take, and at most the tests.
const COMPONENT_STEPS: u32 = 2;
const TEST_STEPS: u32 = 3;
/// Deploys that are remembered.
const MOST: usize = 200;
/// A package with a class of this name stays in progress until it is cancelled.
const NEVER_ENDS: &str = "SlowClass";

/// Which tests a deploy asks for; names as in the WSDL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TestLevel {
    NoTestRun,
    RunAllTestsInOrg,
    RunLocalTests,
    RunSpecifiedTests,
}

/// `DeployOptions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeployOptions {
    pub allow_missing_files: bool,
    pub check_only: bool,
    pub ignore_warnings: bool,
    pub rollback_on_error: bool,
    pub run_tests: Vec<String>,
    pub single_package: bool,
    pub test_level: Option<TestLevel>,
}

/// A line of the result about one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub kind: String,
    pub file: String,
    pub name: String,
    pub id: Option<String>,
    /// Line and column, from 1.
    pub place: Option<(u32, u32)>,
    pub problem: Option<String>,
    pub warning: bool,
    pub created: bool,
    pub changed: bool,
    pub deleted: bool,
}

impl Message {
    fn failure(kind: &str, file: &str, name: &str, problem: &str) -> Self {
        Self {
            kind: kind.into(),
            file: file.into(),
            name: name.into(),
            problem: Some(problem.into()),
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Canceled,
    Canceling,
    Failed,
    InProgress,
    Pending,
    Succeeded,
}

/// What a deploy comes to, known to us from its start.
#[derive(Clone, Debug, Default)]
struct Outcome {
    successes: Vec<Message>,
    failures: Vec<Message>,
    tests: TestRun,
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.failures.is_empty() && self.tests.failures.is_empty() && self.tests.warnings.is_empty()
    }
}

/// One deploy.
#[derive(Clone, Debug)]
pub struct Deploy {
    id: String,
    options: DeployOptions,
    package: Package,
    /// The validation it deploys without its tests.
    validated: Option<String>,
    state: State,
    created: Timestamp,
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
    outcome: Outcome,
    step: u32,
}

/// Why a deploy is not begun: code and text of the API.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str, pub &'static str);

/// Takes a deploy in and answers its id.
pub fn submit(
    org: &mut Org,
    now: Timestamp,
    archive: &[u8],
    options: DeployOptions,
) -> Result<String, Refusal> {
    const TOO_MUCH: Refusal =
        Refusal("LIMIT_EXCEEDED", "MAXIMUM_SIZE_OF_FILES_REACHED Maximum size/number of files reached");
    check_options(org, &options)?;
    if archive.len() > LARGEST_ZIP {
        return Err(TOO_MUCH);
    }
    let package = match package::read(archive, options.single_package, options.allow_missing_files) {
        Ok(package) => package,
        Err(Unreadable::NoZip) => return Err(Refusal("UNKNOWN_EXCEPTION", "the zip file can't be read")),
        Err(Unreadable::TooMuch) => return Err(TOO_MUCH),
    };
    Ok(enqueue(org, now, options, package, None))
}

fn check_options(org: &Org, options: &DeployOptions) -> Result<(), Refusal> {
    let refused = |text| Err(Refusal("INVALID_OPERATION", text));
    match options.test_level {
        Some(TestLevel::NoTestRun) if org.production => {
            refused("testLevel of NoTestRun cannot be used in production organizations")
        }
        Some(TestLevel::RunSpecifiedTests) if options.run_tests.is_empty() => {
            refused("runTests must not be empty when a testLevel of RunSpecifiedTests is used")
        }
        level if level != Some(TestLevel::RunSpecifiedTests) && !options.run_tests.is_empty() => {
            refused("runTests can be used only with a testLevel of RunSpecifiedTests")
        }
        _ if org.production && !options.rollback_on_error => {
            refused("rollbackOnError must be true for deployments to production organizations")
        }
        _ => Ok(()),
    }
}

fn enqueue(
    org: &mut Org,
    now: Timestamp,
    options: DeployOptions,
    package: Package,
    validated: Option<String>,
) -> String {
    let id = org.new_id("0Af");
    if org.deploys.len() >= MOST {
        org.deploys.remove(0);
    }
    org.deploys.push(Deploy {
        id: id.clone(),
        options,
        package,
        validated,
        state: State::Pending,
        created: now,
        started: None,
        completed: None,
        outcome: Outcome::default(),
        step: 0,
    });
    id
}

/// Deploys what was validated: checked only, succeeded with its tests, at most ten days ago, and nothing deployed
/// since.
pub fn quick(org: &mut Org, now: Timestamp, validation: &str) -> Result<String, Refusal> {
    const NOT_ELIGIBLE: Refusal = Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id");
    let Some(at) = org.deploys.iter().position(|d| same_id(&d.id, validation)) else {
        return Err(NOT_ELIGIBLE);
    };
    let validated = &org.deploys[at];
    let in_time = validated.completed.is_some_and(|at| now.duration_since(at) <= VALIDATION_LIFE);
    let tested = validated.outcome.tests.asked;
    let deployed_since = org
        .deploys
        .iter()
        .any(|d| d.state == State::Succeeded && !d.options.check_only && d.completed >= validated.completed);
    let good = validated.options.check_only && validated.state == State::Succeeded;
    if !(good && in_time && tested) || deployed_since {
        return Err(NOT_ELIGIBLE);
    }
    let options = DeployOptions { check_only: false, ..validated.options.clone() };
    let (package, id) = (validated.package.clone(), validated.id.clone());
    Ok(enqueue(org, now, options, package, Some(id)))
}

/// Asks a deploy to stop. Answers whether it has already; `None` when there is no such deploy.
pub fn cancel(org: &mut Org, now: Timestamp, id: &str) -> Option<bool> {
    let deploy = org.deploys.iter_mut().find(|d| same_id(&d.id, id))?;
    match deploy.state {
        State::Pending => {
            deploy.state = State::Canceled;
            deploy.completed = Some(now);
        }
        State::InProgress => deploy.state = State::Canceling,
        _ => {}
    }
    Some(deploy.is_done())
}

/// Where a deploy stands, after the one that runs went a step further.
pub fn poll<'o>(org: &'o mut Org, now: Timestamp, id: &str) -> Option<&'o Deploy> {
    let at = org.deploys.iter().position(|d| same_id(&d.id, id))?;
    advance(org, now);
    org.deploys.get(at)
}

/// Ids are the same by their first fifteen characters.
fn same_id(a: &str, b: &str) -> bool {
    a.get(..15) == b.get(..15) && a.len() >= 15
}

fn advance(org: &mut Org, now: Timestamp) {
    let Some(at) = org.deploys.iter().position(|d| !d.is_done()) else { return };
    let mut deploy = org.deploys.remove(at);
    match deploy.state {
        State::Canceling => deploy.end(State::Canceled, now),
        State::Pending => {
            deploy.state = State::InProgress;
            deploy.started = Some(now);
            deploy.outcome = evaluate(org, &deploy);
        }
        State::InProgress => {
            deploy.step += 1;
            let endless = deploy.package.parts.iter().any(|p| p.name == NEVER_ENDS);
            if deploy.step >= deploy.steps() + org.faults.slow_deploy && !endless {
                finish(org, &mut deploy, now);
            }
        }
        State::Canceled | State::Failed | State::Succeeded => {}
    }
    org.deploys.insert(at, deploy);
}

fn evaluate(org: &Org, deploy: &Deploy) -> Outcome {
    let package = &deploy.package;
    let mut outcome = Outcome { failures: package.failures.clone(), ..Outcome::default() };
    let after = apply::preview(org, package);
    compile::check(org, &after, package, &mut outcome.successes, &mut outcome.failures);
    if !deploy.options.ignore_warnings {
        // A warning then counts as an error.
        outcome.failures.extend(outcome.successes.extract_if(.., |m| m.warning));
    }
    if outcome.failures.is_empty() && deploy.validated.is_none() {
        outcome.tests = testing::run(org, &after, package, &deploy.options);
    }
    outcome
}

fn finish(org: &mut Org, deploy: &mut Deploy, now: Timestamp) {
    if !deploy.outcome.is_good() {
        deploy.end(State::Failed, now);
        return;
    }
    if !deploy.options.check_only {
        apply::apply(org, &deploy.package, now);
        for message in &mut deploy.outcome.successes {
            let key = (message.kind.clone(), message.name.clone());
            message.id = org.components.get(&key).map(|c| c.id.clone());
        }
    }
    deploy.end(State::Succeeded, now);
}

impl Deploy {
    fn is_done(&self) -> bool {
        matches!(self.state, State::Canceled | State::Failed | State::Succeeded)
    }

    fn end(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.completed = Some(now);
    }

    /// Steps until it ends.
    fn steps(&self) -> u32 {
        COMPONENT_STEPS + (self.outcome.tests.total()).min(TEST_STEPS)
    }
}

#[cfg(test)]
mod tests;
