//! Passages: the pieces of a document that search returns. About 220 words with some overlap, cut where a
//! heading, a paragraph or a sentence ends, never across pages: the page is what is cited.

use super::extract::Page;

/// Words of a passage, and of the end of the one before that it repeats.
const WORDS: usize = 220;
const OVERLAP: usize = 40;

/// A piece of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    pub page: u32,
    /// The last heading above it.
    pub heading: String,
    pub text: String,
    /// Byte range in the page's text.
    pub start: usize,
    pub end: usize,
}

/// A stretch of a page that is not cut: a line, or a sentence of a long one.
struct Unit {
    start: usize,
    end: usize,
    words: usize,
    heading: Option<String>,
    /// A paragraph ends behind it.
    ends: bool,
}

/// The passages of a document, in order.
pub fn split(pages: &[Page]) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut heading = String::new();
    for page in pages {
        of_page(page, &mut heading, &mut passages);
    }
    passages
}

fn of_page(page: &Page, heading: &mut String, passages: &mut Vec<Passage>) {
    let units = units(&page.text);
    let mut first = 0;
    while first < units.len() {
        if let Some(own) = &units[first].heading {
            heading.clone_from(own);
        }
        let (mut last, mut words) = (first, units[first].words);
        while last + 1 < units.len() {
            let next = &units[last + 1];
            let full = words + next.words > WORDS || (units[last].ends && words > WORDS * 3 / 4);
            // A heading begins a passage, unless the one so far is only headings.
            let begins = next.heading.is_some() && units[first..=last].iter().any(|u| u.heading.is_none());
            if full || begins {
                break;
            }
            last += 1;
            words += units[last].words;
        }
        for unit in &units[first..=last] {
            if let Some(own) = &unit.heading {
                heading.clone_from(own);
            }
        }
        let (start, end) = (units[first].start, units[last].end);
        let text = page.text[start..end].trim();
        if text.chars().any(char::is_alphanumeric) {
            passages.push(Passage {
                page: page.number,
                heading: heading.clone(),
                text: text.to_owned(),
                start,
                end,
            });
        }
        first = next_start(&units, first, last);
    }
}

/// Where the next passage begins: a little before the end of this one, unless a heading follows.
fn next_start(units: &[Unit], first: usize, last: usize) -> usize {
    let next = last + 1;
    if next >= units.len() || units[next].heading.is_some() {
        return next;
    }
    let (mut back, mut words) = (next, 0);
    while back > first + 1 && units[back - 1].heading.is_none() && words + units[back - 1].words <= OVERLAP {
        back -= 1;
        words += units[back].words;
    }
    back
}

fn units(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        let words = line.split_whitespace().count();
        if words == 0 {
            if let Some(last) = units.last_mut() {
                last.ends = true;
            }
            continue;
        }
        let marks = line.bytes().take_while(|b| *b == b'#').count();
        if (1..=6).contains(&marks) && line[marks..].starts_with(' ') {
            let heading = line[marks..].trim().to_owned();
            units.push(Unit { start, end, words, heading: Some(heading), ends: false });
        } else if words > WORDS / 2 {
            sentences(line, start, &mut units);
        } else {
            units.push(Unit { start, end, words, heading: None, ends: false });
        }
    }
    units
}

/// Cuts a long line behind its sentences; one without any behind so many words.
fn sentences(line: &str, offset: usize, units: &mut Vec<Unit>) {
    let (mut start, mut words) = (0, 0);
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c.is_whitespace() && !before.is_whitespace() {
            words += 1;
            let ends = matches!(before, '.' | '!' | '?' | '。') && words > 4;
            if ends || words >= WORDS / 2 {
                units.push(Unit {
                    start: offset + start,
                    end: offset + at,
                    words,
                    heading: None,
                    ends: false,
                });
                (start, words) = (at, 0);
            }
        }
        before = c;
    }
    if line[start..].chars().any(|c| !c.is_whitespace()) {
        let words = line[start..].split_whitespace().count();
        units.push(Unit {
            start: offset + start,
            end: offset + line.len(),
            words,
            heading: None,
            ends: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(text: &str) -> Page {
        Page { number: 3, text: text.to_owned() }
    }

    #[test]
    fn a_heading_begins_a_passage_and_names_what_follows() {
        let text = "# Naming\n\nFlows start with the object.\n\n## Fields\n\nFields are nouns.\n";
        let passages = split(&[page(text)]);
        let seen: Vec<(&str, &str)> =
            passages.iter().map(|p| (p.heading.as_str(), p.text.lines().next().unwrap())).collect();
        assert_eq!(seen, [("Naming", "# Naming"), ("Fields", "## Fields")]);
        assert!(passages.iter().all(|p| p.page == 3));
    }

    #[test]
    fn a_heading_holds_on_the_next_page() {
        let pages = [
            Page { number: 1, text: "# Rules\nOne.".into() },
            Page { number: 2, text: "Two goes on.".into() },
        ];
        assert_eq!(split(&pages)[1].heading, "Rules");
    }

    proptest! {
        #[test]
        fn passages_cover_the_words_in_order_and_stay_short(text in "((# )?[a-z]{1,9}[ .\n]{1,2}){0,1500}") {
            let passages = split(&[page(&text)]);
            let mut covered = 0;
            for passage in &passages {
                prop_assert!(text.get(passage.start..passage.end).is_some());
                prop_assert!(text[covered.min(passage.start)..passage.start].chars().all(|c| !c.is_alphanumeric()), "a gap");
                prop_assert!(passage.text.split_whitespace().count() <= WORDS + WORDS / 2 + 1);
                covered = covered.max(passage.end);
            }
            prop_assert!(text[covered..].chars().all(|c| !c.is_alphanumeric()), "an end is missing");
        }
    }
}
