//! The pages of the operator and of privacy in a headless Chromium: calm, accessible, in both widths.

use vynos::identity::Role;

use crate::browser::{is_accessible, is_calm};
use crate::chat_pages::{ask, ended, talking};
use crate::harness::PASSWORD;
use crate::members::joined;
use crate::webdriver::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn where_data_goes_and_who_may_come_in_is_shown_calmly() {
    let (rig, _model) = talking().await;
    let max = joined(&rig.server, "max", Role::Member);
    let conversation = ask(&rig.ada, "How many flows are there?").await;
    ended(&rig.ada, &conversation).await;
    assert_eq!(
        rig.ada.post("/w/halden-energy/privacy/restrict", &[("restricted", "true")]).await.status,
        303
    );
    let browser = Browser::start(1440, 900, true).await;
    browser.goto(&format!("{}/sign-in", rig.server.base)).await;
    browser.type_into("#email", "ada@halden.example").await;
    browser.type_into("#password", PASSWORD).await;
    browser.click(".auth-f .btn.pri").await;
    browser.wait("return location.pathname !== '/sign-in'").await;
    let account = format!("/admin/accounts/{max}");
    let published = [
        ("text", "# Rules\n\n| Kind | What |\n| --- | --- |\n| Account | Name |"),
        ("what", "Shorter"),
        ("material", "true"),
    ];
    assert_eq!(rig.ada.post("/admin/privacy", &published).await.status, 303);
    for (name, path) in [
        ("chat", "/w/halden-energy/chat"),
        ("conversation", conversation.as_str()),
        ("policy-editor", "/admin/privacy"),
        ("policy", "/privacy"),
        ("cookies", "/cookies"),
        ("data", "/w/halden-energy/privacy"),
        ("traffic", "/w/halden-energy/privacy/traffic"),
        ("export", "/w/halden-energy/privacy/export"),
        ("own-data", "/account/data"),
        ("import", "/workspaces/new/import"),
        ("workspaces", "/admin/workspaces"),
        ("accounts", "/admin/accounts"),
        ("account", account.as_str()),
        ("instance-traffic", "/admin/traffic"),
    ] {
        for width in [1440, 390] {
            browser.narrow(width, 900).await;
            browser.goto(&format!("{}{path}", rig.server.base)).await;
            is_calm(&browser, name).await;
            is_accessible(&browser, name).await;
        }
    }
}
