//! Change sets against the simulated org: drafted, checked, validated, approved by a person, deployed, taken back.

use std::time::Duration;

use serde_json::{Value, json};
use vynos::sim::salesforce::Consent;

use crate::harness::{Answer, Client};
use crate::orgs::{Rig, rig};

pub const BASE: &str = "/w/halden-energy/o/production/deployments";
pub const GREETER: &str = "public with sharing class Greeter {
    public static String greet(String name) {
        String who = name;
        if (String.isBlank(who)) {
            who = 'world';
        }
        return 'Hello ' + who;
    }
}
";
pub const TEST: &str = "@IsTest\nprivate class GreeterTest {\n    @IsTest\n    static void greets() {\n        Assert.areEqual('Hello Ada', Greeter.greet('Ada'));\n    }\n}\n";

/// A rig whose org is synced, with a token that may do everything a token may.
pub struct Bench {
    pub rig: Rig,
    pub token: String,
    pub org: String,
}

impl Bench {
    pub async fn new() -> Self {
        let rig = rig(Consent::Auto).await;
        rig.connect().await;
        rig.synced().await;
        let fields =
            [("name", "ci"), ("days", "30"), ("scope", "read"), ("scope", "change"), ("scope", "deploy")];
        let made = rig.ada.post("/w/halden-energy/tokens", &fields).await;
        let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
        let orgs = rig
            .server
            .client()
            .send(rig.server.client().request("GET", "/api/v1/orgs").bearer_auth(&token))
            .await;
        let orgs: Value = serde_json::from_str(&orgs.body).unwrap();
        let org = orgs["items"][0]["id"].as_str().unwrap().to_owned();
        Self { rig, token, org }
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let client = self.rig.server.client();
        let request = client.request(method, &format!("/api/v1/change-sets{path}")).bearer_auth(&self.token);
        client.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    pub async fn json(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.call(method, path, body).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub async fn drafted(&self, files: &[(&str, &str)]) -> String {
        self.drafted_with(files, &[]).await
    }

    /// A draft that existing test classes validate.
    pub async fn drafted_with(&self, files: &[(&str, &str)], tests: &[&str]) -> String {
        let files: Vec<Value> =
            files.iter().map(|(path, content)| json!({ "path": path, "content": content })).collect();
        let body = json!({ "org": self.org, "title": "Greet people", "files": files, "tests": tests });
        self.json("POST", "", body).await["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a run has ended and answers the change set.
    pub async fn settled(&self, id: &str) -> Value {
        let mut set = Value::Null;
        for _ in 0..1_500 {
            set = self.json("GET", &format!("/{id}"), Value::Null).await;
            if !matches!(set["status"].as_str(), Some("validating" | "deploying")) {
                return set;
            }
            pause().await;
        }
        panic!("the run never ended: {set}");
    }

    pub async fn validated(&self, id: &str) -> Value {
        assert_eq!(self.ada().post(&format!("{BASE}/{id}/validate"), &[]).await.status, 303);
        self.settled(id).await
    }

    /// Saves a file in the editor, as a browser would send it.
    pub async fn edited(&self, id: &str, path: &str, before: &str, after: &str) {
        let edit = format!("{BASE}/{id}/edit?file={path}");
        let form = self.ada().get(&edit).await;
        let seen = form.between("name=\"base\" value=\"", "\"").unwrap();
        assert_eq!(
            seen,
            vynos::seal::hex(ring::digest::digest(&ring::digest::SHA256, before.as_bytes()).as_ref())
        );
        let sent = after.replace('\n', "\r\n");
        let saved = self.ada().post(&edit, &[("base", &seen), ("source", &sent), ("then", "save")]).await;
        assert_eq!(saved.status, 303, "{}", saved.body);
    }

    pub fn ada(&self) -> &Client {
        &self.rig.ada
    }

    pub async fn page(&self, id: &str) -> String {
        let page = self.ada().get(&format!("{BASE}/{id}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page.body
    }
}

pub async fn pause() {
    tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_shows_its_difference_and_its_syntax_errors_at_their_lines() {
    let bench = Bench::new().await;
    let broken = GREETER.replace("+ who;", "+ who");
    let id = bench
        .drafted(&[
            ("classes/Greeter.cls", &broken),
            ("classes/HelloWorld.cls", "public class HelloWorld {}\n"),
        ])
        .await;
    let page = bench.page(&id).await;
    assert!(
        page.contains("Greet people")
            && page.contains("<tr class=\"a\">")
            && page.contains("<tr class=\"d\">")
    );
    assert!(
        page.contains("Error at line 8") && page.contains("Missing &#39;;&#39; at &#39;}&#39;"),
        "{page}"
    );
    let list = bench.ada().get(BASE).await;
    assert!(list.body.contains("Drafts") && list.body.contains(&id), "{}", list.body);
    let edit = bench.ada().get(&format!("{BASE}/{id}/edit?file=classes/Greeter.cls")).await;
    assert!(edit.status == 200 && edit.body.contains("<textarea"), "{}", edit.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn salesforce_names_the_line_of_an_error_and_the_test_that_fails_until_both_are_mended() {
    let bench = Bench::new().await;
    let unknown = GREETER.replace("'Hello ' + who", "Nowhere.hello(who)");
    let wrong = TEST.replace(
        "Assert.areEqual('Hello Ada', Greeter.greet('Ada'));",
        "Greeter.greet('Ada');\n        Assert.areEqual(5, 4, 'records');",
    );
    let id = bench.drafted(&[("classes/Greeter.cls", &unknown), ("classes/GreeterTest.cls", &wrong)]).await;
    let set = bench.validated(&id).await;
    assert_eq!(set["status"], "validation_failed", "{set}");
    assert_eq!(set["validation"]["component_failures"][0]["line"], 7, "{set}");
    let page = bench.page(&id).await;
    assert!(
        page.contains("so nothing was changed in Production") && page.contains("Error at line 7"),
        "{page}"
    );
    bench.edited(&id, "classes/Greeter.cls", &unknown, GREETER).await;
    let page = bench.page(&id).await;
    assert!(page.contains("Validation is out of date"), "{page}");
    let set = bench.validated(&id).await;
    assert_eq!(set["validation"]["tests"]["errors"], 1, "{set}");
    let page = bench.page(&id).await;
    assert!(page.contains("One test fails, so nothing was changed in Production"), "{page}");
    assert!(
        page.contains("GreeterTest, line 6") && page.contains("<b class=\"w5 brk\">greets</b>"),
        "{page}"
    );
    bench.edited(&id, "classes/GreeterTest.cls", &wrong, TEST).await;
    let set = bench.validated(&id).await;
    assert_eq!(set["status"], "validated", "{set}");
    let page = bench.page(&id).await;
    assert!(
        page.contains("Ready to deploy until 3 December")
            && page.contains("1 passed")
            && page.contains("75 %"),
        "{page}"
    );
    let class = bench.ada().get("/w/halden-energy/o/production/metadata/ApexClass/Greeter").await;
    assert_eq!(class.status, 404, "a validation saves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_what_somebody_else_changed_comes_back_with_both_texts() {
    let bench = Bench::new().await;
    let id = bench.drafted(&[("classes/Greeter.cls", GREETER)]).await;
    let path = format!("{BASE}/{id}/edit?file=classes/Greeter.cls");
    let form = bench.ada().get(&path).await;
    let seen = form.between("name=\"base\" value=\"", "\"").unwrap();
    let fields = |source: &'static str| [("source", source), ("then", "save")];
    let mut first = fields("public class Greeter { /* theirs */ }\r\n").to_vec();
    first.push(("base", &seen));
    assert_eq!(bench.ada().post(&path, &first).await.status, 303);
    let mut second = fields("public class Greeter { /* mine */ }\r\n").to_vec();
    second.push(("base", &seen));
    let told = bench.ada().post(&path, &second).await;
    assert_eq!(told.status, 409);
    assert!(told.body.contains("Somebody else saved this file meanwhile"), "{}", told.body);
    assert!(told.body.contains("theirs") && told.body.contains("/* mine */"), "{}", told.body);
    let set = bench.json("GET", &format!("/{id}"), Value::Null).await;
    assert_eq!(
        set["files"][0]["content"], "public class Greeter { /* theirs */ }\n",
        "nothing was overwritten"
    );
    let again = told.between("name=\"base\" value=\"", "\"").unwrap();
    second[2].1 = &again;
    assert_eq!(bench.ada().post(&path, &second).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_change_set_is_refused_and_the_same_request_is_done_once() {
    let bench = Bench::new().await;
    let body = |files: Value| json!({ "org": bench.org, "title": "x", "files": files });
    for files in [
        json!([]),
        json!([{ "path": "../etc/passwd", "content": "x" }]),
        json!([{ "path": "documents/a.pdf", "content": "x" }]),
        json!([{ "path": "classes/A.cls", "content": "x" }, { "path": "src/classes/A.cls", "content": "y" }]),
        json!([{ "path": "classes/A.cls-meta.xml", "content": null }]),
        json!([{ "path": "classes/HelloWorld.cls" }]),
        json!([{ "path": "classes/A.cls", "content": "x", "mode": 7 }]),
    ] {
        let answer = bench.call("POST", "", body(files.clone())).await;
        assert_eq!(answer.status, 422, "{files}: {}", answer.body);
    }
    let large = "x".repeat(6 << 20);
    let answer = bench.call("POST", "", body(json!([{ "path": "classes/A.cls", "content": large }]))).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
    let client = bench.rig.server.client();
    let once = |title: &str| {
        let body = json!({ "org": bench.org, "title": title, "files": [{ "path": "classes/Greeter.cls", "content": GREETER }] });
        let request = client.request("POST", "/api/v1/change-sets").bearer_auth(&bench.token).json(&body);
        client.send(request.header("idempotency-key", "k1"))
    };
    let (first, second) = (once("a").await, once("a").await);
    assert_eq!((first.status, &first.body), (201, &second.body), "{}", first.body);
    assert_eq!(once("b").await.status, 409);
    let missing = bench.call("GET", "/01m8502e5c5z16kwvzypsnvxp3", Value::Null).await;
    assert_eq!(missing.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_before_salesforce_name_what_does_not_fit() {
    let bench = Bench::new().await;
    let files = json!([
        { "path": "force-app/main/default/classes/Greeter.cls", "content": GREETER.replace("Greeter", "Other") },
        { "path": "classes/HelloWorld.cls", "content": null },
        { "path": "classes/NeverWas.cls", "content": null },
        { "path": "flows/F.flow-meta.xml", "content": "<Flow>\n<broken></Flow>" },
    ]);
    let body = json!({ "org": bench.org, "title": "x", "files": files, "tests": ["NoSuchTest"] });
    let set = bench.json("POST", "", body).await;
    let problems = set["problems"].to_string();
    for said in [
        "classes/Greeter.cls line 1: The file is called Greeter, what it declares Other.",
        "classes/NeverWas.cls: The org has no ApexClass NeverWas to delete.",
        "flows/F.flow line 2: This XML can't be read",
        "tests: There is no class NoSuchTest, here or in the org.",
    ] {
        assert!(problems.contains(said), "{said}: {problems}");
    }
    assert!(!problems.contains("HelloWorld"), "{problems}");
}
