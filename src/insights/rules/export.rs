//! Findings for other programs: SARIF 2.1.0 and CSV.

use std::io::Write;

use serde_json::{Value, json};

use super::catalogue::catalogue;
use super::finding::{Finding, Report, Severity};

/// A SARIF 2.1.0 log with one run. Suppressed findings are in it, marked as suppressed in the source; files that
/// could not be checked are notifications.
pub fn sarif(report: &Report, version: &str) -> Value {
    let suppressed = report.suppressed.iter().map(|s| {
        let mut value = result(&s.finding);
        value["suppressions"] = json!([{ "kind": "inSource", "justification": s.reason }]);
        value
    });
    let results: Vec<Value> = report.findings.iter().map(result).chain(suppressed).collect();
    let notifications: Vec<Value> = report
        .errors
        .iter()
        .map(|error| json!({ "level": "error", "message": { "text": error.message }, "locations": [place(&error.file, None)] }))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "Vynos", "version": version, "rules": rules() } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{ "executionSuccessful": true, "toolExecutionNotifications": notifications }],
            "results": results,
        }],
    })
}

fn rules() -> Vec<Value> {
    catalogue()
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "name": rule.name,
                "shortDescription": { "text": rule.title },
                "fullDescription": { "text": rule.why },
                "help": { "text": rule.fix },
                "defaultConfiguration": { "level": level(rule.severity) },
                "properties": { "category": rule.category.as_str(), "severity": rule.severity.as_str() },
            })
        })
        .collect()
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

fn result(finding: &Finding) -> Value {
    let index = catalogue().iter().position(|rule| rule.id == finding.rule);
    let mut value = json!({
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": { "text": finding.message },
        "partialFingerprints": { "vynos/v1": finding.fingerprint },
        "properties": {
            "severity": finding.severity.as_str(),
            "component": format!("{}:{}", finding.component.kind, finding.component.name),
        },
    });
    if !finding.file.is_empty() {
        value["locations"] = json!([place(&finding.file, Some(finding))]);
    }
    value
}

fn place(file: &str, finding: Option<&Finding>) -> Value {
    let mut place = json!({ "physicalLocation": { "artifactLocation": { "uri": as_uri(file) } } });
    if let Some(f) = finding {
        place["physicalLocation"]["region"] =
            json!({ "startLine": f.line, "startColumn": f.column, "endLine": f.end_line });
    }
    place
}

/// A relative path as a URI reference.
fn as_uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(byte as char);
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// A table with a header, one finding a row. Cells that a spreadsheet would run as a formula are quoted.
pub fn csv(findings: &[Finding], out: impl Write) -> Result<(), csv::Error> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record([
        "rule",
        "name",
        "severity",
        "category",
        "type",
        "component",
        "file",
        "line",
        "column",
        "end_line",
        "message",
        "fix",
        "fingerprint",
    ])?;
    for f in findings {
        let numbers = [f.line.to_string(), f.column.to_string(), f.end_line.to_string()];
        let cells = [
            f.rule,
            f.name,
            f.severity.as_str(),
            f.category.as_str(),
            &f.component.kind,
            &f.component.name,
            &f.file,
            &numbers[0],
            &numbers[1],
            &numbers[2],
            &f.message,
            f.fix,
            &f.fingerprint,
        ];
        table.write_record(cells.map(harmless))?;
    }
    table.flush()?;
    Ok(())
}

fn harmless(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}
