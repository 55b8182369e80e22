//! `vynos extract FILE`: the text of a document as the library would see it. And the hidden `vynos worker extract`:
//! the confined child that reads it.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Failure, say};
use crate::knowledge::extract::worker::{self, Task};
use crate::knowledge::extract::{ExtractError, Extractor, LARGEST};

#[derive(Args)]
pub struct ExtractArgs {
    /// A PDF, Markdown, HTML or text file.
    file: PathBuf,
    /// Prints one JSON object: pages, title, language, kind, warnings.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ExtractArgs) -> Result<(), Failure> {
    let size = std::fs::metadata(&args.file)
        .map_err(|e| Failure::CouldNotRun(format!("{}: {e}", args.file.display())))?
        .len();
    let name = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = args.file.clone();
    let found = if size > LARGEST {
        Err(ExtractError::TooLarge(format!("This file is {} MB. The limit is 50 MB.", size >> 20)))
    } else {
        let open = move || std::fs::File::open(&path);
        let extractor = Extractor::default();
        let cancel = CancellationToken::new();
        runtime.block_on(extractor.run(&name, open, |_, _| {}, &cancel))
    };
    match found {
        Ok(found) if args.json => {
            say(&serde_json::to_string(&found).map_err(|e| Failure::CouldNotRun(e.to_string()))?)
        }
        Ok(found) => {
            for warning in &found.warnings {
                let _ = writeln!(std::io::stderr(), "{warning}");
            }
            let text: Vec<&str> = found.pages.iter().map(|page| page.text.as_str()).collect();
            say(&text.join("\n\u{c}\n"))
        }
        Err(error) if args.json => {
            say(&json!({ "error": { "code": error.code(), "message": error.to_string() } }).to_string())?;
            Err(Failure::No(error.to_string()))
        }
        Err(error) => Err(Failure::No(error.to_string())),
    }
}

/// What the server starts for itself.
#[derive(Subcommand)]
pub enum WorkerCommand {
    /// Reads a document from standard input, confined.
    Extract { task: String },
}

pub fn work(command: &WorkerCommand) -> Result<(), Failure> {
    let WorkerCommand::Extract { task } = command;
    let task = Task::by_name(task).ok_or_else(|| Failure::CouldNotRun("no such task".into()))?;
    Ok(worker::main(task)?)
}
