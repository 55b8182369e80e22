//! What the assistant may cite: only what a tool brought in this turn. The model writes `[[cite:REF]]` or
//! `[[cite:REF#L3-L9]]`; the person reads `[n]`. A marker may come in pieces, and unknown ones vanish.

use std::collections::BTreeMap;

use super::records::Citation;

/// The longest marker; a longer opening is text.
const LONGEST: usize = 300;
/// Citations of one answer.
const MOST: usize = 200;
/// Lines and characters of a quote.
const QUOTE_LINES: usize = 12;
const QUOTE: usize = 1_200;

/// Something a tool brought that can be cited.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub kind: String,
    pub title: String,
    pub href: String,
    pub page: Option<u32>,
    /// The whole text where lines can be cited, else the passage.
    pub text: String,
}

/// A piece of an answer.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// The inside of a `[[…]]` marker.
    Mark(String),
    Text(String),
}

/// Takes the markers out of text that comes in pieces.
#[derive(Default)]
pub struct Marks {
    held: String,
}

impl Marks {
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        loop {
            let Some(open) = self.held.find("[[") else {
                // A single bracket at the end may be the first half of an opening.
                let keep = usize::from(self.held.ends_with('['));
                let rest = self.held.split_off(self.held.len() - keep);
                pieces.extend(nonempty(std::mem::replace(&mut self.held, rest)));
                return pieces;
            };
            match self.held[open..].find("]]") {
                Some(close) => {
                    let after = self.held.split_off(open + close + 2);
                    let mark = self.held[open + 2..open + close].to_owned();
                    self.held.truncate(open);
                    pieces.extend(nonempty(std::mem::replace(&mut self.held, after)));
                    pieces.push(Piece::Mark(mark));
                }
                None if self.held.len() - open > LONGEST => {
                    let after = self.held.split_off(open + 2);
                    pieces.extend(nonempty(std::mem::replace(&mut self.held, after)));
                }
                None => {
                    let rest = self.held.split_off(open);
                    pieces.extend(nonempty(std::mem::replace(&mut self.held, rest)));
                    return pieces;
                }
            }
        }
    }

    /// What was held back for a marker that never closed.
    pub fn finish(&mut self) -> Vec<Piece> {
        nonempty(std::mem::take(&mut self.held)).into_iter().collect()
    }
}

fn nonempty(text: String) -> Option<Piece> {
    (!text.is_empty()).then_some(Piece::Text(text))
}

/// The sources of a turn, and the citations made of them.
#[derive(Default)]
pub struct Citations {
    sources: BTreeMap<String, Source>,
    made: Vec<Citation>,
}

impl Citations {
    /// Adds what a tool brought; a longer text replaces a shorter one.
    pub fn add(&mut self, reference: &str, source: Source) {
        match self.sources.get_mut(reference) {
            Some(known) if known.text.len() >= source.text.len() => {}
            _ => {
                self.sources.insert(reference.to_owned(), source);
            }
        }
    }

    /// The citation that `REF` or `REF#L3-L9` stands for, and whether it is new; `None` for what no tool brought.
    pub fn cite(&mut self, mark: &str, quote: Option<&str>) -> Option<(Citation, bool)> {
        let (reference, lines) = match mark.split_once("#L") {
            Some((reference, lines)) => (reference, read_lines(lines)),
            None => (mark, None),
        };
        let source = self.sources.get(reference)?;
        if let Some(known) = self.made.iter().find(|c| c.reference == reference && c.lines == lines) {
            return Some((known.clone(), false));
        }
        if self.made.len() >= MOST {
            return None;
        }
        let shown = match (quote.filter(|q| !q.is_empty()), lines) {
            (Some(quote), _) => cut(quote),
            (None, Some((first, last))) => quoted(&source.text, first, last),
            (None, None) if source.page.is_some() => cut(&source.text),
            (None, None) => String::new(),
        };
        let href = match lines {
            Some((first, last)) => format!("{}#L{first}-L{last}", source.href),
            None => source.href.clone(),
        };
        let citation = Citation {
            n: self.made.len() as u32 + 1,
            kind: source.kind.clone(),
            reference: reference.to_owned(),
            title: source.title.clone(),
            href,
            page: source.page,
            lines,
            quote: shown,
        };
        self.made.push(citation.clone());
        Some((citation, true))
    }

    pub fn made(&self) -> &[Citation] {
        &self.made
    }
}

fn read_lines(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u32 = first.parse().ok()?;
    let last: u32 = last.trim_start_matches('L').parse().ok()?;
    (first > 0 && last >= first).then_some((first, last))
}

fn quoted(text: &str, first: u32, last: u32) -> String {
    let lines = text.lines().skip(first as usize - 1).take(((last - first + 1) as usize).min(QUOTE_LINES));
    cut(&lines.collect::<Vec<_>>().join("\n"))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_citation_names_what_a_tool_brought_and_nothing_else() {
        let mut citations = Citations::default();
        let source = Source { kind: "ApexClass".into(), title: "A".into(), href: "/a".into(), page: None, text: "one\ntwo\nthree".into() };
        citations.add("ApexClass/A", source);
        assert!(citations.cite("ApexClass/B", None).is_none());
        let (first, new) = citations.cite("ApexClass/A#L2-L3", None).unwrap();
        assert_eq!((first.n, first.lines, first.quote.as_str(), new), (1, Some((2, 3)), "two\nthree", true));
        assert_eq!(first.href, "/a#L2-L3");
        assert!(!citations.cite("ApexClass/A#L2-L3", None).unwrap().1, "the same place has one number");
        assert_eq!(citations.cite("ApexClass/A", None).unwrap().0.n, 2);
        assert_eq!(citations.cite("ApexClass/A#Lx", None).unwrap().0.n, 2, "broken lines cite the whole");
    }

    fn through(pieces: &[&str]) -> Vec<Piece> {
        let mut marks = Marks::default();
        let mut all: Vec<Piece> = pieces.iter().flat_map(|p| marks.push(p)).collect();
        all.extend(marks.finish());
        let mut joined: Vec<Piece> = Vec::new();
        for piece in all {
            match (joined.last_mut(), piece) {
                (Some(Piece::Text(last)), Piece::Text(more)) => last.push_str(&more),
                (_, piece) => joined.push(piece),
            }
        }
        joined
    }

    #[test]
    fn text_with_brackets_that_are_no_marker_comes_through() {
        assert_eq!(through(&["a[0] = b[[", "1"]), [Piece::Text("a[0] = b[[1".into())]);
        let long = format!("[[{}", "x".repeat(400));
        assert_eq!(through(&[&long]), [Piece::Text(long.clone())]);
    }

    proptest! {
        #[test]
        fn a_marker_is_seen_however_the_text_is_cut(cuts in prop::collection::vec(0..60usize, 0..6)) {
            let text = "See [[cite:ApexClass/A#L1-L2]], and x[1] [[secret:ab]] end.";
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| *c < text.len()).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let mut pieces = Vec::new();
            let mut at = 0;
            for cut in cuts {
                pieces.push(&text[at..cut]);
                at = cut;
            }
            pieces.push(&text[at..]);
            prop_assert_eq!(through(&pieces), vec![
                Piece::Text("See ".into()), Piece::Mark("cite:ApexClass/A#L1-L2".into()),
                Piece::Text(", and x[1] ".into()), Piece::Mark("secret:ab".into()), Piece::Text(" end.".into()),
            ]);
        }
    }
}
