//! What reads the words of others, each given any bytes. A target states what must hold for every input; a panic,
//! a broken promise, a hang or a full memory is a finding. libFuzzer calls these (`fuzz/README.md`), and the tests
//! of the product call them with mutated samples (`tests/suite/hostile_input.rs`).

use vynos::apex::{self, Language};
use vynos::backup::format::{Member, MembersIn, RowsIn};
use vynos::bundle::container::Unpacker;
use vynos::bundle::{read, tables};
use vynos::insights::rules::{self, Component, Input, RuleSet};
use vynos::knowledge::extract::{Kind, Page, worker};
use vynos::knowledge::passages;
use vynos::sim::salesforce::soql;
use vynos::web::{diff, markdown};
use vynos::wire::model::{Accumulator, Decoder, Outcome};
use vynos::wire::salesforce::{deploy, soap, zip as archive};
use vynos::workspace::index;

/// Apex: every position lies in the source, highlighting loses nothing.
pub fn apex(input: &[u8]) {
    let source = String::from_utf8_lossy(input);
    if let Ok(tree) = apex::parse(&source) {
        for node in tree.nodes() {
            assert!(source.get(node.start()..node.end()).is_some(), "a node lies outside the source");
            assert!(node.end_line() >= node.line());
        }
    }
    let lines = source.split('\n').count() as u32;
    for error in apex::syntax_errors(&source) {
        assert!((1..=lines).contains(&error.line) && !error.message.is_empty());
    }
    let _ = apex::outline(&source);
    let _ = apex::references(&source);
    for language in [Language::Apex, Language::JavaScript, Language::Json, Language::Xml] {
        let drawn: Vec<String> = apex::highlight(&source, language)
            .into_iter()
            .map(|line| line.0.into_iter().map(|span| span.text).collect())
            .collect();
        let plain = source.strip_suffix("\n").unwrap_or(&source).replace('\r', "");
        assert!(drawn.join("\n").replace('\r', "") == plain, "{language:?} loses text");
    }
    let (before, after) = halves(&source);
    let _ = diff::unified(before, after, Language::Apex, &[]);
}

/// An export: as its archive, and as the records of every table.
pub fn bundle(input: &[u8]) {
    let _ = read::check_archive(Unpacker::new(input), 1 << 20);
    let mut documents = Vec::new();
    for table in tables::all() {
        let _ = read::records(table.as_ref(), &mut &*input, &mut documents);
    }
}

/// Metadata of every kind that is checked: findings point into the file.
pub fn metadata(input: &[u8]) {
    let source = String::from_utf8_lossy(input);
    let kinds =
        ["ApexClass", "ApexTrigger", "Flow", "CustomObject", "CustomField", "PermissionSet", "Workflow"];
    let components: Vec<Component<'_>> =
        kinds.iter().map(|kind| Component::new(kind, "Name", "file", &source)).collect();
    let all = Input { components: &components, limits: &[], current_api: 67.0, jobs: 1 };
    let report = rules::run(&all, &RuleSet::all());
    let lines = source.split('\n').count() as u32;
    for finding in &report.findings {
        assert!(finding.line <= lines, "{} at line {} of {lines}", finding.rule, finding.line);
    }
    let _ = rules::export::sarif(&report, "0");
}

/// An event stream: it reads the same however it is cut, and an answer is complete only when the model stopped.
pub fn sse(input: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        let whole = pieces.iter().try_for_each(|piece| decoder.feed(piece, &mut events)).is_ok();
        (events, whole)
    };
    let (events, _) = read(&[input]);
    let middle = input.len() / 2;
    assert_eq!(events, read(&[&input[..middle], &[], &input[middle..]]).0);
    let (mut answer, mut seen) = (Accumulator::default(), Vec::new());
    let followed = events.iter().try_for_each(|event| answer.feed(event, &mut seen));
    let complete = answer.is_complete();
    if followed.is_ok() {
        assert_eq!(complete, matches!(answer.finish(None), Outcome::Complete(_)));
    }
}

/// A query to the simulated org.
pub fn soql(input: &[u8]) {
    if let Ok(query) = soql::parse(&String::from_utf8_lossy(input)) {
        assert!(query.count || !query.fields.is_empty());
    }
}

/// The members and rows of a backup: what is read of them is at most what came.
pub fn backup(input: &[u8]) {
    let (mut members, mut read) = (MembersIn::new(input), 0);
    while let Ok(Some(member)) = members.advance() {
        assert!(!member.to_string().is_empty());
        if matches!(member, Member::Control {} | Member::Workspace { .. }) {
            let mut rows = RowsIn::new(&mut members);
            while rows.advance().is_ok_and(|more| more) {
                assert!(!rows.table.is_empty(), "a row of no table");
                read += rows.key.len() + rows.value.len();
            }
        } else {
            read += std::io::copy(&mut members, &mut std::io::sink()).map_or(0, |n| n as usize);
        }
        assert!(read <= input.len(), "more was read than came");
    }
    let mut rows = RowsIn::new(input);
    while rows.advance().is_ok_and(|more| more) {
        assert!(rows.rows as usize <= input.len());
    }
}

/// What Salesforce answers to a poll of a retrieve, and the archive in it.
pub fn retrieve(input: &[u8]) {
    if let Ok(Some(retrieved)) = soap::read_retrieved(&String::from_utf8_lossy(input)) {
        zip(&retrieved.zip);
    }
}

/// An archive of metadata.
pub fn zip(input: &[u8]) {
    let _ = archive::read(input);
}

/// What Salesforce answers to a poll of a deploy.
pub fn deploy_status(input: &[u8]) {
    let _ = deploy::read_status(input);
}

/// An answer of a model or a document as a page shows it: nothing but our own elements.
pub fn markdown(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let place = markdown::Place { heading: 3, prefix: "m", citations: &[1, 2] };
    let html = markdown::html(&text, place).to_lowercase();
    for bad in
        ["<script", "<img", "<iframe", "<style", "<object", "<form", "<input", "<meta", "<link", "<!--"]
    {
        assert!(!html.contains(bad), "{bad} came through");
    }
    let mut blocks = markdown::Blocks::default();
    let (first, second) = halves(&text);
    let done: String = [first, second].iter().filter_map(|piece| blocks.push(piece)).collect();
    assert!(done + blocks.rest() == [first, second].concat(), "blocks lose text");
}

/// A text and a question about it: words, passages and snippets stay inside the text.
pub fn index(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (question, text) = halves(&text);
    for word in index::words(text, true) {
        assert!(text.get(word.start..word.end).is_some());
    }
    for (from, to) in index::hits(question, text, None) {
        assert!(text.get(from..to).is_some());
    }
    let shown: usize = index::snippet(question, text, Some("de"), 160).iter().map(|f| f.text.len()).sum();
    assert!(shown <= 160 + 160 / 4 + 16, "a snippet of {shown} bytes");
    for passage in passages::split(&[Page { number: 1, text: text.to_owned() }]) {
        assert!(text.get(passage.start..passage.end).is_some());
    }
}

/// A document that is no PDF, as each kind it could be.
pub fn extract(input: &[u8]) {
    for kind in [Kind::Html, Kind::Markdown, Kind::Text] {
        document(kind, input);
    }
    let _ = Kind::of("name.txt", input);
}

/// A PDF. Its reader is somebody else's: what it does wrong ends in a confined child, and is still worth knowing.
pub fn pdf(input: &[u8]) {
    document(Kind::Pdf, input);
}

/// The records that come of a document are whole, and end with the last.
fn document(kind: Kind, input: &[u8]) {
    let mut out = Vec::new();
    worker::extract(kind, input, &mut out).unwrap();
    let mut rest = out.as_slice();
    let mut records = 0;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let record = &behind[..length];
        assert!(record.starts_with(b"{") && record.ends_with(b"}"));
        rest = &behind[length..];
        records += 1;
    }
    assert!(rest.is_empty() && records > 0);
}

/// Two parts of a text, cut at the first `NUL`, else in the middle.
fn halves(text: &str) -> (&str, &str) {
    if let Some(parts) = text.split_once('\0') {
        return parts;
    }
    let mut middle = text.len() / 2;
    while !text.is_char_boundary(middle) {
        middle += 1;
    }
    text.split_at(middle)
}
