//! Restriction of processing of one account: whatever would send, sync, read in or analyse for that person answers so,
//! what they asked for stops, nothing of theirs is counted, and everybody else goes on working.

use std::time::Duration;

use serde_json::json;
use vynos::clock::Random;
use vynos::identity::Role;
use vynos::ids::{AccountId, JobId};
use vynos::meter::records::DAYS;
use vynos::orgs::{records, request_sync};
use vynos::sim::salesforce::Consent;
use vynos::store::Read as _;

use crate::access::signed_in;
use crate::chat_pages::{ask, ended, talking};
use crate::harness::{Client, Server};
use crate::knowledge::{says, upload};
use crate::members::{joined, workspace};
use crate::orgs::rig;
use crate::restriction::{BEGINS, Ids};

async fn restrict(person: &Client, restricted: bool) {
    let done = person.post("/account/restrict", &[("restricted", &restricted.to_string())]).await;
    assert_eq!((done.status, done.location()), (303, "/account/profile#restrict"), "{}", done.body);
}

/// What was counted for a person.
fn counted(server: &Server, account: AccountId) -> Vec<String> {
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    let rows = ws.read().unwrap().scan(&DAYS).rows().unwrap();
    let of = rows.into_iter().filter(|((_, facet), _)| facet.account == Some(account));
    of.map(|((_, facet), sums)| format!("{facet:?} {sums:?}")).collect()
}

async fn pause() {
    tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_restricted_person_leaves_and_others_go_on_working() {
    let (rig, model) = talking().await;
    let max = joined(&rig.server, "max", Role::Owner);
    let client = signed_in(&rig.server, "max").await;
    let ids = Ids::of(&client).await;
    restrict(&client, true).await;
    let (calls, used) = ((rig.sim.calls(), model.calls()), counted(&rig.server, max));
    for (path, fields) in BEGINS {
        let answer = ids.begin(&client, path, fields).await;
        assert!(answer.status == 409 || answer.status == 422, "{path}: {} {}", answer.status, answer.body);
        assert!(
            answer
                .body
                .contains("nothing of yours is sent, synced or analysed until you lift the restriction"),
            "{path}: {}",
            answer.body
        );
    }
    // A conversation without a question may be begun; it is not counted.
    let begun = ids.api(&client, "POST", "/api/v1/conversations").json(&json!({}));
    assert_eq!(client.send(begun).await.status, 201);
    assert_eq!((rig.sim.calls(), model.calls()), calls);
    assert_eq!(counted(&rig.server, max), used);
    for page in ["o/production/metadata", "knowledge", "chats", "privacy", "privacy/traffic"] {
        let answer = client.get(&format!("/w/halden-energy/{page}")).await;
        let banner = answer.body.contains("<b>The processing of your data is restricted.</b>");
        assert!(answer.status == 200 && banner, "{page}");
    }
    let chat = format!("/w/halden-energy/chat/{}", ids.conversation);
    assert!(client.get(&chat).await.body.contains("What is here?"), "everything stays readable");

    // Everybody else works as before.
    let page = rig.ada.get("/w/halden-energy/knowledge").await;
    assert!(!page.body.contains("is restricted."), "{}", page.body);
    let answered = ask(&rig.ada, "What is here?").await;
    assert!(!ended(&rig.ada, &answered).await.body.contains("restricted"));
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    rig.synced().await;
    upload(&rig.ada, &[("c.md", b"# C")]).await;
    says(&rig.ada, "c.md").await;
    assert!(rig.sim.calls() > calls.0 && model.calls() > calls.1);

    restrict(&client, false).await;
    ended(&client, &ask(&client, "And now?").await).await;
    assert_ne!(counted(&rig.server, max), used);
    let log = rig.server.app().web.control.read().unwrap();
    let lines = log.scan(&vynos::store::audit::AUDIT).rows().unwrap();
    let acts = lines.iter().filter(|(_, line)| line.target == max.to_string());
    let acts: Vec<&str> = acts.map(|(_, line)| line.action.name()).collect();
    assert!(acts.contains(&"account.restricted") && acts.contains(&"account.unrestricted"), "{acts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_restricts_on_request_an_operator_lifts() {
    let (rig, _model) = talking().await;
    let max = joined(&rig.server, "max", Role::Member);
    let client = signed_in(&rig.server, "max").await;
    let path = format!("/admin/accounts/{max}/restrict");
    assert_eq!(client.post(&path, &[("restricted", "true")]).await.status, 403);
    assert_eq!(rig.ada.post(&path, &[("restricted", "true")]).await.status, 303);
    let page = rig.ada.get(&format!("/admin/accounts/{max}")).await;
    assert!(page.body.contains("Processing is restricted by an operator"));
    let inbox = client.get("/w/halden-energy/notifications").await;
    assert!(inbox.body.contains("The processing of your data is restricted"), "{}", inbox.body);
    let refused = client.post("/w/halden-energy/chat", &[("text", "Hello"), ("org", "production")]).await;
    let said = "An operator of this server restricted the processing of your data.";
    assert!(refused.status == 409 && refused.body.contains(said), "{}", refused.body);
    let own = client.post("/account/restrict", &[("restricted", "false")]).await;
    assert!(own.status == 409 && own.body.contains("An operator restricted this"), "{}", own.body);
    assert!(!client.get("/account/profile").await.body.contains("Allow processing"));
    assert_eq!(rig.ada.post(&path, &[("restricted", "false")]).await.status, 303);
    ended(&client, &ask(&client, "Hello").await).await;
    // What a person restricted, an operator may lift too.
    restrict(&client, true).await;
    let page = rig.ada.get(&format!("/admin/accounts/{max}")).await;
    assert!(page.body.contains("Processing is restricted by themselves"));
    assert_eq!(rig.ada.post(&path, &[("restricted", "false")]).await.status, 303);
    ended(&client, &ask(&client, "Hello again").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_answer_of_theirs_asks_the_model_no_more_and_is_counted_for_nobody() {
    let (rig, model) = talking().await;
    let max = joined(&rig.server, "max", Role::Member);
    let client = signed_in(&rig.server, "max").await;
    let before = model.calls();
    let path = ask(&client, "[[fake:long 400]][[fake:slow 10]][[fake:tools org_overview {}]]").await;
    for _ in 0..600 {
        if model.calls() > before {
            break;
        }
        pause().await;
    }
    restrict(&client, true).await;
    let used = counted(&rig.server, max);
    let page = ended(&client, &path).await;
    assert!(
        page.body.contains("word399") && page.body.contains("restricted the processing of their data"),
        "{}",
        page.body
    );
    assert_eq!(model.calls(), before + 1);
    assert_eq!(counted(&rig.server, max), used);
    // Asking the same once more is refused as well.
    let again = client.post(&format!("{path}/again"), &[]).await;
    assert_eq!(again.status, 409, "{}", again.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sync_of_theirs_ends_and_a_waiting_one_calls_nobody() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let max = joined(&rig.server, "max", Role::Member);
    let client = signed_in(&rig.server, "max").await;
    let web = rig.server.app().web.clone();
    let id = workspace(&rig.server);
    rig.sim.misbehave(|faults| faults.slow_retrieve = 1_000);
    assert_eq!(client.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    let mut packing = false;
    for _ in 0..600 {
        packing = client.get("/w/halden-energy/o/production").await.body.contains("packing the metadata");
        if packing {
            break;
        }
        pause().await;
    }
    assert!(packing);
    restrict(&client, true).await;
    let said = "restricted the processing of their data. Nothing more was sent.";
    let page = rig.synced().await;
    assert!(page.contains(said), "{page}");

    // One that was asked for before and begins after.
    restrict(&client, false).await;
    let job = JobId::new(&web.clock, &Random::system());
    let worker = web.door.for_job(id, job, Some(max)).unwrap().unwrap();
    let (org, _) = records::by_slug(&worker.read().unwrap(), "production").unwrap().unwrap();
    let leave = worker.processing().unwrap();
    restrict(&client, true).await;
    assert!(worker.processing().is_err() && worker.counted().is_none());
    let calls = rig.sim.calls();
    request_sync(&worker, org, leave).await.unwrap();
    assert!(rig.synced().await.contains(said));
    assert_eq!(rig.sim.calls(), calls);
}
