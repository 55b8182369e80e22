//! Security headers, cookies and the shape of errors on every route.

use vynos::features::ROUTES;

use crate::access::made_up;
use crate::harness::Server;

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
