//! Sessions: how long they live, what renews them, what ends them; and who waits after wrong tries.

use jiff::SignedDuration;
use vynos::app::{App, Options};
use vynos::clock::Clock;
use vynos::identity::throttle::Allowance;
use vynos::seal::MasterKey;
use vynos::store::audit::Actor;

use crate::access::{person, signed_in};
use crate::harness::{Answer, Client, PASSWORD, Server, options};

const ADA: &str = "ada@halden.example";

/// An instance behind a proxy, which says where requests come from.
async fn behind_proxy() -> (Server, Client) {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
    let app = App::start(Options { behind_proxy: true, ..options(dir.path(), clock.clone()) }).await.unwrap();
    let setup_code = app.setup_code.as_ref().unwrap().expose().to_owned();
    let base = app.url.as_str().trim_end_matches('/').to_owned();
    let server = Server { app: Some(app), clock, dir, base, setup_code };
    let ada = server.set_up().await;
    (server, ada)
}

/// Signs in from an address, in a new browser.
async fn from(server: &Server, address: &str, email: &str, password: &str) -> Answer {
    let client = server.client();
    let request = client.request("POST", "/sign-in").header("x-forwarded-for", address);
    client.send(request.form(&[("email", email), ("password", password)])).await
}

// security-cases row 41
#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_elsewhere_locks_nobody_out() {
    let (server, _ada) = behind_proxy().await;
    assert_eq!(from(&server, "10.20.4.17", ADA, PASSWORD).await.status, 303);
    for round in 0..6 {
        assert_eq!(from(&server, "198.51.100.7", ADA, "not it at all").await.status, 422, "{round}");
    }
    let refused = from(&server, "198.51.100.7", ADA, PASSWORD).await;
    assert_eq!(refused.status, 429, "even the right password waits where it was guessed at");
    // The last forwarder counts: what the one before says is a claim of the guesser.
    assert_eq!(from(&server, "10.20.4.17, 198.51.100.7", ADA, PASSWORD).await.status, 429);
    assert_eq!(from(&server, "10.20.4.17", ADA, PASSWORD).await.status, 303);
    assert_eq!(from(&server, "10.99.0.1", ADA, PASSWORD).await.status, 303);
}

// security-cases row 41
#[tokio::test(flavor = "multi_thread")]
async fn many_machines_that_guess_together_slow_down_and_the_person_does_not() {
    let (server, _ada) = behind_proxy().await;
    assert_eq!(from(&server, "10.20.4.17", ADA, PASSWORD).await.status, 303);
    for machine in 0..58 {
        let guessed = from(&server, &format!("198.51.100.{machine}"), ADA, "not it at all").await;
        // What those wait for grows meanwhile; those that are refused count for nothing.
        server.clock.advance(SignedDuration::from_secs(if guessed.status == 429 { 31 } else { 0 }));
    }
    assert_eq!(from(&server, "203.0.113.9", ADA, "not it at all").await.status, 422);
    assert_eq!(from(&server, "203.0.113.10", ADA, PASSWORD).await.status, 429);
    assert_eq!(from(&server, "10.20.4.17", ADA, PASSWORD).await.status, 303, "known here");
    server.clock.advance(SignedDuration::from_secs(31));
    assert_eq!(from(&server, "203.0.113.10", ADA, PASSWORD).await.status, 303, "half a minute at most");
}

// security-cases row 41
#[tokio::test(flavor = "multi_thread")]
async fn one_network_that_tries_many_accounts_waits_and_its_own_people_do_not() {
    let (server, _ada) = behind_proxy().await;
    assert_eq!(from(&server, "10.20.4.17", ADA, PASSWORD).await.status, 303);
    let throttle = &server.app().web.throttle;
    for n in 0..21 {
        assert_eq!(from(&server, "10.20.4.17", &format!("p{n}@halden.example"), PASSWORD).await.status, 422);
    }
    assert_eq!(from(&server, "10.20.4.17", "p99@halden.example", PASSWORD).await.status, 429);
    assert_eq!(from(&server, "10.20.4.17", ADA, PASSWORD).await.status, 303);
    assert!(throttle.check_within("account address 10.20.4.17", Allowance::NETWORK).is_err());
    // One subscriber of IPv6 has more addresses than can be counted.
    for n in 0..6 {
        assert_eq!(from(&server, &format!("2001:db8:7:7::{n}"), ADA, "not it at all").await.status, 422);
    }
    assert_eq!(from(&server, "2001:db8:7:7:1:2:3:4", ADA, "not it at all").await.status, 429);
}

// security-cases row 40
#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_addresses_get_the_same_answer() {
    let (server, _ada) = behind_proxy().await;
    let known = from(&server, "198.51.100.7", ADA, "not it at all").await;
    let unknown = from(&server, "198.51.100.8", "eve@halden.example", "not it at all").await;
    assert_eq!((known.status, unknown.status), (422, 422));
    assert_eq!(known.body, unknown.body.replace("eve@", "ada@"));
    let names = |answer: &Answer| {
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&known), names(&unknown));
    for (email, address) in [(ADA, "198.51.100.7"), ("eve@halden.example", "198.51.100.8")] {
        for _ in 0..5 {
            from(&server, address, email, "not it at all").await;
        }
    }
    let known = from(&server, "198.51.100.7", ADA, "not it at all").await;
    let unknown = from(&server, "198.51.100.8", "eve@halden.example", "not it at all").await;
    assert_eq!((known.status, unknown.status), (429, 429));
    assert_eq!(known.body, unknown.body.replace("eve@", "ada@"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_not_used_and_after_a_week_in_any_case() {
    let (server, ada) = Server::ready().await;
    let open = |answer: Answer| answer.status == 200;
    for _ in 0..13 {
        server.clock.advance(SignedDuration::from_hours(11));
        assert!(open(ada.get("/account/profile").await));
    }
    // 143 of 168 hours have passed.
    server.clock.advance(SignedDuration::from_hours(11));
    assert!(open(ada.get("/account/profile").await));
    server.clock.advance(SignedDuration::from_hours(11));
    assert!(open(ada.get("/account/profile").await));
    server.clock.advance(SignedDuration::from_hours(4));
    assert!(!open(ada.get("/account/profile").await), "a week is over");

    let phone = server.client();
    phone.sign_in(ADA, PASSWORD).await;
    server.clock.advance(SignedDuration::from_mins(12 * 60 + 1));
    assert!(!open(phone.get("/account/profile").await), "not used for twelve hours");
    phone.sign_in(ADA, PASSWORD).await;
    let shorter = |settings: &mut vynos::identity::Settings| settings.session_idle_minutes = 30;
    server.app().web.control.change_settings(Actor::Operator, shorter).unwrap();
    server.clock.advance(SignedDuration::from_mins(31));
    assert!(
        !open(phone.get("/account/profile").await),
        "the operator's limit holds for sessions that are open"
    );
}

// security-cases row 38
#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_never_what_somebody_brought_and_another_one_after_each_proof() {
    let (server, ada) = Server::ready().await;
    let cookie = |client: &Client| client.cookies().get("vynos").cloned().unwrap_or_default();
    let phone = server.client();
    let planted = "A".repeat(43);
    let brought = phone.request("POST", "/sign-in").header("cookie", format!("vynos={planted}"));
    phone.send(brought.form(&[("email", ADA), ("password", PASSWORD)])).await;
    let first = cookie(&phone);
    assert!(first.len() == 43 && first != planted, "256 bits of our own");
    phone.get("/account/profile").await;
    let confirmed = phone.post("/account/confirm", &[("password", PASSWORD), ("next", "/")]).await;
    assert_eq!(confirmed.status, 303);
    let second = cookie(&phone);
    assert_ne!(first, second);
    for (value, alive) in [(&first, false), (&second, true), (&planted, false)] {
        let browser = server.client();
        let request = browser.request("GET", "/account/profile").header("cookie", format!("vynos={value}"));
        assert_eq!(browser.send(request).await.status == 200, alive);
    }
    phone.post("/sign-out", &[]).await;
    let replayed = server.client();
    let request = replayed.request("GET", "/account/profile").header("cookie", format!("vynos={second}"));
    assert_eq!(replayed.send(request).await.status, 303, "what was signed out stays out");
    assert_eq!(ada.get("/account/profile").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_never_used_before_is_told_to_its_person_and_known_ones_are_not() {
    let (server, ada) = Server::ready().await;
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let sign_in = || async {
        let client = server.client();
        let request = client.request("POST", "/sign-in").header("user-agent", firefox);
        client.send(request.form(&[("email", ADA), ("password", PASSWORD)])).await
    };
    // The first browser of an account is no news.
    server.client().sign_in(ADA, PASSWORD).await;
    let inbox = || async { ada.get("/w/halden-energy/notifications").await.body };
    let told = |body: &str| body.matches("New sign-in with Firefox on Linux").count();
    assert_eq!(told(&inbox().await), 0);
    assert_eq!(sign_in().await.status, 303);
    let once = told(&inbox().await);
    assert!(once > 0, "{}", inbox().await);
    assert_eq!(sign_in().await.status, 303);
    assert_eq!(told(&inbox().await), once);
    assert!(ada.get("/account/security").await.body.contains("Firefox on Linux"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_others_are_out_of_reach_and_all_others_of_ones_own_end_at_once() {
    let (server, ada) = Server::ready().await;
    person(&server.app().web.control, "max");
    let max = signed_in(&server, "max").await;
    let phone = server.client();
    phone.sign_in(ADA, PASSWORD).await;
    let ids = |page: &str| -> Vec<String> {
        let parts = page.split("/account/security/sessions/").skip(1);
        parts.map(|p| p.split('/').next().unwrap().to_owned()).filter(|id| id.len() == 26).collect()
    };
    let theirs = ids(&ada.get("/account/security").await.body);
    assert_eq!(theirs.len(), 1);
    let path = format!("/account/security/sessions/{}/end", theirs[0]);
    assert_eq!(max.post(&path, &[]).await.status, 404);
    assert_eq!(phone.get("/account/profile").await.status, 200);
    let ended = ada.post("/account/security/sessions/end", &[]).await;
    assert_eq!(ended.location(), "/account/security?saved=others");
    assert_eq!(phone.get("/account/profile").await.status, 303);
    assert_eq!(ada.get("/account/profile").await.status, 200);
    assert_eq!(max.get("/account/profile").await.status, 200);
}
