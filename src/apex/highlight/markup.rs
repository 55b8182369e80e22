//! XML and HTML by a small tokenizer that accepts anything.

use super::{Class, Piece};

pub(super) fn pieces(source: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(open) = source[at..].find('<').map(|found| at + found) {
        let rest = &source[open..];
        if rest.starts_with("<!--") {
            at = behind(source, open, "-->");
            pieces.push(Piece { start: open, end: at, class: Class::Comment });
        } else if rest.starts_with("<![CDATA[") {
            at = behind(source, open, "]]>");
            pieces.push(Piece { start: open, end: at, class: Class::String });
        } else if rest.starts_with("<?") {
            at = behind(source, open, "?>");
            pieces.push(Piece { start: open, end: at, class: Class::Comment });
        } else {
            at = tag(source, open, &mut pieces);
        }
    }
    pieces
}

/// The byte behind the next `end`, or the end of the source.
fn behind(source: &str, from: usize, end: &str) -> usize {
    source[from..].find(end).map_or(source.len(), |found| from + found + end.len())
}

/// A tag: its name a keyword, attribute names types, values strings. Returns where it ends.
fn tag(source: &str, open: usize, pieces: &mut Vec<Piece>) -> usize {
    let bytes = source.as_bytes();
    let mut at = open + 1;
    if bytes.get(at) == Some(&b'/') {
        at += 1;
    }
    let name_end = word_end(bytes, at);
    if name_end == at {
        return open + 1;
    }
    pieces.push(Piece { start: at, end: name_end, class: Class::Keyword });
    at = name_end;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'>' => return at + 1,
            b'<' => return at,
            b'"' | b'\'' => {
                let end = source[at + 1..].find(*byte as char).map_or(source.len(), |found| at + found + 2);
                pieces.push(Piece { start: at, end, class: Class::String });
                at = end;
            }
            _ => {
                let end = word_end(bytes, at);
                if end > at {
                    pieces.push(Piece { start: at, end, class: Class::Type });
                }
                at = end.max(at + 1);
            }
        }
    }
    source.len()
}

fn word_end(bytes: &[u8], from: usize) -> usize {
    let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':' | b'.');
    from + bytes[from..].iter().take_while(|b| word(b)).count()
}
