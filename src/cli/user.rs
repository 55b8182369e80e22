//! Commands that work on the data, held by a server or not: `user reset`, `audit verify`, `doctor`.

use std::io::Write as _;
use std::sync::Arc;

use clap::Args;

use super::{Failure, ServerArgs, ServerConfig, say};
use crate::app::{default_url, lock};
use crate::clock::{Clock, Random};
use crate::console::{self, Answer, Command, Console};
use crate::health::Status;
use crate::health::checks::State;
use crate::seal::MasterKey;
use crate::workspace::{DataDir, Door, Pool};

#[derive(Args)]
pub struct ResetArgs {
    /// E-mail address of the account.
    email: String,
    /// Removes their authenticator app, recovery codes and passkeys, for somebody who has lost them.
    #[arg(long)]
    drop_second_factor: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Prints one JSON line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct DataArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Prints one JSON line.
    #[arg(long)]
    json: bool,
}

/// `vynos user reset EMAIL`.
pub fn reset(args: &ResetArgs) -> Result<(), Failure> {
    let (email, drop_second_factor) = (args.email.clone(), args.drop_second_factor);
    let answer = run(&args.server, &Command::UserReset { email, drop_second_factor })?;
    let Answer::Reset { email, link, ends, mailed } = &answer else { return refused(&answer) };
    if args.json {
        return say(&serde_json::to_string(&answer)?);
    }
    let told = if *mailed { "by mail and in the app" } else { "in the app" };
    say(&format!("A link that sets a new password for {email}, once, until {ends}:\n\n  {link}\n"))?;
    say(&format!("All their sessions end when it is used. They are told of it {told}."))
}

/// `vynos audit verify`.
pub fn audit(args: &DataArgs) -> Result<(), Failure> {
    let answer = run(&args.server, &Command::AuditVerify { progress: true })?;
    if args.json {
        say(&serde_json::to_string(&answer)?)?;
        return match broken(&answer) {
            Some(said) => Err(Failure::No(said)),
            None if matches!(answer, Answer::Audit { .. }) => Ok(()),
            None => refused(&answer),
        };
    }
    chains(&answer)
}

/// `vynos doctor`: 0 all is well, 1 something is wrong.
pub fn doctor(args: &DataArgs) -> Result<(), Failure> {
    let answer = run(&args.server, &Command::Doctor {})?;
    let Answer::Doctor { checks } = &answer else { return refused(&answer) };
    if args.json {
        say(&serde_json::to_string(checks)?)?;
    } else {
        for check in checks {
            let mark = match check.state {
                State::Note => "note ",
                State::Ok => "ok   ",
                State::Wrong => "WRONG",
            };
            say(&format!("{mark} {}: {}", check.name, check.found))?;
            if !check.remedy.is_empty() {
                say(&format!("      {}", check.remedy))?;
            }
        }
    }
    match checks.iter().filter(|check| check.is_wrong()).count() {
        0 => Ok(()),
        1 => Err(Failure::No("1 check found something wrong".into())),
        count => Err(Failure::No(format!("{count} checks found something wrong"))),
    }
}

/// Prints the chains that were walked, up to the first that does not hold.
pub fn chains(answer: &Answer) -> Result<(), Failure> {
    let Answer::Audit { chains } = answer else { return refused(answer) };
    for chain in chains.iter().take_while(|chain| chain.broken.is_none()) {
        say(&format!("{}: audit chain of {} lines holds", chain.place, chain.lines))?;
    }
    broken(answer).map_or(Ok(()), |said| Err(Failure::No(said)))
}

/// The first chain that does not hold.
fn broken(answer: &Answer) -> Option<String> {
    let Answer::Audit { chains } = answer else { return None };
    chains.iter().find_map(|chain| {
        chain.broken.as_ref().map(|said| match chain.broken_at {
            Some(at) => format!("{}: {said}, of {at}", chain.place),
            None => format!("{}: {said}", chain.place),
        })
    })
}

pub(super) fn refused(answer: &Answer) -> Result<(), Failure> {
    match answer {
        Answer::No { said } => Err(Failure::No(said.clone())),
        Answer::Failed { said } => Err(Failure::CouldNotRun(said.clone())),
        Answer::Audit { .. }
        | Answer::Doctor { .. }
        | Answer::Exported { .. }
        | Answer::Progress { .. }
        | Answer::Reset { .. } => {
            Err(Failure::CouldNotRun("the server answered another question; restart it".into()))
        }
    }
}

/// Runs a command where the data is held: in the server, else here.
fn run(args: &ServerArgs, command: &Command) -> Result<Answer, Failure> {
    let config = args.resolve()?;
    let asked = console::ask(&config.data_dir, command, &mut progress);
    let asked = asked.map_err(|e| {
        Failure::CouldNotRun(format!("the server in {} does not answer: {e}", config.data_dir.display()))
    })?;
    if let Some(answer) = asked {
        return Ok(answer);
    }
    let (_lock, console) = stopped(config)?;
    Ok(console.run(command, &mut progress))
}

/// The data of an instance that no server holds, with its lock.
pub(super) fn stopped(config: ServerConfig) -> Result<(std::fs::File, Console), Failure> {
    let master = MasterKey::load(&config.master_key_file)
        .map_err(|e| Failure::CouldNotRun(format!("{}: {e}", config.master_key_file.display())))?;
    let data = Arc::new(DataDir::open(&config.data_dir, master)?);
    let lock = lock(&config.data_dir)?;
    let control = data.control(Clock::system(), Random::system())?;
    let url = match &config.external_url {
        Some(url) => url.clone(),
        None => default_url(&config.tls, config.listen)?,
    };
    let pool = Arc::new(Pool::new(data, Clock::system(), Random::system()));
    let door = Door::new(control.clone(), Arc::clone(&pool));
    let status = Status::stopped(control, door, pool, config.master_key_file);
    Ok((lock, Console::new(status, url)))
}

/// Says on standard error how far a command is.
pub fn progress(said: Answer) {
    if let Answer::Progress { place, done, total } = said {
        // Nobody reads it: no reason to stop.
        let _ = writeln!(std::io::stderr(), "{place}: {done} of {total} audit lines");
    }
}
