//! The audit log as people meet it: every change has its line, the page filters by URL and pages on, the chains are verified as a
//! job, what is broken is named with its evidence, lines leave at a year; files, REST and the operator's own page.

use std::time::Duration;

use jiff::{SignedDuration, ToSpan as _};
use serde_json::Value;
use vynos::identity::{Control, Role};
use vynos::store::audit::{AUDIT, Action, Actor};
use vynos::store::{Read as _, StoreError};
use vynos::workspace::Workspace;

use crate::access::signed_in;
use crate::harness::{Answer, Client, Server};
use crate::members::{joined, workspace};
use crate::members_api::token;

const PAGE: &str = "/w/halden-energy/audit";

fn runner(server: &Server) -> Workspace {
    server.app().web.door.for_runner(workspace(server)).unwrap()
}

async fn add(ws: &Workspace, action: Action, target: impl ToString) {
    ws.change(action, target, |_| Ok::<_, StoreError>(())).await.unwrap();
}

/// Targets of the lines that a page shows.
fn targets(page: &Answer) -> Vec<String> {
    page.all_between("<summary><code class=\"brk\">", "</code>")
}

/// The page once no check runs or waits.
async fn checked(client: &Client, path: &str) -> Answer {
    for _ in 0..600 {
        let page = client.get(path).await;
        let state = page.between("id=\"chain\"", "<form class=\"filters").unwrap();
        if !["Checking", "begins in a moment", "Not checked yet"].iter().any(|busy| state.contains(busy)) {
            return page;
        }
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
    }
    panic!("the check does not end");
}

async fn json(client: &Client, path: &str) -> Vec<Value> {
    let file = client.get(path).await;
    assert_eq!(file.headers["content-type"], "application/json", "{}", file.body);
    serde_json::from_str(&file.body).unwrap()
}

async fn rest(server: &Server, token: &str, query: &str) -> (u16, Value) {
    let client = server.client();
    let request = client.request("GET", &format!("/api/v1/audit{query}"));
    let answer = client.send(request.bearer_auth(token)).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_leave_their_line_and_the_page_shows_them() {
    let (server, ada) = Server::ready().await;
    let ws = runner(&server);
    for n in 0..60 {
        add(&ws, Action::OrgSynced, format!("doc-{n}")).await;
    }
    add(&ws, Action::OrgConnected, "org-1").await;
    assert_eq!(ws.verify_audit().unwrap(), Ok(61));
    let failed = ws.change(Action::OrgDisconnected, "doc-1", |_| Err::<(), _>(StoreError::DiskFull)).await;
    assert!(failed.is_err());
    assert_eq!(ws.verify_audit().unwrap(), Ok(61), "a change that failed leaves no line");
    let page = ada.get(PAGE).await;
    assert_eq!(targets(&page).len(), 50);
    assert_eq!(targets(&page)[..2], ["org-1", "doc-59"]);
    assert!(page.body.contains("23 Nov 2026, 09:00:00"), "absolute, with seconds");
    let older = page.between("<a class=\"btn\" href=\"/w/halden-energy/audit?", "\"").unwrap();
    let older = ada.get(&format!("{PAGE}?{}", older.replace("&amp;", "&").replace("&#38;", "&"))).await;
    assert_eq!(targets(&older).len(), 11);
    assert!(!older.body.contains(">Older<") && older.body.contains(">Newest<"));
    assert!(matches!(server.app().web.control.verify_audit().unwrap(), Ok(lines) if lines >= 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_a_url_and_holds_for_page_file_and_rest() {
    let (server, ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Admin);
    let ws = runner(&server);
    add(&ws, Action::OrgSynced, "org-1").await;
    server.clock.advance(SignedDuration::from_hours(24));
    add(&ws, Action::OrgConnected, "org-2").await;
    server.clock.advance(SignedDuration::from_hours(24));
    let by_max = server.app().web.door.for_job(ws.id(), vynos::ids::JobId::from_bytes([7; 16]), Some(max));
    add(&by_max.unwrap().unwrap(), Action::OrgSynced, "=org-3").await;
    // The session is over by now.
    drop(ada);
    let ada = server.client();
    ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    let key = token(&ada, &["admin"]).await;
    for (query, wanted) in [
        ("action=org.synced", vec!["=org-3", "org-1"]),
        ("target=ORG-2", vec!["org-2"]),
        ("from=2026-11-24", vec!["=org-3", "org-2"]),
        ("to=2026-11-24", vec!["org-2", "org-1"]),
        ("from=2026-11-24&to=2026-11-24", vec!["org-2"]),
        (&format!("person={max}"), vec!["=org-3"]),
        ("person=operator", vec!["org-2", "org-1"]),
        ("person=schedule", vec![]),
        ("action=org.synced&person=operator", vec!["org-1"]),
        ("request=00000000000000000000000000", vec![]),
    ] {
        assert_eq!(targets(&ada.get(&format!("{PAGE}?{query}")).await), wanted, "{query}");
        let mut file = json(&ada, &format!("{PAGE}/file?format=json&{query}")).await;
        file.reverse();
        let of_file: Vec<&str> = file.iter().map(|row| row["target"].as_str().unwrap()).collect();
        assert_eq!(of_file, wanted, "{query}");
        let (status, answer) = rest(&server, &key, &format!("?{query}")).await;
        assert_eq!(status, 200);
        let items = answer["items"].as_array().unwrap();
        let of_rest: Vec<&str> = items.iter().map(|row| row["target"].as_str().unwrap()).collect();
        assert_eq!((of_rest, &answer["next"]), (wanted, &Value::Null), "{query}");
    }
    let csv = ada.get(&format!("{PAGE}/file?format=csv&action=org.synced")).await;
    assert!(
        csv.headers["content-disposition"].to_str().unwrap().contains("audit-contents-halden-energy.csv")
    );
    assert!(
        csv.body
            .starts_with("line,time,who,actor,account,token,job,action,target,workspace,request,hash\r\n")
    );
    assert!(csv.body.contains(",'=org-3,"), "never a formula: {}", csv.body);
    // The lines about the workspace in the instance's chain, each with the request that caused it.
    let members = ada.get(&format!("{PAGE}?of=members&action=workspace.created")).await;
    assert_eq!(targets(&members).len(), 1);
    let request = members.between("request=", "\"").unwrap();
    let same = ada.get(&format!("{PAGE}?of=members&request={request}")).await;
    assert!(targets(&same).contains(&targets(&members)[0]), "{}", same.body);
    let (_, answer) = rest(&server, &key, "?of=members&action=workspace.created").await;
    assert_eq!(answer["items"][0]["request"], request.as_str());
    // What means nothing is said, in the page itself.
    let wrong = ada.get(&format!("{PAGE}?request=x")).await;
    assert_eq!(wrong.status, 200);
    assert!(wrong.body.contains("A request id has 26 characters."));
    assert_eq!(ada.get(&format!("{PAGE}/file?request=x")).await.status, 422);
    assert_eq!(rest(&server, &key, "?action=x").await.0, 422);
    assert_eq!(rest(&server, &key, "?cursor=x").await.0, 422);
    let low = token(&ada, &["read", "chat", "upload", "change", "deploy"]).await;
    assert_eq!(rest(&server, &low, "").await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_pages_through_all_lines() {
    let (server, ada) = Server::ready().await;
    let ws = runner(&server);
    add(&ws, Action::OrgConnected, "rare").await;
    add(&ws, Action::OrgSynced, "common").await;
    let key = token(&ada, &["admin"]).await;
    for n in 0..5 {
        add(&ws, Action::OrgSynced, format!("n{n}")).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, answer) = rest(&server, &key, &format!("?limit=3{cursor}")).await;
        seen.extend(answer["items"].as_array().unwrap().iter().map(|row| row["line"].as_u64().unwrap()));
        let Some(next) = answer["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, (1..=7).rev().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_is_a_job_whose_result_stays() {
    let (server, ada) = Server::ready().await;
    let ws = runner(&server);
    for n in 0..20 {
        add(&ws, Action::OrgSynced, format!("doc-{n}")).await;
    }
    assert!(ada.get(PAGE).await.body.contains("Not checked yet."));
    assert_eq!(ada.post(&format!("{PAGE}/verify"), &[]).await.status, 303);
    let page = checked(&ada, PAGE).await;
    assert!(page.body.contains("Chain intact"), "{}", page.body);
    assert!(page.body.contains("for Ada Lovelace.") && page.body.contains("23 Nov 2026, 09:00:00"));
    let verified = ada.get(&format!("{PAGE}?action=audit.verified")).await;
    assert_eq!(targets(&verified), ["21 lines hold"]);
    // After a restart it is still known.
    drop(ws);
    let (dir, clock) = server.stop().await;
    let server = Server::on(dir, clock).await;
    let ada = server.client();
    ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    assert!(ada.get(PAGE).await.body.contains("Chain intact"));
    // Two asks in a row are one check.
    let verify = format!("{PAGE}/verify");
    let (one, two) = tokio::join!(ada.post(&verify, &[]), ada.post(&verify, &[]));
    assert_eq!((one.status, two.status), (303, 303));
    checked(&ada, PAGE).await;
    joined(&server, "max", Role::Member);
    let max = signed_in(&server, "max").await;
    for path in [PAGE.to_owned(), format!("{PAGE}/file"), format!("{PAGE}/evidence")] {
        assert_eq!(max.get(&path).await.status, 403, "{path}");
    }
    assert_eq!(max.post(&format!("{PAGE}/verify"), &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chain_is_named_with_its_evidence() {
    let (server, ada) = Server::ready().await;
    let ws = runner(&server);
    for n in 0..20 {
        add(&ws, Action::OrgSynced, format!("doc-{n}")).await;
    }
    ws.note(|tx| {
        let mut line = tx.get(&AUDIT, &17)?.unwrap();
        line.target = "forged".into();
        tx.put(&AUDIT, &17, &line)
    })
    .await
    .unwrap();
    ada.post(&format!("{PAGE}/verify"), &[]).await;
    let page = checked(&ada, PAGE).await;
    assert!(page.body.contains("Contents: the chain is broken at entry 17, 23 Nov 2026, 09:00:00."));
    assert!(!page.body.contains("Chain intact"));
    let file = ada.get(&format!("{PAGE}/evidence")).await;
    assert!(
        file.headers["content-disposition"].to_str().unwrap().contains("audit-evidence-halden-energy.json")
    );
    let evidence: Value = serde_json::from_str(&file.body).unwrap();
    let contents = &evidence["chains"][0];
    let line = contents["lines"].as_array().unwrap().last().unwrap();
    let hashed = [line["hash_before"].as_str().unwrap(), line["text"].as_str().unwrap()].concat();
    let by_hand = ring::digest::digest(&ring::digest::SHA256, hashed.as_bytes());
    assert_eq!(line["hash"], vynos::seal::hex(by_hand.as_ref()), "anybody can reckon it");
    assert_eq!((&contents["chain"], &contents["found"]["broken"]["line"]), (&"contents".into(), &17.into()));
    let wrong: Vec<u64> = contents["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["hash"] != line["hash_should_be"])
        .map(|line| line["line"].as_u64().unwrap())
        .collect();
    assert_eq!(wrong, [17], "the line itself does not have the hash it says");
    // Of the instance's chain, lines of others are hashes alone.
    let members = evidence["chains"][1]["lines"].as_array().unwrap();
    assert!(members.iter().any(|line| line["text"].is_null()));
    let own = format!("\"workspace\":\"{}\"", workspace(&server));
    assert!(members.iter().filter_map(|line| line["text"].as_str()).all(|text| text.contains(&own)));
    let verified = ada.get(&format!("{PAGE}?action=audit.verified")).await;
    assert_eq!(targets(&verified), ["contents broken at line 17"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_every_chain_leave_at_a_year_and_not_before() {
    let (server, ada) = Server::ready().await;
    let ws = runner(&server);
    add(&ws, Action::OrgSynced, "old").await;
    let control = server.app().web.control.clone();
    let keeper = server.app().keeper.clone();
    let old = (numbers_of_control(&control), 1);
    let year = server.clock.now().to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let year = year.checked_add(1.year()).unwrap().timestamp();
    server.clock.advance(year.duration_since(server.clock.now()) - SignedDuration::from_millis(1));
    add(&ws, Action::OrgSynced, "young").await;
    assert_eq!(keeper.prune_due().await.unwrap(), 0);
    assert_eq!(numbers_of_control(&control), old.0);
    server.clock.advance(SignedDuration::from_millis(1));
    assert_eq!(keeper.prune_due().await.unwrap(), old.0 + old.1);
    assert_eq!(keeper.prune_due().await.unwrap(), 0, "once");
    let lines = ws.read().unwrap().scan(&AUDIT).rows().unwrap();
    let kept: Vec<_> = lines.iter().map(|(number, line)| (*number, line.target.as_str())).collect();
    assert_eq!(kept, [(2, "young"), (3, "lines 1 to 1")]);
    assert!(matches!(lines[1].1.actor, Actor::Job { asked_by: None, .. }));
    assert_eq!((ws.verify_audit().unwrap(), control.verify_audit().unwrap()), (Ok(2), Ok(1)));
    // The sessions are over by now.
    let ada_again = server.client();
    ada_again.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    drop(ada);
    let page = ada_again.get(PAGE).await;
    assert_eq!(targets(&page), ["lines 1 to 1", "young"]);
    ada_again.post(&format!("{PAGE}/verify"), &[]).await;
    assert!(checked(&ada_again, PAGE).await.body.contains("Chain intact"));
}

fn numbers_of_control(control: &Control) -> u64 {
    control.read().unwrap().scan(&AUDIT).count().unwrap() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_read_and_verify_the_chain_of_the_instance() {
    let (server, ada) = Server::ready().await;
    let page = ada.get("/admin/audit").await;
    assert!(page.body.contains("<td class=\"t\">instance.set_up</td>"), "{}", page.body);
    assert!(!page.body.contains("<td class=\"t\">workspace.created</td>"), "that is the workspace's own");
    let rows = json(&ada, "/admin/audit/file?format=json").await;
    assert!(rows.iter().all(|row| row["workspace"].is_null()) && !rows.is_empty());
    assert_eq!(ada.post("/admin/audit/verify", &[]).await.status, 303);
    let page = checked(&ada, "/admin/audit").await;
    assert!(page.body.contains("Chain intact"));
    server
        .app()
        .web
        .control
        .touch::<StoreError>(|tx| {
            let mut line = tx.get(&AUDIT, &2)?.unwrap();
            line.target = "forged".into();
            tx.put(&AUDIT, &2, &line)
        })
        .unwrap();
    ada.post("/admin/audit/verify", &[]).await;
    for _ in 0..600 {
        let page = checked(&ada, "/admin/audit").await;
        if page.body.contains("Server: the chain is broken at entry 2, 23 Nov 2026, 09:00:00.") {
            return;
        }
    }
    panic!("the forged line is not named");
}
