//! What a restore refuses, and that it then leaves everything as it was: damaged, cut and foreign files, wrong keys, a
//! directory that is in use, a disk that is full, a restore that was killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vynos::backup::BackupError;
use vynos::backup::check::{Contents, check};
use vynos::backup::sealed::{Opener, Sealed};
use vynos::clock::Random;
use vynos::seal::{MasterKey, RecoveryCode};

use crate::backup::{path, run};
use crate::console::vynos;
use crate::harness::{Client, PASSWORD, Server};

/// A small instance, stopped, with a backup of it beside: `a.vynos`.
async fn backed_up() -> (tempfile::TempDir, vynos::clock::Clock, String) {
    let server = Server::fresh().await;
    let (ada, code): (Client, String) = server.set_up_with_code().await;
    assert_eq!(ada.post("/setup/mail/next", &[]).await.status, 303);
    assert_eq!(ada.post("/setup/workspace", &[("name", "Halden Energy")]).await.status, 303);
    let (dir, clock) = server.stop().await;
    // Of a stopped instance: the other way is in `backup`.
    let made = vynos(dir.path(), &["export", "--out", &path(dir.path(), "a.vynos"), "--json"]).await;
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["workspaces"], 1);
    (dir, clock, code)
}

fn checked(file: &Path, master: &MasterKey) -> Result<Contents, BackupError> {
    let sealed = Sealed::open(file)?;
    let key = sealed.key(&Opener::Master(master))?;
    check(&sealed, &key, &mut |_| Ok(()))
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_and_every_flipped_bit_is_refused_and_the_place_named() {
    let (dir, _, _) = backed_up().await;
    let master = MasterKey::load(&dir.path().join("master.key")).unwrap();
    let whole = std::fs::read(dir.path().join("a.vynos")).unwrap();
    assert_eq!(checked(&dir.path().join("a.vynos"), &master).unwrap().workspaces, 1);
    let other = dir.path().join("b.vynos");
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&other, bytes).unwrap();
        match checked(&other, &master) {
            Err(BackupError::Broken { place, why }) => {
                assert!(!place.is_empty() && !why.is_empty(), "{what}");
            }
            Err(BackupError::NotABackup) => {}
            got => panic!("{what}: {got:?}"),
        }
    };
    let length = whole.len();
    for cut in (0..length).filter(|cut| *cut < 1_500 || length - cut < 1_500 || cut % 101 == 0) {
        refused(&whole[..cut], &format!("cut at {cut}"));
    }
    refused(&[&whole[..], b"x"].concat(), "a byte more");
    let random = Random::seeded(7);
    let places = (0..1_500).chain((0..1_500).map(|_| random.below(length as u64) as usize));
    for place in places {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << random.below(8);
        refused(&flipped, &format!("byte {place}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_a_used_directory_and_a_foreign_file_are_refused_and_nothing_is_written() {
    let (dir, _, code) = backed_up().await;
    let file = path(dir.path(), "a.vynos");
    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("master.key");
    MasterKey::create(&key).unwrap();
    let other_code = RecoveryCode::generate();
    std::fs::write(elsewhere.path().join("code"), other_code.expose()).unwrap();
    std::fs::write(elsewhere.path().join("typo"), &code[1..]).unwrap();
    std::fs::write(elsewhere.path().join("text"), "no backup at all").unwrap();
    let before = listed(elsewhere.path());
    let (wrong, typo) = (path(elsewhere.path(), "code"), path(elsewhere.path(), "typo"));
    let text = path(elsewhere.path(), "text");
    let rows: [(&[&str], i32, &str); 5] = [
        (&["import", &file], 3, "does not open this backup"),
        (&["import", &file, "--recovery-code-file", &wrong], 3, "of another instance"),
        (&["import", &file, "--recovery-code-file", &typo], 3, "not a recovery code"),
        (&["import", &text], 1, "no Vynos backup"),
        (&["import", "/nowhere/a.vynos"], 3, "/nowhere/a.vynos"),
    ];
    for (words, status, said) in rows {
        let refused = vynos(elsewhere.path(), words).await;
        let err = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(status), "{words:?} {err}");
        assert!(err.contains(said) && err.lines().count() == 1, "{words:?} {err}");
        assert_eq!(listed(elsewhere.path()), before, "{words:?}");
    }
    // The instance itself is in the way.
    let used = vynos(dir.path(), &["import", &file]).await;
    assert_eq!(used.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&used.stderr).contains("Nothing was changed"));
    // A rehearsal with the right code writes nothing, not even a key.
    std::fs::write(elsewhere.path().join("code"), &code).unwrap();
    std::fs::remove_file(&key).unwrap();
    let before = listed(elsewhere.path());
    let dry = vynos(elsewhere.path(), &["import", &file, "--recovery-code-file", &wrong, "--dry-run"]).await;
    assert_eq!(dry.status.code(), Some(0), "{}", String::from_utf8_lossy(&dry.stderr));
    assert!(String::from_utf8_lossy(&dry.stdout).contains("Nothing was written"));
    assert_eq!(listed(elsewhere.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_killed_is_no_data_and_the_next_one_clears_it() {
    let (dir, clock, _) = backed_up().await;
    let file = path(dir.path(), "a.vynos");
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::copy(dir.path().join("master.key"), elsewhere.path().join("master.key")).unwrap();
    let data = elsewhere.path().join("data");
    // Killed while parts were moved into place: everything but VERSION, which comes last.
    std::fs::create_dir_all(data.join("restoring/keys")).unwrap();
    std::fs::create_dir_all(data.join("workspaces/half")).unwrap();
    std::fs::write(data.join("control.redb"), "half").unwrap();
    let served = vynos(elsewhere.path(), &["setup-code"]).await;
    assert_eq!(served.status.code(), Some(3), "half a restore is no data");
    let imported = vynos(elsewhere.path(), &["import", &file]).await;
    assert_eq!(imported.status.code(), Some(0), "{}", String::from_utf8_lossy(&imported.stderr));
    assert!(!data.join("restoring").exists() && !data.join("workspaces/half").exists());
    let server = Server::on(elsewhere, clock).await;
    assert_eq!(server.client().sign_in("ada@halden.example", PASSWORD).await.status, 303);
    // Whoever restores over the new instance is refused.
    let again = vynos(server.dir.path(), &["import", &file]).await;
    assert_eq!(again.status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_never_replaces_a_file_and_a_full_disk_leaves_none() {
    let (server, _ada) = Server::ready().await;
    let dir = server.dir.path();
    std::fs::write(dir.join("taken"), "mine").unwrap();
    let taken = vynos(dir, &["export", "--out", &path(dir, "taken")]).await;
    assert_eq!(taken.status.code(), Some(3));
    assert_eq!(std::fs::read(dir.join("taken")).unwrap(), b"mine");
    let nowhere = vynos(dir, &["export", "--out", &path(dir, "nowhere/a.vynos")]).await;
    assert_eq!(nowhere.status.code(), Some(3));
    let mut full = Command::new(env!("CARGO_BIN_EXE_vynos"));
    full.args(["export", "--out", "-", "--data-dir", &path(dir, "data")]).stderr(Stdio::piped());
    full.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let full = tokio::task::spawn_blocking(move || full.output().unwrap()).await.unwrap();
    let err = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(3), "{err}");
    assert!(err.contains("the disk is full"), "{err}");
    // Through a pipe it comes whole.
    let mut piped = Command::new(env!("CARGO_BIN_EXE_vynos"));
    piped.args(["export", "--out", "-", "--data-dir", &path(dir, "data")]);
    let piped = tokio::task::spawn_blocking(move || piped.output().unwrap()).await.unwrap();
    std::fs::write(dir.join("piped.vynos"), &piped.stdout).unwrap();
    let key = path(dir, "master.key");
    let verified = run(&["verify", &path(dir, "piped.vynos"), "--master-key-file", &key, "--json"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let line: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(line["contents"]["workspaces"], 1);
    std::fs::write(dir.join("cut.vynos"), &piped.stdout[..piped.stdout.len() - 1]).unwrap();
    let cut = run(&["verify", &path(dir, "cut.vynos"), "--master-key-file", &key]).await;
    assert_eq!(cut.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&cut.stderr).contains("the end of the file"));
    let left = listed(dir).into_iter().filter(|p| p.extension().is_some_and(|e| e == "new")).count();
    assert_eq!(left, 0);
}
