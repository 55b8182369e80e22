//! Connecting an org, syncing it, browsing it: against the simulated org over real HTTP, and each way it can
//! go wrong.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use vynos::app::{App, Options};
use vynos::clock::{Clock, Random};
use vynos::ids::JobId;
use vynos::seal::MasterKey;
use vynos::sim::salesforce::{self, CLIENT_ID, CLIENT_SECRET, Consent, SimulatedOrg};
use vynos::store::Read as _;

use crate::harness::{Client, Server, options};

pub struct Rig {
    pub server: Server,
    pub ada: Client,
    pub sim: SimulatedOrg,
}

/// An instance that may call a simulated org; nobody has set it up.
pub async fn fresh(consent: Consent) -> (Server, SimulatedOrg) {
    let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
    let wanted = salesforce::Options { consent, clock: clock.clone(), ..salesforce::Options::default() };
    let sim = salesforce::start(wanted).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let with = Options { extra_salesforce: vec![sim.url().clone()], ..options(dir.path(), clock.clone()) };
    let app = App::start(with).await.unwrap();
    let setup_code = app.setup_code.as_ref().unwrap().expose().to_owned();
    let base = app.url.as_str().trim_end_matches('/').to_owned();
    (Server { app: Some(app), clock, dir, base, setup_code }, sim)
}

/// The same, set up by Ada.
pub async fn rig(consent: Consent) -> Rig {
    let (server, sim) = fresh(consent).await;
    let ada = server.set_up().await;
    Rig { server, ada, sim }
}

fn form(login: &str) -> [(&str, &str); 4] {
    [("name", "Production"), ("login", login), ("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)]
}

impl Rig {
    /// The link that leaves for Salesforce.
    pub async fn begin(&self) -> String {
        let page = self.ada.post("/w/halden-energy/orgs/connect", &form(self.sim.url().as_str())).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page.between("id=\"go\" rel=\"noreferrer\" href=\"", "\"")
            .unwrap()
            .replace("&amp;", "&")
            .replace("&#38;", "&")
    }

    /// Follows a link to Salesforce and back; answers the path of our callback with what it carries.
    pub async fn consent(&self, go: &str) -> String {
        let abroad = Client::new(String::new());
        let answer = abroad.send(abroad.request("GET", go)).await;
        answer.location().strip_prefix(&self.server.base).unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    pub async fn connect(&self) {
        let back = self.consent(&self.begin().await).await;
        let connected = self.ada.get(&back).await;
        assert_eq!(connected.location(), "/w/halden-energy/o/production", "{}", connected.body);
    }

    /// Loads the org's page until its sync has ended, moving the clock for retries.
    pub async fn synced(&self) -> String {
        for _ in 0..600 {
            let page = self.ada.get("/w/halden-energy/o/production").await;
            if page.status == 200
                && !page.body.contains("id=\"progress\"")
                && !page.body.contains("sync begins in a moment")
            {
                return page.body;
            }
            tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
        }
        panic!("the sync never ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_org_is_connected_synced_and_browsed() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    let page = rig.synced().await;
    assert!(page.contains("synced 23 November 2026") && page.contains("Data Storage MB"), "{page}");
    assert!(page.contains("<span>86 % used</span>"), "the full limit stands out");
    let limits = rig.ada.get("/w/halden-energy/o/production/limits").await.body;
    assert!(limits.contains("<span class=\"badge bad\">86 %</span>"), "{limits}");
    let calls = rig.sim.calls();
    assert!(calls < 20, "{calls} API calls for one sync");
    assert!(page.contains("API calls"));
    let list =
        rig.ada.get("/w/halden-energy/o/production/metadata?q=opportunitytrigger&type=ApexClass").await;
    assert!(
        list.body.contains("OpportunityTriggerHandler") && list.body.contains(" results"),
        "{}",
        list.body
    );
    let by_field = rig.ada.get("/w/halden-energy/o/production/metadata?q=renewal_stage").await;
    assert!(by_field.body.contains(">Opportunity</a>"));
    let class =
        rig.ada.get("/w/halden-energy/o/production/metadata/ApexClass/OpportunityTriggerHandler").await;
    assert!(class.body.contains("EndDate") && class.body.contains("<tr id=\"L1\">"));
    assert!(class.body.contains("<span class=\"k\">public</span>"), "source is coloured");
    let object = rig.ada.get("/w/halden-energy/o/production/metadata/CustomObject/Renewal__c").await;
    assert!(object.body.contains("<code>Due__c</code>") && object.body.contains("Lookup → Account"));
    let standard = rig.ada.get("/w/halden-energy/o/production/metadata/CustomObject/Opportunity").await;
    assert!(
        standard.body.contains("<code>OwnerId</code>")
            && standard.body.contains("<code>Renewal_Stage__c</code>")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_sync_shows_what_changed_and_what_went() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    rig.server.clock.advance(SignedDuration::from_hours(2));
    rig.sim.edit("ApexClass", "HelloWorld", |source| source.replace("'world'", "'everybody'"));
    rig.sim.delete("PermissionSet", "Renewal_Manager");
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    let page = rig.synced().await;
    assert!(page.contains("2 changed at the last sync"), "{page}");
    let path = "/w/halden-energy/o/production/metadata/ApexClass/HelloWorld";
    let class = rig.ada.get(path).await;
    assert!(class.body.contains("Changed 23 November 2026, 11:00 UTC by Jonas Weber"), "{}", class.body);
    let diff = rig.ada.get(&format!("{path}?v=2")).await;
    assert!(
        diff.body.contains("<tr class=\"d\">") && diff.body.contains("&#39;everybody&#39;"),
        "{}",
        diff.body
    );
    let gone = rig.ada.get("/w/halden-energy/o/production/metadata/PermissionSet/Renewal_Manager").await;
    assert!(gone.body.contains("no longer has this component"));
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
    assert!(rig.synced().await.contains("0 changed at the last sync"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_works_once_in_its_session_and_not_for_long() {
    let rig = rig(Consent::Auto).await;
    let back = rig.consent(&rig.begin().await).await;
    let stranger = rig.server.client();
    assert!(stranger.get(&back).await.location().starts_with("/sign-in"));
    let second = rig.server.client();
    second.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
    assert_eq!(second.get(&back).await.status, 410, "row 31: another session of the same person");
    assert_eq!(rig.ada.get(&back).await.status, 303);
    assert_eq!(rig.ada.get(&back).await.status, 410, "used once");
    let late = rig.consent(&rig.begin().await).await;
    rig.server.clock.advance(SignedDuration::from_mins(31));
    assert_eq!(rig.ada.get(&late).await.status, 410);
    let forged = back.replace("state=halden-energy", "state=other");
    assert_eq!(rig.ada.get(&forged).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_consent_and_wrong_clients_are_told() {
    let rig = rig(Consent::Page).await;
    let go = rig.begin().await;
    let abroad = Client::new(String::new());
    let page = abroad.send(abroad.request("GET", &go)).await;
    assert!(page.body.contains("Allow access?"));
    let fields: Vec<(String, String)> = url::Url::parse(&go).unwrap().query_pairs().into_owned().collect();
    let url = go.split('?').next().unwrap();
    let deny = |decision: &str| {
        let mut fields = fields.clone();
        fields.push(("decision".into(), decision.into()));
        abroad.request("POST", url).form(&fields)
    };
    let back = abroad.send(deny("deny")).await.location().to_owned();
    let back = back.strip_prefix(&rig.server.base).unwrap();
    let told = rig.ada.get(back).await;
    assert!(told.status == 422 && told.body.contains("Access was denied"), "{}", told.body);
    let mut form = form(rig.sim.url().as_str());
    form[3].1 = "wrong";
    let page = rig.ada.post("/w/halden-energy/orgs/connect", &form).await;
    let go = page.between("id=\"go\" rel=\"noreferrer\" href=\"", "\"").unwrap().replace("&#38;", "&");
    let fields: Vec<(String, String)> = url::Url::parse(&go).unwrap().query_pairs().into_owned().collect();
    let mut allowed = fields.clone();
    allowed.push(("decision".into(), "allow".into()));
    let back = abroad.send(abroad.request("POST", url).form(&allowed)).await.location().to_owned();
    let told = rig.ada.get(back.strip_prefix(&rig.server.base).unwrap()).await;
    assert!(told.status == 502 && told.body.contains("External Client App"), "{}", told.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_not_salesforce_are_refused_before_anything_is_sent() {
    let rig = rig(Consent::Auto).await;
    for login in [
        "evil.example",
        "http://169.254.169.254/",
        "https://acme.my.salesforce.com.evil.example",
        "localhost:1",
    ] {
        let page = rig.ada.post("/w/halden-energy/orgs/connect", &form(login)).await;
        assert!(page.status == 422 && page.body.contains("href=\"#login\""), "{login}");
    }
    let page = rig.ada.post("/w/halden-energy/orgs/connect", &form("acme.lightning.force.com")).await;
    assert!(page.body.contains("acme.my.salesforce.com"), "the likely host is named");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_url_connects_and_a_dead_one_is_told() {
    let rig = rig(Consent::Auto).await;
    let host = rig.sim.url().authority().to_owned();
    let dead = format!("force://{CLIENT_ID}:{CLIENT_SECRET}:5Aep861dead@{host}");
    let told =
        rig.ada.post("/w/halden-energy/orgs/connect/auth-url", &[("name", "UAT"), ("auth_url", &dead)]).await;
    assert!(told.status == 422 && told.body.contains("expired access/refresh token"), "{}", told.body);
    assert!(!told.body.contains("5Aep861dead"), "the token is not echoed");
    let good = rig.sim.sfdx_auth_url();
    let done =
        rig.ada.post("/w/halden-energy/orgs/connect/auth-url", &[("name", "UAT"), ("auth_url", &good)]).await;
    assert_eq!(done.location(), "/w/halden-energy/o/uat", "{}", done.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_is_refreshed_once_and_a_rotated_token_is_kept() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    rig.sim.misbehave(|faults| faults.rotate_refresh = true);
    for _ in 0..3 {
        // Each round spends the token that the round before stored: a lost one would end the family.
        rig.sim.expire_access_tokens();
        rig.ada.post("/w/halden-energy/o/production/sync", &[]).await;
        let page = rig.synced().await;
        assert!(page.contains("0 changed at the last sync") && !page.contains("signed us out"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_org_says_so_and_keeps_what_was_synced() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    rig.sim.revoke_everything();
    rig.ada.post("/w/halden-energy/o/production/sync", &[]).await;
    let page = rig.synced().await;
    assert!(page.contains("Salesforce signed us out of Production"), "{page}");
    assert!(page.contains("Connect it again"));
    let list = rig.ada.get("/w/halden-energy/o/production/metadata").await;
    assert!(list.body.contains("HelloWorld"));
    rig.connect().await;
    assert!(!rig.synced().await.contains("signed us out"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_salesforce_is_tried_again_and_a_spent_limit_is_told() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    rig.sim.misbehave(|faults| faults.fail_next = Some((1, 503)));
    rig.ada.post("/w/halden-energy/o/production/sync", &[]).await;
    let id = rig.server.app().web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
    let mut told = false;
    for _ in 0..600 {
        let page = rig.ada.get("/w/halden-energy/o/production").await.body;
        told |= page.contains("tried again in a moment");
        if told {
            rig.server.clock.advance(SignedDuration::from_secs(10));
            rig.server.app().runner.wake(id);
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert!(told);
    for _ in 0..600 {
        let page = rig.ada.get("/w/halden-energy/o/production").await.body;
        // What it used is counted after it has said so: only then is the next sync another one.
        if page.contains("0 changed at the last sync") && !page.contains("id=\"progress\"") {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    rig.sim.misbehave(|faults| faults.remaining_calls = Some(0));
    rig.ada.post("/w/halden-energy/o/production/sync", &[]).await;
    assert!(rig.synced().await.contains("used up its API calls for today"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sync_is_cancelled_and_runs_again() {
    let rig = rig(Consent::Auto).await;
    rig.sim.misbehave(|faults| faults.slow_retrieve = 1_000);
    rig.connect().await;
    for _ in 0..600 {
        if rig.ada.get("/w/halden-energy/o/production").await.body.contains("packing the metadata") {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync/cancel", &[]).await.status, 303);
    assert!(rig.synced().await.contains("The last sync was cancelled"));
    rig.sim.misbehave(|faults| faults.slow_retrieve = 0);
    rig.ada.post("/w/halden-energy/o/production/sync", &[]).await;
    assert!(rig.synced().await.contains("synced 23 November 2026"));
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_revokes_and_forgets() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let asked = rig.ada.get("/w/halden-energy/o/production/disconnect").await;
    assert!(
        asked.body.contains("Disconnect Production?") && asked.body.contains("components with their history")
    );
    assert!(rig.sim.live_tokens() > 0, "asking does nothing");
    assert_eq!(rig.ada.post("/w/halden-energy/o/production/disconnect", &[]).await.status, 303);
    assert_eq!(rig.sim.live_tokens(), 0, "tokens are revoked at Salesforce");
    assert!(rig.ada.get("/w/halden-energy/orgs").await.body.contains("No org is connected yet"));
    assert_eq!(rig.ada.get("/w/halden-energy/o/production/metadata").await.status, 404);
    let ws = rig.server.app().web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
    let ws = rig.server.app().web.door.for_runner(ws).unwrap();
    assert_eq!(ws.read().unwrap().scan(&vynos::orgs::records::SOURCES).count().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_to_salesforce_stands_in_the_ledger() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let calls = rig.sim.calls();
    let web = rig.server.app().web.clone();
    let id = web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
    let ws = web.door.for_runner(id).unwrap();
    let mut lines = Vec::new();
    for _ in 0..600 {
        lines = ws.read().unwrap().scan(&vynos::ledger::LINES).rows().unwrap();
        // One more than the calls that count: redeeming the code.
        if lines.len() as u64 > calls {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert_eq!(lines.len() as u64, calls + 1);
    assert!(lines.iter().all(|(_, l)| l.host == "127.0.0.1" && l.status == Some(200) && l.account.is_some()));
    assert!(lines.iter().any(|(_, l)| l.why.starts_with("sync ") && l.received_bytes > 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_synced_can_be_read_from_the_disk() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let Rig { server, sim, .. } = rig;
    drop(sim);
    let (dir, _) = server.stop().await;
    let data = dir.path().join("data");
    for word in
        ["OpportunityTriggerHandler", "Renewal_Stage__c", CLIENT_SECRET, "5Aep861", "AQEAQ", "Jonas Weber"]
    {
        assert_eq!(
            crate::unreadable_disk::holding(&data, word),
            Vec::<String>::new(),
            "{word} stands in clear"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_found_by_what_it_says_and_forgotten_with_its_org() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let path = "/w/halden-energy/o/production/metadata?q=renewal+stage+closed";
    let mut found = String::new();
    for _ in 0..600 {
        found = rig.ada.get(path).await.body;
        if found.contains("/metadata/ApexClass/") {
            break;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert!(found.contains("/metadata/ApexClass/"), "no component says these words: {found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_jobs_that_find_the_session_ended_spend_the_refresh_token_once() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    rig.sim.misbehave(|faults| faults.rotate_refresh = true);
    let web = &rig.server.app().web;
    let workspace = web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
    let seen = web.door.for_runner(workspace).unwrap();
    let org = vynos::orgs::records::all(&seen.read().unwrap()).unwrap()[0].0;
    for _ in 0..5 {
        rig.sim.expire_access_tokens();
        let session = |why: &str| {
            let job = JobId::new(&web.clock, &Random::system());
            let ws = Arc::new(web.door.for_job(workspace, job, None).unwrap().unwrap());
            vynos::orgs::session(&rig.server.app().orgs, &ws, org, why.to_owned()).unwrap()
        };
        let (one, two) = (session("one job"), session("another job"));
        let (first, second) = tokio::join!(one.limits(), two.limits());
        assert!(first.is_ok() && second.is_ok(), "{:?} {:?}", first.err(), second.err());
    }
    let kept = vynos::orgs::records::all(&seen.read().unwrap()).unwrap();
    assert!(kept[0].1.signed_out.is_none());
}
