//! What ends soon is told once: an invitation that waits, an API token. And how an invitation stands, on the page.

use jiff::SignedDuration;
use vynos::identity::Role;
use vynos::identity::invitations::INVITATIONS;
use vynos::ids::MailId;
use vynos::mail::Letter;
use vynos::mail::outbox::{MailRow, MailState, OUTBOX, OUTBOX_DUE};
use vynos::store::{Read as _, StoreError};

use crate::access::signed_in;
use crate::harness::{PASSWORD, Server};
use crate::members::joined;
use crate::outbox::until;
use crate::reset::{mails, outbox};

const MEMBERS: &str = "/w/halden-energy/members";

/// As if the mail server had answered so, at the second try.
async fn ended(server: &Server, to: &str, state: MailState, said: &str) {
    let control = &server.app().web.control;
    until(control, to, |row| row.state == MailState::Waiting && row.tries == 1).await;
    let rows: Vec<(MailId, MailRow)> = control.read().unwrap().scan(&OUTBOX).rows().unwrap();
    let (id, row) = rows.into_iter().find(|(_, row)| row.to == to && row.letter.is_some()).unwrap();
    let ended = Some(control.clock().now());
    let row = MailRow { state, ended, tries: 1, said: said.into(), letter: None, ..row };
    control
        .touch::<StoreError>(|tx| {
            tx.remove(&OUTBOX_DUE, &(row.due_ms, id))?;
            tx.put(&OUTBOX, &id, &row)
        })
        .unwrap();
}

fn reminders(server: &Server) -> Vec<(String, String)> {
    let of = |row: MailRow| match row.letter {
        Some(Letter::InvitationReminder { link, .. }) => Some((row.to, link)),
        _ => None,
    };
    outbox(server).into_iter().filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_waits_is_reminded_of_once_and_both_links_work_until_one_is_used() {
    let (server, ada) = Server::ready().await;
    mails(&server);
    for address in ["max@halden.example", "lise@halden.example", "otto@halden.example"] {
        ada.post(MEMBERS, &[("email", address), ("role", "member")]).await;
    }
    let first = outbox(&server).into_iter().find(|row| row.to == "max@halden.example").unwrap();
    let Some(Letter::InvitationSent { link: first, .. }) = first.letter else { panic!("no invitation") };
    ended(&server, "max@halden.example", MailState::Sent, "2.0.0 Queued").await;
    ended(
        &server,
        "lise@halden.example",
        MailState::Dead,
        "refused the recipient: “550 5.1.1 No such mailbox”",
    )
    .await;
    let reminders_of = &server.app().reminders;
    assert_eq!(reminders_of.remind_due().await.unwrap(), (0, 0), "too early");
    server.clock.advance(SignedDuration::from_hours(5 * 24 + 1));
    assert_eq!(
        reminders_of.remind_due().await.unwrap(),
        (1, 0),
        "whose mail was refused, or waits, gets none"
    );
    assert_eq!(reminders_of.remind_due().await.unwrap(), (0, 0), "once");
    let told = reminders(&server);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "max@halden.example");
    let second = told[0].1.clone();
    assert_ne!(first, second);
    // The session has ended by being idle.
    let ada = server.client();
    ada.sign_in("ada@halden.example", PASSWORD).await;
    let page = ada.get(MEMBERS).await.body;
    assert!(page.contains("Mail refused") && page.contains("550 5.1.1 No such mailbox"), "{page}");
    assert!(page.contains("invited by Ada Lovelace, 23 Nov · ends 30 Nov"), "{page}");
    for link in [&first, &second] {
        assert_eq!(server.client().get(link).await.status, 200);
    }
    let max = server.client();
    let fields = [("name", "Max Born"), ("password", PASSWORD)];
    assert_eq!(max.send(max.request("POST", &second).form(&fields)).await.status, 303);
    for link in [&first, &second] {
        assert_eq!(server.client().get(link).await.status, 404, "one was used, so both are");
    }
    let page = ada.get(MEMBERS).await.body;
    assert!(
        page.contains("Accepted in the last 7 days") && page.contains("Member · joined 28 Nov"),
        "{page}"
    );
    // Withdrawn or sent again it can't be any more.
    let control = &server.app().web.control;
    let rows = control.read().unwrap().scan(&INVITATIONS).rows().unwrap();
    let id = rows.iter().find(|(_, row)| row.accepted.is_some()).unwrap().0.1.to_string();
    assert_eq!(ada.post(&format!("{MEMBERS}/invitations/{id}/withdraw"), &[]).await.status, 404);
    assert_eq!(ada.post(MEMBERS, &[("again", &id), ("by", "link")]).await.status, 404);
    server.clock.advance(SignedDuration::from_hours(2 * 24));
    let ada = server.client();
    ada.sign_in("ada@halden.example", PASSWORD).await;
    assert!(ada.get(MEMBERS).await.body.contains("badge warn\">Ended"));
    server.clock.advance(SignedDuration::from_hours(6 * 24));
    server.app().sweeper.sweep_due().await.unwrap();
    let rows = control.read().unwrap().scan(&INVITATIONS).rows().unwrap();
    assert!(rows.iter().all(|(_, row)| row.accepted.is_none()), "who came is forgotten after seven days");
    server.clock.advance(SignedDuration::from_hours(30 * 24));
    server.app().sweeper.sweep_due().await.unwrap();
    assert_eq!(control.read().unwrap().scan(&INVITATIONS).count().unwrap(), 0, "who did not after thirty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_in_a_week_is_told_of_once_to_whom_it_belongs() {
    let (server, _ada) = Server::ready().await;
    joined(&server, "max", Role::Member);
    let max = signed_in(&server, "max").await;
    let fields = [("name", "Nightly report"), ("days", "30"), ("scope", "read")];
    assert_eq!(max.post("/w/halden-energy/tokens", &fields).await.status, 200);
    let reminders = &server.app().reminders;
    server.clock.advance(SignedDuration::from_hours(22 * 24));
    assert_eq!(reminders.remind_due().await.unwrap(), (0, 0));
    server.clock.advance(SignedDuration::from_hours(30));
    assert_eq!(reminders.remind_due().await.unwrap(), (0, 1));
    assert_eq!(reminders.remind_due().await.unwrap(), (0, 0));
    let max = signed_in(&server, "max").await;
    let page = max.get("/w/halden-energy/notifications").await.body;
    assert_eq!(page.matches("The API token “Nightly report” ends soon").count(), 1, "{page}");
    let ada = server.client();
    ada.sign_in("ada@halden.example", PASSWORD).await;
    assert!(!ada.get("/w/halden-energy/notifications").await.body.contains("Nightly report"));
}
