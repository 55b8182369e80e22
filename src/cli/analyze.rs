//! `vynos analyze PATH`: the checks on a folder or zip, without a server or an org.

mod source;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

use crate::insights::rules::{self, Component, FileError, Finding, Input, Report, RuleSet, Severity, export};

/// The newest API version whose documents are final; ages count from it.
const CURRENT_API: f64 = 67.0;

/// Checks a folder or zip of metadata (SFDX or Metadata API layout).
#[derive(clap::Args)]
pub struct Args {
    /// A folder, a zip, or one file.
    pub path: PathBuf,
    /// How the findings are written.
    #[arg(long, value_enum, default_value = "text", env = "VYNOS_ANALYZE_FORMAT")]
    pub format: Format,
    /// Only these rules, by id or name, with commas between them.
    #[arg(long, value_delimiter = ',', env = "VYNOS_ANALYZE_RULES")]
    pub rules: Vec<String>,
    /// Leaves out milder findings: critical, high, medium, low or info.
    #[arg(long, env = "VYNOS_ANALYZE_MIN_SEVERITY", value_name = "SEVERITY")]
    pub min_severity: Option<Severity>,
    /// How many threads at most; by default one for each processor.
    #[arg(long, env = "VYNOS_ANALYZE_JOBS", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// Exit code 1 when a finding is this severe or worse.
    #[arg(long, env = "VYNOS_ANALYZE_FAIL_ON", value_name = "SEVERITY")]
    pub fail_on: Option<Severity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Csv,
    Json,
    Sarif,
    Text,
}

/// Runs the command on standard output and standard error.
pub fn run(args: &Args) -> ExitCode {
    let out = std::io::BufWriter::new(std::io::stdout().lock());
    ExitCode::from(run_to(args, out, &mut std::io::stderr()))
}

/// Runs the command; gives its exit code.
pub fn run_to(args: &Args, mut out: impl Write, err: &mut dyn Write) -> u8 {
    let rule_set = match rule_set(args) {
        Ok(rules) => rules,
        Err(message) => return told(err, &message, 2),
    };
    let began = Instant::now();
    let loaded = match source::load(&args.path) {
        Ok(loaded) => loaded,
        Err(message) => return told(err, &message, 3),
    };
    let components: Vec<Component<'_>> = loaded.components.iter().map(source::Owned::component).collect();
    let jobs = args.jobs.map_or_else(processors, usize::from);
    let input = Input { components: &components, limits: &[], current_api: CURRENT_API, jobs };
    let mut report = rules::run(&input, &rule_set);
    report.errors.extend(loaded.errors);
    report.errors.sort_by(|a, b| (&a.file, &a.message).cmp(&(&b.file, &b.message)));
    let output = Output {
        version: 1,
        files: loaded.files,
        components: components.len(),
        elapsed_ms: began.elapsed().as_millis() as u64,
        findings: &report.findings,
        errors: &report.errors,
    };
    if let Err(message) = write(args.format, &output, &report, &mut out) {
        return told(err, &format!("The findings could not be written: {message}."), 3);
    }
    let failed = args.fail_on.is_some_and(|least| report.findings.iter().any(|f| f.severity >= least));
    u8::from(failed)
}

fn rule_set(args: &Args) -> Result<RuleSet, String> {
    let chosen = if args.rules.is_empty() {
        RuleSet::all()
    } else {
        RuleSet::only(args.rules.iter().map(String::as_str)).map_err(|unknown| unknown.to_string())?
    };
    Ok(chosen.at_least(args.min_severity.unwrap_or(Severity::Info)))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn told(err: &mut dyn Write, message: &str, code: u8) -> u8 {
    let _ = writeln!(err, "vynos: {message}");
    code
}

#[derive(Serialize)]
struct Output<'a> {
    version: u32,
    files: usize,
    components: usize,
    elapsed_ms: u64,
    findings: &'a [Finding],
    errors: &'a [FileError],
}

fn write(format: Format, output: &Output<'_>, report: &Report, out: &mut impl Write) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    match format {
        Format::Csv => export::csv(&report.findings, &mut *out).map_err(|error| error.to_string())?,
        Format::Json => {
            serde_json::to_writer(&mut *out, output).map_err(|error| error.to_string())?;
            writeln!(out).map_err(text)?;
        }
        Format::Sarif => {
            let log = export::sarif(report, env!("CARGO_PKG_VERSION"));
            serde_json::to_writer_pretty(&mut *out, &log).map_err(|error| error.to_string())?;
            writeln!(out).map_err(text)?;
        }
        Format::Text => lines(output, report, out).map_err(text)?,
    }
    out.flush().map_err(text)
}

fn lines(output: &Output<'_>, report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    for f in &report.findings {
        let severity = f.severity.as_str();
        writeln!(out, "{}:{}:{}: {severity} {} {}: {}", f.file, f.line, f.column, f.rule, f.name, f.message)?;
    }
    for error in &report.errors {
        writeln!(out, "{}: not checked: {}", error.file, error.message)?;
    }
    let all = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info];
    let counts: Vec<String> = all
        .into_iter()
        .map(|severity| (severity, report.findings.iter().filter(|f| f.severity == severity).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("{count} {}", severity.as_str()))
        .collect();
    let found = if counts.is_empty() { "no findings".to_owned() } else { counts.join(", ") };
    writeln!(
        out,
        "{found} · {} components in {} files · {} suppressed in the source · {} files not checked · {} ms",
        output.components,
        output.files,
        report.suppressed.len(),
        report.errors.len(),
        output.elapsed_ms
    )
}
