//! Passkeys in Chromium with its virtual authenticator: added, used alone, renamed, removed.

use crate::browser::{is_accessible, is_calm, sign_in};
use crate::harness::{PASSWORD, Server};
use crate::members::invited;
use crate::passkeys::ask_for_two;
use crate::webdriver::Browser;

const LIST: &str = "/account/security";

/// Adds a passkey on the list's page.
pub async fn add(browser: &Browser, base: &str) {
    browser.goto(&format!("{base}{LIST}")).await;
    let before = browser.run("return document.querySelectorAll('#passkeys .setrow').length").await;
    browser.click("[data-passkey=add]").await;
    let more = format!("return document.querySelectorAll('#passkeys .setrow').length > {before}");
    browser.wait(&more).await;
}

pub async fn sign_out(browser: &Browser) {
    browser.click(".me").await;
    browser.click("form[action='/sign-out'] button").await;
    browser.find("#password").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_added_signs_in_alone_is_renamed_and_removed() {
    let (server, _ada) = Server::ready().await;
    let browser = Browser::start(1440, 900, true).await;
    let key = browser.authenticator().await;
    sign_in(&browser, &server.base).await;
    browser.goto(&format!("{}{LIST}", server.base)).await;
    is_calm(&browser, "/passkeys-none").await;
    add(&browser, &server.base).await;
    assert!(browser.text("#passkeys").await.contains("Passkey on Linux"));
    is_calm(&browser, "/passkeys").await;
    is_accessible(&browser, "passkeys").await;
    // The same authenticator is not registered twice.
    browser.click("[data-passkey=add]").await;
    browser.wait("return !document.getElementById('passkeys-said').hidden").await;
    assert!(browser.text("#passkeys-said").await.contains("registered already"));
    is_calm(&browser, "/passkeys-twice").await;

    browser.touches(&key, false).await;
    sign_out(&browser).await;
    is_calm(&browser, "/sign-in-passkey").await;
    is_accessible(&browser, "sign-in with a passkey").await;
    browser.touches(&key, true).await;
    browser.click("[data-passkey=prove]").await;
    browser.find(".side").await;
    browser.goto(&format!("{}{LIST}", server.base)).await;
    assert!(browser.text("#passkeys").await.contains("used 23 Nov 2026"));

    browser.click("#passkeys .setrow a").await;
    browser.type_into("#name", "Ada’s laptop").await;
    is_calm(&browser, "/passkey").await;
    is_accessible(&browser, "one passkey").await;
    browser.click("form[action$='/rename'] button").await;
    browser.wait("return location.pathname === '/account/security'").await;
    assert!(browser.text("#passkeys").await.contains("Ada’s laptop"));
    browser.click("#passkeys .setrow a").await;
    browser.click("form[action$='/remove'] .btn.bad").await;
    browser.wait("return location.pathname === '/account/security'").await;
    assert!(browser.text("#passkeys").await.contains("No passkeys yet"));

    browser.touches(&key, false).await;
    sign_out(&browser).await;
    browser.touches(&key, true).await;
    browser.click("[data-passkey=prove]").await;
    browser.wait("return !document.getElementById('passkey-said').hidden").await;
    assert!(browser.text("#passkey-said").await.contains("not known here"));
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|c| c.contains("422")), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sign_in_page_offers_a_passkey_in_its_field() {
    let (server, _ada) = Server::ready().await;
    let browser = Browser::start(1440, 900, true).await;
    let key = browser.authenticator().await;
    sign_in(&browser, &server.base).await;
    add(&browser, &server.base).await;
    browser.touches(&key, false).await;
    sign_out(&browser).await;
    assert!(browser.url().await.ends_with("/sign-in"));
    // The person takes the passkey that the field offers.
    browser.touches(&key, true).await;
    browser.goto(&format!("{}/sign-in?next=/account/profile", server.base)).await;
    browser.wait("return location.pathname === '/account/profile'").await;
    assert!(browser.complaints().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_person_joins_adds_a_second_factor_signs_out_and_in_with_a_passkey() {
    let (server, ada) = Server::ready().await;
    let link = invited(&ada, "max@halden.example", "member").await;
    ask_for_two(&server);
    let browser = Browser::start(1440, 900, true).await;
    let key = browser.authenticator().await;
    browser.goto(&format!("{}{link}", server.base)).await;
    is_accessible(&browser, "an invitation with a passkey").await;
    is_calm(&browser, "/invite-passkey").await;
    browser.narrow(390, 844).await;
    is_calm(&browser, "/invite-passkey").await;
    browser.narrow(1440, 900).await;
    browser.type_into("#name", "Max Born").await;
    browser.type_into("#password", PASSWORD).await;
    browser.click(".auth-f .btn.pri").await;
    // Nothing else opens before there is a second factor.
    browser.wait("return location.pathname === '/account/security'").await;
    assert!(browser.text("main").await.contains("This server asks for a second factor."));
    is_calm(&browser, "/security-required").await;
    is_accessible(&browser, "security, with a second factor wanted").await;
    add(&browser, &server.base).await;
    browser.narrow(390, 844).await;
    is_calm(&browser, "/security-passkey").await;
    browser.narrow(1440, 900).await;

    browser.touches(&key, false).await;
    sign_out(&browser).await;
    browser.type_into("#email", "max@halden.example").await;
    browser.type_into("#password", PASSWORD).await;
    browser.click(".auth-f .btn.pri").await;
    browser.find("[data-url='/sign-in/code/passkey']").await;
    is_calm(&browser, "/sign-in-second-step").await;
    is_accessible(&browser, "the second step with a passkey").await;
    browser.touches(&key, true).await;
    browser.click("[data-passkey=prove]").await;
    browser.find(".side").await;
    assert!(browser.url().await.starts_with(&format!("{}/w/halden-energy/", server.base)));

    browser.touches(&key, false).await;
    sign_out(&browser).await;
    browser.touches(&key, true).await;
    browser.click("[data-passkey=prove]").await;
    browser.find(".side").await;
    assert!(browser.url().await.starts_with(&format!("{}/w/halden-energy/", server.base)));
    assert!(browser.complaints().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_passkey_later_asks_for_it_once_more() {
    let (server, _ada) = Server::ready().await;
    let browser = Browser::start(1440, 900, true).await;
    browser.authenticator().await;
    sign_in(&browser, &server.base).await;
    add(&browser, &server.base).await;
    server.clock.advance(jiff::SignedDuration::from_mins(16));
    browser.click("[data-passkey=add]").await;
    browser.wait("return location.pathname === '/account/confirm'").await;
    is_accessible(&browser, "confirming with a passkey").await;
    // The console names the answer that asked for it.
    browser.complaints().await;
    is_calm(&browser, "/confirm-passkey").await;
    browser.click("[data-passkey=prove]").await;
    browser.wait("return location.pathname === '/account/security'").await;
    browser.click("#passkeys .setrow a").await;
    browser.click("form[action$='/remove'] .btn.bad").await;
    browser.wait("return location.search === '?saved=removed'").await;
    assert!(browser.text("#passkeys").await.contains("No passkeys yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_person_joins_with_a_passkey_and_no_password() {
    let (server, ada) = Server::ready().await;
    let link = invited(&ada, "max@halden.example", "member").await;
    let browser = Browser::start(1280, 800, true).await;
    let key = browser.authenticator().await;
    browser.goto(&format!("{}{link}", server.base)).await;
    browser.click("[data-passkey=add]").await;
    browser.wait("return !document.getElementById('passkey-said').hidden").await;
    assert!(browser.text("#passkey-said").await.contains("Enter a name"));
    browser.type_into("#name", "Max Born").await;
    browser.click("[data-passkey=add]").await;
    browser.find(".side").await;
    browser.touches(&key, false).await;
    sign_out(&browser).await;
    browser.touches(&key, true).await;
    browser.click("[data-passkey=prove]").await;
    browser.find(".side").await;
    assert!(browser.url().await.starts_with(&format!("{}/w/halden-energy/", server.base)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_cancels_says_so_and_the_dark_page_reads_well() {
    let (server, ada) = Server::ready().await;
    ada.post("/account/profile", &[("name", "Ada Lovelace"), ("theme", "dark")]).await;
    let browser = Browser::start(1440, 900, true).await;
    let key = browser.authenticator().await;
    sign_in(&browser, &server.base).await;
    add(&browser, &server.base).await;
    is_calm(&browser, "/dark-passkeys").await;
    is_accessible(&browser, "dark passkeys").await;
    browser.unverified(&key).await;
    browser.click("[data-passkey=add]").await;
    browser.wait("return !document.getElementById('passkeys-said').hidden").await;
    assert!(browser.text("#passkeys-said").await.contains("Nothing was changed"));
}
