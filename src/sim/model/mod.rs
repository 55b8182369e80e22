//! The simulated model: a Messages API on loopback. `server` answers requests, `check` refuses what the real one
//! refuses, `reply` is an answer and its wire form, `directives` what tests can order, `script` the rules that
//! make a tool-using model out of keywords and results. Nothing in it is intelligent, and it says so.

mod check;
mod directives;
mod reply;
mod script;
mod server;

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use serde_json::{Value, json};
use url::Url;

/// What the model calls itself wherever it answers.
pub const LABEL: &str = "Demo model: scripted, not AI";
/// The model's id.
pub const MODEL: &str = "demo-scripted";

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// 0 = any.
    pub port: u16,
    /// Decides ids and where chunks are cut.
    pub seed: u64,
    /// Obeys `[[fake:…]]` in questions. For tests only.
    pub directives: bool,
    /// The pause between two chunks of a stream, so that people see it stream.
    pub pace: Duration,
}

/// Why the simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("the simulated model can't listen on 127.0.0.1:{0}: {1}. Choose another port")]
    Listen(u16, std::io::Error),
}

/// The running simulator.
pub struct SimulatedModel {
    url: Url,
    key: String,
    server: ServerHandle,
    state: Arc<server::State>,
}

impl SimulatedModel {
    /// The base URL, without `/v1`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The only key that is accepted.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How many calls for an answer have come in.
    pub fn calls(&self) -> u64 {
        self.state.calls()
    }

    /// The last questions as they came in, newest first; only with directives.
    pub fn heard(&self) -> Vec<String> {
        self.state.heard()
    }

    /// Ends it. Running streams are cut.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

/// Starts the simulator on 127.0.0.1.
pub async fn start(options: Options) -> Result<SimulatedModel, SimError> {
    server::start(options).await
}

/// What `vynos sim model` prints once it listens.
pub fn command_line_json(model: &SimulatedModel) -> Value {
    json!({ "model_url": model.url().as_str().trim_end_matches('/'), "model_key": model.key(), "model": MODEL })
}
