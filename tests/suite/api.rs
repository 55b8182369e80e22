//! REST: what a client with a token reads and starts, and what it may not.

use std::time::Duration;

use serde_json::Value;
use vynos::sim::salesforce::Consent;

use crate::harness::{Answer, Client};
use crate::orgs::{Rig, rig};

async fn token(rig: &Rig, scopes: &[&str]) -> String {
    let mut fields = vec![("name", "ci"), ("days", "30")];
    fields.extend(scopes.iter().map(|s| ("scope", *s)));
    let made = rig.ada.post("/w/halden-energy/tokens", &fields).await;
    made.between("<code id=\"fresh-token\">", "</code>").unwrap()
}

async fn call(client: &Client, method: &str, path: &str, token: &str) -> Answer {
    client.send(client.request(method, path).bearer_auth(token)).await
}

async fn json(client: &Client, path: &str, token: &str) -> Value {
    let answer = call(client, "GET", path, token).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_read_page_by_page_and_a_sync_is_started() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let token = token(&rig, &["read", "change"]).await;
    let client = rig.server.client();
    let orgs = json(&client, "/api/v1/orgs", &token).await;
    assert_eq!((orgs["items"][0]["name"].as_str(), orgs["next"].is_null()), (Some("Production"), true));
    assert!(!orgs.to_string().contains("5Aep861"), "no token leaves");
    let base = format!("/api/v1/orgs/{}", orgs["items"][0]["id"].as_str().unwrap());
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = json(&client, &format!("{base}/components?limit=4{cursor}"), &token).await;
        names
            .extend(page["items"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let total = orgs["items"][0]["last_sync"]["components"].as_u64().unwrap();
    assert_eq!(names.len() as u64, total);
    let found = json(&client, &format!("{base}/components?q=helloworld&type=ApexClass"), &token).await;
    let id = found["items"][0]["id"].as_str().unwrap();
    let one = json(&client, &format!("/api/v1/components/{id}"), &token).await;
    assert!(one["source"].as_str().unwrap().contains("class HelloWorld"));
    assert_eq!(one["history"][0]["change"], "added");
    let limits = json(&client, &format!("{base}/limits"), &token).await;
    assert!(
        limits["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|l| l["name"] == "DataStorageMB" && l["used_percent"] == 86)
    );
    assert_eq!(call(&client, "POST", &format!("{base}/sync"), &token).await.status, 202);
    for _ in 0..600 {
        let state = json(&client, &format!("{base}/sync"), &token).await;
        if state["status"] == "done" {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert_eq!(json(&client, &format!("{base}/sync"), &token).await["status"], "done");
    let findings = json(&client, &format!("{base}/findings?severity=high&limit=1"), &token).await;
    assert_eq!(findings["items"].as_array().unwrap().len(), 1);
    assert_eq!(findings["items"][0]["severity"], "high");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_needed_and_unknown_things_are_problems() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let (reader, chatter) = (token(&rig, &["read"]).await, token(&rig, &["chat"]).await);
    let client = rig.server.client();
    let orgs = json(&client, "/api/v1/orgs", &reader).await;
    let base = format!("/api/v1/orgs/{}", orgs["items"][0]["id"].as_str().unwrap());
    let refused = call(&client, "GET", "/api/v1/orgs", &chatter).await;
    assert!(refused.status == 403 && refused.body.contains("scope read"), "{}", refused.body);
    assert_eq!(call(&client, "POST", &format!("{base}/sync"), &reader).await.status, 403);
    for path in [
        "/api/v1/orgs/01m8502e5c5z16kwvzypsnvxp3/limits",
        "/api/v1/orgs/nonsense/limits",
        "/api/v1/components/nonsense",
        "/api/v1/components/01m8502e5c5z16kwvzypsnvxp3.ApexClass.A",
    ] {
        let answer = call(&client, "GET", path, &reader).await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].to_str().unwrap()),
            (404, "application/problem+json"),
            "{path}"
        );
    }
    let bad = call(&client, "GET", &format!("{base}/components?cursor=zzz"), &reader).await;
    assert_eq!(bad.status, 422);
}
