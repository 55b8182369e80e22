//! Deploys through the product's own client against the simulated org: what is refused, at which lines, what
//! runs, and that only a real deploy changes anything.

use std::io::Write as _;
use std::sync::Arc;

use jiff::SignedDuration;
use vynos::clock::Clock;
use vynos::egress::{Cause, Gate, Policy, Purpose};
use vynos::seal::Secret;
use vynos::sim::salesforce::{self, Options, SimulatedOrg};
use vynos::wire::salesforce::deploy::{DeployResult, DeployStatus, TestLevel};
use vynos::wire::salesforce::session::Session;
use vynos::wire::salesforce::{SalesforceError, zip as archives};

struct Rig {
    sim: SimulatedOrg,
    clock: Clock,
    session: Session,
}

async fn rig(production: bool) -> Rig {
    vynos::app::install_crypto();
    let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
    let options = Options { clock: clock.clone(), production, ..Options::default() };
    let sim = salesforce::start(options).await.unwrap();
    let policy = Policy { extra_salesforce: vec![sim.url().clone()], ..Policy::default() };
    let gate = Gate::new(policy, Clock::system(), Arc::new(|_| ())).unwrap();
    let cause = Cause { purpose: Purpose::Salesforce, workspace: None, account: None, why: "test".into() };
    let access = Secret::new(sim.access_token());
    let fresh = sim.access_token();
    let refresher = Arc::new(move |_| {
        let fresh = Secret::new(fresh.clone());
        Box::pin(async move { Ok(fresh) }) as _
    });
    let session = Session::new(gate, cause, sim.url().clone(), access, refresher);
    Rig { sim, clock, session }
}

impl Rig {
    async fn deploy(&self, zip: Vec<u8>, check_only: bool, level: TestLevel) -> DeployResult {
        let id = self.session.deploy(zip, check_only, &level).await.unwrap();
        self.finished(&id).await
    }

    async fn finished(&self, id: &str) -> DeployResult {
        for _ in 0..40 {
            let result = self.session.deploy_status(id).await.unwrap();
            if result.done {
                return result;
            }
        }
        panic!("the deploy never ends");
    }

    /// What a retrieve brings under this path.
    async fn retrieved(&self, kind: &str, name: &str, path: &str) -> Option<String> {
        let id = self.session.retrieve(&[(kind, vec![name.to_owned()])]).await.unwrap();
        let retrieved = loop {
            if let Some(retrieved) = self.session.retrieved(&id).await.unwrap() {
                break retrieved;
            }
        };
        let entries = archives::read(&retrieved.zip).unwrap();
        entries.into_iter().find(|e| e.path == path).map(|e| String::from_utf8(e.bytes).unwrap())
    }
}

const META: &str = "<?xml version=\"1.0\"?><ApexClass xmlns=\"http://soap.sforce.com/2006/04/metadata\">\
    <apiVersion>66.0</apiVersion><status>Active</status></ApexClass>";

fn manifest(members: &[(&str, &str)]) -> String {
    let types: String = members
        .iter()
        .map(|(kind, name)| format!("<types><members>{name}</members><name>{kind}</name></types>"))
        .collect();
    format!(
        "<?xml version=\"1.0\"?><Package xmlns=\"http://soap.sforce.com/2006/04/metadata\">{types}<version>66.0</version></Package>"
    )
}

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A package of classes with everything that belongs to them.
fn classes(sources: &[(&str, &str)]) -> Vec<u8> {
    let members: Vec<(&str, &str)> = sources.iter().map(|(name, _)| ("ApexClass", *name)).collect();
    let mut files = vec![("package.xml".to_owned(), manifest(&members))];
    for (name, source) in sources {
        files.push((format!("classes/{name}.cls"), (*source).to_owned()));
        files.push((format!("classes/{name}.cls-meta.xml"), META.to_owned()));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    zip(&files)
}

fn specified(names: &[&str]) -> TestLevel {
    TestLevel::RunSpecifiedTests(names.iter().map(|n| (*n).to_owned()).collect())
}

fn problems(result: &DeployResult) -> Vec<(&str, Option<u32>, &str)> {
    result.component_failures.iter().map(|f| (f.name.as_str(), f.line, f.message.as_str())).collect()
}

const GOOD: &str =
    "public with sharing class Wind {\n    public static Integer blades() {\n        return 3;\n    }\n}\n";
const GOOD_TEST: &str = "@IsTest\nprivate class WindTest {\n    @IsTest\n    static void three() {\n        \
    Assert.areEqual(3, Wind.blades());\n    }\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_changes_nothing_and_a_deploy_does() {
    let rig = rig(true).await;
    let package = classes(&[("Wind", GOOD), ("WindTest", GOOD_TEST)]);
    let id = rig.session.deploy(package.clone(), true, &specified(&["WindTest"])).await.unwrap();
    let first = rig.session.deploy_status(&id).await.unwrap();
    assert!(!first.done && first.status == DeployStatus::InProgress, "{first:?}");
    let result = rig.finished(&id).await;
    assert!(result.success, "{result:?}");
    assert_eq!((result.components_errors, result.tests_total, result.tests_completed), (0, 1, 1));
    assert_eq!(result.coverage.iter().filter(|c| c.class == "Wind").count(), 1);
    assert_eq!(rig.retrieved("ApexClass", "Wind", "classes/Wind.cls").await, None, "only validated");

    let result = rig.deploy(package, false, specified(&["WindTest"])).await;
    assert_eq!(result.status, DeployStatus::Succeeded, "{result:?}");
    assert_eq!(rig.retrieved("ApexClass", "Wind", "classes/Wind.cls").await.as_deref(), Some(GOOD));
    let rows: Vec<serde_json::Value> = rig
        .session
        .tooling_query(
            "SELECT Name, LastModifiedDate, LastModifiedBy.Name FROM ApexClass WHERE Name = 'Wind'",
        )
        .await
        .unwrap();
    assert_eq!(rows[0]["LastModifiedBy"]["Name"], "Vynos Integration");
    assert_eq!(rows[0]["LastModifiedDate"], "2026-11-23T09:00:00.000+0000");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_runs_all_local_tests_when_there_is_apex_and_refuses_none() {
    let rig = rig(true).await;
    let result =
        rig.deploy(classes(&[("Wind", GOOD), ("WindTest", GOOD_TEST)]), true, TestLevel::Default).await;
    assert!(result.success && result.tests_total > 30, "{result:?}");
    let refused =
        rig.session.deploy(classes(&[("Wind", GOOD)]), true, &TestLevel::NoTestRun).await.unwrap_err();
    assert!(
        refused.to_string().contains("testLevel of NoTestRun cannot be used in production organizations")
    );
    let refused = rig.session.deploy(classes(&[("Wind", GOOD)]), true, &specified(&[])).await.unwrap_err();
    assert!(refused.to_string().contains("runTests must not be empty"), "{refused}");

    let permission = "<PermissionSet xmlns=\"http://soap.sforce.com/2006/04/metadata\"><label>Wind</label></PermissionSet>";
    let package = manifest(&[("PermissionSet", "Wind")]);
    let files = [("package.xml", package.as_str()), ("permissionsets/Wind.permissionset", permission)];
    let result = rig.deploy(zip(&files), true, TestLevel::Default).await;
    assert!(result.success && result.tests_total == 0, "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_runs_no_tests_by_itself() {
    let rig = rig(false).await;
    let result = rig.deploy(classes(&[("Wind", GOOD)]), false, TestLevel::Default).await;
    assert!(result.success && result.tests_total == 0, "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_compile_is_refused_at_its_line() {
    let rig = rig(false).await;
    let cases = [
        ("public class A {\n    void f() {\n        Integer x = 1\n    }\n}", 4, "Missing ';' at '}'"),
        ("public class A {\n    Missing m;\n}", 2, "Invalid type: Missing"),
        (
            "public class A {\n    void f() {\n        Nowhere.run();\n    }\n}",
            3,
            "Variable does not exist: Nowhere",
        ),
        (
            "public class A {\n    String f() {\n        return HelloWorld.greet();\n    }\n}",
            3,
            "Method does not exist or incorrect signature: void greet() from the type HelloWorld",
        ),
        (
            "public class A {\n    void f(Meter__c m) {\n        m.Colour__c = 'x';\n    }\n}",
            3,
            "Variable does not exist: Colour__c",
        ),
        ("public class B {}", 1, "File name mismatch with class name: B"),
    ];
    for (source, line, message) in cases {
        let result = rig.deploy(classes(&[("A", source)]), true, TestLevel::Default).await;
        assert_eq!(problems(&result), [("A", Some(line), message)], "{source}");
        assert_eq!((result.status, result.components_errors), (DeployStatus::Failed, 1));
        assert_eq!(result.component_failures[0].file, "classes/A.cls");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_others_need_keeps_what_they_call() {
    let rig = rig(false).await;
    let result =
        rig.deploy(classes(&[("HelloWorld", "public class HelloWorld {}")]), true, TestLevel::Default).await;
    let [(name, _, message)] = problems(&result)[..] else { panic!("{result:?}") };
    assert_eq!(name, "HelloWorld");
    assert!(
        message.starts_with("Dependent class is invalid and needs recompilation:\n Class HelloWorldTest : ")
    );

    let files = [
        ("package.xml", manifest(&[])),
        ("destructiveChanges.xml", manifest(&[("ApexClass", "HelloWorld")])),
    ];
    let files = files.each_ref().map(|(n, t)| (*n, t.as_str()));
    let result = rig.deploy(zip(&files), true, TestLevel::Default).await;
    assert!(problems(&result)[0].2.ends_with(": Apex Class - HelloWorldTest"), "{result:?}");

    let both =
        manifest(&[("ApexClass", "HelloWorld"), ("ApexClass", "HelloWorldTest"), ("ApexClass", "Ghost")]);
    let files = [("package.xml", manifest(&[])), ("destructiveChanges.xml", both)];
    let files = files.each_ref().map(|(n, t)| (*n, t.as_str()));
    let result = rig.deploy(zip(&files), false, TestLevel::Default).await;
    assert_eq!(problems(&result), [("Ghost", None, "No ApexClass named: Ghost found")]);
    assert!(rig.retrieved("ApexClass", "HelloWorld", "classes/HelloWorld.cls").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_does_not_fit_its_files_is_refused() {
    let rig = rig(false).await;
    let one = manifest(&[("ApexClass", "A")]);
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("classes/A.cls", "public class A {}")], "No package.xml found"),
        (
            &[("package.xml", &one)],
            "An object 'A' of type ApexClass was named in package.xml, but was not found in zipped directory",
        ),
        (
            &[("package.xml", &one), ("classes/A.cls", "public class A {}")],
            "Metadata file classes/A.cls-meta.xml is missing",
        ),
        (
            &[
                ("package.xml", &manifest(&[])),
                ("classes/A.cls", "public class A {}"),
                ("classes/A.cls-meta.xml", META),
            ],
            "Not in package.xml",
        ),
        (
            &[("package.xml", &manifest(&[("Spaceship", "A")]))],
            "Unknown type name 'Spaceship' specified in package.xml",
        ),
    ];
    for (files, message) in cases {
        let result = rig.deploy(zip(files), true, TestLevel::Default).await;
        assert_eq!(problems(&result).iter().map(|p| p.2).collect::<Vec<_>>(), [message]);
    }
    let refused = rig.session.deploy(b"no zip".to_vec(), true, &TestLevel::Default).await.unwrap_err();
    assert!(refused.to_string().contains("zip"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_fail_by_their_literals_and_coverage_by_declared_rules() {
    let rig = rig(true).await;
    let failing =
        GOOD_TEST.replace("Assert.areEqual(3, Wind.blades())", "Assert.areEqual(3, 2 + 2, 'blades')");
    let result =
        rig.deploy(classes(&[("Wind", GOOD), ("WindTest", &failing)]), true, specified(&["WindTest"])).await;
    assert_eq!((result.status, result.tests_errors), (DeployStatus::Failed, 1));
    let failure = &result.test_failures[0];
    assert_eq!((failure.class.as_str(), failure.method.as_str()), ("WindTest", "three"));
    assert_eq!(failure.message, "System.AssertException: Assertion Failed: blades: Expected: 3, Actual: 4");
    assert_eq!(failure.stack, "Class.WindTest.three: line 5, column 9");

    let thin = format!("// sim: coverage 40\n{GOOD}");
    let result = rig
        .deploy(classes(&[("Wind", &thin), ("WindTest", GOOD_TEST)]), true, specified(&["WindTest"]))
        .await;
    assert_eq!(result.status, DeployStatus::Failed);
    assert_eq!(
        result.coverage_warnings,
        ["Wind: Test coverage of selected Apex Class is 0%, at least 75% test coverage is required"]
    );
    let result = rig.deploy(classes(&[("Wind", GOOD)]), true, specified(&["Nobody"])).await;
    assert!(result.test_failures[0].message.contains("Nobody"), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_is_deployed_once_within_ten_days() {
    let rig = rig(true).await;
    let package = classes(&[("Wind", GOOD), ("WindTest", GOOD_TEST)]);
    let validated = rig.deploy(package.clone(), true, specified(&["WindTest"])).await;
    rig.clock.advance(SignedDuration::from_hours(24 * 10 + 1));
    assert!(rig.session.deploy_validated(&validated.id).await.is_err(), "too late");

    let validated = rig.deploy(package.clone(), true, specified(&["WindTest"])).await;
    let id = rig.session.deploy_validated(&validated.id).await.unwrap();
    let result = rig.finished(&id).await;
    assert!(result.success && result.tests_total == 0, "{result:?}");
    assert!(rig.retrieved("ApexClass", "Wind", "classes/Wind.cls").await.is_some());
    rig.clock.advance(SignedDuration::from_mins(1));
    assert!(rig.session.deploy_validated(&validated.id).await.is_err(), "something was deployed since");
    assert!(rig.session.deploy_validated(&result.id).await.is_err(), "that was no validation");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_deploy_runs_at_a_time_and_can_be_cancelled() {
    let rig = rig(false).await;
    let slow = classes(&[("SlowClass", "public class SlowClass {}")]);
    let first = rig.session.deploy(slow, false, &TestLevel::Default).await.unwrap();
    let second = rig.session.deploy(classes(&[("Wind", GOOD)]), false, &TestLevel::Default).await.unwrap();
    for _ in 0..10 {
        assert_eq!(rig.session.deploy_status(&first).await.unwrap().status, DeployStatus::InProgress);
        assert_eq!(rig.session.deploy_status(&second).await.unwrap().status, DeployStatus::Pending);
    }
    rig.session.cancel_deploy(&first).await.unwrap();
    let stopped = rig.finished(&first).await;
    assert_eq!((stopped.status, stopped.success), (DeployStatus::Canceled, false));
    assert!(rig.finished(&second).await.success);
    assert_eq!(rig.retrieved("ApexClass", "SlowClass", "classes/SlowClass.cls").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_added_to_an_object_and_taken_out_again() {
    let rig = rig(false).await;
    let object = "<CustomObject xmlns=\"http://soap.sforce.com/2006/04/metadata\"><fields><fullName>Blades__c</fullName>\
        <label>Blades</label><type>Number</type></fields></CustomObject>";
    let package = manifest(&[("CustomField", "Meter__c.Blades__c")]);
    let files = [("package.xml", package.as_str()), ("objects/Meter__c.object", object)];
    let result = rig.deploy(zip(&files), false, TestLevel::Default).await;
    assert!(result.success, "{result:?}");
    let described = rig.session.describe("Meter__c").await.unwrap();
    assert!(described.fields.iter().any(|f| f.name == "Blades__c"));
    assert!(described.fields.iter().any(|f| f.name == "Serial_Number__c"), "the other fields stay");

    let files = [("package.xml", manifest(&[])), ("destructiveChanges.xml", package)];
    let files = files.each_ref().map(|(n, t)| (*n, t.as_str()));
    assert!(rig.deploy(zip(&files), false, TestLevel::Default).await.success);
    let described = rig.session.describe("Meter__c").await.unwrap();
    assert!(!described.fields.iter().any(|f| f.name == "Blades__c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_are_repeated_and_a_submit_never_is() {
    let rig = rig(false).await;
    let package = classes(&[("Wind", GOOD)]);
    let id = rig.session.deploy(package.clone(), true, &TestLevel::Default).await.unwrap();
    rig.sim.misbehave(|faults| faults.fail_next = Some((2, 503)));
    assert!(!rig.session.deploy_status(&id).await.unwrap().done, "the third poll is answered");

    rig.sim.misbehave(|faults| faults.fail_next = Some((1, 500)));
    let lost = rig.session.deploy(package.clone(), true, &TestLevel::Default).await.unwrap_err();
    assert!(matches!(lost, SalesforceError::AnswerLost(_)) && !lost.may_pass(), "{lost}");
    let before = rig.session.calls();
    rig.sim.expire_access_tokens();
    let gone = rig.session.deploy(package, true, &TestLevel::Default).await.unwrap_err();
    assert!(matches!(gone, SalesforceError::NeedsReauth(_)), "{gone}");
    assert_eq!(rig.session.calls() - before, 2, "refused calls are made again, and counted");
}
