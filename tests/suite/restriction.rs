//! Restriction of processing: whatever would send, sync, read in or analyse answers so, and no byte leaves.

use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use vynos::clock::Random;
use vynos::features::ROUTES;
use vynos::identity::Role;
use vynos::ids::JobId;
use vynos::orgs::{records, request_sync};
use vynos::sim::salesforce::Consent;

use crate::access::signed_in;
use crate::chat_pages::{ask, ended, talking};
use crate::harness::{Answer, Client};
use crate::knowledge::{says, upload};
use crate::members::{joined, workspace};
use crate::orgs::rig;

const RESTRICT: &str = "/w/halden-energy/privacy/restrict";

/// What begins processing, and what it is called with: a form, or JSON under `/api/`.
pub const BEGINS: &[(&str, &[(&str, &str)])] = &[
    ("/api/v1/change-sets/{change_set}/deploy", &[]),
    ("/api/v1/change-sets/{change_set}/validate", &[]),
    ("/api/v1/conversations/{conversation}/messages", &[("text", "Hello")]),
    ("/api/v1/documents", &[]),
    ("/api/v1/orgs/{org}/sync", &[]),
    ("/w/{workspace}/chat", &[("text", "Hello"), ("org", "production")]),
    ("/w/{workspace}/chat/{conversation}", &[("text", "Hello")]),
    ("/w/{workspace}/chat/{conversation}/again", &[]),
    ("/w/{workspace}/chat/{conversation}/consent", &[("org", "{org}")]),
    ("/w/{workspace}/knowledge", &[]),
    ("/w/{workspace}/knowledge/{document}/retry", &[]),
    (
        "/w/{workspace}/o/production/deployments/{change_set}/approve",
        &[("hash", "x"), ("name", "Production"), ("then", "deploy")],
    ),
    (
        "/w/{workspace}/o/production/deployments/{change_set}/edit?file=classes/A.cls",
        &[("base", ""), ("source", "class A {}"), ("then", "validate")],
    ),
    ("/w/{workspace}/o/production/deployments/{change_set}/release", &[("hash", "x")]),
    ("/w/{workspace}/o/production/deployments/{change_set}/validate", &[]),
    ("/w/{workspace}/o/production/sync", &[]),
    (
        "/w/{workspace}/orgs/connect",
        &[
            ("name", "B"),
            ("login", "https://b.my.salesforce.com"),
            ("client_id", "x"),
            ("client_secret", "y"),
        ],
    ),
    (
        "/w/{workspace}/orgs/connect/auth-url",
        &[("name", "B"), ("auth_url", "force://a:b:c@d.my.salesforce.com")],
    ),
    // Its test sends a mail.
    (
        "/w/{workspace}/settings/mail",
        &[("host", "localhost"), ("port", "465"), ("security", "tls"), ("sender", "v@halden.example")],
    ),
];

/// What a workspace still may do then: read, tidy, decide who comes in, end what runs, and delete.
const STAYS: &[&str] = &[
    "/api/v1/change-sets",
    "/api/v1/change-sets/{change_set}/cancel",
    "/api/v1/change-sets/{change_set}/rollback",
    "/api/v1/conversations",
    "/api/v1/conversations/{conversation}/turns/{turn}/stop",
    "/api/v1/exports",
    "/api/v1/invitations",
    "/api/v1/members/{account}/role",
    "/w/{workspace}/audit/verify",
    "/w/{workspace}/chat/{conversation}/delete",
    "/w/{workspace}/chat/{conversation}/pin",
    "/w/{workspace}/chat/{conversation}/rename",
    "/w/{workspace}/chat/{conversation}/turns/{turn}/stop",
    "/w/{workspace}/knowledge/{document}/delete",
    "/w/{workspace}/leave",
    "/w/{workspace}/members",
    "/w/{workspace}/members/invitations/{invitation}/withdraw",
    "/w/{workspace}/members/roles",
    "/w/{workspace}/members/{account}/remove",
    "/w/{workspace}/notifications/read",
    "/w/{workspace}/o/{org}/deploy-policy",
    "/w/{workspace}/o/{org}/deployments/{change_set}/cancel",
    "/w/{workspace}/o/{org}/deployments/{change_set}/discard",
    "/w/{workspace}/o/{org}/deployments/{change_set}/roll-back",
    // Ends the tokens at Salesforce: part of deleting.
    "/w/{workspace}/o/{org}/disconnect",
    "/w/{workspace}/o/{org}/sync/cancel",
    "/w/{workspace}/privacy/delete",
    "/w/{workspace}/privacy/delete/stop",
    "/w/{workspace}/privacy/export",
    "/w/{workspace}/privacy/export/{export}/delete",
    "/w/{workspace}/privacy/restrict",
    "/w/{workspace}/privacy/retention",
    "/w/{workspace}/settings",
    "/w/{workspace}/settings/mail/remove",
    "/w/{workspace}/usage/budget",
];
/// Tokens of the API and the ownership are no processing either.
const ACCESS: [&str; 3] =
    ["/w/{workspace}/tokens", "/w/{workspace}/tokens/{token}/revoke", "/w/{workspace}/transfer"];

#[test]
fn every_route_that_changes_something_says_whether_it_is_processing() {
    for route in ROUTES.iter().filter(|route| route.method == "POST") {
        if !route.path.starts_with("/w/") && !route.path.starts_with("/api/") {
            continue;
        }
        let begins = BEGINS.iter().any(|(path, _)| {
            let path = path.split('?').next().unwrap_or_default();
            path == route.path || path.replace("/o/production/", "/o/{org}/") == route.path
        });
        let stays = STAYS.contains(&route.path) || ACCESS.contains(&route.path);
        assert!(
            begins != stays,
            "{} must stand in one list: here nothing may leave while processing is restricted",
            route.path
        );
    }
}

pub struct Ids {
    org: String,
    change_set: String,
    pub conversation: String,
    document: String,
    pub token: String,
}

impl Ids {
    fn path(&self, path: &str) -> String {
        path.replace("{workspace}", "halden-energy")
            .replace("{org}", &self.org)
            .replace("{change_set}", &self.change_set)
            .replace("{conversation}", &self.conversation)
            .replace("{document}", &self.document)
    }

    pub fn api(&self, client: &Client, method: &str, path: &str) -> RequestBuilder {
        Client::new(client.base.clone()).request(method, &self.path(path)).bearer_auth(&self.token)
    }

    async fn first(&self, client: &Client, path: &str) -> String {
        let answer = client.send(self.api(client, "GET", path)).await;
        let list: Value = serde_json::from_str(&answer.body).unwrap();
        list["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    }

    pub async fn of(ada: &Client) -> Self {
        let scopes = ["read", "chat", "upload", "change", "deploy"].map(|scope| ("scope", scope));
        let fields: Vec<_> = [("name", "ci"), ("days", "30")].into_iter().chain(scopes).collect();
        let made = ada.post("/w/halden-energy/tokens", &fields).await;
        let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
        let none = String::new;
        let mut ids = Self { org: none(), change_set: none(), conversation: none(), document: none(), token };
        upload(ada, &[("guide.md", b"# Guide\n\nGreet people.\n")]).await;
        says(ada, "Ready").await;
        let conversation = ask(ada, "What is here?").await;
        ended(ada, &conversation).await;
        ids.conversation = conversation.rsplit('/').next().unwrap().to_owned();
        ids.org = ids.first(ada, "/api/v1/orgs").await;
        ids.document = ids.first(ada, "/api/v1/documents").await;
        let draft = json!({ "org": ids.org, "title": "Greet", "files": [{ "path": "classes/A.cls", "content": "class A {}" }], "tests": [] });
        let draft = ada.send(ids.api(ada, "POST", "/api/v1/change-sets").json(&draft)).await;
        let draft: Value = serde_json::from_str(&draft.body).unwrap();
        ids.change_set = draft["id"].as_str().unwrap().to_owned();
        ids
    }

    pub async fn begin(&self, ada: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
        match path {
            "/w/{workspace}/knowledge" => upload(ada, &[("b.md", b"# B")]).await,
            "/api/v1/documents" => {
                let part = reqwest::multipart::Part::bytes(b"# B".to_vec()).file_name("b.md");
                let form = reqwest::multipart::Form::new().part("file", part);
                ada.send(self.api(ada, "POST", path).multipart(form)).await
            }
            _ if path.starts_with("/api/") => {
                let body: serde_json::Map<_, _> =
                    fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
                ada.send(self.api(ada, "POST", path).json(&body)).await
            }
            _ => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, self.path(value))).collect();
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                ada.post(&self.path(path), &fields).await
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_processing_is_restricted_nothing_leaves_and_everything_stays_readable() {
    let (rig, model) = talking().await;
    let ids = Ids::of(&rig.ada).await;
    let id = workspace(&rig.server);
    joined(&rig.server, "max", Role::Owner);
    assert_eq!(rig.ada.post(RESTRICT, &[("restricted", "true")]).await.status, 303);
    let before = (rig.sim.calls(), model.calls());
    for (path, fields) in BEGINS {
        let answer = ids.begin(&rig.ada, path, fields).await;
        assert!(answer.status == 409 || answer.status == 422, "{path}: {} {}", answer.status, answer.body);
        assert!(
            answer.body.contains("nothing is sent, synced or analysed until an owner lifts the restriction"),
            "{path}: {}",
            answer.body
        );
    }
    assert_eq!((rig.sim.calls(), model.calls()), before);
    for page in ["o/production/metadata", "knowledge", "chats", "privacy", "privacy/traffic"] {
        let answer = rig.ada.get(&format!("/w/halden-energy/{page}")).await;
        assert!(answer.status == 200 && answer.body.contains("<b>Processing is restricted.</b>"), "{page}");
    }
    let other = signed_in(&rig.server, "max").await;
    let inbox = other.get("/w/halden-energy/notifications").await;
    assert!(inbox.body.contains("Processing in Halden Energy is restricted"));

    // The operator lifts it, and the same acts go through.
    let lifted = rig.ada.post(&format!("/admin/workspaces/{id}/restrict"), &[("restricted", "false")]).await;
    assert_eq!(lifted.status, 303);
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    rig.synced().await;
    assert!(rig.sim.calls() > before.0);
    let log = rig.ada.get("/w/halden-energy/audit?of=members").await;
    assert!(log.body.contains("workspace.restricted") && log.body.contains("workspace.unrestricted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_org_is_not_connected_by_a_way_back_that_was_open_before() {
    let rig = rig(Consent::Auto).await;
    let back = rig.consent(&rig.begin().await).await;
    assert_eq!(rig.ada.post(RESTRICT, &[("restricted", "true")]).await.status, 303);
    let calls = rig.sim.calls();
    let refused = rig.ada.get(&back).await;
    assert!(
        refused.status == 409 && refused.body.contains("an owner lifts the restriction"),
        "{}",
        refused.body
    );
    assert_eq!(rig.sim.calls(), calls);
    // The way back was not used up.
    assert_eq!(rig.ada.post(RESTRICT, &[("restricted", "false")]).await.status, 303);
    assert_eq!(rig.ada.get(&back).await.location(), "/w/halden-energy/o/production");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sync_ends_when_processing_is_restricted() {
    let rig = rig(Consent::Auto).await;
    rig.sim.misbehave(|faults| faults.slow_retrieve = 1_000);
    rig.connect().await;
    let mut packing = false;
    for _ in 0..600 {
        packing = rig.ada.get("/w/halden-energy/o/production").await.body.contains("packing the metadata");
        if packing {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert!(packing);
    assert_eq!(rig.ada.post(RESTRICT, &[("restricted", "true")]).await.status, 303);
    let page = rig.synced().await;
    assert!(page.contains("Processing in this workspace is restricted. Nothing more was sent."), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_waited_when_processing_was_restricted_calls_nobody() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let (web, id) = (rig.server.app().web.clone(), workspace(&rig.server));
    let ws = web.door.for_runner(id).unwrap();
    let (org, _) = records::by_slug(&ws.read().unwrap(), "production").unwrap().unwrap();
    let job = JobId::new(&web.clock, &Random::system());
    let leave = web.door.for_job(id, job, None).unwrap().unwrap().processing().unwrap();
    assert_eq!(rig.ada.post(RESTRICT, &[("restricted", "true")]).await.status, 303);
    let calls = rig.sim.calls();
    request_sync(&ws, org, leave).await.unwrap();
    assert!(rig.synced().await.contains("Nothing more was sent."));
    assert_eq!(rig.sim.calls(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_answer_asks_the_model_no_more_when_processing_is_restricted() {
    let (rig, model) = talking().await;
    let before = model.calls();
    let path = ask(&rig.ada, "[[fake:long 400]][[fake:slow 10]][[fake:tools org_overview {}]]").await;
    for _ in 0..600 {
        if model.calls() > before {
            break;
        }
        tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await.ok();
    }
    assert_eq!(rig.ada.post(RESTRICT, &[("restricted", "true")]).await.status, 303);
    let page = ended(&rig.ada, &path).await;
    assert!(
        page.body.contains("word399") && page.body.contains("is restricted: nothing is sent"),
        "{}",
        page.body
    );
    assert_eq!(model.calls(), before + 1);
}
