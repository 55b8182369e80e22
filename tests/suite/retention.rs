//! Limits of a workspace: what would go is said before, members are told, the daily sweep takes exactly that, and nothing
//! pinned, newest or restricted goes. And what grows without end is ended by the same look.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vynos::chat::records::{CONVERSATIONS, MESSAGES};
use vynos::identity::Role;
use vynos::identity::sessions::SESSIONS;
use vynos::identity::tokens::TOKENS;
use vynos::jobs::JOBS;
use vynos::knowledge::records::DOCUMENTS;
use vynos::ledger::{DAYS, LINES};
use vynos::orgs::records::{Change, HISTORY, Version};
use vynos::store::audit::prune::KeepFor;
use vynos::store::audit::{AUDIT, Action};
use vynos::store::{Read as _, StoreError};
use vynos::workspace::retention::{RETENTION, audit_kept};

use crate::access::signed_in;
use crate::chat_pages::{CHAT, ask, ended, talking};
use crate::harness::{Answer, Client, PASSWORD, Server};
use crate::knowledge::{says, upload};
use crate::members::{joined, workspace};

const PAGE: &str = "/w/halden-energy/privacy/retention";

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * 24)
}

async fn set(owner: &Client, fields: &[(&str, &str)]) -> Answer {
    owner.post(PAGE, fields).await
}

async fn swept(server: &Server) {
    server.app().sweeper.sweep_due().await.unwrap();
}

fn count<K: vynos::store::Key, V: serde::Serialize + serde::de::DeserializeOwned>(
    server: &Server,
    table: &vynos::store::Table<K, V>,
) -> usize {
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    ws.read().unwrap().scan(table).count().unwrap()
}

/// The cells of the preview's rows: how many of each kind.
fn counts(page: &Answer) -> Vec<String> {
    page.all_between("data-l=\"How many\">", "<")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_takes_what_the_preview_said_after_members_were_told() {
    let (rig, sim) = talking().await;
    let server = &rig.server;
    joined(server, "max", Role::Member);
    let max = signed_in(server, "max").await;
    let (old, kept) = (ask(&max, "what the canary sings").await, ask(&max, "pinned words").await);
    ended(&max, &old).await;
    ended(&max, &kept).await;
    assert_eq!(max.post(&format!("{kept}/pin"), &[("pinned", "yes")]).await.status, 303);
    upload(&rig.ada, &[("old guide.md", b"# Guide\n\nzqxcanary\n")]).await;
    says(&rig.ada, "Ready").await;
    server.clock.advance(days(20));
    let (ada, max) = (signed_in(server, "ada").await, signed_in(server, "max").await);
    let young = ask(&max, "younger words").await;
    ended(&max, &young).await;

    let wanted = format!("{PAGE}?conversations=25&documents=25&versions=&audit=365");
    let preview = ada.get(&wanted).await;
    assert_eq!(counts(&preview), ["1", "1", "0", "0"], "{}", preview.body);
    assert!(preview.body.contains("What would go on 20 December 2026"), "{}", preview.body);
    assert!(preview.body.contains("old guide.md") && preview.body.contains("23 November 2026"));
    assert!(!preview.body.contains("what the canary sings"), "owners see no titles of others");
    assert_eq!(count(server, &RETENTION), 0, "looking changes nothing");

    let fields = [("conversations", "25"), ("documents", "25"), ("versions", ""), ("audit", "365")];
    assert_eq!(set(&ada, &fields).await.status, 303);
    let page = ada.get(PAGE).await;
    assert!(page.body.contains("From 20 December 2026 on") && page.body.contains("Chats stay until"));
    let inbox = max.get("/w/halden-energy/notifications").await;
    assert!(inbox.body.contains("Chats go 25 days after something was said in them last"), "{}", inbox.body);
    assert!(max.get(&old).await.body.contains("This chat is deleted on 20 December 2026"));
    assert!(!max.get(&kept).await.body.contains("is deleted on"), "pinned");

    // Six days later it is old enough, and the limit has not begun.
    server.clock.advance(days(6));
    swept(server).await;
    assert_eq!((count(server, &CONVERSATIONS), count(server, &DOCUMENTS)), (3, 1));
    server.clock.advance(days(1));
    swept(server).await;
    let (ada, max) = (signed_in(server, "ada").await, signed_in(server, "max").await);
    assert_eq!(max.get(&old).await.status, 404);
    assert_eq!((max.get(&kept).await.status, max.get(&young).await.status), (200, 200));
    says(&ada, "No documents yet").await;
    for _ in 0..1_200 {
        if count(server, &DOCUMENTS) == 0 {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    for word in ["canary sings", "zqxcanary", "old guide"] {
        assert_eq!(ws.read().unwrap().tables_with(word).unwrap(), Vec::<String>::new(), "{word}");
    }
    let lines = ws.read().unwrap().scan(&AUDIT).rows().unwrap();
    let applied: Vec<&str> = lines
        .iter()
        .filter(|(_, line)| line.action == Action::RetentionApplied)
        .map(|(_, line)| line.target.as_str())
        .collect();
    assert_eq!(applied, ["1 conversations quiet since 2026-11-25", "1 documents uploaded before 2026-11-25"]);
    assert!(ws.verify_audit().unwrap().is_ok());
    // The same day finds nothing more to do, and a looser limit holds at once.
    swept(server).await;
    assert_eq!(set(&ada, &[("conversations", ""), ("documents", "")]).await.status, 303);
    assert!(ada.get(PAGE).await.body.contains("Chats stay until their owner deletes them."));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_set_limits_admins_read_them_and_wrong_ones_are_refused() {
    let (server, ada) = Server::ready().await;
    joined(&server, "adm", Role::Admin);
    let adm = signed_in(&server, "adm").await;
    let page = adm.get(&format!("{PAGE}?conversations=30")).await;
    assert!(page.status == 200 && page.body.contains("An owner decides this"));
    assert_eq!(set(&adm, &[("conversations", "30")]).await.status, 403);
    for (field, value) in [("audit", "364"), ("conversations", "0"), ("versions", "soon")] {
        let refused = set(&ada, &[(field, value)]).await;
        assert!(refused.status == 422 && refused.body.contains("Enter whole days from"), "{field}");
        assert_eq!(ada.get(&format!("{PAGE}?{field}={value}")).await.status, 422, "{field}");
    }
    assert_eq!(count(&server, &RETENTION), 0);
    // Who proved who they are a while ago is asked again.
    server.clock.advance(SignedDuration::from_mins(16));
    assert!(set(&ada, &[("audit", "730")]).await.location().starts_with("/account/confirm"));
    assert_eq!(ada.post("/account/confirm", &[("password", PASSWORD), ("next", "/")]).await.status, 303);
    assert_eq!(set(&ada, &[("audit", "730")]).await.location(), PAGE);
    let ws = server.app().web.door.for_runner(workspace(&server)).unwrap();
    assert_eq!(audit_kept(&ws).unwrap(), KeepFor::months(24));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_go_and_the_newest_of_each_component_stays() {
    let (server, _) = Server::ready().await;
    let ws = server.app().web.door.for_runner(workspace(&server)).unwrap();
    let org = vynos::ids::OrgId::new(&server.clock, &vynos::clock::Random::system());
    let version = |at: Timestamp, source: &str| Version {
        seen: at,
        change: Change::Changed,
        modified: None,
        modified_by: String::new(),
        source: Some(source.to_owned()),
    };
    let start = server.clock.now();
    // More components than one look reads at once.
    ws.note(move |tx| {
        for n in 0..400u32 {
            let key = (org, "ApexClass".to_owned(), format!("C{n:03}"));
            tx.put(&HISTORY, &(key.clone(), 1), &version(start, "one"))?;
            if n % 2 == 0 {
                tx.put(&HISTORY, &(key.clone(), 2), &version(start, "two"))?;
                tx.put(&HISTORY, &(key, 3), &version(start + days(40), "three"))?;
            }
        }
        Ok::<_, StoreError>(())
    })
    .await
    .unwrap();
    server.clock.advance(days(30));
    let ada = signed_in(&server, "ada").await;
    let preview = ada.get(&format!("{PAGE}?versions=30")).await;
    assert_eq!(counts(&preview)[2], "400", "{}", preview.body);
    assert_eq!(set(&ada, &[("versions", "30")]).await.status, 303);
    server.clock.advance(days(7));
    swept(&server).await;
    let left = ws.read().unwrap().scan(&HISTORY).rows().unwrap();
    assert_eq!(left.len(), 400);
    assert!(left.iter().all(|(((_, _, name), number), _)| {
        *number == if name[1..].parse::<u32>().unwrap() % 2 == 0 { 3 } else { 1 }
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restricted_stays_whatever_the_limits_say() {
    let (rig, sim) = talking().await;
    let server = &rig.server;
    joined(server, "max", Role::Member);
    let max = signed_in(server, "max").await;
    let (theirs, mine) = (ask(&max, "theirs").await, ask(&rig.ada, "mine").await);
    ended(&max, &theirs).await;
    ended(&rig.ada, &mine).await;
    assert_eq!(set(&rig.ada, &[("conversations", "1")]).await.status, 303);
    assert_eq!(max.post("/account/restrict", &[("restricted", "true")]).await.status, 303);
    let restrict = "/w/halden-energy/privacy/restrict";
    assert_eq!(rig.ada.post(restrict, &[("restricted", "true")]).await.status, 303);
    server.clock.advance(days(8));
    swept(server).await;
    assert_eq!(count(server, &CONVERSATIONS), 2, "the workspace is restricted");
    let ada = signed_in(server, "ada").await;
    assert_eq!(ada.post(restrict, &[("restricted", "false")]).await.status, 303);
    server.clock.advance(days(1));
    swept(server).await;
    let max = signed_in(server, "max").await;
    assert_eq!(max.get(&theirs).await.status, 200);
    assert_eq!(signed_in(server, "ada").await.get(&mine).await.status, 404);
    assert_eq!(max.post("/account/restrict", &[("restricted", "false")]).await.status, 303);
    server.clock.advance(days(1));
    swept(server).await;
    assert_eq!((count(server, &CONVERSATIONS), count(server, &MESSAGES)), (0, 0));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_deletes_ends_by_itself() {
    let (rig, sim) = talking().await;
    let server = &rig.server;
    let chat = ask(&rig.ada, "hello").await;
    ended(&rig.ada, &chat).await;
    let made =
        rig.ada.post("/w/halden-energy/tokens", &[("name", "ci"), ("days", "30"), ("scope", "read")]).await;
    assert_eq!(made.status, 200);
    rig.ada.post("/account/address", &[("email", "ada@new.example"), ("password", PASSWORD)]).await;
    let control = server.app().web.control.clone();
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    assert!(ws.read().unwrap().scan(&JOBS).rows().unwrap().iter().any(|(_, job)| job.finished.is_some()));
    let lines = || ws.read().unwrap().scan(&LINES).count().unwrap();
    assert!(lines() > 0);
    assert!(!control.read().unwrap().tables_with("ada@new.example").unwrap().is_empty());
    assert!(control.read().unwrap().scan(&SESSIONS).count().unwrap() > 0);

    server.clock.advance(days(31));
    swept(server).await;
    let sums = ws.read().unwrap().scan(&DAYS).count().unwrap();
    let read = control.read().unwrap();
    assert_eq!(read.scan(&SESSIONS).count().unwrap(), 0, "no session lives for a month");
    assert_eq!(read.tables_with("ada@new.example").unwrap(), Vec::<String>::new());
    assert_eq!(read.scan(&TOKENS).count().unwrap(), 1, "ended yesterday: still listed");
    let jobs = ws.read().unwrap().scan(&JOBS).rows().unwrap();
    assert!(jobs.iter().all(|(_, job)| job.finished.is_none()), "{jobs:?}");
    server.clock.advance(days(90));
    swept(server).await;
    assert_eq!(control.read().unwrap().scan(&TOKENS).count().unwrap(), 0);

    // Lines stay for a year, and not a day less; their sums stay.
    server.clock.advance(days(244));
    swept(server).await;
    assert!(lines() > 0);
    server.clock.advance(days(2));
    swept(server).await;
    assert_eq!(lines(), 0);
    assert_eq!(control.read().unwrap().scan(&LINES).count().unwrap(), 0);
    assert_eq!(ws.read().unwrap().scan(&DAYS).count().unwrap(), sums);
    let applied = |lines: Vec<(u64, vynos::store::audit::AuditEvent)>| {
        lines.iter().any(|(_, line)| line.target.ends_with("lines of outbound calls before 2026-11-24"))
    };
    assert!(applied(ws.read().unwrap().scan(&AUDIT).rows().unwrap()));
    assert_eq!(signed_in(server, "ada").await.get(CHAT).await.status, 200);
    sim.stop().await;
}
