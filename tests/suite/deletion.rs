//! A workspace is deleted: who is let in meanwhile, what ends at once, how it is kept, and what is left after its 30 days.

use std::time::Duration;

use jiff::SignedDuration;
use vynos::features::{Access, ROUTES};
use vynos::identity::Role;
use vynos::mail::{MAIL_SERVER, WORKSPACE_MAIL};
use vynos::store::audit::{AUDIT, Action};
use vynos::store::{Read as _, StoreError};

use crate::access::{made_up, signed_in};
use crate::bundle::{download, exported};
use crate::chat_pages::{CHAT, ended, talking};
use crate::harness::{Answer, Client, PASSWORD, Server};
use crate::members::{ends, invited, joined, open, workspace};
use crate::reset::{mails, outbox};

pub const PAGE: &str = "/w/halden-energy/privacy/delete";
const KEEP: &str = "/w/halden-energy/privacy/delete/stop";

/// Asks to delete Halden Energy.
pub async fn delete(client: &Client) -> Answer {
    client.post(PAGE, &[("name", "Halden Energy")]).await
}

/// Asks to delete Halden Energy, lets its 30 days pass and erases it.
pub async fn erase(server: &Server, client: &Client) {
    assert_eq!(delete(client).await.status, 303);
    server.clock.advance(SignedDuration::from_hours(30 * 24));
    assert_eq!(server.app().eraser.erase_workspaces().await.unwrap(), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_asks_for_the_name_says_the_day_and_only_owners_may() {
    let (server, ada) = Server::ready().await;
    joined(&server, "max", Role::Admin);
    let max = signed_in(&server, "max").await;
    assert_eq!(max.get(PAGE).await.status, 403);
    assert_eq!(delete(&max).await.status, 403);
    let profile = [("name", "Ada Lovelace"), ("time_zone", "Europe/Berlin"), ("theme", "dark")];
    ada.post("/account/profile", &profile).await;
    let page = ada.get(PAGE).await;
    assert!(page.body.contains("Until 23 December 2026, 10:00 CET"), "{}", page.body);
    assert!(page.body.contains("1 other member is told"), "{}", page.body);
    let wrong = ada.post(PAGE, &[("name", "halden energy")]).await;
    assert!(wrong.status == 422 && wrong.body.contains("Nothing was changed"), "{}", wrong.body);
    server.clock.advance(SignedDuration::from_mins(16));
    let unproved = delete(&ada).await;
    assert!(unproved.location().starts_with("/account/confirm"), "{unproved:?}");
    assert!(server.app().web.control.workspace(workspace(&server)).unwrap().unwrap().closing().is_none());
    ada.post("/account/confirm", &[("password", PASSWORD), ("next", PAGE)]).await;
    assert_eq!(delete(&ada).await.status, 303);
    let again = delete(&ada).await;
    assert!(again.status == 409 && again.body.contains(PAGE), "a second time names the page: {}", again.body);
    let page = ada.get(PAGE).await;
    assert!(page.body.contains("Ada Lovelace asked for it") && page.body.contains("Keep the workspace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_to_be_deleted_owners_read_and_every_change_is_refused() {
    let (server, ada) = Server::ready().await;
    joined(&server, "max", Role::Member);
    joined(&server, "lise", Role::Owner);
    let (max, lise) = (signed_in(&server, "max").await, signed_in(&server, "lise").await);
    let made = lise
        .post(
            "/w/halden-energy/tokens",
            &[("name", "ci"), ("days", "30"), ("scope", "read"), ("scope", "admin")],
        )
        .await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    assert_eq!(delete(&ada).await.status, 303);
    let id = "01m8502e5c5z16kwvzypsnvxp3";
    for route in
        ROUTES.iter().filter(|route| !route.path.ends_with("/live") && !route.path.ends_with("/events"))
    {
        let path = made_up(route.path, id);
        match route.access {
            Access::Token => {
                let api = server.client();
                let answer = api.send(api.request(route.method, &path).bearer_auth(&token)).await;
                assert_eq!(answer.status, 401, "{} {path}", route.method);
            }
            Access::Role(_) if route.method == "GET" => {
                let answer = lise.get(&path).await;
                assert_ne!(answer.status, 409, "{path}: {}", answer.body);
                let refused = max.get(&path).await;
                let said = refused.body.contains("only its owners come in");
                assert!(refused.status == 409 && said, "{path}: {} {}", refused.status, refused.body);
            }
            // What owners may still do, as the type `Keeper` says.
            Access::Role(_) if route.path == "/w/{workspace}/privacy/delete/stop" => {}
            Access::Role(_) if route.path.starts_with("/w/{workspace}/privacy/export") => {
                assert_eq!(max.post(&path, &[]).await.status, 409, "{path}");
            }
            Access::Role(_) => {
                let answer = lise.post(&path, &[]).await;
                let said = answer.body.contains("Nothing was changed") && answer.body.contains(PAGE);
                assert!(answer.status == 409 && said, "{path}: {} {}", answer.status, answer.body);
                assert_eq!(max.post(&path, &[]).await.status, 409, "{path}");
            }
            _ => {}
        }
    }
    assert_eq!(max.post(KEEP, &[]).await.status, 409);
    assert_eq!(max.get("/").await.location(), "/workspaces");
    assert!(max.get("/workspaces").await.body.contains("Deleted on 23 December 2026"));
    let home = lise.get("/w/halden-energy/orgs").await;
    assert!(home.body.contains("This workspace will be deleted on 23 December 2026"), "{}", home.body);
    assert!(ada.get("/admin/workspaces").await.body.contains("Deleted on 23 Dec 2026"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_takes_the_data_away_before_the_end() {
    let (server, ada) = Server::ready().await;
    assert_eq!(delete(&ada).await.status, 303);
    assert!(ada.get(PAGE).await.body.contains("Export its data"));
    let path = exported(&ada).await;
    assert!(download(&ada, &format!("{path}/bundle")).await.len() > 1_000);
    assert!(server.app().web.control.workspace(workspace(&server)).unwrap().unwrap().closing().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_answers_tokens_and_invitations_end_at_once_and_members_are_told() {
    let (rig, model) = talking().await;
    let (server, ada) = (&rig.server, &rig.ada);
    joined(server, "max", Role::Member);
    let max = signed_in(server, "max").await;
    let link = invited(ada, "kurt@halden.example", "member").await;
    mails(server);
    let invite = [("email", "emmy@halden.example"), ("role", "member")];
    assert_eq!(ada.post("/w/halden-energy/members", &invite).await.status, 200);
    assert!(outbox(server).iter().any(|row| row.kind == "invitation-sent"));
    let live = open(&max, max.request("GET", "/w/halden-energy/live")).await;
    let before = model.calls();
    let posted =
        ada.post(CHAT, &[("text", "[[fake:long 400]] [[fake:slow 100]]"), ("org", "production")]).await;
    let chat = posted.location().split('#').next().unwrap().to_owned();
    let running = || server.app().runner.board().all().len();
    for _ in 0..400 {
        if model.calls() > before {
            break;
        }
        tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await.ok();
    }
    assert_eq!(delete(ada).await.status, 303);
    let begun = std::time::Instant::now();
    assert!(ends(live).await < Duration::from_secs(1));
    while running() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "an answer still runs");
        tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await.ok();
    }
    assert!(ended(ada, &chat).await.body.contains("Stopped"), "what came of the answer is kept");
    let kurt = server.client();
    assert_eq!(kurt.get(&link).await.status, 404);
    let letters = outbox(server);
    let mut told: Vec<_> =
        letters.iter().filter(|row| row.kind == "deletion-started").map(|row| row.to.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["ada@halden.example", "max@halden.example"]);
    assert!(letters.iter().all(|row| row.kind != "invitation-sent"), "the invitation is not sent any more");
    // Nothing is synced: the job waits, and begins once the workspace is kept.
    let calls = rig.sim.calls();
    assert!(rig.sim.live_tokens() > 0);
    assert_eq!(ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 409);
    assert_eq!(ada.post(KEEP, &[]).await.status, 303);
    assert_eq!(rig.sim.calls(), calls);
    assert_eq!(ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    rig.synced().await;
    assert!(rig.sim.calls() > calls, "the org is still connected");
    model.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_day_29_it_is_kept_and_on_day_31_it_is_gone() {
    let (server, ada) = Server::ready().await;
    mails(&server);
    let max = joined(&server, "max", Role::Member);
    let eraser = server.app().eraser.clone();
    let id = workspace(&server);
    assert_eq!(delete(&ada).await.status, 303);
    server.clock.advance(SignedDuration::from_hours(29 * 24));
    assert_eq!(eraser.erase_workspaces().await.unwrap(), (0, 0));
    eraser.remind().await.unwrap();
    eraser.remind().await.unwrap();
    let kinds = || outbox(&server).into_iter().map(|row| row.kind).collect::<Vec<_>>();
    assert_eq!(kinds().iter().filter(|kind| *kind == "deletion-seven-days-left").count(), 1);
    let ada = signed_in(&server, "ada").await;
    assert_eq!(ada.post(KEEP, &[]).await.location(), "/w/halden-energy/privacy");
    let client = signed_in(&server, "max").await;
    assert_eq!(client.get("/w/halden-energy/orgs").await.status, 200);
    assert!(client.get("/w/halden-energy/notifications").await.body.contains("“Halden Energy” is kept"));
    server.clock.advance(SignedDuration::from_hours(40 * 24));
    assert_eq!(eraser.erase_workspaces().await.unwrap(), (0, 0), "who was kept stays");

    let ada = signed_in(&server, "ada").await;
    // Its own mail server goes with it.
    let own = server.app().web.control.read().unwrap().get(&MAIL_SERVER, &0).unwrap().unwrap();
    server.app().web.control.touch::<StoreError>(|tx| tx.put(&WORKSPACE_MAIL, &id, &own)).unwrap();
    assert_eq!(delete(&ada).await.status, 303);
    server.clock.advance(SignedDuration::from_hours(31 * 24));
    let (ada, client) = (signed_in(&server, "ada").await, signed_in(&server, "max").await);
    // Its time is over, also before anything is erased.
    for person in [&ada, &client] {
        assert_eq!(person.get("/w/halden-energy/orgs").await.status, 410);
        assert_eq!(person.post(KEEP, &[]).await.status, 410);
    }
    assert_eq!(eraser.erase_workspaces().await.unwrap(), (1, 0));
    assert_eq!(eraser.erase_workspaces().await.unwrap(), (0, 0));
    assert_eq!(kinds(), ["deletion-done"], "what was said before is not sent any more");
    let gone = ada.get(PAGE).await;
    assert!(gone.status == 410 && gone.body.contains("certificate of erasure"), "{}", gone.body);
    assert_eq!(ada.post(KEEP, &[]).await.status, 410);
    assert_eq!(client.get("/w/halden-energy/orgs").await.status, 404, "for others there never was one");
    assert!(ada.get("/workspaces").await.body.contains("Erased workspaces"));
    let control = &server.app().web.control;
    assert!(control.read().unwrap().get(&WORKSPACE_MAIL, &id).unwrap().is_none());
    assert!(control.members_of(id).unwrap().is_empty() && control.workspaces_of(max).unwrap().is_empty());
    // The address is not given to anybody else.
    assert_eq!(
        ada.post("/workspaces/new", &[("name", "Halden Energy")]).await.location(),
        "/w/halden-energy-2/"
    );
    let lines = control.read().unwrap().scan(&AUDIT).rows().unwrap();
    for action in [Action::WorkspaceDeletionStarted, Action::WorkspaceErasureBegun, Action::WorkspaceErased] {
        assert!(
            lines.iter().any(|(_, line)| line.action == action && line.workspace == Some(id)),
            "{action:?}"
        );
    }
    assert!(control.verify_audit().unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_shown_to_operators_and_former_owners_and_names_nobody() {
    let (server, ada) = Server::ready().await;
    joined(&server, "max", Role::Admin);
    let id = workspace(&server).to_string();
    erase(&server, &ada).await;
    let (ada, max) = (signed_in(&server, "ada").await, signed_in(&server, "max").await);
    for list in ["/account/erasures", "/admin/erasures"] {
        let page = ada.get(list).await;
        assert!(page.status == 200 && page.body.contains(&id), "{}", page.body);
        let text = ada.get(&format!("{list}/{id}/file")).await;
        assert!(
            text.body.contains("Key destroyed") && text.body.contains("the chain was whole"),
            "{}",
            text.body
        );
        let json = ada.get(&format!("{list}/{id}/file?format=json")).await;
        let json: serde_json::Value = serde_json::from_str(&json.body).unwrap();
        let it = &json["erasure"];
        assert_eq!((it["step"].as_str(), it["members"].as_u64()), (Some("done"), Some(2)));
        for count in ["rows", "files", "bytes", "audit_lines"] {
            assert!(it[count].as_u64().is_some(), "{count}: {it}");
        }
        assert!(it["bytes"].as_u64() > Some(0) && it["key_destroyed"].is_string());
        for word in ["Halden", "halden", "Ada", "ada@"] {
            assert!(!json.to_string().contains(word) && !text.body.contains(word), "{word}");
        }
    }
    assert_eq!(max.get(&format!("/account/erasures/{id}/file")).await.status, 404);
    assert!(!max.get("/account/erasures").await.body.contains(&id));
    assert_eq!(max.get("/admin/erasures").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_only_owner_deletes_the_workspace_with_the_account() {
    let (server, ada) = Server::ready().await;
    joined(&server, "max", Role::Member);
    let lise = joined(&server, "lise", Role::Owner);
    let operator = server.app().web.control.account(lise).unwrap().unwrap().operator;
    assert!(!operator);
    let page = ada.get("/account/close").await;
    assert!(page.body.contains("last operator"));
    // Lise becomes the only owner of another workspace.
    let other = signed_in(&server, "lise").await;
    server
        .app()
        .web
        .control
        .change_settings(vynos::store::audit::Actor::Operator, |s| {
            s.who_may_create_workspaces = vynos::identity::Creators::Everyone;
        })
        .unwrap();
    server.app().web.refresh_settings().unwrap();
    assert_eq!(other.post("/workspaces/new", &[("name", "Lise Lab")]).await.status, 303);
    let page = other.get("/account/close").await.body;
    assert!(page.contains("Not yet possible") && page.contains("/w/lise-lab/privacy/delete"), "{page}");
    assert_eq!(other.post("/w/lise-lab/privacy/delete", &[("name", "Lise Lab")]).await.status, 303);
    let page = other.get("/account/close").await.body;
    assert!(page.contains("Lise Lab</span> is deleted with it on 23 December 2026"), "{page}");
    let closed =
        other.post("/account/close", &[("email", "lise@halden.example"), ("password", PASSWORD)]).await;
    assert_eq!((closed.status, closed.location()), (303, "/account/close"));
    server.clock.advance(SignedDuration::from_hours(30 * 24));
    assert_eq!(server.app().eraser.erase_workspaces().await.unwrap(), (1, 0));
    assert_eq!(server.app().eraser.erase_due().await.unwrap(), 1);
    assert!(server.app().web.control.account(lise).unwrap().is_none());
}
