//! The access matrix: every route of `features.rs` x everybody who may come by. Rows come from the list; what
//! each caller must get follows from the route's declared access, so nothing here can be blessed.

use jiff::Timestamp;
use vynos::features::{Access, ROUTES, Route};
use vynos::identity::control::Note;
use vynos::identity::{AccountState, ApiToken, Control, Role, Scope};
use vynos::ids::AccountId;
use vynos::seal::Secret;
use vynos::store::Read as _;
use vynos::store::audit::{Action, Actor};

use crate::harness::{Client, PASSWORD, Server};

pub fn person(control: &Control, name: &str) -> AccountId {
    account(control, name, false)
}

fn account(control: &Control, name: &str, operator: bool) -> AccountId {
    let email = format!("{name}@halden.example");
    let new = Control::prepare_account(&email, name, &Secret::new(PASSWORD.into()), operator).unwrap();
    let note = Note::new(Actor::Operator, Action::AccountChanged, name);
    control.change_now(note, |tx| control.insert_account(tx, new)).unwrap()
}

pub async fn signed_in(server: &Server, name: &str) -> Client {
    let client = server.client();
    assert_eq!(client.sign_in(&format!("{name}@halden.example"), PASSWORD).await.status, 303);
    client
}

/// What a caller gets at a route, before looking at what the route then does.
#[derive(Debug, PartialEq)]
enum Verdict {
    In,
    NotAllowed,
    NotFound,
    SignIn,
}

fn verdict(status: u16, location: &str) -> Verdict {
    match status {
        303 if location.starts_with("/sign-in?") => Verdict::SignIn,
        401 => Verdict::SignIn,
        403 => Verdict::NotAllowed,
        404 => Verdict::NotFound,
        _ => Verdict::In,
    }
}

/// Whether the path names something below the workspace, which a test can only make up.
fn names_something(route: &Route) -> bool {
    route.path.replace("{workspace}", "").contains('{')
}

/// The path with the workspace's slug, and one made-up id for whatever else it names.
pub fn made_up(path: &str, id: &str) -> String {
    let mut out = String::new();
    for piece in path.replace("{workspace}", "halden-energy").split_inclusive('}') {
        match piece.split_once('{') {
            Some((before, _)) => out.push_str(&format!("{before}{id}")),
            None => out.push_str(piece),
        }
    }
    out
}

async fn call(client: &Client, route: &Route) -> Verdict {
    let path = made_up(route.path, "01m8502e5c5z16kwvzypsnvxp3");
    let answer = match route.method {
        "DELETE" => client.send(client.request("DELETE", &path)).await,
        "GET" => client.get(&path).await,
        _ => client.post(&path, &[]).await,
    };
    // A made-up id below a workspace is not found by those who may look.
    let below = names_something(route);
    match verdict(answer.status, answer.location()) {
        Verdict::NotFound if below && answer.status == 404 => Verdict::In,
        other => other,
    }
}

// security-cases rows 7, 9 and 33
#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_says_and_nobody_else() {
    let (server, expired) = Server::ready().await;
    // The owner's first session has ended by being idle; a second one is in use.
    server.clock.advance(jiff::SignedDuration::from_hours(13));
    let owner = server.client();
    assert_eq!(owner.sign_in("ada@halden.example", PASSWORD).await.status, 303);
    let control = &server.app().web.control;
    let (workspace, _) = control.workspace_by_slug("halden-energy").unwrap().unwrap();
    for (name, role) in [("viewer", Role::Viewer), ("member", Role::Member), ("admin", Role::Admin)] {
        let id = person(control, name);
        let note = Note::new(Actor::Operator, Action::AccountChanged, id);
        control.change_now(note, |tx| control.put_member(tx, workspace, id, role)).unwrap();
    }
    person(control, "stranger");
    let removed = person(control, "removed");
    let note = || Note::new(Actor::Operator, Action::AccountChanged, removed);
    control.change_now(note(), |tx| control.put_member(tx, workspace, removed, Role::Owner)).unwrap();
    control.change_now(note(), |tx| control.remove_member(tx, workspace, removed)).unwrap();
    person(control, "invited");
    let invite = [("email", "invited@halden.example"), ("role", "admin")];
    assert_eq!(owner.post("/w/halden-energy/members", &invite).await.status, 200);
    account(control, "operator", true);
    let suspended = person(control, "suspended");
    let gone = signed_in(&server, "suspended").await;
    suspend(control, suspended);
    let (viewer, member) = (signed_in(&server, "viewer").await, signed_in(&server, "member").await);
    let (admin, stranger) = (signed_in(&server, "admin").await, signed_in(&server, "stranger").await);
    let operator = signed_in(&server, "operator").await;
    let (removed, invited) = (signed_in(&server, "removed").await, signed_in(&server, "invited").await);
    let nobody = server.client();
    let callers: [(&str, &Client, Option<Role>, bool); 11] = [
        ("nobody", &nobody, None, false),
        ("expired session", &expired, None, false),
        ("suspended", &gone, None, false),
        ("stranger", &stranger, None, true),
        ("operator", &operator, None, true),
        ("removed", &removed, None, true),
        ("invited and not joined", &invited, None, true),
        ("viewer", &viewer, Some(Role::Viewer), true),
        ("member", &member, Some(Role::Member), true),
        ("admin", &admin, Some(Role::Admin), true),
        ("owner", &owner, Some(Role::Owner), true),
    ];
    for route in ROUTES
        .iter()
        .filter(|r| r.path != "/sign-out" && !r.path.ends_with("/live") && !r.path.ends_with("/events"))
        // Who leaves is no member for the rest of the walk.
        .filter(|r| (r.method, r.path) != ("POST", "/w/{workspace}/leave"))
    {
        for (name, client, role, account) in &callers {
            let expected = match route.access {
                Access::Anybody | Access::Setup => continue,
                Access::Token => Verdict::SignIn,
                Access::Account | Access::Operator | Access::Role(_) if !account => Verdict::SignIn,
                Access::Account => Verdict::In,
                // Whoever set the instance up is its operator; another operator is no member of the workspace.
                Access::Operator if matches!(*name, "operator" | "owner") => Verdict::In,
                Access::Operator => Verdict::NotAllowed,
                Access::Role(least) => match role {
                    None => Verdict::NotFound,
                    Some(role) if *role < least => Verdict::NotAllowed,
                    Some(_) => Verdict::In,
                },
            };
            let got = call(client, route).await;
            // A made-up id hides behind the same 404 from strangers.
            let hidden = expected == Verdict::NotFound && names_something(route);
            assert!(
                got == expected || hidden,
                "{name}: {} {} gave {got:?}, not {expected:?}",
                route.method,
                route.path
            );
        }
    }
}

fn suspend(control: &Control, id: AccountId) {
    let note = Note::new(Actor::Operator, Action::AccountChanged, id);
    let table = &vynos::identity::accounts::ACCOUNTS;
    control
        .change_now(note, |tx| {
            let mut account = tx.get(table, &id)?.unwrap();
            account.state = AccountState::Suspended;
            tx.put(table, &id, &account)
        })
        .unwrap();
}

/// A new token of an account in the workspace.
fn token(
    control: &Control,
    account: AccountId,
    scopes: &[Scope],
    ends: Option<Timestamp>,
) -> (Secret, ApiToken) {
    let (workspace, _) = control.workspace_by_slug("halden-energy").unwrap().unwrap();
    let by = Actor::Account { id: account };
    control.create_token(by, account, workspace, "matrix", scopes.to_vec(), ends).unwrap()
}

/// The status that a route of the API answers a token.
async fn status(client: &Client, route: &Route, token: &Secret) -> u16 {
    let path = made_up(route.path, "01m8502e5c5z16kwvzypsnvxp3");
    client.send(client.request(route.method, &path).bearer_auth(token.expose())).await.status
}

// security-cases rows 33 and 34
#[tokio::test(flavor = "multi_thread")]
async fn every_api_route_refuses_tokens_that_have_ended_and_wants_its_scope() {
    let (server, _) = Server::ready().await;
    let control = &server.app().web.control;
    let (workspace, _) = control.workspace_by_slug("halden-energy").unwrap().unwrap();
    let owner = control.members_of(workspace).unwrap()[0].0;
    let join = |name: &str| {
        let id = person(control, name);
        let note = Note::new(Actor::Operator, Action::AccountChanged, id);
        control.change_now(note, |tx| control.put_member(tx, workspace, id, Role::Owner)).unwrap();
        id
    };
    let (removed, suspended) = (join("removed"), join("suspended"));
    let soon = control.clock().now().checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
    let revoked = token(control, owner, &Scope::ALL, None).0;
    let id = control.tokens_of(owner, workspace).unwrap()[0].0;
    control.revoke_token(Actor::Operator, owner, id).unwrap();
    let ended = [
        ("revoked", revoked),
        ("expired", token(control, owner, &Scope::ALL, Some(soon)).0),
        ("removed", token(control, removed, &Scope::ALL, None).0),
        ("suspended", token(control, suspended, &Scope::ALL, None).0),
        ("made up", Secret::new(format!("vyn_{}", "A".repeat(43)))),
    ];
    let note = Note::new(Actor::Operator, Action::MemberRemoved, removed);
    control.change_now(note, |tx| control.remove_member(tx, workspace, removed)).unwrap();
    suspend(control, suspended);
    server.clock.advance(jiff::SignedDuration::from_secs(2));
    let scoped = Scope::ALL.map(|scope| token(control, owner, &[scope], None).0);
    let client = server.client();
    for route in ROUTES.iter().filter(|route| route.access == Access::Token) {
        for (name, token) in &ended {
            assert_eq!(status(&client, route, token).await, 401, "{name}: {} {}", route.method, route.path);
        }
        let mut open = 0;
        for token in &scoped {
            open += u32::from(status(&client, route, token).await != 403);
        }
        // What a token may ask about itself needs no scope.
        let expected = if route.path == "/api/v1/me" { 6 } else { 1 };
        assert_eq!(open, expected, "{} {}", route.method, route.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_the_sessions_key_or_from_another_site_changes_nothing() {
    let (_server, ada) = Server::ready().await;
    let fields = [("name", "Eve"), ("theme", "dark")];
    let keyless = ada.send(ada.request("POST", "/account/profile").form(&fields)).await;
    assert_eq!(keyless.status, 403);
    for (header, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let foreign =
            ada.send(ada.request("POST", "/account/profile").header(header, value).form(&fields)).await;
        assert_eq!(foreign.status, 403, "{header}");
    }
    assert!(ada.get("/account/profile").await.body.contains("Ada Lovelace"));
    assert_eq!(ada.post("/account/profile", &fields).await.status, 303);
    assert!(ada.get("/account/profile").await.body.contains("data-theme=\"dark\""));
}

/// The event stream never ends by itself, so it stands apart from the matrix.
#[tokio::test(flavor = "multi_thread")]
async fn row_2_the_event_stream_of_a_workspace_is_for_its_members() {
    let (server, ada) = Server::ready().await;
    person(&server.app().web.control, "stranger");
    let stranger = signed_in(&server, "stranger").await;
    assert_eq!(stranger.get("/w/halden-energy/live").await.status, 404);
    assert!(server.client().get("/w/halden-energy/live").await.location().starts_with("/sign-in"));
    let stream = ada.request("GET", "/w/halden-energy/live").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
}

/// Row 12: fields that a form does not have are refused, not ignored.
#[tokio::test(flavor = "multi_thread")]
async fn row_12_unknown_fields_are_refused() {
    let (_server, ada) = Server::ready().await;
    let answer =
        ada.post("/account/profile", &[("name", "A"), ("theme", "dark"), ("operator", "true")]).await;
    assert_eq!(answer.status, 422);
}

/// Row 48: a page of another host name that resolves to this machine reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn row_48_requests_for_another_host_find_nothing() {
    let (_server, ada) = Server::ready().await;
    let answer = ada.send(ada.request("GET", "/workspaces").header("host", "rebind.example")).await;
    assert_eq!(answer.status, 404);
}
