//! Is the instance well? Each check says what it found and, where something is wrong, what to do. The operator's page
//! and `vynos doctor` show the same list.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Status;
use crate::backup::plan::Standing;
use crate::mail::MAIL_SERVER;
use crate::mail::outbox::Outbox;
use crate::orgs::records as orgs;
use crate::store::audit::Broken;
use crate::store::{Read as _, StoreError};
use crate::web::page::size;
use crate::workspace::Workspace;
use crate::workspace::index::Shelf;

/// Below this share of the disk a person should act.
const FREE_PERCENT: u64 = 10;
/// A certificate is replaced before it has so few days left.
pub(super) const CERTIFICATE_DAYS: i64 = 21;
/// Our clock may differ from those of the servers we call by so much.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// So many failures of one kind of job are worth a look.
const FAILURES: usize = 3;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is wrong; something is left out, perhaps on purpose.
    Note,
    Ok,
    Wrong,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub state: State,
    pub found: String,
    /// What to do; empty when nothing.
    pub remedy: String,
}

impl Check {
    fn new(name: &str, state: State, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, found: found.into(), remedy: remedy.into() }
    }

    fn ok(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, State::Ok, found, "")
    }

    fn unreadable(name: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(name, State::Wrong, format!("It can\u{2019}t be read: {error}."), "Run `vynos verify`.")
    }

    pub fn is_wrong(&self) -> bool {
        self.state == State::Wrong
    }
}

/// What is cheap enough to look at every few seconds. Blocks.
pub fn quick(status: &Status) -> Vec<Check> {
    let mut checks = vec![
        key_file(&status.key_file, status.pool.data().root()),
        data_dir(status.pool.data().root()),
        disk(status.pool.data().root()),
        clock(status.gate.as_ref().and_then(crate::egress::Gate::skew)),
        certificate(status),
        model(status).unwrap_or_else(|error| Check::unreadable("Model endpoint", &error)),
        mail(status).unwrap_or_else(|error| Check::unreadable("Mail", &error)),
        backups(status).unwrap_or_else(|error| Check::unreadable("Backups", &error)),
    ];
    checks.extend(jobs(status));
    checks
}

/// Everything: also walks the audit chains and opens every workspace with its search index. Blocks, for seconds where there
/// is much.
pub fn all(status: &Status) -> Vec<Check> {
    let mut checks = quick(status);
    checks.push(chain("Audit chain of the instance", status.control.verify_audit()));
    match status.control.all_workspaces() {
        Err(error) => checks.push(Check::unreadable("Workspaces", &error)),
        Ok(all) => checks.extend(all.into_iter().flat_map(|(id, _)| {
            let name = format!("Workspace {id}");
            match status.door.for_runner(id) {
                Ok(ws) => workspace(&name, &ws),
                Err(error) => vec![Check::unreadable(&name, &error)],
            }
        })),
    }
    checks
}

fn workspace(name: &str, ws: &Workspace) -> Vec<Check> {
    let signed_out = ws.read().and_then(|read| orgs::all(&read));
    let signed_out = match signed_out {
        Ok(orgs) => orgs.iter().filter(|(_, org)| org.signed_out.is_some()).count(),
        Err(error) => return vec![Check::unreadable(name, &error)],
    };
    if let Err(error) = Shelf::ALL.iter().try_for_each(|shelf| ws.index().check(*shelf)) {
        let found = format!("Its search index can\u{2019}t be opened: {error}.");
        return vec![Check::new(
            name,
            State::Wrong,
            found,
            "Remove its folder `index` while the server is stopped; it is built again.",
        )];
    }
    let chain = chain(name, ws.verify_audit());
    if !chain.is_wrong() && signed_out > 0 {
        let found = format!("{signed_out} of its Salesforce orgs are signed out.");
        return vec![Check::new(name, State::Note, found, "An admin of the workspace connects them again.")];
    }
    vec![chain]
}

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

fn key_file(path: &Path, data: &Path) -> Check {
    const NAME: &str = "Master key";
    match mode(path) {
        Err(error) => Check::new(
            NAME,
            State::Wrong,
            format!("{} can\u{2019}t be read: {error}.", path.display()),
            "Put the key file back from where you keep its copy. Without it nothing opens at the next start.",
        ),
        Ok(mode) if mode & 0o077 != 0 => Check::new(
            NAME,
            State::Wrong,
            format!("{} can be read by others (mode {mode:o}).", path.display()),
            format!("Run `chmod 600 {}`.", path.display()),
        ),
        Ok(_) if path.starts_with(data) => Check::new(
            NAME,
            State::Note,
            "The key file lies in the data folder: whoever copies the folder can read it.",
            "Move it elsewhere, such as /etc/vynos/master.key, and name that place with --master-key-file.",
        ),
        Ok(_) => Check::ok(NAME, "Only its owner can read the file."),
    }
}

fn data_dir(path: &Path) -> Check {
    const NAME: &str = "Data folder";
    match mode(path) {
        Err(error) => Check::new(
            NAME,
            State::Wrong,
            format!("{} can\u{2019}t be read: {error}.", path.display()),
            "Look whether the disk is mounted and the user of the service owns the folder.",
        ),
        Ok(mode) if mode & 0o077 != 0 => Check::new(
            NAME,
            State::Wrong,
            format!("{} is open to others (mode {mode:o}).", path.display()),
            format!("Run `chmod 700 {}`.", path.display()),
        ),
        Ok(_) => Check::ok(NAME, "Only its owner can enter the folder."),
    }
}

/// Bytes of the file system below `path`: free for us, and all.
pub fn room(path: &Path) -> std::io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

fn disk(path: &Path) -> Check {
    const NAME: &str = "Disk";
    let (free, all) = match room(path) {
        Ok(room) => room,
        Err(error) => return Check::unreadable(NAME, &error),
    };
    let found = format!("{} of {} are free.", size(free), size(all));
    if is_short(free, all) {
        let remedy = "Free space or move the data folder to a larger disk. When it is full, changes are refused; what was \
                      kept stays.";
        return Check::new(NAME, State::Wrong, found, remedy);
    }
    Check::ok(NAME, found)
}

const fn is_short(free: u64, all: u64) -> bool {
    free < all / 100 * FREE_PERCENT
}

fn clock(skew: Option<SignedDuration>) -> Check {
    const NAME: &str = "Clock";
    let Some(skew) = skew else {
        return Check::ok(NAME, "Compared with the servers that are called; none was since the start.");
    };
    if skew.abs() > SKEW {
        return Check::new(
            NAME,
            State::Wrong,
            format!(
                "This machine\u{2019}s clock is {} seconds off that of a server that was called.",
                skew.abs().as_secs()
            ),
            "Let the machine follow a time server. Codes of authenticator apps and sign-ins at Salesforce fail otherwise.",
        );
    }
    Check::ok(NAME, "It agrees with the servers that are called.")
}

fn certificate(status: &Status) -> Check {
    const NAME: &str = "Certificate";
    let Some(served) = &status.certificate else {
        let found = if status.gate.is_some() {
            "The proxy before this server has it."
        } else {
            "Looked at while the server runs."
        };
        return Check::ok(NAME, found);
    };
    match served.ends() {
        Some(ends) => certificate_ends(ends, status.control.clock().now()),
        None => {
            Check::new(NAME, State::Wrong, "Its end can\u{2019}t be read.", "Look at the certificate file.")
        }
    }
}

fn certificate_ends(ends: Timestamp, now: Timestamp) -> Check {
    const NAME: &str = "Certificate";
    let days = ends.duration_since(now).as_hours().div_euclid(24);
    let on = ends.strftime("%-d %B %Y");
    if days < CERTIFICATE_DAYS {
        let found =
            if days < 0 { format!("It ended on {on}.") } else { format!("It ends in {days} days, on {on}.") };
        let remedy =
            "Put the new files in place and send the server SIGHUP. One of the local CA renews itself.";
        return Check::new(NAME, State::Wrong, found, remedy);
    }
    Check::ok(NAME, format!("It ends in {days} days, on {on}."))
}

fn chain(name: &str, verified: Result<Result<u64, Broken>, StoreError>) -> Check {
    const REMEDY: &str =
        "Keep the data folder as it is and compare it with a backup: somebody changed it who had the key.";
    match verified {
        Ok(Ok(lines)) => Check::ok(name, format!("Its audit chain of {lines} lines holds.")),
        Ok(Err(broken)) => Check::new(name, State::Wrong, format!("{broken}."), REMEDY),
        Err(error) => Check::unreadable(name, &error),
    }
}

fn model(status: &Status) -> Result<Check, StoreError> {
    const NAME: &str = "Model endpoint";
    if status.control.read()?.has(&crate::models::MODEL_ENDPOINT, &0)? {
        return Ok(Check::ok(NAME, "One is configured."));
    }
    let found = "None is configured. Chat answers with the best passages and components.";
    Ok(Check::new(NAME, State::Note, found, "Configure one under Instance, Model endpoint."))
}

fn mail(status: &Status) -> Result<Check, StoreError> {
    const NAME: &str = "Mail";
    if !status.control.read()?.has(&MAIL_SERVER, &0)? {
        let found = "No server is configured. Links are shown in the page to those who may hand them over.";
        return Ok(Check::new(NAME, State::Note, found, "Configure one under Instance, Mail."));
    }
    let outbox = Outbox::of(&status.control)?;
    if outbox.dead.is_empty() {
        return Ok(Check::ok(
            NAME,
            format!("{} were sent in 24 hours, {} wait.", outbox.sent, outbox.waiting_count),
        ));
    }
    let found = format!("{} could not be delivered.", outbox.dead.len());
    Ok(Check::new(
        NAME,
        State::Wrong,
        found,
        "Instance, Mail shows the words of the server; try again or drop them.",
    ))
}

fn backups(status: &Status) -> Result<Check, StoreError> {
    const NAME: &str = "Backups";
    let standing = Standing::of(&status.control.read()?, status.control.clock().now())?;
    let remedy = match &standing {
        Standing::Failed { .. } => "Instance, Backups has the button that tries again.",
        Standing::Fresh { .. } | Standing::Waiting { .. } => "",
        Standing::Off => "Set one up under Instance, Backups, or run `vynos export` from time to time.",
        Standing::Old { .. } => "Look under Instance, Backups, and whether the server ran at that time.",
    };
    let state = match &standing {
        Standing::Failed { .. } | Standing::Old { .. } => State::Wrong,
        Standing::Fresh { .. } | Standing::Waiting { .. } => State::Ok,
        Standing::Off => State::Note,
    };
    Ok(Check::new(NAME, state, standing.said(), remedy))
}

fn jobs(status: &Status) -> Option<Check> {
    const NAME: &str = "Jobs";
    let board = status.board.as_ref()?;
    let since = status.control.clock().now() - SignedDuration::from_hours(24);
    let lately: Vec<_> = board.failures().into_iter().filter(|failure| failure.at >= since).collect();
    let often = |kind: &str| lately.iter().filter(|failure| failure.kind == kind).count() >= FAILURES;
    let found = format!("{} failed in 24 hours.", lately.len());
    Some(if lately.iter().any(|failure| often(&failure.kind)) {
        Check::new(NAME, State::Wrong, found, "The list of jobs says which; the log holds the reasons.")
    } else {
        Check::ok(NAME, found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_wrong_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let (key, data) = (dir.path().join("master.key"), dir.path().join("data"));
        std::fs::write(&key, "k").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = key_file(&key, &data);
        assert_eq!(found.state, State::Wrong);
        assert!(found.remedy.contains("chmod 600"), "{found:?}");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(key_file(&key, &data).state, State::Ok);
        assert_eq!(key_file(&key, dir.path()).state, State::Note);
        assert_eq!(key_file(&dir.path().join("gone"), &data).state, State::Wrong);
    }

    #[test]
    fn a_certificate_is_named_three_weeks_before_it_ends() {
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let day = SignedDuration::from_hours(24);
        assert_eq!(certificate_ends(now + day * 21, now).state, State::Ok);
        assert_eq!(certificate_ends(now + day * 20, now).state, State::Wrong);
        assert!(certificate_ends(now - day, now).found.contains("It ended on"));
    }

    #[test]
    fn a_disk_is_short_below_a_tenth_and_a_clock_off_above_half_a_minute() {
        assert!(is_short(9, 100) && !is_short(10, 100));
        let states =
            [Some(-31), Some(31), Some(30), None].map(|s| clock(s.map(SignedDuration::from_secs)).state);
        assert_eq!(states, [State::Wrong, State::Wrong, State::Ok, State::Ok]);
    }
}
