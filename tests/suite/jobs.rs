//! Jobs: retried, cancelled, survived, never lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use tokio::sync::Notify;
use vynos::identity::Control;
use vynos::ids::{JobId, WorkspaceId};
use vynos::jobs::{Board, JOBS, JobCause, JobError, JobState, Kind, Runner, enqueue};
use vynos::store::audit::Action;
use vynos::store::{Read as _, StoreError};
use vynos::workspace::{Door, Pool};

use crate::harness::Server;

struct Rig {
    _server: Server,
    clock: vynos::clock::Clock,
    door: Door,
    pool: Arc<Pool>,
    id: WorkspaceId,
}

/// A workspace whose own runner was stopped, so that a test can start another with its kinds.
async fn rig() -> Rig {
    let (server, _) = Server::ready().await;
    let web = server.app().web.clone();
    let (id, _) = web.control.workspace_by_slug("halden-energy").unwrap().unwrap();
    server.app().runner.stop().await;
    web.pool.close_idle();
    // A second pool on the same files has hooks of its own.
    let control: Control = web.control.clone();
    let pool = Arc::new(Pool::new(
        Arc::clone(web.pool.shared_data()),
        server.clock.clone(),
        vynos::clock::Random::system(),
    ));
    let door = Door::new(control, Arc::clone(&pool));
    Rig { clock: server.clock.clone(), _server: server, door, pool, id }
}

impl Rig {
    fn start(&self, kinds: Vec<Kind>) -> Runner {
        let random = vynos::clock::Random::system();
        Runner::start(
            self.door.clone(),
            &self.pool,
            Board::default(),
            kinds,
            vec![self.id],
            self.clock.clone(),
            random,
        )
    }

    async fn queue(&self, kind: &'static str) -> JobId {
        let ws = self.door.for_runner(self.id).unwrap();
        let cause = JobCause::of(&ws);
        ws.change(Action::OrgSyncRequested, kind, move |tx| enqueue(tx, &cause, kind, json!({"n": 1})))
            .await
            .unwrap()
    }

    /// Waits until a job's row says so; a job that never gets there fails the test by its time limit.
    async fn until(&self, job: JobId, wanted: impl Fn(&vynos::jobs::JobRow) -> bool) -> vynos::jobs::JobRow {
        let ws = self.door.for_runner(self.id).unwrap();
        for _ in 0..2000 {
            let row = ws.read().unwrap().get(&JOBS, &job).unwrap().unwrap();
            if wanted(&row) {
                return row;
            }
            tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await.ok();
        }
        panic!("job {job} never got there: {:?}", ws.read().unwrap().get(&JOBS, &job).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_once_with_its_arguments() {
    let rig = rig().await;
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    let runner = rig.start(vec![Kind::new("work", move |job| {
        let count = Arc::clone(&count);
        async move {
            assert_eq!(job.args["n"], 1);
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    })]);
    let job = rig.queue("work").await;
    let row = rig.until(job, |row| row.state == JobState::Done).await;
    assert_eq!((row.attempts, ran.load(Ordering::SeqCst)), (1, 1));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_can_be_retried_is_tried_again_later_and_then_fails_with_its_words() {
    let rig = rig().await;
    let runner =
        rig.start(vec![Kind::new("flaky", |_| async { Err(JobError::Retry("Salesforce is away".into())) })]);
    let job = rig.queue("flaky").await;
    for attempt in 1..5u32 {
        // Due later again means that this try has ended, not only begun.
        let now = rig.clock.now_ms();
        let row = rig.until(job, |row| row.attempts == attempt && row.due_ms > now).await;
        assert_eq!(row.state, JobState::Queued);
        rig.clock.advance(SignedDuration::from_mins(5));
        runner.wake(rig.id);
    }
    let row = rig.until(job, |row| row.state == JobState::Failed).await;
    assert_eq!((row.attempts, row.error.as_deref()), (5, Some("Salesforce is away")));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_job_and_not_the_runner() {
    let rig = rig().await;
    let bad = Kind::new("bad", |job| async move {
        assert!(job.attempt == 0, "a bug");
        Ok(())
    });
    let runner = rig.start(vec![bad, Kind::new("good", |_| async { Ok(()) })]);
    let (bad, good) = (rig.queue("bad").await, rig.queue("good").await);
    rig.until(good, |row| row.state == JobState::Done).await;
    let row = rig.until(bad, |row| row.error.is_some()).await;
    assert_eq!(row.error.as_deref(), Some("an internal error stopped it"));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_cancelled_and_an_unknown_kind_is_consumed() {
    let rig = rig().await;
    let begun = Arc::new(Notify::new());
    let tell = Arc::clone(&begun);
    let runner = rig.start(vec![Kind::new("slow", move |job| {
        tell.notify_one();
        async move {
            job.cancel.cancelled().await;
            job.check()
        }
    })]);
    let job = rig.queue("slow").await;
    begun.notified().await;
    assert!(runner.board().cancel(job));
    rig.until(job, |row| row.state == JobState::Cancelled).await;
    let unknown = rig.queue("removed in a later version").await;
    let row = rig.until(unknown, |row| row.state == JobState::Failed).await;
    assert!(row.error.unwrap().contains("no longer does this"));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_stop_interrupts_runs_again_at_the_next_start() {
    let rig = rig().await;
    let begun = Arc::new(Notify::new());
    let tell = Arc::clone(&begun);
    let runner = rig.start(vec![Kind::new("long", move |job| {
        tell.notify_one();
        async move {
            job.cancel.cancelled().await;
            Err(JobError::Cancelled)
        }
    })]);
    let job = rig.queue("long").await;
    begun.notified().await;
    runner.stop().await;
    let ws = rig.door.for_runner(rig.id).unwrap();
    assert_eq!(ws.read().unwrap().get(&JOBS, &job).unwrap().unwrap().state, JobState::Queued);
    drop(ws);
    let again = Rig { pool: Arc::clone(&rig.pool), ..rig };
    let runner = again.start(vec![Kind::new("long", |_| async { Ok(()) })]);
    let row = again.until(job, |row| row.state == JobState::Done).await;
    assert_eq!(row.attempts, 2);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_queues_nothing() {
    let rig = rig().await;
    let runner = rig.start(vec![Kind::new("work", |_| async { Ok(()) })]);
    let ws = rig.door.for_runner(rig.id).unwrap();
    let cause = JobCause::of(&ws);
    let failed: Result<(), StoreError> = ws
        .change(Action::OrgSyncRequested, "work", move |tx| {
            enqueue(tx, &cause, "work", json!({}))?;
            Err(StoreError::DiskFull)
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(ws.read().unwrap().scan(&JOBS).count().unwrap(), 0);
    runner.stop().await;
}

/// The runner looks at what is due while jobs end: a row that it read before must not be begun a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ended_while_the_runner_looked_is_not_run_again() {
    let rig = rig().await;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let count = Kind::new("test.count", move |_| {
        let runs = Arc::clone(&counted);
        async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok::<(), JobError>(())
        }
    });
    let runner = rig.start(vec![count]);
    let mut jobs = Vec::new();
    for _ in 0..60 {
        jobs.push(rig.queue("test.count").await);
        for _ in 0..4 {
            runner.wake(rig.id);
            tokio::task::yield_now().await;
        }
    }
    for job in &jobs {
        rig.until(*job, |row| row.state == JobState::Done).await;
    }
    runner.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst) as usize, jobs.len());
}
