//! The outbox against a mail server by others: put off, refused, gone for a while, and killed at the two bad moments.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use vynos::app::App;
use vynos::clock::Clock;
use vynos::identity::Control;
use vynos::identity::control::Note;
use vynos::ids::MailId;
use vynos::mail::outbox::{MailRow, MailState, OUTBOX, OUTBOX_DUE, OUTBOX_ENDED};
use vynos::mail::{Letter, post, post_once};
use vynos::store::audit::{AUDIT, Action, Actor};
use vynos::store::{Read as _, StoreError};

use crate::harness::{Server, options};
use crate::mail::Relay;
use crate::members::workspace;

const CHILD: &str = "VYNOS_TEST_OUTBOX_CHILD";
const START: &str = "2026-11-23T09:00:00Z";

/// Puts a password mail to `to` into the outbox; answers whether it was put.
fn put(control: &Control, to: &str) -> bool {
    let letter = Letter::PasswordChanged { at: control.clock().now() };
    let note = Note::new(Actor::Operator, Action::AccountChanged, "test");
    control.change_now::<_, StoreError>(note, |tx| post(tx, control, to, &letter)).unwrap()
}

fn rows(control: &Control) -> Vec<(MailId, MailRow)> {
    control.read().unwrap().scan(&OUTBOX).rows().unwrap()
}

fn row(control: &Control, to: &str) -> Option<MailRow> {
    rows(control).into_iter().map(|(_, row)| row).find(|row| row.to == to)
}

/// Waits until the row to `to` is as wanted.
pub async fn until(control: &Control, to: &str, wanted: impl Fn(&MailRow) -> bool) -> MailRow {
    for _ in 0..1_500 {
        if let Some(row) = row(control, to).filter(|row| wanted(row)) {
            return row;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("never so: {:?}", row(control, to));
}

fn message_id(mail: &Value) -> String {
    let content = mail["content"].as_str().unwrap();
    let line = content.lines().find(|line| line.starts_with("Message-ID:")).unwrap();
    line.trim_start_matches("Message-ID:").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_commits_with_its_cause_and_what_it_said_is_forgotten_once_it_was_sent() {
    let (server, ada) = Server::ready().await;
    let control = server.app().web.control.clone();
    assert!(!put(&control, "nobody@halden.example"), "without a server nothing is put");
    assert!(rows(&control).is_empty());
    let mut relay = Relay::with("tls", &[]);
    relay.keep(&ada).await;
    let note = Note::new(Actor::Operator, Action::AccountChanged, "test");
    let given_up = control.change_now::<(), StoreError>(note, |tx| {
        post(tx, &control, "never@halden.example", &Letter::PasswordChanged { at: control.clock().now() })?;
        Err(StoreError::DiskFull)
    });
    assert!(given_up.is_err() && rows(&control).is_empty(), "no cause, no mail");
    // A job that runs again after a kill puts its mail once.
    let (id, letter) = (
        MailId::new(control.clock(), control.random()),
        Letter::PasswordChanged { at: control.clock().now() },
    );
    let (account, ours) = (control.members_of(workspace(&server)).unwrap()[0].0, workspace(&server));
    for _ in 0..2 {
        let member = (ours, account);
        control
            .touch::<StoreError>(|tx| {
                post_once(tx, &control, id, "once@halden.example", member, &letter).map(|_| ())
            })
            .unwrap();
        until(&control, "once@halden.example", |row| row.state == MailState::Sent).await;
    }
    assert_eq!(relay.mail()["to"][0], "once@halden.example");
    assert!(put(&control, "mira@halden.example"));
    let mail = relay.mail();
    assert_eq!(mail["to"][0], "mira@halden.example");
    assert!(mail["content"].as_str().unwrap().contains("Auto-Submitted: auto-generated"));
    let sent = until(&control, "mira@halden.example", |row| row.state == MailState::Sent).await;
    assert_eq!((sent.letter, sent.said.as_str(), sent.tries), (None, "2.0.0 Queued as 4711", 1));
    assert!(control.read().unwrap().scan(&OUTBOX_DUE).rows().unwrap().is_empty());
    // Its row goes after 30 days, with the next mail that ends.
    server.clock.advance(SignedDuration::from_hours(24 * 31));
    assert!(put(&control, "max@halden.example"));
    until(&control, "max@halden.example", |row| row.state == MailState::Sent).await;
    assert!(row(&control, "mira@halden.example").is_none());
    assert_eq!(control.read().unwrap().scan(&OUTBOX_ENDED).count().unwrap(), 1, "the other two are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_comes_again_and_what_is_refused_is_a_dead_letter_the_operator_sees() {
    let (server, ada) = Server::ready().await;
    let control = server.app().web.control.clone();
    let mut relay =
        Relay::with("tls", &["--defer", "late@halden.example", "--refuse", "gone@halden.example"]);
    relay.keep(&ada).await;
    assert!(put(&control, "late@halden.example"));
    let late =
        until(&control, "late@halden.example", |row| row.state == MailState::Waiting && row.tries == 1).await;
    assert!(late.said.contains("451 4.7.1 Greylisted"), "{}", late.said);
    let now = control.clock().now_ms();
    assert!((now + 5_000..=now + 6_000).contains(&late.due_ms), "five seconds, up to a fifth longer");
    assert!(put(&control, "gone@halden.example"));
    let dead = until(&control, "gone@halden.example", |row| row.state == MailState::Dead).await;
    assert!(dead.said.contains("550 5.1.1 No such mailbox in this house") && dead.tries == 1);
    let page = ada.get("/admin/mail").await.body;
    assert!(page.contains("1 waiting · 0 sent in 24 hours · 1 undeliverable"), "{page}");
    assert!(page.contains("550 5.1.1 No such mailbox") && page.contains("451 4.7.1 Greylisted"));
    server.clock.advance(SignedDuration::from_secs(7));
    control.look_at_mail();
    assert_eq!(relay.mail()["to"][0], "late@halden.example");
    until(&control, "late@halden.example", |row| row.state == MailState::Sent && row.tries == 2).await;
    // The operator tries again, in vain, and throws it away; both stand in the log.
    let id = rows(&control).iter().find(|(_, row)| row.to == "gone@halden.example").unwrap().0;
    assert_eq!(ada.post(&format!("/admin/mail/{id}/retry"), &[]).await.status, 303);
    until(&control, "gone@halden.example", |row| row.state == MailState::Dead).await;
    assert_eq!(ada.post(&format!("/admin/mail/{id}/drop"), &[]).await.status, 303);
    assert!(row(&control, "gone@halden.example").is_none());
    assert_eq!(ada.post(&format!("/admin/mail/{id}/drop"), &[]).await.status, 404);
    let audited = control.read().unwrap().scan(&AUDIT).rows().unwrap();
    for action in [Action::MailRetried, Action::MailDropped] {
        let line = &audited.iter().find(|(_, line)| line.action == action).unwrap().1;
        assert!(line.target == id.to_string(), "an id, no address: {}", line.target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_for_a_while_loses_nothing_and_one_gone_for_a_day_makes_dead_letters() {
    let (server, ada) = Server::ready().await;
    let control = server.app().web.control.clone();
    let relay = Relay::with("tls", &[]);
    relay.keep(&ada).await;
    let mut relay = relay
        .down_during(async {
            assert!(put(&control, "mira@halden.example") && put(&control, "max@halden.example"));
            for tries in 1..=3 {
                for to in ["mira@halden.example", "max@halden.example"] {
                    let row =
                        until(&control, to, |row| row.state == MailState::Waiting && row.tries == tries)
                            .await;
                    assert!(row.said.contains("can't be reached"), "{}", row.said);
                }
                server.clock.advance(SignedDuration::from_secs(60));
                if tries < 3 {
                    control.look_at_mail();
                }
            }
        })
        .await;
    control.look_at_mail();
    let mut to: Vec<String> = (0..2).map(|_| relay.mail()["to"][0].as_str().unwrap().to_owned()).collect();
    to.sort();
    assert_eq!(to, ["max@halden.example", "mira@halden.example"], "each once");
    for to in &to {
        until(&control, to, |row| row.state == MailState::Sent).await;
    }
    let gone = relay.down_during(async {
        assert!(put(&control, "far@halden.example"));
        let mut waited = 0;
        for tries in 1.. {
            let row = until(&control, "far@halden.example", |row| {
                row.state == MailState::Dead || (row.state == MailState::Waiting && row.tries == tries)
            })
            .await;
            if row.state == MailState::Dead {
                assert!(row.tries == 15 && row.said.starts_with("Given up after 15 tries"), "{row:?}");
                break;
            }
            let wait = row.due_ms - control.clock().now_ms();
            waited += wait;
            server.clock.advance(SignedDuration::from_millis(wait as i64));
            control.look_at_mail();
        }
        assert!((22 * 3_600_000..28 * 3_600_000).contains(&waited), "about a day: {waited} ms");
    });
    drop(gone.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_has_ended_is_not_sent_and_none_leads_elsewhere() {
    let (server, ada) = Server::ready().await;
    let control = server.app().web.control.clone();
    let relay = Relay::with("tls", &[]);
    relay.keep(&ada).await;
    let now = control.clock().now();
    for (to, ends, link) in [
        ("old@halden.example", now, "/reset/x"),
        (
            "foreign@halden.example",
            now.checked_add(SignedDuration::from_hours(1)).unwrap(),
            "https://evil.example/",
        ),
    ] {
        let letter = Letter::PasswordReset { link: link.into(), ends };
        let note = Note::new(Actor::Operator, Action::AccountChanged, "test");
        control.change_now::<_, StoreError>(note, |tx| post(tx, &control, to, &letter)).unwrap();
        let row = until(&control, to, |row| row.state == MailState::Dead).await;
        assert!(row.said.starts_with("Not sent: its link"), "{}", row.said);
    }
}

/// Not a test of its own: an instance that puts a mail and tells when it has ended, until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_sends_until_it_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (dir, to) = told.split_once(' ').unwrap();
    let app = App::start(options(dir.as_ref(), Clock::manual(START.parse().unwrap()))).await.unwrap();
    let control = app.web.control.clone();
    put(&control, to);
    until(&control, to, |row| row.state == MailState::Sent).await;
    std::io::stderr().write_all(b"SENT").unwrap();
    std::future::pending::<()>().await;
}

fn child(dir: &std::path::Path, to: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["outbox::child_that_sends_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{} {to}", dir.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_answer_sends_the_same_mail_again_and_one_after_it_does_not() {
    let (server, ada) = Server::ready().await;
    let mut relay = Relay::with("tls", &["--hold", "held@halden.example"]);
    relay.keep(&ada).await;
    let (dir, clock) = server.stop().await;
    // The server has the mail and has not said so: the one window in which it comes twice, under one Message-ID.
    let mut held = child(dir.path(), "held@halden.example");
    let first = relay.mail();
    assert_eq!(first["to"][0], "held@halden.example");
    held.kill().unwrap();
    held.wait().unwrap();
    // The server has it and said so.
    let mut sent = child(dir.path(), "sent@halden.example");
    let mut two = [relay.mail(), relay.mail()];
    two.sort_by_key(|mail| mail["to"][0].as_str().unwrap().to_owned());
    assert_eq!(two[0]["to"][0], "held@halden.example", "it was begun, so it is begun again");
    assert_eq!(message_id(&two[0]), message_id(&first));
    assert_eq!(two[1]["to"][0], "sent@halden.example");
    let mut pipe = sent.stderr.take().unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"SENT") {
        let mut byte = [0];
        pipe.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    sent.kill().unwrap();
    sent.wait().unwrap();
    let server = Server::on(dir, clock).await;
    let control = server.app().web.control.clone();
    assert_eq!(row(&control, "sent@halden.example").unwrap().state, MailState::Sent);
    until(&control, "held@halden.example", |row| row.state == MailState::Sent).await;
    assert!(put(&control, "next@halden.example"));
    loop {
        let mail = relay.mail();
        if mail["to"][0] == "next@halden.example" {
            break;
        }
        assert_eq!(message_id(&mail), message_id(&first), "an acknowledged mail was sent again");
    }
    until(&control, "next@halden.example", |row| row.state == MailState::Sent).await;
}
