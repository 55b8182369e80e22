//! Members and invitations over REST, the effective access page, the audit lines of both and the mails about them.

use std::time::Duration;

use serde_json::{Value, json};
use vynos::identity::Role;
use vynos::identity::control::Note;
use vynos::mail::outbox::{MailState, OUTBOX};
use vynos::mail::{Kept, Letter, MAIL_SERVER};
use vynos::store::Read as _;
use vynos::store::audit::{Action, Actor};
use vynos::wire::mail::Security;

use crate::access::signed_in;
use crate::harness::{Answer, Client, Server};
use crate::members::{invited, joined, workspace};
use crate::orgs::rig;

pub async fn token(client: &Client, scopes: &[&str]) -> String {
    let mut fields = vec![("name", "ci"), ("days", "30")];
    fields.extend(scopes.iter().map(|s| ("scope", *s)));
    let made = client.post("/w/halden-energy/tokens", &fields).await;
    made.between("<code id=\"fresh-token\">", "</code>").unwrap()
}

async fn call(server: &Server, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
    let client = server.client();
    let mut request = client.request(method, &format!("/api/v1/{path}")).bearer_auth(token);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    client.send(request).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

// security-cases row 12
#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_the_scope_admin_invites_changes_roles_and_removes() {
    let (server, ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Member);
    let all = token(&ada, &["admin"]).await;
    let list = json_of(&call(&server, "GET", "members?limit=1", &all, None).await);
    let next = list["next"].as_str().expect("a second page follows").to_owned();
    let rest = json_of(&call(&server, "GET", &format!("members?cursor={next}"), &all, None).await);
    let people = [&list["items"][0], &rest["items"][0]];
    assert!(people.iter().any(|p| p["email"] == "max@halden.example" && p["role"] == "member"), "{people:?}");
    assert_eq!(rest["next"], Value::Null);
    let path = format!("members/{max}/role");
    let changed = call(&server, "POST", &path, &all, Some(json!({ "role": "admin" }))).await;
    assert_eq!(
        (changed.status, json_of(&changed)["role"].as_str()),
        (200, Some("admin")),
        "{}",
        changed.body
    );
    let more = json!({ "role": "owner", "workspaceId": "x" });
    assert_eq!(
        call(&server, "POST", &path, &all, Some(more)).await.status,
        422,
        "unknown fields are refused"
    );
    let new = json!({ "email": "lise@halden.example", "role": "viewer" });
    let made = call(&server, "POST", "invitations", &all, Some(new.clone())).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = json_of(&made);
    let link = made["link"].as_str().unwrap().split_once("/invite/").unwrap().1;
    assert_eq!(server.client().get(&format!("/invite/{link}")).await.status, 200);
    assert_eq!(call(&server, "POST", "invitations", &all, Some(new)).await.status, 422, "invited already");
    let open = call(&server, "GET", "invitations", &all, None).await;
    assert!(open.body.contains("lise@halden.example") && !open.body.contains(link), "{}", open.body);
    let path = format!("invitations/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&server, "DELETE", &path, &all, None).await.status, 204);
    assert_eq!(server.client().get(&format!("/invite/{link}")).await.status, 404);
    assert_eq!(call(&server, "DELETE", &format!("members/{max}"), &all, None).await.status, 204);
    let control = &server.app().web.control;
    assert_eq!(control.role_in(max, workspace(&server)).unwrap(), None);
    let page = ada.get("/w/halden-energy/audit?of=members").await;
    for act in ["member.role_changed", "invitation.sent", "invitation.revoked", "member.removed"] {
        assert!(page.body.contains(&format!("<td class=\"t\">{act}</td>")), "{act}");
    }
    assert!(page.body.contains("API token of Ada Lovelace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_scope_or_the_role_members_are_neither_read_nor_changed_over_rest() {
    let (server, ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Member);
    let client = signed_in(&server, "max").await;
    let wrong_scope = token(&ada, &["read", "chat", "upload", "change", "deploy"]).await;
    let low_role = token(&client, &["admin"]).await;
    for (method, path, body) in [
        ("GET", "members".to_owned(), None),
        ("POST", format!("members/{max}/role"), Some(json!({ "role": "admin" }))),
        ("DELETE", format!("members/{max}"), None),
        ("GET", "invitations".to_owned(), None),
        ("POST", "invitations".to_owned(), Some(json!({ "email": "x@halden.example", "role": "viewer" }))),
    ] {
        for token in [&wrong_scope, &low_role] {
            let answer = call(&server, method, &path, token, body.clone()).await;
            assert_eq!(answer.status, 403, "{method} {path}");
        }
    }
    let control = &server.app().web.control;
    assert_eq!(control.role_in(max, workspace(&server)).unwrap(), Some(Role::Member));
    assert!(control.invitations_of(workspace(&server)).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_page_says_who_deploys_where_and_what_their_tokens_may() {
    let rig = rig(vynos::sim::salesforce::Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    joined(&rig.server, "max", Role::Member);
    let client = signed_in(&rig.server, "max").await;
    token(&client, &["read", "admin"]).await;
    let path = "/w/halden-energy/members/access";
    let page = rig.ada.get(path).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let rows = page.all_between("<tr><td class=\"t\"><span class=\"nm\">", "</tr>");
    let of = |name: &str| rows.iter().find(|row| row.contains(name)).unwrap().clone();
    assert!(of("ada@halden.example").contains("Production"), "an owner deploys to production");
    assert!(of("max@halden.example").contains("No org"), "a member does not");
    assert!(of("max@halden.example").contains("<small>read; ends on"), "{}", of("max@halden.example"));
    let policy = [("policy", "members")];
    let changed = rig.ada.post("/w/halden-energy/o/production/deploy-policy", &policy).await;
    assert_eq!(changed.status, 303, "{}", changed.body);
    let page = rig.ada.get(path).await;
    assert!(page.body.contains("2 of 2"), "{}", page.body);
    assert_eq!(client.get(path).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_page_of_members_shows_lines_of_its_own_workspace_only() {
    let (_server, ada) = Server::ready().await;
    ada.post("/workspaces/new", &[("name", "Other")]).await;
    invited(&ada, "max@halden.example", "viewer").await;
    let here = ada.get("/w/halden-energy/audit?of=members").await;
    assert_eq!(here.all_between("<td class=\"t\">", "</td>"), ["invitation.sent", "workspace.created"]);
    let other = ada.get("/w/other/audit?of=members").await;
    assert_eq!(other.all_between("<td class=\"t\">", "</td>"), ["workspace.created"]);
    assert!(here.body.contains("of=members\" aria-current=\"page\""));
}

/// A mail server that nobody runs, so that mails wait in the outbox.
fn with_mail(server: &Server) {
    let kept = Kept {
        host: "localhost".into(),
        port: 1,
        security: Security::Tls,
        user: String::new(),
        password: None,
        sender: "vynos@halden.example".into(),
        ca: None,
    };
    let note = Note::new(Actor::Operator, Action::MailChanged, "mail");
    server.app().web.control.change_now(note, |tx| tx.put(&MAIL_SERVER, &0, &kept)).unwrap();
}

/// Waits until the mails to an address were tried once and wait for the next time.
async fn tried(server: &Server, to: &str) {
    for _ in 0..1_000 {
        let rows = server.app().web.control.read().unwrap().scan(&OUTBOX).rows().unwrap();
        let mut mine = rows.iter().filter(|(_, row)| row.to == to);
        if mine.all(|(_, row)| row.tries > 0 && row.state == MailState::Waiting) {
            return;
        }
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
    }
    panic!("the mail to {to} was never tried");
}

/// The letters that wait for an address, oldest first.
fn letters(server: &Server, to: &str) -> Vec<Letter> {
    let rows = server.app().web.control.read().unwrap().scan(&OUTBOX).rows().unwrap();
    rows.into_iter().filter(|(_, row)| row.to == to).filter_map(|(_, row)| row.letter).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_mail_server_the_link_goes_out_by_mail_and_is_shown_to_nobody() {
    let (server, ada) = Server::ready().await;
    with_mail(&server);
    let shown =
        ada.post("/w/halden-energy/members", &[("email", "max@halden.example"), ("role", "member")]).await;
    assert!(shown.status == 200 && shown.body.contains("is on its way"), "{}", shown.body);
    assert!(!shown.body.contains("/invite/"));
    let [Letter::InvitationSent { workspace: name, invited_by, role, link, .. }] =
        &letters(&server, "max@halden.example")[..]
    else {
        panic!("one invitation is in the outbox");
    };
    assert_eq!((name.as_str(), invited_by.as_str()), ("Halden Energy", "Ada Lovelace"));
    assert_eq!(*role, Role::Member);
    let link = link.clone();
    // A mail whose link was withdrawn before it left does not leave.
    let other = [("email", "lise@halden.example"), ("role", "viewer")];
    assert_eq!(ada.post("/w/halden-energy/members", &other).await.status, 200);
    let rows = server.app().web.control.invitations_of(workspace(&server)).unwrap();
    let lise = rows.iter().find(|(_, row)| row.email.as_str() == "lise@halden.example").unwrap().0;
    let path = format!("/w/halden-energy/members/invitations/{lise}/withdraw");
    tried(&server, "lise@halden.example").await;
    assert_eq!(ada.post(&path, &[]).await.status, 303);
    assert_eq!(letters(&server, "lise@halden.example"), []);
    // What the server said to it stands beside the invitation.
    tried(&server, "max@halden.example").await;
    let control = &server.app().web.control;
    let (_, invitation) = control.invitations_of(workspace(&server)).unwrap().remove(0);
    let id = invitation.mail.unwrap();
    control
        .touch(|tx| {
            let row = tx.get(&OUTBOX, &id)?.unwrap();
            let said = "550 no such user".to_owned();
            tx.put(&OUTBOX, &id, &vynos::mail::outbox::MailRow { state: MailState::Dead, said, ..row })
        })
        .unwrap();
    let page = ada.get("/w/halden-energy/members").await;
    assert!(page.body.contains("Mail refused") && page.body.contains("550 no such user"), "{}", page.body);
    let max = server.client();
    let form = [("name", "Max Born"), ("password", crate::harness::PASSWORD)];
    assert_eq!(max.send(max.request("POST", &link).form(&form)).await.status, 303);
    let id =
        control.people_of(workspace(&server)).unwrap().into_iter().find(|(_, p, _)| p.name == "Max Born");
    let id = id.unwrap().0;
    let role = format!("role-{id}-member");
    assert_eq!(ada.post("/w/halden-energy/members/roles", &[(role.as_str(), "viewer")]).await.status, 303);
    assert_eq!(ada.post(&format!("/w/halden-energy/members/{id}/remove"), &[]).await.status, 303);
    let told = letters(&server, "max@halden.example");
    assert!(told.contains(&Letter::RoleChanged {
        workspace: "Halden Energy".into(),
        role: Role::Viewer,
        changed_by: "Ada Lovelace".into(),
    }));
    assert!(told.contains(&Letter::RemovedFromWorkspace {
        workspace: "Halden Energy".into(),
        removed_by: "Ada Lovelace".into(),
    }));
}
