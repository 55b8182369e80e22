//! Whether the process is up and ready, for supervisors and load balancers.

use actix_web::{HttpResponse, web};

use crate::web::{Problem, Web};

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/healthz", web::get().to(alive)).route("/readyz", web::get().to(ready));
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Ready once the control file can be read.
async fn ready(web: web::Data<Web>) -> Result<HttpResponse, Problem> {
    web.control.settings()?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"))
}
