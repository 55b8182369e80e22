//! Deploying: only a person's approval of the validated bytes leads there, under the policy of the org.

use jiff::SignedDuration;
use serde_json::{Value, json};
use vynos::identity::Role;
use vynos::identity::control::Note;
use vynos::store::Read as _;
use vynos::store::audit::{AUDIT, Action, Actor};

use crate::access::{person, signed_in};
use crate::deployments::{BASE, Bench, GREETER, TEST, pause};
use crate::harness::{Client, PASSWORD};

const NAME: &str = "Production";

impl Bench {
    /// A validated change set and the hash of its package.
    async fn green(&self) -> (String, String) {
        let id = self.drafted(&[("classes/Greeter.cls", GREETER), ("classes/GreeterTest.cls", TEST)]).await;
        let set = self.validated(&id).await;
        assert_eq!(set["status"], "validated", "{set}");
        (id, set["hash"].as_str().unwrap().to_owned())
    }

    pub async fn approve(&self, who: &Client, id: &str, hash: &str, name: &str, then: &str) -> u16 {
        let fields = [("hash", hash), ("name", name), ("then", then)];
        who.post(&format!("{BASE}/{id}/approve"), &fields).await.status
    }

    pub async fn policy(&self, policy: &str) {
        let answer =
            self.ada().post("/w/halden-energy/o/production/deploy-policy", &[("policy", policy)]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
    }

    /// Signs somebody in who has this role.
    async fn colleague(&self, name: &str, role: Role) -> Client {
        let control = &self.rig.server.app().web.control;
        let (workspace, _) = control.workspace_by_slug("halden-energy").unwrap().unwrap();
        let id = person(control, name);
        let note = Note::new(Actor::Operator, Action::AccountChanged, id);
        control.change_now(note, |tx| control.put_member(tx, workspace, id, role)).unwrap();
        signed_in(&self.rig.server, name).await
    }

    /// Lets time pass; sessions end by then, so Ada signs in again.
    async fn later(&self, hours: i64) {
        self.rig.server.clock.advance(SignedDuration::from_hours(hours));
        self.ada().forget_csrf();
        assert_eq!(self.ada().sign_in("ada@halden.example", PASSWORD).await.status, 303);
    }

    /// The source of a class as the org holds it.
    fn class(&self, name: &str) -> String {
        let mut found = String::new();
        self.rig.sim.edit("ApexClass", name, |source| {
            source.clone_into(&mut found);
            found.clone()
        });
        found
    }

    async fn status(&self, id: &str) -> Value {
        self.json("GET", &format!("/{id}"), Value::Null).await["status"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_click_changes_the_org_and_the_next_sync_has_it_in_the_history() {
    let bench = Bench::new().await;
    let (id, hash) = bench.green().await;
    let approve = bench.ada().get(&format!("{BASE}/{id}/approve")).await;
    assert!(
        approve.status == 200
            && approve.body.contains(&hash)
            && approve.body.contains("Type the name of the org"),
        "{}",
        approve.body
    );
    assert_eq!(
        bench.approve(bench.ada(), &id, &hash, "production", "deploy").await,
        422,
        "the name was typed wrong"
    );
    assert_eq!(
        bench.approve(bench.ada(), &id, "0000", NAME, "deploy").await,
        409,
        "other bytes than the page showed"
    );
    assert_eq!(bench.status(&id).await, "validated");
    assert_eq!(bench.approve(bench.ada(), &id, &hash, NAME, "deploy").await, 303);
    assert_eq!(
        bench.approve(bench.ada(), &id, &hash, NAME, "deploy").await,
        303,
        "a second click finds it done"
    );
    let set = bench.settled(&id).await;
    assert_eq!(set["status"], "deployed", "{set}");
    bench.rig.synced().await;
    let class = bench.ada().get("/w/halden-energy/o/production/metadata/ApexClass/Greeter").await;
    assert!(class.status == 200 && class.body.contains("Added"), "{}", class.body);
    for _ in 0..300 {
        if bench.page(&id).await.contains("The org holds these files") {
            break;
        }
        pause().await;
    }
    let page = bench.page(&id).await;
    assert!(page.contains("The org holds these files") && page.contains("Draft the rollback"), "{page}");
    assert_eq!(page.matches("<td class=\"t\">Deployment").count(), 1, "two clicks are one deployment");
    let back = bench.ada().post(&format!("{BASE}/{id}/roll-back"), &[]).await;
    let draft = back.location().rsplit('/').next().unwrap().to_owned();
    let set = bench.json("GET", &format!("/{draft}"), Value::Null).await;
    let gone: Vec<(&str, bool)> = set["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["path"].as_str().unwrap(), f["content"].is_null()))
        .collect();
    assert_eq!(gone, [("classes/Greeter.cls", true), ("classes/GreeterTest.cls", true)]);
    let ws = bench
        .rig
        .server
        .app()
        .web
        .door
        .for_runner(bench.rig.server.app().web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0)
        .unwrap();
    let acts: Vec<&str> =
        ws.read().unwrap().scan(&AUDIT).rows().unwrap().into_iter().map(|(_, e)| e.action.name()).collect();
    for act in [
        "change_set.proposed",
        "validation.requested",
        "deployment.approved",
        "deployment.released",
        "deployment.submitted",
        "deployment.ended",
    ] {
        assert!(acts.contains(&act), "{act}: {acts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_back_what_stood_there() {
    let bench = Bench::new().await;
    let before = bench.class("ContractRollup");
    let after = before.replace("update accounts;", "update as user accounts;");
    let id = bench.drafted_with(&[("classes/ContractRollup.cls", &after)], &["ContractRollupTest"]).await;
    let set = bench.validated(&id).await;
    assert_eq!(set["status"], "validated", "{set}");
    let hash = set["hash"].as_str().unwrap();
    assert_eq!(bench.approve(bench.ada(), &id, hash, NAME, "deploy").await, 303);
    assert_eq!(bench.settled(&id).await["status"], "deployed");
    assert_eq!(bench.class("ContractRollup"), after);
    let draft =
        bench.json("POST", &format!("/{id}/rollback"), Value::Null).await["id"].as_str().unwrap().to_owned();
    let set = bench.json("GET", &format!("/{draft}"), Value::Null).await;
    let file =
        set["files"].as_array().unwrap().iter().find(|f| f["path"] == "classes/ContractRollup.cls").unwrap();
    assert_eq!(file["content"].as_str().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_token_releases_only_bytes_that_a_person_approved() {
    let bench = Bench::new().await;
    let (id, hash) = bench.green().await;
    let path = format!("/{id}/deploy");
    let refused = async |body: Value, why: &str| {
        let answer = bench.call("POST", &path, body).await;
        assert_eq!(answer.status, 409, "{why}: {}", answer.body);
    };
    refused(Value::Null, "nobody approved").await;
    refused(json!({ "hash": hash }), "nobody approved this hash").await;
    let cookie_paths = [format!("{BASE}/{id}/approve"), format!("{BASE}/{id}/release")];
    for page in &cookie_paths {
        let client = bench.rig.server.client();
        let tried = client
            .send(client.request("POST", page).bearer_auth(&bench.token).form(&[("hash", &hash)]))
            .await;
        assert!(matches!(tried.status, 303 | 401 | 403), "{page}: {}", tried.status);
    }
    assert_eq!(bench.status(&id).await, "validated", "a token approves nothing");
    assert_eq!(bench.approve(bench.ada(), &id, &hash, NAME, "approve").await, 303);
    assert_eq!(bench.status(&id).await, "approved");
    refused(json!({ "hash": "0".repeat(64) }), "another hash").await;
    bench.edited(&id, "classes/Greeter.cls", GREETER, &GREETER.replace("Hello", "Hi")).await;
    refused(json!({ "hash": hash }), "edited since").await;
    bench.edited(&id, "classes/Greeter.cls", &GREETER.replace("Hello", "Hi"), GREETER).await;
    refused(json!({ "hash": hash }), "the validation was of another draft").await;
    let set = bench.validated(&id).await;
    assert_eq!(set["hash"], hash.as_str(), "the same files give the same bytes");
    refused(Value::Null, "the approval was of another validation").await;
    assert_eq!(bench.approve(bench.ada(), &id, &hash, NAME, "approve").await, 303);
    bench.later(25).await;
    refused(Value::Null, "the approval has ended").await;
    assert_eq!(bench.approve(bench.ada(), &id, &hash, NAME, "approve").await, 303);
    let released = bench.call("POST", &path, json!({ "hash": hash })).await;
    assert_eq!(released.status, 202, "{}", released.body);
    assert_eq!(bench.settled(&id).await["status"], "deployed");
    refused(Value::Null, "it is used up").await;
}

/// No tool, no job and no page of another slice can name what leads to a deployment.
#[test]
fn p6_only_the_page_and_the_api_release() {
    fn walk(dir: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let names = ["release(", "standing(", "Approved", "approve("];
                if names.iter().any(|name| source.contains(name)) && source.contains("deployments") {
                    found.push(path.file_name().unwrap().to_string_lossy().into_owned());
                }
            }
        }
    }
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&src).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("deployments") {
            walk(&path, &mut found);
        }
    }
    assert_eq!(found, ["change_sets.rs"], "only the API's deploy may release, beside the page");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_the_org_decides_who_deploys() {
    let bench = Bench::new().await;
    let member = bench.colleague("member", Role::Member).await;
    let viewer = bench.colleague("viewer", Role::Viewer).await;
    let (id, hash) = bench.green().await;
    assert_eq!(bench.approve(&viewer, &id, &hash, NAME, "deploy").await, 403);
    assert_eq!(viewer.post(&format!("{BASE}/{id}/validate"), &[]).await.status, 403);
    assert!(!viewer.get(&format!("{BASE}/{id}")).await.body.contains("Approve…"));
    assert_eq!(bench.approve(&member, &id, &hash, NAME, "deploy").await, 403, "production is for admins");
    assert_eq!(
        member.post("/w/halden-energy/o/production/deploy-policy", &[("policy", "members")]).await.status,
        403
    );
    for policy in ["off", "validate_only"] {
        bench.policy(policy).await;
        assert_eq!(bench.approve(bench.ada(), &id, &hash, NAME, "deploy").await, 409, "{policy}");
    }
    bench.policy("off").await;
    assert_eq!(
        bench.ada().post(&format!("{BASE}/{id}/validate"), &[]).await.status,
        409,
        "off validates nothing"
    );
    bench.policy("four_eyes").await;
    assert_eq!(
        bench.approve(bench.ada(), &id, &hash, NAME, "approve").await,
        409,
        "the author is no second person"
    );
    assert_eq!(bench.approve(&member, &id, &hash, NAME, "deploy").await, 303);
    assert_eq!(bench.status(&id).await, "approved", "approving deploys nothing under four eyes");
    let release = format!("{BASE}/{id}/release");
    assert_eq!(member.post(&release, &[("hash", &hash)]).await.status, 409, "the approver does not deploy");
    assert_eq!(bench.ada().post(&release, &[("hash", "0")]).await.status, 409);
    bench.policy("validate_only").await;
    assert_eq!(
        bench.ada().post(&release, &[("hash", &hash)]).await.status,
        409,
        "the policy counts when it is released"
    );
    bench.policy("four_eyes").await;
    assert_eq!(bench.ada().post(&release, &[("hash", &hash)]).await.status, 303);
    assert_eq!(bench.settled(&id).await["status"], "deployed");
    bench.policy("members").await;
    let id = bench
        .drafted(&[
            ("classes/Other.cls", &GREETER.replace("Greeter", "Other")),
            ("classes/OtherTest.cls", &TEST.replace("Greeter", "Other")),
        ])
        .await;
    let set = bench.validated(&id).await;
    assert_eq!(set["status"], "validated", "{set}");
    assert_eq!(bench.approve(&member, &id, set["hash"].as_str().unwrap(), NAME, "deploy").await, 303);
    assert_eq!(bench.settled(&id).await["status"], "deployed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_in_the_org_after_the_validation_is_not_overwritten() {
    let bench = Bench::new().await;
    let before = bench.class("ContractRollup");
    let files =
        [("classes/ContractRollup.cls", before.replace("update accounts;", "update as user accounts;"))];
    let files: Vec<(&str, &str)> = files.iter().map(|(p, c)| (*p, c.as_str())).collect();
    let id = bench.drafted_with(&files, &["ContractRollupTest"]).await;
    let set = bench.validated(&id).await;
    assert_eq!(set["status"], "validated", "{set}");
    bench.rig.sim.edit("ApexClass", "ContractRollup", |source| format!("{source}// by hand\n"));
    let hash = set["hash"].as_str().unwrap();
    assert_eq!(bench.approve(bench.ada(), &id, hash, NAME, "deploy").await, 303);
    let set = bench.settled(&id).await;
    assert_eq!(set["status"], "deploy_failed", "{set}");
    let page = bench.page(&id).await;
    assert!(
        page.contains("Somebody changed this in the org after the validation: classes/ContractRollup.cls"),
        "{page}"
    );
    assert!(bench.class("ContractRollup").contains("by hand"));
    bench.rig.server.clock.advance(SignedDuration::from_hours(1));
    bench.ada().post("/w/halden-energy/o/production/sync", &[]).await;
    bench.rig.synced().await;
    assert!(bench.page(&id).await.contains("has changed since"), "the page warns after a sync");
    let set = bench.validated(&id).await;
    assert_eq!(set["changed_in_org"], json!([]), "{set}");
    assert!(bench.page(&id).await.contains("// by hand"), "the difference is now against what stands there");
    // Salesforce keeps a validation for ten days.
    bench.rig.server.clock.advance(SignedDuration::from_hours(24 * 10) - SignedDuration::from_secs(1));
    assert_eq!(bench.status(&id).await, "validated");
    bench.rig.server.clock.advance(SignedDuration::from_secs(2));
    bench.later(0).await;
    assert_eq!(bench.status(&id).await, "expired");
    assert_eq!(bench.approve(bench.ada(), &id, set["hash"].as_str().unwrap(), NAME, "deploy").await, 409);
}
