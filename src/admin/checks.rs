//! Is the instance well? Each check says what it found and, where something is wrong, what to do. The operator's overview and
//! `vynos doctor` show the same list.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::identity::Control;
use crate::mail::MAIL_SERVER;
use crate::models::MODEL_ENDPOINT;
use crate::store::Read as _;

/// Below this share of the disk a person should act.
const FREE_PERCENT: u64 = 10;
/// A certificate is replaced before it has so few days left.
const CERTIFICATE_DAYS: i64 = 21;
/// The clock may differ from the disk's by so much.
const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is wrong, something is left out on purpose.
    Note,
    Ok,
    Wrong,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub state: State,
    pub found: String,
    /// What to do; empty when nothing.
    pub remedy: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), remedy: String::new() }
    }

    fn note(name: &'static str, found: impl Into<String>, remedy: &str) -> Self {
        Self { name, state: State::Note, found: found.into(), remedy: remedy.to_owned() }
    }

    fn wrong(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Wrong, found: found.into(), remedy: remedy.into() }
    }
}

/// What is looked at.
pub struct Looked<'a> {
    pub data_dir: &'a Path,
    pub key_file: &'a Path,
    pub control: &'a Control,
    /// When the certificate that is served ends; `None` behind a proxy.
    pub certificate: Option<Timestamp>,
}

/// All checks. Blocks.
pub fn run(looked: &Looked<'_>) -> Vec<Check> {
    let now = looked.control.clock().now();
    let mut checks = vec![
        key_file(looked.key_file),
        data_dir(looked.data_dir),
        disk(looked.data_dir),
        clock(looked.data_dir, now),
        certificate(looked.certificate, now),
        chain(looked.control),
    ];
    checks.extend(settings(looked.control));
    checks
}

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

fn key_file(path: &Path) -> Check {
    const NAME: &str = "Master key";
    match mode(path) {
        Err(error) => Check::wrong(
            NAME,
            format!("{} can't be read: {error}.", path.display()),
            "Put the key file back from where you keep its copy. Without it nothing opens.",
        ),
        Ok(mode) if mode & 0o077 != 0 => Check::wrong(
            NAME,
            format!("{} can be read by others (mode {mode:o}).", path.display()),
            format!("Run `chmod 600 {}`.", path.display()),
        ),
        Ok(_) => Check::ok(NAME, "Only its owner can read the file."),
    }
}

fn data_dir(path: &Path) -> Check {
    const NAME: &str = "Data folder";
    match mode(path) {
        Err(error) => Check::wrong(
            NAME,
            format!("{} can't be read: {error}.", path.display()),
            "Check that the disk is mounted and that the service's user owns the folder.",
        ),
        Ok(mode) if mode & 0o077 != 0 => Check::wrong(
            NAME,
            format!("{} is open to others (mode {mode:o}).", path.display()),
            format!("Run `chmod 700 {}`.", path.display()),
        ),
        Ok(_) => Check::ok(NAME, "Only its owner can enter the folder."),
    }
}

/// Bytes of the file system below `path`: free for us, and all.
pub fn space(path: &Path) -> std::io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

fn disk(path: &Path) -> Check {
    const NAME: &str = "Disk";
    let (free, all) = match space(path) {
        Ok(space) => space,
        Err(error) => {
            return Check::wrong(NAME, format!("The disk can't be asked: {error}."), "Check the disk.");
        }
    };
    let found = format!("{} of {} are free.", bytes(free), bytes(all));
    if free < all / 100 * FREE_PERCENT {
        let remedy = "Free space or move the data folder to a larger disk. When it is full, changes are refused; what was \
                      kept stays.";
        return Check::wrong(NAME, found, remedy);
    }
    Check::ok(NAME, found)
}

/// Compares our clock with the one that stamps files: they differ when one of them jumps.
fn clock(path: &Path, now: Timestamp) -> Check {
    const NAME: &str = "Clock";
    let stamped = tempfile_stamp(path);
    let Ok(stamped) = stamped else {
        return Check::note(NAME, "The disk's clock could not be compared.", "");
    };
    let apart = now.duration_since(stamped).abs();
    if apart > SKEW {
        return Check::wrong(
            NAME,
            format!("This machine's clock and the disk's are {} seconds apart.", apart.as_secs()),
            "Let the machine follow a time server. Codes of authenticator apps and tokens of Salesforce fail otherwise.",
        );
    }
    Check::ok(NAME, "The machine's clock and the disk's agree.")
}

/// When the disk says that a file was just written.
fn tempfile_stamp(path: &Path) -> std::io::Result<Timestamp> {
    let probe: PathBuf = path.join("clock.probe");
    let stamped = std::fs::write(&probe, b"").and_then(|()| std::fs::metadata(&probe)?.modified());
    // A probe that stays is empty and replaced by the next one.
    let _ = std::fs::remove_file(&probe);
    Timestamp::try_from(stamped?).map_err(std::io::Error::other)
}

fn certificate(ends: Option<Timestamp>, now: Timestamp) -> Check {
    const NAME: &str = "Certificate";
    let Some(ends) = ends else {
        return Check::ok(NAME, "The proxy before this server has it.");
    };
    let days = ends.duration_since(now).as_hours() / 24;
    let found = format!("It ends in {days} days, on {}.", ends.strftime("%-d %B %Y"));
    if days < CERTIFICATE_DAYS {
        let remedy = "Put the new files in place and send the server SIGHUP. A certificate of the local CA is renewed by itself.";
        return Check::wrong(NAME, found, remedy);
    }
    Check::ok(NAME, found)
}

fn chain(control: &Control) -> Check {
    const NAME: &str = "Audit chain of the instance";
    match control.verify_audit() {
        Ok(Ok(lines)) => Check::ok(NAME, format!("{lines} lines hold.")),
        Ok(Err(broken)) => Check::wrong(
            NAME,
            format!("The chain is broken: {broken:?}."),
            "Keep the data folder as it is and compare it with a backup: somebody changed the file with the key at hand.",
        ),
        Err(error) => Check::wrong(NAME, error.to_string(), "Run `vynos verify`."),
    }
}

fn settings(control: &Control) -> Vec<Check> {
    let read = match control.read() {
        Ok(read) => read,
        Err(error) => return vec![Check::wrong("Settings", error.to_string(), "Run `vynos verify`.")],
    };
    let model = match read.has(&MODEL_ENDPOINT, &0) {
        Ok(true) => Check::ok("Model endpoint", "One is configured."),
        Ok(false) => Check::note(
            "Model endpoint",
            "None is configured. Chat answers with the best passages and components.",
            "Configure one under Instance, Model endpoint.",
        ),
        Err(error) => Check::wrong("Model endpoint", error.to_string(), "Run `vynos verify`."),
    };
    let mail = match read.has(&MAIL_SERVER, &0) {
        Ok(true) => Check::ok("Mail", "A server is configured."),
        Ok(false) => Check::note(
            "Mail",
            "No server is configured. Links are shown in the page to those who may hand them over.",
            "Configure one under Instance, Mail.",
        ),
        Err(error) => Check::wrong("Mail", error.to_string(), "Run `vynos verify`."),
    };
    vec![model, mail]
}

/// A size in words: 24.6 GB.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn bytes(count: u64) -> String {
    let (value, unit) = match count {
        0..=9_999 => return format!("{count} bytes"),
        10_000..=9_999_999 => (count as f64 / 1e3, "KB"),
        10_000_000..=9_999_999_999 => (count as f64 / 1e6, "MB"),
        _ => (count as f64 / 1e9, "GB"),
    };
    if value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// Bytes of all files below `path`; what can't be read counts as nothing.
pub fn size(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size(&entry.path()),
            Ok(found) if found.is_file() => found.len(),
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_words() {
        assert_eq!(
            [0, 12_345, 24_600_000_000, 250_000_000].map(bytes),
            ["0 bytes", "12.3 KB", "24.6 GB", "250 MB"]
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_wrong_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("master.key");
        std::fs::write(&key, "k").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = key_file(&key);
        assert_eq!(found.state, State::Wrong);
        assert!(found.remedy.contains("chmod 600"), "{found:?}");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(key_file(&key).state, State::Ok);
        assert_eq!(key_file(&dir.path().join("gone")).state, State::Wrong);
    }

    #[test]
    fn a_certificate_is_named_three_weeks_before_it_ends() {
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let day = SignedDuration::from_hours(24);
        assert_eq!(certificate(Some(now + day * 30), now).state, State::Ok);
        assert_eq!(certificate(Some(now + day * 20), now).state, State::Wrong);
        assert_eq!(certificate(None, now).state, State::Ok);
    }
}
