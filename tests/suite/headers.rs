//! Security headers, cookies and the shape of errors on every route.

use vynos::app::{App, Options, TlsMode};
use vynos::clock::Clock;
use vynos::features::ROUTES;
use vynos::seal::MasterKey;
use vynos::store::Read as _;
use vynos::web::tls::LOCAL_CA;

use crate::access::made_up;
use crate::chat_pages::{ask, ended, talking};
use crate::harness::{Answer, Server, options};
use crate::knowledge::{says, upload};
use crate::tls::browser;

#[tokio::test(flavor = "multi_thread")]
async fn row_49_every_answer_carries_the_security_headers() {
    let (server, ada) = Server::ready().await;
    let mut paths: Vec<(String, String)> = ROUTES
        .iter()
        .filter(|r| r.path != "/sign-out" && !r.path.ends_with("/live") && !r.path.ends_with("/events"))
        .map(|r| (r.method.to_owned(), made_up(r.path, "x")))
        .collect();
    let icons = vynos::web::asset("icons.svg").to_owned();
    for extra in [
        "/nowhere",
        "/w/other/audit",
        "/assets/none.css",
        "/api/v1/nothing",
        "/%2e%2e/%2e%2e/etc/passwd",
        &icons,
    ] {
        paths.push(("GET".into(), extra.into()));
    }
    for (method, path) in paths {
        for client in [&server.client(), &ada] {
            let answer = client.send(client.request(&method, &path)).await;
            let header = |name: &str| {
                answer
                    .headers
                    .get(name)
                    .unwrap_or_else(|| panic!("{method} {path}: no {name}"))
                    .to_str()
                    .unwrap()
            };
            assert_eq!(header("content-security-policy"), vynos::web::guard::CSP, "{path}");
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("x-frame-options"), "DENY");
            assert_eq!(header("referrer-policy"), "same-origin");
            assert_eq!(header("x-request-id").len(), 26);
            assert!(!answer.body.contains(" style=") && !answer.body.contains("<script>"), "{path}");
            assert!(answer.status < 500, "{method} {path}: {}", answer.status);
        }
    }
}

/// What is there to be taken away: files of people, exports, and the certificate of an instance that makes its own.
#[tokio::test(flavor = "multi_thread")]
async fn row_49_downloads_of_real_records_carry_the_headers_and_are_opened_by_no_browser() {
    let (rig, sim) = talking().await;
    upload(&rig.ada, &[("<b>runbook</b>.html", b"<script>alert(1)</script><p>turnstile</p>")]).await;
    let library = says(&rig.ada, "Ready").await;
    let document = library.split("/knowledge/").nth(1).unwrap()[..26].to_owned();
    let chat = ask(&rig.ada, "[[fake:say Hello.]]").await;
    ended(&rig.ada, &chat).await;
    for path in [
        format!("/w/halden-energy/knowledge/{document}/content"),
        format!("{chat}/export"),
        "/admin/traffic/file".to_owned(),
        "/w/halden-energy/privacy/traffic/file".to_owned(),
        "/w/halden-energy/usage/file".to_owned(),
    ] {
        let answer = rig.ada.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        is_safe(&answer, &path);
        let header = |name: &str| answer.headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default();
        assert!(header("content-disposition").starts_with("attachment"), "{path}: {:?}", answer.headers);
        assert!(!header("content-disposition").contains('<'), "{path}");
        assert!(!header("content-type").starts_with("text/html"), "{path}");
        assert!(header("cache-control").contains("no-store"), "{path}: {:?}", answer.headers);
        assert!(!answer.body.is_empty(), "{path}");
    }
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_49_the_certificate_of_an_instance_carries_the_headers() {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    // The client checks the certificate by the real time.
    let clock = Clock::manual(Clock::system().now());
    let app = App::start(Options { tls: TlsMode::Local, ..options(dir.path(), clock) }).await.unwrap();
    let ca = app.web.control.read().unwrap().get(&LOCAL_CA, &0).unwrap().unwrap().certificate_pem;
    let sent = browser(&ca).get(app.url.join("/ca.pem").unwrap()).send().await.unwrap();
    let (status, headers) = (sent.status().as_u16(), sent.headers().clone());
    let answer = Answer { status, headers, body: sent.text().await.unwrap() };
    assert_eq!((answer.status, answer.body.as_str()), (200, ca.as_str()));
    is_safe(&answer, "/ca.pem");
    app.stop(std::time::Duration::from_secs(5)).await;
}

fn is_safe(answer: &Answer, path: &str) {
    let header = |name: &str| {
        answer.headers.get(name).unwrap_or_else(|| panic!("{path}: no {name}")).to_str().unwrap()
    };
    assert_eq!(header("content-security-policy"), vynos::web::guard::CSP, "{path}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(header("x-frame-options"), "DENY", "{path}");
    assert_eq!(header("referrer-policy"), "same-origin", "{path}");
    assert_eq!(header("x-request-id").len(), 26, "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_pages_for_people_and_problems_for_programs() {
    let (_server, ada) = Server::ready().await;
    let page = ada.get("/nowhere").await;
    assert_eq!(page.status, 404);
    assert!(page.body.contains("There is nothing here") && page.body.contains("request <code>"));
    let problem = ada.send(ada.request("GET", "/nowhere").header("accept", "application/json")).await;
    assert_eq!(problem.status, 404);
    let api = ada.send(ada.request("GET", "/api/v1/me")).await;
    assert_eq!(api.headers["content-type"], "application/problem+json");
    let json: serde_json::Value = serde_json::from_str(&api.body).unwrap();
    assert_eq!((json["status"].as_u64(), json["type"].as_str()), (Some(401), Some("about:blank")));
    assert_eq!(json["request_id"].as_str().unwrap().len(), 26);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_cookie_is_the_session() {
    let (server, ada) = Server::ready().await;
    assert_eq!(ada.cookies().keys().collect::<Vec<_>>(), ["vynos"]);
    let client = server.client();
    let form = [("email", "ada@halden.example"), ("password", crate::harness::PASSWORD)];
    let answer = client.send(client.request("POST", "/sign-in").form(&form)).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"),
        "{cookie}"
    );
}

/// Row 43: a body over the limit is refused without being read into memory.
#[tokio::test(flavor = "multi_thread")]
async fn row_43_a_form_over_the_limit_is_refused() {
    let (_server, ada) = Server::ready().await;
    let answer = ada.post("/account/profile", &[("name", &"x".repeat(400_000)), ("theme", "dark")]).await;
    assert_eq!(answer.status, 413);
}

/// Row 42: random and mutated bodies end in a 4xx, and the process stays up.
#[tokio::test(flavor = "multi_thread")]
async fn row_42_odd_bodies_never_break_the_server() {
    let (server, ada) = Server::ready().await;
    let random = vynos::clock::Random::seeded(7);
    let posts: Vec<_> = ROUTES.iter().filter(|r| r.method == "POST" && r.path != "/sign-out").collect();
    for n in 0..400 {
        let route = posts[n % posts.len()];
        let path = made_up(route.path, "%00");
        let mut body = b"name=a&email=b&csrf=c&code=%ff&theme=dark".to_vec();
        for _ in 0..random.below(12) {
            let at = random.below(body.len() as u64) as usize;
            body[at] = random.bytes::<1>()[0];
        }
        let kind = ["application/x-www-form-urlencoded", "application/json", "text/plain"][n % 3];
        let request = ada.request("POST", &path).header("content-type", kind).body(body);
        let answer = ada.send(request).await;
        assert!(answer.status < 500 && answer.status != 200, "{path}: {}", answer.status);
    }
    assert_eq!(server.client().get("/healthz").await.status, 200);
}
