//! The operator's pages: what they tell of workspaces and accounts, what they never tell, and what ends when an operator acts.

use vynos::identity::Role;
use vynos::ids::AccountId;
use vynos::sim::salesforce::Consent;

use crate::access::{person, signed_in};
use crate::chat_pages::talking;
use crate::harness::{Client, Server};
use crate::members::{joined, workspace};
use crate::orgs::rig;

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
    let pages: Vec<&str> = vynos::features::ROUTES
        .iter()
        .filter(|route| {
            route.method == "GET" && route.path.starts_with("/admin") && !route.path.contains('{')
        })
        .map(|route| route.path)
        .collect();
    assert!(pages.len() > 6);
    let account = format!("/admin/accounts/{}", account(&rig.server, "ada"));
    for page in pages.into_iter().chain([account.as_str()]) {
        let answer = rig.ada.get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        for word in words.iter().chain(&["Production", "OpportunityTriggerHandler"]) {
            assert!(!answer.body.contains(word), "{page} tells {word}");
        }
    }
}

/// Every act that would send, sync, read in or analyse, as a page posts it.
async fn acts(ada: &Client) -> Vec<(&'static str, u16)> {
    let mut seen = Vec::new();
    for (path, fields) in [
        ("/w/halden-energy/o/production/sync", &[][..]),
        ("/w/halden-energy/chat", &[("text", "How many flows are there?")]),
        (
            "/w/halden-energy/orgs/connect/auth-url",
            &[("name", "B"), ("auth_url", "force://a:b:c@d.my.salesforce.com")],
        ),
    ] {
        seen.push((path, ada.post(path, fields).await.status));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn while_processing_is_restricted_nothing_is_sent_and_everything_stays() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let id = workspace(&rig.server);
    let max = joined(&rig.server, "max", Role::Owner);
    assert_eq!(
        rig.ada.post("/w/halden-energy/privacy/restrict", &[("restricted", "true")]).await.status,
        303
    );
    let calls = rig.sim.calls();
    for (path, status) in acts(&rig.ada).await {
        assert_eq!(status, 409, "{path}");
    }
    let fields = [("name", "ci"), ("days", "30"), ("scope", "change"), ("scope", "chat"), ("scope", "read")];
    let made = rig.ada.post("/w/halden-energy/tokens", &fields).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    let bare = rig.server.client();
    let call = |method: &'static str, path: String| bare.request(method, &path).bearer_auth(&token);
    let orgs = bare.send(call("GET", "/api/v1/orgs".into())).await;
    let org = serde_json::from_str::<serde_json::Value>(&orgs.body).unwrap();
    let org = org["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{}", orgs.body)).to_owned();
    let refused = bare.send(call("POST", format!("/api/v1/orgs/{org}/sync"))).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let upload = bare.send(call("POST", "/api/v1/documents?name=a.md".into()).body("# a")).await;
    assert!(upload.status >= 400, "{}", upload.body);
    assert_eq!(rig.sim.calls(), calls);
    // Everything stays readable, and every page says why nothing moves.
    let page = rig.ada.get("/w/halden-energy/o/production/metadata").await;
    assert!(page.status == 200 && page.body.contains("Processing is restricted."));
    let other = signed_in(&rig.server, "max").await;
    assert!(
        other
            .get("/w/halden-energy/notifications")
            .await
            .body
            .contains("Processing in Halden Energy is restricted")
    );
    // The operator lifts it.
    let lifted = rig.ada.post(&format!("/admin/workspaces/{id}/restrict"), &[("restricted", "false")]).await;
    assert_eq!(lifted.status, 303);
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    rig.synced().await;
    assert!(rig.sim.calls() > calls);
    let log = rig.ada.get("/w/halden-energy/audit?of=members").await;
    assert!(log.body.contains("workspace.restricted") && log.body.contains("workspace.unrestricted"));
    let _ = max;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waited_when_processing_was_restricted_sends_nothing() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let web = rig.server.app().web.clone();
    let ws = web.door.for_runner(workspace(&rig.server)).unwrap();
    let id = workspace(&rig.server);
    let calls = rig.sim.calls();
    let note = vynos::identity::control::Note::new(
        vynos::store::audit::Actor::Operator,
        vynos::store::audit::Action::WorkspaceRestricted,
        id,
    );
    web.control.change_now(note, |tx| vynos::identity::Control::set_restricted(tx, id, true)).unwrap();
    let worker =
        web.door.for_job(id, vynos::ids::JobId::new(&web.clock, &vynos::clock::Random::system()), None);
    let worker = worker.unwrap().unwrap();
    assert!(worker.is_restricted());
    drop(ws);
    assert_eq!(rig.sim.calls(), calls);
}
