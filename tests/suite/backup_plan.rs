//! Backups that the server makes by itself: when, how many stay, what operators are told when one fails.

use std::path::Path;

use jiff::SignedDuration;
use vynos::store::Read as _;
use vynos::store::audit::{AUDIT, Action};

use crate::backup::{path, run};
use crate::console::vynos;
use crate::harness::{Client, Server};

async fn plan(ada: &Client, folder: &str, keep: &str, keep_days: &str) -> crate::harness::Answer {
    let fields = [
        ("folder", folder),
        ("time", "03:00"),
        ("every_hours", "24"),
        ("keep", keep),
        ("keep_days", keep_days),
    ];
    ada.post("/admin/backups", &fields).await
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn audited(server: &Server, action: Action) -> usize {
    let lines = server.app().web.control.read().unwrap().scan(&AUDIT).rows().unwrap();
    lines.iter().filter(|(_, line)| line.action == action).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_at_its_time_read_back_and_the_oldest_of_ours_go() {
    let (server, ada) = Server::ready().await;
    let kept = tempfile::tempdir().unwrap();
    std::fs::write(kept.path().join("holiday.vynos"), "somebody else's").unwrap();
    std::fs::write(kept.path().join("vynos-backup-20261101T030000Z.vynos.new"), "half").unwrap();
    assert!(ada.get("/admin/backups").await.body.contains("No backup is planned"));
    let folder = kept.path().display().to_string();
    assert_eq!(plan(&ada, &folder, "2", "0").await.location(), "/admin/backups?saved=true");
    assert!(
        ada.get("/admin/backups").await.body.contains("The first one is due on 24 November 2026, 03:00 UTC")
    );
    let keeper = server.app().backups.clone();
    assert!(!keeper.run_due().await, "its time has not come");
    for day in ["20261124", "20261125", "20261126"] {
        let ahead: jiff::Timestamp =
            format!("{}-{}-{}T03:00:30Z", &day[..4], &day[4..6], &day[6..]).parse().unwrap();
        server.clock.advance(ahead.duration_since(server.clock.now()));
        assert!(keeper.run_due().await, "{day}");
        assert!(!keeper.run_due().await, "{day}: once");
    }
    let ours = ["vynos-backup-20261125T030030Z.vynos", "vynos-backup-20261126T030030Z.vynos"];
    assert_eq!(names(kept.path()), ["holiday.vynos", ours[0], ours[1]]);
    let operator = server.client();
    assert_eq!(operator.sign_in("ada@halden.example", crate::harness::PASSWORD).await.status, 303);
    let page = operator.get("/admin/backups").await.body;
    assert!(
        page.contains("badge ok\">Good") && page.contains("The last one is of 26 November 2026"),
        "{page}"
    );
    assert!(page.contains(ours[1]) && page.contains(">Removed<") && page.contains(">Read back<"), "{page}");
    assert_eq!((audited(&server, Action::BackupMade), audited(&server, Action::BackupRemoved)), (3, 1));
    let key = path(server.dir.path(), "master.key");
    let verified = run(&["verify", &path(kept.path(), ours[1]), "--master-key-file", &key]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    // The next two days the server slept: it makes one, not two.
    server.clock.advance(SignedDuration::from_hours(60));
    assert!(keeper.run_due().await && !keeper.run_due().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_backup_is_told_to_operators_on_every_page_that_looks_and_recovers_by_the_button() {
    let (server, ada) = Server::ready().await;
    let kept = tempfile::tempdir().unwrap();
    let folder = kept.path().join("gone");
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(plan(&ada, &folder.display().to_string(), "7", "30").await.status, 303);
    std::fs::remove_dir(&folder).unwrap();
    server.clock.advance(SignedDuration::from_hours(19));
    let ada = server.client();
    assert_eq!(ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await.status, 303);
    assert!(server.app().backups.run_due().await);
    let page = ada.get("/admin/backups").await.body;
    assert!(page.contains(">Failed<") && page.contains("No such file or directory"), "{page}");
    assert!(ada.get("/admin").await.body.contains("Backups: The backup of 24 November 2026"));
    assert!(ada.get("/w/halden-energy/notifications").await.body.contains("A backup failed"));
    let doctor = vynos(server.dir.path(), &["doctor"]).await;
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("WRONG Backups"));
    assert_eq!(audited(&server, Action::BackupFailed), 1);
    assert!(!server.app().backups.run_due().await, "it waits half an hour");
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(ada.post("/admin/backups/now", &[]).await.status, 303);
    for _ in 0..1_200 {
        if ada.get("/admin/backups").await.body.contains("badge ok\">Good") {
            break;
        }
        tokio::time::timeout(std::time::Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    assert!(ada.get("/admin/backups").await.body.contains("badge ok\">Good"));
    assert_eq!(names(&folder).len(), 1);
    // None for longer than the plan allows is told as well.
    server.clock.advance(SignedDuration::from_hours(10));
    assert!(ada.get("/admin/backups").await.body.contains("badge ok\">Good"));
    server.clock.advance(SignedDuration::from_hours(17));
    let ada = server.client();
    assert_eq!(ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await.status, 303);
    assert!(ada.get("/admin/backups").await.body.contains("Too old"));
    assert_eq!(ada.post("/admin/backups/off", &[]).await.status, 303);
    assert!(ada.get("/admin/backups").await.body.contains("No backup is planned"));
    assert_eq!(names(&folder).len(), 1, "files stay");
    assert_eq!(audited(&server, Action::BackupPlanChanged), 2);
    assert_eq!(ada.post("/admin/backups/now", &[]).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_can_not_work_is_refused_at_its_fields() {
    let (server, ada) = Server::ready().await;
    let data = server.dir.path().join("data").display().to_string();
    for (folder, said) in [
        ("backups", "no absolute path"),
        ("/nowhere/at/all", "No such file"),
        (&data, "lies in the data folder"),
    ] {
        let answer = plan(&ada, folder, "0", "x").await;
        assert_eq!(answer.status, 422);
        assert!(answer.body.contains(said) && answer.body.contains("from 1 to 1000"), "{}", answer.body);
    }
    assert_eq!(audited(&server, Action::BackupPlanChanged), 0);
}
