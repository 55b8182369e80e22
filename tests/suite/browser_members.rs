//! From an invitation to a member, as both sides walk it in a browser; every page of members in every width and theme.

use vynos::identity::Role;

use crate::browser::{is_accessible, is_calm, sign_in};
use crate::harness::{Client, PASSWORD, Server};
use crate::members::joined;
use crate::orgs::rig;
use crate::webdriver::Browser;

const MEMBERS: &str = "/w/halden-energy/members";

/// Fills the join form of a link.
async fn join(browser: &Browser, link: &str, name: &str) {
    browser.goto(link).await;
    browser.type_into("#name", name).await;
    browser.type_into("#password", PASSWORD).await;
    browser.click(".auth-f .btn.pri").await;
    browser.find(".side").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_invited_joins_and_is_removed() {
    let (server, _ada) = Server::ready().await;
    let (owner, guest) = (Browser::start(1440, 900, true).await, Browser::start(1440, 900, true).await);
    sign_in(&owner, &server.base).await;
    owner.click(".side-foot a[href$='/members']").await;
    owner.find("#email").await;
    is_calm(&owner, "/members-first").await;
    owner.type_into("#email", "max@halden.example, not an address").await;
    owner.click(".frm .btn.pri").await;
    owner.find("#link-1").await;
    is_calm(&owner, "/members-invited").await;
    is_accessible(&owner, "members after an invitation").await;
    let link = owner.text("#link-1").await;
    guest.goto(&link).await;
    is_calm(&guest, "/invite").await;
    is_accessible(&guest, "invite").await;
    guest.narrow(390, 844).await;
    is_calm(&guest, "/invite").await;
    guest.narrow(1440, 900).await;
    join(&guest, &link, "Max Born").await;
    assert!(guest.url().await.contains("/w/halden-energy/"));
    // The owner's page hears of it.
    owner.wait("return !document.querySelector('#invited form') && !!document.querySelector('#invited .badge.ok')").await;
    assert!(owner.text("#member-count").await.starts_with("2 people"));
    owner.goto(&format!("{}{MEMBERS}", server.base)).await;
    owner.click(".mem a[href$='/remove']").await;
    owner.find("form[action$='/remove'] .btn").await;
    is_calm(&owner, "/member-remove").await;
    is_accessible(&owner, "member remove").await;
    owner.click("form[action$='/remove'] .btn").await;
    owner.find(".note.ok").await;
    guest.goto(&format!("{}/w/halden-energy/orgs", server.base)).await;
    assert!(!guest.text("main").await.contains("Salesforce"));
    guest.goto(&link).await;
    guest.picture("invite-gone-1440").await;
    is_accessible(&guest, "a used link").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_made_and_accepted_without_script() {
    let (server, _ada) = Server::ready().await;
    let (owner, guest) = (Browser::start(1280, 800, false).await, Browser::start(1280, 800, false).await);
    sign_in(&owner, &server.base).await;
    owner.goto(&format!("{}{MEMBERS}", server.base)).await;
    owner.type_into("#email", "max@halden.example").await;
    owner.click(".frm .btn.pri").await;
    owner.find("#link-1").await;
    let link = owner.text("#link-1").await;
    join(&guest, &link, "Max Born").await;
    owner.goto(&format!("{}{MEMBERS}", server.base)).await;
    assert!(owner.text(".mem").await.contains("Max Born"));
}

/// Looks at every page of members as Ada.
async fn look(base: &str, ada: &Client, dark: bool, width: u32) {
    if dark {
        ada.post("/account/profile", &[("name", "Ada Lovelace"), ("theme", "dark")]).await;
    }
    let browser = Browser::start(width, 900, true).await;
    sign_in(&browser, base).await;
    for page in [
        "/w/halden-energy/members",
        "/w/halden-energy/members/access",
        "/w/halden-energy/settings",
        "/w/halden-energy/settings/mail",
        "/w/halden-energy/transfer",
        "/w/halden-energy/leave",
        "/w/halden-energy/audit?of=members",
        "/workspaces",
        "/workspaces/new",
    ] {
        browser.goto(&format!("{base}{page}")).await;
        browser.find("h1").await;
        let name = page.replace("?of=", "-");
        is_calm(&browser, &if dark { format!("/dark{name}") } else { name }).await;
        is_accessible(&browser, page).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_members_fit_every_width_and_theme() {
    let rig = rig(vynos::sim::salesforce::Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    for (name, role) in [("jonas", Role::Member), ("aiko", Role::Admin), ("samuel", Role::Viewer)] {
        joined(&rig.server, name, role);
    }
    rig.ada.post(MEMBERS, &[("email", "p.lindqvist@halden.example"), ("role", "member")]).await;
    rig.ada
        .post("/w/halden-energy/tokens", &[("name", "Nightly report"), ("days", "90"), ("scope", "read")])
        .await;
    for (width, dark) in [(1440, false), (390, false), (1440, true)] {
        look(&rig.server.base, &rig.ada, dark, width).await;
    }
}
