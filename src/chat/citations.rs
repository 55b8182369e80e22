//! Markers in a model's text, `[[cite:REF]]` and `[[cite:REF#L3-L9]]`, become numbered citations. A marker may come
//! in pieces; only references that a tool of this turn returned count, any other marker is dropped.

use std::collections::BTreeMap;

use super::mask::Known;
use super::records::Citation;

const OPENS: &str = "[[cite:";
const SECRET: &str = "[[secret:";
/// A marker that is longer is no marker.
const LONGEST: usize = 300;

/// What a reference leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    pub kind: String,
    pub title: String,
    /// Path of its page.
    pub href: String,
    pub page: Option<u32>,
    pub lines: Option<(u32, u32)>,
    pub quote: String,
    /// The whole text whose lines may be cited.
    pub text: String,
}

/// Lines that a quote shows at most.
const QUOTED: usize = 14;

impl Source {
    fn citation(&self, n: u32, reference: &str, lines: Option<(u32, u32)>) -> Citation {
        let lines = lines.or(self.lines);
        let quote = match lines {
            Some((first, last)) if !self.text.is_empty() => {
                let count = (last.saturating_sub(first) as usize + 1).min(QUOTED);
                let skipped = (first as usize).saturating_sub(1);
                let lines: Vec<&str> = self.text.lines().skip(skipped).take(count).collect();
                lines.join("\n")
            }
            _ => self.quote.clone(),
        };
        let anchor = lines.map(|(first, _)| format!("#L{first}")).unwrap_or_default();
        Citation {
            n,
            kind: self.kind.clone(),
            reference: reference.to_owned(),
            title: self.title.clone(),
            href: format!("{}{anchor}", self.href),
            page: self.page,
            lines,
            quote,
        }
    }
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Cited for the first time; its number follows in the text.
    Citation(Citation),
    Text(String),
}

/// Reads an answer as it comes.
#[derive(Default)]
pub struct Citing {
    sources: BTreeMap<String, Source>,
    numbers: BTreeMap<(String, Option<(u32, u32)>), u32>,
    held: String,
    known: Known,
}

impl Citing {
    /// What placeholders of masked secrets stand for.
    pub fn knows(&mut self, known: Known) {
        self.known = known;
    }

    /// Adds what a tool returned.
    pub fn learn(&mut self, sources: Vec<(String, Source)>) {
        for (reference, source) in sources {
            let known = self.sources.entry(reference).or_default();
            // The source with the text says more than a row of a search.
            if known.text.is_empty() {
                *known = source;
            }
        }
    }

    /// Takes text; answers what is certain to be no half marker.
    pub fn take(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while let Some(at) = self.held.find("[[") {
            put(&mut pieces, self.held.drain(..at).collect());
            let begins = |opens: &str| {
                let shorter = self.held.len().min(opens.len());
                self.held.as_bytes()[..shorter] == opens.as_bytes()[..shorter]
            };
            let marker = begins(OPENS) || begins(SECRET);
            let Some(end) = self.held.find("]]").filter(|_| marker) else {
                if !marker || self.held.len() > LONGEST || self.held.contains('\n') {
                    put(&mut pieces, self.held.drain(..2).collect());
                    continue;
                }
                return pieces;
            };
            let marker: String = self.held.drain(..end + 2).collect();
            let inner = marker.trim_start_matches('[').trim_end_matches(']');
            if let Some(reference) = marker.strip_prefix(OPENS) {
                self.cite(reference.trim_end_matches(']').trim(), None, &mut pieces);
            } else {
                let own = self.known.restored(inner).map_or_else(|| marker.clone(), str::to_owned);
                put(&mut pieces, own);
            }
        }
        // One bracket may be half of two.
        let keep = usize::from(self.held.ends_with('['));
        put(&mut pieces, self.held.drain(..self.held.len() - keep).collect());
        pieces
    }

    /// The text that was held back.
    pub fn rest(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        put(&mut pieces, std::mem::take(&mut self.held));
        pieces
    }

    /// A citation that the endpoint itself made, of a passage that a tool returned.
    pub fn passage(&mut self, reference: &str, quote: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.cite(reference, Some(quote), &mut pieces);
        pieces
    }

    fn cite(&mut self, marker: &str, quote: Option<&str>, pieces: &mut Vec<Piece>) {
        let (reference, lines) = split(marker);
        // Pages of documents are part of the reference.
        let (reference, lines) =
            if self.sources.contains_key(marker) { (marker, None) } else { (reference, lines) };
        let Some(source) = self.sources.get(reference) else { return };
        let key = (reference.to_owned(), lines);
        let n = if let Some(n) = self.numbers.get(&key) {
            *n
        } else {
            let n = self.numbers.len() as u32 + 1;
            let mut citation = source.citation(n, reference, lines);
            if let Some(quote) = quote.filter(|quote| source.text.contains(*quote)) {
                quote.clone_into(&mut citation.quote);
            }
            pieces.push(Piece::Citation(citation));
            self.numbers.insert(key, n);
            n
        };
        put(pieces, format!("[{n}]"));
    }
}

fn put(pieces: &mut Vec<Piece>, text: String) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => last.push_str(&text),
        _ => pieces.push(Piece::Text(text)),
    }
}

/// `REF#L3-L9` into its parts.
fn split(marker: &str) -> (&str, Option<(u32, u32)>) {
    let Some((reference, lines)) = marker.rsplit_once("#L") else { return (marker, None) };
    let (first, last) = lines.split_once("-L").unwrap_or((lines, lines));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first > 0 && first <= last => (reference, Some((first, last))),
        _ => (marker, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn citing() -> Citing {
        let mut citing = Citing::default();
        let text = "one\ntwo\nthree\n".to_owned();
        let class = Source {
            kind: "ApexClass".into(),
            title: "A".into(),
            href: "/a".into(),
            text,
            ..Source::default()
        };
        citing.learn(vec![("ApexClass/A".into(), class)]);
        citing
    }

    fn shown(pieces: &[Piece]) -> String {
        let text = |piece: &Piece| if let Piece::Text(text) = piece { text.clone() } else { String::new() };
        pieces.iter().map(text).collect()
    }

    #[test]
    fn a_marker_becomes_a_number_with_its_lines_quoted() {
        let pieces = citing().take("Look [[cite:ApexClass/A#L2-L3]].");
        let Piece::Citation(citation) = &pieces[1] else { panic!("{pieces:?}") };
        assert_eq!((citation.quote.as_str(), citation.href.as_str()), ("two\nthree", "/a#L2"));
        assert_eq!(shown(&pieces), "Look [1].");
    }

    #[test]
    fn the_same_place_keeps_its_number_and_unknown_ones_are_dropped() {
        let mut citing = citing();
        let text =
            "[[cite:ApexClass/A]] [[cite:ApexClass/B]] [[cite:ApexClass/A#L1-L1]] [[cite:ApexClass/A]]";
        assert_eq!(shown(&citing.take(text)), "[1]  [2] [1]");
    }

    #[test]
    fn brackets_that_are_no_marker_stay() {
        let mut citing = citing();
        let mut pieces = citing.take("a[[1]] List[[x [[cite:never\nends");
        pieces.extend(citing.rest());
        assert_eq!(shown(&pieces), "a[[1]] List[[x [[cite:never\nends");
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(cuts in prop::collection::vec(1usize..9, 0..20)) {
            let text = "x [[cite:ApexClass/A#L1-L2]] [y] [[ [[cite:ApexClass/A]]é[[cite:no]]. [";
            let mut whole = citing();
            let mut expected = whole.take(text);
            expected.extend(whole.rest());
            let (mut citing, mut pieces) = (citing(), Vec::new());
            let mut chars = text.chars().peekable();
            for cut in cuts.into_iter().chain(std::iter::repeat(3)) {
                if chars.peek().is_none() {
                    break;
                }
                let piece: String = chars.by_ref().take(cut).collect();
                pieces.extend(citing.take(&piece));
            }
            pieces.extend(citing.rest());
            prop_assert_eq!(shown(&pieces), shown(&expected));
        }
    }
}
