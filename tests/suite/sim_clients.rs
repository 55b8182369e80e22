//! Other people's clients against the simulated org, and what its faults do to ours.

use std::sync::Arc;

use serde_json::{Value, json};
use vynos::clock::Clock;
use vynos::egress::{Cause, Gate, Policy, Purpose};
use vynos::seal::Secret;
use vynos::sim::salesforce::{self, Consent, Options, OrgSize, SimulatedOrg};
use vynos::wire::salesforce::SalesforceError;
use vynos::wire::salesforce::deploy::TestLevel;
use vynos::wire::salesforce::session::Session;

/// The clients are fetched by tests/run: `v/bin/python` with simple-salesforce, and `node_modules/jsforce`.
#[tokio::test(flavor = "multi_thread")]
async fn jsforce_and_simple_salesforce_query_describe_deploy_and_retrieve() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/salesforce-clients");
    assert!(
        folder.join("ready").exists(),
        "tests/.cache/salesforce-clients is missing: run tests/run, which fetches it"
    );
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sdks");
    for (program, script) in
        [(folder.join("v/bin/python"), "salesforce.py"), ("node".into(), "salesforce.mjs")]
    {
        let sim = salesforce::start(Options { production: false, ..Options::default() }).await.unwrap();
        let work = tempfile::tempdir().unwrap();
        let mut command = tokio::process::Command::new(program);
        command.arg(format!("{scripts}/{script}")).env("SDKS", &folder).env("WORK", work.path());
        command.env("SALESFORCE_URL", sim.url().as_str().trim_end_matches('/'));
        command.env("SALESFORCE_TOKEN", sim.access_token());
        let done = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(
            done.status.success() && said.trim().ends_with("ok"),
            "{script}: {said}{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

struct Rig {
    sim: SimulatedOrg,
    session: Session,
    client: reqwest::Client,
}

#[expect(clippy::disallowed_methods, reason = "a test calls the simulator as a foreign client does")]
async fn rig(size: OrgSize) -> Rig {
    vynos::app::install_crypto();
    let sim = salesforce::start(Options { size, ..Options::default() }).await.unwrap();
    let policy = Policy { extra_salesforce: vec![sim.url().clone()], ..Policy::default() };
    let gate = Gate::new(policy, Clock::system(), Arc::new(|_| ())).unwrap();
    let cause = Cause { purpose: Purpose::Salesforce, workspace: None, account: None, why: "test".into() };
    let (access, fresh) = (Secret::new(sim.access_token()), sim.access_token());
    let refresher = Arc::new(move |_| {
        let fresh = Secret::new(fresh.clone());
        Box::pin(async move { Ok(fresh) }) as _
    });
    let session = Session::new(gate, cause, sim.url().clone(), access, refresher);
    Rig { sim, session, client: reqwest::Client::new() }
}

impl Rig {
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request =
            self.client.post(self.sim.url().join(path).unwrap()).bearer_auth(self.sim.access_token());
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn faults(&self, body: Value) {
        assert_eq!(self.post("/_sim/faults", body).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_a_lost_submit_and_a_repeated_poll() {
    let rig = rig(OrgSize::Small).await;
    rig.faults(json!({ "cut_next": 1 })).await;
    let zip = std::io::Cursor::new(Vec::new());
    let mut zip = zip::ZipWriter::new(zip);
    zip.start_file("package.xml", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut zip, b"<Package><version>66.0</version></Package>").unwrap();
    let package = zip.finish().unwrap().into_inner();
    let lost = rig.session.deploy(package.clone(), true, &TestLevel::Default).await.unwrap_err();
    assert!(matches!(lost, SalesforceError::AnswerLost(_)), "{lost}");

    let id = rig.session.deploy(package, true, &TestLevel::Default).await.unwrap();
    rig.faults(json!({ "cut_next": 2 })).await;
    assert!(!rig.session.deploy_status(&id).await.unwrap().done, "the lost one runs first");
    rig.faults(json!({ "drip": { "bytes": 64, "millis": 1 } })).await;
    assert!(!rig.session.organization().await.unwrap().is_sandbox);
    rig.faults(json!({ "reset": true, "remaining_calls": 0 })).await;
    assert!(matches!(rig.session.limits().await, Err(SalesforceError::LimitReached)));
    rig.faults(json!({ "reset": true, "revoke": true })).await;
    assert!(matches!(rig.session.limits().await, Err(SalesforceError::NeedsReauth(_))));
    assert_eq!(rig.sim.live_tokens(), 0);
    assert_ne!(rig.post("/_sim/faults", json!({ "typo": 1 })).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn composites_answer_many_reads_and_count_as_the_real_ones() {
    let rig = rig(OrgSize::Small).await;
    let part = |url: &str, id: &str| json!({ "method": "GET", "url": url, "referenceId": id });
    let before = rig.sim.calls();
    let asked = json!({ "compositeRequest": [
        part("/services/data/v66.0/sobjects/Meter__c/describe", "a"),
        part("/services/data/v66.0/query?q=SELECT+COUNT()+FROM+Account", "b"),
        part("/services/data/v66.0/nowhere", "c"),
    ] });
    let (status, answer) = rig.post("/services/data/v66.0/composite", asked).await;
    assert_eq!((status, rig.sim.calls() - before), (200, 1), "{answer}");
    let parts = answer["compositeResponse"].as_array().unwrap();
    assert_eq!(parts[0]["body"]["name"], "Meter__c");
    assert_eq!((&parts[1]["body"]["totalSize"], &parts[1]["referenceId"]), (&json!(2400), &json!("b")));
    assert_eq!(
        (&parts[2]["httpStatusCode"], &parts[2]["body"][0]["errorCode"]),
        (&json!(404), &json!("NOT_FOUND"))
    );

    let before = rig.sim.calls();
    let asked = json!({ "haltOnError": true, "batchRequests": [
        part("v66.0/limits", ""), part("v66.0/nowhere", ""), part("v66.0/limits", ""),
    ] });
    let (_, answer) = rig.post("/services/data/v66.0/composite/batch", asked).await;
    assert_eq!(rig.sim.calls() - before, 2, "each that was tried counts");
    assert_eq!(answer["results"][2]["statusCode"], 412, "{answer}");
    let many: Vec<Value> = (0..26).map(|_| part("/services/data/v66.0/limits", "x")).collect();
    assert_eq!(rig.post("/services/data/v66.0/composite", json!({ "compositeRequest": many })).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_org_is_queried_page_by_page_and_retrieved() {
    let rig = rig(OrgSize::OneThousand).await;
    let rows: Vec<Value> =
        rig.session.tooling_query("SELECT Id, Name FROM ApexClass ORDER BY Name").await.unwrap();
    assert!(rows.len() > 480, "{}", rows.len());
    let types = [("ApexClass", vec!["*".to_owned()]), ("LightningComponentBundle", vec!["*".to_owned()])];
    let id = rig.session.retrieve(&types).await.unwrap();
    let retrieved = loop {
        if let Some(retrieved) = rig.session.retrieved(&id).await.unwrap() {
            break retrieved;
        }
    };
    let bundles = retrieved.files.iter().filter(|f| f.file_name.contains(".html")).count();
    assert!(bundles > 80, "{bundles}");
    assert!(
        retrieved.files.iter().any(|f| f.file_name == "unpackaged/lwc/renewalOverview/renewalOverview.css")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_org_too_large_for_one_retrieve_is_synced_type_by_type_with_its_bundles() {
    let rig = super::orgs::rig(Consent::Auto).await;
    rig.sim.misbehave(|faults| faults.retrieve_files = Some(200));
    rig.connect().await;
    rig.synced().await;
    let base = "/w/halden-energy/o/production/metadata";
    let bundle = rig.ada.get(&format!("{base}/LightningComponentBundle/renewalOverview")).await;
    assert!(bundle.status == 200 && bundle.body.contains("RenewalOverview"), "{}", bundle.body);
    assert_eq!(rig.ada.get(&format!("{base}/Flow/Outage_Follow_Up")).await.status, 200);
    let listed = rig.ada.get(&format!("{base}?type=LightningComponentBundle")).await;
    assert!(listed.body.contains("meterReadingEntry"), "{}", listed.body);
}
