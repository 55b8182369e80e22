//! `vynos demo`: a throw-away instance on loopback with a simulated org, already set up, its first sync done.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use url::Url;

use super::sim::{line, stopped};
use super::{Failure, say};
use crate::app::{App, Options, TlsMode};
use crate::clock::{Clock, Random};
use crate::demo;
use crate::seal::MasterKey;
use crate::sim::model;
use crate::sim::salesforce::{self, Consent};

/// The scripted model's pause between two chunks: fast, and still seen to stream.
const PACE: Duration = Duration::from_millis(15);

#[derive(Args)]
pub struct DemoArgs {
    /// Port on loopback; 0 takes any.
    #[arg(long, default_value_t = 0, env = "VYNOS_DEMO_PORT")]
    port: u16,
    /// Keeps the data in DIR/data and its key in DIR/master.key, and goes on with them next time.
    #[arg(long, value_name = "DIR", env = "VYNOS_DEMO_KEEP")]
    keep: Option<PathBuf>,
    /// What the simulated org's made-up ids come from.
    #[arg(long, default_value_t = 1, env = "VYNOS_DEMO_SEED")]
    seed: u64,
    /// How much the org holds, made from the seed.
    #[arg(long, value_enum, default_value = "small", env = "VYNOS_DEMO_ORG_SIZE")]
    org_size: super::sim::SizeArg,
    /// Prints one JSON line once the org is synced.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let throw_away = ThrowAway::new(args.keep.as_deref())?;
    let home = throw_away.home();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = salesforce::Options {
            seed: args.seed,
            size: args.org_size.into(),
            consent: Consent::Page,
            ..salesforce::Options::default()
        };
        let org = salesforce::start(options).await?;
        let model = model::start(model::Options { seed: args.seed, pace: PACE, ..model::Options::default() }).await?;
        let app = start(args, home, org.url().clone()).await?;
        let failed = |e: crate::web::Problem| Failure::CouldNotRun(e.to_string());
        let ready = demo::prepare(&app.web, &app.orgs, &org).await.map_err(failed)?;
        demo::choose_model(&app.models, &ready, &model).await.map_err(failed)?;
        demo::add_documents(&app.web, &ready).await.map_err(failed)?;
        demo::wait_for_jobs(&app.web, &app.runner, &ready).await.map_err(failed)?;
        let url = app.url.as_str().trim_end_matches('/').to_owned();
        let sign_in = format!("{url}/demo/{}", ready.link.expose());
        if args.json {
            let mut out = line(&org);
            merge(&mut out, model::command_line_json(&model));
            out["url"] = json!(url);
            out["sign_in_url"] = json!(sign_in);
            out["email"] = json!(demo::EMAIL);
            out["password"] = json!(ready.password.expose());
            out["api_token"] = json!(ready.api_token.expose());
            out["workspace"] = json!(ready.slug);
            out["data_dir"] = json!(home.join("data"));
            out["master_key_file"] = json!(home.join("master.key"));
            say(&out.to_string())?;
        } else {
            say(&format!("Vynos demo, with a simulated Salesforce org. Open this link, it is signed in:\n\n  {sign_in}\n"))?;
            say(&format!("Or sign in at {url} as {} with {}. Ctrl-C ends the demo.", demo::EMAIL, ready.password.expose()))?;
        }
        stopped().await?;
        app.stop(Duration::from_secs(10)).await;
        org.stop().await;
        model.stop().await;
        Ok(())
    })
}

async fn start(args: &DemoArgs, home: &Path, org: Url) -> Result<App, Failure> {
    let key = home.join("master.key");
    if !key.exists() {
        MasterKey::create(&key)?;
    }
    let options = Options {
        data_dir: home.join("data"),
        master_key_file: key,
        metrics_token: None,
        listen: ([127, 0, 0, 1], args.port).into(),
        external_url: None,
        tls: TlsMode::Plain,
        behind_proxy: false,
        demo: true,
        extra_salesforce: vec![org],
        program: None,
        workers: None,
        clock: Clock::system(),
        random: Random::system(),
    };
    Ok(App::start(options).await?)
}

fn merge(line: &mut Value, more: Value) {
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
}

/// The demo's home: the kept directory, or a temporary one that goes with the process.
struct ThrowAway {
    home: PathBuf,
    kept: bool,
}

impl ThrowAway {
    fn new(keep: Option<&Path>) -> Result<Arc<Self>, Failure> {
        let home = match keep {
            Some(dir) => dir.to_owned(),
            None => std::env::temp_dir()
                .join(format!("vynos-demo-{}", crate::seal::hex(&Random::system().bytes::<8>()))),
        };
        std::fs::create_dir_all(&home)?;
        Ok(Arc::new(Self { home, kept: keep.is_some() }))
    }

    fn home(&self) -> &Path {
        &self.home
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.home);
        }
    }
}
