//! Signing in with password and code, and the main acts behind it: with a keyboard alone, and without script.

use crate::browser::{is_accessible, is_calm};
use crate::chat_pages::talking;
use crate::harness::PASSWORD;
use crate::members::invited;
use crate::security::{code_at, enrolled, now};
use crate::webdriver::Browser;

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
/// Stops on the way to something; more means that it can't be reached.
const MOST_STOPS: usize = 90;
/// How much of a ring or other mark the focus shows, in pixels, on the element or on the box around a field; -1 where the
/// focus has left the page.
const RING: &str = "const e = document.activeElement; if (e === document.body) return -1; \
    return Math.max(...[e, e.closest('.composer'), ...e.children].filter(Boolean).map(x => { const s = getComputedStyle(x); \
    return Math.max(parseFloat(s.outlineWidth) || 0, s.boxShadow === 'none' ? 0 : 2) }))";

/// Goes on with the Tab key until the focus is there. It is seen at every stop and never lost.
async fn tab_to(browser: &Browser, css: &str) {
    browser.find(css).await;
    let there = format!("return document.activeElement.matches({css:?})");
    for _ in 0..MOST_STOPS {
        if browser.run(&there).await == true {
            return;
        }
        browser.keys(TAB).await;
        let ring = browser.run(RING).await.as_f64().unwrap();
        // From the last stop the focus goes to the browser's own bars.
        assert!(!(0.0..2.0).contains(&ring), "the focus is not seen: {}", at(browser).await);
    }
    panic!("{css} is reached by no key, from {}", at(browser).await);
}

async fn at(browser: &Browser) -> String {
    browser.run("return document.activeElement.outerHTML.slice(0, 200)").await.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough_from_the_code_to_the_source_of_an_answer() {
    let (rig, sim) = talking().await;
    let (key, _) = enrolled(&rig.server, &rig.ada).await;
    rig.server.clock.advance(jiff::SignedDuration::from_secs(60));
    let browser = Browser::start(1440, 900, true).await;
    browser.goto(&format!("{}/sign-in", rig.server.base)).await;
    tab_to(&browser, "#email").await;
    browser.keys("ada@halden.example").await;
    tab_to(&browser, "#password").await;
    browser.keys(PASSWORD).await;
    browser.keys(ENTER).await;
    browser.find("#code").await;
    is_calm(&browser, "/sign-in-code").await;
    is_accessible(&browser, "the code").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "code", "the only field has the focus");
    browser.keys("000 000").await;
    browser.keys(ENTER).await;
    browser.find(".errsum").await;
    assert!(browser.run("return document.title").await.as_str().unwrap().starts_with("Error: "));
    browser.complaints().await;
    tab_to(&browser, "#code").await;
    browser.run("document.activeElement.value = ''").await;
    browser.keys(&code_at(&key, now(&rig.server))).await;
    browser.keys(ENTER).await;
    browser.find(".side").await;
    // The first stop of a page leads past its menus.
    browser.keys(TAB).await;
    assert_eq!(browser.run("return document.activeElement.className").await, "skip");
    browser.keys(ENTER).await;
    assert_eq!(browser.run("return location.hash").await, "#content");
    browser.goto(&format!("{}/w/halden-energy/orgs", rig.server.base)).await;
    tab_to(&browser, ".side a.btn.block").await;
    browser.keys(ENTER).await;
    tab_to(&browser, "#q").await;
    browser.keys("What does OpportunityTriggerHandler do?").await;
    browser.keys(ENTER).await;
    browser.wait("return Boolean(document.querySelector('#msgs .tools')) && !document.querySelector('[aria-busy]')").await;
    browser.run("document.querySelector('#content').focus()").await;
    tab_to(&browser, ".tools summary").await;
    browser.keys(ENTER).await;
    assert_eq!(browser.run("return document.querySelector('.tools').open").await, true);
    tab_to(&browser, ".prose .cite[href$='-2']").await;
    browser.keys(ENTER).await;
    browser.wait("return document.activeElement.matches('.src.on')").await;
    browser.keys(ENTER).await;
    browser.find("table.diff").await;
    assert!(browser.url().await.contains("/metadata/ApexClass/OpportunityTriggerHandler#L"));
    assert!(browser.complaints().await.is_empty());
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_script_one_signs_in_with_a_code_adds_a_document_asks_exports_and_invites() {
    let (rig, sim) = talking().await;
    let (key, _) = enrolled(&rig.server, &rig.ada).await;
    rig.server.clock.advance(jiff::SignedDuration::from_secs(60));
    let browser = Browser::start(1280, 900, false).await;
    let base = format!("{}/w/halden-energy", rig.server.base);
    browser.goto(&format!("{}/sign-in", rig.server.base)).await;
    browser.type_into("#email", "ada@halden.example").await;
    browser.type_into("#password", PASSWORD).await;
    browser.click(".auth-f .btn.pri").await;
    browser.type_into("#code", &code_at(&key, now(&rig.server))).await;
    browser.click(".auth-f .btn.pri").await;
    browser.find(".side").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runbook.md");
    std::fs::write(&file, "# Nightly job\n\nThe renewal stage is set by the nightly job turnstile.\n")
        .unwrap();
    browser.goto(&format!("{base}/knowledge")).await;
    browser.upload("input[type=file]", file.to_str().unwrap()).await;
    browser.click("form[enctype] .btn").await;
    crate::knowledge::says(&rig.ada, "Ready").await;
    browser.goto(&format!("{base}/knowledge?q=turnstile")).await;
    assert!(browser.text("main").await.contains("nightly job"), "{}", browser.text("main").await);
    browser.goto(&format!("{base}/o/production/findings?severity=critical")).await;
    browser.find("h1").await;
    browser.goto(&format!("{base}/chat")).await;
    browser.type_into("#q", "What does OpportunityTriggerHandler do?").await;
    browser.click(".send").await;
    browser.find("#msgs .prose").await;
    let path =
        browser.url().await.split(&rig.server.base).nth(1).unwrap().split('#').next().unwrap().to_owned();
    crate::chat_pages::ended(&rig.ada, &path).await;
    browser.goto(&format!("{}{path}", rig.server.base)).await;
    assert!(browser.text(".tools summary").await.contains("Checked 2 things"));
    let saved = rig.ada.get(&format!("{path}/export")).await;
    assert!(saved.status == 200 && saved.body.contains("OpportunityTriggerHandler"));
    browser.goto(&format!("{base}/members")).await;
    browser.type_into("#email", "max@halden.example").await;
    browser.click(".frm .btn.pri").await;
    browser.find("#link-1").await;
    assert!(browser.text("#link-1").await.contains("/invite/"));
    sim.stop().await;
}

/// UI checks 5 and 14: nothing is too small for a finger, on the pages of accounts, members and the instance.
#[tokio::test(flavor = "multi_thread")]
async fn at_390_pixels_every_control_that_stands_alone_is_large_enough_to_hit() {
    let (rig, sim) = talking().await;
    invited(&rig.ada, "max@halden.example", "member").await;
    let browser = Browser::start(500, 844, true).await;
    crate::browser::sign_in(&browser, &rig.server.base).await;
    browser.narrow(390, 844).await;
    let id = crate::members::workspace(&rig.server);
    let quota = format!("/admin/workspaces/{id}/quota");
    for page in [
        "/w/halden-energy/members",
        "/w/halden-energy/settings",
        "/w/halden-energy/settings/mail",
        "/w/halden-energy/tokens",
        "/w/halden-energy/notifications",
        "/account/profile",
        "/account/security",
        "/account/notifications",
        "/admin/accounts",
        "/admin/mail",
        "/admin/policy",
        "/admin/workspaces",
        &quota,
    ] {
        browser.goto(&format!("{}{page}", rig.server.base)).await;
        browser.find("h1").await;
        is_calm(&browser, page).await;
        is_accessible(&browser, page).await;
        // Links inside a sentence may be smaller (WCAG 2.5.8); a box in its label is hit by the label.
        let small = "return [...document.querySelectorAll('main button, main select, main .in, main .btn, main summary, main label.check')] \
                     .filter(e => e.checkVisibility() && !e.closest('.vh')) \
                     .map(e => [e, e.getBoundingClientRect()]) \
                     .filter(([e, r]) => r.width < 24 || r.height < 24 || (e.matches('.btn.pri') && r.height < 38)) \
                     .map(([e, r]) => e.outerHTML.slice(0, 90) + ' ' + r.width + 'x' + r.height).slice(0, 5)";
        assert_eq!(browser.run(small).await, serde_json::json!([]), "{page}");
    }
    sim.stop().await;
}
