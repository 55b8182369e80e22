//! Signing in with a second step, over HTTP: codes of an app and recovery codes, what they may be and how often; where
//! an account is signed in; the password; confirming before dangerous acts; the instance's rule.

use jiff::SignedDuration;

use crate::access::{person, signed_in};
use crate::harness::{Client, PASSWORD, Server};

/// The key as the page prints it.
pub fn key_of(page: &str) -> String {
    let from = page.find("class=\"once\"><code>").unwrap() + "class=\"once\"><code>".len();
    page[from..].split('<').next().unwrap().replace(' ', "")
}

/// What an authenticator app shows for a key now.
pub fn code_at(key: &str, seconds: i64) -> String {
    let secret = totp_rs::Secret::try_from_base32(key).unwrap();
    let app = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    app.generate(u64::try_from(seconds).unwrap()).to_string()
}

pub fn now(server: &Server) -> i64 {
    server.clock.now().as_second()
}

/// Turns the app on; answers its key and the recovery codes.
pub async fn enrolled(server: &Server, ada: &Client) -> (String, Vec<String>) {
    let begun = ada.post("/account/security/totp/begin", &[]).await;
    assert_eq!(begun.location(), "/account/security/totp");
    let key = key_of(&ada.get("/account/security/totp").await.body);
    let shown = ada.post("/account/security/totp", &[("code", &code_at(&key, now(server)))]).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let list = shown.body.split("keybox").nth(1).unwrap();
    let codes = list.split("<li>").skip(1).map(|c| c.split('<').next().unwrap().to_owned()).collect();
    (key, codes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_alone_no_longer_signs_in_and_a_code_works_once() {
    let (server, ada) = Server::ready().await;
    let (key, codes) = enrolled(&server, &ada).await;
    assert_eq!(codes.len(), 10);
    server.clock.advance(SignedDuration::from_secs(60));

    let phone = server.client();
    let first = phone.sign_in("ada@halden.example", PASSWORD).await;
    assert!(first.location().starts_with("/sign-in/code"), "{}", first.location());
    // The waiting sign-in is no session.
    assert_eq!(phone.get("/account/profile").await.location(), "/sign-in?next=%2Faccount%2Fprofile");
    let code = code_at(&key, now(&server));
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    let passed = phone.post("/sign-in/code", &[("code", &spaced)]).await;
    assert_eq!(passed.status, 303, "{}", passed.body);
    assert_eq!(phone.get("/account/profile").await.status, 200);

    // The same code again, elsewhere, within its half minute.
    let other = server.client();
    other.sign_in("ada@halden.example", PASSWORD).await;
    let again = other.post("/sign-in/code", &[("code", &code)]).await;
    assert_eq!(again.status, 422);
    // One step off either way passes, two do not.
    for (off, right) in [(60, false), (-60, false), (30, true)] {
        let typed = code_at(&key, now(&server) + off);
        let answer = other.post("/sign-in/code", &[("code", &typed)]).await;
        assert_eq!(answer.status == 303, right, "{off}");
    }
}

// security-cases row 41
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_works_once_and_five_wrong_codes_end_the_sign_in() {
    let (server, ada) = Server::ready().await;
    let (_, codes) = enrolled(&server, &ada).await;
    for (round, right) in [(0, true), (1, false)] {
        let browser = server.client();
        browser.sign_in("ada@halden.example", PASSWORD).await;
        let answer = browser.post("/sign-in/code", &[("code", &codes[0].to_lowercase())]).await;
        assert_eq!(answer.status == 303, right, "{round}");
    }
    assert!(ada.get("/account/security").await.body.contains("9 of 10 recovery codes left"));

    let browser = server.client();
    browser.sign_in("ada@halden.example", PASSWORD).await;
    let mut last = String::new();
    for _ in 0..5 {
        // The growing delay is waited out.
        server.clock.advance(SignedDuration::from_secs(10));
        last = browser.post("/sign-in/code", &[("code", "000000")]).await.location().to_owned();
    }
    assert_eq!(last, "/sign-in?ended=true");
    let late = browser.post("/sign-in/code", &[("code", &codes[1])]).await;
    assert_eq!(late.location(), "/sign-in?ended=true");

    let slow = server.client();
    slow.sign_in("ada@halden.example", PASSWORD).await;
    server.clock.advance(SignedDuration::from_mins(6));
    let late = slow.post("/sign-in/code", &[("code", &codes[1])]).await;
    assert_eq!(late.location(), "/sign-in?ended=true", "a sign-in waits for five minutes");
}

#[tokio::test(flavor = "multi_thread")]
async fn dangerous_acts_ask_for_the_password_again() {
    let (server, ada) = Server::ready().await;
    enrolled(&server, &ada).await;
    server.clock.advance(SignedDuration::from_mins(16));
    let asked = ada.post("/account/security/totp/off", &[]).await;
    assert!(asked.location().starts_with("/account/confirm"), "{}", asked.location());
    assert!(ada.get("/account/security").await.body.contains("On since"), "nothing was changed");
    let wrong = ada.post("/account/confirm", &[("password", "not it at all"), ("next", "/")]).await;
    assert_eq!(wrong.status, 422);
    let right = ada.post("/account/confirm", &[("password", PASSWORD), ("next", "/account/security")]).await;
    assert_eq!(right.location(), "/account/security");
    assert_eq!(ada.post("/account/security/totp/off", &[]).await.location(), "/account/security?saved=off");
    assert!(!ada.get("/account/security").await.body.contains("On since"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_elsewhere_answers_nothing_more() {
    let (server, ada) = Server::ready().await;
    let phone = server.client();
    phone.sign_in("ada@halden.example", PASSWORD).await;
    let page = ada.get("/account/security").await.body;
    let id = page.split("/account/security/sessions/").map(|part| part.split('/').next().unwrap());
    let id = id.into_iter().find(|id| id.len() == 26).unwrap();
    // Another account's page knows nothing of this session.
    assert_eq!(phone.get("/account/profile").await.status, 200);
    ada.post(&format!("/account/security/sessions/{id}/end"), &[]).await;
    assert_eq!(phone.get("/account/profile").await.location(), "/sign-in?next=%2Faccount%2Fprofile");
    assert_eq!(ada.get("/account/profile").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_the_other_sessions_and_weak_ones_are_refused() {
    let (server, ada) = Server::ready().await;
    let phone = server.client();
    phone.sign_in("ada@halden.example", PASSWORD).await;
    for (current, new, refused) in [
        (PASSWORD, "short", "at least 12"),
        (PASSWORD, "password1234", "easy to guess"),
        ("not it at all", "violet harbour lantern", "not your current password"),
    ] {
        let answer = ada.post("/account/security/password", &[("current", current), ("new", new)]).await;
        assert_eq!(answer.status, 422);
        assert!(answer.body.contains(refused), "{new}: {}", answer.body);
    }
    let new = "violet harbour lantern";
    let done = ada.post("/account/security/password", &[("current", PASSWORD), ("new", new)]).await;
    assert_eq!(done.location(), "/account/security?saved=password");
    assert_eq!(ada.get("/account/profile").await.status, 200);
    assert_eq!(phone.get("/account/profile").await.location(), "/sign-in?next=%2Faccount%2Fprofile");
    assert_eq!(server.client().sign_in("ada@halden.example", PASSWORD).await.status, 422);
    assert_eq!(server.client().sign_in("ada@halden.example", new).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_instance_asks_for_a_second_factor_nothing_else_answers_before() {
    let (server, ada) = Server::ready().await;
    server
        .app()
        .web
        .control
        .change_settings(vynos::store::audit::Actor::Operator, |settings| {
            settings.require_second_factor = vynos::identity::Required::Everyone;
        })
        .unwrap();
    server.app().web.refresh_settings().unwrap();
    assert_eq!(ada.get("/account/profile").await.location(), "/account/security");
    assert!(ada.get("/account/security").await.body.contains("This server asks for a second factor"));
    enrolled(&server, &ada).await;
    assert_eq!(ada.get("/account/profile").await.status, 200);
    let off = ada.post("/account/security/totp/off", &[]).await;
    assert_eq!(off.status, 409, "the last factor stays");

    // Somebody whose account is about to go finds the one page that they may use.
    person(&server.app().web.control, "max");
    let max = signed_in(&server, "max").await;
    assert_eq!(max.get("/account/profile").await.location(), "/account/security");
    let close = [("password", PASSWORD), ("email", "max@halden.example")];
    max.get("/account/security").await;
    assert_eq!(max.post("/account/close", &close).await.status, 303);
    let last = signed_in(&server, "max").await;
    assert_eq!(last.get("/account/security").await.location(), "/account/close");
    assert_eq!(last.get("/account/close").await.status, 200);
}

// security-cases row 41
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_arrives_twice_at_once_lets_one_in() {
    let (server, ada) = Server::ready().await;
    let (key, codes) = enrolled(&server, &ada).await;
    for (round, recovery) in codes.iter().take(3).enumerate() {
        server.clock.advance(SignedDuration::from_secs(60));
        for code in [&code_at(&key, now(&server)), recovery] {
            let browsers = [server.client(), server.client(), server.client(), server.client()];
            for browser in &browsers {
                browser.sign_in("ada@halden.example", PASSWORD).await;
            }
            let typed = [("code", code.as_str())];
            let tries = browsers.iter().map(|browser| browser.post("/sign-in/code", &typed));
            let answers = futures_util::future::join_all(tries).await;
            assert_eq!(answers.iter().filter(|a| a.status == 303).count(), 1, "{round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_waits_ten_minutes_for_the_session_that_made_it() {
    let (server, ada) = Server::ready().await;
    let phone = server.client();
    phone.sign_in("ada@halden.example", PASSWORD).await;
    ada.post("/account/security/totp/begin", &[]).await;
    let page = ada.get("/account/security/totp").await;
    assert_eq!(page.headers["cache-control"], "no-store");
    assert!(page.body.contains("<svg class=\"qr\"") && !page.body.contains("style="));
    let key = key_of(&page.body);
    assert_eq!(phone.get("/account/security/totp").await.location(), "/account/security");
    let stolen = phone.post("/account/security/totp", &[("code", &code_at(&key, now(&server)))]).await;
    assert_eq!(stolen.status, 422);
    assert_eq!(ada.post("/account/security/totp", &[("code", "000000")]).await.status, 422);
    server.clock.advance(SignedDuration::from_secs(601));
    let late = ada.post("/account/security/totp", &[("code", &code_at(&key, now(&server)))]).await;
    assert_eq!(late.status, 422);
    assert!(late.body.contains("waited longer than ten minutes"));
    assert_eq!(ada.get("/account/security/totp").await.location(), "/account/security");
    let alone = server.client().sign_in("ada@halden.example", PASSWORD).await;
    assert_eq!(alone.location(), "/", "nothing is on");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_recovery_codes_take_the_place_of_the_old_ones_and_their_use_is_told() {
    let (server, ada) = Server::ready().await;
    let (_, old) = enrolled(&server, &ada).await;
    server.clock.advance(SignedDuration::from_mins(16));
    let asked = ada.post("/account/security/codes", &[]).await;
    assert!(asked.location().starts_with("/account/confirm"), "{}", asked.location());
    ada.post("/account/confirm", &[("password", PASSWORD), ("next", "/account/security")]).await;
    let shown = ada.post("/account/security/codes", &[]).await;
    assert_eq!((shown.status, &shown.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    let new = shown.body.split("keybox").nth(1).unwrap().split("<li>").nth(1).unwrap();
    let new = new.split('<').next().unwrap();
    let browser = server.client();
    browser.sign_in("ada@halden.example", PASSWORD).await;
    assert_eq!(browser.post("/sign-in/code", &[("code", &old[0])]).await.status, 422);
    assert_eq!(browser.post("/sign-in/code", &[("code", new)]).await.status, 303);
    let inbox = ada.get("/w/halden-energy/notifications").await.body;
    for told in ["A recovery code was used", "recovery codes were replaced", "authenticator app was added"] {
        assert!(inbox.contains(told), "{told}: {inbox}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meter_answers_whom_it_may_and_a_network_that_asks_too_often_waits() {
    let (server, _ada) = Server::ready().await;
    let visitor = server.client();
    let ask = |password: &'static str, own: &'static str| {
        let form = [("password", password), ("own", own)];
        visitor.send(visitor.request("POST", "/password-strength").form(&form))
    };
    let said =
        |answer: &crate::harness::Answer| serde_json::from_str::<serde_json::Value>(&answer.body).unwrap();
    let weak = said(&ask("password1234", "").await);
    assert!(weak["score"].as_u64().unwrap() < 2);
    assert!(weak["refused"].as_str().unwrap().contains("easy to guess"));
    let own = said(&ask("lovelace-ada-12", "ada.lovelace@halden.example Ada Lovelace").await);
    assert!(own["refused"].is_string());
    let good = said(&ask("violet harbour lantern", "").await);
    assert_eq!((&good["refused"], &good["word"]), (&serde_json::Value::Null, &"Strong".into()));
    let throttle = &server.app().web.throttle;
    while throttle.ask("strength 127.0.0.1", 240).is_ok() {}
    let late = ask("violet harbour lantern", "").await;
    assert_eq!(late.status, 429);
    assert!(late.headers.contains_key("retry-after"));
    let fresh = Server::fresh().await;
    let first = fresh.client();
    let form = [("password", "violet harbour lantern")];
    let during = first.send(first.request("POST", "/password-strength").form(&form)).await;
    assert_eq!(during.status, 200, "the wizard asks too");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_reach_production_ask_for_the_password_and_each_shows_when_it_was_used() {
    let (server, ada) = Server::ready().await;
    let make = |scope: &'static str| {
        let ada = ada.clone();
        async move {
            let form = [("name", scope), ("scope", scope), ("days", "30")];
            ada.post("/w/halden-energy/tokens", &form).await
        }
    };
    server.clock.advance(SignedDuration::from_mins(16));
    let read = make("read").await;
    assert_eq!((read.status, &read.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    for scope in ["deploy", "admin"] {
        assert_eq!(make(scope).await.location(), "/account/confirm?next=%2Fw%2Fhalden-energy%2Ftokens");
    }
    ada.post("/account/confirm", &[("password", PASSWORD), ("next", "/")]).await;
    assert_eq!(make("deploy").await.status, 200);
    let page = ada.get("/w/halden-energy/tokens").await;
    assert_eq!(page.body.matches(">Never</td>").count(), 2);
    let token = read.between("<code id=\"fresh-token\">", "</code>").unwrap();
    assert!(!page.body.contains(&token));
    let script = server.client();
    let used = script.send(script.request("GET", "/api/v1/me").bearer_auth(&token)).await;
    assert_eq!(used.status, 200);
    let page = ada.get("/w/halden-energy/tokens").await;
    assert_eq!(page.body.matches(">Never</td>").count(), 1);
    assert_eq!(page.body.matches(">23 November 2026</td>").count(), 1);
    // 90 days after their end they are no longer listed.
    for (days, listed) in [(31, true), (88, true), (3, false)] {
        server.clock.advance(SignedDuration::from_hours(24 * days));
        ada.sign_in("ada@halden.example", PASSWORD).await;
        let page = ada.get("/w/halden-energy/tokens").await;
        assert_eq!(page.body.contains("Ended on 23 December 2026"), listed, "{days}");
    }
}
