//! Passkeys against answers that were made wrong in every way a stranger can: nothing but the right answer to the
//! right challenge, from the one who was asked, counts.

use jiff::SignedDuration;
use reqwest::header::{ACCEPT, HeaderValue};
use serde_json::Value;
use vynos::identity::accounts::{ACCOUNTS, AccountState};
use vynos::identity::control::Note;
use vynos::identity::passkeys::MOST;
use vynos::identity::{Email, Role};
use vynos::ids::AccountId;
use vynos::store::Read as _;
use vynos::store::audit::{AUDIT, Action, Actor};

use crate::access::signed_in;
use crate::harness::{Answer, Client, PASSWORD, Server};
use crate::members::{invited, joined};
use crate::soft_key::{PRESENT, SoftKey, VERIFIED};

const ADD: &str = "/account/passkeys";
const PAGE: &str = "/account/security";
const SIGN_IN: &str = "/sign-in/passkey";
const STEP: &str = "/sign-in/code/passkey";
const CONFIRM: &str = "/account/confirm/passkey";

pub async fn begin(client: &Client, path: &str) -> Value {
    let begun = client.post(&format!("{path}/begin"), &[]).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    serde_json::from_str(&begun.body).unwrap()
}

pub async fn finish(client: &Client, path: &str, begun: &Value, credential: &str) -> Answer {
    let ceremony = begun["ceremony"].as_str().unwrap();
    client.post(&format!("{path}/finish"), &[("ceremony", ceremony), ("credential", credential)]).await
}

/// Adds a new passkey to the client's account.
pub async fn add(client: &Client, id: u8) -> SoftKey {
    let mut key = SoftKey::new(&client.base, id);
    let begun = begin(client, ADD).await;
    let added = finish(client, ADD, &begun, &key.made(&begun)).await;
    assert_eq!(added.status, 200, "{}", added.body);
    key
}

/// Signs in with a passkey in a new browser.
async fn prove(server: &Server, key: &mut SoftKey) -> (Client, Answer) {
    let client = server.client();
    let begun = begin(&client, SIGN_IN).await;
    let answer = finish(&client, SIGN_IN, &begun, &key.proof(&begun)).await;
    (client, answer)
}

/// What is wrong with an answer, and how it comes about.
type Wrong<'a> = (&'a str, &'a dyn Fn(&mut SoftKey));

fn refused(client: &Client, answer: &Answer, case: &str) {
    assert_eq!(answer.status, 422, "{case}: {}", answer.body);
    assert!(answer.body.contains("This passkey is not known here."), "{case}: {}", answer.body);
    assert!(client.cookies().is_empty(), "{case}");
}

fn ada(server: &Server) -> AccountId {
    let email: Email = "ada@halden.example".parse().unwrap();
    server.app().web.control.account_by_address(&email).unwrap().unwrap().0
}

/// How often the audit log names an act.
fn audited(server: &Server, action: Action) -> usize {
    let lines = server.app().web.control.read().unwrap().scan(&AUDIT).rows().unwrap();
    lines.into_iter().filter(|(_, line)| line.action == action).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_signs_in_alone_and_each_answer_counts_once() {
    let (server, ada) = Server::ready().await;
    let mut key = add(&ada, 1).await;
    let client = server.client();
    let begun = begin(&client, SIGN_IN).await;
    let proof = key.proof(&begun);
    let answer = finish(&client, SIGN_IN, &begun, &proof).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"next":"/"}"#));
    assert_eq!(client.get("/account/profile").await.status, 200);
    assert!(client.get(PAGE).await.body.contains("used 23 Nov 2026"));
    // The same answer to the same ceremony, and to another.
    let other = server.client();
    assert_eq!(finish(&other, SIGN_IN, &begun, &proof).await.status, 422);
    let again = begin(&other, SIGN_IN).await;
    refused(&other, &finish(&other, SIGN_IN, &again, &proof).await, "replayed");
    assert_eq!(audited(&server, Action::PasskeyAdded), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_answer_is_refused_in_the_same_words() {
    let (server, ada) = Server::ready().await;
    let mut key = add(&ada, 1).await;
    let max = joined(&server, "max", Role::Member);
    let maxs = add(&signed_in(&server, "max").await, 2).await;
    let base = server.base.clone();
    let mut stranger = SoftKey::new(&base, 9);
    stranger.handle = key.handle.clone();
    let cases: [Wrong; 9] = [
        ("another origin", &|k| k.origin = "https://localhost.example".into()),
        ("another port", &|k| k.origin = "http://localhost:1".into()),
        ("another site", &|k| k.site = "example".into()),
        ("not verified", &|k| k.flags = PRESENT),
        ("not present", &|k| k.flags = VERIFIED),
        ("a registration", &|k| k.kind = "webauthn.create"),
        ("nobody's name", &|k| k.handle = None),
        ("another's name", &|k| k.handle = maxs.handle.clone()),
        ("another key's id", &|k| k.id = vec![2; 32]),
    ];
    for (case, wrong) in cases {
        let right = (key.origin.clone(), key.site.clone(), key.handle.clone(), key.id.clone());
        wrong(&mut key);
        let (client, answer) = prove(&server, &mut key).await;
        refused(&client, &answer, case);
        (key.origin, key.site, key.handle, key.id) = right;
        (key.flags, key.kind) = (PRESENT | VERIFIED, "webauthn.get");
        server.clock.advance(SignedDuration::from_mins(40));
    }
    let (client, answer) = prove(&server, &mut stranger).await;
    refused(&client, &answer, "unknown");
    let client = server.client();
    let (one, two) = (begin(&client, SIGN_IN).await, begin(&client, SIGN_IN).await);
    refused(&client, &finish(&client, SIGN_IN, &one, &key.proof(&two)).await, "another challenge");
    for garbage in ["", "{}", "[]", "{\"id\":\"x\"}", "\u{0}"] {
        let begun = begin(&client, SIGN_IN).await;
        assert_eq!(finish(&client, SIGN_IN, &begun, garbage).await.status, 422, "{garbage}");
    }
    server.clock.advance(SignedDuration::from_mins(40));
    assert_eq!(prove(&server, &mut key).await.1.status, 200);
    // Suspended as refused as unknown.
    let control = &server.app().web.control;
    let mut maxs = SoftKey::new(&base, 7);
    let his = signed_in(&server, "max").await;
    let begun = begin(&his, ADD).await;
    assert_eq!(finish(&his, ADD, &begun, &maxs.made(&begun)).await.status, 200);
    control
        .change_now(Note::new(Actor::Operator, Action::AccountChanged, max), |tx| {
            let row = tx.get(&ACCOUNTS, &max)?.unwrap();
            tx.put(&ACCOUNTS, &max, &vynos::identity::Account { state: AccountState::Suspended, ..row })
        })
        .unwrap();
    let (client, answer) = prove(&server, &mut maxs).await;
    refused(&client, &answer, "suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_make_the_next_try_wait() {
    let (server, ada) = Server::ready().await;
    let mut key = add(&ada, 1).await;
    key.origin = "https://elsewhere.example".into();
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let client = server.client();
        let begun = client.post(&format!("{SIGN_IN}/begin"), &[]).await;
        if begun.status != 200 {
            statuses.push(begun.status);
            continue;
        }
        let begun: Value = serde_json::from_str(&begun.body).unwrap();
        statuses.push(finish(&client, SIGN_IN, &begun, &key.proof(&begun)).await.status);
    }
    assert_eq!(statuses, [422, 422, 422, 422, 422, 422, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_counts_back_is_refused_and_its_owner_is_told() {
    let (server, client) = Server::ready().await;
    let mut key = add(&client, 1).await;
    assert_eq!(prove(&server, &mut key).await.1.status, 200);
    assert_eq!(prove(&server, &mut key).await.1.status, 200);
    key.counter = 0;
    let (copy, answer) = prove(&server, &mut key).await;
    refused(&copy, &answer, "a copy");
    assert_eq!(audited(&server, Action::PasskeyCopyRefused), 1);
    let told = server.app().web.control.read().unwrap();
    let told = told.scan(&vynos::notifications::ACCOUNT_NOTICES).under(&ada(&server)).rows().unwrap();
    assert!(told.iter().any(|(_, notice)| notice.title == "A copy of your passkey was refused"), "{told:?}");
    // The one that counted on still signs in.
    key.counter = 2;
    assert_eq!(prove(&server, &mut key).await.1.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceremony_is_finished_only_by_the_session_that_began_it() {
    let (server, ada) = Server::ready().await;
    joined(&server, "max", Role::Member);
    let max = signed_in(&server, "max").await;
    let mut key = SoftKey::new(&ada.base, 1);
    let begun = begin(&ada, ADD).await;
    let made = key.made(&begun);
    let stolen = finish(&max, ADD, &begun, &made).await;
    assert_eq!(stolen.status, 422);
    assert!(stolen.body.contains("start again"), "{}", stolen.body);
    assert_eq!(finish(&ada, ADD, &begun, &made).await.status, 200);
    assert!(max.get(PAGE).await.body.contains("No passkeys yet"));
    // What was begun to add proves nothing, and the other way round.
    let proving = begin(&max, SIGN_IN).await;
    assert_eq!(finish(&max, ADD, &proving, &key.made(&begun)).await.status, 422);
    // A credential has one owner.
    let begun = begin(&max, ADD).await;
    let twice = finish(&max, ADD, &begun, &key.made(&begun)).await;
    assert!(twice.body.contains("registered already"), "{}", twice.body);
    // Later than five minutes.
    let begun = begin(&max, ADD).await;
    server.clock.advance(SignedDuration::from_mins(5));
    assert_eq!(finish(&max, ADD, &begun, &SoftKey::new(&max.base, 3).made(&begun)).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_begins_and_finishes_nothing() {
    let (server, ada) = Server::ready().await;
    for path in ["/account/passkeys/begin", "/account/passkeys/finish"] {
        let fields = [("csrf", "wrong"), ("ceremony", "a"), ("credential", "{}")];
        assert_eq!(ada.send(ada.request("POST", path).form(&fields)).await.status, 403, "{path}");
    }
    for path in ["/account/passkeys/begin", "/sign-in/passkey/begin", "/sign-in/passkey/finish"] {
        for (header, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
            let client = server.client();
            let sent = client.send(client.request("POST", path).header(header, value).form(&[("a", "b")]));
            assert_eq!(sent.await.status, 403, "{path} {header}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_twenty_passkeys_and_removes_only_its_own() {
    let (server, ada) = Server::ready().await;
    let most = u8::try_from(MOST).unwrap();
    for id in 0..most {
        add(&ada, id).await;
    }
    let full = ada.post(&format!("{ADD}/begin"), &[]).await;
    assert!(full.body.contains("at most 20 passkeys"), "{}", full.body);
    assert!(ada.get(PAGE).await.body.contains("the most for one account"));
    joined(&server, "max", Role::Member);
    let max = signed_in(&server, "max").await;
    let id = server.app().web.control.passkeys_of(self::ada(&server)).unwrap()[0].0;
    for act in ["", "/rename", "/remove"] {
        let path = format!("{ADD}/{id}{act}");
        let answer =
            if act.is_empty() { max.get(&path).await } else { max.post(&path, &[("name", "x")]).await };
        assert!(answer.status == 404 || answer.status == 422, "{path} {}", answer.status);
    }
    assert_eq!(max.post(&format!("{ADD}/{id}/remove"), &[]).await.status, 404);
    assert_eq!(ada.post(&format!("{ADD}/{id}/rename"), &[("name", "  ")]).await.status, 422);
    assert_eq!(ada.post(&format!("{ADD}/{id}/rename"), &[("name", "Key ring")]).await.status, 303);
    assert!(ada.get(PAGE).await.body.contains("Key ring"));
    assert_eq!(ada.post(&format!("{ADD}/{id}/remove"), &[]).await.status, 303);
    assert_eq!(audited(&server, Action::PasskeyRemoved), 1);
    let mut gone = SoftKey::new(&ada.base, 0);
    gone.handle = Some(vec![0; 16]);
    let (client, answer) = prove(&server, &mut gone).await;
    refused(&client, &answer, "removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_person_joins_with_a_passkey_and_keeps_the_only_way_in() {
    let (server, ada) = Server::ready().await;
    let mine = format!("{}/passkey", invited(&ada, "max@halden.example", "member").await);
    let other = format!("{}/passkey", invited(&ada, "lise@halden.example", "member").await);
    let max = server.client();
    let name = ("name", "Max Born");
    let begun = max.post(&format!("{mine}/begin"), &[name]).await;
    let begun: Value = serde_json::from_str(&begun.body).unwrap();
    let mut key = SoftKey::new(&max.base, 1);
    let made = key.made(&begun);
    let fields = [name, ("ceremony", begun["ceremony"].as_str().unwrap()), ("credential", made.as_str())];
    // The other invitation did not begin this.
    assert_eq!(max.post(&format!("{other}/finish"), &fields).await.status, 422);
    let joined = max.post(&format!("{mine}/finish"), &fields).await;
    assert_eq!((joined.status, joined.body.as_str()), (200, r#"{"next":"/w/halden-energy/"}"#));
    assert_eq!(max.get("/w/halden-energy/orgs").await.status, 200);
    let late = server.client();
    assert_eq!(late.post(&format!("{mine}/finish"), &fields).await.status, 404);
    assert_eq!(prove(&server, &mut key).await.1.status, 200);
    let page = max.get(PAGE).await;
    let path = page
        .between("class=\"btn sm\" href=\"/account/passkeys", "\"")
        .map(|rest| format!("{ADD}{rest}"))
        .unwrap();
    let kept = max.post(&format!("{path}/remove"), &[]).await;
    assert_eq!(kept.status, 422);
    assert!(kept.body.contains("only way you can sign in"), "{}", kept.body);
    assert_eq!(prove(&server, &mut key).await.1.status, 200);
}

/// From now on everybody needs a second factor.
pub fn ask_for_two(server: &Server) {
    let everybody = |settings: &mut vynos::identity::Settings| {
        settings.require_second_factor = vynos::identity::settings::Required::Everyone;
    };
    server.app().web.control.change_settings(Actor::Operator, everybody).unwrap();
    server.app().web.refresh_settings().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_password_only_a_passkey_of_that_account_goes_on() {
    let (server, ada) = Server::ready().await;
    let mut key = add(&ada, 1).await;
    joined(&server, "max", Role::Member);
    let mut maxs = add(&signed_in(&server, "max").await, 2).await;
    ask_for_two(&server);
    let password = async || {
        let client = server.client();
        let answer = client.sign_in("ada@halden.example", PASSWORD).await;
        assert_eq!((answer.status, answer.location()), (303, "/sign-in/code?next=%2F"));
        client
    };
    let (client, other) = (password().await, password().await);
    assert_eq!(client.get("/account/profile").await.location(), "/sign-in?next=%2Faccount%2Fprofile");
    assert!(client.get("/sign-in/code").await.body.contains("Use your passkey"));
    // Without the password there is nothing to begin.
    let begun = server.client().post(&format!("{STEP}/begin"), &[]).await;
    assert_eq!(begun.status, 422, "{}", begun.body);
    // Max's passkey, and the ceremony of another waiting sign-in.
    let begun = begin(&client, STEP).await;
    assert_eq!(begun["options"]["publicKey"]["allowCredentials"].as_array().unwrap().len(), 1);
    assert_eq!(finish(&client, STEP, &begun, &maxs.proof(&begun)).await.status, 422);
    let begun = begin(&client, STEP).await;
    let proof = key.proof(&begun);
    let stolen = finish(&other, STEP, &begun, &proof).await;
    assert!(stolen.body.contains("start again"), "{}", stolen.body);
    assert_eq!(finish(&client, SIGN_IN, &begun, &proof).await.status, 422);
    let before = client.cookies();
    let done = finish(&client, STEP, &begun, &proof).await;
    assert_eq!((done.status, done.body.as_str()), (200, r#"{"next":"/"}"#));
    assert_ne!(client.cookies(), before, "the session has a cookie of its own");
    assert_eq!(client.get("/account/profile").await.status, 200);
    assert_eq!(finish(&client, STEP, &begun, &proof).await.status, 422);
    // The other one waited too long.
    let begun = begin(&other, STEP).await;
    server.clock.advance(SignedDuration::from_mins(6));
    assert_eq!(finish(&other, STEP, &begun, &key.proof(&begun)).await.status, 422);
    assert_eq!(other.get("/account/profile").await.status, 303);
    // The passkey alone is both.
    assert_eq!(prove(&server, &mut key).await.1.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn dangerous_acts_ask_again_and_the_own_passkey_answers() {
    let (server, ada) = Server::ready().await;
    let mut key = add(&ada, 1).await;
    joined(&server, "max", Role::Member);
    let mut maxs = add(&signed_in(&server, "max").await, 2).await;
    let id = server.app().web.control.passkeys_of(self::ada(&server)).unwrap()[0].0;
    server.clock.advance(SignedDuration::from_mins(16));
    for path in [format!("{ADD}/{id}/remove"), format!("{ADD}/begin")] {
        let asked = ada.post(&path, &[]).await;
        assert_eq!((asked.status, asked.location()), (303, "/account/confirm?next=%2F"), "{path}");
    }
    let json = [(ACCEPT, HeaderValue::from_static("application/json"))].into_iter().collect();
    let script = ada.request("POST", &format!("{ADD}/begin")).headers(json);
    let script = script.header("referer", format!("{}{PAGE}", ada.base));
    let csrf = ada.get(PAGE).await.between("name=\"csrf\" value=\"", "\"").unwrap();
    let told: Value = serde_json::from_str(&ada.send(script.form(&[("csrf", csrf)])).await.body).unwrap();
    assert_eq!(told["confirm"], "/account/confirm?next=%2Faccount%2Fsecurity");
    assert!(ada.get("/account/confirm").await.body.contains("data-url=\"/account/confirm/passkey\""));
    let begun = begin(&ada, CONFIRM).await;
    assert_eq!(finish(&ada, CONFIRM, &begun, &maxs.proof(&begun)).await.status, 422);
    let before = ada.cookies();
    let begun = begin(&ada, CONFIRM).await;
    assert_eq!(finish(&ada, CONFIRM, &begun, &key.proof(&begun)).await.status, 200);
    assert_ne!(ada.cookies(), before);
    assert_eq!(ada.post(&format!("{ADD}/{id}/remove"), &[]).await.status, 303);
    assert!(ada.get(PAGE).await.body.contains("No passkeys yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_second_factor_stays_while_the_policy_asks_for_one() {
    let (server, client) = Server::ready().await;
    add(&client, 1).await;
    let control = &server.app().web.control;
    ask_for_two(&server);
    let id = control.passkeys_of(ada(&server)).unwrap()[0].0;
    let kept = client.post(&format!("{ADD}/{id}/remove"), &[]).await;
    assert_eq!(kept.status, 422);
    assert!(kept.body.contains("asks for a second factor"), "{}", kept.body);
    add(&client, 2).await;
    assert_eq!(client.post(&format!("{ADD}/{id}/remove"), &[]).await.status, 303);
}
