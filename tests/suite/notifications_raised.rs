//! What happens in the product is told: syncs, sign-outs, findings, validations, deployments.

use std::time::Duration;

use vynos::identity::Role;
use vynos::sim::salesforce::Consent;

use crate::access::signed_in;
use crate::deployments::{BASE, Bench, GREETER, TEST};
use crate::harness::Client;
use crate::members::joined;
use crate::orgs::rig;

const INBOX: &str = "/w/halden-energy/notifications";

/// Loads the inbox until it says `wanted`.
async fn until(client: &Client, wanted: &str) -> String {
    let mut page = String::new();
    for _ in 0..1_000 {
        page = client.get(INBOX).await.body;
        if page.contains(wanted) {
            return page;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("{wanted} never came: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_sign_outs_and_failed_syncs_are_told() {
    let rig = rig(Consent::Auto).await;
    joined(&rig.server, "vera", Role::Viewer);
    rig.connect().await;
    rig.synced().await;
    let vera = signed_in(&rig.server, "vera").await;
    let page = until(&vera, "new critical finding").await;
    assert!(page.contains("in Production"), "{page}");
    // The same findings, found again, are no news.
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    rig.synced().await;
    rig.sim.revoke_everything();
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    let page = until(&rig.ada, "Salesforce signed Vynos out of Production").await;
    assert!(!page.contains("The sync of Production failed"), "one notice for one cause: {page}");
    assert_eq!(
        page.matches("new critical finding").count(),
        until(&vera, "critical finding").await.matches("new critical finding").count()
    );
    assert!(!vera.get(INBOX).await.body.contains("signed Vynos out"), "who can’t connect it is not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_four_eyes_a_validated_change_set_waits_for_those_who_did_not_write_it() {
    let bench = Bench::new().await;
    let server = &bench.rig.server;
    joined(server, "max", Role::Member);
    joined(server, "vera", Role::Viewer);
    let (max, vera) = (signed_in(server, "max").await, signed_in(server, "vera").await);
    bench.policy("four_eyes").await;
    let id = bench.drafted(&[("classes/Greeter.cls", GREETER), ("classes/GreeterTest.cls", TEST)]).await;
    let set = bench.validated(&id).await;
    // Who may deploy is a rule: it is told to those it is for, and not to who changed it.
    until(&max, "Who may deploy to Production was changed").await;
    assert!(!bench.ada().get(INBOX).await.body.contains("Who may deploy to Production was changed"));
    let page = until(&max, "“Greet people” waits for your approval").await;
    assert!(page.contains("Ada Lovelace"), "who proposed it: {page}");
    let notice = page.between("/n/", "\">“Greet people” waits");
    let opened = max.get(&format!("/w/halden-energy/n/{notice}")).await;
    assert_eq!(opened.location(), format!("{BASE}/{id}/approve"));
    let page = until(bench.ada(), "“Greet people” passed its validation").await;
    assert!(!page.contains("waits for your approval"), "the author is not asked");
    assert!(!vera.get(INBOX).await.body.contains("Greet people"));
    let hash = set["hash"].as_str().unwrap();
    assert_eq!(bench.approve(&max, &id, hash, "Production", "deploy").await, 303);
    assert_eq!(bench.ada().post(&format!("{BASE}/{id}/release"), &[("hash", hash)]).await.status, 303);
    assert_eq!(bench.settled(&id).await["status"], "deployed");
    for client in [&max, bench.ada()] {
        until(client, "“Greet people” is deployed to Production").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_comes_over_its_threshold_is_told_once() {
    let rig = rig(Consent::Auto).await;
    joined(&rig.server, "vera", Role::Viewer);
    rig.connect().await;
    rig.synced().await;
    assert!(!rig.ada.get(INBOX).await.body.contains("DailyApiRequests is at"));
    rig.sim.misbehave(|faults| faults.remaining_calls = Some(9_000));
    for _ in 0..2 {
        rig.server.clock.advance(jiff::SignedDuration::from_mins(1));
        assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
        rig.synced().await;
    }
    let page = until(&rig.ada, "DailyApiRequests is at 91% in Production").await;
    assert_eq!(page.matches("DailyApiRequests is at").count(), 1, "{page}");
    assert!(page.contains("Limit over its threshold"), "it can be chosen how that is told");
    let vera = signed_in(&rig.server, "vera").await;
    assert!(!vera.get(INBOX).await.body.contains("DailyApiRequests is at"));
}

trait Between {
    fn between(&self, start: &str, end: &str) -> String;
}

impl Between for String {
    /// The text between the last `start` before `end` and `end`.
    fn between(&self, start: &str, end: &str) -> String {
        let before = self.split_once(end).unwrap().0;
        before.rsplit_once(start).unwrap().1.to_owned()
    }
}
