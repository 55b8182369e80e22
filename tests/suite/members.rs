//! Who belongs to a workspace: what ends when a membership does.

use std::time::{Duration, Instant};

use vynos::identity::control::Note;
use vynos::identity::{IdentityError, Role};
use vynos::ids::{AccountId, WorkspaceId};
use vynos::store::audit::{Action, Actor};

use crate::access::{person, signed_in};
use crate::chat_pages::{CHAT, talking};
use crate::harness::{Client, Server};

pub fn workspace(server: &Server) -> WorkspaceId {
    server.app().web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0
}

/// A new account that belongs to Halden Energy.
pub fn joined(server: &Server, name: &str, role: Role) -> AccountId {
    let control = &server.app().web.control;
    let (id, workspace) = (person(control, name), workspace(server));
    let note = Note::new(Actor::Operator, Action::AccountChanged, id);
    control.change_now(note, |tx| control.put_member(tx, workspace, id, role)).unwrap();
    id
}

pub fn remove(server: &Server, account: AccountId) {
    let (control, workspace) = (&server.app().web.control, workspace(server));
    let note = Note::new(Actor::Operator, Action::MemberRemoved, account);
    control.change_now(note, |tx| control.remove_member(tx, workspace, account)).unwrap();
}

/// An open answer, once its first bytes are there.
async fn open(client: &Client, request: reqwest::RequestBuilder) -> reqwest::Response {
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", client.base);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert!(answer.chunk().await.unwrap().is_some());
    answer
}

/// Reads to the end; how long that took.
async fn ends(mut answer: reqwest::Response) -> Duration {
    let begun = Instant::now();
    let all = async { while answer.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("the stream went on");
    begun.elapsed()
}

// security-cases rows 9 and 34
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_members_streams_end_within_a_second_and_their_token_is_refused() {
    let (rig, sim) = talking().await;
    let max = joined(&rig.server, "max", Role::Member);
    let client = signed_in(&rig.server, "max").await;
    let fields = [("name", "ci"), ("days", "30"), ("scope", "read"), ("scope", "chat")];
    let made = client.post("/w/halden-energy/tokens", &fields).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    // A turn that goes on for as long as the model says nothing.
    let posted =
        client.post(CHAT, &[("text", "[[fake:long 400]] [[fake:slow 100]]"), ("org", "production")]).await;
    let chat = posted.location().split('#').next().unwrap().to_owned();
    let page = client.get(&chat).await;
    let events = page.between("data-events=\"", "\"").expect("the page names its stream");
    let pieces: Vec<&str> = events.split('/').collect();
    let rest = format!("/api/v1/conversations/{}/turns/{}/events", pieces[4], pieces[6]);
    let api = rig.server.client();
    let asked =
        |client: &Client, path: &str| client.request("GET", path).header("accept", "text/event-stream");
    let (live, told, answers) = tokio::join!(
        open(&client, asked(&client, "/w/halden-energy/live")),
        open(&client, asked(&client, &events)),
        open(&api, asked(&api, &rest).bearer_auth(&token)),
    );
    remove(&rig.server, max);
    let (live, told, answers) = tokio::join!(ends(live), ends(told), ends(answers));
    for took in [live, told, answers] {
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let answer = api.send(api.request("GET", "/api/v1/me").bearer_auth(&token)).await;
    assert_eq!(answer.status, 401);
    assert_eq!(client.get("/w/halden-energy/orgs").await.status, 404);
    assert_eq!(client.get("/workspaces").await.status, 200, "the session itself goes on");
    sim.stop().await;
}

// security-cases row 34
#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_members_stream_ends_and_their_token_is_refused_for_good() {
    let (server, _ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Admin);
    let client = signed_in(&server, "max").await;
    let fields = [("name", "ci"), ("days", "30"), ("scope", "read")];
    let made = client.post("/w/halden-energy/tokens", &fields).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    let live = open(&client, client.request("GET", "/w/halden-energy/live")).await;
    let (control, workspace) = (&server.app().web.control, workspace(&server));
    let to = |role| {
        let note = Note::new(Actor::Operator, Action::MemberRoleChanged, max);
        control.change_now(note, |tx| control.change_role(tx, workspace, max, role)).unwrap()
    };
    assert_eq!(to(Role::Viewer), Role::Admin);
    assert!(ends(live).await < Duration::from_secs(1));
    to(Role::Admin);
    let api = server.client();
    let answer = api.send(api.request("GET", "/api/v1/me").bearer_auth(&token)).await;
    assert_eq!(answer.status, 401, "the token does not come back with the role");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_owner_is_neither_removed_nor_lowered() {
    let (server, _ada) = Server::ready().await;
    let (control, workspace) = (&server.app().web.control, workspace(&server));
    let ada = control.members_of(workspace).unwrap()[0].0;
    let note = || Note::new(Actor::Operator, Action::MemberRemoved, ada);
    let gone = control.change_now(note(), |tx| control.remove_member(tx, workspace, ada));
    assert!(matches!(gone, Err(IdentityError::LastOwner)), "{gone:?}");
    let low = control.change_now(note(), |tx| control.change_role(tx, workspace, ada, Role::Admin));
    assert!(matches!(low, Err(IdentityError::LastOwner)), "{low:?}");
    joined(&server, "max", Role::Owner);
    control.change_now(note(), |tx| control.change_role(tx, workspace, ada, Role::Admin)).unwrap();
    assert_eq!(control.role_in(ada, workspace).unwrap(), Some(Role::Admin));
}
