//! The simulated org over real HTTP: signing in, queries, limits, describe, retrieve, and that Halden Energy
//! holds the problems the checks are shown on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use vynos::clock::Clock;
use vynos::insights::rules::{Component, Input, RuleSet, run};
use vynos::sim::salesforce::{self, CLIENT_ID, CLIENT_SECRET, Consent, Options, SimulatedOrg};

const CALLBACK: &str = "https://vynos.halden.example/oauth/salesforce/callback";
const VERIFIER: &str = "d2h5LWEtdmVyaWZpZXItaGFzLXRvLWJlLWxvbmctZW5vdWdo";

struct Rig {
    sim: SimulatedOrg,
    clock: Clock,
    client: Client,
}

#[expect(clippy::disallowed_methods, reason = "a test calls the simulator as a foreign client does")]
async fn rig(consent: Consent) -> Rig {
    // The client asks for a provider even where nothing is encrypted. A second test finds it installed.
    rustls::crypto::ring::default_provider().install_default().ok();
    let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
    let wanted = Options { consent, clock: clock.clone(), ..Options::default() };
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    Rig { sim: salesforce::start(wanted).await.unwrap(), clock, client }
}

impl Rig {
    fn url(&self, path: &str) -> String {
        self.sim.url().join(path).unwrap().to_string()
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(self.sim.access_token())
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        answer(self.get(path).send().await.unwrap()).await
    }

    async fn query(&self, resource: &str, soql: &str) -> (u16, Value) {
        let path = format!("/services/data/v67.0/{resource}");
        answer(self.get(&path).query(&[("q", soql)]).send().await.unwrap()).await
    }

    fn authorize(&self, change: &[(&str, &str)]) -> RequestBuilder {
        let challenge =
            URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes()));
        let mut params = BTreeMap::from([
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", CALLBACK),
            ("state", "s1"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ]);
        params.extend(change.iter().copied());
        self.client.get(self.url("/services/oauth2/authorize")).query(&params)
    }

    async fn code(&self) -> String {
        let answer = self.authorize(&[]).send().await.unwrap();
        assert_eq!(answer.status(), 302);
        redirect_param(&answer, "code").unwrap()
    }

    async fn token(&self, change: &[(&str, &str)]) -> (u16, Value) {
        let mut params = BTreeMap::from([
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ]);
        params.extend(change.iter().copied());
        let sent = self.client.post(self.url("/services/oauth2/token")).form(&params).send().await;
        answer(sent.unwrap()).await
    }

    async fn refresh(&self, token: &str) -> (u16, Value) {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn soap(&self, session: &str, body: &str) -> (u16, String) {
        let envelope = format!(
            "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:met=\"http://soap.sforce.com/2006/04/metadata\"><e:Header><met:SessionHeader>\
             <met:sessionId>{session}</met:sessionId></met:SessionHeader></e:Header><e:Body>{body}</e:Body></e:Envelope>"
        );
        let request = self.client.post(self.url("/services/Soap/m/67.0"));
        let sent = request.header("content-type", "text/xml").body(envelope).send().await.unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    }
}

async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

fn redirect_param(answer: &Response, name: &str) -> Option<String> {
    let to = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    to.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_redeemed_once_with_its_verifier_and_in_time() {
    let rig = rig(Consent::Auto).await;
    let code = rig.code().await;
    let (status, granted) = rig.token(&[("code", &code)]).await;
    assert_eq!(status, 200, "{granted}");
    assert!(granted["access_token"].as_str().unwrap().starts_with("00D"));
    assert!(granted["refresh_token"].as_str().unwrap().starts_with("5Aep861"));

    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
    let signed = format!("{}{}", granted["id"].as_str().unwrap(), granted["issued_at"].as_str().unwrap());
    let signature = STANDARD.decode(granted["signature"].as_str().unwrap()).unwrap();
    ring::hmac::verify(&key, signed.as_bytes(), &signature).unwrap();

    let (status, again) = rig.token(&[("code", &code)]).await;
    assert_eq!((status, &again["error"]), (400, &Value::from("invalid_grant")), "used once");

    let code = rig.code().await;
    let (status, wrong) = rig.token(&[("code", &code), ("code_verifier", "another")]).await;
    assert_eq!((status, &wrong["error_description"]), (400, &Value::from("invalid code verifier")));

    let code = rig.code().await;
    rig.clock.advance(SignedDuration::from_mins(16));
    let (status, late) = rig.token(&[("code", &code)]).await;
    assert_eq!((status, &late["error_description"]), (400, &Value::from("expired authorization code")));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_clients_secrets_callbacks_and_grants_are_refused() {
    let rig = rig(Consent::Auto).await;
    for (change, told) in [
        (("client_id", "3MVG9other"), "invalid_client_id"),
        (("redirect_uri", "https://elsewhere.example/steal"), "redirect_uri_mismatch"),
        (("redirect_uri", "http://intranet/oauth/salesforce/callback"), "redirect_uri_mismatch"),
        (("response_type", "token"), "unsupported_response_type"),
    ] {
        let page = rig.authorize(&[change]).send().await.unwrap();
        assert!(page.headers().get("location").is_none(), "{told}: no redirect to an unknown place");
        assert!(page.text().await.unwrap().contains(told), "{told}");
    }
    let (_, secret) = rig.token(&[("code", &rig.code().await), ("client_secret", "guess")]).await;
    assert_eq!(secret["error"], "invalid_client");
    let (_, elsewhere) =
        rig.token(&[("code", &rig.code().await), ("redirect_uri", "http://localhost/x")]).await;
    assert_eq!(elsewhere["error"], "redirect_uri_mismatch");
    let (_, grant) = rig.token(&[("grant_type", "password")]).await;
    assert_eq!(grant["error"], "unsupported_grant_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_denies_is_sent_back_with_the_reason_and_the_state() {
    let rig = rig(Consent::Page).await;
    let page = rig.authorize(&[]).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(page.contains(">Allow</button>") && page.contains(">Deny</button>"), "{page}");

    let form = [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", CALLBACK),
        ("state", "s1"),
        ("decision", "deny"),
    ];
    let back = rig.client.post(rig.url("/services/oauth2/authorize")).form(&form).send().await.unwrap();
    assert_eq!(redirect_param(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(redirect_param(&back, "state").as_deref(), Some("s1"));
    assert_eq!(redirect_param(&back, "code"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_of_a_rotated_refresh_token_ends_the_whole_family() {
    let rig = rig(Consent::Auto).await;
    let (_, granted) = rig.token(&[("code", &rig.code().await)]).await;
    let first = granted["refresh_token"].as_str().unwrap().to_owned();
    let (status, plain) = rig.refresh(&first).await;
    assert_eq!((status, plain.get("refresh_token")), (200, None), "no rotation unless asked for");

    rig.sim.misbehave(|faults| faults.rotate_refresh = true);
    let (_, rotated) = rig.refresh(&first).await;
    let second = rotated["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let (status, reused) = rig.refresh(&first).await;
    assert_eq!((status, &reused["error"]), (400, &Value::from("invalid_grant")));
    assert_eq!(rig.refresh(&second).await.0, 400, "the newer one died with it");
    assert_eq!(rig.sim.live_tokens(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_opens_nothing() {
    let rig = rig(Consent::Auto).await;
    let (_, granted) = rig.token(&[("code", &rig.code().await)]).await;
    let access = granted["access_token"].as_str().unwrap();
    let identity = || rig.client.get(granted["id"].as_str().unwrap()).bearer_auth(access).send();
    assert_eq!(identity().await.unwrap().status(), 200);
    let revoke = || async {
        let form = [("token", granted["refresh_token"].as_str().unwrap())];
        rig.client.post(rig.url("/services/oauth2/revoke")).form(&form).send().await.unwrap().status()
    };
    assert_eq!(revoke().await, 200);
    assert_eq!(revoke().await, 400, "it is not known any more");
    assert_eq!(identity().await.unwrap().status(), 403);
    let limits = rig.client.get(rig.url("/services/data/v67.0/limits")).bearer_auth(access);
    let (status, told) = answer(limits.send().await.unwrap()).await;
    assert_eq!((status, &told[0]["errorCode"]), (401, &Value::from("INVALID_SESSION_ID")));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_query_follow_each_other_to_the_last_row() {
    let rig = rig(Consent::Auto).await;
    let (status, first) = rig.query("query", "SELECT Id, Name FROM Account ORDER BY Name").await;
    assert_eq!((status, first["records"].as_array().unwrap().len()), (200, 2_000));
    assert_eq!(first["records"][0]["Name"], "Account 00001");
    assert_eq!(first["done"], false);
    let next = first["nextRecordsUrl"].as_str().unwrap();
    let (_, second) = rig.json(next).await;
    let total = first["totalSize"].as_u64().unwrap() as usize;
    assert_eq!(2_000 + second["records"].as_array().unwrap().len(), total);
    assert_eq!((&second["done"], second.get("nextRecordsUrl")), (&Value::from(true), None));
    let (status, gone) = rig.json(next).await;
    assert_eq!((status, &gone[0]["errorCode"]), (400, &Value::from("INVALID_QUERY_LOCATOR")));

    let (_, some) =
        rig.query("query", "SELECT Name FROM Account WHERE Name LIKE 'Account 0001%' LIMIT 3").await;
    assert_eq!(some["records"].as_array().unwrap().len(), 3);
    let (_, count) = rig.query("query", "SELECT COUNT() FROM Account").await;
    assert_eq!(count["totalSize"].as_u64().unwrap() as usize, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_queries_and_paths_get_the_errors_of_salesforce() {
    let rig = rig(Consent::Auto).await;
    for (soql, code) in [
        ("SELECT Nope FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Nothing__c", "INVALID_TYPE"),
        ("SELECT Id Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'open", "MALFORMED_QUERY"),
    ] {
        let (status, told) = rig.query("query", soql).await;
        assert_eq!((status, &told[0]["errorCode"]), (400, &Value::from(code)), "{soql}: {told}");
    }
    let (_, told) = rig.query("query", "SELECT Nope FROM Account").await;
    assert!(told[0]["message"].as_str().unwrap().contains("No such column 'Nope' on entity 'Account'"));
    for path in ["/services/data/v67.0/sobjects/Nothing__c/describe", "/services/data/v67.0/nowhere"] {
        let (status, told) = rig.json(path).await;
        assert_eq!((status, &told[0]["errorCode"]), (404, &Value::from("NOT_FOUND")), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_count_down_to_a_refusal_and_faults_pass() {
    let rig = rig(Consent::Auto).await;
    let path = "/services/data/v67.0/limits";
    let before = rig.json(path).await.1["DailyApiRequests"]["Remaining"].as_u64().unwrap();
    let answer = rig.get(path).send().await.unwrap();
    let used = answer.headers()["Sforce-Limit-Info"].to_str().unwrap().to_owned();
    assert!(used.starts_with("api-usage=") && used.contains('/'), "{used}");
    let after = answer.json::<Value>().await.unwrap()["DailyApiRequests"]["Remaining"].as_u64().unwrap();
    assert_eq!(before - 1, after);

    rig.sim.misbehave(|faults| faults.fail_next = Some((2, 503)));
    assert_eq!((rig.json(path).await.0, rig.json(path).await.0, rig.json(path).await.0), (503, 503, 200));

    rig.sim.misbehave(|faults| faults.remaining_calls = Some(0));
    let (status, told) = rig.json(path).await;
    assert_eq!((status, &told[0]["errorCode"]), (403, &Value::from("REQUEST_LIMIT_EXCEEDED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_listed_and_described_with_their_fields() {
    let rig = rig(Consent::Auto).await;
    let (_, all) = rig.json("/services/data/v67.0/sobjects").await;
    let all = all["sobjects"].as_array().unwrap();
    assert!(all.len() >= 38, "{}", all.len());
    let renewal = all.iter().find(|object| object["name"] == "Renewal__c").unwrap();
    assert_eq!((&renewal["label"], &renewal["custom"]), (&Value::from("Renewal"), &Value::from(true)));

    let (_, described) = rig.json("/services/data/v67.0/sobjects/Opportunity/describe").await;
    let fields = described["fields"].as_array().unwrap();
    let stage = fields.iter().find(|field| field["name"] == "Renewal_Stage__c").unwrap();
    assert_eq!((&stage["type"], &stage["label"]), (&Value::from("picklist"), &Value::from("Renewal stage")));
    assert!(fields.iter().any(|field| field["name"] == "Id" && field["custom"] == false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retrieve_is_polled_and_brings_sources_properties_and_what_is_missing() {
    let rig = rig(Consent::Auto).await;
    let session = rig.sim.access_token();
    let ask = "<met:retrieve><met:request><met:apiVersion>67.0</met:apiVersion><met:unpackaged>\
               <met:types><met:members>HelloWorld</met:members><met:members>Gone</met:members><met:name>ApexClass</met:name></met:types>\
               <met:types><met:members>*</met:members><met:name>Flow</met:name></met:types></met:unpackaged></met:request></met:retrieve>";
    let (status, queued) = rig.soap(&session, ask).await;
    assert_eq!(status, 200, "{queued}");
    let id = between(&queued, "<id>", "</id>").to_owned();
    let poll = format!(
        "<met:checkRetrieveStatus><met:asyncProcessId>{id}</met:asyncProcessId></met:checkRetrieveStatus>"
    );
    let (_, waiting) = rig.soap(&session, &poll).await;
    assert!(waiting.contains("<done>false</done>") && !waiting.contains("<zipFile>"), "{waiting}");
    let (_, done) = rig.soap(&session, &poll).await;
    assert!(done.contains("<status>Succeeded</status>"));
    assert!(done.contains("Entity of type 'ApexClass' named 'Gone' cannot be found"));
    assert!(done.contains("<lastModifiedByName>") && done.contains("<type>Flow</type>"));

    let zip = STANDARD.decode(between(&done, "<zipFile>", "</zipFile>")).unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
    let names: BTreeSet<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert!(names.contains("unpackaged/classes/HelloWorld.cls-meta.xml"), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("unpackaged/flows/")).count(), 12);
    let mut source = String::new();
    zip.by_name("unpackaged/classes/HelloWorld.cls").unwrap().read_to_string(&mut source).unwrap();
    assert!(source.contains("class HelloWorld"));

    let (status, again) = rig.soap(&session, &poll).await;
    assert!(status == 500 && again.contains("deleted"), "a result is fetched once: {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn soap_refuses_dead_sessions_unknown_types_and_a_fourth_query() {
    let rig = rig(Consent::Auto).await;
    let list = |kinds: &[&str]| {
        let queries: String =
            kinds.iter().map(|k| format!("<met:queries><met:type>{k}</met:type></met:queries>")).collect();
        format!("<met:listMetadata>{queries}</met:listMetadata>")
    };
    let (status, dead) = rig.soap("00D000000000001EAA!gone", &list(&["Flow"])).await;
    assert!(status == 500 && dead.contains("<faultcode>sf:INVALID_SESSION_ID</faultcode>"), "{dead}");
    let session = rig.sim.access_token();
    let (_, listed) = rig.soap(&session, &list(&["ApexClass", "ApexTrigger", "PermissionSet"])).await;
    assert_eq!(listed.matches("<type>ApexTrigger</type>").count(), 6);
    assert_eq!(listed.matches("<type>PermissionSet</type>").count(), 8);
    let (_, unknown) = rig.soap(&session, &list(&["Spaceship"])).await;
    assert!(unknown.contains("sf:INVALID_TYPE"), "{unknown}");
    let (status, _) = rig.soap(&session, &list(&["Flow", "ApexClass", "ApexTrigger", "CustomObject"])).await;
    assert_eq!(status, 500);
    let (_, described) = rig.soap(&session, "<met:describeMetadata/>").await;
    assert_eq!(described.matches("<metadataObjects>").count(), 17);
}

#[test]
fn halden_energy_is_well_formed_and_holds_the_planted_problems_and_no_look_alikes() {
    const KINDS: [(&str, &str); 5] = [
        ("classes", "ApexClass"),
        ("flows", "Flow"),
        ("objects", "CustomObject"),
        ("permissionsets", "PermissionSet"),
        ("triggers", "ApexTrigger"),
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/salesforce/fixture");
    let mut files = Vec::new();
    for (folder, kind) in KINDS {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            files.push((kind, name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    let of = |kind: &str| files.iter().filter(|f| f.0 == kind).count();
    assert!(of("ApexClass") >= 60 && of("CustomObject") >= 40);
    assert_eq!((of("ApexTrigger"), of("Flow"), of("PermissionSet")), (6, 12, 8));

    let components: Vec<Component<'_>> =
        files.iter().map(|(kind, name, source)| Component::new(kind, name, name, source)).collect();
    let report =
        run(&Input { components: &components, limits: &[], current_api: 67.0, jobs: 1 }, &RuleSet::all());
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let found: BTreeSet<(String, String)> = report
        .findings
        .iter()
        .map(|finding| {
            let finding = serde_json::to_value(finding).unwrap();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&finding["rule"]), text(&finding["component"]["name"]))
        })
        .collect();
    let has = |rule: &str, name: &str| found.contains(&(rule.to_owned(), name.to_owned()));
    for (rule, name) in [
        ("APX-001", "ContractRollup"),
        ("APX-001", "MeterReadingImporter"),
        ("APX-001", "OpportunityTriggerHandler"),
        ("APX-004", "CustomerSearchController"),
        ("APX-005", "InvoiceService"),
        ("APX-005", "PartnerCommissionService"),
        ("APX-005", "SupplyPointSelector"),
        ("APX-006", "OutageService"),
        ("APX-006", "QueueRouting"),
        ("APX-008", "InvoiceExportQueueable"),
        ("APX-015", "CaseSlaTrigger"),
        ("APX-015", "ContractTrigger"),
        ("APX-017", "GridAreaResolver"),
        ("APX-018", "CaseEscalationService"),
        ("APX-019", "PaymentMatcherTest"),
        ("APX-020", "InvoiceServiceTest"),
        ("FLW-001", "Opportunity_Renewal_Sync"),
        ("FLW-002", "Case_Escalation_Reminder"),
        ("FLW-004", "Account_Welcome_Mail"),
        ("FLW-006", "Case_Auto_Assign"),
    ] {
        assert!(has(rule, name), "{rule} in {name} is not found");
    }
    for (rule, name) in [
        ("APX-001", "OutageNotifier"),
        ("APX-001", "PriceSheetImporter"),
        ("APX-004", "CustomerLookup"),
        ("APX-005", "RenewalRules"),
        ("APX-006", "PhaseCatalogue"),
        ("APX-018", "GridOperatorClientTest"),
        ("FLW-001", "Outage_Follow_Up"),
        ("FLW-004", "Outage_Follow_Up"),
        ("FLW-006", "Solar_Installation_Approval"),
    ] {
        assert!(!has(rule, name), "{rule} in {name} is a false alarm");
    }
}
