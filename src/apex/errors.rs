//! Syntax errors with the position and the words of Salesforce's compiler.
//!
//! The first error is exact: it is the token at which the parser could not go on, which tree-sitter tells only
//! in its log. Errors behind it come from the repaired tree.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tree_sitter::{LogType, ParseOptions, Parser};

use super::tree::{Apex, LANGUAGE, Node, parse, without_trigger_variables};

const MOST: usize = 20;

/// A place where the source does not follow the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// As Salesforce says it: "Unexpected token 'x'." or "Missing ';' at 'y'".
    pub message: String,
}

/// What a compiler would refuse, in the order of the source; at most 20. A file may hold one class, interface,
/// enum or trigger.
pub fn syntax_errors(source: &str) -> Vec<SyntaxError> {
    let apex = match parse(source) {
        Ok(apex) => apex,
        Err(refused) => return vec![SyntaxError { line: 1, column: 1, message: refused.to_string() }],
    };
    if !apex.has_error() {
        return beside_the_type(&apex);
    }
    let first = first_unexpected(source);
    let mut errors: Vec<SyntaxError> = first.map(|byte| exact(&apex, byte)).into_iter().collect();
    let mut behind = first.map_or(0, |byte| apex.position(byte).0);
    for node in apex.nodes().filter(|n| n.is_error() || n.is_missing()) {
        let covers_first = first.is_some_and(|byte| (node.start()..=node.end()).contains(&byte));
        let (line, _) = apex.position(node.start());
        if !covers_first && line > behind {
            errors.push(described(&apex, token_from(source, node.start())));
            behind = apex.position(node.end()).0;
        }
    }
    errors.sort_by_key(|error| (error.line, error.column));
    errors.dedup();
    errors.truncate(MOST);
    errors
}

fn beside_the_type(apex: &Apex<'_>) -> Vec<SyntaxError> {
    const TYPES: [&str; 4] =
        ["class_declaration", "enum_declaration", "interface_declaration", "trigger_declaration"];
    let mut types = 0;
    let mut extra = apex.root().children().filter(|node| {
        let is_type = TYPES.contains(&node.kind());
        types += usize::from(is_type);
        !node.is_comment() && (!is_type || types > 1)
    });
    if let Some(node) = extra.next() {
        return vec![error_at(
            apex,
            node.start(),
            format!("Unexpected token '{}'.", first_token(node.text())),
        )];
    }
    if types == 0 {
        return vec![error_at(apex, apex.source().len(), "Unexpected token '<EOF>'.".into())];
    }
    Vec::new()
}

/// The first error. As Salesforce's compiler does, one sign is tried in front of the token: when the source then
/// goes on, that sign was missing.
fn exact(apex: &Apex<'_>, byte: usize) -> SyntaxError {
    let source = apex.source();
    let before = source.get(..byte).unwrap_or("").trim_end().len();
    for sign in [';', ')', '}', ']'] {
        let (head, tail) = source.split_at(before);
        let goes_on = match first_unexpected(&format!("{head}{sign}{tail}")) {
            Some(next) => next > byte + 1,
            None => true,
        };
        if goes_on {
            return error_at(apex, byte, format!("Missing '{sign}' at '{}'", token_at(source, byte)));
        }
    }
    error_at(apex, byte, format!("Unexpected token '{}'.", token_at(source, byte)))
}

fn described(apex: &Apex<'_>, byte: usize) -> SyntaxError {
    let source = apex.source();
    let token = token_at(source, byte);
    let missing = apex.nodes().find(|n| n.is_missing() && token_from(source, n.start()) == byte);
    let message = match missing.map(Node::kind) {
        Some("identifier" | "type_identifier") | None => format!("Unexpected token '{token}'."),
        Some(kind) => format!("Missing '{kind}' at '{token}'"),
    };
    error_at(apex, byte, message)
}

fn error_at(apex: &Apex<'_>, byte: usize, message: String) -> SyntaxError {
    let (line, column) = apex.position(byte);
    SyntaxError { line, column, message }
}

fn token_at(source: &str, byte: usize) -> &str {
    match first_token(source.get(byte..).unwrap_or("")) {
        "" => "<EOF>",
        token => token,
    }
}

/// The word, or else the sign, that the text begins with.
fn first_token(text: &str) -> &str {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let Some(first) = text.chars().next() else { return "" };
    let end = if word(first) {
        text.find(|c| !word(c)).unwrap_or(text.len())
    } else if first == '\'' {
        text[1..].find(['\'', '\n']).map_or(text.len(), |at| at + 2)
    } else {
        first.len_utf8()
    };
    text.get(..end).unwrap_or(text).trim_end()
}

/// Where the next token begins, at or behind this byte.
fn token_from(source: &str, from: usize) -> usize {
    let mut at = from.min(source.len());
    loop {
        let Some(rest) = source.get(at..) else { return at };
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        let comment = if trimmed.starts_with("//") {
            trimmed.find('\n').map(|end| end + 1)
        } else if trimmed.starts_with("/*") {
            trimmed.find("*/").map(|end| end + 2)
        } else {
            return at;
        };
        match comment {
            Some(length) => at += length,
            None => return source.len(),
        }
    }
}

/// The byte of the first token that no reading of the source allows.
fn first_unexpected(source: &str) -> Option<usize> {
    let renamed = without_trigger_variables(source);
    let bytes = renamed.as_deref().unwrap_or(source).as_bytes();
    let mut parser = Parser::new();
    parser.set_language(&LANGUAGE).ok()?;
    let watch = Arc::new(Watch::default());
    let log = Arc::clone(&watch);
    let mut here = 0;
    parser.set_logger(Some(Box::new(move |kind, message| {
        if kind == LogType::Parse {
            log.read(message, &mut here);
        }
    })));
    let began = Instant::now();
    let mut going_on = |_: &tree_sitter::ParseState| {
        let done = watch.done.load(Ordering::Relaxed) || began.elapsed() > Duration::from_secs(10);
        if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut going_on);
    let mut read = |at: usize, _| bytes.get(at..).unwrap_or_default();
    let _ = parser.parse_with_options(&mut read, None, Some(options));
    let place = watch.furthest.load(Ordering::Relaxed);
    watch
        .done
        .load(Ordering::Relaxed)
        .then(|| token_from(source, byte_of(source, (place >> 32) as u32, place as u32)))
}

fn byte_of(source: &str, row: u32, column_and_one: u32) -> usize {
    let start = match row {
        0 => 0,
        row => source.match_indices('\n').nth(row as usize - 1).map_or(source.len(), |(at, _)| at + 1),
    };
    let byte = (start + column_and_one as usize).saturating_sub(1).min(source.len());
    (0..=byte).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0)
}

/// Follows the log: every reading that stops says where it stood; when all have stopped, repair begins.
#[derive(Default)]
struct Watch {
    /// Row in the upper half, column + 1 in the lower.
    furthest: AtomicU64,
    done: AtomicBool,
}

impl Watch {
    fn read(&self, message: &str, here: &mut u64) {
        if self.done.load(Ordering::Relaxed) {
            return;
        }
        if let Some(rest) = message.strip_prefix("process version:") {
            let number = |name: &str| -> Option<u64> {
                let (_, value) = rest.split_once(name)?;
                value.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            };
            if let (Some(row), Some(column)) = (number("row:"), number("col:")) {
                *here = row << 32 | (column + 1);
            }
        } else if message.starts_with("detect_error") {
            self.furthest.fetch_max(*here, Ordering::Relaxed);
        } else if message.starts_with("resume version") {
            self.done.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(source: &str) -> (u32, u32, String) {
        let error = syntax_errors(source).into_iter().next().unwrap();
        (error.line, error.column, error.message)
    }

    #[test]
    fn sound_sources_have_no_errors() {
        for source in [
            "public class A {}",
            "trigger T on Account (before insert) { new A().run(Trigger.new); }",
            "@IsTest private class A { @IsTest static void b() { Assert.areEqual(1, 1); } }",
            "public enum E { A, B }\n// the end",
            "class A { void b() { Trigger.new[0].addError('x'); insert as user new Account(); } }",
        ] {
            assert_eq!(syntax_errors(source), Vec::new(), "{source}");
        }
    }

    #[test]
    fn a_missing_semicolon_is_found_at_the_token_behind_it() {
        let found = first("public class A {\n  void b() {\n    Integer x = 1\n    return;\n  }\n}");
        assert_eq!(found, (4, 5, "Missing ';' at 'return'".into()));
    }

    #[test]
    fn an_unexpected_token_is_named_with_its_line() {
        let (line, column, message) = first("public class A {\n  void b() { if () { } }\n}");
        assert_eq!((line, column), (2, 18));
        assert_eq!(message, "Unexpected token ')'.");
    }

    #[test]
    fn a_missing_parenthesis_is_named() {
        let (line, _, message) = first("public class A {\n  void b() { System.debug('x'; }\n}");
        assert_eq!((line, message.as_str()), (2, "Missing ')' at ';'"));
    }

    #[test]
    fn an_unclosed_class_ends_at_the_end_of_the_file() {
        let (line, _, message) = first("public class A {\n  void b() {\n  }\n");
        assert_eq!(line, 4);
        assert!(message.contains("<EOF>"), "{message}");
    }

    #[test]
    fn a_second_type_in_the_file_is_refused() {
        assert_eq!(
            first("public class A {}\npublic class B {}"),
            (2, 1, "Unexpected token 'public'.".into())
        );
    }

    #[test]
    fn an_empty_file_and_loose_statements_are_refused() {
        assert!(first("").2.contains("<EOF>"));
        assert_eq!(first("Integer x = 1;").2, "Unexpected token 'Integer'.");
    }

    #[test]
    fn prose_gives_an_error_and_never_a_panic() {
        for source in ["hello world", "{}}}{", "'", "/*", "class", "trigger x on", "\u{feff}?"] {
            assert!(!syntax_errors(source).is_empty(), "{source}");
        }
    }
}
