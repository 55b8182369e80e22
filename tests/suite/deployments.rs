//! Change sets against the simulated org: drafted, checked, validated, approved by a person, deployed, taken back.

use std::time::Duration;

use serde_json::{Value, json};
use vynos::sim::salesforce::Consent;

use crate::harness::{Answer, Client};
use crate::orgs::{Rig, rig};

pub const BASE: &str = "/w/halden-energy/o/production/deployments";
pub const GREETER: &str = "public with sharing class Greeter {\n    public static String greet(String name) {\n        return 'Hello ' + name;\n    }\n}\n";
pub const TEST: &str = "@IsTest\nprivate class GreeterTest {\n    @IsTest\n    static void greets() {\n        Assert.areEqual('Hello Ada', Greeter.greet('Ada'));\n    }\n}\n";

/// A rig whose org is synced, with a token that may do everything a token may.
pub struct Bench {
    pub rig: Rig,
    token: String,
    org: String,
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

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let client = self.rig.server.client();
        let request = client.request(method, &format!("/api/v1/change-sets{path}")).bearer_auth(&self.token);
        client.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.call(method, path, body).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub async fn drafted(&self, files: &[(&str, &str)]) -> String {
        let files: Vec<Value> =
            files.iter().map(|(path, content)| json!({ "path": path, "content": content })).collect();
        let body = json!({ "org": self.org, "title": "Greet people", "files": files });
        self.json("POST", "", body).await["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a run has ended and answers the change set.
    pub async fn settled(&self, id: &str) -> Value {
        for _ in 0..1_500 {
            let set = self.json("GET", &format!("/{id}"), Value::Null).await;
            if !matches!(set["status"].as_str(), Some("validating" | "deploying")) {
                return set;
            }
            pause().await;
        }
        panic!("the run never ended");
    }

    pub async fn validated(&self, id: &str) -> Value {
        assert_eq!(self.ada().post(&format!("{BASE}/{id}/validate"), &[]).await.status, 303);
        self.settled(id).await
    }

    fn ada(&self) -> &Client {
        &self.rig.ada
    }

    async fn page(&self, id: &str) -> String {
        let page = self.ada().get(&format!("{BASE}/{id}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page.body
    }
}

async fn pause() {
    tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_shows_its_difference_and_its_syntax_errors_at_their_lines() {
    let bench = Bench::new().await;
    let broken = GREETER.replace("+ name;", "+ name");
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
        page.contains("Error at line 4") && page.contains("Missing &#39;;&#39; at &#39;}&#39;"),
        "{page}"
    );
    let list = bench.ada().get(BASE).await;
    assert!(list.body.contains("Drafts") && list.body.contains(&id), "{}", list.body);
    let edit = bench.ada().get(&format!("{BASE}/{id}/edit?file=classes/Greeter.cls")).await;
    assert!(edit.status == 200 && edit.body.contains("<textarea"), "{}", edit.body);
}
