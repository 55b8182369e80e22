//! `/metrics` in the text format of Prometheus (version 0.0.4): numbers of the instance, without a name of anybody or
//! anything in it. Whoever asks shows the token of `--metrics-token-file`.

use std::fmt::Write as _;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};

use super::{Status, checks};
use crate::jobs::Board;
use crate::mail::outbox::Outbox;
use crate::seal::Secret;
use crate::store::StoreError;
use crate::web::counts::MILLIS;
use crate::web::{Problem, Web};
use crate::workspace::space;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/metrics", web::get().to(metrics));
}

/// Without a token configured, or with another one, there is nothing here.
async fn metrics(
    web: web::Data<Web>,
    status: web::Data<Status>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).map(|token| Secret::new(token.into()));
    if status.metrics_token.is_none() || shown.as_ref() != status.metrics_token.as_deref() {
        return Err(Problem::NotFound);
    }
    let text = web::block(move || written(&web, &status)).await??;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

fn written(web: &Web, status: &Status) -> Result<String, StoreError> {
    let mut text = Text::default();
    text.head("vynos_build_info", "gauge", "The version that runs.");
    text.line("vynos_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.one(
        "vynos_uptime_seconds",
        "gauge",
        "Seconds since the start.",
        status.since.elapsed().as_secs_f64(),
    );
    let root = status.pool.data().root();
    if let Some(bytes) = resident() {
        text.one("vynos_resident_memory_bytes", "gauge", "Memory of the process.", number(bytes));
    }
    if let Ok(bytes) = space::below(root) {
        text.one("vynos_data_bytes", "gauge", "What the data folder holds.", number(bytes));
    }
    if let Ok((free, all)) = checks::room(root) {
        text.one("vynos_disk_free_bytes", "gauge", "What is free where the data folder is.", number(free));
        text.one("vynos_disk_bytes", "gauge", "The size of that file system.", number(all));
    }
    if let Some(ends) = status.certificate.as_ref().and_then(crate::web::tls::Served::ends) {
        let left = ends.duration_since(status.control.clock().now()).as_secs_f64();
        text.one("vynos_certificate_seconds", "gauge", "Seconds until the certificate ends.", left);
    }
    let workspaces = status.control.all_workspaces()?.len() as u64;
    text.one("vynos_workspaces", "gauge", "Workspaces of the instance.", number(workspaces));
    let outbox = Outbox::of(&status.control)?;
    text.one(
        "vynos_mails_waiting",
        "gauge",
        "Mails that wait to be sent.",
        number(outbox.waiting_count as u64),
    );
    text.one(
        "vynos_mails_dead",
        "gauge",
        "Mails that could not be delivered.",
        number(outbox.dead.len() as u64),
    );
    if let Some(board) = &status.board {
        jobs(&mut text, board);
    }
    requests(&mut text, web);
    text.head(
        "vynos_check_ok",
        "gauge",
        "1 where a check of the operator\u{2019}s page finds nothing wrong.",
    );
    for check in checks::quick(status) {
        text.line("vynos_check_ok", &[("check", &check.name)], if check.is_wrong() { 0.0 } else { 1.0 });
    }
    Ok(text.0)
}

fn jobs(text: &mut Text, board: &Board) {
    let all = board.all();
    let mut kinds: Vec<&str> = all.iter().map(|job| job.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    text.head("vynos_jobs", "gauge", "Jobs that were taken and have not ended.");
    for kind in kinds {
        for (state, running) in [("running", true), ("waiting", false)] {
            let count = all.iter().filter(|job| job.kind == kind && job.running == running).count();
            text.line("vynos_jobs", &[("kind", kind), ("state", state)], number(count as u64));
        }
    }
    text.one("vynos_jobs_failed_total", "counter", "Jobs that failed for good.", number(board.failed_ever()));
}

fn requests(text: &mut Text, web: &Web) {
    const TOOK: &str = "vynos_request_duration_seconds";
    let counted = web.counts.now();
    text.head("vynos_requests_total", "counter", "Requests that were answered.");
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(counted.answers) {
        text.line("vynos_requests_total", &[("status", class)], number(count));
    }
    text.head(TOOK, "histogram", "Time to the head of an answer.");
    let mut sum = 0;
    for (place, count) in counted.took.into_iter().enumerate() {
        sum += count;
        let most = MILLIS.get(place).map_or("+Inf".to_owned(), |millis| (number(*millis) / 1e3).to_string());
        text.line(&format!("{TOOK}_bucket"), &[("le", &most)], number(sum));
    }
    text.line(&format!("{TOOK}_sum"), &[], number(counted.micros) / 1e6);
    text.line(&format!("{TOOK}_count"), &[], number(sum));
}

/// Bytes of memory that the process has.
pub(super) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "the format holds numbers as floats")]
const fn number(count: u64) -> f64 {
    count as f64
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    /// Labels are ours and hold nothing that the format would have to escape.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}
