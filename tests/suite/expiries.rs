//! Everything that ends by itself, with the clock moved: it works one second before its end and not one second after.
//! docs/TESTING.md lists every expiry of the product with the test that shows it.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use vynos::identity::Role;
use vynos::identity::invitations;
use vynos::mail::Letter;
use vynos::sim::salesforce::Consent;

use crate::access::{person, signed_in};
use crate::deployments::{Bench, GREETER};
use crate::harness::{Client, PASSWORD, Server};
use crate::members::{invited, joined};
use crate::orgs::rig;
use crate::passkeys::{begin, finish};
use crate::reset::{mails, outbox};
use crate::security::{code_at, enrolled, key_of, now};
use crate::soft_key::SoftKey;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Moves the clock to a second before `end`.
fn just_before(server: &Server, end: Timestamp) {
    server.clock.advance(end.duration_since(server.clock.now()) - SECOND);
}

/// From a second before an end to a second after it.
fn just_after(server: &Server) {
    server.clock.advance(SECOND + SECOND);
}

fn letter(server: &Server, wanted: impl Fn(&Letter) -> Option<String>) -> String {
    let found = outbox(server).into_iter().filter_map(|row| wanted(&row.letter?)).next_back();
    found.expect("a mail with a link")
}

async fn is_in(client: &Client) -> bool {
    client.get("/account/profile").await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_when_unused_for_twelve_hours_and_after_a_week() {
    let (server, _) = Server::ready().await;
    let (used, unused) = (signed_in(&server, "ada").await, signed_in(&server, "ada").await);
    let begun = server.clock.now();
    just_before(&server, begun + hours(12));
    assert!(is_in(&used).await);
    just_after(&server);
    assert!(is_in(&used).await && !is_in(&unused).await);
    while server.clock.now() < begun + hours(7 * 24 - 11) {
        server.clock.advance(hours(11));
        assert!(is_in(&used).await);
    }
    just_before(&server, begun + hours(7 * 24));
    assert!(is_in(&used).await);
    just_after(&server);
    assert!(!is_in(&used).await, "a week is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_end_after_an_hour_a_day_and_a_week() {
    let (server, ada) = Server::ready().await;
    let begun = server.clock.now();
    let invitation = invited(&ada, "new@halden.example", "viewer").await;
    mails(&server);
    person(&server.app().web.control, "max");
    let max = signed_in(&server, "max").await;
    let visitor = server.client();
    visitor.post("/forgot", &[("email", "ada@halden.example")]).await;
    let change = max.post("/account/address", &[("email", "max@new.example"), ("password", PASSWORD)]).await;
    assert_eq!(change.status, 200, "{}", change.body);
    let reset = letter(&server, |letter| match letter {
        Letter::PasswordReset { link, .. } => Some(link.clone()),
        _ => None,
    });
    let confirm = letter(&server, |letter| match letter {
        Letter::MailChangeConfirm { link, .. } => Some(link.clone()),
        _ => None,
    });
    let stop = letter(&server, |letter| match letter {
        Letter::MailChangeNotice { link, .. } => Some(link.clone()),
        _ => None,
    });
    let week = begun + invitations::LASTS;
    for (links, end) in [
        (vec![&reset], begun + hours(1)),
        (vec![&confirm, &stop], begun + hours(24)),
        (vec![&invitation], week),
    ] {
        just_before(&server, end);
        for link in &links {
            assert_eq!(visitor.get(link).await.status, 200, "{link}");
        }
        just_after(&server);
        for link in &links {
            assert_eq!(visitor.get(link).await.status, 404, "{link}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_codes_and_proofs_wait_for_minutes() {
    let (server, ada) = Server::ready().await;
    // The key of an authenticator app: ten minutes.
    for (late, status) in [(false, 200), (true, 422)] {
        let browser = signed_in(&server, "ada").await;
        let begun = server.clock.now();
        assert_eq!(browser.post("/account/security/totp/begin", &[]).await.status, 303);
        let key = key_of(&browser.get("/account/security/totp").await.body);
        just_before(&server, begun + SignedDuration::from_mins(10));
        if late {
            just_after(&server);
        }
        let code = code_at(&key, now(&server));
        let on = browser.post("/account/security/totp", &[("code", &code)]).await;
        assert_eq!(on.status, status, "{}", on.body);
        if !late {
            assert_eq!(browser.post("/account/security/totp/off", &[]).await.status, 303);
        }
    }
    // Who proved who they are may do dangerous things for fifteen minutes.
    drop(ada);
    let ada = signed_in(&server, "ada").await;
    let proved = server.clock.now();
    just_before(&server, proved + SignedDuration::from_mins(15));
    let rule = "/w/halden-energy/privacy/retention";
    assert_eq!(ada.post(rule, &[("audit", "400")]).await.location(), rule);
    just_after(&server);
    let asked = ada.post(rule, &[("audit", "400")]).await;
    assert!(asked.location().starts_with("/account/confirm"), "{}", asked.body);

    // A sign-in waits five minutes for its second step.
    let fresh = signed_in(&server, "ada").await;
    let (_, codes) = enrolled(&server, &fresh).await;
    for (late, to, code) in [(false, "/", &codes[0]), (true, "/sign-in?ended=true", &codes[1])] {
        let browser = server.client();
        browser.sign_in("ada@halden.example", PASSWORD).await;
        let begun = server.clock.now();
        just_before(&server, begun + SignedDuration::from_mins(5));
        if late {
            just_after(&server);
        }
        let answer = browser.post("/sign-in/code", &[("code", code)]).await;
        assert_eq!(answer.location(), to, "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_ceremony_waits_five_minutes() {
    let (server, ada) = Server::ready().await;
    for (late, status) in [(false, 200), (true, 422)] {
        let begun = begin(&ada, "/account/passkeys").await;
        just_before(&server, server.clock.now() + SignedDuration::from_mins(5));
        if late {
            just_after(&server);
        }
        let mut key = SoftKey::new(&ada.base, u8::from(late));
        let answer = finish(&ada, "/account/passkeys", &begun, &key.made(&begun)).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_from_salesforce_is_open_for_half_an_hour() {
    let rig = rig(Consent::Auto).await;
    let end = rig.server.clock.now() + SignedDuration::from_mins(30);
    let (timely, late) = (rig.begin().await, rig.begin().await);
    just_before(&rig.server, end);
    // Salesforce's own codes live shorter than our states: people consent late.
    let (timely, late) = (rig.consent(&timely).await, rig.consent(&late).await);
    assert_eq!(rig.ada.get(&timely).await.status, 303);
    just_after(&rig.server);
    assert_eq!(rig.ada.get(&late).await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_day_and_a_repeated_request_is_known_until_the_next_day_ends() {
    let bench = Bench::new().await;
    let server = &bench.rig.server;
    let once = async || {
        let client = server.client();
        let files = json!([{ "path": "classes/Greeter.cls", "content": GREETER }]);
        let body = json!({ "org": bench.org, "title": "a", "files": files });
        let request = client.request("POST", "/api/v1/change-sets").bearer_auth(&bench.token).json(&body);
        let answer = client.send(request.header("idempotency-key", "k1")).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body
    };
    let first = once().await;
    just_before(server, "2026-11-25T00:00:00Z".parse().unwrap());
    assert_eq!(once().await, first, "asked on the 23rd, repeated on the 24th");
    just_after(server);
    assert_ne!(once().await, first);

    let made = signed_in(server, "ada").await;
    let begun = server.clock.now();
    let fields = [("name", "short"), ("days", "7"), ("scope", "read")];
    let made = made.post("/w/halden-energy/tokens", &fields).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    let client = server.client();
    let me = async || client.send(client.request("GET", "/api/v1/me").bearer_auth(&token)).await.status;
    just_before(server, begun + hours(7 * 24));
    assert_eq!(me().await, 200);
    just_after(server);
    assert_eq!(me().await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_can_be_kept_until_the_last_second_of_its_thirty_days() {
    let (server, _ada) = Server::ready().await;
    for (name, late) in [("max", false), ("lise", true)] {
        let id = joined(&server, name, Role::Member);
        let client = signed_in(&server, name).await;
        let email = format!("{name}@halden.example");
        let begun = server.clock.now();
        assert_eq!(
            client.post("/account/close", &[("email", email.as_str()), ("password", PASSWORD)]).await.status,
            303
        );
        just_before(&server, begun + hours(30 * 24));
        assert_eq!(server.app().eraser.erase_due().await.unwrap(), 0);
        if late {
            just_after(&server);
            assert_eq!(server.client().sign_in(&email, PASSWORD).await.status, 422);
            assert_eq!(server.app().eraser.erase_due().await.unwrap(), 1);
            assert!(server.app().web.control.account(id).unwrap().is_none());
        } else {
            let back = signed_in(&server, name).await;
            assert!(back.get("/account/close").await.body.contains("deleted in 1 day<"));
            assert_eq!(back.post("/account/close/stop", &[]).await.status, 303);
            just_after(&server);
            assert_eq!(server.app().eraser.erase_due().await.unwrap(), 0);
            assert!(is_in(&back).await);
        }
    }
}
