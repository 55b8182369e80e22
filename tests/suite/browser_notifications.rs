//! The inbox, the bell and the preferences in a headless Chromium: the bell counts without a reload.

use vynos::identity::control::Note;
use vynos::mail::Letter;
use vynos::notifications::{Audience, Kind, Notice, tell};
use vynos::store::StoreError;
use vynos::store::audit::{Action, Actor};

use crate::browser::{is_accessible, is_calm};
use crate::harness::{PASSWORD, Server};
use crate::members::workspace;
use crate::notifications::raised;
use crate::webdriver::Browser;

fn samples() -> Vec<Notice> {
    let (workspace, link) = (String::new, |end: &str| format!("o/production/{end}"));
    vec![
        Notice::new(Kind::InvitationAccepted, "Samuel Okoro joined as member", "members")
            .body("Invited by you"),
        Notice::of(
            Kind::CriticalFinding,
            Letter::CriticalFinding {
                workspace: workspace(),
                org: "Production".into(),
                count: 3,
                findings: vec![("soql in loop".into(), "RenewalSync".into())],
                link: link("findings"),
            },
        )
        .body("RenewalSync, ContractService, Opportunity: Renewal Sync"),
        Notice::of(
            Kind::OrgSignedOut,
            Letter::OrgSignedOut { workspace: workspace(), org: "UAT".into(), link: link("connection") },
        )
        .body("An admin has to connect it again. What was read so far stays."),
        Notice::new(Kind::SyncFailed, "The sync of UAT failed", link("connection"))
            .body("Salesforce did not answer within 60 seconds.")
            .group("sync uat"),
        Notice::new(Kind::SyncFailed, "The sync of UAT failed", link("connection"))
            .body("Salesforce did not answer within 60 seconds.")
            .group("sync uat"),
        Notice::new(
            Kind::ApprovalWanted,
            "“Bulkify renewal sync” waits for your approval",
            link("deployments"),
        )
        .body("Production · 3 components · Mira Kovač"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bell_counts_without_a_reload_and_the_inbox_is_calm() {
    let (server, ada) = Server::ready().await;
    let ours = workspace(&server);
    for notice in samples() {
        raised(&server, ours, Audience::Everyone, notice).await;
        server.clock.advance(jiff::SignedDuration::from_mins(7));
    }
    assert_eq!(ada.post("/w/halden-energy/notifications/read", &[]).await.status, 303);
    server.clock.advance(jiff::SignedDuration::from_hours(25));
    let control = &server.app().web.control;
    let account = control.members_of(ours).unwrap()[0].0;
    let browser = Browser::start(1440, 900, true).await;
    browser.goto(&format!("{}/sign-in", server.base)).await;
    browser.type_into("#email", "ada@halden.example").await;
    browser.type_into("#password", PASSWORD).await;
    browser.click(".auth-f .btn.pri").await;
    browser.wait("return location.pathname !== '/sign-in'").await;
    browser.goto(&format!("{}/w/halden-energy/notifications", server.base)).await;
    browser.wait("return document.querySelector('#bell') && !document.querySelector('#bell i')").await;
    for notice in samples().into_iter().skip(4) {
        raised(&server, ours, Audience::Everyone, notice).await;
        server.clock.advance(jiff::SignedDuration::from_secs(61));
    }
    let letter = Letter::NewSignIn {
        when: server.clock.now(),
        address: "10.31.2.88".into(),
        browser: "Firefox".into(),
    };
    let sign_in = Notice::of(Kind::NewSignIn, letter).body("10.31.2.88, Firefox on Windows");
    let note = Note::new(Actor::Operator, Action::AccountChanged, account);
    control.change_now::<_, StoreError>(note, |tx| tell(tx, control, account, sign_in)).unwrap();
    browser
        .wait("return document.querySelector('#bell .vh').textContent === 'Notifications, 3 unread'")
        .await;
    browser.wait("return document.querySelectorAll('.inb .new').length === 3").await;
    is_calm(&browser, "/notifications").await;
    is_accessible(&browser, "/notifications").await;
    browser.run("document.documentElement.dataset.theme = 'dark'").await;
    is_accessible(&browser, "/notifications dark").await;
    browser.picture("notifications-dark").await;
    browser.narrow(390, 844).await;
    browser.goto(&format!("{}/w/halden-energy/notifications", server.base)).await;
    is_calm(&browser, "/notifications").await;
    browser.goto(&format!("{}/account/notifications", server.base)).await;
    is_calm(&browser, "/preferences").await;
    browser.narrow(1440, 900).await;
    browser.goto(&format!("{}/account/notifications", server.base)).await;
    is_calm(&browser, "/preferences").await;
    is_accessible(&browser, "/preferences").await;
    browser.goto(&format!("{}/admin/mail", server.base)).await;
    is_calm(&browser, "/admin-mail").await;
    is_accessible(&browser, "/admin/mail").await;
}
