//! Usage, capacity and prices in a headless Chromium: calm and accessible, wide and narrow, light and dark.

use jiff::SignedDuration;
use vynos::identity::Role;
use vynos::ids::AccountId;
use vynos::meter::records::{date, day_of, month};
use vynos::meter::{Act, Event, Feature, Limit, NANO, Prices, Whose, budgets, record};
use vynos::sim::salesforce::Consent;
use vynos::store::StoreError;
use vynos::usage::samples::{SAMPLES, Sample};
use vynos::wire::model::Usage;

use crate::browser::{is_accessible, is_calm, sign_in};
use crate::harness::Server;
use crate::members::{joined, workspace};
use crate::orgs::rig;
use crate::webdriver::Browser;

/// Three weeks of work of two people, and what it took on the disk.
async fn worked(server: &Server, people: [AccountId; 2]) {
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    let (now, prices) = (server.clock.now(), Prices::built_in());
    ws.note::<_, StoreError>(move |tx| {
        for back in 0..22u32 {
            let at = now - SignedDuration::from_hours(24 * i64::from(back));
            let busy = if back % 7 == 1 || back % 7 == 2 { 40 } else { 1_000 };
            for (person, part) in people.into_iter().zip([3u64, 1]) {
                let used = Usage {
                    input: busy * part * u64::from(200 + back * 13 % 90),
                    output: busy * part * 110,
                    cache_read: busy * part * 330,
                    ..Usage::default()
                };
                let cost = prices.cost("claude-opus-5-5", &used, date(at));
                let event = Event::new(Some(person), Feature::Chat)
                    .count(Act::ConversationStarted, busy * part / 250)
                    .model_call("claude-opus-5-5", &used, cost);
                record(tx, at, &event)?;
            }
            let grown = u64::from(60 - back);
            let sample = Sample {
                keyspace: 9_000_000 + grown * 180_000,
                index: 2_000_000 + grown * 90_000,
                blobs: 30_000_000 + grown * 1_400_000 + u64::from(back * 7 % 5) * 900_000,
                ..Sample::default()
            };
            tx.put(&SAMPLES, &day_of(date(at)), &sample)?;
        }
        let deployments = Event::new(Some(people[0]), Feature::Deployments);
        record(tx, now, &deployments.count(Act::Deployment, 4).count(Act::Validation, 11))?;
        let month = month(date(now));
        budgets::set(tx, month, Whose::Workspace, Some(Limit::NanoUsd(500 * NANO)))?;
        budgets::set(tx, month, Whose::Member(people[1]), Some(Limit::Tokens(9_000_000)))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_capacity_and_prices_are_calm_and_accessible() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let server = &rig.server;
    let max = joined(server, "max", Role::Member);
    let members = server.app().web.control.members_of(workspace(server)).unwrap();
    let ada = members.iter().find(|(_, role)| *role == Role::Owner).unwrap().0;
    worked(server, [ada, max]).await;
    let browser = Browser::start(1440, 1200, true).await;
    sign_in(&browser, &server.base).await;
    for path in ["/w/halden-energy/usage", "/w/halden-energy/usage/capacity", "/admin/prices"] {
        let url = format!("{}{path}", server.base);
        browser.narrow(1440, 1200).await;
        browser.goto(&url).await;
        is_calm(&browser, path).await;
        is_accessible(&browser, path).await;
        browser.run("document.documentElement.dataset.theme = 'dark'").await;
        is_accessible(&browser, &format!("{path} dark")).await;
        browser.picture(&format!("{}-dark", path.rsplit('/').next().unwrap())).await;
        browser.narrow(390, 844).await;
        browser.goto(&url).await;
        is_calm(&browser, path).await;
        browser.run("scrollTo(0, document.body.scrollHeight)").await;
        browser.picture(&format!("{}-end", path.rsplit('/').next().unwrap())).await;
    }
    // The table twin opens without a script, and says the days that the bars show.
    browser.narrow(1440, 1200).await;
    browser.goto(&format!("{}/w/halden-energy/usage", server.base)).await;
    browser.click("details summary").await;
    let rows = browser.run("return document.querySelectorAll('details[open] tbody tr').length").await;
    assert_eq!(rows, 22);
    let bars = browser.run("return document.querySelectorAll('.chart rect.b1').length").await;
    assert_eq!(bars, 22);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
