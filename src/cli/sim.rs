//! `vynos sim salesforce` and `vynos sim model`: the simulated services alone.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Failure, say};
use crate::clock::Clock;
use crate::sim::model;
use crate::sim::salesforce::{self, CLIENT_ID, CLIENT_SECRET, Consent, OrgSize, SimulatedOrg};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ConsentArg {
    /// Answers authorize with a redirect, unattended.
    Auto,
    /// Shows a page where a person allows or denies.
    Page,
}

#[derive(Args)]
pub struct SalesforceArgs {
    /// Port on 127.0.0.1; 0 takes any.
    #[arg(long, default_value_t = 0, env = "VYNOS_SIM_PORT")]
    port: u16,
    /// What made-up ids and tokens come from.
    #[arg(long, default_value_t = 1, env = "VYNOS_SIM_SEED")]
    seed: u64,
    /// How authorize answers.
    #[arg(long, value_enum, default_value = "auto", env = "VYNOS_SIM_CONSENT")]
    consent: ConsentArg,
    /// How much the org holds, made from the seed.
    #[arg(long, value_enum, default_value = "small", env = "VYNOS_SIM_ORG_SIZE")]
    org_size: SizeArg,
    /// A folder or zip in the layout of the Metadata API, served as the org.
    #[arg(long, value_name = "DIR", env = "VYNOS_SIM_FIXTURES")]
    fixtures: Option<PathBuf>,
    /// A sandbox: deploys run no tests by themselves.
    #[arg(long, env = "VYNOS_SIM_SANDBOX")]
    sandbox: bool,
}

/// How much the org holds.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SizeArg {
    /// Halden Energy, or what `--fixtures` brings.
    Small,
    /// About 1,000 components.
    #[value(name = "1k")]
    OneThousand,
    /// About 10,000 components.
    #[value(name = "10k")]
    TenThousand,
}

impl From<SizeArg> for OrgSize {
    fn from(size: SizeArg) -> Self {
        match size {
            SizeArg::Small => Self::Small,
            SizeArg::OneThousand => Self::OneThousand,
            SizeArg::TenThousand => Self::TenThousand,
        }
    }
}

/// Runs until it is told to stop.
pub fn salesforce(args: &SalesforceArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let consent = match args.consent {
            ConsentArg::Auto => Consent::Auto,
            ConsentArg::Page => Consent::Page,
        };
        let options = salesforce::Options {
            port: args.port,
            seed: args.seed,
            consent,
            production: !args.sandbox,
            size: args.org_size.into(),
            fixtures: args.fixtures.clone(),
            clock: Clock::system(),
        };
        let org = salesforce::start(options).await?;
        say(&line(&org).to_string())?;
        stopped().await?;
        org.stop().await;
        Ok(())
    })
}

#[derive(Args)]
pub struct ModelArgs {
    /// Port on 127.0.0.1; 0 takes any.
    #[arg(long, default_value_t = 0, env = "VYNOS_SIM_PORT")]
    port: u16,
    /// What made-up ids come from, and where chunks are cut.
    #[arg(long, default_value_t = 1, env = "VYNOS_SIM_SEED")]
    seed: u64,
    /// Obeys `[[fake:…]]` in questions: for tests only.
    #[arg(long, env = "VYNOS_SIM_DIRECTIVES")]
    directives: bool,
}

/// Runs until it is told to stop.
pub fn model(args: &ModelArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = model::Options {
            port: args.port,
            seed: args.seed,
            directives: args.directives,
            ..model::Options::default()
        };
        let model = model::start(options).await?;
        say(&model::command_line_json(&model).to_string())?;
        stopped().await?;
        model.stop().await;
        Ok(())
    })
}

/// What a client needs to reach the simulated org.
pub fn line(org: &SimulatedOrg) -> serde_json::Value {
    json!({
        "salesforce_url": org.url().as_str().trim_end_matches('/'),
        "salesforce_token": org.access_token(),
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "sfdx_auth_url": org.sfdx_auth_url(),
    })
}

/// Waits for SIGTERM or SIGINT.
pub async fn stopped() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
