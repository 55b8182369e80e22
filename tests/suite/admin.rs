//! The operator's pages: what they tell of workspaces and accounts, what they never tell, and what ends when an operator acts.

use vynos::identity::Role;
use vynos::ids::AccountId;
use vynos::store::Read as _;
use vynos::store::audit::{AUDIT, Action};

use crate::access::{person, signed_in};
use crate::chat_pages::talking;
use crate::harness::{PASSWORD, Server};
use crate::knowledge::{says, upload};
use crate::members::{invited, joined, workspace};

fn account(server: &Server, name: &str) -> AccountId {
    let address = format!("{name}@halden.example").parse().unwrap();
    server.app().web.control.account_by_address(&address).unwrap().unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_account_is_out_at_once_and_back_when_resumed() {
    let (server, ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Member);
    let client = signed_in(&server, "max").await;
    assert_eq!(client.get("/w/halden-energy/knowledge").await.status, 200);
    let page = ada.get("/admin/accounts?q=MAX").await;
    assert!(page.body.contains("max@halden.example") && !page.body.contains("ada@halden.example</small>"));
    let act = format!("/admin/accounts/{max}/act");
    assert_eq!(ada.post(&act, &[("act", "suspend")]).await.status, 303);
    assert_eq!(client.get("/w/halden-energy/knowledge").await.status, 303);
    assert!(ada.get(&format!("/admin/accounts/{max}")).await.body.contains("Resume account"));
    // A link would open nothing.
    assert_eq!(ada.post(&format!("/admin/accounts/{max}/reset"), &[]).await.status, 409);
    assert_eq!(ada.post(&act, &[("act", "resume")]).await.status, 303);
    signed_in(&server, "max").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_sessions_and_hands_over_a_link_that_is_told_of() {
    let (server, ada) = Server::ready().await;
    let max = joined(&server, "max", Role::Member);
    let client = signed_in(&server, "max").await;
    assert_eq!(ada.post(&format!("/admin/accounts/{max}/end-sessions"), &[]).await.status, 303);
    assert_eq!(client.get("/account/profile").await.status, 303);
    let made = ada.post(&format!("/admin/accounts/{max}/reset"), &[("drop_second_factor", "true")]).await;
    let link = made.between("id=\"reset-link\">", "</code>").unwrap();
    assert_eq!(made.headers["cache-control"], "no-store");
    assert!(!ada.get(&format!("/admin/accounts/{max}")).await.body.contains("reset-link"));
    let path = link.strip_prefix(&server.base).unwrap();
    let fields = [("password", "a long new garden gate"), ("again", "a long new garden gate")];
    let fresh = server.client();
    let form = fresh.get(path).await;
    assert_eq!(form.status, 200);
    let fields: Vec<_> =
        fields.into_iter().filter(|(name, _)| form.body.contains(&format!("name=\"{name}\""))).collect();
    assert_eq!(fresh.send(fresh.request("POST", path).form(&fields)).await.status, 303);
    let back = server.client();
    assert_eq!(back.sign_in("max@halden.example", "a long new garden gate").await.status, 303);
    let inbox = back.get("/w/halden-energy/notifications").await;
    assert!(inbox.body.contains("removed your second factors"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_who_demote_each_other_at_once_leave_one() {
    let (server, ada) = Server::ready().await;
    let max = person(&server.app().web.control, "max");
    let ada_id = account(&server, "ada");
    let act = |id: AccountId| format!("/admin/accounts/{id}/act");
    let alone = ada.post(&act(ada_id), &[("act", "unmake_operator")]).await;
    assert_eq!(alone.status, 409, "{}", alone.body);
    for _ in 0..5 {
        assert_eq!(ada.post(&act(max), &[("act", "make_operator")]).await.status, 303);
        let other = signed_in(&server, "max").await;
        other.get("/admin/accounts").await;
        let (to_max, to_ada) = (act(max), act(ada_id));
        let fields = [("act", "unmake_operator")];
        let (a, b) = tokio::join!(ada.post(&to_max, &fields), other.post(&to_ada, &fields));
        let done = [a.status, b.status].into_iter().filter(|status| *status == 303).count();
        assert_eq!(done, 1, "{} {}", a.status, b.status);
        if b.status == 303 {
            assert_eq!(other.post(&to_ada, &[("act", "make_operator")]).await.status, 303);
            assert_eq!(ada.post(&to_max, &fields).await.status, 303);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_the_operator_tells_contents() {
    let (rig, _sim) = talking().await;
    let words = ["canarychat turnstile", "canarydocument"];
    let asked = rig.ada.post("/w/halden-energy/chat", &[("text", words[0])]).await;
    assert_eq!(asked.status, 303, "{}", asked.body);
    upload(&rig.ada, &[("canarydocument.md", b"# canarytext")]).await;
    says(&rig.ada, "canarydocument").await;
    let pages: Vec<&str> = vynos::features::ROUTES
        .iter()
        .filter(|route| {
            route.method == "GET" && route.path.starts_with("/admin") && !route.path.contains('{')
        })
        .map(|route| route.path)
        .collect();
    assert!(pages.len() > 6);
    let account = format!("/admin/accounts/{}", account(&rig.server, "ada"));
    let quota = format!("/admin/workspaces/{}/quota", workspace(&rig.server));
    for page in pages.into_iter().chain([account.as_str(), &quota]) {
        let answer = rig.ada.get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        for word in words.iter().chain(&["Production", "OpportunityTriggerHandler"]) {
            assert!(!answer.body.contains(word), "{page} tells {word}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_given_limits_of_its_own_that_hold_where_those_of_the_instance_did() {
    let (server, ada) = Server::ready().await;
    let id = workspace(&server);
    let path = format!("/admin/workspaces/{id}/quota");
    assert!(ada.get(&path).await.body.contains("The limits of the instance hold."));
    let wrong = ada.post(&path, &[("gigabytes", "0"), ("documents", "x"), ("members", "2")]).await;
    assert!(wrong.status == 422 && wrong.body.contains("Enter a whole number from 1 to 100000."));
    assert!(wrong.body.contains("href=\"#documents\"") && !wrong.body.contains("href=\"#members\""));
    let own = [("gigabytes", "2"), ("documents", "1"), ("members", "1")];
    assert_eq!(ada.post(&path, &own).await.status, 303);
    let settings = ada.get("/w/halden-energy/settings").await.body;
    assert!(settings.contains("Set by the operator for this workspace"), "{settings}");
    assert!(settings.contains("1 of at most 1") && settings.contains("At most 1, together at most 2 GB"));
    // One document, and no second one.
    upload(&ada, &[("first.md", b"# first")]).await;
    let second = upload(&ada, &[("second.md", b"# second")]).await;
    assert!(second.body.contains("This workspace may have 1 documents"), "{}", second.body);
    // Nobody else joins; the invitation is not used up, and works once there is room.
    let link = invited(&ada, "max@halden.example", "member").await;
    let max = server.client();
    let join = [("name", "Max Born"), ("password", PASSWORD)];
    let full = max.send(max.request("POST", &link).form(&join)).await;
    assert!(full.status == 422 && full.body.contains("as many members as it may have"), "{}", full.body);
    assert_eq!(ada.post(&path, &[("act", "instance"), own[0], own[1], own[2]]).await.status, 303);
    assert_eq!(max.send(max.request("POST", &link).form(&join)).await.status, 303);
    let settings = ada.get("/w/halden-energy/settings").await.body;
    assert!(settings.contains("The same for every workspace") && settings.contains("2 of at most 500"));
    let audited = server.app().web.control.read().unwrap().scan(&AUDIT).rows().unwrap();
    let lines = audited.iter().filter(|(_, line)| line.action == Action::WorkspaceQuotaChanged);
    assert!(lines.clone().count() == 2 && lines.clone().all(|(_, line)| line.workspace == Some(id)));
    assert_eq!(ada.get("/admin/workspaces/01m8502e5c5z16kwvzypsnvxp3/quota").await.status, 404);
}
