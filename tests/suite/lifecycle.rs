//! The profile, and the end of an account: what is said before, 30 days in which it can be kept, and nothing after.

use jiff::SignedDuration;
use vynos::identity::Role;
use vynos::store::Read as _;
use vynos::store::audit::{AUDIT, Action};

use crate::access::{person, signed_in};
use crate::chat_pages::{ask, ended, talking};
use crate::harness::{Answer, Client, PASSWORD, Server};
use crate::members::{joined, workspace};
use crate::reset::mails;

async fn close(client: &Client, email: &str) -> Answer {
    client.post("/account/close", &[("email", email), ("password", PASSWORD)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_can_be_put_right_at_any_time() {
    let (server, ada) = Server::ready().await;
    let fields = [
        ("name", "Ada King"),
        ("organisation", "Halden <Energy>"),
        ("language", "en"),
        ("time_zone", "Europe/Berlin"),
        ("theme", "light"),
    ];
    assert_eq!(ada.post("/account/profile", &fields).await.status, 303);
    let page = ada.get("/account/profile").await;
    assert!(page.body.contains("Ada King") && page.body.contains("Halden &#60;Energy&#62;"));
    assert!(page.body.contains("10:00 CET"), "{}", page.body);
    assert!(!page.body.contains("checked"));
    for bad in [("time_zone", "Mars/Olympus"), ("organisation", &"x".repeat(101)), ("language", "tlh")] {
        let mut fields = fields.to_vec();
        fields.retain(|(name, _)| *name != bad.0);
        fields.push(bad);
        assert_eq!(ada.post("/account/profile", &fields).await.status, 422, "{bad:?}");
    }
    let id = server.app().web.control.account_by_address(&"ada@halden.example".parse().unwrap());
    let (_, account) = id.unwrap().unwrap();
    assert_eq!((account.time_zone.as_str(), account.shortcuts), ("Europe/Berlin", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_owner_and_the_last_operator_are_told_what_keeps_them() {
    let (server, ada) = Server::ready().await;
    let page = ada.get("/account/close").await;
    assert!(page.body.contains("last operator") && page.body.contains("Halden Energy"));
    assert_eq!(close(&ada, "ada@halden.example").await.status, 409);
    assert_eq!(ada.get("/account/profile").await.status, 200);
    // An owner who is about to go is none that another can leave behind.
    let lise = joined(&server, "lise", Role::Owner);
    let other = signed_in(&server, "lise").await;
    assert_eq!(close(&other, "lise@halden.example").await.status, 303);
    let control = &server.app().web.control;
    let (ada_id, _) = control.account_by_address(&"ada@halden.example".parse().unwrap()).unwrap().unwrap();
    let kept = control.hindrance(&control.read().unwrap(), ada_id).unwrap();
    assert_eq!(kept.workspaces.len(), 1);
    assert!(control.account(lise).unwrap().unwrap().deletion.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_thirty_days_one_can_only_come_back() {
    let (server, _ada) = Server::ready().await;
    joined(&server, "max", Role::Member);
    let max = signed_in(&server, "max").await;
    let elsewhere = signed_in(&server, "max").await;
    let made =
        max.post("/w/halden-energy/tokens", &[("name", "ci"), ("days", "30"), ("scope", "read")]).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    assert_eq!(close(&max, "other@halden.example").await.status, 422);
    let wrong = [("email", "max@halden.example"), ("password", "not the password")];
    assert_eq!(max.post("/account/close", &wrong).await.status, 422);
    let begun = close(&max, "max@halden.example").await;
    assert_eq!((begun.status, begun.location()), (303, "/account/close"));
    assert!(elsewhere.get("/account/profile").await.location().starts_with("/sign-in"));
    for path in ["/", "/account/profile", "/workspaces", "/w/halden-energy/orgs", "/w/halden-energy/live"] {
        assert_eq!(max.get(path).await.location(), "/account/close", "{path}");
    }
    let api = server.client();
    assert_eq!(api.send(api.request("GET", "/api/v1/me").bearer_auth(&token)).await.status, 401);
    assert!(max.get("/account/close").await.body.contains("deleted in 30 days"));
    server.clock.advance(SignedDuration::from_hours(29 * 24));
    assert_eq!(server.app().eraser.erase_due().await.unwrap(), 0);
    let back = signed_in(&server, "max").await;
    assert!(back.get("/account/close").await.body.contains("deleted in 1 day<"));
    assert_eq!(back.post("/account/close/stop", &[]).await.status, 303);
    assert_eq!(back.get("/account/profile").await.status, 200);
    server.clock.advance(SignedDuration::from_hours(5 * 24));
    assert_eq!(server.app().eraser.erase_due().await.unwrap(), 0);
    assert_eq!(server.client().sign_in("max@halden.example", PASSWORD).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_thirty_days_nothing_names_the_person_but_an_id_in_audit_lines() {
    let (rig, sim) = talking().await;
    let server = &rig.server;
    let max = joined(server, "max", Role::Member);
    let client = signed_in(server, "max").await;
    let profile = [("name", "Maximilian Canary"), ("organisation", "Canary Works"), ("theme", "dark")];
    assert_eq!(client.post("/account/profile", &profile).await.status, 303);
    let chat = ask(&client, "what does the canary sing").await;
    ended(&client, &chat).await;
    client.post("/account/address", &[("email", "canary@new.example"), ("password", PASSWORD)]).await;
    server.client().post("/forgot", &[("email", "max@halden.example")]).await;
    assert_eq!(close(&client, "max@halden.example").await.status, 303);
    server.clock.advance(SignedDuration::from_hours(30 * 24));
    assert_eq!(server.client().sign_in("max@halden.example", PASSWORD).await.status, 422);
    assert_eq!(server.app().eraser.erase_due().await.unwrap(), 1);
    assert_eq!(server.app().eraser.erase_due().await.unwrap(), 0);
    let control = &server.app().web.control;
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    for word in ["Maximilian", "Canary", "max@halden.example", "canary@new.example", "canary sing"] {
        assert_eq!(control.read().unwrap().tables_with(word).unwrap(), Vec::<String>::new(), "{word}");
        assert_eq!(ws.read().unwrap().tables_with(word).unwrap(), Vec::<String>::new(), "{word}");
    }
    let lines = control.read().unwrap().scan(&AUDIT).rows().unwrap();
    let target = max.to_string();
    assert!(lines.iter().any(|(_, line)| line.action == Action::AccountErased && line.target == target));
    assert!(control.verify_audit().unwrap().is_ok() && ws.verify_audit().unwrap().is_ok());
    // The address is free again.
    assert_ne!(person(control, "max"), max);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_who_goes_is_told_by_mail_at_both_ends() {
    let (server, _ada) = Server::ready().await;
    mails(&server);
    person(&server.app().web.control, "max");
    let max = signed_in(&server, "max").await;
    assert_eq!(close(&max, "max@halden.example").await.status, 303);
    server.clock.advance(SignedDuration::from_hours(30 * 24));
    assert_eq!(server.app().eraser.erase_due().await.unwrap(), 1);
    let kinds: Vec<String> = crate::reset::outbox(&server).into_iter().map(|row| row.kind).collect();
    // The first mail did not get there in 30 days, and goes with the account; the last says that it is gone.
    assert_eq!(kinds, ["account-deleted"]);
}
