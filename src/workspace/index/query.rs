//! A person's words as a query. The text is never parsed as a query language: it is cut into words like
//! everything else; only "quoted phrases" mean something.

use tantivy::query::{
    BooleanQuery, BoostQuery, DisjunctionMaxQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{Searcher, TantivyError, Term};

use super::shelf::{Fields, LANGUAGES, analyzer, stem};
use super::words::{Word, words};

/// Words of a question that are looked at.
const MOST_WORDS: usize = 64;
/// Terms of the dictionary that a misspelt word is compared with.
const MOST_COMPARED: usize = 400_000;
/// Title and heading say less than the text: measured, see docs/PERFORMANCE.md.
const TITLE: f32 = 0.5;
/// A whole identifier is what the person meant.
const WHOLE: f32 = 2.0;

/// What a question became.
pub struct Built {
    pub query: Box<dyn Query>,
    /// The question as it was understood, when a word was not in the index.
    pub instead: Option<String>,
}

/// Builds the query; `None` when nothing of the question can be looked for. `languages` are places in
/// [`LANGUAGES`]; `prefix` lets the last word be unfinished.
pub fn build(
    fields: &Fields,
    searcher: &Searcher,
    languages: &[usize],
    text: &str,
    prefix: bool,
) -> Result<Option<Built>, TantivyError> {
    let mut stemmers: Vec<(Field, TextAnalyzer)> =
        languages.iter().map(|n| (fields.stems[*n], analyzer(LANGUAGES[*n].1))).collect();
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    let (plain, phrases) = quoted(text);
    for phrase in phrases {
        let terms: Vec<(usize, Term)> = words(&phrase, false)
            .into_iter()
            .take(MOST_WORDS)
            .map(|w| (w.position, Term::from_field_text(fields.words, &w.text)))
            .collect();
        match terms.as_slice() {
            [] => {}
            [(_, term)] => clauses.push((Occur::Must, exact(term.clone()))),
            _ => clauses.push((Occur::Must, Box::new(PhraseQuery::new_with_offset(terms)))),
        }
    }
    let mut found = words(&plain, true);
    found.truncate(MOST_WORDS);
    let last = found.iter().rfind(|w| !w.whole).map(|w| w.position);
    let mut instead: Option<String> = None;
    for word in &found {
        if word.whole {
            clauses.push((Occur::Should, boosted(Term::from_field_text(fields.words, &word.text), WHOLE)));
            continue;
        }
        let unfinished = prefix && Some(word.position) == last && word.end == plain.trim_end().len();
        let mut of_word = of_word(fields, &mut stemmers, &word.text);
        if of_word.is_empty() {
            continue;
        }
        if unfinished && word.text.chars().count() >= 2 {
            let term = Term::from_field_text(fields.words, &word.text);
            of_word
                .push(Box::new(BoostQuery::new(Box::new(FuzzyTermQuery::new_prefix(term, 0, true)), TITLE)));
        } else if !known(fields, &mut stemmers, searcher, word)?
            && let Some(near) = nearest(fields, searcher, &word.text)?
        {
            let text = instead.as_deref().unwrap_or(plain.trim());
            instead = Some(text.replace(&plain[word.start..word.end], &near));
            of_word = self::of_word(fields, &mut stemmers, &near);
        }
        clauses.push((Occur::Should, Box::new(DisjunctionMaxQuery::with_tie_breaker(of_word, 0.1))));
    }
    if clauses.is_empty() {
        return Ok(None);
    }
    Ok(Some(Built { query: Box::new(BooleanQuery::new(clauses)), instead }))
}

/// The text without its quoted phrases, and those. An unclosed quote is no quote.
fn quoted(text: &str) -> (String, Vec<String>) {
    let parts: Vec<&str> = text.split('"').collect();
    let closed = if parts.len().is_multiple_of(2) { parts.len() - 1 } else { parts.len() };
    let (mut plain, mut phrases) = (String::new(), Vec::new());
    for (n, part) in parts.iter().enumerate() {
        if n % 2 == 1 && n < closed {
            phrases.push((*part).to_owned());
            plain.push(' ');
        } else {
            plain.push_str(part);
        }
    }
    (plain, phrases)
}

fn exact(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

fn boosted(term: Term, boost: f32) -> Box<dyn Query> {
    Box::new(BoostQuery::new(exact(term), boost))
}

/// A word in every field that may hold it; empty for a stop word.
fn of_word(fields: &Fields, stemmers: &mut [(Field, TextAnalyzer)], word: &str) -> Vec<Box<dyn Query>> {
    let mut queries = Vec::new();
    let mut stop = !stemmers.is_empty();
    for (field, analyzer) in stemmers.iter_mut() {
        if let Some(stem) = stem(analyzer, word) {
            stop = false;
            queries.push(exact(Term::from_field_text(*field, &stem)));
        }
    }
    if stop {
        return Vec::new();
    }
    queries.push(boosted(Term::from_field_text(fields.words, word), TITLE));
    queries.push(boosted(Term::from_field_text(fields.title, word), TITLE));
    queries.push(boosted(Term::from_field_text(fields.heading, word), TITLE));
    queries
}

fn known(
    fields: &Fields,
    stemmers: &mut [(Field, TextAnalyzer)],
    searcher: &Searcher,
    word: &Word,
) -> Result<bool, TantivyError> {
    let mut terms: Vec<Term> = [fields.words, fields.title, fields.heading]
        .into_iter()
        .map(|field| Term::from_field_text(field, &word.text))
        .collect();
    for (field, analyzer) in stemmers.iter_mut() {
        terms.extend(stem(analyzer, &word.text).map(|stem| Term::from_field_text(*field, &stem)));
    }
    for term in terms {
        if searcher.doc_freq(&term)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The word of the index that a misspelt one stands for: one slip in five letters, two in nine. Of several
/// the nearest, then the most frequent.
fn nearest(fields: &Fields, searcher: &Searcher, word: &str) -> Result<Option<String>, TantivyError> {
    let slips = match word.chars().count() {
        ..5 => return Ok(None),
        5..9 => 1,
        _ => 2,
    };
    let wanted: Vec<char> = word.chars().collect();
    let mut best: Option<(usize, u64, String)> = None;
    let mut compared = 0;
    for segment in searcher.segment_readers() {
        let index = segment.inverted_index(fields.words)?;
        let mut terms = index.terms().stream()?;
        while terms.advance() && compared < MOST_COMPARED {
            compared += 1;
            let Ok(term) = std::str::from_utf8(terms.key()) else { continue };
            if term.len().abs_diff(word.len()) > slips * 4 || term.contains('_') {
                continue;
            }
            let Some(distance) = distance(&wanted, term, slips) else { continue };
            let frequency = u64::from(terms.value().doc_freq);
            let better = best.as_ref().is_none_or(|(d, f, _)| {
                (distance, std::cmp::Reverse(frequency)) < (*d, std::cmp::Reverse(*f))
            });
            if better {
                best = Some((distance, frequency, term.to_owned()));
            }
        }
    }
    Ok(best.map(|(.., term)| term))
}

/// Edits between two words, a swap of neighbours counting once; `None` beyond `most`.
fn distance(a: &[char], b: &str, most: usize) -> Option<usize> {
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let width = b.len() + 1;
    let mut rows: Vec<usize> = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        let mut least = usize::MAX;
        for j in 0..=b.len() {
            let at = |i: usize, j: usize| rows[i * width + j];
            let value = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let same = usize::from(a[i - 1] != b[j - 1]);
                    let mut value = (at(i - 1, j - 1) + same).min(at(i - 1, j) + 1).min(at(i, j - 1) + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        value = value.min(at(i - 2, j - 2) + 1);
                    }
                    value
                }
            };
            rows[i * width + j] = value;
            least = least.min(value);
        }
        if least > most {
            return None;
        }
    }
    rows.last().copied().filter(|d| *d <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closed_quotes_make_phrases() {
        assert_eq!(quoted("a \"b c\" d"), ("a   d".into(), vec!["b c".into()]));
        assert_eq!(quoted("5\" screen"), ("5 screen".into(), vec![]));
    }

    #[test]
    fn a_distance_counts_swaps_once_and_stops_early() {
        let of = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b, 2);
        assert_eq!(of("tigger", "trigger"), Some(1));
        assert_eq!(of("tirgger", "trigger"), Some(1));
        assert_eq!(of("trigger", "trigger"), Some(0));
        assert_eq!(of("apple", "trigger"), None);
    }
}
