//! Whether the process is up, ready and well: `/healthz` and `/readyz` for supervisors and load balancers, `metrics` for
//! what watches it, the `overview` for operators, and the `checks` behind it and behind `vynos doctor`.

pub mod checks;
mod metrics;
mod overview;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpResponse, web};

use crate::egress::Gate;
use crate::identity::Control;
use crate::jobs::Board;
use crate::seal::Secret;
use crate::web::tls::Served;
use crate::web::{Problem, Web};
use crate::workspace::{Door, Pool};

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/healthz", web::get().to(alive)).route("/readyz", web::get().to(ready));
    metrics::routes(config);
    overview::routes(config);
}

/// What is looked at. Cheap to clone.
#[derive(Clone)]
pub struct Status {
    pub control: Control,
    pub door: Door,
    pub pool: Arc<Pool>,
    pub key_file: PathBuf,
    pub since: Instant,
    /// What only a running server has.
    pub gate: Option<Gate>,
    pub board: Option<Board>,
    /// The certificate that is served; none behind a proxy.
    pub certificate: Option<Served>,
    /// What asks for `/metrics` has to show; without one there are none.
    pub metrics_token: Option<Arc<Secret>>,
}

impl Status {
    /// That of data that no server holds.
    pub fn stopped(control: Control, door: Door, pool: Arc<Pool>, key_file: PathBuf) -> Self {
        let (gate, board, certificate, metrics_token) = (None, None, None, None);
        let since = Instant::now();
        Self { control, door, pool, key_file, since, gate, board, certificate, metrics_token }
    }
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Ready once the control file can be read.
async fn ready(web: web::Data<Web>) -> Result<HttpResponse, Problem> {
    web.control.settings()?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"))
}
