//! Documents over HTTP: upload, reading in the confined child, search with pages, preview, refusals, removal.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use serde_json::Value;
use vynos::clock::Clock;
use vynos::knowledge::records::{DOCUMENTS, PAGES, PASSAGES};
use vynos::store::Read as _;

use crate::harness::{Answer, Client, Server};

const LIBRARY: &str = "/w/halden-energy/knowledge";
const GUIDE: &[u8] = include_bytes!("../fixtures/documents/naming-guide.pdf");
const LOCKED: &[u8] = include_bytes!("../fixtures/documents/locked.pdf");
const SCAN: &[u8] = include_bytes!("../fixtures/documents/scan.pdf");

/// Sends files through the form of the page.
pub async fn upload(client: &Client, files: &[(&str, &[u8])]) -> Answer {
    let page = client.get(LIBRARY).await;
    let csrf = page.between("name=\"csrf\" value=\"", "\"").unwrap();
    let mut form = Form::new().text("csrf", csrf);
    for (name, bytes) in files {
        form = form.part("files", Part::bytes(bytes.to_vec()).file_name((*name).to_owned()));
    }
    client.send(client.request("POST", LIBRARY).multipart(form)).await
}

/// Waits until the library's page says something.
pub async fn says(client: &Client, words: &str) -> String {
    let mut body = String::new();
    for _ in 0..1_200 {
        body = client.get(LIBRARY).await.body;
        if body.contains(words) {
            return body;
        }
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
    }
    panic!("{words} never came: {body}");
}

fn id_of(page: &str) -> String {
    page.split("/knowledge/").nth(1).unwrap()[..26].to_owned()
}

async fn token(client: &Client, scopes: &[&str]) -> String {
    let mut fields = vec![("name", "ci"), ("days", "30")];
    fields.extend(scopes.iter().map(|s| ("scope", *s)));
    let made = client.post("/w/halden-energy/tokens", &fields).await;
    made.between("<code id=\"fresh-token\">", "</code>").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pdf_is_found_by_its_words_at_its_page_and_leaves_nothing_behind() {
    let (server, ada) = Server::ready().await;
    let sent = upload(
        &ada,
        &[
            ("CRM naming guide.pdf", GUIDE),
            ("runbook.md", b"# Nightly job\n\nThe renewal stage is set only by the nightly job zqxcanary.\n"),
        ],
    )
    .await;
    assert_eq!((sent.status, sent.location()), (303, LIBRARY), "{}", sent.body);
    let page = says(&ada, "3 pages · ").await;
    let page = if page.matches("badge ok").count() == 2 { page } else { says(&ada, "1 page · ").await };
    assert!(page.contains("2 documents · "), "{page}");
    let found = ada.get(&format!("{LIBRARY}?q=pending+legal+contracts")).await;
    assert!(found.body.contains("Page 3") && found.body.contains("<mark>Contracts</mark>"), "{}", found.body);
    let href = found.between("href=\"/w/halden-energy/knowledge/", "\"").unwrap().replace("&amp;", "&");
    let preview = ada.get(&format!("{LIBRARY}/{href}")).await;
    assert!(
        preview.body.contains("id=\"passage\"") && preview.body.contains("<mark>Legal</mark>"),
        "{}",
        preview.body
    );
    assert!(preview.body.contains("Page 3 of 3"));
    let nothing = ada.get(&format!("{LIBRARY}?q=elephants")).await;
    assert!(nothing.body.contains("No document mentions “elephants”."));
    let slip = ada.get(&format!("{LIBRARY}?q=renewel")).await;
    assert!(slip.body.contains("Searched for “renewal” instead."), "{}", slip.body);
    // The file comes back as it was, and never as something a browser would show.
    let canary = ada.get(&format!("{LIBRARY}?q=zqxcanary")).await;
    let id = id_of(canary.body.split("<ul class=\"klist\"").nth(1).unwrap());
    let file = ada.get(&format!("{LIBRARY}/{id}/content")).await;
    assert!(file.body.contains("zqxcanary") && file.headers["content-type"] == "application/octet-stream");
    assert!(file.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    // Deleting it.
    assert!(ada.get(&format!("{LIBRARY}/{id}/delete")).await.body.contains("can’t be undone"));
    assert_eq!(ada.post(&format!("{LIBRARY}/{id}/delete"), &[]).await.status, 303);
    assert_eq!(ada.get(&format!("{LIBRARY}/{id}")).await.status, 404);
    assert!(ada.get(&format!("{LIBRARY}?q=zqxcanary")).await.body.contains("No document mentions"));
    let workspace = server.app().web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
    let ws = server.app().web.door.for_runner(workspace).unwrap();
    let document: vynos::ids::DocumentId = id.parse().unwrap();
    for _ in 0..1_200 {
        if ws.read().unwrap().get(&DOCUMENTS, &document).unwrap().is_none() {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    let read = ws.read().unwrap();
    assert!(read.get(&DOCUMENTS, &document).unwrap().is_none());
    assert_eq!(read.scan(&PAGES).under(&document).count().unwrap(), 0);
    assert_eq!(read.scan(&PASSAGES).under(&document).count().unwrap(), 0);
    let blobs = server.dir.path().join(format!("data/workspaces/{workspace}/blobs"));
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 1, "only the other file is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_says_why_and_nothing_else_is_lost() {
    let (_server, ada) = Server::ready().await;
    let sent = upload(
        &ada,
        &[("locked.pdf", LOCKED), ("scan.pdf", SCAN), ("broken.pdf", b"%PDF-1.7 and then nothing")],
    )
    .await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    let page = says(&ada, "protected by a password").await;
    let page = if page.contains("Needs OCR") { page } else { says(&ada, "Needs OCR").await };
    assert!(page.contains("a scan"), "{page}");
    says(&ada, "This file is damaged").await;
    let refused =
        upload(&ada, &[("a.docx", b"PK\x03\x04zip"), ("ok.txt", b"Plain words."), ("empty.txt", b"")]).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("a.docx: Files of this kind can’t be read."), "{}", refused.body);
    assert!(refused.body.contains("empty.txt: This file is empty."));
    says(&ada, "ok.txt").await;
    let twice = upload(&ada, &[("other name.txt", b"Plain words.")]).await;
    assert!(twice.body.contains("this file is here already, as “ok.txt”"), "{}", twice.body);
    let none = upload(&ada, &[]).await;
    assert!(none.body.contains("Choose at least one file."));
    let keyless = Form::new().part("files", Part::bytes(b"x".to_vec()).file_name("x.txt"));
    let keyless = ada.send(ada.request("POST", LIBRARY).multipart(keyless)).await;
    assert_eq!(keyless.status, 403, "a form without the session's key");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_takes_documents_and_searches_them() {
    let (server, ada) = Server::ready().await;
    let token = token(&ada, &["read", "upload"]).await;
    let client = server.client();
    let form = || {
        Form::new()
            .text("collection", "rules")
            .part("file", Part::bytes(GUIDE.to_vec()).file_name("guide.pdf"))
    };
    let post = |form| client.request("POST", "/api/v1/documents").bearer_auth(&token).multipart(form);
    let made = client.send(post(form())).await;
    assert_eq!(made.status, 202, "{}", made.body);
    let made: Value = serde_json::from_str(&made.body).unwrap();
    assert_eq!(made["status"], "queued");
    let path = format!("/api/v1/documents/{}", made["id"].as_str().unwrap());
    let get = async |path: &str| {
        let answer = client.send(client.request("GET", path).bearer_auth(&token)).await;
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap_or_default())
    };
    let mut state = Value::Null;
    for _ in 0..1_200 {
        state = get(&path).await.1;
        if state["status"] == "ready" {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert_eq!(
        (&state["status"], &state["pages"], &state["language"]),
        (&"ready".into(), &3.into(), &"en".into()),
        "{state}"
    );
    assert_eq!(state["collection"], "rules");
    let (_, found) = get("/api/v1/search?q=renewal%20stages&scope=knowledge&limit=5").await;
    let first = &found["items"][0];
    assert_eq!((&first["document"]["name"], &first["page"]), (&"guide.pdf".into(), &1.into()), "{found}");
    let hits: Vec<&str> = first["snippet"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["hit"] == true)
        .map(|f| f["text"].as_str().unwrap())
        .collect();
    assert!(hits.contains(&"Renewal") && found["took_ms"].is_u64(), "{found}");
    assert_eq!(client.send(post(form())).await.status, 409, "the same file again");
    let again = client.send(post(form()).header("idempotency-key", "k1")).await;
    assert!(again.status == 202 && again.body.contains(made["id"].as_str().unwrap()), "{}", again.body);
    let large = Form::new().part("file", Part::bytes(vec![b'a'; 51 << 20]).file_name("big.txt"));
    assert_eq!(client.send(post(large)).await.status, 413);
    assert_eq!(get("/api/v1/search?q=x&scope=elsewhere").await.0, 422);
    let gone = client.send(client.request("DELETE", &path).bearer_auth(&token)).await;
    assert_eq!(gone.status, 204);
    assert_eq!(get(&path).await.0, 404);
    let weak = self::token(&ada, &["read"]).await;
    let weak =
        client.send(client.request("POST", "/api/v1/documents").bearer_auth(&weak).multipart(form())).await;
    assert_eq!(weak.status, 403);
}

/// What the process was doing when it ended is done again, and not twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_was_being_read_is_read_after_the_next_start() {
    let (server, ada) = Server::ready().await;
    let many: String = (0..4_000).map(|n| format!("Paragraph {n} about renewals and stages.\n\n")).collect();
    assert_eq!(upload(&ada, &[("long.md", many.as_bytes())]).await.status, 303);
    let (dir, _) = server.stop().await;
    let server = Server::on(dir, Clock::manual("2026-11-23T09:10:00Z".parse().unwrap())).await;
    let ada = server.client();
    ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    says(&ada, "badge ok").await;
    let found = ada.get(&format!("{LIBRARY}?q=%22paragraph+3999%22")).await;
    assert!(found.body.contains("1 passage<"), "{}", found.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_built_again() {
    let (server, ada) = Server::ready().await;
    assert_eq!(upload(&ada, &[("guide.pdf", GUIDE)]).await.status, 303);
    says(&ada, "badge ok").await;
    let (dir, clock) = server.stop().await;
    let workspaces = std::fs::read_dir(dir.path().join("data/workspaces")).unwrap();
    for workspace in workspaces {
        std::fs::remove_dir_all(workspace.unwrap().path().join("index")).unwrap();
    }
    let server = Server::on(dir, clock).await;
    let ada = server.client();
    ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    let lost = ada.get(&format!("{LIBRARY}?q=counsel")).await;
    assert!(lost.body.contains("being built again"), "{}", lost.body);
    for _ in 0..1_200 {
        let found = ada.get(&format!("{LIBRARY}?q=counsel")).await;
        if found.body.contains("<mark>counsel</mark>") {
            return;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("the index was not built again");
}
