//! The page where an operator sees how the instance is: never what a workspace holds.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::Timestamp;

use super::checks::{self, Check, State};
use super::{Status, metrics};
use crate::ids::WorkspaceId;
use crate::web::page::{grouped, size};
use crate::web::{Operator, Problem, Shell, Web, page};
use crate::workspace::space;

/// Rows of the list of jobs.
const JOBS: usize = 50;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/admin", web::get().to(show));
}

struct JobLine {
    kind: String,
    workspace: WorkspaceId,
    /// The class of its badge, and what it says.
    state: (&'static str, String),
    when: String,
}

/// The certificate in a tile.
struct Certificate {
    days: i64,
    short: bool,
    ends: Timestamp,
}

#[derive(Template)]
#[template(path = "health/overview.html")]
struct OverviewPage {
    shell: Shell,
    host: String,
    up: String,
    checks: Vec<Check>,
    key: String,
    /// Free bytes and all bytes of the file system, and the bytes of the data folder.
    free: u64,
    all: u64,
    data: u64,
    certificate: Option<Certificate>,
    memory: Option<u64>,
    requests: u64,
    broken: u64,
    slow: Option<u64>,
    jobs: Vec<JobLine>,
    running: usize,
    waiting: usize,
    failed: usize,
}

impl OverviewPage {
    fn wrong(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.is_wrong())
    }

    fn used_percent(&self) -> u64 {
        (self.all - self.free.min(self.all)) * 100 / self.all.max(1)
    }
}

async fn show(web: web::Data<Web>, status: web::Data<Status>, me: Operator) -> Result<HttpResponse, Problem> {
    let shell = Shell::account(&web, &me, "Server status")?;
    let page = web::block(move || drawn(&web, &status, shell)).await?;
    page::render(&page)
}

fn drawn(web: &Web, status: &Status, shell: Shell) -> OverviewPage {
    let now = status.control.clock().now();
    let root = status.pool.data().root();
    let (free, all) = checks::room(root).unwrap_or_default();
    let ends = status.certificate.as_ref().and_then(crate::web::tls::Served::ends);
    let certificate = ends.map(|ends| {
        let days = ends.duration_since(now).as_hours().div_euclid(24);
        Certificate { days, short: days < checks::CERTIFICATE_DAYS, ends }
    });
    let counted = web.counts.now();
    let board = status.board.clone().unwrap_or_default();
    let (taken, failures) = (board.all(), board.failures());
    let running = taken.iter().filter(|job| job.running).count();
    let mut jobs: Vec<JobLine> = taken
        .iter()
        .map(|job| JobLine {
            kind: words(&job.kind),
            workspace: job.workspace,
            state: if job.running { ("info", "Running".into()) } else { ("", "Waiting".into()) },
            when: match job.progress.total {
                0 => String::new(),
                total => format!("{} of {}", grouped(job.progress.done), grouped(total)),
            },
        })
        .collect();
    jobs.extend(failures.iter().map(|failure| JobLine {
        kind: words(&failure.kind),
        workspace: failure.workspace,
        state: ("bad", "Failed".into()),
        when: failure.at.strftime("%-d %b, %H:%M UTC").to_string(),
    }));
    jobs.truncate(JOBS);
    OverviewPage {
        shell,
        host: web.external.host_str().unwrap_or_default().to_owned(),
        up: lasting(status.since.elapsed()),
        checks: checks::quick(status),
        key: status.pool.data().fingerprint(),
        free,
        all,
        data: space::below(root).unwrap_or_default(),
        certificate,
        memory: metrics::resident(),
        requests: counted.all(),
        broken: counted.answers[4],
        slow: counted.slow(),
        running,
        waiting: taken.len() - running,
        failed: failures.len(),
        jobs,
    }
}

/// `sync_org` as people read it.
fn words(kind: &str) -> String {
    let spaced = kind.replace(['_', '-', '.'], " ");
    let mut letters = spaced.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `41 days`, `3 hours`, `12 minutes`.
fn lasting(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (count, unit) = match minutes {
        0..120 => (minutes, "minute"),
        120..2_880 => (minutes / 60, "hour"),
        _ => (minutes / 1_440, "day"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_kinds_are_said_in_words() {
        let said = [30, 60, 7_200, 200_000].map(|s| lasting(Duration::from_secs(s)));
        assert_eq!(said, ["0 minutes", "1 minute", "2 hours", "2 days"]);
        assert_eq!(words("deploy_watch"), "Deploy watch");
    }
}
