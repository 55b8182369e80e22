//! The state of the server: the operator's page, `/metrics`, `vynos doctor`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use vynos::sim::salesforce::Consent;

use crate::browser::{is_accessible, is_calm, sign_in};
use crate::console::vynos;
use crate::harness::{METRICS_TOKEN, Server};
use crate::orgs::rig;
use crate::usage::shows;
use crate::webdriver::Browser;

fn open_to_others(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The check of that name.
fn check(output: &std::process::Output, name: &str) -> Value {
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = checks.as_array().unwrap().iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {checks}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_what_is_wrong_at_a_running_and_at_a_stopped_server_and_says_the_remedy() {
    let (server, _ada) = Server::ready().await;
    let words = ["doctor", "--json"];
    let well = vynos(server.dir.path(), &words).await;
    // Whether its disk is full is the test machine's own affair.
    let checks: Value = serde_json::from_slice(&well.stdout).unwrap();
    let wrong = checks.as_array().unwrap().iter().filter(|c| c["state"] == "wrong" && c["name"] != "Disk");
    assert_eq!(wrong.count(), 0, "{checks}");
    let short = check(&well, "Disk")["state"] == "wrong";
    assert_eq!(well.status.code(), Some(i32::from(short)), "{checks}");
    assert_eq!(check(&well, "Mail")["state"], "note", "a link is shown where there is no mail");
    assert!(check(&well, "Audit chain of the instance")["found"].as_str().unwrap().contains("holds"));
    let workspaces =
        checks.as_array().unwrap().iter().filter(|c| c["name"].as_str().unwrap().starts_with("Workspace "));
    assert_eq!(workspaces.count(), 1);

    let key = server.dir.path().join("master.key");
    open_to_others(&key, 0o640);
    let wrong = vynos(server.dir.path(), &words).await;
    assert_eq!(
        (wrong.status.code(), &check(&wrong, "Master key")["state"]),
        (Some(1), &Value::from("wrong"))
    );
    let (dir, _) = server.stop().await;
    // What opens the data itself refuses such a key; the folder it would look at.
    let refused = vynos(dir.path(), &words).await;
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("master.key"));
    open_to_others(&key, 0o600);
    open_to_others(&dir.path().join("data"), 0o755);
    let wrong = vynos(dir.path(), &["doctor"]).await;
    let text = String::from_utf8(wrong.stdout).unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text.contains("WRONG Data folder") && text.contains("chmod 700"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_damaged_search_index_and_a_broken_chain_of_files() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    // The index is written by a job behind the sync.
    shows(&rig.ada, "/admin", "Nothing runs, nothing waits, nothing failed").await;
    let (dir, _) = rig.server.stop().await;
    let home = std::fs::read_dir(dir.path().join("data/workspaces")).unwrap().next().unwrap().unwrap().path();
    let shelf = home.join("index/metadata");
    let largest = std::fs::read_dir(&shelf)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != "meta.json")
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(largest.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(largest.path(), bytes).unwrap();
    let output = vynos(dir.path(), &["doctor"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("search index") && text.contains("WRONG Workspace"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_need_their_token_and_hold_numbers_without_names() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let client = rig.server.client();
    assert_eq!(client.get("/metrics").await.status, 404);
    let with = |token: &str| client.request("GET", "/metrics").bearer_auth(token);
    assert_eq!(client.send(with("another-token-of-that-length-here")).await.status, 404);
    let answer = client.send(with(METRICS_TOKEN)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let value = |name: &str| -> f64 {
        let line = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {}", answer.body)).parse().unwrap()
    };
    assert!(
        value("vynos_data_bytes") > 10_000.0 && value("vynos_disk_bytes") > value("vynos_disk_free_bytes")
    );
    assert!(value("vynos_requests_total{status=\"4xx\"}") >= 2.0);
    assert!(value("vynos_workspaces") >= 1.0 && value("vynos_jobs_failed_total") < 0.5);
    assert!(value("vynos_check_ok{check=\"Master key\"}") > 0.5);
    let all = value("vynos_request_duration_seconds_count");
    assert!((all - value("vynos_request_duration_seconds_bucket{le=\"+Inf\"}")).abs() < 0.5 && all > 3.0);
    // Every line is a comment or a number, and none tells a name.
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        let (_, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok(), "{line}");
    }
    for name in ["Halden", "halden", "Production", "Ada", "OpportunityTriggerHandler"] {
        assert!(!answer.body.contains(name), "{name}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_real_trouble_on_top_and_jobs_that_failed() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    // What the sync began, such as the checks, comes to its end.
    let page = shows(&rig.ada, "/admin", "Nothing runs, nothing waits, nothing failed").await;
    assert!(page.contains("Server status"), "{page}");
    // The clock of the test stands still, that of the simulated org does not.
    let disk = usize::from(page.contains("<b>Disk: "));
    assert_eq!(page.matches("note warn").count() - disk, 1, "{page}");
    assert!(page.contains("Clock: This machine’s clock is"), "{page}");
    rig.sim.misbehave(|faults| faults.remaining_calls = Some(0));
    for failed in 1..=3 {
        assert_eq!(rig.ada.post("/w/halden-energy/o/production/sync", &[]).await.status, 303);
        for _ in 0..600 {
            if rig.server.app().runner.board().failures().len() == failed {
                break;
            }
            tokio::time::timeout(std::time::Duration::from_millis(10), std::future::pending::<()>())
                .await
                .ok();
        }
    }
    let page = rig.ada.get("/admin").await.body;
    assert!(page.contains("Jobs: 3 failed in 24 hours."), "{page}");
    assert_eq!(page.matches("<span class=\"badge bad\">Failed</span>").count(), 3, "{page}");
    assert!(!page.contains("Production"), "an org’s name is contents: {page}");
    open_to_others(&rig.server.dir.path().join("data"), 0o755);
    let page = rig.ada.get("/admin").await.body;
    assert!(page.contains("Data folder: ") && page.contains("chmod 700"), "{page}");
    open_to_others(&rig.server.dir.path().join("data"), 0o700);

    let browser = Browser::start(1440, 1100, true).await;
    sign_in(&browser, &rig.server.base).await;
    let url = format!("{}/admin", rig.server.base);
    browser.goto(&url).await;
    is_calm(&browser, "/admin").await;
    is_accessible(&browser, "/admin").await;
    browser.run("document.documentElement.dataset.theme = 'dark'").await;
    is_accessible(&browser, "/admin dark").await;
    browser.picture("admin-dark").await;
    browser.narrow(390, 844).await;
    browser.goto(&url).await;
    is_calm(&browser, "/admin").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
