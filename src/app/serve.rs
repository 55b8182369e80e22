//! The web server: what its handlers may ask for, and how it listens.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App as ActixApp, HttpServer, web};

use super::{Certificate, StartError};
use crate::audit::Keeper;
use crate::chat::Chat;
use crate::egress::Gate;
use crate::health::Status;
use crate::identity::sso::Sso;
use crate::jobs::Board;
use crate::knowledge::Knowledge;
use crate::mail::MailServer;
use crate::models::Models;
use crate::orgs::Orgs;
use crate::web::{Problem, Web, form, guard};
use crate::{backup, features, people};

/// What handlers ask for in their signatures.
#[derive(Clone)]
pub(super) struct Services {
    pub web: web::Data<Web>,
    pub gate: web::Data<Gate>,
    pub orgs: web::Data<Orgs>,
    pub models: web::Data<Models>,
    pub mail: web::Data<MailServer>,
    pub sso: web::Data<Sso>,
    pub knowledge: web::Data<Knowledge>,
    pub chat: web::Data<Chat>,
    pub status: web::Data<Status>,
    pub board: web::Data<Board>,
    pub keeper: web::Data<Keeper>,
    pub backups: web::Data<backup::keeper::Keeper>,
}

impl Services {
    fn put(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(self.web.clone())
            .app_data(self.gate.clone())
            .app_data(self.orgs.clone())
            .app_data(self.models.clone())
            .app_data(self.mail.clone())
            .app_data(self.sso.clone())
            .app_data(self.knowledge.clone())
            .app_data(self.chat.clone())
            .app_data(self.status.clone())
            .app_data(self.board.clone())
            .app_data(self.keeper.clone())
            .app_data(self.backups.clone());
    }
}

/// Begins to answer at `listener`.
pub(super) fn serve(
    listener: TcpListener,
    services: Services,
    certificate: Option<&Certificate>,
    workers: Option<usize>,
) -> Result<(ServerHandle, tokio::task::JoinHandle<std::io::Result<()>>), StartError> {
    let mut server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(services.web.clone())
            .configure(|config| services.put(config))
            .app_data(web::PayloadConfig::new(form::LARGEST))
            .app_data(web::PathConfig::default().error_handler(|_, _| Problem::NotFound.into()))
            .app_data(web::QueryConfig::default().error_handler(|_, _| Problem::NotFound.into()))
            .wrap(from_fn(people::gate))
            .wrap(from_fn(guard::guard))
            .configure(features::mount)
            .default_service(web::to(|| async { Err::<actix_web::HttpResponse, _>(Problem::NotFound) }))
    })
    .disable_signals()
    .shutdown_timeout(25)
    .client_request_timeout(Duration::from_secs(30));
    if let Some(workers) = workers {
        server = server.workers(workers);
    }
    let address = listener.local_addr().map_err(|e| StartError::Other(e.to_string()))?;
    let bound = match certificate {
        Some((served, _, _)) => server.listen_rustls_0_23(listener, served.config()?),
        None => server.listen(listener),
    };
    let running = bound.map_err(|e| StartError::Bind(address, e))?.run();
    Ok((running.handle(), tokio::spawn(running)))
}
