//! Erasing a workspace of 1 GB, from the end of its 30 days to the last commit, against `rm -rf` of the same files; and
//! compacting a data file.

use std::io::Write as _;
use std::process::Command;

use jiff::SignedDuration;
use vynos::app::{App, Options, TlsMode};
use vynos::clock::{Clock, Random};
use vynos::identity::control::Note;
use vynos::identity::{Control, IdentityError};
use vynos::people::create_workspace;
use vynos::seal::{DataKey, MasterKey, Secret, Use};
use vynos::store::audit::{Action, Actor};
use vynos::store::{File, StoreError, Table};

use super::timed;

const BLOBS: usize = 900;
const BLOB: usize = 1 << 20;
/// Of a kilobyte each.
const ROWS: u64 = 100_000;
const ROWS_OF: Table<u64, String> = Table::new("bench_rows", 1);

pub fn measure() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(erase());
    compact();
}

fn row(n: u64) -> String {
    format!("{n} {}", "of a catalogue, a message or a passage ".repeat(26))
}

async fn erase() {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let clock = Clock::manual("2026-11-23T09:00:00Z".parse().unwrap());
    let options = Options {
        data_dir: dir.path().join("data"),
        master_key_file: dir.path().join("master.key"),
        metrics_token: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        external_url: None,
        tls: TlsMode::Plain,
        behind_proxy: false,
        demo: false,
        extra_salesforce: Vec::new(),
        program: None,
        workers: Some(1),
        clock: clock.clone(),
        random: Random::system(),
    };
    let app = App::start(options).await.unwrap();
    let control = app.web.control.clone();
    let password = Secret::new("copper kettle morning".into());
    let new = Control::prepare_account("ada@halden.example", "Ada", &password, true).unwrap();
    let note = |action| Note::new(Actor::Operator, action, "bench");
    let ada = control.change_now(note(Action::InstanceSetUp), |tx| control.insert_account(tx, new)).unwrap();
    create_workspace(&app.web, Actor::Operator, ada, "Large", None).unwrap();
    let (id, _) = control.workspace_by_slug("large").unwrap().unwrap();
    let ws = app.web.door.for_runner(id).unwrap();
    let bytes = vec![7; BLOB];
    for _ in 0..BLOBS {
        let mut blob = ws.blobs().create().unwrap();
        blob.write_all(&bytes).unwrap();
        blob.finish().unwrap();
    }
    for first in (0..ROWS).step_by(10_000) {
        ws.change(Action::OrgSynced, id, move |tx| {
            (first..first + 10_000).try_for_each(|n| tx.put(&ROWS_OF, &n, &row(n)))?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    }
    drop(ws);
    app.web.pool.close_idle();
    let home = app.web.pool.data().home(id);
    let copy = dir.path().join("copy");
    assert!(Command::new("cp").arg("-r").args([&home, &copy]).status().unwrap().success());
    assert!(Command::new("sync").status().unwrap().success());
    let ((), plain) = timed(|| assert!(Command::new("rm").arg("-rf").arg(&copy).status().unwrap().success()));
    control
        .change_now(note(Action::WorkspaceDeletionStarted), |tx| {
            control.start_workspace_deletion(tx, id, ada)?;
            Ok::<_, IdentityError>(())
        })
        .unwrap();
    clock.advance(SignedDuration::from_hours(30 * 24));
    let began = std::time::Instant::now();
    assert_eq!(app.eraser.erase_workspaces().await.unwrap(), (1, 0));
    let took = began.elapsed();
    let it = control.erasure(id).unwrap().unwrap();
    assert!(!home.exists() && it.done.is_some());
    println!(
        "erasure: {} files, {:.2} GB, {} rows in {:.2} s; rm -rf of the same files {:.2} s, ratio {:.1}",
        it.files,
        it.bytes as f64 / 1e9,
        it.rows,
        took.as_secs_f64(),
        plain.as_secs_f64(),
        took.as_secs_f64() / plain.as_secs_f64()
    );
    app.stop(std::time::Duration::from_secs(5)).await;
}

fn compact() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let file = File::create(&path, &DataKey::new().sub(Use::Pages), 2 << 20).unwrap();
    for first in (0..ROWS).step_by(10_000) {
        file.write(|tx| (first..first + 10_000).try_for_each(|n| tx.put(&ROWS_OF, &n, &row(n)))).unwrap();
    }
    let size = || std::fs::metadata(&path).unwrap().len() as f64 / 1e6;
    let before = size();
    let (done, took) = timed(|| file.compact().unwrap());
    assert!(done);
    println!(
        "compaction: {before:.0} MB of {ROWS} rows in {:.2} s, {:.0} MB/s; {:.0} MB after",
        took.as_secs_f64(),
        before / took.as_secs_f64(),
        size()
    );
}
