//! Findings after a sync: planted problems found with their lines, look-alikes left alone, fixed ones closed.

use std::time::Duration;

use jiff::SignedDuration;
use vynos::sim::salesforce::Consent;

use crate::orgs::{Rig, rig};

const FINDINGS: &str = "/w/halden-energy/o/production/findings";

/// The page of findings once an analysis as of this time is there.
async fn checked(rig: &Rig, time: &str) -> String {
    let wanted = format!("checked 23 November 2026, {time} UTC");
    for _ in 0..600 {
        let page = rig.ada.get(FINDINGS).await.body;
        if page.contains(&wanted) {
            return page;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("no analysis at {time}: {}", rig.ada.get(FINDINGS).await.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_problems_are_found_with_their_lines_and_closed_when_fixed() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    let page = checked(&rig, "09:00").await;
    assert!(page.contains("APX-001") && page.contains("ApexClass · OpportunityTriggerHandler"), "{page}");
    assert!(page.contains("FLW-001") && page.contains("Flow · Opportunity_Renewal_Sync"));
    assert!(page.contains("LIM-001"), "storage is at 86 percent");
    assert!(!page.contains("ApexClass · HelloWorld<"), "a clean class has no finding");
    let health = rig.ada.get("/w/halden-energy/o/production").await.body;
    assert!(health.contains("How the score comes about") && health.contains("Health score "), "{health}");
    let first = health.split("Fix these first").nth(1).unwrap();
    assert_eq!(first.matches("/o/production/findings/").count(), 5, "{first}");
    let automation = rig.ada.get(&format!("{FINDINGS}?area=Automation")).await.body;
    assert!(automation.contains("FLW-001") && !automation.contains("APX-001"), "{automation}");
    let high = rig.ada.get(&format!("{FINDINGS}?severity=high")).await;
    let links = high.all_between("/o/production/findings/", "\"");
    let mut shown = false;
    for link in links {
        let finding = rig.ada.get(&format!("{FINDINGS}/{link}")).await;
        assert_eq!(finding.status, 200, "{link}");
        shown |= finding.body.contains("SELECT Id, EndDate FROM Contract")
            && finding.body.contains("<tr class=\"d\">");
    }
    assert!(shown, "the finding shows the query inside the loop");
    rig.server.clock.advance(SignedDuration::from_hours(1));
    rig.sim.edit("ApexClass", "OpportunityTriggerHandler", |_| {
        "public with sharing class OpportunityTriggerHandler {\n    public static void run() {}\n}\n"
            .to_owned()
    });
    rig.ada.post("/w/halden-energy/o/production/sync", &[]).await;
    let page = checked(&rig, "10:00").await;
    assert!(!page.contains("ApexClass · OpportunityTriggerHandler"), "{page}");
    let closed = rig.ada.get(&format!("{FINDINGS}?status=closed")).await;
    assert!(
        closed.body.contains("ApexClass · OpportunityTriggerHandler")
            && closed.body.contains("No longer found")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_org_leaves_no_finding_behind() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    checked(&rig, "09:00").await;
    rig.ada.post("/w/halden-energy/o/production/disconnect", &[]).await;
    let web = rig.server.app().web.clone();
    let id = web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
    let ws = web.door.for_runner(id).unwrap();
    let mut left = 1;
    for _ in 0..600 {
        left = vynos::store::Read::scan(&ws.read().unwrap(), &vynos::insights::records::FINDINGS)
            .count()
            .unwrap();
        if left == 0 {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert_eq!(left, 0);
}
