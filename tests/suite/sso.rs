//! Single sign-on against a provider by others (npm oidc-provider): settings, joining, linking, groups, and what is
//! refused on the way.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use vynos::clock::Clock;
use vynos::egress::{Line, Purpose};
use vynos::identity::administration::Act;
use vynos::identity::sso::SSO;
use vynos::identity::{Email, Role, SessionToken};
use vynos::ledger::LINES;
use vynos::seal::MasterKey;
use vynos::store::Read as _;
use vynos::store::audit::{AUDIT, Action};

use crate::access::{person, signed_in};
use crate::harness::{Answer, Client, PASSWORD, Server};
use crate::unreadable_disk::holding;

const SECRET: &str = "provider-secret-0815";

/// The provider, ended when dropped.
pub struct Provider {
    process: Child,
    /// Kept open: it ends when it can't write.
    _said: BufReader<ChildStdout>,
    pub issuer: String,
}

impl Provider {
    pub fn start(server: &Server, algorithm: &str) -> Self {
        Self::start_with(server, algorithm, None)
    }

    /// Under TLS with the certificate and key in a folder.
    fn start_with(server: &Server, algorithm: &str, certificates: Option<&Path>) -> Self {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/oidc");
        assert!(
            cache.join("ready").exists(),
            "tests/.cache/oidc is missing: run tests/run, which fetches it"
        );
        let mut process = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oidc/provider.mjs"))
            .arg(cache)
            .arg(format!("{}/sign-in/sso/callback", server.base))
            .arg(algorithm)
            .args(certificates)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Self { process, _said: lines, issuer: said["issuer"].as_str().unwrap().to_owned() }
    }

    /// Who can sign in there, by name.
    pub async fn people(&self, people: Value) {
        let client = Client::new(self.issuer.clone());
        let answer = client.send(client.request("POST", "/people").json(&people)).await;
        assert_eq!(answer.status, 200);
    }

    /// Signs in on the provider's own pages as a browser would; answers where it sends the browser back to.
    pub async fn sign_in(&self, from: &str, name: &str) -> String {
        let there = Client::new(self.issuer.clone());
        let path = |url: &str| url.strip_prefix(&self.issuer).unwrap_or(url).to_owned();
        let mut answer = there.get(&path(from)).await;
        for _ in 0..12 {
            let location = answer.location().to_owned();
            if location.contains("/sign-in/sso/callback") {
                return location;
            }
            answer = if location.is_empty() {
                let action = answer.between("action=\"", "\"").unwrap_or_else(|| panic!("{}", answer.body));
                let prompt = answer.between("name=\"prompt\" value=\"", "\"").unwrap();
                let form = [("prompt", prompt.as_str()), ("login", name), ("password", "x")];
                there.send(there.request("POST", &path(&action)).form(&form)).await
            } else {
                there.get(&path(&location)).await
            };
        }
        panic!("the provider goes in circles");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An instance on real time, because the provider's tokens are of now.
pub async fn ready() -> (Server, Client) {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let server = Server::on(dir, Clock::system()).await;
    let ada = server.set_up().await;
    (server, ada)
}

/// The settings as an operator fills them in.
pub fn settings<'a>(issuer: &'a str, other: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    let mut form = vec![
        ("issuer", issuer),
        ("client_id", "vynos"),
        ("secret", SECRET),
        ("label", "Halden single sign-on"),
        ("scopes", "openid email profile groups"),
        ("groups_claim", "groups"),
        ("break_glass", "ada@halden.example"),
        ("act", "save"),
    ];
    for (field, value) in other {
        form.retain(|(name, _)| name != field);
        form.push((field, value));
    }
    form
}

pub fn text(answer: &Answer) -> String {
    answer.body.replace("&#39;", "'").replace("&#38;", "&").replace("&#34;", "\"")
}

/// The path below the instance's own address.
pub fn here(server: &Server, url: &str) -> String {
    url.strip_prefix(&server.base).unwrap_or_else(|| panic!("{url} leads elsewhere")).to_owned()
}

/// All the way there and back.
async fn through(server: &Server, provider: &Provider, client: &Client, name: &str) -> Answer {
    let gone = client.get("/sign-in/sso?next=/account/profile").await;
    assert_eq!(gone.status, 303, "{}", text(&gone));
    let back = provider.sign_in(gone.location(), name).await;
    client.get(&here(server, &back)).await
}

fn account(server: &Server, email: &str) -> vynos::ids::AccountId {
    let email: Email = email.parse().unwrap();
    server.app().web.control.account_by_address(&email).unwrap().unwrap().0
}

fn role(server: &Server, email: &str) -> Option<Role> {
    let control = &server.app().web.control;
    let (workspace, _) = control.all_workspaces().unwrap().into_iter().next().unwrap();
    control.role_in(account(server, email), workspace).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_tests_and_saves_a_provider_and_whoever_it_knows_joins() {
    for algorithm in ["RS256", "ES256"] {
        let (server, ada) = ready().await;
        let provider = Provider::start(&server, algorithm);
        provider
            .people(json!({"grace": {"email": "grace@halden.example", "email_verified": true, "name": "Grace <Hopper>", "groups": ["crm"]}}))
            .await;
        let callback = format!("{}/sign-in/sso/callback", server.base);
        assert!(ada.get("/admin/sso").await.body.contains(&callback), "the address to register");
        let form = |act| {
            settings(
                &provider.issuer,
                &[("join", "yes"), ("mapping", "crm = halden-energy: member"), ("act", act)],
            )
        };
        let tested = ada.post("/admin/sso", &form("test")).await;
        assert!(
            tested.body.contains("Nothing was saved") && tested.body.contains("/jwks"),
            "{}",
            text(&tested)
        );
        assert!(!server.client().get("/sign-in").await.body.contains("Continue with"));
        let saved = ada.post("/admin/sso", &form("save")).await;
        assert!(saved.status == 200 && saved.body.contains("The provider is saved"), "{}", text(&saved));
        assert!(!saved.body.contains(SECRET));
        let grace = server.client();
        assert!(grace.get("/sign-in").await.body.contains("Continue with Halden single sign-on"));
        let came = through(&server, &provider, &grace, "grace").await;
        assert_eq!((came.status, came.location()), (303, "/account/profile"), "{}", text(&came));
        let profile = grace.get("/account/profile").await;
        assert!(profile.body.contains("Grace &#60;Hopper&#62;"), "{}", text(&profile));
        assert!(profile.body.contains(&provider.issuer), "the profile shows the link");
        assert_eq!(role(&server, "grace@halden.example"), Some(Role::Member));
        let unlink = grace.post("/account/sso/unlink", &[]).await;
        assert_eq!(unlink.status, 409, "it is her only way in");
        // Another browser of hers finds the same account, by its link.
        let again = server.client();
        assert_eq!(through(&server, &provider, &again, "grace").await.status, 303);
        let control = server.app().web.control.clone();
        let audited = control.read().unwrap().scan(&AUDIT).rows().unwrap();
        let count = |action| audited.iter().filter(|(_, line)| line.action == action).count();
        assert_eq!(
            (count(Action::AccountJoined), count(Action::SsoLinked), count(Action::MemberJoined)),
            (1, 1, 1)
        );
        drop(control);
        let (dir, clock) = server.stop().await;
        assert!(holding(&dir.path().join("data"), SECRET).is_empty());
        let server = Server::on(dir, clock).await;
        let lines: Vec<Line> = {
            let read = server.app().web.control.read().unwrap();
            read.scan(&LINES).rows().unwrap().into_iter().map(|(_, line)| line).collect()
        };
        let calls: Vec<_> = lines.iter().filter(|line| line.purpose == Purpose::Sso).collect();
        assert!(calls.len() >= 8 && calls.iter().all(|line| line.host == "127.0.0.1"), "{calls:?}");
        assert!(
            calls.iter().any(|line| line.method == "POST" && line.status == Some(200)),
            "the token exchange"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_give_change_and_take_back_roles_but_never_the_last_owner() {
    let (server, ada) = ready().await;
    let provider = Provider::start(&server, "RS256");
    let grace = |groups: Value| json!({"grace": {"email": "grace@halden.example", "email_verified": true, "groups": groups}, "ada": {"email": "ada@halden.example", "email_verified": true, "groups": []}});
    let mapping = "crm = halden-energy: viewer\nleads = halden-energy: owner";
    let form = settings(&provider.issuer, &[("join", "yes"), ("mapping", mapping)]);
    assert_eq!(ada.post("/admin/sso", &form).await.status, 200);
    let steps = [
        (json!(["crm"]), Some(Role::Viewer)),
        (json!(["crm", "leads"]), Some(Role::Owner)),
        (json!("crm"), Some(Role::Viewer)),
        (json!([]), None),
        (json!(["leads"]), Some(Role::Owner)),
    ];
    for (groups, expected) in steps {
        provider.people(grace(groups)).await;
        assert_eq!(through(&server, &provider, &server.client(), "grace").await.status, 303);
        assert_eq!(role(&server, "grace@halden.example"), expected);
    }
    // Ada's role was given by hand: no group takes it.
    let linking = server.client();
    assert_eq!(through(&server, &provider, &linking, "ada").await.location(), "/sign-in/sso/prove");
    assert_eq!(linking.post("/sign-in/sso/prove", &[("password", PASSWORD)]).await.status, 303);
    assert_eq!(role(&server, "ada@halden.example"), Some(Role::Owner));
    // Once Ada is no owner any more, Grace is the last one and stays it without the group.
    let control = server.app().web.control.clone();
    let (workspace, _) = control.all_workspaces().unwrap().into_iter().next().unwrap();
    let id = account(&server, "ada@halden.example");
    let inner = control.clone();
    control.acts(move |tx| inner.change_role(tx, workspace, id, Role::Viewer)).await.unwrap();
    provider.people(grace(json!([]))).await;
    assert_eq!(through(&server, &provider, &server.client(), "grace").await.status, 303);
    assert_eq!(role(&server, "grace@halden.example"), Some(Role::Owner));
}

// security-cases row 30
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_the_same_address_is_opened_only_after_its_password() {
    let (server, ada) = ready().await;
    let provider = Provider::start(&server, "RS256");
    let control = server.app().web.control.clone();
    person(&control, "grace");
    person(&control, "eve");
    assert_eq!(ada.post("/admin/sso", &settings(&provider.issuer, &[("join", "yes")])).await.status, 200);
    let verified =
        |yes: bool| json!({"g": {"email": "GRACE@halden.example", "email_verified": yes, "name": "G"}});
    provider.people(verified(false)).await;
    let refused = through(&server, &provider, &server.client(), "g").await;
    assert!(
        refused.status == 403 && text(&refused).contains("no e-mail address that it verified"),
        "{}",
        text(&refused)
    );
    provider.people(verified(true)).await;
    let client = server.client();
    let asked = through(&server, &provider, &client, "g").await;
    assert_eq!((asked.status, asked.location()), (303, "/sign-in/sso/prove"));
    assert!(client.get("/sign-in/sso/prove").await.body.contains("grace@halden.example"));
    assert!(client.get("/account/profile").await.location().starts_with("/sign-in"), "not signed in yet");
    // Nobody else's browser can finish it.
    let other = server.client();
    assert_eq!(other.post("/sign-in/sso/prove", &[("password", PASSWORD)]).await.status, 400);
    let wrong = client.post("/sign-in/sso/prove", &[("password", "copper kettle evening")]).await;
    assert_eq!(wrong.status, 422, "{}", text(&wrong));
    assert!(control.sso_links(account(&server, "grace@halden.example")).unwrap().is_empty());
    let right = client.post("/sign-in/sso/prove", &[("password", PASSWORD)]).await;
    assert_eq!((right.status, right.location()), (303, "/account/profile"), "{}", text(&right));
    assert_eq!(control.sso_links(account(&server, "grace@halden.example")).unwrap().len(), 1);
    let repeated = client.post("/sign-in/sso/prove", &[("password", PASSWORD)]).await;
    assert_eq!(repeated.status, 400, "a proof is used once");
    // From now on the link opens it at once, whatever address the provider names.
    provider.people(json!({"g": {"email": "eve@halden.example", "email_verified": true}})).await;
    let client = server.client();
    assert_eq!(through(&server, &provider, &client, "g").await.location(), "/account/profile");
    assert!(client.get("/account/profile").await.body.contains("grace@halden.example"));
    // Eve can't link what is Grace's; Grace unlinks, then Eve can.
    let eve = signed_in(&server, "eve").await;
    let gone = eve.get("/account/sso/link").await;
    let back = provider.sign_in(gone.location(), "g").await;
    let refused = eve.get(&here(&server, &back)).await;
    assert!(
        refused.status == 403 && text(&refused).contains("linked to another account"),
        "{}",
        text(&refused)
    );
    assert_eq!(client.post("/account/sso/unlink", &[]).await.status, 303);
    let gone = eve.get("/account/sso/link").await;
    let back = provider.sign_in(gone.location(), "g").await;
    assert_eq!(eve.get(&here(&server, &back)).await.location(), "/account/profile");
    assert_eq!(control.sso_links(account(&server, "eve@halden.example")).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_where_joining_is_off_or_the_domain_is_another() {
    let (server, ada) = ready().await;
    let provider = Provider::start(&server, "RS256");
    provider.people(json!({"m": {"email": "mallory@elsewhere.example", "email_verified": true}})).await;
    for other in
        [vec![], vec![("join", "yes"), ("domains", "halden.example, elsewhere.example.halden.example")]]
    {
        assert_eq!(ada.post("/admin/sso", &settings(&provider.issuer, &other)).await.status, 200);
        let refused = through(&server, &provider, &server.client(), "m").await;
        assert!(
            refused.status == 403 && refused.body.contains("There is no account for you"),
            "{}",
            text(&refused)
        );
    }
    let email: Email = "mallory@elsewhere.example".parse().unwrap();
    assert!(server.app().web.control.account_by_address(&email).unwrap().is_none());
}

// security-cases row 31
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_is_good_once_in_its_own_browser_and_from_its_own_issuer() {
    let (server, ada) = ready().await;
    let provider = Provider::start(&server, "RS256");
    provider.people(json!({"g": {"email": "grace@halden.example", "email_verified": true}})).await;
    assert_eq!(ada.post("/admin/sso", &settings(&provider.issuer, &[("join", "yes")])).await.status, 200);
    let client = server.client();
    let gone = client.get("/sign-in/sso").await;
    let asked = gone.location().to_owned();
    for part in ["code_challenge_method=S256", "code_challenge=", "nonce=", "state=", "response_type=code"] {
        assert!(asked.contains(part), "{asked}");
    }
    let back = here(&server, &provider.sign_in(&asked, "g").await);
    assert_eq!(server.client().get(&back).await.status, 400, "without the browser's cookie");
    let stranger = server.client();
    stranger.get("/sign-in/sso").await;
    assert_eq!(stranger.get(&back).await.status, 400, "in the browser of somebody else");
    assert_eq!(ada.get(&back).await.status, 400, "in a browser that is signed in as somebody else");
    let state = back.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert_eq!(client.get(&back.replace(&state, &"0".repeat(state.len()))).await.status, 400);
    assert_eq!(client.get(&back).await.status, 303, "a wrong state used nothing up");
    assert_eq!(client.get(&back).await.status, 400, "once");
    // Mixed up: the code of one provider under the name of another; and a code that is made up.
    let client = server.client();
    let gone = client.get("/sign-in/sso").await;
    let back = here(&server, &provider.sign_in(gone.location(), "g").await);
    let (path, _) = back.split_once("iss=").expect("the provider names itself");
    let mixed = client.get(&format!("{path}iss=https%3A%2F%2Fevil.example")).await;
    assert_eq!(mixed.status, 401, "{}", text(&mixed));
    let client = server.client();
    let gone = client.get("/sign-in/sso").await;
    let state = gone.location().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let made_up = client.get(&format!("/sign-in/sso/callback?state={state}&code=made-up")).await;
    assert!(made_up.status == 401 && made_up.body.contains("refused the sign-in"), "{}", text(&made_up));
    // The provider's own refusal, in its words and escaped.
    let gone = client.get("/sign-in/sso").await;
    let state = gone.location().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let said = format!("/sign-in/sso/callback?state={state}&error=access_denied&error_description=%3Cb%3ENo");
    let denied = client.get(&said).await;
    assert!(denied.status == 403 && denied.body.contains("&#60;b&#62;No (access_denied)"), "{}", denied.body);
    // Another site can't begin a sign-in, and no address of elsewhere is gone to after it.
    let foreign = client.send(client.request("GET", "/sign-in/sso").header("sec-fetch-site", "cross-site"));
    assert_eq!(foreign.await.location(), "/sign-in");
    let client = server.client();
    let gone = client.get("/sign-in/sso?next=//evil.example/").await;
    let back = here(&server, &provider.sign_in(gone.location(), "g").await);
    assert_eq!(client.get(&back).await.location(), "/");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_single_sign_on_counts_the_named_operator_still_gets_in() {
    let (server, ada) = ready().await;
    let provider = Provider::start(&server, "RS256");
    let control = server.app().web.control.clone();
    person(&control, "grace");
    let only = |named| settings(&provider.issuer, &[("only", "yes"), ("break_glass", named)]);
    for nobody in ["", "grace@halden.example", "nobody@halden.example"] {
        let refused = ada.post("/admin/sso", &only(nobody)).await;
        assert!(refused.status == 422 && refused.body.contains("href=\"#break_glass\""), "{nobody}");
        assert!(control.read().unwrap().get(&SSO, &0).unwrap().is_none());
    }
    assert_eq!(ada.post("/admin/sso", &only("ada@halden.example")).await.status, 200);
    let page = server.client().get("/sign-in").await;
    assert!(page.body.contains("only for those whom the operator named"), "{}", page.body);
    let refused = server.client().sign_in("grace@halden.example", PASSWORD).await;
    let unknown = server.client().sign_in("nobody@halden.example", PASSWORD).await;
    assert_eq!((refused.status, unknown.status), (422, 422));
    assert_eq!(
        refused.body.replace("grace@", "nobody@"),
        unknown.body,
        "the answer tells nothing about the password"
    );
    // Another operator is no reason to shut the named one out.
    let token = SessionToken::new(ada.cookies()["vynos"].clone());
    let by = control.session(&token).unwrap();
    let (ada_id, grace) = (by.account(), account(&server, "grace@halden.example"));
    control.act_on_account(&by, grace, Act::MakeOperator, None).unwrap();
    for act in [Act::Suspend, Act::UnmakeOperator] {
        let refused = control.act_on_account(&by, ada_id, act, None).unwrap_err();
        assert!(refused.to_string().contains("Only single sign-on would be left"), "{refused}");
    }
    // The provider goes away: the page says so, and the named operator has the password.
    drop(provider);
    drop(control);
    let (dir, clock) = server.stop().await;
    let server = Server::on(dir, clock).await;
    let down = server.client().get("/sign-in/sso").await;
    assert_eq!(down.status, 502);
    assert!(
        text(&down).contains("127.0.0.1 can't be reached") && down.body.contains("Sign in with a password")
    );
    assert_eq!(server.client().sign_in("ada@halden.example", PASSWORD).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_provider_is_told_and_not_saved() {
    let (server, ada) = ready().await;
    let provider = Provider::start(&server, "RS256");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (nobody, slash) = (format!("http://127.0.0.1:{port}"), format!("{}/", provider.issuer));
    let named = provider.issuer.replace("127.0.0.1", "localhost");
    // security-cases rows 20 to 24
    for (field, bad, words) in [
        ("issuer", nobody.as_str(), "can't be reached"),
        ("issuer", server.base.as_str(), "answered with status 404"),
        ("issuer", &slash, "is of the issuer"),
        ("issuer", &named, "is of the issuer"),
        ("issuer", "http://169.254.169.254", "may not be reached"),
        ("issuer", "http://[::ffff:a9fe:a9fe]", "may not be reached"),
        ("issuer", "http://id.halden.example", "only https is allowed"),
        ("issuer", "https://user:word@127.0.0.1", "carries a user name"),
        ("issuer", "file:///etc/passwd", "full address"),
        ("client_id", "", "client ID"),
        ("ca", "x", "PEM"),
        ("domains", "nonsense", "is no domain"),
        ("mapping", "crm", "group = workspace: role"),
        ("mapping", "crm = other: member", "no workspace “other”"),
        ("mapping", "crm = halden-energy: king", "is no role"),
    ] {
        let answer = ada.post("/admin/sso", &settings(&provider.issuer, &[(field, bad)])).await;
        assert!(answer.status == 422 && text(&answer).contains(words), "{bad}: {}", text(&answer));
        assert!(answer.body.contains(&format!("href=\"#{field}\"")), "{field}");
    }
    assert!(server.app().web.control.read().unwrap().get(&SSO, &0).unwrap().is_none());
    assert_eq!(ada.post("/admin/sso", &settings(&provider.issuer, &[])).await.status, 200);
    // The secret is kept for the same issuer, and gone with the provider.
    assert_eq!(ada.post("/admin/sso", &settings(&provider.issuer, &[("secret", "")])).await.status, 200);
    let kept = server.app().web.control.read().unwrap().get(&SSO, &0).unwrap().unwrap();
    assert!(kept.secret.is_some());
    assert_eq!(ada.post("/admin/sso/remove", &[]).await.status, 303);
    assert!(ada.get("/admin/sso").await.body.contains("No provider is configured"));
    assert_eq!(server.client().get("/sign-in/sso").await.location(), "/sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_under_a_private_certificate_is_trusted_with_it_alone() {
    let (server, ada) = ready().await;
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    std::fs::write(dir.path().join("certificate.pem"), &certificate).unwrap();
    std::fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
    let provider = Provider::start_with(&server, "ES256", Some(dir.path()));
    assert!(provider.issuer.starts_with("https://"));
    let other = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let other = params.self_signed(&other).unwrap().pem();
    for ca in ["", &other] {
        let refused = ada.post("/admin/sso", &settings(&provider.issuer, &[("ca", ca)])).await;
        assert!(refused.status == 422 && text(&refused).contains("is not trusted"), "{}", text(&refused));
    }
    let saved = ada.post("/admin/sso", &settings(&provider.issuer, &[("ca", &certificate)])).await;
    assert_eq!(saved.status, 200, "{}", text(&saved));
    let gone = server.client().get("/sign-in/sso").await;
    assert!(gone.location().starts_with(&provider.issuer), "{}", text(&gone));
}
