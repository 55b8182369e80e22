//! Where data went: the ledger as a page and as a file, each person's own, the owner's whole, the operator's sums.

use std::time::Duration;

use vynos::identity::Role;
use vynos::ledger::{DAYS, LINES, Sums};
use vynos::sim::salesforce::Consent;
use vynos::store::Read as _;

use crate::access::signed_in;
use crate::harness::Client;
use crate::members::{joined, workspace};
use crate::orgs::{Rig, rig};

const PAGE: &str = "/w/halden-energy/privacy/traffic";

/// A synced org whose calls have all been written down; how many they are.
async fn called() -> (Rig, u64) {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let wanted = rig.sim.calls() + 1;
    let ws = rig.server.app().web.door.for_runner(workspace(&rig.server)).unwrap();
    for _ in 0..600 {
        if ws.read().unwrap().scan(&LINES).count().unwrap() as u64 == wanted {
            return (rig, wanted);
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("the ledger is not whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_leads_to_what_it_was_made_for_where_the_reader_may_see_it() {
    let (rig, sim) = crate::chat_pages::talking().await;
    joined(&rig.server, "max", Role::Owner);
    let max = signed_in(&rig.server, "max").await;
    let chat = crate::chat_pages::ask(&rig.ada, "What is here?").await;
    crate::chat_pages::ended(&rig.ada, &chat).await;
    let link = format!("<a class=\"link\" href=\"{chat}\">turn ");
    let mut own = rig.ada.get(PAGE).await;
    for _ in 0..600 {
        if own.body.contains(&link) {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
        own = rig.ada.get(PAGE).await;
    }
    assert!(own.body.contains(&link), "{}", own.body);
    assert!(own.body.contains("<a class=\"link\" href=\"/w/halden-energy/o/production/connection\">sync "));
    // Another owner sees the call, and not the way to somebody's chat.
    let others = max.get(PAGE).await;
    assert!(others.body.contains("(turn ") && !others.body.contains(&chat), "{}", others.body);
    sim.stop().await;
}

async fn json(client: &Client, path: &str) -> Vec<serde_json::Value> {
    let file = client.get(&format!("{path}/file?format=json")).await;
    assert_eq!(file.headers["content-type"], "application/json");
    serde_json::from_str(&file.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_by_day_equal_the_lines_and_an_owner_takes_them_all_away() {
    let (rig, calls) = called().await;
    let web = rig.server.app().web.clone();
    let ws = web.door.for_runner(workspace(&rig.server)).unwrap();
    let read = ws.read().unwrap();
    let (mut of_days, mut of_lines) = (Sums::default(), Sums::default());
    for (_, sums) in read.scan(&DAYS).rows().unwrap() {
        of_days.add(sums);
    }
    for (_, line) in read.scan(&LINES).rows().unwrap() {
        of_lines.add(Sums {
            calls: 1,
            refused: 0,
            sent_bytes: line.sent_bytes,
            received_bytes: line.received_bytes,
        });
    }
    assert_eq!(of_days, of_lines);
    assert_eq!(of_days.calls, calls);
    assert!(of_days.received_bytes > 10_000);

    let page = rig.ada.get(PAGE).await;
    assert_eq!(page.status, 200);
    for words in ["127.0.0.1", "Sync, validate, deploy", "1 person", "Ada Lovelace", "*.salesforce.com:443"] {
        assert!(page.body.contains(words), "{words}");
    }
    let rows = json(&rig.ada, PAGE).await;
    assert_eq!(rows.len() as u64, calls);
    assert!(rows.iter().all(|row| row["person"] == "Ada Lovelace" && row["status"] == 200));
    let csv = rig.ada.get(&format!("{PAGE}/file?format=csv")).await;
    assert!(
        csv.headers["content-disposition"].to_str().unwrap().contains("outbound-traffic-halden-energy.csv")
    );
    assert_eq!(csv.body.split("\r\n").count() as u64, calls + 2);
    assert!(csv.body.starts_with("time,host,purpose,why,person,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_and_filters_hold_in_the_file() {
    let (rig, calls) = called().await;
    let mut path = PAGE.to_owned();
    let mut seen = 0;
    for _ in 0..=calls {
        let page = rig.ada.get(&path).await;
        seen += page.all_between("<time datetime=", "</time>").len() as u64;
        let Some(older) = page.between("<a class=\"hit\" href=\"", "\"") else { break };
        path = older.replace("&amp;", "&").replace("&#38;", "&");
    }
    assert_eq!(seen, calls);
    let none = rig.ada.get(&format!("{PAGE}?q=nowhere")).await;
    assert!(none.body.contains("No call matches."));
    let file = rig.ada.get(&format!("{PAGE}/file?format=json&q=nowhere")).await;
    assert_eq!(file.body.trim(), "[]");
    assert_eq!(rig.ada.get(&format!("{PAGE}?before=x")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_see_only_their_own_calls_and_operators_only_sums() {
    let (rig, calls) = called().await;
    joined(&rig.server, "max", Role::Admin);
    let max = signed_in(&rig.server, "max").await;
    let page = max.get(PAGE).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Nothing left this server in this time."));
    assert!(!page.body.contains("Ada Lovelace"));
    assert!(json(&max, PAGE).await.is_empty());
    assert_eq!(max.get("/admin/traffic").await.status, 403);

    let sums = rig.ada.get("/admin/traffic").await;
    assert!(sums.body.contains("127.0.0.1"));
    assert!(sums.body.contains(&format!("<td class=\"num r nw hide-m\">{calls}</td>")), "{}", sums.body);
    // The lines are the workspace's own.
    assert!(sums.body.contains("No call matches."));
    assert!(json(&rig.ada, "/admin/traffic").await.is_empty());
}
