//! First run, sign-in, sign-out: the happy path and each way it can go wrong.

use jiff::SignedDuration;

use crate::harness::{PASSWORD, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_wizard_ends_in_a_workspace_and_never_opens_again() {
    let (server, ada) = Server::ready().await;
    let home = ada.get("/").await;
    assert_eq!((home.status, home.location()), (303, "/w/halden-energy/"));
    assert_eq!(ada.get("/w/halden-energy/").await.location(), "/w/halden-energy/orgs");
    assert_eq!(ada.get("/w/halden-energy/audit").await.status, 200);
    assert_eq!(ada.get("/setup").await.location(), "/");
    let again = [
        ("code", server.setup_code.as_str()),
        ("name", "Eve"),
        ("email", "eve@x.example"),
        ("password", PASSWORD),
    ];
    assert_eq!(server.client().post("/setup/account", &again).await.status, 409);
    assert_eq!(server.client().sign_in("eve@x.example", PASSWORD).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn until_setup_has_ended_no_other_page_answers() {
    let server = Server::fresh().await;
    let visitor = server.client();
    for path in ["/", "/sign-in", "/workspaces", "/w/x/audit", "/account/profile", "/nowhere"] {
        assert_eq!(visitor.get(path).await.location(), "/setup", "{path}");
    }
    assert_eq!(visitor.get("/api/v1/me").await.status, 503);
    assert_eq!(visitor.get("/healthz").await.status, 200);
    assert!(visitor.get("/setup").await.body.contains("Setup code"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setup_code_is_told_and_throttled() {
    let server = Server::fresh().await;
    let visitor = server.client();
    let form = [("code", "0000"), ("name", "Ada"), ("email", "ada@halden.example"), ("password", PASSWORD)];
    let answer = visitor.post("/setup/account", &form).await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.body.contains("The setup code is not right")
            || answer.body.contains("the setup code is not right")
    );
    assert!(answer.body.contains("value=\"ada@halden.example\""), "what was typed is kept");
    for _ in 0..5 {
        visitor.post("/setup/account", &form).await;
    }
    assert_eq!(visitor.post("/setup/account", &form).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_passwords_and_bad_addresses_are_told_at_their_field() {
    let server = Server::fresh().await;
    let visitor = server.client();
    let code = server.setup_code.as_str();
    let weak = [("code", code), ("name", "Ada"), ("email", "ada@halden.example"), ("password", "short")];
    assert!(visitor.post("/setup/account", &weak).await.body.contains("href=\"#password\""));
    let bad = [("code", code), ("name", "Ada"), ("email", "ada"), ("password", PASSWORD)];
    assert!(visitor.post("/setup/account", &bad).await.body.contains("href=\"#email\""));
}

/// Row 32 of the security cases: the race for the first account.
#[tokio::test(flavor = "multi_thread")]
async fn row_32_fifty_parallel_first_sign_ups_make_one_owner() {
    let server = Server::fresh().await;
    let code = server.setup_code.clone();
    let tries = (0..50).map(|n| {
        let (client, code) = (server.client(), code.clone());
        tokio::spawn(async move {
            let email = format!("p{n}@halden.example");
            let form =
                [("code", code.as_str()), ("name", "P"), ("email", email.as_str()), ("password", PASSWORD)];
            client.post("/setup/account", &form).await.status
        })
    });
    let mut made = 0;
    for each in tries.collect::<Vec<_>>() {
        match each.await.unwrap() {
            303 => made += 1,
            409 => {}
            other => panic!("status {other}"),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_out_ends_the_session_and_sign_in_begins_one() {
    let (server, ada) = Server::ready().await;
    let old = ada.cookies();
    assert_eq!(ada.post("/sign-out", &[]).await.location(), "/sign-in");
    assert!(ada.cookies().is_empty());
    let stolen = server.client();
    let cookie = format!("vynos={}", old["vynos"]);
    let answer = stolen.send(stolen.request("GET", "/workspaces").header("cookie", cookie)).await;
    assert_eq!(answer.status, 303, "the old cookie opens nothing");
    let back = ada.sign_in("ADA@halden.example", PASSWORD).await;
    assert_eq!((back.status, back.location()), (303, "/"));
    assert_eq!(ada.get("/workspaces").await.status, 200);
}

/// Row 40: the answer tells nothing about which addresses exist.
#[tokio::test(flavor = "multi_thread")]
async fn row_40_known_and_unknown_addresses_answer_alike() {
    let (server, _) = Server::ready().await;
    let known = server.client().sign_in("ada@halden.example", "not the password").await;
    let unknown = server.client().sign_in("eve@halden.example", "not the password").await;
    assert_eq!((known.status, unknown.status), (422, 422));
    let strip = |body: &str| body.replace("ada@", "").replace("eve@", "");
    assert_eq!(strip(&known.body), strip(&unknown.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_idle_and_in_any_case_after_a_week() {
    let (server, ada) = Server::ready().await;
    server.clock.advance(SignedDuration::from_hours(13));
    assert_eq!(ada.get("/workspaces").await.status, 303);
    assert_eq!(ada.sign_in("ada@halden.example", PASSWORD).await.status, 303);
    assert_eq!(ada.get("/workspaces").await.status, 200);
    server.clock.advance(SignedDuration::from_hours(24 * 8));
    assert_eq!(ada.get("/workspaces").await.location(), "/sign-in?next=%2Fworkspaces");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_use_does_not_end_for_idleness() {
    let (server, ada) = Server::ready().await;
    for _ in 0..4 {
        server.clock.advance(SignedDuration::from_hours(7));
        assert_eq!(ada.get("/workspaces").await.status, 200);
    }
    server.clock.advance(SignedDuration::from_hours(13));
    assert_eq!(ada.get("/workspaces").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn next_never_leaves_the_site() {
    let (server, _) = Server::ready().await;
    for (next, to) in [
        ("/account/profile", "/account/profile"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil", "/"),
    ] {
        let client = server.client();
        let form = [("email", "ada@halden.example"), ("password", PASSWORD), ("next", next)];
        let answer = client.send(client.request("POST", "/sign-in").form(&form)).await;
        assert_eq!(answer.location(), to, "{next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_shown_once_work_until_revoked_and_only_in_one_place() {
    let (server, ada) = Server::ready().await;
    let made =
        ada.post("/w/halden-energy/tokens", &[("name", "ci"), ("scope", "read"), ("days", "30")]).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    assert!(token.starts_with("vyn_") && token.len() == 47);
    assert!(!ada.get("/w/halden-energy/tokens").await.body.contains(&token));
    let api = server.client();
    let me = |token: String| api.request("GET", "/api/v1/me").bearer_auth(token);
    let answer = api.send(me(token.clone())).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\"role\":\"owner\"") && answer.body.contains("halden-energy"));
    let both = ada.send(ada.request("GET", "/api/v1/me").bearer_auth(&token)).await;
    assert_eq!(both.status, 401, "row 35: a credential in two places is refused");
    let wrong = api.send(me(format!("vyn_{}", "A".repeat(43)))).await;
    server.clock.advance(SignedDuration::from_hours(24 * 31));
    let expired = api.send(me(token.clone())).await;
    assert_eq!((wrong.status, expired.status), (401, 401));
    let strip = |body: &str| body.split("\"request_id\"").next().unwrap().to_owned();
    assert_eq!(strip(&wrong.body), strip(&expired.body));
    ada.sign_in("ada@halden.example", PASSWORD).await;
    ada.forget_csrf();
    let made =
        ada.post("/w/halden-energy/tokens", &[("name", "two"), ("scope", "read"), ("days", "30")]).await;
    let token = made.between("<code id=\"fresh-token\">", "</code>").unwrap();
    let revoke = made.between("action=\"/w/halden-energy/tokens/", "\"").unwrap();
    assert_eq!(ada.post(&format!("/w/halden-energy/tokens/{revoke}"), &[]).await.status, 303);
    assert_eq!(api.send(me(token)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_sessions_and_refuses_a_second_process() {
    let (server, ada) = Server::ready().await;
    let second =
        vynos::app::App::start(crate::harness::options(server.dir.path(), server.clock.clone())).await;
    assert!(matches!(second.err(), Some(vynos::app::StartError::InUse(_))));
    let cookies = ada.cookies();
    let (dir, clock) = server.stop().await;
    let server = Server::on(dir, clock).await;
    let back = server.client();
    let cookie = format!("vynos={}", cookies["vynos"]);
    assert_eq!(back.send(back.request("GET", "/workspaces").header("cookie", cookie)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_demo_is_not_served_and_a_demo_leaves_real_data_alone() {
    let (server, _) = Server::ready().await;
    let (dir, clock) = server.stop().await;
    let options = |demo| vynos::app::Options { demo, ..crate::harness::options(dir.path(), clock.clone()) };
    let error = vynos::app::App::start(options(true)).await.err().unwrap();
    assert!(matches!(error, vynos::app::StartError::ForeignData(_)), "{error}");
    assert!(error.to_string().contains("only works on its own data"), "{error}");
    let app = vynos::app::App::start(options(false)).await.unwrap();
    let operator = vynos::store::audit::Actor::Operator;
    app.web.control.change_settings(operator, |settings| settings.demo = true).unwrap();
    app.stop(std::time::Duration::from_secs(10)).await;
    let error = vynos::app::App::start(options(false)).await.err().unwrap();
    assert!(matches!(error, vynos::app::StartError::DemoData), "{error}");
    assert!(error.to_string().contains("choose another --data-dir"), "{error}");
    let app = vynos::app::App::start(options(true)).await.unwrap();
    app.stop(std::time::Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_master_key_is_told_and_changes_nothing() {
    let (server, _) = Server::ready().await;
    let (dir, clock) = server.stop().await;
    std::fs::rename(dir.path().join("master.key"), dir.path().join("right.key")).unwrap();
    vynos::seal::MasterKey::create(&dir.path().join("master.key")).unwrap();
    let error =
        vynos::app::App::start(crate::harness::options(dir.path(), clock.clone())).await.err().unwrap();
    assert!(error.to_string().contains("give the master key"), "{error}");
    std::fs::rename(dir.path().join("right.key"), dir.path().join("master.key")).unwrap();
    let server = Server::on(dir, clock).await;
    assert_eq!(server.client().sign_in("ada@halden.example", PASSWORD).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_newer_format_or_of_others_is_refused_politely() {
    let (server, _) = Server::ready().await;
    let (dir, clock) = server.stop().await;
    std::fs::write(dir.path().join("data/VERSION"), "99\n").unwrap();
    let error =
        vynos::app::App::start(crate::harness::options(dir.path(), clock.clone())).await.err().unwrap();
    assert!(error.to_string().contains("made by a newer Vynos"), "{error}");
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("data")).unwrap();
    std::fs::write(other.path().join("data/holiday.jpg"), "x").unwrap();
    vynos::seal::MasterKey::create(&other.path().join("master.key")).unwrap();
    let error = vynos::app::App::start(crate::harness::options(other.path(), clock)).await.err().unwrap();
    assert!(error.to_string().contains("not Vynos data"), "{error}");
}
