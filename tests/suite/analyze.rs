//! `vynos analyze` on folders and zips: the shapes other programs rely on, exit codes, bad input.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde_json::Value;
use vynos::cli::analyze::{Args, run_to};

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// Exit code, standard output, standard error.
fn analyze(path: &Path, options: &[&str]) -> (u8, String, String) {
    let words = ["analyze", path.to_str().unwrap()].into_iter().chain(options.iter().copied());
    let command = Command::try_parse_from(words).unwrap_or_else(|e| panic!("{e}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run_to(&command.args, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn json(path: &Path, options: &[&str]) -> Value {
    let (code, out, err) = analyze(path, &[&["--format", "json"], options].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/analysis")
}

fn zipped(files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut zip = zip::ZipWriter::new(&mut file);
    for (name, bytes) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    file
}

const BAD: &[u8] = b"public class A { void b() { System.debug(1); } }";

#[test]
fn json_has_the_promised_shape() {
    let report = json(&fixtures(), &[]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&report), ["version", "files", "components", "elapsed_ms", "findings", "errors"]);
    assert_eq!(report["version"], 1);
    let finding = &report["findings"][0];
    assert_eq!(
        keys(finding),
        [
            "rule",
            "name",
            "severity",
            "category",
            "component",
            "file",
            "line",
            "column",
            "end_line",
            "message",
            "why",
            "fix",
            "fingerprint"
        ]
    );
    assert_eq!(keys(&finding["component"]), ["type", "name"]);
    assert_eq!(finding["severity"], "critical");
    assert_eq!(report["errors"], serde_json::json!([]));
}

#[test]
fn sarif_has_what_version_2_1_0_requires() {
    let (code, out, _) = analyze(&fixtures(), &["--format", "sarif"]);
    let log: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, log["version"].as_str()), (0, Some("2.1.0")));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(run["tool"]["driver"]["name"], "Vynos");
    let results = run["results"].as_array().unwrap();
    assert!(results.len() > 50);
    for result in results {
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["artifactLocation"]["uri"].as_str().unwrap().contains('.'));
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
        assert!(place["region"]["startColumn"].as_u64().unwrap() >= 1);
    }
    let suppressed = results.iter().filter(|r| r["suppressions"][0]["kind"] == "inSource").count();
    assert_eq!(suppressed, 3);
}

#[test]
fn csv_and_text_list_every_finding() {
    let findings = json(&fixtures(), &[])["findings"].as_array().unwrap().len();
    let (_, table, _) = analyze(&fixtures(), &["--format", "csv"]);
    let rows =
        csv::Reader::from_reader(table.as_bytes()).into_records().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(rows.len(), findings);
    let (_, text, _) = analyze(&fixtures(), &[]);
    assert_eq!(text.lines().count(), findings + 1);
}

#[test]
fn the_exit_code_says_whether_the_threshold_was_reached() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("A.cls"), BAD).unwrap();
    assert_eq!(analyze(folder.path(), &[]).0, 0);
    assert_eq!(analyze(folder.path(), &["--fail-on", "low"]).0, 1);
    assert_eq!(analyze(folder.path(), &["--fail-on", "medium"]).0, 0);
    let (code, _, err) = analyze(folder.path(), &["--rules", "APX-001,nonsense"]);
    assert_eq!(code, 2);
    assert!(err.contains("nonsense") && err.lines().count() == 1, "{err}");
    let (code, out, err) = analyze(&folder.path().join("absent"), &[]);
    assert_eq!((code, out.as_str(), err.lines().count()), (3, "", 1));
}

#[test]
fn a_folder_and_its_zip_give_the_same_findings() {
    let folder = tempfile::tempdir().unwrap();
    let classes = folder.path().join("main/default/classes");
    std::fs::create_dir_all(&classes).unwrap();
    let meta: &[u8] = b"<ApexClass><apiVersion>29.0</apiVersion><status>Active</status></ApexClass>";
    std::fs::write(classes.join("A.cls"), BAD).unwrap();
    std::fs::write(classes.join("A.cls-meta.xml"), meta).unwrap();
    let zip = zipped(&[("main/default/classes/A.cls-meta.xml", meta), ("main/default/classes/A.cls", BAD)]);
    let (from_folder, from_zip) = (json(folder.path(), &[]), json(zip.path(), &[]));
    assert_eq!(from_folder["findings"], from_zip["findings"]);
    assert_eq!((from_zip["files"].as_u64(), from_zip["components"].as_u64()), (Some(2), Some(1)));
    let rules: Vec<_> =
        from_zip["findings"].as_array().unwrap().iter().map(|f| f["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["APX-022", "APX-025"]);
}

#[test]
fn bad_files_are_errors_and_the_rest_is_checked() {
    let large = vec![b' '; 10 * 1024 * 1024 + 1];
    let zip = zipped(&[
        ("classes/Good.cls", BAD),
        ("classes/Broken.cls", b"class {"),
        ("classes/Latin.cls", b"class A { String s = '\xe9'; }"),
        ("../outside/Evil.cls", BAD),
        ("/rooted/Evil.cls", BAD),
        ("flows/F.flow", b"<Flow><name></Flow>"),
        ("flows/Entities.flow", b"<!DOCTYPE f [<!ENTITY a \"aa\">]><Flow>&a;</Flow>"),
        ("objects/Large.object", &large),
        ("README.md", b"nothing to check"),
    ]);
    let report = json(zip.path(), &[]);
    let errors: Vec<_> =
        report["errors"].as_array().unwrap().iter().map(|e| e["file"].as_str().unwrap()).collect();
    assert_eq!(
        errors,
        [
            "../outside/Evil.cls",
            "/rooted/Evil.cls",
            "classes/Broken.cls",
            "classes/Latin.cls",
            "flows/Entities.flow",
            "flows/F.flow",
            "objects/Large.object"
        ]
    );
    let files: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|f| f["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["classes/Good.cls"]);
    assert_eq!(report["files"], 9);
}

#[test]
fn a_damaged_zip_and_a_file_of_another_kind_end_with_3() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"PK\x03\x04 and then nothing").unwrap();
    assert_eq!(analyze(file.path(), &[]).0, 3);
    let text = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(analyze(text.path(), &[]).0, 3);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("A.cls"), BAD).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("A.cls"), folder.path().join("B.cls")).unwrap();
    assert_eq!(json(folder.path(), &[])["components"], 0);
}
