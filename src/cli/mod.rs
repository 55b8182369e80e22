//! The command line. Results go to standard output, progress and logs to standard error. Exit codes: 0 done,
//! 1 it ran and the answer is no, 2 wrong usage, 3 could not run.

pub mod analyze;
mod backup;
mod config;
mod demo;
mod extract;
mod serve;
mod sim;
mod user;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use config::{ServerArgs, ServerConfig};

/// Ask questions of your Salesforce org, on your own machine.
#[derive(Parser)]
#[command(name = "vynos", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done · 1 it ran and the answer is no · 2 wrong usage · 3 could not run.
Every option can also be set by an environment variable or in --config FILE (TOML); a flag wins over the
environment, the environment over the file.";

#[derive(Subcommand)]
enum Command {
    /// Checks a folder or zip of metadata (SFDX or mdapi): no server, no org.
    Analyze(analyze::Args),
    /// Checks the audit log.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Works with the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Runs a throw-away instance with a simulated org, and prints a link that is signed in.
    Demo(demo::DemoArgs),
    /// Looks at key, permissions, disk, clock, certificate, mail, model, jobs, audit chains, orgs and search index, and says the
    /// remedy for what is wrong. Asks the running server, or reads the data of a stopped one.
    Doctor(user::DataArgs),
    /// Makes a backup of everything, while the server runs or without it: one sealed file.
    Export(backup::ExportArgs),
    /// Prints the text of a document as the library would see it.
    Extract(extract::ExtractArgs),
    /// Makes a data directory of a backup.
    Import(backup::ImportArgs),
    /// Makes a master key file (0600). Never replaces one.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Runs the server.
    Serve(ServerArgs),
    /// Prints the code that opens first-run setup; 1 when setup has ended.
    SetupCode(ServerArgs),
    /// Runs only a simulated service on loopback: for client tests and training.
    Sim {
        #[command(subcommand)]
        command: SimCommand,
    },
    /// Works on accounts.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// What the server starts for itself.
    #[command(hide = true)]
    Worker {
        #[command(subcommand)]
        command: extract::WorkerCommand,
    },
    /// Checks every seal and checksum of a backup, or every page, seal and audit chain of a stopped instance's data; names
    /// the first broken place.
    Verify(backup::VerifyArgs),
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Walks the chain of control and of every workspace.
    Verify(user::DataArgs),
}

#[derive(Subcommand)]
enum UserCommand {
    /// Prints a link that sets a new password, once, within an hour; needs no mail.
    Reset(user::ResetArgs),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Prints the configuration as it would be used, and what is wrong with it.
    Check(ServerArgs),
}

#[derive(Subcommand)]
enum SimCommand {
    /// A model: a scripted Messages API, not AI.
    Model(sim::ModelArgs),
    /// A Salesforce org.
    Salesforce(sim::SalesforceArgs),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Makes the key file given by --master-key-file.
    Create(ServerArgs),
    /// Prints the key's fingerprint.
    Status(ServerArgs),
}

/// How a command ends that did not do its work.
pub enum Failure {
    /// It could not run: what happened, what was kept, what to do.
    CouldNotRun(String),
    /// It ran, and the answer is no.
    No(String),
    /// The words of the call are off.
    Usage(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::CouldNotRun(error.to_string())
    }
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Analyze(args) => return analyze::run(&args),
        Command::Audit { command: AuditCommand::Verify(args) } => user::audit(&args),
        Command::Config { command: ConfigCommand::Check(args) } => config::check(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => user::doctor(&args),
        Command::Export(args) => backup::export(&args),
        Command::Extract(args) => extract::run(&args),
        Command::Import(args) => backup::import(&args),
        Command::Key { command: KeyCommand::Create(args) } => verify::create_key(&args),
        Command::Key { command: KeyCommand::Status(args) } => verify::key_status(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Sim { command: SimCommand::Model(args) } => sim::model(&args),
        Command::Sim { command: SimCommand::Salesforce(args) } => sim::salesforce(&args),
        Command::SetupCode(args) => verify::setup_code(&args),
        Command::User { command: UserCommand::Reset(args) } => user::reset(&args),
        Command::Verify(args) => backup::verify(&args),
        Command::Worker { command } => extract::work(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No(text)) => told(&text, 1),
        Err(Failure::Usage(text)) => told(&text, 2),
        Err(Failure::CouldNotRun(text)) => told(&text, 3),
    }
}

fn told(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "vynos: {text}");
    ExitCode::from(code)
}

/// Writes a line of result.
fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
