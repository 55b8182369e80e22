//! Removed words are in no byte: every page of a data file is opened with its key, also those that nothing uses.

use std::path::Path;

use redb::StorageBackend as _;
use redb::backends::FileBackend;
use serde_json::json;
use vynos::identity::Role;
use vynos::ids::WorkspaceId;
use vynos::mail::outbox::OUTBOX;
use vynos::seal::{DataKey, MasterKey, SubKey, Use};
use vynos::store::pages::PageFile;
use vynos::store::{COMPACTION_DUE, File, Read as _, StoreError, Table};
use vynos::workspace::DataDir;

use crate::access::signed_in;
use crate::chat_pages::{ask, ended, talking};
use crate::deletion_steps::idle;
use crate::harness::Server;
use crate::knowledge::{says, upload};
use crate::members::{joined, workspace};
use crate::reset::mails;

/// What every page of the file says, used or not.
fn opened(path: &Path, key: &SubKey) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.redb");
    std::fs::copy(path, &copy).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&copy).unwrap();
    let pages = PageFile::open(FileBackend::new(file).unwrap(), key).unwrap();
    let mut all = vec![0; usize::try_from(pages.len().unwrap()).unwrap()];
    for (n, page) in all.chunks_mut(4096).enumerate().skip(1) {
        pages.read(n as u64 * 4096, page).unwrap();
    }
    all
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|part| part == word.as_bytes())
}

fn found(bytes: &[u8], words: &[&'static str]) -> Vec<&'static str> {
    words.iter().copied().filter(|word| holds(bytes, word)).collect()
}

fn key(server: &Server, place: &str) -> SubKey {
    let master = MasterKey::load(&server.dir.path().join("master.key")).unwrap();
    let data = DataDir::open(&server.dir.path().join("data"), master).unwrap();
    data.key(place).unwrap().sub(Use::Pages)
}

fn keyspace(server: &Server, id: WorkspaceId) -> Vec<u8> {
    let path = server.dir.path().join("data/workspaces").join(id.to_string()).join("keyspace.redb");
    opened(&path, &key(server, &id.to_string()))
}

fn control(server: &Server) -> Vec<u8> {
    opened(&server.dir.path().join("data/control.redb"), &key(server, "control"))
}

const ROWS: Table<u64, String> = Table::new("rows", 1);

#[test]
fn compaction_leaves_no_byte_of_a_removed_row_and_every_other_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let key = DataKey::new().sub(Use::Pages);
    let file = File::create(&path, &key, 1 << 20).unwrap();
    let text = |n: u64| format!("{} {n}", if n.is_multiple_of(3) { "canaryrow" } else { "other" }).repeat(40);
    file.write(|tx| {
        (0..3_000).try_for_each(|n| tx.put(&ROWS, &n, &text(n)))?;
        Ok::<_, StoreError>(())
    })
    .unwrap();
    file.write(|tx| {
        (0..3_000).step_by(3).try_for_each(|n| tx.remove(&ROWS, &n).map(|_| ()))?;
        tx.compact_later()
    })
    .unwrap();
    assert!(holds(&opened(&path, &key), "canaryrow"), "the search must find what is only removed");
    // Somebody who reads an older state keeps it, and the file as it is.
    let reading = file.snapshot().unwrap();
    assert!(!file.compact().unwrap());
    assert_eq!(reading.scan(&ROWS).count().unwrap(), 2_000);
    assert!(holds(&opened(&path, &key), "canaryrow"));
    drop(reading);
    assert!(file.compact().unwrap());
    let left = opened(&path, &key);
    assert!(!holds(&left, "canaryrow") && holds(&left, "other"));
    let read = file.snapshot().unwrap();
    assert!(!read.has(&COMPACTION_DUE, &0).unwrap());
    for (n, row) in read.scan(&ROWS).rows().unwrap() {
        assert!(!n.is_multiple_of(3) && row == text(n));
    }
    drop(read);
    // It goes on under the same name, and what a killed compaction leaves is not kept.
    file.write(|tx| tx.put(&ROWS, &1, &"again".to_owned())).unwrap();
    drop(file);
    let left = dir.path().join("a.redb.compact");
    std::fs::write(&left, b"half").unwrap();
    let file = File::open(&path, &key, 1 << 20).unwrap();
    assert!(!left.exists());
    assert_eq!(file.snapshot().unwrap().get(&ROWS, &1).unwrap().unwrap(), "again");
    assert_eq!(file.snapshot().unwrap().scan(&ROWS).count().unwrap(), 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_document_conversation_or_org_is_in_no_byte_of_the_file() {
    let (rig, model) = talking().await;
    let (server, ada) = (&rig.server, &rig.ada);
    let id = workspace(server);
    upload(ada, &[("canaryfile.md", b"# Canaryheading\n\nThe canarydocument sings of renewals.\n")]).await;
    says(ada, "badge ok").await;
    let chat = ask(ada, "what does the canaryquestion ask?").await;
    ended(ada, &chat).await;
    idle(server).await;
    let words = [
        "canaryfile",
        "Canaryheading",
        "canarydocument",
        "canaryquestion",
        "AccountTriggerHandler",
        "Renewal_Stage__c",
    ];
    assert_eq!(found(&keyspace(server, id), &words), words, "the search must find what is there");

    let page = ada.get("/w/halden-energy/knowledge").await.body;
    let document = page.split("/knowledge/").nth(1).unwrap()[..26].to_owned();
    assert_eq!(ada.post(&format!("/w/halden-energy/knowledge/{document}/delete"), &[]).await.status, 303);
    assert_eq!(ada.post(&format!("{chat}/delete"), &[]).await.status, 303);
    assert_eq!(ada.post("/w/halden-energy/o/production/disconnect", &[]).await.status, 303);
    idle(server).await;
    assert_eq!(server.app().eraser.compact_due().await.unwrap(), 0);
    assert_eq!(found(&keyspace(server, id), &words), Vec::<&str>::new());
    let ws = server.app().web.door.for_runner(id).unwrap();
    assert!(ws.verify_audit().unwrap().is_ok() && ws.verify_file().is_ok());
    assert_eq!(rig.sim.live_tokens(), 0, "its tokens are revoked");
    model.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_bytes_have_to_leave_is_remembered_over_a_restart() {
    let (server, ada) = Server::ready().await;
    let id = workspace(&server);
    upload(&ada, &[("canaryfile.md", b"# Canaryheading\n")]).await;
    says(&ada, "badge ok").await;
    let page = ada.get("/w/halden-energy/knowledge").await.body;
    let document = page.split("/knowledge/").nth(1).unwrap()[..26].to_owned();
    assert_eq!(ada.post(&format!("/w/halden-energy/knowledge/{document}/delete"), &[]).await.status, 303);
    idle(&server).await;
    let due = |server: &Server| {
        let ws = server.app().web.door.for_runner(id).unwrap();
        ws.read().unwrap().has(&COMPACTION_DUE, &0).unwrap()
    };
    assert!(due(&server));
    let (dir, clock) = server.stop().await;
    let server = Server::on(dir, clock).await;
    for _ in 0..500 {
        if !due(&server) {
            break;
        }
        tokio::time::timeout(std::time::Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert!(!due(&server), "the look at the start compacts");
    assert!(!holds(&keyspace(&server, id), "canaryfile"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_no_record_of_any_kind_is_in_any_byte() {
    let (rig, model) = talking().await;
    let (server, ada) = (&rig.server, &rig.ada);
    mails(server);
    let id = workspace(server);
    joined(server, "max", Role::Member);
    let max = signed_in(server, "max").await;
    let renamed = ada.post("/w/halden-energy/settings", &[("name", "Canarywork Ltd")]).await;
    assert_eq!(renamed.location(), "/w/canarywork-ltd/settings?done=saved");
    let home = "/w/canarywork-ltd";
    let invite = [("email", "canaryguest@far.example"), ("role", "member")];
    assert_eq!(ada.post(&format!("{home}/members"), &invite).await.status, 200);
    let token = [("name", "canarytoken"), ("days", "30"), ("scope", "read"), ("scope", "change")];
    let made = ada.post(&format!("{home}/tokens"), &token).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    let api = server.client();
    let orgs = api.send(api.request("GET", "/api/v1/orgs").bearer_auth(&token)).await;
    let orgs: serde_json::Value = serde_json::from_str(&orgs.body).unwrap();
    let draft = json!({ "org": orgs["items"][0]["id"], "title": "Canarychange", "tests": [],
        "files": [{ "path": "classes/CanaryClass.cls", "content": "class CanaryClass {}" }] });
    let made = api.send(api.request("POST", "/api/v1/change-sets").bearer_auth(&token).json(&draft)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let asked = max.post(&format!("{home}/chat"), &[("text", "canaryquestion"), ("org", "production")]).await;
    ended(&max, asked.location().split('#').next().unwrap()).await;
    idle(server).await;
    let inside =
        ["Canarychange", "CanaryClass", "canaryquestion", "AccountTriggerHandler", "Renewal_Stage__c"];
    let outside = ["Canarywork", "canarywork", "halden-energy", "canaryguest", "canarytoken"];
    assert_eq!(found(&keyspace(server, id), &inside), inside, "the search must find what is there");
    assert_eq!(found(&control(server), &outside), outside, "the search must find what is there");

    let started = ada.post(&format!("{home}/privacy/delete"), &[("name", "Canarywork Ltd")]).await;
    assert_eq!(started.status, 303);
    server.clock.advance(jiff::SignedDuration::from_hours(30 * 24));
    let eraser = &server.app().eraser;
    assert_eq!(eraser.erase_workspaces().await.unwrap(), (1, 0));
    // The last mail to the owner is the only place that names it, until it left.
    let ada = signed_in(server, "ada").await;
    let rows = server.app().web.control.read().unwrap().scan(&OUTBOX).rows().unwrap();
    let last: Vec<_> = rows.iter().map(|(mail, row)| (mail, row.kind.as_str())).collect();
    let [(mail, "deletion-done")] = last.as_slice() else { panic!("{last:?}") };
    assert_eq!(ada.post(&format!("/admin/mail/{mail}/drop"), &[]).await.status, 303);
    assert_eq!(eraser.compact_due().await.unwrap(), 0);
    let left = control(server);
    assert_eq!(found(&left, &outside), Vec::<&str>::new());
    assert_eq!(found(&left, &inside), Vec::<&str>::new());
    let data = server.dir.path().join("data");
    assert!(!data.join("workspaces").join(id.to_string()).exists());
    assert!(server.app().web.control.verify_file().is_ok());
    model.stop().await;
}
