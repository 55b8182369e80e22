//! Conversations over REST: asked with a token, streamed or whole, by whom they belong to.

use serde_json::{Value, json};

use crate::chat_pages::talking;
use crate::harness::Answer;
use crate::orgs::Rig;

async fn token(rig: &Rig, scopes: &[&str]) -> String {
    let mut fields = vec![("name", "ci"), ("days", "30")];
    fields.extend(scopes.iter().map(|s| ("scope", *s)));
    let made = rig.ada.post("/w/halden-energy/tokens", &fields).await;
    made.between("<code id=\"fresh-token\">", "</code>").unwrap()
}

async fn call(rig: &Rig, method: &str, path: &str, token: &str, accept: &str, body: Option<Value>) -> Answer {
    let client = rig.server.client();
    let url = format!("/api/v1/conversations{path}");
    let mut request = client.request(method, &url).bearer_auth(token).header("idempotency-key", "once");
    request = request.header(reqwest::header::ACCEPT, accept);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    client.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_asks_and_reads_the_answer_whole_streamed_and_again() {
    let (rig, sim) = talking().await;
    let all = token(&rig, &["read", "chat"]).await;
    let made = call(&rig, "POST", "", &all, "application/json", None).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = serde_json::from_str::<Value>(&made.body).unwrap()["id"].as_str().unwrap().to_owned();
    let path = format!("/{id}/messages");
    let said = json!({ "text": "[[fake:say Hello.]]" });
    let answer = call(&rig, "POST", &path, &all, "application/json", Some(said.clone())).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer["text"].as_str(), answer["state"].as_str()), (Some("Hello."), Some("complete")));
    assert!(answer["usage"]["output_tokens"].as_u64().unwrap() > 0);
    let calls = sim.calls();
    let again = call(&rig, "POST", &path, &all, "application/json", Some(said.clone())).await;
    assert_eq!(serde_json::from_str::<Value>(&again.body).unwrap(), answer, "the same key asks once");
    let streamed = call(&rig, "POST", &path, &all, "text/event-stream", Some(said)).await;
    assert!(
        streamed.body.contains("data: {\"text\":\"Hello.\"}"),
        "and is told as it was asked for: {}",
        streamed.body
    );
    assert_eq!(sim.calls(), calls);
    let list = call(&rig, "GET", &path, &all, "application/json", None).await;
    let list: Value = serde_json::from_str(&list.body).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
    let turn = answer["turn"].as_str().unwrap();
    let told =
        call(&rig, "GET", &format!("/{id}/turns/{turn}/events"), &all, "text/event-stream", None).await;
    assert!(
        told.body.contains("event: text\ndata: {\"text\":\"Hello.\"}") && told.body.contains("event: done")
    );
    let extra = json!({ "text": "x", "model": "other" });
    let other = rig.server.client();
    let refused = other.request("POST", &format!("/api/v1/conversations{path}")).bearer_auth(&all);
    assert_eq!(other.send(refused.body(extra.to_string())).await.status, 422, "unknown fields are refused");
    let reader = token(&rig, &["read"]).await;
    assert_eq!(call(&rig, "POST", &path, &reader, "application/json", None).await.status, 403);
    assert_eq!(call(&rig, "DELETE", &format!("/{id}"), &all, "application/json", None).await.status, 204);
    assert_eq!(call(&rig, "GET", &path, &all, "application/json", None).await.status, 404);
    sim.stop().await;
}
