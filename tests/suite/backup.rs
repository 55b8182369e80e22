//! The restore drill: an instance in use is backed up, its machine is lost, and it lives on elsewhere with the master key
//! or with nothing but the recovery code.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vynos::app::{App, Options};
use vynos::clock::Clock;
use vynos::identity::Role;
use vynos::identity::control::Note;
use vynos::seal::MasterKey;
use vynos::sim::salesforce::{Consent, SimulatedOrg};
use vynos::store::StoreError;
use vynos::store::audit::{Action, Actor};

use crate::access::{person, signed_in};
use crate::chat_pages::{ask, ended, with_model};
use crate::console::vynos;
use crate::harness::{Client, PASSWORD, Server, options};
use crate::knowledge::{says, upload};
use crate::orgs::{Rig, fresh};
use crate::security::{code_at, enrolled, now};
use crate::unreadable_disk::holding;

/// What is planted, by the words that must be in no byte of a backup.
const CANARIES: [&str; 7] = [
    "canarydocword",
    "canaryfilename",
    "canaryquestion",
    "canarychangeset",
    "ada@halden.example",
    "Halden Energy",
    "org_tokens",
];

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `vynos …` with exactly these words.
pub async fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vynos"));
    command.args(words).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// A server on restored data, which may call the simulated org.
async fn living_on(dir: tempfile::TempDir, clock: Clock, sim: &SimulatedOrg) -> Server {
    let with = Options { extra_salesforce: vec![sim.url().clone()], ..options(dir.path(), clock.clone()) };
    let app = App::start(with).await.unwrap();
    let base = app.url.as_str().trim_end_matches('/').to_owned();
    Server { app: Some(app), clock, dir, base, setup_code: String::new() }
}

async fn api(client: &Client, token: &str, method: &str, path: &str, body: Value) -> Value {
    let answer = client.send(client.request(method, path).bearer_auth(token).json(&body)).await;
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// What the instance held, and what its people know.
struct Known {
    /// Key of Ada's authenticator app.
    totp: String,
    token: String,
    /// Path of her conversation.
    chat: String,
    /// Path of the change set.
    set: String,
}

/// Everything still works in what was restored.
async fn alive(server: Server, sim: SimulatedOrg, known: &Known) -> SimulatedOrg {
    let Known { totp, token, chat, set } = known;
    server.clock.advance(jiff::SignedDuration::from_secs(90));
    let ada = server.client();
    let first = ada.sign_in("ada@halden.example", PASSWORD).await;
    assert!(first.location().starts_with("/sign-in/code"), "{}", first.body);
    assert_eq!(ada.post("/sign-in/code", &[("code", &code_at(totp, now(&server)))]).await.status, 303);
    let bo = signed_in(&server, "bo").await;
    assert_eq!(bo.get("/w/halden-energy/knowledge").await.status, 200);

    let found = "/w/halden-energy/knowledge?q=canarydocword";
    let mut hits = String::new();
    for _ in 0..1_200 {
        hits = ada.get(found).await.body;
        if hits.contains("<mark>canarydocword</mark>") {
            break;
        }
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
    }
    assert!(hits.contains("<mark>canarydocword</mark>"), "{hits}");
    let document =
        hits.split("/w/halden-energy/knowledge/").nth(1).unwrap().split(['"', '#', '?']).next().unwrap();
    let content = ada.get(&format!("/w/halden-energy/knowledge/{document}/content")).await;
    assert!(content.body.contains("The canarydocword"), "the file itself is there: {}", content.body);

    assert!(ada.get(chat).await.body.contains("canaryquestion"));
    let path = ask(&ada, "What does OpportunityTriggerHandler do?").await;
    let answer = ended(&ada, &path).await.body;
    assert!(answer.contains("<strong>OpportunityTriggerHandler</strong>"), "{answer}");

    let set = api(&server.client(), token, "GET", set, Value::Null).await;
    assert_eq!(set["title"], "canarychangeset", "{set}");

    let rig = Rig { server, ada, sim };
    let before = rig.sim.calls();
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    let page = rig.synced().await;
    assert!(rig.sim.calls() > before && !page.contains("signed out"), "{page}");

    let control = &rig.server.app().web.control;
    assert!(control.verify_audit().unwrap().is_ok());
    let id = control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
    let ws = rig.server.app().web.door.for_runner(id).unwrap();
    assert!(ws.verify_audit().unwrap().is_ok());
    drop(ws);
    let Rig { server, sim, .. } = rig;
    let (dir, _) = server.stop().await;
    let verified = vynos(dir.path(), &["verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    sim
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_instance_lives_on_elsewhere_with_the_master_key_or_with_the_recovery_code() {
    let (server, sim) = fresh(Consent::Auto).await;
    let (ada, code) = server.set_up_with_code().await;
    assert_eq!(ada.post("/setup/mail/next", &[]).await.status, 303);
    assert_eq!(ada.post("/setup/workspace", &[("name", "Halden Energy")]).await.status, 303);
    let rig = Rig { server, ada, sim };
    rig.connect().await;
    rig.synced().await;
    let model = with_model(&rig).await;
    let control = rig.server.app().web.control.clone();
    let (id, _) = control.workspace_by_slug("halden-energy").unwrap().unwrap();
    let bo = person(&control, "bo");
    let note = Note::new(Actor::Operator, Action::AccountChanged, bo);
    control.change_now(note, |tx| control.put_member(tx, id, bo, Role::Member)).unwrap();
    drop(control);
    upload(&rig.ada, &[("canaryfilename.md", b"# Renewals\n\nThe canarydocword of renewals.\n")]).await;
    says(&rig.ada, "badge ok").await;
    let chat = ask(&rig.ada, "What do our documents say about renewals, canaryquestion?").await;
    ended(&rig.ada, &chat).await;
    let fields = [("name", "ci"), ("days", "30"), ("scope", "read"), ("scope", "chat"), ("scope", "change")];
    let made = rig.ada.post("/w/halden-energy/tokens", &fields).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    let client = rig.server.client();
    let orgs = api(&client, &token, "GET", "/api/v1/orgs", Value::Null).await;
    let files = json!([{ "path": "classes/Canary.cls", "content": "public class Canary {}\n" }]);
    let draft =
        json!({ "org": orgs["items"][0]["id"], "title": "canarychangeset", "files": files, "tests": [] });
    let set = api(&client, &token, "POST", "/api/v1/change-sets", draft).await;
    let set = format!("/api/v1/change-sets/{}", set["id"].as_str().unwrap());
    let (totp, _) = enrolled(&rig.server, &rig.ada).await;
    let known = Known { totp, token, chat, set };

    // The backup is made while others write.
    let (stop, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writer = {
        let (client, token, stop, writes) =
            (client, known.token.clone(), Arc::clone(&stop), Arc::clone(&writes));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                api(&client, &token, "POST", "/api/v1/conversations", json!({})).await;
                writes.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let kept = tempfile::tempdir().unwrap();
    let file = path(kept.path(), "a.vynos");
    let exported = vynos(rig.server.dir.path(), &["export", "--out", &file]).await;
    assert_eq!(exported.status.code(), Some(0), "{}", said(&exported));
    assert!(said(&exported).contains("1 workspaces, 1 files"), "{}", said(&exported));
    let during = writes.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    assert!(during > 0, "nobody wrote meanwhile");
    for word in CANARIES {
        assert_eq!(holding(kept.path(), word), Vec::<String>::new(), "{word} stands in clear");
    }
    std::fs::write(kept.path().join("control"), CANARIES.join(" ")).unwrap();
    for word in CANARIES {
        assert_eq!(holding(kept.path(), word).len(), 1, "the search itself must find {word}");
    }
    assert!(control_has_line(&rig.server, Action::BackupMade));

    // The machine is lost: its data goes; of the key a copy was kept.
    let Rig { server, sim, .. } = rig;
    let (dir, clock) = server.stop().await;
    std::fs::copy(dir.path().join("master.key"), kept.path().join("master.key")).unwrap();
    drop(dir);
    let key = path(kept.path(), "master.key");
    let verified = run(&["verify", &file, "--master-key-file", &key]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));

    // (a) Elsewhere, with the master key.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(&key, dir.path().join("master.key")).unwrap();
    let imported = vynos(dir.path(), &["import", &file]).await;
    assert_eq!(imported.status.code(), Some(0), "{}", said(&imported));
    let server = living_on(dir, clock.clone(), &sim).await;
    assert!(control_has_line(&server, Action::InstanceRestored));
    let sim = alive(server, sim, &known).await;

    // (b) Elsewhere, with the recovery code alone: a new master key is made.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(kept.path().join("code"), code.to_lowercase()).unwrap();
    let code = path(kept.path(), "code");
    let imported = vynos(dir.path(), &["import", &file, "--recovery-code-file", &code]).await;
    assert_eq!(imported.status.code(), Some(0), "{}", said(&imported));
    let made = MasterKey::load(&dir.path().join("master.key")).unwrap().fingerprint();
    assert_ne!(made, MasterKey::load(Path::new(&key)).unwrap().fingerprint());
    let server = living_on(dir, clock, &sim).await;
    let sim = alive(server, sim, &known).await;
    drop(sim);
    model.stop().await;
}

fn control_has_line(server: &Server, action: Action) -> bool {
    use vynos::store::Read as _;
    let lines = server.app().web.control.read().unwrap().scan(&vynos::store::audit::AUDIT).rows().unwrap();
    lines.iter().any(|(_, line)| line.action == action)
}

/// What somebody deletes while a backup reads the workspace is in the backup, whole; afterwards it is gone from the disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_meanwhile_stays_readable_for_the_backup_and_then_leaves_the_disk() {
    let (server, _ada) = Server::ready().await;
    let web = server.app().web.clone();
    let (id, _) = web.control.workspace_by_slug("halden-energy").unwrap().unwrap();
    let ws = web.door.for_runner(id).unwrap();
    let blob = ws.blobs().put(b"kept as long as it is read").unwrap();
    let orphan = ws.blobs().put(b"no row names this").unwrap();
    // A row that names it.
    ws.change(Action::OrgSynced, blob.as_str(), |_| Ok::<_, StoreError>(())).await.unwrap();
    let mut held = ws.hold().unwrap();
    ws.blobs().remove(&blob).unwrap();
    ws.blobs().remove(&orphan).unwrap();
    ws.change(Action::OrgSynced, "later", |_| Ok::<_, StoreError>(())).await.unwrap();
    let mut later = false;
    held.rows(|_, _, value| {
        later |= value.windows(5).any(|w| w == b"later");
        Ok::<_, StoreError>(())
    })
    .unwrap();
    assert!(!later, "a row that was written after the backup took hold is not in it");
    assert_eq!(held.blobs(), std::slice::from_ref(&blob));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut held.open(&blob).unwrap(), &mut text).unwrap();
    assert_eq!(text, "kept as long as it is read");
    drop(held);
    let home = server.dir.path().join("data/workspaces").join(id.to_string());
    assert_eq!(std::fs::read_dir(home.join("held")).unwrap().count(), 0);
    assert!(ws.blobs().open(&blob).is_err());
}
