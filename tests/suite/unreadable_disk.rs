//! Canaries through every input, then every byte of the data directory: none may be there in clear. A plain
//! file that holds them is the control.

use std::io::Write as _;
use std::path::Path;

use vynos::seal::Secret;
use vynos::store::StoreError;
use vynos::store::audit::Action;

use crate::chat_pages::{ask, ended, talking};
use crate::harness::{PASSWORD, Server};
use crate::knowledge::{says, upload};

/// Files below `dir` whose bytes hold `needle`.
pub fn holding(dir: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, needle));
        } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|w| w == needle.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn row_50_nothing_typed_or_stored_can_be_read_from_the_disk() {
    let (server, ada) = Server::ready().await;
    ada.post("/account/profile", &[("name", "Canaryname Lovelace"), ("theme", "dark")]).await;
    ada.post("/w/halden-energy/tokens", &[("name", "canarytokenname"), ("scope", "read")]).await;
    let web = server.app().web.clone();
    let (id, _) = web.control.workspace_by_slug("halden-energy").unwrap().unwrap();
    let ws = web.door.for_runner(id).unwrap();
    ws.change(Action::OrgSynced, "canaryauditword", |_| Ok::<_, StoreError>(())).await.unwrap();
    let mut blob = ws.blobs().create().unwrap();
    blob.write_all("canaryblobword ".repeat(9000).as_bytes()).unwrap();
    let name = blob.finish().unwrap();
    assert_eq!(ws.blobs().read(&name, 14).unwrap(), b"canaryblobword");
    let sealed = ws.seal("orgs", "1", &Secret::new("canarysecretword".into()));
    assert_eq!(ws.open("orgs", "1", &sealed).unwrap().expose(), "canarysecretword");
    assert!(ws.open("orgs", "2", &sealed).is_err(), "a moved record does not open");
    drop((ws, web));
    let (dir, _) = server.stop().await;
    let data = dir.path().join("data");
    let words = [
        "Canaryname",
        "canarytokenname",
        "canaryauditword",
        "canaryblobword",
        "canarysecretword",
        "ada@halden.example",
        "Halden Energy",
        "halden-energy",
        PASSWORD,
        "workspace.created",
        "audit",
        "sessions",
    ];
    for word in words {
        assert_eq!(holding(&data, word), Vec::<String>::new(), "{word} stands in clear");
    }
    std::fs::write(data.join("control-file"), format!("x{}x", words.join("x"))).unwrap();
    for word in words {
        assert_eq!(holding(&data, word).len(), 1, "the search itself must find {word}");
    }
}

/// Canaries through documents and conversations; and what left for the model.
#[tokio::test(flavor = "multi_thread")]
async fn row_50_documents_and_chats_are_sealed_and_secrets_never_leave() {
    let (rig, sim) = talking().await;
    let document = "# Canaryheading\n\nThe canarydocword of renewals. password: Canary-Pa55w0rd!\n";
    upload(&rig.ada, &[("canaryfilename.md", document.as_bytes())]).await;
    says(&rig.ada, "badge ok").await;
    let secret = "sk-ant-api03-canarysecretkey0123456789";
    let question = format!("What do our documents say about renewals, canaryquestion? My key is {secret}");
    let path = ask(&rig.ada, &question).await;
    let page = ended(&rig.ada, &path).await;
    assert!(page.body.contains("canarydocword"), "the answer quotes the document: {}", page.body);
    assert!(page.body.contains(secret), "the person still sees what they wrote");
    let heard = sim.heard();
    assert!(heard.iter().any(|body| body.contains("canaryquestion") && body.contains("canarydocword")));
    for body in &heard {
        assert!(!body.contains(secret) && !body.contains("Canary-Pa55w0rd"), "a secret left: {body}");
    }
    let (dir, _) = rig.server.stop().await;
    let data = dir.path().join("data");
    let words = [
        "Canaryheading",
        "canarydocword",
        "canaryfilename",
        "canaryquestion",
        "canarysecretkey",
        "Canary-Pa55w0rd",
    ];
    for word in words {
        assert_eq!(holding(&data, word), Vec::<String>::new(), "{word} stands in clear");
    }
    std::fs::write(data.join("control-file"), format!("x{}x", words.join("x"))).unwrap();
    for word in words {
        assert_eq!(holding(&data, word).len(), 1, "the search itself must find {word}");
    }
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_was_not_finished_leaves_nothing() {
    let (server, _) = Server::ready().await;
    let web = server.app().web.clone();
    let (id, _) = web.control.workspace_by_slug("halden-energy").unwrap().unwrap();
    let ws = web.door.for_runner(id).unwrap();
    drop(ws.blobs().create().unwrap());
    let name = ws.blobs().put(b"x").unwrap();
    let folder = server.dir.path().join("data/workspaces").join(id.to_string()).join("blobs");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    ws.blobs().remove(&name).unwrap();
    ws.blobs().remove(&name).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}
