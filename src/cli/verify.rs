//! Console commands over the data of a stopped instance: `verify`, `key`.

use std::sync::Arc;

use url::Url;

use super::{Failure, ServerArgs, say};
use crate::clock::{Clock, Random};
use crate::console::{Command, Console};
use crate::health::Status;
use crate::identity::Control;
use crate::seal::MasterKey;
use crate::workspace::{DataDir, Door, Pool};

/// `vynos setup-code`: also makes the data directory, so that an installer can print the code before the
/// first start.
pub fn setup_code(args: &ServerArgs) -> Result<(), Failure> {
    let config = args.resolve()?;
    let data = DataDir::open_or_create(&config.data_dir, MasterKey::load(&config.master_key_file)?)?;
    let control = data.control(Clock::system(), Random::system())?;
    if control.settings()?.set_up {
        return Err(Failure::No("setup has ended; there is no code any more".into()));
    }
    say(control.setup_code().expose())
}

fn open(args: &ServerArgs) -> Result<(Arc<DataDir>, Control), Failure> {
    let config = args.resolve()?;
    let master = MasterKey::load(&config.master_key_file)
        .map_err(|e| Failure::CouldNotRun(format!("{}: {e}", config.master_key_file.display())))?;
    let data = Arc::new(DataDir::open(&config.data_dir, master)?);
    let control = data.control(Clock::system(), Random::system())?;
    Ok((data, control))
}

/// `vynos verify --data-dir D`.
pub fn data(args: &ServerArgs) -> Result<(), Failure> {
    let (data, control) = open(args)?;
    control.verify_file().map_err(|e| Failure::No(format!("control.redb: {e}")))?;
    say("control.redb: every page opens")?;
    let pool = Arc::new(Pool::new(data, Clock::system(), Random::system()));
    let door = Door::new(control.clone(), Arc::clone(&pool));
    for (id, _) in control.all_workspaces()? {
        let ws = door.for_runner(id).map_err(|e| Failure::No(format!("workspace {id}: {e}")))?;
        ws.verify_file().map_err(|e| Failure::No(format!("workspace {id}: {e}")))?;
        say(&format!("workspace {id}: every page opens"))?;
    }
    let url = Url::parse("http://localhost/")?;
    let status = Status::stopped(control, door, pool, args.resolve()?.master_key_file);
    let command = Command::AuditVerify { progress: true };
    super::user::chains(&Console::new(status, url).run(&command, &mut super::user::progress))
}

/// `vynos key create`.
pub fn create_key(args: &ServerArgs) -> Result<(), Failure> {
    let path = args.resolve()?.master_key_file;
    let key = MasterKey::create(&path)?;
    say(&format!("{} made, fingerprint {}", path.display(), key.fingerprint()))
}

/// `vynos key status`.
pub fn key_status(args: &ServerArgs) -> Result<(), Failure> {
    let path = args.resolve()?.master_key_file;
    say(&format!("{} fingerprint {}", path.display(), MasterKey::load(&path)?.fingerprint()))
}
