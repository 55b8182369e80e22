//! The simulated org. `state` is what it holds, `fixture` what it holds at first, `oauth` signing in, `rest`
//! the data and Tooling API, `soql` their queries, `soap` the Metadata API, `deploy` its deploys, `kinds` its types,
//! `generate` larger orgs, `faults` misbehaviour.

mod composite;
mod deploy;
mod faults;
mod fixture;
mod folder;
mod generate;
mod kinds;
mod oauth;
mod objects;
mod rest;
mod soap;
pub mod soql;
mod state;
mod tooling;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use url::Url;

use crate::clock::{Clock, Random};

pub use generate::OrgSize;
pub use state::{Component, Drip, Faults};

/// The API version that this org prefers; it serves 31.0 to this one.
pub const API_VERSION: &str = "67.0";
/// The client that the fixture registers.
pub const CLIENT_ID: &str = "3MVG9demo";
pub const CLIENT_SECRET: &str = "demosecret";

/// How the authorize endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Answers 302 unattended.
    Auto,
    /// Shows a page where a person allows or denies.
    Page,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// 0 = any.
    pub port: u16,
    pub seed: u64,
    pub consent: Consent,
    pub production: bool,
    pub size: OrgSize,
    /// A folder or zip in the layout of the Metadata API that is the org instead of Halden Energy.
    pub fixtures: Option<PathBuf>,
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            seed: 1,
            consent: Consent::Auto,
            production: true,
            size: OrgSize::Small,
            fixtures: None,
            clock: Clock::system(),
        }
    }
}

/// The running simulator.
pub struct SimulatedOrg {
    url: Url,
    shared: Sim,
    server: ServerHandle,
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Sim(Arc<Shared>);

struct Shared {
    base: Url,
    consent: Consent,
    clock: Clock,
    random: Random,
    state: Mutex<state::Org>,
}

impl Sim {
    fn org(&self) -> MutexGuard<'_, state::Org> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a simulated org on 127.0.0.1.
pub async fn start(options: Options) -> std::io::Result<SimulatedOrg> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", options.port))?;
    let address = listener.local_addr()?;
    let base = Url::parse(&format!("http://{address}/")).map_err(std::io::Error::other)?;
    let random = Random::seeded(options.seed);
    let state = fixture::load(&options)?;
    let shared = Sim(Arc::new(Shared {
        base: base.clone(),
        consent: options.consent,
        clock: options.clock,
        random,
        state: Mutex::new(state),
    }));
    let data = web::Data::new(shared.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(60 << 20))
            .wrap(from_fn(faults::disturb))
            .configure(faults::routes)
            .configure(oauth::routes)
            .configure(soap::routes)
            .configure(deploy::routes::routes)
            .configure(composite::routes)
            .configure(rest::routes)
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(SimulatedOrg { url: base, shared, server: handle })
}

impl SimulatedOrg {
    /// `http://127.0.0.1:PORT/`: login host and instance in one.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// An access token that is good until it is expired.
    pub fn access_token(&self) -> String {
        oauth::issue(&self.shared)
    }

    /// `force://…` with a refresh token that works.
    pub fn sfdx_auth_url(&self) -> String {
        let refresh = oauth::new_refresh(&self.shared);
        format!("force://{CLIENT_ID}:{CLIENT_SECRET}:{refresh}@{}", self.url.authority())
    }

    /// Refresh and access tokens that work at the moment.
    pub fn live_tokens(&self) -> usize {
        let org = self.shared.org();
        org.refresh_tokens.len() + org.access_tokens.len()
    }

    /// Changes how the simulator misbehaves.
    pub fn misbehave(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.org().faults);
    }

    /// Ends every access token, as a session time-out does.
    pub fn expire_access_tokens(&self) {
        self.shared.org().access_tokens.clear();
    }

    /// Revokes every token, as an admin does.
    pub fn revoke_everything(&self) {
        let mut org = self.shared.org();
        org.access_tokens.clear();
        org.refresh_tokens.clear();
    }

    /// Calls counted against the daily limit so far.
    pub fn calls(&self) -> u64 {
        self.shared.org().calls
    }

    /// Changes a component behind the product's back, as an admin in Setup does.
    pub fn edit(&self, kind: &str, name: &str, change: impl FnOnce(&str) -> String) {
        let now = self.shared.0.clock.now();
        let mut org = self.shared.org();
        if let Some(component) = org.components.get_mut(&(kind.to_owned(), name.to_owned())) {
            component.source = change(&component.source);
            component.modified = now;
            component.modified_by = 1;
            org.modified = now;
        }
    }

    /// Removes a component behind the product's back.
    pub fn delete(&self, kind: &str, name: &str) {
        self.shared.org().components.remove(&(kind.to_owned(), name.to_owned()));
    }

    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}
