//! `vynos serve`: starts the instance, prints one ready line, runs until told to stop.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, ServerArgs, say};
use crate::app::{App, Options};
use crate::clock::{Clock, Random};

/// A stop waits this long for streams and jobs; a second signal ends it at once.
const LONGEST_STOP: Duration = Duration::from_secs(30);
/// How often the local certificate is looked at.
const RENEWAL: Duration = Duration::from_hours(12);

pub fn run(args: &ServerArgs) -> Result<(), Failure> {
    let started = Instant::now();
    let config = args.resolve()?;
    let metrics_token = config.metrics_token()?;
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = Options {
            data_dir: config.data_dir,
            master_key_file: config.master_key_file,
            metrics_token,
            listen: config.listen,
            external_url: config.external_url,
            tls: config.tls,
            behind_proxy: config.behind_proxy,
            demo: false,
            extra_salesforce: Vec::new(),
            program: None,
            workers: None,
            clock: Clock::system(),
            random: Random::system(),
        };
        let app = App::start(options).await?;
        let url = app.url.as_str().trim_end_matches('/').to_owned();
        say(&format!("ready {url} in {} ms", started.elapsed().as_millis()))?;
        if let Some(fingerprint) = &app.fingerprint {
            say(&format!("local CA, SHA-256 {fingerprint}: get it at {url}/ca.pem"))?;
        }
        if let Some(code) = &app.setup_code {
            say(&format!("set up at {url}/setup with the code {}", code.expose()))?;
        }
        until_stopped(&app).await?;
        tracing::info!("stopping");
        let mut again = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            () = app.stop(LONGEST_STOP) => {}
            _ = again.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// Waits for SIGTERM or SIGINT; SIGHUP, and time, look at the certificate again.
async fn until_stopped(app: &App) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = reload.recv() => {}
            () = tokio::time::sleep(RENEWAL) => {}
        }
        match app.reload_certificate() {
            Ok(()) => tracing::info!("certificate looked at again"),
            Err(error) => tracing::error!(%error, "the certificate was not changed"),
        }
    }
}

/// JSON lines on standard error; `VYNOS_LOG` filters (default `info`).
fn log() {
    let filter = EnvFilter::try_from_env("VYNOS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
