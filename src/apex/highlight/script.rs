//! JavaScript and JSON by a small tokenizer that accepts anything.

use super::{Class, Piece};

const KEYWORDS: [&str; 43] = [
    "async",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "constructor",
    "continue",
    "default",
    "delete",
    "do",
    "else",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "from",
    "function",
    "get",
    "if",
    "import",
    "in",
    "instanceof",
    "let",
    "new",
    "null",
    "of",
    "return",
    "set",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "undefined",
    "var",
    "while",
    "yield",
];

pub(super) fn pieces(source: &str) -> Vec<Piece> {
    let bytes = source.as_bytes();
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let (length, class) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), Some(Class::Comment))
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), Some(Class::Comment))
        } else {
            match bytes[at] {
                b'"' | b'\'' | b'`' => (quoted(rest.as_bytes()), Some(Class::String)),
                b'0'..=b'9' => (run(rest, |c| c.is_ascii_alphanumeric() || c == '.'), Some(Class::Number)),
                b'@' => (1 + run(&rest[1..], is_word), Some(Class::Type)),
                byte if byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$' => {
                    let length = run(rest, is_word);
                    (length, word_class(&rest[..length]))
                }
                _ => (rest.chars().next().map_or(1, char::len_utf8), None),
            }
        };
        if let Some(class) = class {
            pieces.push(Piece { start: at, end: at + length, class });
        }
        at += length;
    }
    pieces
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn word_class(word: &str) -> Option<Class> {
    if KEYWORDS.contains(&word) {
        Some(Class::Keyword)
    } else {
        word.starts_with(|c: char| c.is_ascii_uppercase()).then_some(Class::Type)
    }
}

/// Length of a string with its quotes; one of `"` or `'` ends at the line's end at the latest.
fn quoted(bytes: &[u8]) -> usize {
    let quote = bytes[0];
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if bytes.get(at + 1).is_some_and(u8::is_ascii) => at += 2,
            b'\n' if quote != b'`' => return at,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}
