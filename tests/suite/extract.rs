//! The confined child: what it may not do, and how the worst documents end.

use std::process::{Command, Output, Stdio};

use proptest::prelude::*;

const GUIDE: &[u8] = include_bytes!("../fixtures/documents/naming-guide.pdf");

fn worker(task: &str) -> Output {
    let child = Command::new(env!("CARGO_BIN_EXE_vynos"))
        .args(["worker", "extract", task])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.wait_with_output().unwrap()
}

fn extract(name: &str, bytes: &[u8]) -> (i32, serde_json::Value) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let done =
        Command::new(env!("CARGO_BIN_EXE_vynos")).args(["extract", "--json"]).arg(path).output().unwrap();
    let json = serde_json::from_slice(&done.stdout).unwrap();
    (done.status.code().unwrap(), json)
}

#[test]
fn the_child_can_open_no_file_no_socket_and_start_nothing() {
    for task in ["probe-open", "probe-socket", "probe-exec"] {
        let said = String::from_utf8(worker(task).stdout).unwrap();
        assert!(said.contains("PermissionDenied"), "{task}: {said}");
    }
    // The same attempts succeed where nothing confines them, so the probes are real.
    assert!(std::fs::File::open("/etc/hostname").is_ok() && std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
}

#[test]
fn the_child_ends_when_it_takes_too_much_or_breaks() {
    for task in ["probe-memory", "probe-recursion", "probe-panic"] {
        assert!(!worker(task).status.success(), "{task}");
    }
    assert!(!worker("nonsense").status.success());
}

#[test]
fn a_document_is_told_as_the_interface_says() {
    let (code, json) = extract("guide.pdf", GUIDE);
    assert_eq!(code, 0);
    assert_eq!(json["title"], "CRM naming guide");
    assert_eq!((&json["kind"], &json["language"]), (&"pdf".into(), &"en".into()));
    assert_eq!(json["pages"][2]["number"], 3);
    assert!(json["pages"][2]["text"].as_str().unwrap().contains("until counsel has signed"));
    for (name, bytes, code) in [
        ("locked.pdf", include_bytes!("../fixtures/documents/locked.pdf").as_slice(), "encrypted"),
        ("scan.pdf", include_bytes!("../fixtures/documents/scan.pdf"), "no text"),
        ("a.pdf", b"%PDF-1.4 nothing", "damaged"),
        ("a.bin", b"\0\0\0", "unsupported"),
        ("a.md", b"   \n", "no text"),
    ] {
        let (status, json) = extract(name, bytes);
        assert_eq!((status, json["error"]["code"].as_str()), (1, Some(code)), "{name}: {json}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is wrong with a PDF, the answer is text or a reason, and it comes.
    #[test]
    fn a_mutated_pdf_never_hangs_nor_crashes_the_caller(
        changes in prop::collection::vec((0..GUIDE.len(), any::<u8>()), 1..40), cut in prop::option::of(0..GUIDE.len()),
    ) {
        let mut bytes = GUIDE.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        let (code, json) = extract("mutant.pdf", &bytes);
        prop_assert!(matches!(code, 0 | 1), "{code}");
        prop_assert!(json["pages"].is_array() || json["error"]["code"].is_string());
    }
}
