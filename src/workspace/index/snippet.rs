//! The piece of a text that shows why it was found.

use std::collections::HashSet;

use serde::Serialize;

use super::shelf::{LANGUAGES, analyzer, stem};
use super::words::{Word, words};

/// A piece of a snippet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fragment {
    pub text: String,
    /// A word of the question.
    pub hit: bool,
}

/// Byte ranges of the words in `text` that the question asks for. `language` is the text's.
pub fn hits(query: &str, text: &str, language: Option<&str>) -> Vec<(usize, usize)> {
    marked(query, text, language).into_iter().map(|(word, _)| (word.start, word.end)).collect()
}

/// Words of the text that were asked for, each with the form that it answers.
fn marked(query: &str, text: &str, language: Option<&str>) -> Vec<(Word, String)> {
    let code = language.unwrap_or("en");
    let of_language = LANGUAGES.iter().find(|(known, _)| *known == code).unwrap_or(&LANGUAGES[4]).1;
    let mut analyzer = analyzer(of_language);
    let mut wanted = HashSet::new();
    let mut wanted_stems = HashSet::new();
    for word in words(query, true) {
        if word.whole {
            wanted.insert(word.text);
        } else if let Some(stem) = stem(&mut analyzer, &word.text) {
            wanted_stems.insert(stem);
            wanted.insert(word.text);
        }
    }
    let mut found: Vec<(Word, String)> = Vec::new();
    for word in words(text, true) {
        let stem = if word.whole { None } else { stem(&mut analyzer, &word.text) };
        let form = stem.filter(|stem| wanted_stems.contains(stem));
        let form = form.or_else(|| wanted.contains(&word.text).then(|| word.text.clone()));
        let Some(form) = form else { continue };
        // The parts of an identifier that was marked whole add nothing.
        if found.last().is_none_or(|(last, _)| word.start >= last.end) {
            found.push((word, form));
        }
    }
    found
}

/// At most `longest` characters of `text` around the densest group of the question's words, those marked.
pub fn snippet(query: &str, text: &str, language: Option<&str>, longest: usize) -> Vec<Fragment> {
    let marked = marked(query, text, language);
    let (mut best, mut most) = (0, 0);
    for (n, (first, _)) in marked.iter().enumerate() {
        let inside = marked[n..].iter().take_while(|(word, _)| word.end - first.start <= longest);
        let distinct: HashSet<&str> = inside.map(|(_, form)| form.as_str()).collect();
        if distinct.len() > most {
            (best, most) = (n, distinct.len());
        }
    }
    let from = marked.get(best).map_or(0, |(word, _)| start_before(text, word.start, longest / 4));
    let to = end_after(text, from, longest);
    let mut fragments = Vec::new();
    let mut push = |piece: String, hit: bool| {
        if !piece.is_empty() {
            fragments.push(Fragment { text: piece, hit });
        }
    };
    let flat = |a: usize, b: usize| text[a..b].split_whitespace().collect::<Vec<_>>().join(" ");
    let spaced = |a: usize, b: usize| {
        let edge = |c: Option<char>| if c.is_some_and(char::is_whitespace) { " " } else { "" };
        let piece = &text[a..b];
        let middle = flat(a, b);
        if middle.is_empty() {
            return if piece.is_empty() { String::new() } else { " ".to_owned() };
        }
        format!("{}{middle}{}", edge(piece.chars().next()), edge(piece.chars().next_back()))
    };
    let mut at = from;
    if from > 0 {
        push("… ".into(), false);
    }
    for (word, _) in marked.iter().filter(|(word, _)| word.start >= from && word.end <= to) {
        push(spaced(at, word.start), false);
        push(text[word.start..word.end].to_owned(), true);
        at = word.end;
    }
    push(spaced(at, to), false);
    if to < text.len() {
        push(" …".into(), false);
    }
    fragments
}

/// The start of a word at most `most` bytes before `at`.
fn start_before(text: &str, at: usize, most: usize) -> usize {
    let mut from = at.saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    if from == 0 {
        return 0;
    }
    text[from..at].find(char::is_whitespace).map_or(at, |space| {
        let after = from + space;
        after + text[after..at].chars().next().map_or(0, char::len_utf8)
    })
}

/// The end of a word at most `most` bytes after `from`.
fn end_after(text: &str, from: usize, most: usize) -> usize {
    let mut to = (from + most).min(text.len());
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    if text[to..].chars().next().is_none_or(char::is_whitespace) {
        return to;
    }
    text[from..to].rfind(char::is_whitespace).map_or(to, |space| from + space)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_snippet_shows_the_densest_place_with_its_words_marked() {
        let text = format!(
            "{} Triggers fire when an Account_Trigger__c record is saved. {}",
            "filler ".repeat(60),
            "more ".repeat(60)
        );
        let fragments = snippet("account trigger", &text, Some("en"), 120);
        let hits: Vec<&str> = fragments.iter().filter(|f| f.hit).map(|f| f.text.as_str()).collect();
        assert!(hits.contains(&"Triggers"), "{fragments:?}");
        assert!(hits.iter().any(|h| h.starts_with("Account")), "{fragments:?}");
        assert_eq!(fragments.first().unwrap().text, "… ");
        assert_eq!(fragments.last().unwrap().text, " …");
    }

    #[test]
    fn a_text_without_the_words_shows_its_beginning() {
        assert_eq!(
            snippet("zebra", "One two three", None, 7),
            [Fragment { text: "One two".into(), hit: false }, Fragment { text: " …".into(), hit: false },]
        );
    }

    proptest! {
        #[test]
        fn a_snippet_stays_short_and_never_fails(query in "\\PC{0,20}", text in "\\PC{0,200}", longest in 1..80usize) {
            let fragments = snippet(&query, &text, None, longest);
            let length: usize = fragments.iter().map(|f| f.text.len()).sum();
            prop_assert!(length <= longest + longest / 4 + 16, "{length} for {longest}");
            for (from, to) in hits(&query, &text, None) {
                prop_assert!(text.get(from..to).is_some());
            }
        }
    }
}
