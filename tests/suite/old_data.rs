//! Data that earlier builds wrote is opened by this one. Each folder of `tests/old-data` holds a data directory and its
//! key, made by `VYNOS_OLD_DATA=0.x cargo test --test suite old_data -- --ignored` with the build of that version.

use std::path::{Path, PathBuf};

use vynos::clock::Clock;

use crate::harness::{PASSWORD, Server};
use crate::knowledge::{says, upload};

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old-data")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[cfg(unix)]
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kept_data_directory_opens_and_says_what_it_said() {
    let mut versions = 0;
    for version in std::fs::read_dir(kept()).unwrap() {
        let from = version.unwrap().path();
        let dir = tempfile::tempdir().unwrap();
        copy(&from, dir.path());
        // A checkout keeps no modes; the key must be the owner's alone.
        private(&dir.path().join("master.key"));
        let server = Server::on(dir, Clock::manual("2026-11-24T09:00:00Z".parse().unwrap())).await;
        let ada = server.client();
        assert_eq!(ada.sign_in("ada@halden.example", PASSWORD).await.status, 303, "{}", from.display());
        let library = ada.get("/w/halden-energy/knowledge").await.body;
        assert!(library.contains("old runbook.md") && library.contains("badge ok"), "{library}");
        let found = ada.get("/w/halden-energy/knowledge?q=nightly").await.body;
        assert!(found.contains("<mark>nightly</mark>"), "{found}");
        assert_eq!(ada.get("/w/halden-energy/audit").await.status, 200);
        let control = &server.app().web.control;
        assert!(control.verify_audit().unwrap().is_ok());
        let workspace = control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
        let ws = server.app().web.door.for_runner(workspace).unwrap();
        assert!(ws.verify_audit().unwrap().is_ok());
        ws.verify_file().unwrap();
        versions += 1;
    }
    assert!(versions > 0, "nothing is kept");
}

/// Makes the data directory of this build's version.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into tests/old-data; run once for a version"]
async fn keep_a_data_directory_of_this_version() {
    let version = std::env::var("VYNOS_OLD_DATA").expect("VYNOS_OLD_DATA names the folder");
    let (server, ada) = Server::ready().await;
    upload(&ada, &[("old runbook.md", b"# Runbook\n\nThe nightly job runs at two.\n")]).await;
    says(&ada, "badge ok").await;
    let (dir, _) = server.stop().await;
    copy(dir.path(), &kept().join(version));
}
