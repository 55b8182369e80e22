//! Two versions of a text, line by line, as pages show them: three lines around each change, the changed words
//! marked, the source coloured, remarks at their lines. Characters that would hide something are made visible.

use std::collections::BTreeMap;
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use crate::apex::{Class, Language, Line, Span, highlight};

/// Unchanged lines around a change.
const AROUND: usize = 3;
/// Rows that are shown of one file.
const MOST: usize = 5_000;
/// A longer search ends with a coarser, still correct, result.
const LONGEST: Duration = Duration::from_secs(2);

/// The difference of one file.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    pub rows: Vec<Row>,
    pub added: usize,
    pub removed: usize,
    /// There is more than is shown.
    pub cut: bool,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub enum Row {
    /// Lines are left out; the next one has this number.
    Gap(usize),
    Line(Changed),
    /// A remark about the line above.
    Remark(Remark),
}

/// A line that was removed, added or kept.
#[derive(Clone, Debug)]
pub struct Changed {
    pub old: Option<usize>,
    pub new: Option<usize>,
    pub pieces: Vec<Piece>,
}

impl Changed {
    /// The class of its row.
    pub fn class(&self) -> &'static str {
        match (self.old, self.new) {
            (Some(_), None) => "d",
            (None, Some(_)) => "a",
            _ => "",
        }
    }

    pub fn sign(&self) -> &'static str {
        match (self.old, self.new) {
            (Some(_), None) => "−",
            (None, Some(_)) => "+",
            _ => "",
        }
    }
}

/// A stretch of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub css: &'static str,
    /// It is among the words that differ.
    pub marked: bool,
    pub text: String,
}

/// What somebody says about a line of the newer text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// From 1; 0 stands for the whole file.
    pub line: usize,
    pub text: String,
    /// It does not stop anything.
    pub warning: bool,
}

/// The difference of two texts. Blocks for as long as two large texts take: use a blocking thread.
pub fn unified(before: &str, after: &str, language: Language, remarks: &[Remark]) -> Diff {
    let lines = compare(before, after, language);
    let mut about: BTreeMap<usize, Vec<&Remark>> = BTreeMap::new();
    let last = after.lines().count();
    for remark in remarks {
        about.entry(remark.line.min(last)).or_default().push(remark);
    }
    let shown = shown(&lines, &about);
    let mut diff = Diff {
        added: lines.iter().filter(|l| l.old.is_none()).count(),
        removed: lines.iter().filter(|l| l.new.is_none()).count(),
        ..Diff::default()
    };
    diff.rows.extend(about.get(&0).into_iter().flatten().map(|r| Row::Remark((*r).clone())));
    let mut hidden = true;
    for (line, shown) in lines.into_iter().zip(shown) {
        if !shown {
            hidden = true;
            continue;
        }
        if diff.rows.len() >= MOST {
            diff.cut = true;
            break;
        }
        // A hunk at the very top needs no head.
        let first = line.new.or(line.old).unwrap_or(1);
        if hidden && first > 1 {
            diff.rows.push(Row::Gap(first));
        }
        hidden = false;
        let number = line.new;
        diff.rows.push(Row::Line(line));
        let remarks = number.and_then(|n| about.get(&n));
        diff.rows.extend(remarks.into_iter().flatten().map(|r| Row::Remark((*r).clone())));
    }
    diff
}

/// Every line of both texts in order.
fn compare(before: &str, after: &str, language: Language) -> Vec<Changed> {
    let (old, new): (Vec<&str>, Vec<&str>) = (split(before), split(after));
    let (old_colours, new_colours) = (highlight(before, language), highlight(after, language));
    let diff = TextDiff::configure().timeout(LONGEST).diff_slices(&old, &new);
    let mut lines = Vec::with_capacity(new.len());
    for op in diff.ops() {
        for change in diff.iter_inline_changes(op) {
            let (from, to) = (change.old_index(), change.new_index());
            let marks = marks(change.values());
            let changed = change.tag() != ChangeTag::Equal;
            let colours = match to {
                Some(n) => new_colours.get(n),
                None => from.and_then(|n| old_colours.get(n)),
            };
            let text = to.and_then(|n| new.get(n)).or_else(|| from.and_then(|n| old.get(n)));
            let ends_with_return = changed && text.is_some_and(|t| t.ends_with('\r'));
            let mut pieces = pieces(colours, &marks);
            if ends_with_return {
                pieces.push(Piece { css: "c", marked: false, text: "⟨CR⟩".into() });
            }
            let number = |index: Option<usize>, tag: ChangeTag| {
                index.filter(|_| change.tag() != tag).map(|index| index + 1)
            };
            lines.push(Changed {
                old: number(from, ChangeTag::Insert),
                new: number(to, ChangeTag::Delete),
                pieces,
            });
        }
    }
    lines
}

/// As the highlighter splits; a last line break opens no line of its own.
fn split(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    if lines.last().is_some_and(|l| l.is_empty()) {
        lines.pop();
    }
    lines
}

/// Byte ranges of the words that differ.
fn marks(values: &[(bool, &str)]) -> Vec<(usize, usize)> {
    let (mut at, mut marks) = (0, Vec::new());
    for (marked, text) in values {
        if *marked {
            marks.push((at, at + text.len()));
        }
        at += text.len();
    }
    marks
}

/// Cuts the coloured spans of a line where marks begin and end.
fn pieces(line: Option<&Line>, marks: &[(usize, usize)]) -> Vec<Piece> {
    let (mut at, mut pieces) = (0, Vec::new());
    for Span { class, text } in line.into_iter().flat_map(|l| &l.0) {
        let end = at + text.len();
        let mut cuts: Vec<usize> = marks.iter().flat_map(|(a, b)| [*a, *b]).collect();
        cuts.retain(|cut| *cut > at && *cut < end && text.is_char_boundary(cut - at));
        cuts.push(end);
        let mut from = at;
        for cut in cuts {
            let marked = marks.iter().any(|(a, b)| *a <= from && cut <= *b);
            let text = visible(text.get(from - at..cut - at).unwrap_or_default());
            pieces.push(Piece { css: class.map(Class::css).unwrap_or_default(), marked, text });
            from = cut;
        }
        at = end;
    }
    pieces
}

/// Text whose direction marks and control characters can be seen: none may hide what a line does.
fn visible(text: &str) -> String {
    let hides = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if !text.chars().any(hides) {
        return text.to_owned();
    }
    text.chars().map(|c| if hides(c) { format!("⟨U+{:04X}⟩", u32::from(c)) } else { c.to_string() }).collect()
}

/// Which lines are near a change or a remark.
fn shown(lines: &[Changed], about: &BTreeMap<usize, Vec<&Remark>>) -> Vec<bool> {
    let mut shown = vec![false; lines.len()];
    for (n, line) in lines.iter().enumerate() {
        let matters = line.old.is_none() || line.new.is_none();
        if matters || line.new.is_some_and(|number| about.contains_key(&number)) {
            let end = (n + AROUND + 1).min(lines.len());
            shown[n.saturating_sub(AROUND)..end].fill(true);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(diff: &Diff) -> Vec<String> {
        diff.rows
            .iter()
            .map(|row| match row {
                Row::Gap(n) => format!("@{n}"),
                Row::Remark(r) => format!("!{}", r.text),
                Row::Line(l) => {
                    let text: String = l
                        .pieces
                        .iter()
                        .map(|p| if p.marked { format!("[{}]", p.text) } else { p.text.clone() })
                        .collect();
                    format!("{}{text}", l.sign())
                }
            })
            .collect()
    }

    #[test]
    fn a_change_is_shown_with_its_surroundings_and_its_words() {
        let before: String = (1..=12).map(|n| format!("line {n}\n")).collect();
        let after = before.replace("line 6", "line six");
        let diff = unified(&before, &after, Language::Plain, &[]);
        assert_eq!((diff.added, diff.removed), (1, 1));
        let drawn = drawn(&diff);
        assert_eq!(drawn[0], "@3");
        assert_eq!(drawn.len(), 9, "{drawn:?}");
        assert!(
            drawn.contains(&"−line [6]".to_owned()) && drawn.contains(&"+line [six]".to_owned()),
            "{drawn:?}"
        );
    }

    #[test]
    fn a_remark_stands_below_its_line_even_far_from_a_change() {
        let text: String = (1..=30).map(|n| format!("line {n}\n")).collect();
        let remark = Remark { line: 20, text: "wrong".into(), warning: false };
        let drawn = drawn(&unified(&text, &text, Language::Plain, &[remark]));
        let at = drawn.iter().position(|l| l == "line 20").unwrap();
        assert_eq!((drawn[at + 1].as_str(), drawn.len()), ("!wrong", 9));
    }

    #[test]
    fn a_remark_past_the_end_stands_at_the_end_and_one_without_a_line_on_top() {
        let remark = |line| Remark { line, text: format!("r{line}"), warning: false };
        let drawn = drawn(&unified("", "a\nb\n", Language::Plain, &[remark(9), remark(0)]));
        assert_eq!(drawn, ["!r0", "+a", "+b", "!r9"]);
    }

    #[test]
    fn direction_marks_and_line_ends_can_be_seen() {
        let drawn = drawn(&unified("a\n", "a\u{202e}b\r\n", Language::Plain, &[]));
        assert!(drawn.iter().any(|l| l.contains("⟨U+202E⟩") && l.contains("⟨CR⟩")), "{drawn:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn both_texts_can_be_read_back_from_all_lines(before in "([abé {};\\n]|if|for){0,60}", after in "([abé {};\\n]|if|for){0,60}") {
            let lines = compare(&before, &after, Language::Apex);
            let side = |new: bool| -> Vec<String> {
                lines.iter().filter(|l| if new { l.new.is_some() } else { l.old.is_some() })
                    .map(|l| l.pieces.iter().map(|p| p.text.as_str()).collect()).collect()
            };
            prop_assert_eq!(side(true), split(&after));
            prop_assert_eq!(side(false), split(&before));
        }
    }
}
