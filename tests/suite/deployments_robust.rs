//! Runs that meet a restart, a lost answer or a cancel: nothing is sent twice, and the page says what is known.

use vynos::app::{App, Options};
use vynos::deployments::records::{RUNS, Run};
use vynos::store::{Read as _, StoreError};
use vynos::workspace::Workspace;

use crate::deployments::{BASE, Bench, GREETER, TEST, pause};
use crate::harness::options;

impl Bench {
    fn workspace(&self) -> Workspace {
        let web = &self.rig.server.app().web;
        let id = web.control.workspace_by_slug("halden-energy").unwrap().unwrap().0;
        web.door.for_runner(id).unwrap()
    }

    fn runs(&self) -> Vec<Run> {
        self.workspace().read().unwrap().scan(&RUNS).rows().unwrap().into_iter().map(|(_, run)| run).collect()
    }

    /// Stops the process as SIGTERM does and starts it again on the same data.
    async fn restarted(mut self) -> Self {
        let app = self.rig.server.app.take().unwrap();
        let port = app.address;
        app.stop(std::time::Duration::from_secs(20)).await;
        let with = Options {
            extra_salesforce: vec![self.rig.sim.url().clone()],
            listen: port,
            ..options(self.rig.server.dir.path(), self.rig.server.clock.clone())
        };
        self.rig.server.app = Some(App::start(with).await.unwrap());
        self
    }

    async fn slow(&self) -> String {
        let slow = GREETER.replace("Greeter", "SlowClass");
        let id = self
            .drafted(&[
                ("classes/SlowClass.cls", &slow),
                ("classes/GreeterTest.cls", &TEST.replace("Greeter.", "SlowClass.")),
            ])
            .await;
        assert_eq!(self.ada().post(&format!("{BASE}/{id}/validate"), &[]).await.status, 303);
        for _ in 0..1_500 {
            if self.runs().iter().any(|run| run.salesforce.is_some() && run.result.is_some()) {
                return id;
            }
            pause().await;
        }
        panic!("it was never submitted: {:?}", self.runs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_asking_for_the_same_validation_and_a_cancel_ends_it() {
    let bench = Bench::new().await;
    let id = bench.slow().await;
    let sent = bench.runs()[0].salesforce.clone();
    let bench = bench.restarted().await;
    assert_eq!(bench.json("GET", &format!("/{id}"), serde_json::Value::Null).await["status"], "validating");
    let page = bench.page(&id).await;
    assert!(page.contains("Validating") && page.contains("/cancel"), "{page}");
    assert_eq!(bench.ada().post(&format!("{BASE}/{id}/cancel"), &[]).await.status, 303);
    let set = bench.settled(&id).await;
    assert_eq!(
        (set["status"].as_str(), set["validation"]["status"].as_str()),
        (Some("validation_failed"), Some("cancelled"))
    );
    let runs = bench.runs();
    assert_eq!((runs.len(), &runs[0].salesforce), (1, &sent), "it was sent once");
    assert!(bench.page(&id).await.contains("It was cancelled, so nothing was changed"));
    assert_eq!(bench.ada().post(&format!("{BASE}/{id}/cancel"), &[]).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_died_while_sending_does_not_send_again() {
    let bench = Bench::new().await;
    bench.rig.sim.misbehave(|faults| faults.slow_retrieve = 1_000);
    let id = bench.drafted(&[("classes/Greeter.cls", GREETER)]).await;
    assert_eq!(bench.ada().post(&format!("{BASE}/{id}/validate"), &[]).await.status, 303);
    for _ in 0..1_500 {
        if bench.runs()[0].phase == "Reading what is in the org" {
            break;
        }
        pause().await;
    }
    // As the job leaves it the moment before the package goes out.
    let now = bench.rig.server.clock.now();
    bench
        .workspace()
        .note(move |tx| {
            for (key, mut run) in tx.scan(&RUNS).rows()? {
                run.sent = Some(now);
                tx.put(&RUNS, &key, &run)?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let bench = bench.restarted().await;
    let set = bench.settled(&id).await;
    assert_eq!(set["validation"]["status"], "lost", "{set}");
    assert!(set["validation"]["error"].as_str().unwrap().contains("No answer came back"), "{set}");
    assert!(set["validation"]["salesforce_id"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_cancelled_before_anything_is_sent() {
    let bench = Bench::new().await;
    bench.rig.sim.misbehave(|faults| faults.slow_retrieve = 1_000);
    let id = bench.drafted(&[("classes/Greeter.cls", GREETER)]).await;
    bench.ada().post(&format!("{BASE}/{id}/validate"), &[]).await;
    for _ in 0..1_500 {
        if bench.runs()[0].phase == "Reading what is in the org" {
            break;
        }
        pause().await;
    }
    assert_eq!(bench.ada().post(&format!("{BASE}/{id}/discard"), &[]).await.status, 409, "it is busy");
    assert_eq!(bench.ada().post(&format!("{BASE}/{id}/cancel"), &[]).await.status, 303);
    let set = bench.settled(&id).await;
    assert_eq!(set["validation"]["error"], "It was cancelled before anything was sent.", "{set}");
    assert_eq!(bench.ada().post(&format!("{BASE}/{id}/discard"), &[]).await.status, 303);
    assert!(bench.ada().get(BASE).await.body.contains("Discarded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_org_takes_its_change_sets_along() {
    let bench = Bench::new().await;
    let id = bench.drafted(&[("classes/Greeter.cls", GREETER), ("classes/GreeterTest.cls", TEST)]).await;
    bench.validated(&id).await;
    assert_eq!(bench.ada().post("/w/halden-energy/o/production/disconnect", &[]).await.status, 303);
    for _ in 0..600 {
        if bench.runs().is_empty() {
            break;
        }
        pause().await;
    }
    let read = bench.workspace().read().unwrap();
    assert_eq!(read.scan(&vynos::deployments::records::CHANGE_SETS).count().unwrap(), 0);
    assert_eq!(read.scan(&vynos::deployments::records::CHANGE_FILES).count().unwrap(), 0);
    assert_eq!(read.scan(&vynos::deployments::records::SNAPSHOTS).count().unwrap(), 0);
}
