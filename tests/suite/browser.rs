//! The journey as a person walks it, in a headless Chromium: first run, sign-in, an org connected and synced,
//! its metadata read. Any console error or policy report fails.

use vynos::sim::salesforce::{CLIENT_ID, CLIENT_SECRET, Consent};

use crate::harness::{PASSWORD, Server};
use crate::orgs::{fresh, rig};
use crate::webdriver::Browser;

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
const ESCAPE: &str = "\u{E00C}";

pub async fn is_calm(browser: &Browser, page: &str) {
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{page}: {complaints:?}");
    let wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth").await;
    let out = "return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth) \
               .map(e => e.tagName + '.' + e.className).slice(0, 8)";
    let out = browser.run(out).await;
    assert!(wide.as_i64().unwrap() <= 0, "{page} scrolls sideways by {wide}: {out}");
    let name = page.trim_matches('/').replace('/', "-");
    let width = browser.run("return window.innerWidth").await;
    browser.picture(&format!("{name}-{width}")).await;
}

/// axe-core's findings on the page, or in the menu that lies open over a part of it, or none; its script is fetched by
/// tests/run.
pub async fn is_accessible(browser: &Browser, page: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/.cache/axe.min.js");
    let axe = std::fs::read_to_string(path)
        .expect("tests/.cache/axe.min.js is missing: run tests/run, which fetches it");
    browser.run(&axe).await;
    let found = browser
        .run_async(
            "const done = arguments[arguments.length - 1]; \
             const menu = document.querySelector('.menu:popover-open'); \
             axe.run(menu ?? document, {runOnly: ['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa','best-practice']}) \
             .then(r => done(r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.target.join(' ')).slice(0, 3).join(' | '))))",
        )
        .await;
    assert_eq!(found, serde_json::json!([]), "{page}");
}

/// The wizard from its first page to the workspace.
async fn set_up(browser: &Browser, server: &Server) {
    browser.goto(&server.base).await;
    browser.type_into("#code", &server.setup_code).await;
    browser.type_into("#name", "Mira Kovač").await;
    browser.type_into("#email", "mira@halden.example").await;
    browser.type_into("#password", PASSWORD).await;
    is_calm(browser, "/setup-1").await;
    is_accessible(browser, "/setup").await;
    browser.click(".setup-f button").await;
    browser.find("form[action='/setup/address']").await;
    is_calm(browser, "/setup-2").await;
    browser.click(".setup-f button").await;
    browser.click("form[action='/setup/recovery'] button").await;
    browser.find("#recovery-code").await;
    let group = browser.text("#recovery-code li:nth-child(6)").await;
    browser.type_into("#group", &group).await;
    browser.click("input[name=saved]").await;
    is_calm(browser, "/setup-3").await;
    is_accessible(browser, "/setup recovery").await;
    browser.click(".setup-f button").await;
    let model = vynos::sim::model::start(vynos::sim::model::Options::default()).await.unwrap();
    browser.find("form[action='/setup/model']").await;
    is_calm(browser, "/setup-4").await;
    browser.type_into("#base_url", "http://127.0.0.1:9/").await;
    browser.type_into("#model", vynos::sim::model::MODEL).await;
    browser.click("button[value=test]").await;
    browser.find(".errsum").await;
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|c| c.contains("422")), "{complaints:?}");
    browser.type_into("#base_url", model.url().as_str()).await;
    browser.type_into("#key", model.key()).await;
    browser.click("button[value=test]").await;
    browser.find(".note.ok").await;
    is_calm(browser, "/setup-4-tested").await;
    is_accessible(browser, "/setup model").await;
    browser.click("button[form=g]").await;
    browser.find("form[action='/setup/mail']").await;
    is_calm(browser, "/setup-5").await;
    is_accessible(browser, "/setup mail").await;
    browser.click("button[form=g]").await;
    browser.type_into("form[action='/setup/workspace'] #name", "Halden Energy").await;
    browser.click(".setup-f button").await;
    browser.find(".side").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_sets_up_connects_an_org_and_reads_its_metadata() {
    for (width, height) in [(1440, 900), (390, 844)] {
        let (server, sim) = fresh(Consent::Page).await;
        let browser = Browser::start(width, height, true).await;
        set_up(&browser, &server).await;
        let base = format!("{}/w/halden-energy", server.base);
        browser.goto(&format!("{base}/orgs/connect")).await;
        is_accessible(&browser, "connect").await;
        browser.type_into("form[action$='/orgs/connect'] #name", "Production").await;
        browser.type_into("#login", sim.url().as_str()).await;
        browser.type_into("#client_id", CLIENT_ID).await;
        browser.type_into("#client_secret", CLIENT_SECRET).await;
        is_calm(&browser, "/orgs/connect").await;
        browser.click("form[action$='/orgs/connect'] .btn.pri").await;
        browser.click("#go").await;
        browser.click("button[value=allow]").await;
        // The page keeps itself fresh: nothing is loaded again here.
        browser.find("#limits:not([hidden])").await;
        assert!(browser.url().await.ends_with("/o/production"));
        is_calm(&browser, "/o/production").await;
        for page in [
            "o/production",
            "o/production/connection",
            "o/production/findings",
            "o/production/limits",
            "o/production/metadata",
            "o/production/metadata/ApexClass/OpportunityTriggerHandler",
            "o/production/metadata/CustomObject/Renewal__c",
            "orgs",
            "audit",
            "tokens",
        ] {
            browser.goto(&format!("{base}/{page}")).await;
            browser.find("h1").await;
            is_calm(&browser, page).await;
            is_accessible(&browser, page).await;
        }
        for page in ["/workspaces", "/account/profile", "/nowhere"] {
            browser.goto(&format!("{}{page}", server.base)).await;
            if page == "/nowhere" {
                browser.picture(&format!("nowhere-{width}")).await;
            } else {
                is_calm(&browser, page).await;
            }
            is_accessible(&browser, page).await;
        }
        browser.complaints().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dark_theme_is_drawn_by_the_server_and_kept() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let browser = Browser::start(1440, 900, true).await;
    browser.goto(&format!("{}/sign-in", rig.server.base)).await;
    browser.type_into("#email", "ada@halden.example").await;
    browser.type_into("#password", PASSWORD).await;
    is_accessible(&browser, "sign-in").await;
    is_calm(&browser, "/sign-in").await;
    browser.click(".auth-f .btn.pri").await;
    browser.find(".side").await;
    browser.goto(&format!("{}/account/profile", rig.server.base)).await;
    browser.find("#theme").await;
    browser.run("document.querySelector('#theme').value = 'dark'").await;
    browser.click("main .btn.pri").await;
    browser.find(".note.ok").await;
    browser.goto(&format!("{}/w/halden-energy/o/production", rig.server.base)).await;
    let background = browser
        .run("return getComputedStyle(document.body).colorScheme + document.documentElement.dataset.theme")
        .await;
    assert!(background.as_str().unwrap().ends_with("dark"), "{background}");
    is_calm(&browser, "/dark/production").await;
    is_accessible(&browser, "dark").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_script() {
    let rig = rig(Consent::Auto).await;
    let browser = Browser::start(1280, 800, false).await;
    let base = rig.server.base.clone();
    sign_in(&browser, &base).await;
    browser.goto(&format!("{base}/w/halden-energy/orgs/connect")).await;
    browser.type_into("#auth_name", "Production").await;
    browser.type_into("#auth_url", &rig.sim.sfdx_auth_url()).await;
    browser.click("form[action$='/auth-url'] button").await;
    browser.find("#counts").await;
    rig.synced().await;
    browser.goto(&format!("{base}/w/halden-energy/o/production/metadata?q=renewal")).await;
    browser.click("a[href$='/CustomObject/Renewal__c']").await;
    assert!(browser.text("main").await.contains("Due__c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough_to_sign_in_and_the_focus_is_seen() {
    let (server, _) = Server::ready().await;
    let browser = Browser::start(1280, 800, true).await;
    browser.goto(&format!("{}/sign-in", server.base)).await;
    browser.keys(TAB).await;
    assert_eq!(browser.run("return document.activeElement.className").await, "skip");
    browser.keys(TAB).await;
    assert_eq!(browser.run("return document.activeElement.innerText").await, "Use a passkey");
    browser.keys(TAB).await;
    browser.keys("ada@halden.example").await;
    browser.keys(TAB).await;
    browser.keys(PASSWORD).await;
    let outline = browser
        .run("const s = getComputedStyle(document.activeElement); return parseFloat(s.outlineWidth) + (s.boxShadow === 'none' ? 0 : 2)")
        .await;
    assert!(outline.as_f64().unwrap() >= 2.0, "the focus ring is {outline} px");
    browser.keys(ENTER).await;
    browser.find(".side").await;
    browser.goto(&format!("{}/sign-in", server.base)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_takes_the_focus_and_names_itself_in_the_title() {
    let (server, _) = Server::ready().await;
    let browser = Browser::start(1280, 800, true).await;
    browser.goto(&format!("{}/sign-in", server.base)).await;
    browser.type_into("#email", "ada@halden.example").await;
    browser.type_into("#password", "wrong wrong wrong").await;
    browser.click(".auth-f .btn.pri").await;
    browser.find(".errsum").await;
    assert_eq!(browser.run("return document.activeElement.className").await, "errsum");
    assert!(browser.run("return document.title").await.as_str().unwrap().starts_with("Error: "));
    is_accessible(&browser, "sign-in with an error").await;
}

pub async fn sign_in(browser: &Browser, base: &str) {
    browser.goto(&format!("{base}/sign-in")).await;
    browser.type_into("#email", "ada@halden.example").await;
    browser.type_into("#password", PASSWORD).await;
    browser.click(".auth-f .btn.pri").await;
    browser.find(".side").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_and_revoked_and_signing_out_ends_the_session() {
    let (server, _) = Server::ready().await;
    let browser = Browser::start(1440, 900, true).await;
    sign_in(&browser, &server.base).await;
    browser.goto(&format!("{}/w/halden-energy/tokens", server.base)).await;
    browser.type_into("#name", "Nightly report").await;
    browser.click("#scope-read").await;
    browser.click("form[action$='/tokens'] .btn.pri").await;
    let token = browser.text("#fresh-token").await;
    assert!(token.starts_with("vyn_"), "{token}");
    is_calm(&browser, "/token-made").await;
    is_accessible(&browser, "a token shown once").await;
    browser.goto(&format!("{}/w/halden-energy/tokens", server.base)).await;
    assert!(!browser.text("body").await.contains(&token), "shown once only");
    browser.click("form[action$='/revoke'] button").await;
    browser.wait("return document.querySelector('tbody').innerText.includes('Revoked on')").await;
    is_calm(&browser, "/token-revoked").await;
    browser.click(".me").await;
    browser.click("#me-menu form button").await;
    browser.find("#password").await;
    browser.goto(&format!("{}/w/halden-energy/tokens", server.base)).await;
    assert!(browser.url().await.contains("/sign-in"), "{}", browser.url().await);
    sign_in(&browser, &server.base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn menus_and_the_drawer_open_beside_their_buttons_and_give_the_focus_back() {
    let (server, _) = Server::ready().await;
    for (width, height) in [(1440, 900), (390, 844)] {
        let browser = Browser::start(width, height, true).await;
        sign_in(&browser, &server.base).await;
        browser.goto(&format!("{}/w/halden-energy/tokens", server.base)).await;
        if width < 860 {
            browser.click("[popovertarget=drawer]").await;
            browser.picture("drawer-390").await;
            is_accessible(&browser, "drawer").await;
        }
        for (opener, menu) in [(".ws", "ws-menu"), (".me", "me-menu")] {
            browser.click(opener).await;
            browser.picture(&format!("{menu}-{width}")).await;
            is_accessible(&browser, menu).await;
            let apart = format!(
                "const a = document.querySelector('{opener}').getBoundingClientRect(), \
                 b = document.getElementById('{menu}').getBoundingClientRect(); \
                 return b.left >= 0 && b.right <= innerWidth && b.top >= 0 && b.bottom <= innerHeight \
                   && Math.min(Math.abs(b.top - a.bottom), Math.abs(a.top - b.bottom)) < 24"
            );
            assert_eq!(browser.run(&apart).await, true, "{menu} at {width}");
            browser.keys(ESCAPE).await;
            let back = format!("return document.activeElement.matches('{opener}')");
            assert_eq!(browser.run(&back).await, true, "{menu} gives the focus back");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_fit_320_pixels_and_their_fields_stay_wide_enough_to_type() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let browser = Browser::start(500, 800, true).await;
    sign_in(&browser, &rig.server.base).await;
    browser.narrow(320, 640).await;
    for page in [
        "o/production",
        "o/production/findings",
        "o/production/metadata",
        "o/production/metadata/ApexClass/OpportunityTriggerHandler",
        "orgs",
        "orgs/connect",
        "audit",
        "tokens",
    ] {
        browser.goto(&format!("{}/w/halden-energy/{page}", rig.server.base)).await;
        assert_eq!(browser.run("return window.innerWidth").await, 320);
        let narrow = "return [...document.querySelectorAll('main .in')].filter(e => e.offsetWidth < 120).map(e => e.id)";
        assert_eq!(browser.run(narrow).await, serde_json::json!([]), "{page}");
        is_calm(&browser, page).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_share_one_stream_and_all_of_them_stay_fresh() {
    let rig = rig(Consent::Auto).await;
    let browser = Browser::start(1280, 800, true).await;
    sign_in(&browser, &rig.server.base).await;
    rig.connect().await;
    rig.synced().await;
    let page = format!("{}/w/halden-energy/o/production", rig.server.base);
    browser.goto(&page).await;
    browser.wait("return document.querySelector('#limits li') !== null").await;
    let (first, second) = browser.new_tab().await;
    browser.goto(&page).await;
    let locks = "const done = arguments[arguments.length - 1]; \
                 navigator.locks.query().then(l => done([l.held.length, l.pending.length]))";
    for _ in 0..400 {
        if browser.run_async(locks).await == serde_json::json!([1, 1]) {
            break;
        }
    }
    assert_eq!(browser.run_async(locks).await, serde_json::json!([1, 1]), "one listens, one waits");
    // The second tab has no stream of its own.
    rig.server.clock.advance(jiff::SignedDuration::from_hours(1));
    let synced = rig.ada.post("/w/halden-energy/o/production/sync", &[]).await;
    assert_eq!(synced.status, 303, "{}", synced.body);
    rig.synced().await;
    for tab in [&second, &first] {
        browser.switch(tab).await;
        browser.wait("return document.querySelector('#head').innerText.includes('10:00 UTC')").await;
    }
    assert!(browser.complaints().await.is_empty());
}
