//! Readable exports: of a workspace for its owners, of a person for themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use ring::digest;
use serde_json::Value;
use vynos::bundle::claims::Claim;
use vynos::bundle::container::Unpacker;
use vynos::bundle::exports::EXPORTS;
use vynos::bundle::schema;
use vynos::features::TABLES;
use vynos::identity::Role;
use vynos::sim::salesforce::CLIENT_SECRET;
use vynos::store::Read as _;

use crate::access::signed_in;
use crate::chat_pages::{ask, ended, talking};
use crate::harness::{Client, Server};
use crate::knowledge::{says, upload};
use crate::members::{joined, workspace};
use crate::usage::shows;

const PAGE: &str = "/w/halden-energy/privacy/export";

/// The files of a bundle, by path, and their order.
pub struct Bundle {
    pub members: BTreeMap<String, Vec<u8>>,
    pub order: Vec<String>,
}

impl Bundle {
    pub fn of(bytes: &[u8]) -> Self {
        let mut unpacker = Unpacker::new(zstd::Decoder::new(bytes).unwrap());
        let (mut members, mut order) = (BTreeMap::new(), Vec::new());
        while let Some(entry) = unpacker.next_entry().unwrap() {
            let mut held = Vec::new();
            unpacker.member().read_to_end(&mut held).unwrap();
            order.push(entry.path.clone());
            assert!(members.insert(entry.path, held).is_none());
        }
        Self { members, order }
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.members[path]).unwrap()
    }

    pub fn records(&self, path: &str) -> Vec<Value> {
        let text =
            std::str::from_utf8(self.members.get(path).unwrap_or_else(|| panic!("no {path}"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn holds(&self, text: &str) -> bool {
        self.members.values().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    /// Every checksum of the manifest holds, and it names every other file in order.
    fn adds_up(&self) {
        assert_eq!(self.order[0], "manifest.json");
        let manifest = self.json("manifest.json");
        let named: Vec<&str> =
            manifest["members"].as_array().unwrap().iter().map(|m| m["path"].as_str().unwrap()).collect();
        assert_eq!(named, self.order[1..]);
        for member in manifest["members"].as_array().unwrap() {
            let bytes = &self.members[member["path"].as_str().unwrap()];
            assert_eq!(member["bytes"], bytes.len());
            let hash = digest::digest(&digest::SHA256, bytes);
            let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(member["sha256"], hex);
        }
    }

    /// Every record fits the schema beside it; answers how many there were.
    fn fits_its_schemas(&self) -> usize {
        let mut checked = 0;
        for path in self.order.iter().filter(|path| path.ends_with(".ndjson")) {
            let table = path.rsplit_once('/').unwrap().1.trim_end_matches(".ndjson");
            let known = self.json(&format!("schema/{table}.json"));
            for record in self.records(path) {
                assert_eq!(schema::check(&known, &record), Ok(()), "{path}: {record}");
                checked += 1;
            }
        }
        checked
    }
}

pub async fn download(client: &Client, path: &str) -> Vec<u8> {
    let answer = client.request("GET", path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer.bytes().await.unwrap().to_vec()
}

/// Starts an export and waits for its link.
pub async fn exported(client: &Client) -> String {
    assert_eq!(client.post(PAGE, &[]).await.status, 303);
    let page = shows(client, PAGE, "can be downloaded until").await;
    let id = page.split(&format!("{PAGE}/")).nth(1).unwrap().split('/').next().unwrap();
    format!("{PAGE}/{id}")
}

#[test]
fn every_table_is_exported_by_somebody_or_left_out_with_a_reason() {
    fn walk(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                for part in source.split("Table::new(").skip(1) {
                    if let Some(name) = part.trim_start().strip_prefix('"') {
                        found.insert(name.split('"').next().unwrap().to_owned());
                    }
                }
            }
        }
    }
    let mut tables = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut tables);
    let claimed: Vec<&str> = TABLES.iter().map(|(name, _)| *name).collect();
    assert!(claimed.is_sorted() && tables.len() > 60, "{claimed:?}");
    assert_eq!(tables.iter().map(String::as_str).collect::<Vec<_>>(), claimed);
    // What is said to be in a bundle is there, and the other way round.
    let control = ["accounts", "memberships", "workspaces"];
    for table in vynos::bundle::tables::all() {
        let claim = TABLES.iter().find(|(name, _)| *name == table.name()).unwrap().1;
        let expected = if table.has_own() { Claim::BundleAndOwn } else { Claim::Bundle };
        assert_eq!(claim, expected, "{}", table.name());
    }
    let carried: BTreeSet<&str> = vynos::bundle::tables::all().iter().map(|t| t.name()).collect();
    for (name, claim) in TABLES {
        if matches!(claim, Claim::Bundle | Claim::BundleAndOwn) {
            assert!(carried.contains(name) || control.contains(name), "{name}");
        }
        if let Claim::LeftOut(_, why) = claim {
            assert!(why.len() > 10, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_downloads_everything_of_the_workspace_but_its_secrets() {
    let (rig, _model) = talking().await;
    let ada = &rig.ada;
    upload(ada, &[("runbook für alle.md", b"# Runbook\n\nRenewals run nightly.\n")]).await;
    says(ada, "badge ok").await;
    let conversation = ask(ada, "How many flows are there? xylophone").await;
    ended(ada, &conversation).await;
    let path = exported(ada).await;
    let bundle = Bundle::of(&download(ada, &format!("{path}/bundle")).await);
    bundle.adds_up();
    assert!(bundle.fits_its_schemas() > 50);
    for table in [
        "conversations",
        "messages",
        "documents",
        "document_passages",
        "orgs",
        "components",
        "audit",
        "component_sources",
        "findings",
        "usage_days",
        "egress_lines",
        "members",
        "turn_replays",
    ] {
        assert!(!bundle.records(&format!("records/{table}.ndjson")).is_empty(), "{table} is empty");
    }
    let document = bundle.records("records/documents.ndjson").remove(0);
    let file = format!("files/{}/runbook für alle.md", document["id"].as_str().unwrap());
    assert_eq!(bundle.members[&file], b"# Runbook\n\nRenewals run nightly.\n");
    let questions = bundle.records("records/messages.ndjson");
    assert!(questions.iter().any(|m| m["text"].as_str().unwrap().contains("xylophone")));
    let member = bundle.records("records/members.ndjson").remove(0);
    assert_eq!(
        (member["email"].as_str(), member["role"].as_str()),
        (Some("ada@halden.example"), Some("owner"))
    );
    let org = bundle.records("records/orgs.ndjson").remove(0);
    assert_eq!(org.get("access"), None);
    assert!(!bundle.holds(CLIENT_SECRET) && !bundle.holds("argon2"));
    let readme = std::str::from_utf8(&bundle.members["README.txt"]).unwrap();
    let manifest = bundle.json("manifest.json");
    for what in ["orgs.access", "token_hashes", "model_endpoint"] {
        assert!(readme.contains(what) && manifest["left_out"].to_string().contains(what), "{what}");
    }
    assert_eq!(manifest["workspace"]["slug"], "halden-energy");
    let inbox = ada.get("/w/halden-energy/notifications").await.body;
    assert!(inbox.contains("The export of “Halden Energy” is ready"), "{inbox}");
    let log = ada.get("/w/halden-energy/audit").await.body;
    for act in ["export.asked", "export.made", "export.downloaded"] {
        assert!(log.contains(act), "{act}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_for_one_owner_and_for_seven_days() {
    let (server, ada) = Server::ready().await;
    joined(&server, "olga", Role::Owner);
    joined(&server, "max", Role::Admin);
    let (olga, max) = (signed_in(&server, "olga").await, signed_in(&server, "max").await);
    let path = exported(&ada).await;
    let bundle = format!("{path}/bundle");
    assert_eq!(ada.get(&bundle).await.status, 200);
    assert_eq!(olga.get(&bundle).await.status, 404);
    assert!(olga.get(PAGE).await.body.contains("No exports"));
    assert_eq!(olga.post(&format!("{path}/delete"), &[]).await.status, 404);
    for path in [PAGE, &bundle] {
        assert_eq!(max.get(path).await.status, 403);
    }
    assert!(!olga.get("/w/halden-energy/notifications").await.body.contains("The export of"));
    let blobs = server.dir.path().join(format!("data/workspaces/{}/blobs", workspace(&server)));
    assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 1);
    server.clock.advance(SignedDuration::from_hours(6 * 24));
    ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    assert_eq!(ada.get(&bundle).await.status, 200);
    server.clock.advance(SignedDuration::from_hours(24));
    ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    assert!([410, 404].contains(&ada.get(&bundle).await.status));
    server.app().runner.wake(workspace(&server));
    shows(&ada, PAGE, "No exports").await;
    for _ in 0..200 {
        if std::fs::read_dir(&blobs).unwrap().count() == 0 {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_asks_who_it_is_and_can_be_deleted() {
    let (server, ada) = Server::ready().await;
    let path = exported(&ada).await;
    // Nothing readable of it lies on the disk.
    let ws = server.app().web.door.for_runner(workspace(&server)).unwrap();
    assert_eq!(ws.read().unwrap().scan(&EXPORTS).count().unwrap(), 1);
    assert_eq!(ada.post(&format!("{path}/delete"), &[]).await.status, 303);
    assert!(ada.get(PAGE).await.body.contains("No exports"));
    assert_eq!(ada.get(&format!("{path}/bundle")).await.status, 404);
    server.clock.advance(SignedDuration::from_mins(20));
    let asked = ada.post(PAGE, &[]).await;
    assert!(asked.location().starts_with("/account/confirm") || asked.status == 403, "{asked:?}");
    assert!(ada.get(PAGE).await.body.contains("No exports"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_what_is_theirs_and_nothing_of_anybody_else() {
    let (rig, _model) = talking().await;
    joined(&rig.server, "max", Role::Member);
    let max = signed_in(&rig.server, "max").await;
    for (who, word) in [(&rig.ada, "xylophone"), (&max, "glockenspiel")] {
        let conversation = ask(who, &format!("How many flows are there? {word}")).await;
        ended(who, &conversation).await;
        let token = [("name", word), ("days", "30"), ("scope", "read")];
        assert_eq!(who.post("/w/halden-energy/tokens", &token).await.status, 200);
    }
    let control = &rig.server.app().web.control;
    let ids: Vec<String> =
        control.members_of(workspace(&rig.server)).unwrap().iter().map(|m| m.0.to_string()).collect();
    for (who, mine, others, name) in
        [(&rig.ada, "xylophone", "glockenspiel", "ada"), (&max, "glockenspiel", "xylophone", "max")]
    {
        who.post("/account/data", &[]).await;
        let csrf = who.get("/account/data").await.between("name=\"csrf\" value=\"", "\"").unwrap();
        let answer = who.request("POST", "/account/data").form(&[("csrf", csrf)]).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let bundle = Bundle::of(&answer.bytes().await.unwrap());
        bundle.adds_up();
        assert!(bundle.fits_its_schemas() > 5);
        let account = bundle.records("records/accounts.ndjson").remove(0);
        assert_eq!(account["email"], format!("{name}@halden.example"));
        let id = account["id"].as_str().unwrap();
        let other = ids.iter().find(|other| *other != id).unwrap();
        assert!(bundle.holds(mine) && !bundle.holds(others), "{name}");
        let other_name = if name == "ada" { "max@" } else { "ada@" };
        assert!(!bundle.holds(other) && !bundle.holds(other_name), "{name} sees {other}");
        assert!(!bundle.holds("argon2"));
        for table in ["sessions", "memberships", "tokens", "account_audit", "notice_choices"] {
            assert!(!bundle.records(&format!("records/{table}.ndjson")).is_empty(), "{name}: {table}");
        }
        for table in ["conversations", "messages", "audit", "usage_days"] {
            let path = format!("workspaces/halden-energy/records/{table}.ndjson");
            assert!(!bundle.records(&path).is_empty(), "{name}: {table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_over_rest_need_the_scope_and_the_role() {
    let (server, ada) = Server::ready().await;
    let token = async |client: &Client, scope: &str| {
        let made =
            client.post("/w/halden-energy/tokens", &[("name", "ci"), ("days", "30"), ("scope", scope)]).await;
        made.between("<code id=\"fresh-token\">", "</code>").unwrap()
    };
    let api = async |method: &str, path: &str, token: &str| {
        let client = Client::new(server.base.clone());
        let request = client.request(method, &format!("/api/v1/exports{path}")).bearer_auth(token);
        client.send(request.header("idempotency-key", "one")).await
    };
    let (admin, read) = (token(&ada, "admin").await, token(&ada, "read").await);
    joined(&server, "max", Role::Admin);
    let max = token(&signed_in(&server, "max").await, "admin").await;
    assert_eq!(api("POST", "", &read).await.status, 403);
    assert_eq!(api("POST", "", &max).await.status, 403);
    let begun = api("POST", "", &admin).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let again = api("POST", "", &admin).await;
    assert_eq!((again.status, &again.body), (202, &begun.body));
    let id = serde_json::from_str::<Value>(&begun.body).unwrap()["id"].as_str().unwrap().to_owned();
    shows(&ada, PAGE, "can be downloaded until").await;
    let state: Value = serde_json::from_str(&api("GET", &format!("/{id}"), &admin).await.body).unwrap();
    assert_eq!(state["status"], "ready");
    assert_eq!(api("GET", &format!("/{id}"), &max).await.status, 403);
    let client = Client::new(server.base.clone());
    let request = client.request("GET", &format!("/api/v1/exports/{id}/bundle")).bearer_auth(&admin);
    let bundle = Bundle::of(&request.send().await.unwrap().bytes().await.unwrap());
    bundle.adds_up();
}
