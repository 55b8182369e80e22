//! A forgotten password: the link, what it does, and that asking tells nothing.

use jiff::SignedDuration;
use vynos::identity::control::Note;
use vynos::identity::reset::RESETS;
use vynos::mail::outbox::{MailRow, OUTBOX};
use vynos::mail::{Kept, Letter, MAIL_SERVER};
use vynos::store::audit::{Action, Actor};
use vynos::store::{Read as _, StoreError};
use vynos::wire::mail::Security;

use crate::access::{person, signed_in};
use crate::harness::Server;

const NEW: &str = "seven quiet lanterns";

/// A mail server that nobody answers at: mails stay in the outbox, where a test reads them.
pub fn mails(server: &Server) {
    let kept = Kept {
        host: "127.0.0.1".into(),
        port: 9,
        security: Security::Tls,
        user: String::new(),
        password: None,
        sender: "vynos@halden.example".into(),
        ca: None,
    };
    let note = Note::new(Actor::Operator, Action::MailChanged, "instance");
    server.app().web.control.change_now::<_, StoreError>(note, |tx| tx.put(&MAIL_SERVER, &0, &kept)).unwrap();
}

pub fn outbox(server: &Server) -> Vec<MailRow> {
    let rows = server.app().web.control.read().unwrap().scan(&OUTBOX).rows().unwrap();
    rows.into_iter().map(|(_, row)| row).collect()
}

fn links(server: &Server, to: &str) -> Vec<String> {
    let of = |row: MailRow| match row.letter {
        Some(Letter::PasswordReset { link, .. }) if row.to == to => Some(link),
        _ => None,
    };
    outbox(server).into_iter().filter_map(of).collect()
}

// security-cases row 40
#[tokio::test(flavor = "multi_thread")]
async fn asking_answers_alike_for_known_and_unknown_addresses() {
    let (server, _ada) = Server::ready().await;
    mails(&server);
    let visitor = server.client();
    let known = visitor.post("/forgot", &[("email", "ada@halden.example")]).await;
    let unknown = visitor.post("/forgot", &[("email", "nobody@halden.example")]).await;
    assert_eq!((known.status, known.location()), (303, "/forgot?asked=true"));
    assert_eq!((unknown.status, unknown.location()), (303, "/forgot?asked=true"));
    assert_eq!(known.body, unknown.body);
    // The same rows are written for both, and the mail goes to one.
    let control = &server.app().web.control;
    assert_eq!(control.read().unwrap().scan(&RESETS).count().unwrap(), 2);
    assert_eq!(links(&server, "ada@halden.example").len(), 1);
    assert_eq!(links(&server, "nobody@halden.example").len(), 0);
    assert!(control.verify_audit().unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_sets_the_password_once_and_ends_every_session() {
    let (server, ada) = Server::ready().await;
    mails(&server);
    let visitor = server.client();
    for _ in 0..2 {
        visitor.post("/forgot", &[("email", "ADA@halden.example")]).await;
    }
    let links = links(&server, "ADA@halden.example");
    assert_eq!(links.len(), 2);
    // Looking uses nothing up, however often a mail scanner does.
    for _ in 0..3 {
        assert_eq!(visitor.get(&links[0]).await.status, 200);
    }
    assert_eq!(ada.get("/account/profile").await.status, 200);
    assert_eq!(visitor.post(&links[0], &[("password", "short")]).await.status, 422);
    let set = visitor.post(&links[0], &[("password", NEW)]).await;
    assert_eq!((set.status, set.location()), (303, "/sign-in?changed=true"), "{}", set.body);
    assert!(visitor.cookies().is_empty(), "a link alone signs nobody in: a second factor may be needed");
    assert!(ada.get("/account/profile").await.location().starts_with("/sign-in"));
    for link in &links {
        assert_eq!(visitor.get(link).await.status, 404);
        assert_eq!(visitor.post(link, &[("password", NEW)]).await.status, 404);
    }
    assert_eq!(visitor.sign_in("ada@halden.example", crate::harness::PASSWORD).await.status, 422);
    assert_eq!(visitor.sign_in("ada@halden.example", NEW).await.status, 303);
    assert!(outbox(&server).iter().any(|row| matches!(row.letter, Some(Letter::PasswordChanged { .. }))));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_use_a_link_once() {
    let (server, _ada) = Server::ready().await;
    mails(&server);
    let (one, two) = (server.client(), server.client());
    one.post("/forgot", &[("email", "ada@halden.example")]).await;
    let link = links(&server, "ada@halden.example").remove(0);
    let (a, b) = tokio::join!(
        one.post(&link, &[("password", NEW)]),
        two.post(&link, &[("password", "nine loud lanterns")])
    );
    let mut answers = [a.status, b.status];
    answers.sort_unstable();
    assert_eq!(answers, [303, 404]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_for_an_hour_and_the_mailbox_gets_at_most_five() {
    let (server, _ada) = Server::ready().await;
    mails(&server);
    let visitor = server.client();
    for _ in 0..8 {
        visitor.post("/forgot", &[("email", "ada@halden.example")]).await;
        // The address that asks has to wait longer each time; the mailbox has its own limit.
        server.clock.advance(SignedDuration::from_mins(5));
    }
    let links = links(&server, "ada@halden.example");
    assert_eq!(links.len(), 5);
    assert_eq!(visitor.get(&links[4]).await.status, 200);
    server.clock.advance(SignedDuration::from_mins(61));
    for link in &links {
        assert_eq!(visitor.get(link).await.status, 404);
    }
}

// security-cases row 41
#[tokio::test(flavor = "multi_thread")]
async fn guessing_links_has_to_wait() {
    let (server, _ada) = Server::ready().await;
    let visitor = server.client();
    let mut answers = Vec::new();
    for n in 0..8 {
        answers.push(visitor.post(&format!("/reset/guess-{n}"), &[("password", NEW)]).await.status);
    }
    assert_eq!(answers[..5], [404; 5]);
    assert_eq!(answers[7], 429);
}

// security-cases row 38
#[tokio::test(flavor = "multi_thread")]
async fn links_are_256_bits_and_only_their_keyed_hash_is_kept() {
    let (server, _ada) = Server::ready().await;
    let control = &server.app().web.control;
    let note = Note::new(Actor::Operator, Action::AccountResetByOperator, "ada");
    let email = "ada@halden.example".parse().unwrap();
    let link = control.change_now::<_, StoreError>(note, |tx| control.make_reset(tx, &email)).unwrap();
    let token = link.token.expose();
    assert_eq!(token.len(), 43);
    assert_eq!(control.read().unwrap().tables_with(token).unwrap(), Vec::<String>::new());
    // It opens nothing but what it is for.
    let visitor = server.client();
    assert_eq!(visitor.get(&format!("/invite/{token}")).await.status, 404);
    assert_eq!(visitor.get(&format!("/address/{token}")).await.status, 404);
    let bearer = visitor.request("GET", "/api/v1/me").bearer_auth(token);
    assert_eq!(visitor.send(bearer).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_moves_once_both_ends_had_their_word() {
    let (server, _ada) = Server::ready().await;
    mails(&server);
    person(&server.app().web.control, "max");
    person(&server.app().web.control, "lise");
    let max = signed_in(&server, "max").await;
    let wrong = [("email", "max@new.example"), ("password", "not the password")];
    assert_eq!(max.post("/account/address", &wrong).await.status, 422);
    let password = ("password", crate::harness::PASSWORD);
    // Nothing tells that another account has the address, and its owner gets no link.
    let taken = max.post("/account/address", &[("email", "lise@halden.example"), password]).await;
    let free = max.post("/account/address", &[("email", "max@new.example"), password]).await;
    assert_eq!((taken.status, free.status), (200, 200));
    assert_eq!(taken.body.replace("lise@halden.example", "X"), free.body.replace("max@new.example", "X"));
    let confirms: Vec<(String, String)> = outbox(&server)
        .into_iter()
        .filter_map(|row| match row.letter {
            Some(Letter::MailChangeConfirm { link, .. }) => Some((row.to, link)),
            _ => None,
        })
        .collect();
    assert_eq!(confirms.len(), 1);
    let stops: Vec<String> = outbox(&server)
        .into_iter()
        .filter_map(|row| match row.letter {
            Some(Letter::MailChangeNotice { link, .. }) if row.to == "max@halden.example" => Some(link),
            _ => None,
        })
        .collect();
    let visitor = server.client();
    assert_eq!(visitor.get(&confirms[0].1).await.status, 200);
    assert_eq!(visitor.sign_in("max@new.example", crate::harness::PASSWORD).await.status, 422);
    assert_eq!(visitor.post(&confirms[0].1, &[]).await.status, 200);
    assert_eq!(visitor.post(&confirms[0].1, &[]).await.status, 404);
    assert_eq!(server.client().sign_in("max@new.example", crate::harness::PASSWORD).await.status, 303);
    assert_eq!(server.client().sign_in("max@halden.example", crate::harness::PASSWORD).await.status, 422);
    // Who took the session over can't outrun the old end by a second change.
    let again = max.post("/account/address", &[("email", "third@new.example"), password]).await;
    assert_eq!(again.status, 422);
    let stop = stops.iter().find(|link| stops.len() == 2 && *link != &stops[0]).unwrap_or(&stops[0]);
    let mut undone = server.client().post(stop, &[]).await.status;
    if undone == 404 {
        undone = server.client().post(&stops[0], &[]).await.status;
    }
    assert_eq!(undone, 200);
    assert!(max.get("/account/profile").await.location().starts_with("/sign-in"));
    assert_eq!(server.client().sign_in("max@halden.example", crate::harness::PASSWORD).await.status, 303);
}
