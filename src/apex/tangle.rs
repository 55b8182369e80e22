//! Texts that cost the parser memory with the square of their length, measured: 64 KB of `A<A<A<` take 8 GB, and a
//! megabyte overflows the stack. Its limit of time does not help, because all of it happens in one step at the end.

/// Type arguments or comparisons that were opened one in the other and not closed.
const MOST_OPEN: usize = 200;
/// Statements that end in an operator.
const MOST_BROKEN: usize = 200;

/// Whether a text is of the kinds that must not be parsed. Code is not, broken or not.
pub(super) fn tangled(source: &str) -> bool {
    let bytes = source.as_bytes();
    let (mut at, mut open, mut broken, mut last) = (0, 0usize, 0usize, (b' ', b' '));
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'/' if bytes.get(at) == Some(&b'/') => at = behind(bytes, at, b"\n"),
            b'/' if bytes.get(at) == Some(&b'*') => at = behind(bytes, at + 1, b"*/"),
            b'\'' => at = string(bytes, at),
            b'<' => open += 1,
            b'>' => open = open.saturating_sub(1),
            b'{' | b'}' | b')' => open = 0,
            b';' => {
                open = 0;
                // `i++;` is a statement, `i+;` is none.
                broken += usize::from(b"+-!~>".contains(&last.1) && last.0 != last.1);
            }
            _ => {}
        }
        if open > MOST_OPEN || broken > MOST_BROKEN {
            return true;
        }
        if !byte.is_ascii_whitespace() {
            last = (last.1, byte);
        }
    }
    false
}

fn behind(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(end.len()).position(|w| w == end).map_or(bytes.len(), |at| from + at + end.len())
}

/// Behind a string literal, or behind its line when nothing closes it.
fn string(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'\'' | b'\n' => break,
            _ => {}
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_the_memory_is_told_and_code_is_not() {
        for piece in ["A<", "List<a", "A<B,", ";-", "!;", "-> ;", "x\n~ ;"] {
            assert!(tangled(&piece.repeat(1_000)), "{piece}");
            assert!(tangled(&format!("class A {{ void m() {{ {}", piece.repeat(1_000))), "{piece}");
        }
        for piece in [
            "i++; j--;",
            "if (a < b) {}",
            "a < b;",
            "Map<Id, List<A>> m;",
            "'A<;-';",
            "// A<;-\n",
            "/* A<A< */",
        ] {
            assert!(!tangled(&piece.repeat(1_000)), "{piece}");
        }
    }
}
