//! Notices: who sees them, who gets them by mail, and that nobody else ever does.

use std::time::Duration;

use vynos::identity::Role;
use vynos::identity::control::Note;
use vynos::ids::{AccountId, NoticeId, WorkspaceId};
use vynos::jobs::JobCause;
use vynos::mail::Letter;
use vynos::mail::outbox::OUTBOX;
use vynos::notifications::{Audience, Kind, Notice, raise, tell};
use vynos::store::audit::{Action, Actor};
use vynos::store::{Read as _, StoreError};

use crate::access::{person, signed_in};
use crate::harness::{Client, Server};
use crate::mail::Relay;
use crate::members::{joined, remove, workspace};
use crate::outbox::until;

const INBOX: &str = "/w/halden-energy/notifications";

/// Tells people of a workspace something, as a job of it would.
pub async fn raised(server: &Server, id: WorkspaceId, to: Audience, notice: Notice) -> NoticeId {
    let ws = server.app().web.door.for_runner(id).unwrap();
    let cause = JobCause::of(&ws);
    ws.change::<_, StoreError>(Action::OrgSynced, "test", move |tx| raise(tx, &cause, to, notice))
        .await
        .unwrap()
}

fn told(server: &Server, account: AccountId, notice: Notice) -> NoticeId {
    let control = &server.app().web.control;
    let note = Note::new(Actor::Operator, Action::AccountChanged, account);
    control.change_now::<_, StoreError>(note, |tx| tell(tx, control, account, notice)).unwrap()
}

fn notice(kind: Kind, title: &str) -> Notice {
    Notice::new(kind, title, "orgs")
}

fn sign_in_letter(server: &Server) -> Letter {
    Letter::NewSignIn { when: server.clock.now(), address: "10.31.2.88".into(), browser: "Firefox".into() }
}

/// What the bell says.
async fn bell(client: &Client, slug: &str) -> String {
    let page = client.get(&format!("/w/{slug}/orgs")).await;
    page.between("<span class=\"vh\">Notifications", "</span>").unwrap_or_else(|| panic!("{}", page.body))
}

/// A second workspace with an account of its own in it.
fn elsewhere(server: &Server, name: &str) -> (WorkspaceId, AccountId) {
    let web = &server.app().web;
    let owner = person(&web.control, name);
    let id = WorkspaceId::new(web.control.clock(), web.control.random());
    web.pool.create(id).unwrap();
    let note = Note::new(Actor::Operator, Action::WorkspaceCreated, id);
    web.control.change_now(note, |tx| web.control.insert_workspace(tx, id, "Other House", owner)).unwrap();
    (id, owner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_reaches_its_audience_and_nobody_else() {
    let (server, ada) = Server::ready().await;
    let ours = workspace(&server);
    let early = raised(&server, ours, Audience::Everyone, notice(Kind::CriticalFinding, "From before")).await;
    server.clock.advance(jiff::SignedDuration::from_secs(5));
    joined(&server, "vera", Role::Viewer);
    let max = joined(&server, "max", Role::Member);
    let (theirs, _) = elsewhere(&server, "eve");
    let (vera, max_client, eve) =
        (signed_in(&server, "vera").await, signed_in(&server, "max").await, signed_in(&server, "eve").await);
    let for_all = raised(&server, ours, Audience::Everyone, notice(Kind::CriticalFinding, "For all")).await;
    let for_admins =
        raised(&server, ours, Audience::Role(Role::Admin), notice(Kind::OrgSignedOut, "For admins")).await;
    let for_max =
        raised(&server, ours, Audience::Account(max), notice(Kind::ValidationResult, "For Max")).await;
    let but = vec![max];
    let others = Audience::Others { least: Role::Member, but };
    let not_max = raised(&server, ours, others, notice(Kind::ApprovalWanted, "Not for Max")).await;
    raised(&server, theirs, Audience::Everyone, notice(Kind::CriticalFinding, "Of the other house")).await;
    for (client, sees, opens) in [
        (
            &ada,
            vec!["From before", "For all", "For admins", "Not for Max"],
            vec![early, for_all, for_admins, not_max],
        ),
        (&max_client, vec!["For all", "For Max"], vec![for_all, for_max]),
        (&vera, vec!["For all"], vec![for_all]),
    ] {
        let page = client.get(INBOX).await.body;
        for title in ["From before", "For all", "For admins", "For Max", "Not for Max", "Of the other house"]
        {
            let there = page.contains(&format!(">{title}</a>"));
            assert_eq!(there, sees.contains(&title), "{title}: {sees:?}");
        }
        assert_eq!(bell(client, "halden-energy").await, format!(", {} unread", sees.len()));
        for id in [early, for_all, for_admins, for_max, not_max] {
            let answer = client.get(&format!("/w/halden-energy/n/{id}")).await;
            let wanted = if opens.contains(&id) { "/w/halden-energy/orgs" } else { "" };
            assert_eq!(answer.location(), wanted, "{id}");
            assert_eq!(answer.status, if wanted.is_empty() { 404 } else { 303 });
        }
        assert_eq!(bell(client, "halden-energy").await, "", "all are read now");
    }
    // Whoever is elsewhere sees their own only, and finds ours under neither workspace.
    assert!(eve.get("/w/other-house/notifications").await.body.contains(">Of the other house</a>"));
    for id in [for_all, for_max] {
        assert_eq!(eve.get(&format!("/w/halden-energy/n/{id}")).await.status, 404);
        assert_eq!(eve.get(&format!("/w/other-house/n/{id}")).await.status, 404);
    }
    remove(&server, max);
    assert_eq!(max_client.get(INBOX).await.status, 404);
    assert_eq!(max_client.get(&format!("/w/halden-energy/n/{for_max}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_of_a_group_are_one_line_and_all_are_read_at_once() {
    let (server, ada) = Server::ready().await;
    let ours = workspace(&server);
    for n in 1..=3 {
        server.clock.advance(jiff::SignedDuration::from_secs(1));
        let sync = notice(Kind::SyncFailed, &format!("Sync {n} failed")).group("sync uat");
        raised(&server, ours, Audience::Everyone, sync).await;
    }
    let hostile = Notice::new(Kind::CriticalFinding, "<b>Loop</b>\u{7}", "https://evil.example/");
    let hostile = raised(&server, ours, Audience::Everyone, hostile).await;
    let account = server.app().web.control.members_of(ours).unwrap()[0].0;
    told(&server, account, Notice::new(Kind::NewSignIn, "New sign-in from Firefox", "/account/profile"));
    let page = ada.get(INBOX).await.body;
    assert!(page.contains(">Sync 3 failed</a>") && !page.contains("Sync 2 failed"), "{page}");
    assert!(page.contains("<span class=\"pillcnt\">3<span class=\"vh\"> of these</span></span>"), "{page}");
    assert!(page.contains("&#60;b&#62;Loop&#60;/b&#62;</a>"), "{page}");
    assert_eq!(bell(&ada, "halden-energy").await, ", 3 unread");
    let away = ada.get(&format!("/w/halden-energy/n/{hostile}")).await;
    assert!(away.location().starts_with("/w/halden-energy/"), "{}", away.location());
    let filtered = ada.get(&format!("{INBOX}?kind=sync_failed")).await.body;
    assert!(filtered.contains("Sync 3 failed") && !filtered.contains("New sign-in from Firefox</a>"));
    assert!(!ada.get(&format!("{INBOX}?show=unread")).await.body.contains("Loop"));
    assert_eq!(ada.post(&format!("{INBOX}/read"), &[]).await.status, 303);
    assert_eq!(bell(&ada, "halden-energy").await, "");
    assert!(ada.get(&format!("{INBOX}?show=unread")).await.body.contains("Nothing matches."));
    // After 90 days they are gone with the next one.
    server.clock.advance(jiff::SignedDuration::from_hours(24 * 91));
    let ada = server.client();
    ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    raised(&server, ours, Audience::Everyone, notice(Kind::SyncFailed, "Much later")).await;
    let page = ada.get(INBOX).await.body;
    assert!(page.contains("Much later") && !page.contains("Sync 3 failed"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_hold_in_the_app_and_by_mail_and_security_stays_on() {
    let (server, ada) = Server::ready().await;
    let control = server.app().web.control.clone();
    let ours = workspace(&server);
    let mut relay = Relay::with("tls", &[]);
    relay.keep(&ada).await;
    let max = joined(&server, "max", Role::Member);
    let left = joined(&server, "lea", Role::Member);
    let max_client = signed_in(&server, "max").await;
    let page = max_client.get("/account/notifications").await.body;
    assert!(
        page.contains("name=\"sync_failed.mail\"") && !page.contains("name=\"org_signed_out.mail\""),
        "{page}"
    );
    assert!(!page.contains("new_sign_in.") && page.contains("Can’t be turned off"));
    let chosen = [("sync_failed.mail", "1"), ("critical_finding.app", "1")];
    let saved = max_client.post("/account/notifications", &chosen).await;
    assert_eq!(saved.location(), "/account/notifications?saved=true", "{}", saved.body);
    for bad in ["new_sign_in.app", "org_signed_out.app", "x"] {
        assert_eq!(max_client.post("/account/notifications", &[(bad, "1")]).await.status, 422, "{bad}");
    }
    remove(&server, left);
    let letter = |title: &str| Letter::SyncFailed {
        workspace: String::new(),
        org: title.into(),
        why: "it was away".into(),
        link: "o/uat/connection".into(),
    };
    // Mail only for Max, as he chose; not for Ada, by default; not for Lea, who has left.
    let failed = Notice::of(Kind::SyncFailed, letter("UAT"));
    raised(&server, ours, Audience::Role(Role::Member), failed).await;
    let mail = relay.mail();
    assert_eq!(mail["to"], serde_json::json!(["max@halden.example"]));
    let content = mail["content"].as_str().unwrap().replace("=\r\n", "").replace("=\n", "");
    assert!(
        content.contains("/w/halden-energy/o/uat/connection") && content.contains("Halden Energy"),
        "{content}"
    );
    assert!(content.contains("List-Unsubscribe: <"), "{content}");
    until(&control, "max@halden.example", |row| row.letter.is_none()).await;
    assert!(!max_client.get(INBOX).await.body.contains("The sync of UAT failed"), "not in the app");
    assert!(ada.get(INBOX).await.body.contains("The sync of UAT failed"));
    assert_eq!(control.read().unwrap().scan(&OUTBOX).count().unwrap(), 1);
    // What is about the account's safety is mailed whatever was chosen.
    let sign_in = Notice::of(Kind::NewSignIn, sign_in_letter(&server));
    told(&server, max, sign_in);
    let mail = relay.mail();
    assert_eq!(mail["to"][0], "max@halden.example");
    assert!(!mail["content"].as_str().unwrap().contains("List-Unsubscribe"));
    assert!(max_client.get(INBOX).await.body.contains("New sign-in to your Vynos account"));
    assert!(!ada.get(INBOX).await.body.contains("New sign-in to your Vynos account"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_waits_for_a_member_who_is_removed_is_never_sent() {
    let (server, ada) = Server::ready().await;
    let control = server.app().web.control.clone();
    let ours = workspace(&server);
    let max = joined(&server, "max", Role::Admin);
    let relay = Relay::with("tls", &[]);
    relay.keep(&ada).await;
    let mut relay = relay
        .down_during(async {
            let letter = Letter::OrgSignedOut {
                workspace: String::new(),
                org: "UAT".into(),
                link: "o/uat/connection".into(),
            };
            let notice = Notice::of(Kind::OrgSignedOut, letter);
            raised(&server, ours, Audience::Role(Role::Admin), notice).await;
            for to in ["max@halden.example", "ada@halden.example"] {
                until(&control, to, |row| row.tries == 1).await;
            }
            remove(&server, max);
        })
        .await;
    server.clock.advance(jiff::SignedDuration::from_secs(60));
    control.look_at_mail();
    assert_eq!(relay.mail()["to"], serde_json::json!(["ada@halden.example"]));
    let rows = control.read().unwrap().scan(&OUTBOX).rows().unwrap();
    assert!(rows.iter().all(|(_, row)| row.to != "max@halden.example"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_pages_hear_of_their_own_notices_only() {
    let (server, ada) = Server::ready().await;
    let ours = workspace(&server);
    let max = joined(&server, "max", Role::Member);
    let max_client = signed_in(&server, "max").await;
    let mut streams = Vec::new();
    for client in [&ada, &max_client] {
        let mut stream = client.request("GET", "/w/halden-energy/live").send().await.unwrap();
        assert!(stream.chunk().await.unwrap().is_some());
        streams.push(stream);
    }
    told(&server, max, Notice::new(Kind::NewSignIn, "New sign-in", "/account/profile"));
    raised(&server, ours, Audience::Account(max), notice(Kind::ValidationResult, "For Max")).await;
    raised(&server, ours, Audience::Everyone, notice(Kind::SyncFailed, "For all")).await;
    let mut heard = Vec::new();
    for stream in &mut streams {
        let mut text = String::new();
        while !text.contains("data: notices\n") {
            let chunk = tokio::time::timeout(Duration::from_secs(10), stream.chunk()).await.unwrap();
            text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
        heard.push(text);
    }
    let own = format!("data: notices:{max}\n");
    assert!(!heard[0].contains("notices:"), "{}", heard[0]);
    assert!(heard[1].contains(&own), "{}", heard[1]);
}
