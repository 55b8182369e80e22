//! Erasing a workspace step by step: killed after each, done again, with somebody still inside, and the audit lines that
//! stay.

use jiff::SignedDuration;
use vynos::erasure::ErasureError;
use vynos::identity::erasures::Step;
use vynos::identity::kept_audit::KEPT_AUDIT;
use vynos::jobs::JOBS_DUE;
use vynos::seal::{MasterKey, Use};
use vynos::store::audit::Broken;
use vynos::store::{File, Read as _, StoreError};
use vynos::workspace::DataDir;

use crate::access::signed_in;
use crate::chat_pages::talking;
use crate::deletion::{delete, erase};
use crate::harness::{Client, Server};
use crate::knowledge::{says, upload};
use crate::members::workspace;

const STEPS: [Step; 6] = [Step::Lines, Step::Key, Step::Files, Step::Control, Step::Done, Step::Done];

/// Waits until no job is due or runs.
pub async fn idle(server: &Server) {
    let web = &server.app().web;
    let ws = web.door.for_runner(web.control.all_workspaces().unwrap()[0].0).unwrap();
    for _ in 0..1_000 {
        let due = ws.read().unwrap().scan(&JOBS_DUE).limit(1).count().unwrap();
        if due == 0 && server.app().runner.board().all().is_empty() {
            return;
        }
        tokio::time::timeout(std::time::Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("jobs still run");
}

async fn with_document() -> (Server, Client) {
    let (server, ada) = Server::ready().await;
    upload(&ada, &[("guide.md", b"# Guide\n\nGreet people.\n")]).await;
    says(&ada, "badge ok").await;
    (server, ada)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_after_any_step_goes_on_where_it_was() {
    for ended_after in 0..STEPS.len() {
        let (server, ada) = with_document().await;
        let id = workspace(&server);
        assert_eq!(delete(&ada).await.status, 303);
        server.clock.advance(SignedDuration::from_hours(30 * 24));
        for step in &STEPS[..ended_after] {
            assert_eq!(server.app().eraser.advance(id).await.unwrap(), *step);
        }
        let (dir, clock) = server.stop().await;
        // What a step had done before its end was noted.
        let data = dir.path().join("data");
        let home = data.join("workspaces").join(id.to_string());
        match ended_after {
            2 => std::fs::remove_file(data.join("keys").join(id.to_string())).unwrap(),
            3 => std::fs::remove_file(home.join("keyspace.redb")).unwrap(),
            _ => {}
        }
        let server = Server::on(dir, clock).await;
        // The look at the start may be at it already; either way it ends.
        let control = server.app().web.control.clone();
        for _ in 0..500 {
            let _ = server.app().eraser.erase_workspaces().await.unwrap();
            if control.erasure(id).unwrap().is_some_and(|it| it.step == Step::Done) {
                break;
            }
            tokio::time::timeout(std::time::Duration::from_millis(10), std::future::pending::<()>())
                .await
                .ok();
        }
        let it = control.erasure(id).unwrap().unwrap();
        assert!(it.done.is_some() && it.key_destroyed.is_some(), "after {ended_after}: {it:?}");
        assert!(it.files >= 3 && it.bytes > 0, "after {ended_after}: {it:?}");
        assert!(!home.exists() && !data.join("keys").join(id.to_string()).exists(), "after {ended_after}");
        assert!(control.workspace(id).unwrap().is_none());
        assert_eq!(control.verify_kept(id).unwrap(), Ok(it.audit_lines), "after {ended_after}");
        assert!(it.audit_lines > 0 && it.audit_held == Some(true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_destroyed_while_somebody_is_still_inside() {
    let (server, ada) = with_document().await;
    let id = workspace(&server);
    let inside = server.app().web.door.for_runner(id).unwrap();
    assert_eq!(delete(&ada).await.status, 303);
    server.clock.advance(SignedDuration::from_hours(30 * 24));
    let eraser = &server.app().eraser;
    assert_eq!(eraser.erase_workspaces().await.unwrap(), (0, 1));
    assert!(matches!(eraser.advance(id).await, Err(ErasureError::Busy)));
    let data = server.dir.path().join("data");
    assert!(data.join("keys").join(id.to_string()).exists());
    assert!(inside.read().is_ok() && inside.verify_file().is_ok(), "what is open stays whole");
    assert!(server.app().web.door.for_runner(id).is_err(), "and nobody else comes in");
    drop(inside);
    assert_eq!(eraser.erase_workspaces().await.unwrap(), (1, 0));
    assert!(!data.join("workspaces").join(id.to_string()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_revoked_at_salesforce_and_one_that_is_not_reached_holds_nothing_up() {
    let (rig, model) = talking().await;
    assert!(rig.sim.live_tokens() > 0);
    let id = workspace(&rig.server);
    erase(&rig.server, &rig.ada).await;
    assert_eq!(rig.sim.live_tokens(), 0);
    let it = rig.server.app().web.control.erasure(id).unwrap().unwrap();
    assert_eq!((it.revoked, it.not_revoked), (1, 0));
    model.stop().await;

    let (rig, model) = talking().await;
    let id = workspace(&rig.server);
    rig.sim.stop().await;
    erase(&rig.server, &rig.ada).await;
    let it = rig.server.app().web.control.erasure(id).unwrap().unwrap();
    assert_eq!((it.revoked, it.not_revoked), (0, 1));
    model.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_lines_stay_for_their_own_year_and_what_is_changed_in_them_shows() {
    let (server, ada) = with_document().await;
    let id = workspace(&server);
    server.clock.advance(SignedDuration::from_hours(100 * 24));
    let ada_again = signed_in(&server, "ada").await;
    drop(ada);
    upload(&ada_again, &[("late.md", b"# Late\n")]).await;
    idle(&server).await;
    erase(&server, &ada_again).await;
    let app = server.app();
    let control = &app.web.control;
    let all = control.kept_lines(id).unwrap();
    assert_eq!(control.verify_kept(id).unwrap(), Ok(all));
    let operator = signed_in(&server, "ada").await;
    let page = operator.get(&format!("/admin/erasures?verify={id}")).await;
    assert!(page.body.contains(&format!("All {all} lines hold.")), "{}", page.body);
    assert!(!page.body.contains("late.md"));
    // 130 days after the first lines: the early ones go 235 days later, the late ones stay.
    server.clock.advance(SignedDuration::from_hours(234 * 24));
    assert_eq!(app.eraser.prune_kept().await.unwrap(), 0);
    server.clock.advance(SignedDuration::from_hours(2 * 24));
    let pruned = app.eraser.prune_kept().await.unwrap();
    assert!(pruned > 0 && pruned < all, "{pruned} of {all}");
    assert_eq!(control.verify_kept(id).unwrap(), Ok(all - pruned));
    let rows = control.read().unwrap().scan(&KEPT_AUDIT).under(&id).rows().unwrap();
    let (key, line) = rows.last().unwrap().clone();
    let mut changed = line.clone();
    changed.target = "another".into();
    control.touch::<StoreError>(|tx| tx.put(&KEPT_AUDIT, &key, &changed)).unwrap();
    assert_eq!(control.verify_kept(id).unwrap(), Err(Broken::Link(key.1)));
    control.touch::<StoreError>(|tx| tx.remove(&KEPT_AUDIT, &key).map(|_| ())).unwrap();
    assert_eq!(control.verify_kept(id).unwrap(), Err(Broken::Tail(key.1 - 1)));
    control.touch::<StoreError>(|tx| tx.put(&KEPT_AUDIT, &key, &line)).unwrap();
    assert!(control.verify_kept(id).unwrap().is_ok());
    server.clock.advance(SignedDuration::from_hours(130 * 24));
    assert_eq!(app.eraser.prune_kept().await.unwrap(), all - pruned);
    assert_eq!(control.verify_kept(id).unwrap(), Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_key_a_copy_of_the_files_opens_for_nobody_and_with_it_nothing_is_left_to_open() {
    let (server, ada) = with_document().await;
    let id = workspace(&server);
    let data = server.dir.path().join("data");
    let key = || {
        let master = MasterKey::load(&server.dir.path().join("master.key")).unwrap();
        DataDir::open(&data, master).unwrap().key(&id.to_string())
    };
    let aside = key().unwrap().sub(Use::Pages);
    let home = data.join("workspaces").join(id.to_string());
    let copy = server.dir.path().join("copy.redb");
    assert_eq!(delete(&ada).await.status, 303);
    server.app().web.pool.close_idle();
    std::fs::copy(home.join("keyspace.redb"), &copy).unwrap();
    server.clock.advance(SignedDuration::from_hours(30 * 24));
    assert_eq!(server.app().eraser.erase_workspaces().await.unwrap(), (1, 0));
    assert!(key().is_err(), "the key is gone");
    let control = server.dir.path().join("data/control.redb");
    assert!(!home.exists() && control.exists());
    let other = vynos::seal::DataKey::new().sub(Use::Pages);
    assert!(matches!(File::open(&copy, &other, 1 << 20), Err(StoreError::WrongKey(_))));
    // The control: the copy is whole, it is the key that was missing.
    assert!(File::open(&copy, &aside, 1 << 20).unwrap().verify().is_ok());
}
