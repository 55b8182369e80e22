//! Everything that reads what others wrote, given mutated samples and the worst texts that we know. What must hold
//! stands with the functions of `fuzz/targets.rs`, which run here for seconds and under libFuzzer for hours.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::io::{Cursor, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::sample::Index;
use vynos::backup::format::{Member, MembersOut, RowsOut};

/// Mutated samples are cut here, so that a debug build gets through many.
const LONGEST: usize = 40_000;
const CASES: u32 = 150;

#[derive(Clone, Debug)]
enum Mutation {
    Cut(Index, Index),
    Flip(Index, u8),
    Insert(Index, &'static str),
    Repeat(Index, usize, usize),
}

/// What parsers stumble over.
const PIECES: [&str; 40] = [
    "\0",
    "\u{feff}",
    "\r",
    "\r\n",
    "\u{2028}",
    "\u{202e}",
    "\u{1f469}\u{200d}\u{1f4bb}",
    "İ",
    "ﬃ",
    "e\u{301}\u{301}\u{301}",
    "'",
    "\"",
    "\\",
    "\\u0000",
    "`",
    "```",
    "/*",
    "*/",
    "//",
    "<!--",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE a [<!ENTITY b \"bbbb\">]>",
    "&b;",
    "&#0;",
    "&#xD800;",
    "<script>x7()</script>",
    "[x](javascript:x7())",
    "{",
    "}",
    "((((((((",
    "[[[[[[[[",
    "> > > > ",
    "data: ",
    "\n\n",
    "-9223372036854775809",
    "1e999",
    "null",
    "SELECT ",
    "Trigger.",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Cut(from, to)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Flip(at, byte)),
        (any::<Index>(), prop::sample::select(PIECES.to_vec())).prop_map(|(at, p)| Mutation::Insert(at, p)),
        (any::<Index>(), 1..30usize, 2..60usize)
            .prop_map(|(at, many, times)| Mutation::Repeat(at, many, times)),
    ]
}

fn mutated(sample: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for mutation in mutations {
        let length = bytes.len() + 1;
        match mutation {
            Mutation::Cut(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                bytes.drain(from.min(to)..from.max(to));
            }
            Mutation::Flip(at, byte) => {
                let at = at.index(length);
                if let Some(old) = bytes.get_mut(at) {
                    *old = *byte;
                }
            }
            Mutation::Insert(at, piece) => {
                let at = at.index(length);
                bytes.splice(at..at, piece.bytes());
            }
            Mutation::Repeat(at, many, times) => {
                let at = at.index(length);
                let piece = bytes[at..(at + many).min(bytes.len())].repeat(*times);
                bytes.splice(at..at, piece);
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    assert!(!paths.is_empty(), "no samples in {}", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn stream() -> Vec<u8> {
    let events = [
        r#"{"type":"message_start","message":{"id":"m","model":"x","usage":{"input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Héllo"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"org_limits","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"org\":1}"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    events.iter().map(|data| format!("event: e\r\ndata: {data}\r\n\r\n")).collect::<String>().into_bytes()
}

/// What stands in a backup, without its seals.
fn members() -> Vec<u8> {
    let mut out = MembersOut::new(Vec::new());
    out.begin(&Member::Control {}).unwrap();
    let mut rows = RowsOut::new(&mut out);
    rows.row("accounts", b"key", b"value").unwrap();
    rows.row("sessions", b"", b"").unwrap();
    rows.finish().unwrap();
    out.end().unwrap();
    out.begin(&Member::Key { place: "control".into() }).unwrap();
    out.write_all(&[7; 61]).unwrap();
    out.end().unwrap();
    out.finish().unwrap()
}

fn archive() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("unpackaged/classes/A.cls", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"class A { Integer x = 1; }").unwrap();
    zip.finish().unwrap().into_inner()
}

fn retrieved() -> Vec<u8> {
    format!(
        "<Envelope><Body><checkRetrieveStatusResponse><result><done>true</done><fileProperties><fileName>classes/A.cls\
         </fileName><fullName>A</fullName><id>01p</id><lastModifiedDate>2026-11-23T09:00:00.000Z</lastModifiedDate>\
         <type>ApexClass</type></fileProperties><success>true</success><zipFile>{}</zipFile></result>\
         </checkRetrieveStatusResponse></Body></Envelope>",
        STANDARD.encode(archive())
    )
    .into_bytes()
}

const DEPLOYED: &str = r#"{"id":"0Af000000000001AAA","deployResult":{"id":"0Af000000000001AAA","done":true,"success":false,
"status":"Failed","checkOnly":true,"numberComponentsTotal":2,"numberComponentsDeployed":1,"numberComponentErrors":1,
"numberTestsTotal":1,"numberTestsCompleted":1,"numberTestErrors":1,"details":{"componentFailures":[{"fileName":"classes/A.cls",
"componentType":"ApexClass","fullName":"A","lineNumber":3,"columnNumber":9,"problem":"Unexpected token","problemType":"Error"}],
"runTestResult":{"numTestsRun":1,"failures":[{"name":"ATest","methodName":"x","message":"m","stackTrace":"Class.ATest.x: line 4, column 1"}],
"codeCoverage":[{"name":"A","numLocations":9,"numLocationsNotCovered":2,"locationsNotCovered":[{"line":3},{"line":4}]}],
"codeCoverageWarnings":[{"message":"low"}]}}}}"#;

const QUERIES: [&str; 3] = [
    "SELECT Id, Name FROM Account WHERE (Name LIKE 'A%' OR NOT Name = 'x') AND Id IN ('1','2') ORDER BY Name DESC LIMIT 3 OFFSET 1",
    "SELECT COUNT() FROM Opportunity WHERE Amount > 1.5 AND IsWon = true AND Owner.Name != null",
    "SELECT Id FROM ApexClass WHERE Name = 'It\\'s'",
];

/// A reader with its name and samples of what it reads.
type Reader = (&'static str, fn(&[u8]), Vec<Vec<u8>>);

/// Each reader with samples of what it reads. PDF is read in the confined child: `extract` gives that one mutants.
fn readers() -> Vec<Reader> {
    let fixture = |folder: &str| files(&format!("src/sim/salesforce/fixture/{folder}"));
    let apex = [fixture("classes"), fixture("triggers"), files("tests/fixtures/analysis")].concat();
    let metadata = [fixture("flows"), fixture("permissionsets"), files("tests/fixtures/analysis")].concat();
    let pages = files("templates/people");
    vec![
        ("apex", targets::apex, apex),
        ("bundle", targets::bundle, crate::bundle_import::samples()),
        ("backup", targets::backup, vec![members()]),
        ("deploy_status", targets::deploy_status, vec![DEPLOYED.into()]),
        ("extract", targets::extract, [files("docs"), pages].concat()),
        ("index", targets::index, files("docs")),
        ("markdown", targets::markdown, files("docs")),
        ("metadata", targets::metadata, metadata),
        ("retrieve", targets::retrieve, vec![retrieved()]),
        ("soql", targets::soql, QUERIES.iter().map(|q| q.as_bytes().to_vec()).collect()),
        ("sse", targets::sse, vec![stream()]),
        ("zip", targets::zip, vec![archive()]),
    ]
}

/// Nested and long as nothing that people write.
fn worst() -> Vec<Vec<u8>> {
    let many = 20_000;
    let mut all = vec![Vec::new(), vec![0; 4_096], vec![0xff; 4_096], PIECES.concat().into_bytes()];
    for piece in ["(", "[", "{", "<a>", "> ", "- ", "*", "`", "[[", "'", "if(", "a.", "&amp;", "\r", "é"] {
        all.push(piece.repeat(many).into_bytes());
    }
    // Of these the parser of Apex took gigabytes, or many seconds for a few thousand characters.
    for piece in ["A<", "List<,", ";-", "!;", "->;", "<!--"] {
        all.push(piece.repeat(many).into_bytes());
    }
    all.push(b"A<".repeat(500_000));
    all.push(format!("class A {{ Integer x = {}1{}; }}", "(".repeat(many), ")".repeat(many)).into_bytes());
    all.push(format!("<Flow>{}{}</Flow>", "<a>".repeat(many), "</a>".repeat(many)).into_bytes());
    all.push(format!("SELECT Id FROM A WHERE {}Id = '1'{}", "(".repeat(many), ")".repeat(many)).into_bytes());
    all.push(format!("SELECT Id FROM A WHERE {}Id = '1'", "NOT ".repeat(many)).into_bytes());
    all.push(format!("SELECT Id FROM A WHERE Id = '1'{}", " AND Id = '1'".repeat(many)).into_bytes());
    all.push(format!("{{\"deployResult\":{}{}}}", "[".repeat(many), "]".repeat(many)).into_bytes());
    all.push(format!("data: {}\n\n", "[".repeat(many)).into_bytes());
    all.push(format!("{}\n|{}\n", "|a".repeat(2_000), "-|".repeat(2_000)).into_bytes());
    all
}

#[test]
fn every_target_is_run_here_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/targets");
    let mut all: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    all.sort();
    let mut here: Vec<&str> = readers().iter().map(|(name, ..)| *name).collect();
    here.push("pdf");
    here.sort_unstable();
    assert_eq!(all, here);
}

#[test]
fn samples_are_read_as_they_are() {
    for (_, read, samples) in readers() {
        for sample in &samples {
            read(sample);
        }
    }
    targets::pdf(&files("tests/fixtures/documents").concat());
}

#[test]
fn the_worst_texts_we_know_break_no_reader() {
    for input in worst() {
        for (name, read, _) in readers() {
            let began = std::time::Instant::now();
            read(&input);
            let took = began.elapsed().as_secs();
            assert!(took < 30, "{name} took {took} s for {} bytes", input.len());
        }
    }
}

#[test]
fn mutated_samples_break_no_reader() {
    for (name, read, samples) in readers() {
        let config = ProptestConfig {
            cases: CASES,
            max_shrink_iters: 200,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let input = (prop::sample::select(samples), prop::collection::vec(mutation(), 1..8))
            .prop_map(|(sample, mutations)| mutated(&sample, &mutations));
        let found = runner.run(&input, |bytes| {
            read(&bytes);
            Ok(())
        });
        if let Err(error) = found {
            panic!("{name}: {error}");
        }
    }
}
