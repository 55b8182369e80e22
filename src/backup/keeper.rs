//! Makes the backups of the plan, and one when an operator asks; reads each back, removes the oldest, and tells operators
//! when it fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::check::check;
use super::file::NewFile;
use super::make::{self, Source};
use super::plan::{PLAN, Plan, REMEMBERED, RUNS, Run, runs};
use super::sealed::{Opener, Sealed};
use super::{BackupError, Progress};
use crate::identity::accounts::ACCOUNTS;
use crate::identity::control::Note;
use crate::identity::{Control, ControlTx};
use crate::ids::{AccountId, JobId};
use crate::mail::Letter;
use crate::notifications::{self, Kind, Notice};
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError};
use crate::workspace::{Door, Pool};

/// How often it looks.
const EVERY: Duration = Duration::from_mins(1);
const PREFIX: &str = "vynos-backup-";
const ENDING: &str = ".vynos";
/// The time in the name of a file.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// What it does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Writing(Progress),
    ReadingBack(Progress),
}

/// Makes backups. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    control: Control,
    door: Door,
    pool: Arc<Pool>,
    doing: Arc<Mutex<Option<Doing>>>,
    stop: CancellationToken,
}

/// The running look, once a minute.
pub struct Keeping {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Keeping {
    /// Ends; a backup that is being made is given up.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

impl Keeper {
    pub fn new(control: Control, door: Door, pool: Arc<Pool>) -> Self {
        Self { control, door, pool, doing: Arc::default(), stop: CancellationToken::new() }
    }

    /// Looks now and every minute.
    pub fn start(&self) -> Keeping {
        let (this, stop) = (self.clone(), self.stop.clone());
        let task = tokio::spawn(async move {
            loop {
                this.run_due().await;
                tokio::select! {
                    () = this.stop.cancelled() => return,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        });
        Keeping { stop, task }
    }

    /// Makes a backup if one is due; answers whether it tried.
    pub async fn run_due(&self) -> bool {
        let due = || {
            let (read, now) = (self.control.read()?, self.control.clock().now());
            let plan = read.get(&PLAN, &0)?;
            let runs = runs(&read, REMEMBERED)?;
            Ok::<_, StoreError>(plan.is_some_and(|plan| plan.is_due(now, &runs)))
        };
        match due() {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => {
                tracing::error!(%error, "whether a backup is due is not known");
                return false;
            }
        }
        let this = self.clone();
        matches!(tokio::task::spawn_blocking(move || this.back_up(None)).await, Ok(Ok(_)))
    }

    /// What it does now.
    pub fn doing(&self) -> Option<Doing> {
        *self.lock()
    }

    /// Whether there is a plan, and nothing runs: then [`Keeper::back_up`] begins.
    pub fn may_begin(&self) -> Result<bool, StoreError> {
        Ok(self.doing().is_none() && self.control.read()?.has(&PLAN, &0)?)
    }

    /// Makes one, reads it back and removes the oldest; how it went is kept. Blocks. Refused while one is being made and
    /// without a plan.
    pub fn back_up(&self, asked_by: Option<AccountId>) -> Result<Run, BackupError> {
        let _turn = Turn::take(self)?;
        let plan = self.control.read()?.get(&PLAN, &0)?;
        let plan = plan.ok_or_else(|| BackupError::Io(io::Error::other("no folder for backups is set")))?;
        let started = self.control.clock().now();
        let file = format!("{PREFIX}{}{ENDING}", started.strftime(STAMP));
        let mut run = Run {
            file,
            asked_by,
            started,
            ended: None,
            size: 0,
            workspaces: 0,
            verified: false,
            error: None,
            removed: false,
        };
        let actor = match asked_by {
            Some(id) => Actor::Account { id },
            None => {
                Actor::Job { id: JobId::new(self.control.clock(), self.control.random()), asked_by: None }
            }
        };
        match self.write(&plan, &actor, &mut run) {
            Ok(()) => {}
            // The next start finds it due again.
            Err(BackupError::Stopped) => return Err(BackupError::Stopped),
            Err(error) => run.error = Some(error.to_string()),
        }
        run.ended = Some(self.control.clock().now());
        self.keep(&actor, &run)?;
        if run.error.is_none() {
            self.remove_old(&plan, &actor, started)?;
        }
        Ok(run)
    }

    fn write(&self, plan: &Plan, actor: &Actor, run: &mut Run) -> Result<(), BackupError> {
        let folder = folder(&plan.folder, self.pool.data().root())?;
        sweep(&folder)?;
        let path = folder.join(&run.file);
        let source = Source { control: &self.control, door: &self.door, pool: &self.pool };
        let file = NewFile::create(&path)?;
        let (file, made) = make::write(source, actor.clone(), file, &mut |at| self.told(Doing::Writing(at)))?;
        run.size = file.finish()?;
        run.workspaces = made.workspaces;
        let sealed = Sealed::open(&path)?;
        let key = sealed.key(&Opener::Instance(self.pool.data()))?;
        check(&sealed, &key, &mut |at| self.told(Doing::ReadingBack(at)))?;
        run.verified = true;
        Ok(())
    }

    fn told(&self, doing: Doing) -> Result<(), BackupError> {
        *self.lock() = Some(doing);
        if self.stop.is_cancelled() { Err(BackupError::Stopped) } else { Ok(()) }
    }

    /// Remembers how it went; a failure is told to every operator.
    fn keep(&self, actor: &Actor, run: &Run) -> Result<(), StoreError> {
        let key = u64::try_from(run.started.as_millisecond()).unwrap_or(0);
        let Some(error) = &run.error else { return self.control.touch(|tx| remember(tx, key, run)) };
        tracing::error!(%error, "a backup failed");
        let note = Note::new(actor.clone(), Action::BackupFailed, &run.file);
        self.control.change_now(note, |tx| {
            remember(tx, key, run)?;
            let operators = tx.scan(&ACCOUNTS).rows()?.into_iter().filter(|(_, account)| account.operator);
            for (id, _) in operators.collect::<Vec<_>>() {
                let notice = Notice::new(Kind::BackupFailed, "A backup failed", "/admin/backups");
                let letter = Letter::BackupFailed {
                    at: run.started,
                    said: error.clone(),
                    link: "/admin/backups".into(),
                };
                let notice = notice.body(error.as_str()).group("backup").letter(letter);
                notifications::tell(tx, &self.control, id, notice)?;
            }
            Ok(())
        })
    }

    /// Removes what the plan keeps no more, and only files of our own naming. The newest stays in any case.
    fn remove_old(&self, plan: &Plan, actor: &Actor, now: Timestamp) -> Result<(), BackupError> {
        let folder = Path::new(&plan.folder);
        let mut ours: Vec<(Timestamp, String)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            ours.extend(name.to_str().and_then(|name| Some((made_at(name)?, name.to_owned()))));
        }
        ours.sort_unstable_by(|a, b| b.cmp(a));
        let oldest = match plan.keep_days {
            0 => Timestamp::MIN,
            days => now - SignedDuration::from_hours(24 * i64::from(days)),
        };
        let keep = usize::try_from(plan.keep.max(1)).unwrap_or(usize::MAX);
        let gone =
            ours.iter().enumerate().skip(1).filter(|(place, (made, _))| *place >= keep || *made < oldest);
        for (_, (_, name)) in gone {
            fs::remove_file(folder.join(name))?;
            self.control.change_now(Note::new(actor.clone(), Action::BackupRemoved, name), |tx| {
                for (key, mut run) in tx.scan(&RUNS).rows()? {
                    if run.file == *name {
                        run.removed = true;
                        tx.put(&RUNS, &key, &run)?;
                    }
                }
                Ok::<_, StoreError>(())
            })?;
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Doing>> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a run, and forgets the oldest.
fn remember(tx: &mut ControlTx, key: u64, run: &Run) -> Result<(), StoreError> {
    tx.put(&RUNS, &key, run)?;
    for (old, _) in tx.scan(&RUNS).reverse().rows()?.into_iter().skip(REMEMBERED) {
        tx.remove(&RUNS, &old)?;
    }
    Ok(())
}

/// The one backup that may be made at a time.
struct Turn<'a>(&'a Keeper);

impl<'a> Turn<'a> {
    fn take(keeper: &'a Keeper) -> Result<Self, BackupError> {
        let mut doing = keeper.lock();
        if doing.is_some() {
            return Err(BackupError::Busy);
        }
        *doing = Some(Doing::Writing(Progress::default()));
        Ok(Self(keeper))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// The folder, if backups can be kept there: absolute, there, and not inside the data that it saves.
pub fn folder(path: &str, data: &Path) -> Result<PathBuf, BackupError> {
    let no = |said: String| BackupError::Io(io::Error::other(said));
    let folder = Path::new(path);
    if !folder.is_absolute() {
        return Err(no(format!("{path} is no absolute path")));
    }
    let found = folder.canonicalize().map_err(|e| no(format!("{path}: {e}")))?;
    if !found.is_dir() {
        return Err(no(format!("{path} is no folder")));
    }
    let data = data.canonicalize()?;
    if found.starts_with(&data) {
        return Err(no(format!("{path} lies in the data folder: what destroys one destroys the other")));
    }
    Ok(found)
}

/// Removes what a killed process left half-written.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let half = name.to_str().and_then(|name| name.strip_suffix(".new"));
        if half.and_then(made_at).is_some() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The time in a name of ours; `None` for any other name.
fn made_at(name: &str) -> Option<Timestamp> {
    let stamp = name.strip_prefix(PREFIX)?.strip_suffix(ENDING)?;
    let time = jiff::civil::DateTime::strptime(STAMP, stamp).ok()?;
    Some(time.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_are_ours() {
        let made = made_at("vynos-backup-20261124T030000Z.vynos");
        assert_eq!(made, Some("2026-11-24T03:00:00Z".parse().unwrap()));
        for other in
            ["vynos-backup-.vynos", "vynos-backup-20261124.vynos", "a.vynos", "vynos-backup-20261124T030000Z"]
        {
            assert_eq!(made_at(other), None, "{other}");
        }
    }
}
