//! `vynos export`, `vynos import`, `vynos verify`: backups as files.

use std::fs::File;
use std::io::{self, BufRead as _, BufWriter, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{Failure, ServerArgs, say, user, verify};
use crate::backup::check::{Contents, check};
use crate::backup::file::NewFile;
use crate::backup::make::Made;
use crate::backup::sealed::{Opener, Sealed};
use crate::backup::{BackupError, Progress, restore};
use crate::clock::{Clock, Random};
use crate::console::{self, Answer};
use crate::seal::{DataKey, MasterKey, RecoveryCode, Secret};
use crate::web::page::{grouped, size};

/// A recovery code is shorter.
const LONGEST_CODE: u64 = 1024;

#[derive(Args)]
#[command(after_help = "Examples:
  vynos export --out /backup/vynos-$(date +%F).vynos
  vynos export --out - | ssh backup.example.com 'cat > vynos.vynos'

The file holds accounts, settings and every workspace with its documents, each workspace as of one moment; people go on
working meanwhile. Search indexes are left out and built again after a restore. The file is sealed: it opens with the
master key of this installation, or with the recovery code that setup showed. Keep one of them where the file is not.
Check a file with `vynos verify FILE`.")]
pub struct ExportArgs {
    /// Where the backup goes; `-` is standard output. Never replaces a file.
    #[arg(long, value_name = "FILE", env = "VYNOS_BACKUP_OUT")]
    out: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
    /// Prints one JSON line (to standard error when the backup goes to standard output).
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  vynos import vynos.vynos --data-dir /var/lib/vynos --master-key-file /etc/vynos/master.key
  vynos import vynos.vynos --recovery-code-file - --data-dir /var/lib/vynos --master-key-file /etc/vynos/master.key

All of the backup is read and checked before anything is written, and a restore that ends early leaves nothing. The data
directory has to be missing or empty. The new data is sealed by --master-key-file: the key that the backup was made
under, or another one, when the backup is opened by --backup-key-file or --recovery-code-file. If there is no such file,
a new key is made there: keep a copy of it. Run it as the user that runs the server.")]
pub struct ImportArgs {
    /// The backup.
    file: PathBuf,
    /// Checks everything and writes nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// Prints one JSON line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// A backup. Without it the data directory is checked.
    file: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// Prints one JSON line (for a backup).
    #[arg(long, requires = "file")]
    json: bool,
}

/// What opens the backup, if not the master key of this installation.
#[derive(Args)]
struct KeyArgs {
    /// The master key the backup was made under, when it is not --master-key-file.
    #[arg(long, value_name = "FILE", env = "VYNOS_BACKUP_KEY_FILE", conflicts_with = "recovery_code_file")]
    backup_key_file: Option<PathBuf>,
    /// A file with the recovery code that setup showed; `-` asks for it on standard input.
    #[arg(long, value_name = "FILE", env = "VYNOS_BACKUP_RECOVERY_CODE_FILE")]
    recovery_code_file: Option<PathBuf>,
}

/// A backup that does not hold is an answer; whatever else happens is none.
fn failure(error: BackupError) -> Failure {
    match error {
        BackupError::Broken { .. } | BackupError::NotABackup => Failure::No(error.to_string()),
        other => Failure::CouldNotRun(other.to_string()),
    }
}

/// `vynos export --out FILE`.
pub fn export(args: &ExportArgs) -> Result<(), Failure> {
    let to_stdout = args.out.as_os_str() == "-";
    let mut shown = Shown::new();
    let made = if to_stdout {
        if io::stdout().is_terminal() {
            return Err(Failure::Usage(
                "a backup is no text: send standard output into a file or a pipe".into(),
            ));
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let made = written(args, &mut out, &mut shown)?;
        out.flush().map_err(|e| failure(e.into()))?;
        made
    } else {
        let mut file = NewFile::create(&args.out).map_err(failure)?;
        let made = written(args, &mut file, &mut shown)?;
        file.finish()?;
        made
    };
    drop(shown);
    let text = if args.json {
        serde_json::to_string(&made)?
    } else {
        format!(
            "{}: {} workspaces, {} files, {} rows, {}",
            args.out.display(),
            made.workspaces,
            grouped(made.blobs),
            grouped(made.rows),
            size(made.bytes)
        )
    };
    if to_stdout { Ok(writeln!(io::stderr(), "{text}")?) } else { say(&text) }
}

/// Lets the server write the backup, or writes it here when none runs.
fn written(args: &ExportArgs, to: &mut impl Write, shown: &mut Shown) -> Result<Made, Failure> {
    let config = args.server.resolve()?;
    match console::export(&config.data_dir, to, &mut shown.watch()).map_err(failure)? {
        Some(Answer::Exported { made }) => return Ok(made),
        Some(other) => {
            user::refused(&other)?;
            return Err(Failure::CouldNotRun("the server answered another question; restart it".into()));
        }
        None => {}
    }
    let (_lock, console) = user::stopped(config)?;
    Ok(console.export(to, &mut shown.watch())?.1)
}

/// `vynos import FILE`.
pub fn import(args: &ImportArgs) -> Result<(), Failure> {
    let config = args.server.resolve()?;
    let sealed = Sealed::open(&args.file).map_err(failure)?;
    let key = args.key.open(&sealed, &config.master_key_file)?;
    let mut shown = Shown::new();
    let contents = restore::rehearse(&sealed, &key, &config.data_dir, &mut shown.watch()).map_err(failure)?;
    if args.dry_run {
        drop(shown);
        return report(
            args.json,
            &sealed,
            &contents,
            "Everything in it can be restored. Nothing was written.",
        );
    }
    let master = if config.master_key_file.exists() {
        MasterKey::load(&config.master_key_file)
    } else {
        MasterKey::create(&config.master_key_file)
    };
    let master =
        master.map_err(|e| Failure::CouldNotRun(format!("{}: {e}", config.master_key_file.display())))?;
    let with = (&Clock::system(), &Random::system());
    let kept = restore::restore(&sealed, &key, &config.data_dir, master, with, &mut shown.watch())
        .map_err(failure)?;
    drop(shown);
    let next = format!(
        "Restored into {}, sealed by {}. Start the server; it builds the search indexes.",
        config.data_dir.display(),
        config.master_key_file.display()
    );
    report(args.json, &sealed, &kept, &next)
}

/// `vynos verify [FILE]`.
pub fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let Some(file) = &args.file else { return verify::data(&args.server) };
    let sealed = Sealed::open(file).map_err(failure)?;
    let key = args.key.open(&sealed, &args.server.resolve()?.master_key_file)?;
    let mut shown = Shown::new();
    let contents = check(&sealed, &key, &mut shown.watch()).map_err(failure)?;
    drop(shown);
    report(args.json, &sealed, &contents, "Every seal and checksum holds.")
}

fn report(as_json: bool, sealed: &Sealed, contents: &Contents, end: &str) -> Result<(), Failure> {
    let head = &sealed.head;
    if as_json {
        let line =
            json!({ "made": head.made, "vynos": head.vynos, "master": head.master, "contents": contents });
        return say(&line.to_string());
    }
    let Contents { workspaces, blobs, rows } = contents;
    say(&format!(
        "Backup of {}, made by Vynos {} under the master key {}.",
        head.made, head.vynos, head.master
    ))?;
    say(&format!("{workspaces} workspaces, {} files, {} rows. {end}", grouped(*blobs), grouped(*rows)))
}

impl KeyArgs {
    fn open(&self, sealed: &Sealed, master_key_file: &Path) -> Result<DataKey, Failure> {
        if let Some(path) = &self.recovery_code_file {
            return sealed.key(&Opener::Code(&code(path)?)).map_err(failure);
        }
        let path = self.backup_key_file.as_deref().unwrap_or(master_key_file);
        let master = MasterKey::load(path).map_err(|e| {
            Failure::CouldNotRun(format!(
                "{}: {e}. Give the master key of the backup, or the recovery code with --recovery-code-file. Nothing was \
                 changed",
                path.display()
            ))
        })?;
        sealed.key(&Opener::Master(&master)).map_err(failure)
    }
}

fn code(path: &Path) -> Result<RecoveryCode, Failure> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            write!(io::stderr(), "Recovery code: ")?;
        }
        io::BufReader::new(io::stdin().take(LONGEST_CODE)).read_line(&mut text)?;
    } else {
        let read = File::open(path).and_then(|file| file.take(LONGEST_CODE).read_to_string(&mut text));
        read.map_err(|e| Failure::CouldNotRun(format!("{}: {e}", path.display())))?;
    }
    let text = Secret::new(text);
    Ok(RecoveryCode::parse(text.expose())?)
}

/// Progress on standard error: a line that is written over on a terminal, else one now and then.
struct Shown {
    last: Option<Instant>,
    terminal: bool,
}

impl Shown {
    fn new() -> Self {
        Self { last: None, terminal: io::stderr().is_terminal() }
    }

    /// What is told how far it is; it never stops the work.
    fn watch(&mut self) -> impl FnMut(Progress) -> Result<(), BackupError> + '_ {
        |at| {
            self.show(at);
            Ok(())
        }
    }

    fn show(&mut self, at: Progress) {
        let wait = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.last.is_some_and(|last| last.elapsed() < wait) {
            return;
        }
        self.last = Some(Instant::now());
        let of = if at.of > 0 { format!(" of {}", at.of) } else { String::new() };
        let text = format!("{} workspaces{of}, {}", at.workspaces, size(at.bytes));
        let end = if self.terminal { "\r" } else { "\n" };
        // Nobody may look.
        let _ = write!(io::stderr(), "{text:<60}{end}");
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.terminal && self.last.is_some() {
            let _ = write!(io::stderr(), "{:<60}\r", "");
        }
    }
}
