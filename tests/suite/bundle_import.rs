//! A bundle as a new workspace: exported again it is the same, and what is not as Vynos writes it is refused before anything
//! is kept.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use reqwest::multipart::{Form, Part};
use ring::digest;
use serde_json::{Value, json};
use vynos::bundle::container::Packer;
use vynos::bundle::import::Import;
use vynos::bundle::pack_workspace;
use vynos::clock::{Clock, Random};
use vynos::identity::Control;
use vynos::identity::control::Note;
use vynos::ids::WorkspaceId;
use vynos::seal::MasterKey;
use vynos::store::audit::{Action, Actor};
use vynos::workspace::{Building, DataDir, Door, Pool};

use crate::bundle::{Bundle, download, exported};
use crate::bundle_rows::{fill, item};
use crate::chat_pages::{ask, ended, talking};
use crate::harness::{Answer, Client, Server};
use crate::knowledge::{says, upload};
use crate::usage::shows;

/// An instance without a server.
pub struct Instance {
    pub control: Control,
    pub pool: Arc<Pool>,
    pub door: Door,
    pub dir: tempfile::TempDir,
}

impl Instance {
    pub fn fresh() -> Self {
        let dir = tempfile::tempdir().unwrap();
        MasterKey::create(&dir.path().join("master.key")).unwrap();
        let master = MasterKey::load(&dir.path().join("master.key")).unwrap();
        let data = Arc::new(DataDir::open_or_create(&dir.path().join("data"), master).unwrap());
        let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
        let control = data.control(clock.clone(), Random::system()).unwrap();
        let pool = Arc::new(Pool::new(data, clock, Random::system()));
        let door = Door::new(control.clone(), Arc::clone(&pool));
        Self { control, pool, door, dir }
    }

    /// One with a workspace that holds what `items` make.
    fn with(items: &[(u8, String, u64)]) -> (Self, WorkspaceId) {
        let this = Self::fresh();
        let owner = crate::access::person(&this.control, "ada");
        let id = WorkspaceId::new(this.control.clock(), this.control.random());
        let building = Building::begin(&this.pool, id, Actor::Operator).unwrap();
        fill(&building, owner, items);
        let note = Note::new(Actor::Operator, Action::WorkspaceCreated, id);
        this.control
            .change_now(note, |tx| this.control.insert_workspace(tx, id, "Halden Energy", owner))
            .unwrap();
        building.finish().unwrap();
        (this, id)
    }

    pub fn export(&self, id: WorkspaceId) -> Vec<u8> {
        let (mut bytes, at) = (Vec::new(), "2026-11-24T09:00:00Z".parse().unwrap());
        let ws = self.door.for_runner(id).unwrap();
        pack_workspace(&self.control, &ws, at, &mut bytes, &mut |_, _| Ok(())).unwrap();
        bytes
    }

    /// Imports as the shell would; answers the new workspace or why not.
    fn import(&self, bundle: &[u8]) -> Result<WorkspaceId, String> {
        let bundle = bundle.to_vec();
        let open = || Ok(Box::new(std::io::Cursor::new(bundle.clone())) as Box<dyn Read>);
        let (control, pool) = (&self.control, &self.pool);
        Import { control, pool, by: Actor::Operator, owner: None, operator: true, request: None }
            .run(&open)
            .map(|(id, _)| id)
            .map_err(|e| e.to_string())
    }

    /// Names of everything that lies in the data directory.
    fn files(&self) -> BTreeSet<String> {
        fn walk(dir: &Path, found: &mut BTreeSet<String>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                found.insert(path.display().to_string());
                if path.is_dir() {
                    walk(&path, found);
                }
            }
        }
        let mut found = BTreeSet::new();
        walk(&self.dir.path().join("data"), &mut found);
        found
    }
}

/// An archive without its compression, and files of records.
pub fn samples() -> Vec<Vec<u8>> {
    let items: Vec<(u8, String, u64)> = (0..16).map(|n| (n, format!("word{n}"), u64::from(n))).collect();
    let (instance, id) = Instance::with(&items);
    let packed = instance.export(id);
    let mut samples = vec![zstd::decode_all(packed.as_slice()).unwrap()];
    let bundle = Bundle::of(&packed);
    samples.extend(
        bundle.members.into_iter().filter(|(path, _)| path.starts_with("records/")).map(|(_, bytes)| bytes),
    );
    samples
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn export_import_and_export_again_are_equal(items in prop::collection::vec(item(), 0..60)) {
        let (first, id) = Instance::with(&items);
        let bundle = first.export(id);
        let second = Instance::fresh();
        let imported = second.import(&bundle).unwrap();
        prop_assert_eq!(imported, id);
        prop_assert!(second.export(id) == bundle, "exported again it differs");
        prop_assert!(second.door.for_runner(id).unwrap().verify_audit().unwrap().is_ok());
        prop_assert!(second.control.verify_audit().unwrap().is_ok());
        // Beside the exported one: another id and slug, the same records.
        let beside = first.import(&bundle).unwrap();
        prop_assert_ne!(beside, id);
        let (one, two) = (Bundle::of(&bundle), Bundle::of(&first.export(beside)));
        prop_assert_eq!(&two.json("manifest.json")["workspace"]["slug"], "halden-energy-2");
        for path in one.order.iter().filter(|path| path.starts_with("records/") || path.starts_with("files/")) {
            prop_assert!(one.members[path] == two.members[path], "{} differs", path);
        }
    }
}

#[test]
fn an_account_with_the_address_takes_the_place_of_the_exported_one() {
    let items: Vec<(u8, String, u64)> = (0..40).map(|n| (n, format!("word{n}"), u64::from(n))).collect();
    let (first, id) = Instance::with(&items);
    let bundle = first.export(id);
    let second = Instance::fresh();
    let ada = crate::access::person(&second.control, "ada");
    let (there, _) = first.control.members_of(id).unwrap()[0];
    assert_ne!(there, ada);
    let imported = second.import(&bundle).unwrap();
    assert_eq!(second.control.members_of(imported).unwrap().iter().map(|m| m.0).collect::<Vec<_>>(), [ada]);
    let again = Bundle::of(&second.export(imported));
    assert!(again.holds(&ada.to_string()) && !again.holds(&there.to_string()));
    let owners: BTreeSet<String> = again
        .records("records/conversations.ndjson")
        .iter()
        .map(|c| c["owner"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(owners, BTreeSet::from([ada.to_string()]));
    assert!(second.door.for_runner(imported).unwrap().verify_audit().unwrap().is_ok());
}

/// The members of a bundle with one changed, packed again; with or without a manifest that says so.
fn repacked(
    bundle: &Bundle,
    honest: bool,
    change: impl FnOnce(&mut Vec<(String, Vec<u8>)>, &mut Value),
) -> Vec<u8> {
    let mut manifest = bundle.json("manifest.json");
    let mut members: Vec<(String, Vec<u8>)> =
        bundle.order[1..].iter().map(|path| (path.clone(), bundle.members[path].clone())).collect();
    change(&mut members, &mut manifest);
    if honest {
        let named = members.iter().map(|(path, bytes)| {
            let hash = vynos::seal::hex(digest::digest(&digest::SHA256, bytes).as_ref());
            let mut member = json!({ "path": path, "bytes": bytes.len(), "sha256": hash });
            if path.ends_with(".ndjson") {
                member["records"] = json!(bytes.split(|b| *b == b'\n').count() - 1);
            }
            member
        });
        manifest["members"] = named.collect();
    }
    let mut packer = Packer::new(zstd::Encoder::new(Vec::new(), 1).unwrap(), 0);
    let head = manifest.to_string().into_bytes();
    packer.put("manifest.json", head.len() as u64, &mut head.as_slice()).unwrap();
    for (path, bytes) in &members {
        packer.put(path, bytes.len() as u64, &mut bytes.as_slice()).unwrap();
    }
    packer.finish().unwrap().finish().unwrap()
}

fn at<'a>(members: &'a mut [(String, Vec<u8>)], path: &str) -> &'a mut Vec<u8> {
    &mut members.iter_mut().find(|(known, _)| known == path).unwrap().1
}

fn edited(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<String> = std::str::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    *bytes = lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
}

#[test]
fn what_is_not_as_vynos_writes_it_is_refused_before_anything_is_kept() {
    let items: Vec<(u8, String, u64)> = (0..60).map(|n| (n, format!("word{n}"), u64::from(n))).collect();
    let (first, id) = Instance::with(&items);
    let bytes = first.export(id);
    let good = Bundle::of(&bytes);
    let instance = Instance::fresh();
    let before = instance.files();
    let (chats, documents) = ("records/conversations.ndjson", "records/documents.ndjson");
    let last_file = good.order.last().unwrap().clone();
    let mut bad: Vec<(&str, Vec<u8>)> = vec![
        ("incomplete", Vec::new()),
        ("unpacked", b"not a bundle at all, only text".to_vec()),
        ("", bytes[..bytes.len() / 2].to_vec()),
    ];
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    bad.push(("", flipped));
    bad.push((
        "SHA-256",
        repacked(&good, false, |members, _| {
            let bytes = at(members, "README.txt");
            bytes[0] ^= 1;
        }),
    ));
    bad.push((
        "schema",
        repacked(&good, true, |members, _| {
            edited(at(members, chats), |lines| {
                lines[0] = lines[0].replace("\"pinned\":", "\"odd\":1,\"pinned\":");
            });
        }),
    ));
    bad.push((
        "schema",
        repacked(&good, true, |members, _| {
            edited(at(members, chats), |lines| {
                lines[0] = lines[0].replace("\"created\":\"", "\"created\":\"x");
            });
        }),
    ));
    bad.push((
        "not written as Vynos",
        repacked(&good, true, |members, _| {
            edited(at(members, chats), |lines| {
                lines[0] = lines[0].replace("\"created\":\"2026", "\"created\":\"+002026");
            });
        }),
    ));
    bad.push((
        "twice or out of order",
        repacked(&good, true, |members, _| {
            edited(at(members, chats), |lines| lines.insert(0, lines[0].clone()));
        }),
    ));
    bad.push((
        "twice or out of order",
        repacked(&good, true, |members, _| {
            edited(at(members, chats), |lines| lines.reverse());
        }),
    ));
    bad.push((
        "no JSON object",
        repacked(&good, true, |members, _| {
            at(members, chats).extend_from_slice(b"[1]\n");
        }),
    ));
    bad.push((
        "chain of the audit log",
        repacked(&good, true, |members, _| {
            edited(at(members, "records/audit.ndjson"), |lines| drop(lines.remove(1)));
        }),
    ));
    bad.push((
        "does not know it",
        repacked(&good, true, |members, _| {
            members.insert(members.len() - 1, ("records/spells.ndjson".into(), b"{}\n".to_vec()));
        }),
    ));
    bad.push(("expected", repacked(&good, true, |members, _| members.swap(3, 4))));
    bad.push(("expected", repacked(&good, true, |members, _| drop(members.remove(5)))));
    bad.push((
        "leads out",
        repacked(&good, true, |members, _| {
            members.push(("files/../../etc/passwd".into(), b"x".to_vec()));
        }),
    ));
    bad.push((
        "no document",
        repacked(&good, true, |members, _| {
            members.push(("files/zz/x".into(), b"x".to_vec()));
        }),
    ));
    bad.push(("missing", repacked(&good, true, |members, _| drop(members.pop()))));
    bad.push(("not the file", repacked(&good, true, |members, _| at(members, &last_file).push(b'x'))));
    bad.push((
        "not the file",
        repacked(&good, true, |members, _| {
            edited(at(members, documents), |lines| drop(lines.remove(0)));
        }),
    ));
    bad.push((
        "unpacks to more",
        repacked(&good, false, |_, manifest| {
            manifest["members"][0]["bytes"] = json!(1u64 << 50);
        }),
    ));
    bad.push((
        "another size",
        repacked(&good, false, |_, manifest| manifest["members"][0]["bytes"] = json!(7)),
    ));
    bad.push((
        "can't be part of an address",
        repacked(&good, false, |_, manifest| {
            manifest["workspace"]["slug"] = json!("../admin");
        }),
    ));
    bad.push(("format 2", repacked(&good, false, |_, manifest| manifest["format_version"] = json!(2))));
    bad.push(("data of a person", repacked(&good, false, |_, manifest| manifest["workspace"] = Value::Null)));
    bad.push(("unknown field", repacked(&good, false, |_, manifest| manifest["odd"] = json!(1))));
    bad.push((
        "twice",
        repacked(&good, true, |members, _| {
            edited(at(members, "records/members.ndjson"), |lines| lines.push(lines[0].clone()));
        }),
    ));
    assert!(bad.len() > 20);
    for (why, bundle) in bad {
        let refused = instance.import(&bundle).expect_err(why);
        assert!(refused.contains(why), "{refused} does not say {why}");
        assert_eq!(instance.files(), before, "{why}");
    }
    assert!(instance.control.has_no_workspaces().unwrap());
    assert_eq!(instance.import(&bytes), Ok(id));
}

#[test]
fn a_crash_in_the_middle_of_an_import_leaves_nothing() {
    let (instance, listed) = Instance::with(&[]);
    let before = instance.files();
    let id = WorkspaceId::new(instance.control.clock(), instance.control.random());
    let building = Building::begin(&instance.pool, id, Actor::Operator).unwrap();
    building.workspace().blobs().put(b"half").unwrap();
    // As a killed process leaves it.
    std::mem::forget(building);
    assert!(instance.files().len() > before.len() + 3);
    instance.pool.remove_unfinished(&[listed]).unwrap();
    assert_eq!(instance.files(), before);
    // Killed behind the commit that lists it: it stays, without its mark.
    let building = Building::begin(&instance.pool, id, Actor::Operator).unwrap();
    std::mem::forget(building);
    instance.pool.remove_unfinished(&[listed, id]).unwrap();
    assert!(instance.files().iter().any(|path| path.ends_with(&format!("{id}/keyspace.redb"))));
    assert!(!instance.files().iter().any(|path| path.ends_with("unfinished")));
    // An error in the middle removes it at once.
    let third = WorkspaceId::new(instance.control.clock(), instance.control.random());
    let with = instance.files();
    drop(Building::begin(&instance.pool, third, Actor::Operator).unwrap());
    assert_eq!(instance.files(), with);
}

async fn sent(client: &Client, bundle: Vec<u8>) -> Answer {
    let page = client.get("/workspaces/new/import").await;
    let csrf = page.between("name=\"csrf\" value=\"", "\"").unwrap();
    let form = Form::new().text("csrf", csrf).part("bundle", Part::bytes(bundle).file_name("a.tar.zst"));
    client.send(client.request("POST", "/workspaces/new/import").multipart(form)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_imports_an_export_and_goes_on_with_it() {
    let (rig, _model) = talking().await;
    upload(&rig.ada, &[("runbook.md", b"# Runbook\n\nRenewals run nightly.\n")]).await;
    says(&rig.ada, "badge ok").await;
    let conversation = ask(&rig.ada, "How many flows are there? xylophone").await;
    ended(&rig.ada, &conversation).await;
    let path = exported(&rig.ada).await;
    let bundle = download(&rig.ada, &format!("{path}/bundle")).await;
    let (server, ada) = Server::ready().await;
    let made = sent(&ada, bundle.clone()).await;
    assert_eq!(made.location(), "/w/halden-energy-2/", "{}", made.body);
    shows(&ada, "/w/halden-energy-2/knowledge?q=nightly", "<mark>nightly</mark>").await;
    let chat = conversation.replace("halden-energy", "halden-energy-2");
    assert!(ada.get(&chat).await.body.contains("xylophone"));
    let orgs = ada.get("/w/halden-energy-2/o/production/connection").await;
    assert_eq!(orgs.status, 200);
    shows(&ada, "/w/halden-energy-2/o/production/metadata?q=Renewal", "Renewal").await;
    let refused = sent(&ada, b"nothing of the kind".to_vec()).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("nothing was kept"), "{}", refused.body);
    // Who may not create workspaces can't import one.
    crate::members::joined(&server, "max", vynos::identity::Role::Admin);
    let max = crate::access::signed_in(&server, "max").await;
    let csrf = max.get("/account/data").await.between("name=\"csrf\" value=\"", "\"").unwrap();
    let form = Form::new().text("csrf", csrf).part("bundle", Part::bytes(bundle).file_name("a.tar.zst"));
    let answer = max.send(max.request("POST", "/workspaces/new/import").multipart(form)).await;
    assert_eq!(answer.status, 403);
}
