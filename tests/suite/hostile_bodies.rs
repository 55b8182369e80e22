//! Bodies that no form and no client of ours would send, at every route that takes one. They come with a session, its
//! form key or a token and with the ids of things that exist, so that they reach the handlers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};
use vynos::clock::Random;
use vynos::features::{Access, ROUTES, Route};

use crate::chat_pages::{ask, ended, talking};
use crate::harness::{Client, PASSWORD, Server};
use crate::knowledge::upload;

/// Bodies sent in every run; `VYNOS_TEST_BODIES=100000` asks for the long one.
const BODIES: usize = 20_000;
const AT_ONCE: usize = 8;
/// Ends the session that the others need, or is walked before there is one.
const LEFT_OUT: [&str; 2] = ["/sign-out", "/account/close"];

const VALUES: [&str; 34] = [
    "",
    " ",
    "0",
    "-1",
    "1",
    "18446744073709551616",
    "1e400",
    "NaN",
    "true",
    "null",
    "[]",
    "{\"a\":[1]}",
    "on",
    "owner",
    "admin",
    "none",
    "production",
    "grace@halden.example",
    "\"<x>\"@[::1]",
    "https://127.0.0.1:1/x",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "http://[fe80::1%25lo]/",
    "../../../../etc/passwd",
    "a\0b",
    "a\r\nSet-Cookie: x=y",
    "\u{202e}\u{feff}\u{1f469}\u{200d}\u{1f4bb}",
    "İstanbul ﬃ e\u{301}\u{301}",
    "'; SELECT Id FROM Account --",
    "{{7*7}}${HOME}%(x)s",
    "<script>x7()</script>",
    "9999-12-31T23:59:60Z",
    "force://PlatformCLI::@",
    "force://a:b:c@127.0.0.1:1",
];

const KEYS: [&str; 30] = [
    "text",
    "org",
    "title",
    "files",
    "path",
    "content",
    "tests",
    "email",
    "emails",
    "role",
    "days",
    "name",
    "id",
    "rawId",
    "type",
    "response",
    "clientDataJSON",
    "attestationObject",
    "authenticatorData",
    "signature",
    "userHandle",
    "extensions",
    "clientExtensionResults",
    "state",
    "credential",
    "label",
    "password",
    "hash",
    "test_level",
    "x",
];

/// What a route is called with.
struct Known {
    fields: Vec<String>,
    ids: BTreeMap<&'static str, Vec<String>>,
    token: String,
}

impl Known {
    async fn of(ada: &Client) -> Self {
        let made: Vec<(&str, &str)> = [("name", "ci"), ("days", "30")]
            .into_iter()
            .chain(["read", "chat", "upload", "change", "deploy", "admin"].map(|scope| ("scope", scope)))
            .collect();
        let made = ada.post("/w/halden-energy/tokens", &made).await;
        let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
        upload(ada, &[("guide.md", b"# Guide\n\nGreet people.\n")]).await;
        let conversation = ask(ada, "What is here?").await;
        ended(ada, &conversation).await;
        let rest = async |path: &str| -> Vec<String> {
            let answer = ada.send(Client::new(base(ada)).request("GET", path).bearer_auth(&token)).await;
            let list: Value = serde_json::from_str(&answer.body).unwrap();
            list["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect()
        };
        let orgs = rest("/api/v1/orgs").await;
        let draft = json!({ "org": orgs[0], "title": "Greet", "files": [{ "path": "classes/A.cls", "content": "class A {}" }], "tests": [] });
        let request = Client::new(base(ada)).request("POST", "/api/v1/change-sets").bearer_auth(&token);
        let draft = ada.send(request.json(&draft)).await;
        let draft: Value = serde_json::from_str(&draft.body).unwrap();
        let ids = BTreeMap::from([
            ("{change_set}", vec![draft["id"].as_str().unwrap().to_owned()]),
            ("{conversation}", vec![conversation.rsplit('/').next().unwrap().to_owned()]),
            ("{document}", rest("/api/v1/documents").await),
            ("{org}", orgs.into_iter().chain(["production".to_owned()]).collect()),
        ]);
        assert!(ids.values().all(|ids| !ids.is_empty()));
        Self { fields: field_names(), ids, token }
    }

    /// The path with ids that exist, now and then with one that doesn't.
    fn path(&self, route: &Route, random: &Random) -> String {
        let pieces = route.path.split('/').map(|piece| match piece {
            "{workspace}" => "halden-energy",
            "{org}" if random.below(8) > 0 && route.path.starts_with("/w/") => "production",
            _ if !piece.starts_with('{') => piece,
            _ => match self.ids.get(piece) {
                Some(ids) if random.below(8) > 0 => &ids[random.below(ids.len() as u64) as usize],
                _ => ["01m8502e5c5z16kwvzypsnvxp3", "%00", "-1", "%F0%9F%92%A9", "..%2f.."]
                    [random.below(5) as usize],
            },
        });
        pieces.collect::<Vec<_>>().join("/")
    }

    fn form(&self, csrf: &str, random: &Random) -> Vec<u8> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for _ in 0..random.below(9) {
            form.append_pair(&self.fields[random.below(self.fields.len() as u64) as usize], &value(random));
        }
        if random.below(20) > 0 {
            form.append_pair("csrf", csrf);
        }
        form.finish().into_bytes()
    }
}

fn base(client: &Client) -> String {
    let url = client.request("GET", "/").build().unwrap().url().clone();
    url.origin().ascii_serialization()
}

/// Every name that a field of our own pages has.
fn field_names() -> Vec<String> {
    fn walk(folder: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, names);
                continue;
            }
            let page = std::fs::read_to_string(&path).unwrap();
            names.extend(
                page.split(" name=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
            );
        }
    }
    let mut names = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("templates"), &mut names);
    names.retain(|name| name != "csrf" && !name.contains('{'));
    names.sort();
    names.dedup();
    assert!(names.len() > 60, "{names:?}");
    names
}

fn value(random: &Random) -> String {
    let value = VALUES[random.below(VALUES.len() as u64) as usize];
    match random.below(12) {
        0 => value.repeat(random.below(400) as usize),
        1 => format!("{value}{value}"),
        _ => value.to_owned(),
    }
}

fn tree(random: &Random, depth: u64) -> Value {
    match random.below(if depth == 0 { 5 } else { 8 }) {
        0 => json!(random.below(u64::MAX)),
        1 => [Value::Null, json!(true), json!(-1), json!(1e300)][random.below(4) as usize].clone(),
        2..=4 => json!(value(random)),
        5 => (0..random.below(4)).map(|_| tree(random, depth - 1)).collect(),
        _ => Value::Object(members(random, depth - 1)),
    }
}

fn members(random: &Random, depth: u64) -> Map<String, Value> {
    let key = || KEYS[random.below(KEYS.len() as u64) as usize].to_owned();
    (0..random.below(6)).map(|_| (key(), tree(random, depth))).collect()
}

fn mutate(body: &mut Vec<u8>, random: &Random) {
    for _ in 0..random.below(6) {
        let at = random.below(body.len() as u64 + 1) as usize;
        match random.below(3) {
            0 if at < body.len() => body[at] = random.bytes::<1>()[0],
            1 => body.truncate(at),
            _ => body.insert(at, random.bytes::<1>()[0]),
        }
    }
}

/// Signs in when the session has ended, an hour later so that no delay is in the way; answers the form key.
async fn key_of(server: &Server, ada: &Client) -> String {
    if ada.get("/account/profile").await.status != 200 {
        server.clock.advance(jiff::SignedDuration::from_hours(1));
        ada.sign_in("ada@halden.example", PASSWORD).await;
        ada.forget_csrf();
    }
    let page = ada.get("/account/profile").await;
    page.between("name=\"csrf\" value=\"", "\"").unwrap_or_else(|| panic!("{} {}", page.status, page.body))
}

/// Sends bodies from `number` on, each `AT_ONCE`th.
async fn send(server: &Server, ada: &Client, known: &Known, seed: u64, many: usize, reached: &AtomicUsize) {
    let random = Random::seeded(seed);
    let routes: Vec<&Route> =
        ROUTES.iter().filter(|r| r.method != "GET" && !LEFT_OUT.contains(&r.path)).collect();
    let mut csrf = String::new();
    for number in 0..many {
        if number % 200 == 0 {
            csrf = key_of(server, ada).await;
        }
        let route = routes[random.below(routes.len() as u64) as usize];
        let path = known.path(route, &random);
        let form = route.access != Access::Token && !path.contains("/passkey");
        let mut body = if form {
            known.form(&csrf, &random)
        } else {
            {
                let mut fields = members(&random, 3);
                if route.access != Access::Token {
                    fields.insert("csrf".into(), json!(csrf));
                }
                serde_json::to_vec(&fields).unwrap()
            }
        };
        if random.below(3) == 0 {
            mutate(&mut body, &random);
        }
        let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let request = if route.access == Access::Token {
            Client::new(base(ada)).request(route.method, &path).bearer_auth(&known.token)
        } else {
            ada.request(route.method, &path)
        };
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = ada.send(request.header("content-type", kind).body(body)).await;
        assert!(
            answer.status < 500 || answer.status == 502,
            "{} {path} with {shown}: {}",
            route.method,
            answer.body
        );
        if !matches!(answer.status, 401 | 403 | 404 | 429) {
            reached.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// security-cases row 42
#[tokio::test(flavor = "multi_thread")]
async fn row_42_no_body_breaks_a_route() {
    let (rig, _model) = talking().await;
    let known = Arc::new(Known::of(&rig.ada).await);
    let many = std::env::var("VYNOS_TEST_BODIES").ok().and_then(|n| n.parse().ok()).unwrap_or(BODIES);
    let reached = AtomicUsize::new(0);
    let parts =
        (0..AT_ONCE as u64).map(|seed| send(&rig.server, &rig.ada, &known, seed, many / AT_ONCE, &reached));
    futures_util::future::join_all(parts).await;
    let reached = reached.into_inner();
    assert!(reached * 3 > many, "only {reached} of {many} came past the doors");
    assert_eq!(rig.server.client().get("/healthz").await.status, 200);
}
