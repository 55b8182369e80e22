//! Who belongs to a workspace: what ends when a membership does.

use std::time::{Duration, Instant};

use vynos::chat::records::{MESSAGES, State, TURNS};
use vynos::identity::control::Note;
use vynos::identity::{IdentityError, Role};
use vynos::ids::{AccountId, WorkspaceId};
use vynos::jobs::{JOBS, JobState};
use vynos::orgs::SYNC;
use vynos::store::Read as _;
use vynos::store::audit::{Action, Actor};

use crate::access::{person, signed_in};
use crate::chat_pages::{CHAT, talking};
use crate::harness::{Answer, Client, PASSWORD, Server};

const MEMBERS: &str = "/w/halden-energy/members";

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
pub async fn open(client: &Client, request: reqwest::RequestBuilder) -> reqwest::Response {
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", client.base);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert!(answer.chunk().await.unwrap().is_some());
    answer
}

/// Reads to the end; how long that took.
pub async fn ends(mut answer: reqwest::Response) -> Duration {
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

/// Invites an address; the path of the link that is shown once.
pub async fn invited(by: &Client, email: &str, role: &str) -> String {
    let shown = by.post(MEMBERS, &[("email", email), ("role", role)]).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    path_of(&shown)
}

fn path_of(shown: &Answer) -> String {
    let link = shown.between("<code id=\"link-1\">", "</code>").expect("a link is shown");
    format!("/invite/{}", link.split_once("/invite/").unwrap().1)
}

const NEW: [(&str, &str); 2] = [("name", "Max Born"), ("password", PASSWORD)];

/// Joins with a new account, as somebody who followed the link.
async fn join_as_new(client: &Client, link: &str) -> Answer {
    client.send(client.request("POST", link).form(&NEW)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_looked_at_as_often_as_one_likes_and_joined_once() {
    let (server, ada) = Server::ready().await;
    let link = invited(&ada, "Max@halden.example", "member").await;
    assert!(!ada.get(MEMBERS).await.body.contains(&link), "the link is shown once");
    let max = server.client();
    for _ in 0..3 {
        let page = max.get(&link).await;
        assert_eq!(page.status, 200);
        for text in ["Halden Energy", "Ada Lovelace", "as member", "30 November 2026"] {
            assert!(page.body.contains(text), "{text}");
        }
    }
    let weak = [("name", "Max Born"), ("password", "short")];
    assert_eq!(max.send(max.request("POST", &link).form(&weak)).await.status, 422);
    let joined = join_as_new(&max, &link).await;
    assert_eq!((joined.status, joined.location()), (303, "/w/halden-energy/"), "{}", joined.body);
    assert_eq!(max.get("/w/halden-energy/chat").await.status, 200, "a member may chat");
    assert_eq!(max.get(MEMBERS).await.status, 403);
    assert!(ada.get(MEMBERS).await.body.contains("Max Born"));
    let again = join_as_new(&server.client(), &link).await;
    assert_eq!(again.status, 404);
    // The address of the account is the invitation's, whatever else is sent.
    let other = server.client();
    let link = invited(&ada, "eve@halden.example", "viewer").await;
    let mut fields = NEW.to_vec();
    fields.push(("email", "ada@halden.example"));
    assert_eq!(other.send(other.request("POST", &link).form(&fields)).await.status, 422);
}

// security-cases row 40
#[tokio::test(flavor = "multi_thread")]
async fn wrong_used_replaced_withdrawn_and_ended_links_answer_alike() {
    let (server, ada) = Server::ready().await;
    let wrong = format!("/invite/{}", "A".repeat(43));
    let used = invited(&ada, "a@halden.example", "viewer").await;
    assert_eq!(join_as_new(&server.client(), &used).await.status, 303);
    let replaced = invited(&ada, "b@halden.example", "viewer").await;
    let control = &server.app().web.control;
    let row = |email: &str| {
        let rows = control.invitations_of(workspace(&server)).unwrap();
        rows.into_iter().find(|(_, row)| row.email.as_str() == email).unwrap().0
    };
    let id = row("b@halden.example").to_string();
    let again = [("again", id.as_str())];
    assert_eq!(ada.post(MEMBERS, &again).await.status, 429, "not twice in a minute");
    server.clock.advance(jiff::SignedDuration::from_secs(61));
    let fresh = path_of(&ada.post(MEMBERS, &again).await);
    assert_eq!(server.client().get(&fresh).await.status, 200);
    let withdrawn = invited(&ada, "c@halden.example", "viewer").await;
    let path = format!("{MEMBERS}/invitations/{}/withdraw", row("c@halden.example"));
    assert_eq!(ada.post(&path, &[]).await.status, 303);
    let ended = fresh;
    let mut bodies = Vec::new();
    for link in [&wrong, &used, &replaced, &withdrawn] {
        let answer = server.client().get(link).await;
        assert_eq!(answer.status, 404);
        bodies.push(answer.body);
    }
    server.clock.advance(jiff::SignedDuration::from_hours(7 * 24));
    let answer = server.client().get(&ended).await;
    assert_eq!(answer.status, 404);
    bodies.push(answer.body);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    // Guessing is slowed down.
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(server.client().get(&wrong).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_for_its_address_whoever_is_signed_in() {
    let (server, ada) = Server::ready().await;
    let (max, eve) = (person(&server.app().web.control, "max"), person(&server.app().web.control, "eve"));
    let link = invited(&ada, "MAX@halden.example", "admin").await;
    let client = signed_in(&server, "eve").await;
    let page = client.get(&link).await;
    assert!(page.body.contains("Sign out and use the other account"), "{}", page.body);
    let tried = client.post(&format!("{link}/join"), &[]).await;
    assert_eq!((tried.status, tried.location()), (303, link.as_str()));
    let control = &server.app().web.control;
    assert_eq!(control.role_in(eve, workspace(&server)).unwrap(), None);
    let switched = client.post(&format!("{link}/switch"), &[]).await;
    assert_eq!((switched.status, switched.location()), (303, link.as_str()));
    let page = client.get(&link).await;
    assert!(page.body.contains(&format!("/sign-in?next={link}")), "{}", page.body);
    let known = join_as_new(&client, &link).await;
    assert!(known.status == 422 && known.body.contains("Sign in to join"), "{}", known.body);
    let fields = [("email", "max@halden.example"), ("password", PASSWORD), ("next", link.as_str())];
    let back = client.send(client.request("POST", "/sign-in").form(&fields)).await;
    assert_eq!((back.status, back.location()), (303, link.as_str()));
    client.forget_csrf();
    assert_eq!(client.post(&format!("{link}/join"), &[]).await.location(), "/w/halden-energy/");
    assert_eq!(control.role_in(max, workspace(&server)).unwrap(), Some(Role::Admin));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_use_the_same_link_at_once_make_one_membership() {
    let (server, ada) = Server::ready().await;
    let link = invited(&ada, "max@halden.example", "member").await;
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (client, link) = (server.client(), link.clone());
            tokio::spawn(async move { join_as_new(&client, &link).await.status })
        })
        .collect();
    let mut joined = 0;
    for status in futures_util::future::join_all(tries).await {
        joined += u32::from(status.unwrap() == 303);
    }
    assert_eq!(joined, 1);
    let control = &server.app().web.control;
    assert_eq!(control.members_of(workspace(&server)).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_list_is_answered_address_by_address_and_bad_ones_stay_in_the_field() {
    let (server, ada) = Server::ready().await;
    joined(&server, "max", Role::Viewer);
    invited(&ada, "lise@halden.example", "viewer").await;
    let list =
        "new@halden.example, MAX@halden.example; lise@halden.example\nnobody@, Otto H <otto@halden.example>";
    let shown = ada.post(MEMBERS, &[("email", list), ("role", "viewer")]).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.all_between("<code id=\"link-", "<").len(), 2);
    for text in ["nobody@ is no e-mail address", "is a member already", "is invited already"] {
        assert!(shown.body.contains(text), "{text}");
    }
    let field =
        shown.between("placeholder=\"One or more, with commas or in lines\" aria-invalid=\"true\">", "<");
    assert_eq!(field.unwrap(), "nobody@, MAX@halden.example, lise@halden.example");
    let many = (0..101).map(|n| format!("p{n}@halden.example")).collect::<Vec<_>>().join(" ");
    let refused = ada.post(MEMBERS, &[("email", &many), ("role", "viewer")]).await;
    assert!(refused.status == 422 && refused.body.contains("100 at once"), "{}", refused.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_neither_makes_nor_changes_owners_and_invites_none() {
    let (server, _ada) = Server::ready().await;
    let (_, max) = (joined(&server, "admin", Role::Admin), joined(&server, "max", Role::Member));
    let admin = signed_in(&server, "admin").await;
    let owner = server.app().web.control.people_of(workspace(&server)).unwrap();
    let ada = owner.iter().find(|(_, _, role)| *role == Role::Owner).unwrap().0;
    let invite = [("email", "new@halden.example"), ("role", "owner")];
    assert_eq!(admin.post(MEMBERS, &invite).await.status, 403);
    let roles = format!("{MEMBERS}/roles");
    for (name, value) in [
        (format!("role-{ada}-owner"), "viewer"),
        (format!("role-{max}-member"), "owner"),
        (format!("role-{ada}-viewer"), "member"),
    ] {
        assert_eq!(admin.post(&roles, &[(name.as_str(), value)]).await.status, 403, "{name}");
    }
    assert_eq!(admin.get(&format!("{MEMBERS}/{ada}/remove")).await.status, 403);
    assert_eq!(admin.post(&format!("{MEMBERS}/{ada}/remove"), &[]).await.status, 403);
    let name = format!("role-{max}-member");
    assert_eq!(admin.post(&roles, &[(name.as_str(), "admin")]).await.status, 303);
    let stale = admin.post(&roles, &[(name.as_str(), "viewer")]).await;
    assert!(stale.status == 409 && stale.body.contains("meanwhile"), "what was not seen is not changed");
    assert_eq!(server.app().web.control.role_in(max, workspace(&server)).unwrap(), Some(Role::Admin));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_who_lower_each_other_at_once_leave_one() {
    let (server, ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Owner);
    let control = &server.app().web.control;
    let people = control.people_of(workspace(&server)).unwrap();
    let ada_id = people.iter().find(|(id, ..)| *id != max).unwrap().0;
    let client = signed_in(&server, "max").await;
    // Both have a page of their session, so that both posts are sent at once.
    tokio::join!(ada.get(MEMBERS), client.get(MEMBERS));
    let roles = format!("{MEMBERS}/roles");
    for _ in 0..6 {
        let (mine, theirs) = (format!("role-{max}-owner"), format!("role-{ada_id}-owner"));
        let mine = [(mine.as_str(), "admin")];
        let theirs = [(theirs.as_str(), "admin")];
        let (a, b) = tokio::join!(ada.post(&roles, &mine), client.post(&roles, &theirs));
        let owners: Vec<AccountId> = control
            .members_of(workspace(&server))
            .unwrap()
            .into_iter()
            .filter_map(|(id, role)| (role == Role::Owner).then_some(id))
            .collect();
        assert_eq!(owners.len(), 1, "{} {}", a.status, b.status);
        let back = if owners[0] == max { ada_id } else { max };
        let note = Note::new(Actor::Operator, Action::MemberRoleChanged, back);
        control
            .change_now(note, |tx| control.change_role(tx, workspace(&server), back, Role::Owner))
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_can_not_come_back_by_an_invitation_that_they_sent() {
    let (server, ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Admin);
    let client = signed_in(&server, "max").await;
    let kept = invited(&client, "max.private@halden.example", "admin").await;
    let removed = ada.post(&format!("{MEMBERS}/{max}/remove"), &[]).await;
    assert_eq!(removed.status, 303);
    assert_eq!(server.client().get(&kept).await.status, 404);
    assert_eq!(client.get("/w/halden-energy/orgs").await.status, 404);
    let rows = server.app().web.control.read().unwrap();
    let acts = vynos::store::Read::scan(&rows, &vynos::store::audit::AUDIT).rows().unwrap();
    let line = acts.iter().find(|(_, line)| line.action == Action::MemberRemoved).unwrap();
    assert_eq!(line.1.workspace, Some(workspace(&server)));
    assert_eq!(line.1.target, max.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_is_handed_over_and_then_one_may_leave() {
    let (server, ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Member);
    assert!(ada.get("/w/halden-energy/leave").await.body.contains("You are its last owner"));
    assert_eq!(ada.post("/w/halden-energy/leave", &[]).await.status, 409);
    assert!(ada.get("/w/halden-energy/transfer").await.body.contains("max@halden.example"));
    assert_eq!(ada.post("/w/halden-energy/transfer", &[("to", "nobody")]).await.status, 422);
    assert_eq!(ada.post("/w/halden-energy/transfer", &[("to", &max.to_string())]).await.status, 303);
    let control = &server.app().web.control;
    assert_eq!(control.role_in(max, workspace(&server)).unwrap(), Some(Role::Owner));
    assert_eq!(ada.get("/w/halden-energy/transfer").await.status, 403, "an admin now");
    assert_eq!(ada.post("/w/halden-energy/leave", &[]).await.location(), "/workspaces?done=left");
    assert!(ada.get("/workspaces").await.body.contains("You are in no workspace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_workspace_leaves_its_address_to_nobody() {
    let (server, ada) = Server::ready().await;
    let renamed = ada.post("/w/halden-energy/settings", &[("name", "Nordlys")]).await;
    assert_eq!(renamed.location(), "/w/nordlys/settings?done=saved");
    assert_eq!(ada.get("/w/nordlys/settings").await.status, 200);
    assert_eq!(ada.get("/w/halden-energy/settings").await.status, 404, "the old address leads nowhere");
    let made = ada.post("/workspaces/new", &[("name", "Halden Energy")]).await;
    assert_eq!(made.location(), "/w/halden-energy-2/");
    assert_eq!(ada.get("/w/halden-energy/settings").await.status, 404);
    let list = ada.get("/workspaces").await;
    assert!(list.body.contains("Nordlys") && list.body.contains("/w/halden-energy-2/"), "{}", list.body);
    joined_to_nothing_creates_nothing(&server).await;
}

async fn joined_to_nothing_creates_nothing(server: &Server) {
    person(&server.app().web.control, "max");
    let max = signed_in(server, "max").await;
    assert!(max.get("/workspaces/new").await.body.contains("only operators create workspaces"));
    assert_eq!(max.post("/workspaces/new", &[("name", "Mine")]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_members_running_turn_and_sync_end_within_a_second() {
    let (rig, sim) = talking().await;
    let max = joined(&rig.server, "max", Role::Member);
    let client = signed_in(&rig.server, "max").await;
    let ask = [("text", "[[fake:long 400]] [[fake:slow 100]]"), ("org", "production")];
    assert_eq!(client.post(CHAT, &ask).await.status, 303);
    rig.sim.misbehave(|faults| faults.slow_retrieve = 1_000);
    assert_eq!(client.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    let board = rig.server.app().runner.board().clone();
    let running = || board.all().iter().filter(|job| job.running).count();
    until(|| running() == 2 && sim.calls() > 0).await;
    remove(&rig.server, max);
    let begun = Instant::now();
    until(|| running() == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // What came is kept and said to be stopped; nothing waits for a turn that nobody writes.
    let ws = rig.server.app().web.door.for_runner(workspace(&rig.server)).unwrap();
    let read = ws.read().unwrap();
    let (_, turn) = read.scan(&TURNS).rows().unwrap().into_iter().next().unwrap();
    let answer = read.get(&MESSAGES, &(turn.conversation, turn.answer)).unwrap().unwrap();
    assert!(!turn.running && answer.state == State::Stopped, "{answer:?}");
    let syncs = read.scan(&JOBS).rows().unwrap().into_iter().filter(|(_, job)| job.asked_by == Some(max));
    let ended: Vec<_> = syncs.filter(|(_, job)| job.kind == SYNC).map(|(_, job)| job.state).collect();
    assert_eq!(ended, [JobState::Cancelled]);
    // A viewer asks for nothing, so what a lowered member asked for ends too.
    rig.sim.misbehave(|faults| faults.slow_retrieve = 0);
    let lise = joined(&rig.server, "lise", Role::Member);
    let client = signed_in(&rig.server, "lise").await;
    assert_eq!(client.post(CHAT, &ask).await.status, 303);
    until(|| running() == 1).await;
    let (control, workspace) = (&rig.server.app().web.control, workspace(&rig.server));
    let note = Note::new(Actor::Operator, Action::MemberRoleChanged, lise);
    control.change_now(note, |tx| control.change_role(tx, workspace, lise, Role::Viewer)).unwrap();
    until(|| running() == 0).await;
    sim.stop().await;
}

/// Waits until it is so.
async fn until(so: impl Fn() -> bool) {
    for _ in 0..1_500 {
        if so() {
            return;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("it never was so");
}
