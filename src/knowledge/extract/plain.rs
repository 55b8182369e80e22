//! Text, Markdown and HTML. None has pages, so a page is what fits on a screen or two, cut where a paragraph ends.

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use pulldown_cmark::{Event, Parser, TagEnd};

use super::worker::{Out, Read};
use super::{ExtractError, Kind, MOST_PAGES};

/// Bytes of a page, about.
const PAGE: usize = 3_000;

pub fn read(kind: Kind, document: &[u8], out: &mut Out<'_>) -> Read {
    let text = decoded(document);
    let (title, text) = match kind {
        Kind::Html => html(&text),
        Kind::Markdown => markdown(&text),
        Kind::Pdf | Kind::Text => (None, text.replace("\r\n", "\n").replace('\r', "\n")),
    };
    if !text.chars().any(char::is_alphanumeric) {
        return Err(ExtractError::empty().into());
    }
    let pages = pages(&text);
    if pages.len() > MOST_PAGES {
        let said = format!("This document has {} pages. The limit is {MOST_PAGES}.", pages.len());
        return Err(ExtractError::TooLarge(said).into());
    }
    out.total(pages.len())?;
    for page in pages {
        out.page(page)?;
    }
    Ok((title, Vec::new()))
}

/// UTF-8 or UTF-16 by its mark, UTF-8 where it is valid, else Latin-1.
fn decoded(bytes: &[u8]) -> String {
    let wide = |bytes: &[u8], of: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| of([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe]) {
        return wide(rest, u16::from_le_bytes);
    }
    if let Some(rest) = bytes.strip_prefix(&[0xfe, 0xff]) {
        return wide(rest, u16::from_be_bytes);
    }
    let rest = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    match std::str::from_utf8(rest) {
        Ok(text) => text.to_owned(),
        Err(_) => rest.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Cuts a text into pages: at the last blank line, line or space before the limit.
fn pages(text: &str) -> Vec<String> {
    let mut pages = Vec::new();
    let mut rest = text.trim_start_matches('\n');
    while rest.len() > PAGE {
        let mut most = PAGE;
        while !rest.is_char_boundary(most) {
            most -= 1;
        }
        let window = &rest[..most];
        let half = most / 2;
        let cut = window.rfind("\n\n").filter(|at| *at > half).map(|at| at + 2);
        let cut = cut.or_else(|| window.rfind('\n').filter(|at| *at > half).map(|at| at + 1));
        let cut = cut.or_else(|| window.rfind(' ').map(|at| at + 1)).unwrap_or(most);
        pages.push(rest[..cut].trim_end().to_owned());
        rest = rest[cut..].trim_start_matches('\n');
    }
    if !rest.trim().is_empty() || pages.is_empty() {
        pages.push(rest.trim_end().to_owned());
    }
    pages
}

/// The text of Markdown with its headings marked as such, and the first of them.
fn markdown(source: &str) -> (Option<String>, String) {
    let mut text = String::new();
    let mut title: Option<String> = None;
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(source, pulldown_cmark::Options::ENABLE_TABLES) {
        match event {
            Event::Start(pulldown_cmark::Tag::Heading { level, .. }) => {
                text.push_str(&"#".repeat(level as usize));
                text.push(' ');
                heading = Some(String::new());
            }
            Event::End(TagEnd::Heading(_)) => {
                title = title.or(heading.take());
                heading = None;
                text.push_str("\n\n");
            }
            Event::Start(pulldown_cmark::Tag::Item) => text.push_str("- "),
            Event::Code(piece) | Event::Text(piece) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&piece);
                }
                text.push_str(&piece);
            }
            Event::SoftBreak | Event::HardBreak => text.push('\n'),
            Event::End(TagEnd::TableCell) => text.push_str(" | "),
            Event::End(TagEnd::Item | TagEnd::TableRow | TagEnd::TableHead) => ensure(&mut text, "\n"),
            Event::End(TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::List(_) | TagEnd::Table) => {
                ensure(&mut text, "\n\n");
            }
            _ => {}
        }
    }
    (title.filter(|t| !t.trim().is_empty()), text)
}

fn ensure(text: &mut String, end: &str) {
    while !text.is_empty() && !text.ends_with(end) {
        text.push('\n');
    }
}

/// Elements whose text nobody reads.
const SILENT: [&str; 7] = ["head", "nav", "noscript", "script", "style", "svg", "template"];
/// Elements that begin and end a line.
const BLOCKS: [&str; 24] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "header",
    "hr",
    "li",
    "main",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
    "figure",
    "figcaption",
];

#[derive(Default)]
struct Text {
    text: String,
    title: String,
    in_title: bool,
    silent: usize,
}

struct Sink(std::cell::RefCell<Text>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut state = self.0.borrow_mut();
        match token {
            Token::TagToken(Tag { kind, name, self_closing, .. }) => {
                let name: &str = &name;
                let opens = kind == TagKind::StartTag;
                if name == "title" {
                    state.in_title = opens;
                } else if SILENT.contains(&name) && !self_closing {
                    state.silent = if opens { state.silent + 1 } else { state.silent.saturating_sub(1) };
                } else if let Some(level) = name.strip_prefix('h').and_then(|n| n.parse::<usize>().ok()) {
                    ensure(&mut state.text, "\n\n");
                    if opens && state.silent == 0 {
                        let marks = "#".repeat(level.clamp(1, 6));
                        state.text.push_str(&format!("{marks} "));
                    }
                } else if matches!(name, "td" | "th") && !opens {
                    state.text.push_str(" | ");
                } else if BLOCKS.contains(&name) {
                    ensure(&mut state.text, "\n");
                    if opens && name == "li" {
                        state.text.push_str("- ");
                    }
                }
            }
            Token::CharacterTokens(text) => {
                let text: &str = &text;
                if state.in_title {
                    state.title.push_str(text);
                } else if state.silent == 0 {
                    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
                    let begins = text.starts_with(char::is_whitespace);
                    let open = !state.text.ends_with(char::is_whitespace);
                    if begins && open && !state.text.is_empty() {
                        state.text.push(' ');
                    }
                    state.text.push_str(&words);
                    if text.ends_with(char::is_whitespace) && !words.is_empty() {
                        state.text.push(' ');
                    }
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// The text of HTML without what no reader sees, and its title.
fn html(source: &str) -> (Option<String>, String) {
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from(source));
    let tokenizer = Tokenizer::new(Sink(std::cell::RefCell::default()), TokenizerOpts::default());
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    let state = tokenizer.sink.0.into_inner();
    let title = state.title.split_whitespace().collect::<Vec<_>>().join(" ");
    ((!title.is_empty()).then_some(title), state.text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markdown_keeps_its_headings_and_loses_its_marks() {
        let (title, text) = markdown(
            "# Naming *guide*\n\nUse `Flow_Name`.\n\n- one\n- two\n\n| a | b |\n|--|--|\n| 1 | 2 |\n",
        );
        assert_eq!(title.as_deref(), Some("Naming guide"));
        assert_eq!(text, "# Naming guide\n\nUse Flow_Name.\n\n- one\n- two\n\na | b | \n1 | 2 | \n\n");
    }

    #[test]
    fn html_says_what_a_reader_sees() {
        let (title, text) = html(
            "<html><head><title>A &amp; B</title><style>p{}</style></head><body><nav>Menu</nav><h2>Rules</h2>\
             <p>One <b>bold</b> word.</p><script>alert(1)</script><ul><li>x</li></ul></body></html>",
        );
        assert_eq!(text.trim(), "## Rules\n\nOne bold word.\n- x");
        assert_eq!(title.as_deref(), Some("A & B"));
    }

    #[test]
    fn encodings_are_told_apart() {
        assert_eq!(decoded("ä".as_bytes()), "ä");
        assert_eq!(decoded(&[0xe4]), "ä");
        assert_eq!(decoded(&[0xff, 0xfe, 0xe4, 0]), "ä");
        assert_eq!(decoded(&[0xfe, 0xff, 0, 0xe4]), "ä");
        assert_eq!(decoded(&[0xef, 0xbb, 0xbf, b'a']), "a");
    }

    proptest! {
        #[test]
        fn pages_hold_every_word(text in "([a-z]{1,12}[ \n]{1,3}){0,900}") {
            let pages = pages(&text);
            let joined: Vec<&str> = pages.iter().flat_map(|p| p.split_whitespace()).collect();
            prop_assert_eq!(joined, text.split_whitespace().collect::<Vec<_>>());
            prop_assert!(pages.iter().all(|p| p.len() <= PAGE));
        }

        #[test]
        fn any_markup_is_read_without_a_fault(text in "(<[a-z/!-]{0,8}|[ -~]|&#?[a-z0-9]{0,5};){0,80}") {
            let _ = (html(&text), markdown(&text));
        }
    }
}
