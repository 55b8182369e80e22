//! Single sign-on as people walk it, in a headless Chromium against a provider by others.

use serde_json::json;

use crate::access::person;
use crate::browser::{is_accessible, is_calm};
use crate::harness::PASSWORD;
use crate::sso::{Provider, ready, settings};
use crate::webdriver::Browser;

async fn sign_in(browser: &Browser, base: &str) {
    browser.goto(&format!("{base}/sign-in")).await;
    browser.type_into("#email", "ada@halden.example").await;
    browser.type_into("#password", PASSWORD).await;
    browser.click(".auth-f .btn.pri").await;
    browser.find(".side").await;
}

/// Through the provider's own pages, from its first to the last.
async fn at_the_provider(browser: &Browser, provider: &Provider, name: &str) {
    browser.type_into("input[name=login]", name).await;
    browser.type_into("input[name=password]", "x").await;
    browser.click("button[type=submit]").await;
    browser.find("input[name=prompt][value=consent]").await;
    assert!(browser.url().await.starts_with(&provider.issuer));
    browser.click("button[type=submit]").await;
    browser.complaints().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_single_sign_on_up_and_people_come_by_it() {
    for (width, height, script) in [(1440, 900, true), (390, 844, false)] {
        let (server, ada) = ready().await;
        let provider = Provider::start(&server, "RS256");
        person(&server.app().web.control, "lin");
        let people = json!({
            "grace": {"email": "grace@halden.example", "email_verified": true, "name": "Grace Hopper", "groups": ["crm"]},
            "lin": {"email": "lin@halden.example", "email_verified": true, "name": "Lin"},
            "eve": {"email": "eve@elsewhere.example", "email_verified": true},
        });
        provider.people(people).await;
        let browser = Browser::start(width, height, script).await;
        let base = server.base.clone();
        if script {
            sign_in(&browser, &base).await;
            browser.goto(&format!("{base}/admin/sso")).await;
            is_calm(&browser, "/admin/sso-empty").await;
            is_accessible(&browser, "/admin/sso").await;
            browser.type_into("#issuer", &provider.issuer).await;
            browser.type_into("#client_id", "vynos").await;
            browser.type_into("#secret", "provider-secret-0815").await;
            browser.type_into("#domains", "halden.example").await;
            browser.type_into("#mapping", "crm = halden-energy: member").await;
            browser.click("#join").await;
            browser.click("button[value=test]").await;
            browser.find(".note.ok").await;
            is_calm(&browser, "/admin/sso-tested").await;
            is_accessible(&browser, "/admin/sso tested").await;
            browser.type_into("#secret", "provider-secret-0815").await;
            browser.click("button[value=save]").await;
            browser.find("form[action='/admin/sso/remove']").await;
            is_calm(&browser, "/admin/sso-saved").await;
            browser.narrow(1440, 2400).await;
            browser.picture("admin-sso-whole").await;
            browser.narrow(390, 844).await;
            is_calm(&browser, "/admin/sso-narrow").await;
        } else {
            let other = [("join", "yes"), ("domains", "halden.example"), ("label", "single sign-on")];
            assert_eq!(ada.post("/admin/sso", &settings(&provider.issuer, &other)).await.status, 200);
        }
        let browser = Browser::start(width, height, script).await;
        browser.goto(&format!("{base}/sign-in?next=/account/profile")).await;
        is_calm(&browser, "/sign-in-sso").await;
        if script {
            is_accessible(&browser, "/sign-in with single sign-on").await;
        }
        browser.click("a[href^='/sign-in/sso']").await;
        at_the_provider(&browser, &provider, "grace").await;
        browser.find("#ssoh").await;
        assert!(browser.url().await.ends_with("/account/profile"));
        is_calm(&browser, "/account/profile-sso").await;
        // Who has an account already gives its password once.
        let browser = Browser::start(width, height, script).await;
        browser.goto(&format!("{base}/sign-in")).await;
        browser.click("a[href^='/sign-in/sso']").await;
        at_the_provider(&browser, &provider, "lin").await;
        browser.find("form[action='/sign-in/sso/prove']").await;
        is_calm(&browser, "/sign-in-sso-prove").await;
        browser.type_into("#password", PASSWORD).await;
        browser.click(".auth-f .btn.pri").await;
        browser.find("h1").await;
        browser.goto(&format!("{base}/account/profile")).await;
        browser.find("form[action='/account/sso/unlink']").await;
        // Who is not expected reads why.
        let browser = Browser::start(width, height, script).await;
        browser.goto(&format!("{base}/sign-in")).await;
        browser.click("a[href^='/sign-in/sso']").await;
        at_the_provider(&browser, &provider, "eve").await;
        browser.find(".note.bad").await;
        assert!(browser.complaints().await.iter().all(|c| c.contains("403")));
        is_calm(&browser, "/sign-in-sso-failed").await;
        if script {
            is_accessible(&browser, "/sign-in/sso failed").await;
            browser.complaints().await;
        }
    }
}
