//! Markdown of answers and documents as HTML that can do nothing: raw HTML is shown as text, pictures are named and
//! never loaded, links lead to http(s) or to this server and show their host. What is written here is the only HTML
//! that a model or a document can bring into a page.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use pulldown_cmark::{
    Alignment, CodeBlockKind, CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd,
    TextMergeStream,
};
use url::Url;

use super::icon;
use crate::apex::{Language, highlight};

#[cfg(test)]
mod tests;

/// Longest text that is drawn, in bytes; what follows is left out, and the page says so.
pub const LONGEST: usize = 256 * 1024;
/// Longest HTML that comes of it.
const LARGEST: usize = 4 * 1024 * 1024;
/// Lists and quotes deeper than this are drawn flat.
const DEEPEST: usize = 12;
/// Time after which further code of a text stays without colours.
const LONGEST_COLOURING: Duration = Duration::from_millis(500);
/// Longest address that becomes a link.
const LONGEST_ADDRESS: usize = 2048;

/// Where the text will stand.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Level of its highest heading on the page, 1 to 6.
    pub heading: u8,
    /// Part of the ids that citations point at: `[2]` leads to `#src-{prefix}-2`.
    pub prefix: &'a str,
    /// Numbers that are citations here; any other `[n]` stays text.
    pub citations: &'a [u32],
}

/// The text as safe HTML.
pub fn html(text: &str, place: Place<'_>) -> String {
    let shown = clip(text, LONGEST);
    let mut writer = Writer::new(place);
    let events: Vec<Event<'_>> = TextMergeStream::new(Parser::new_ext(shown, options())).collect();
    writer.write(&events);
    let mut out = writer.finish();
    if shown.len() < text.len() {
        out.push_str("<p>The rest is too long to be shown here.</p>");
    }
    out
}

/// An answer that is still coming, cut into blocks (paragraphs, lists, tables, code) that are final.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    rest: String,
}

impl Blocks {
    /// Adds what came; answers the blocks that can't change any more, as Markdown.
    pub fn push(&mut self, text: &str) -> Option<String> {
        // Only a line that begins can end the block before it.
        let begins = text.contains('\n') || self.rest.ends_with('\n');
        self.rest.push_str(text);
        if !begins {
            return None;
        }
        let mut depth = 0usize;
        let mut last = 0;
        for (event, range) in Parser::new_ext(&self.rest, options()).into_offset_iter() {
            match event {
                Event::Start(_) => {
                    if depth == 0 {
                        last = range.start;
                    }
                    depth += 1;
                }
                Event::End(_) => depth = depth.saturating_sub(1),
                _ if depth == 0 => last = range.start,
                _ => {}
            }
        }
        // Indentation belongs to the block that it opens.
        let line = self.rest[..last].rfind('\n').map_or(0, |at| at + 1);
        (line > 0).then(|| self.rest.drain(..line).collect())
    }

    /// The block that may still grow.
    pub fn rest(&self) -> &str {
        &self.rest
    }
}

fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH
}

/// At most `longest` bytes from the front, cut between characters.
fn clip(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Text for an HTML page. Controls and marks that turn the reading direction become visible boxes, so that no source
/// reads otherwise than it runs.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => out.push('\u{FFFD}'),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
}

struct Writer<'a> {
    place: Place<'a>,
    out: String,
    /// What closes each open element; nothing for those that are drawn flat.
    open: Vec<Cow<'static, str>>,
    code: Option<(Language, String, String)>,
    columns: Vec<Alignment>,
    column: usize,
    in_head: bool,
    in_link: usize,
    /// Level of the heading before, so that no level is left out.
    heading: u8,
    /// Time that code took so far.
    colouring: Duration,
}

impl<'a> Writer<'a> {
    fn new(place: Place<'a>) -> Self {
        Self {
            place,
            out: String::new(),
            open: Vec::new(),
            code: None,
            columns: Vec::new(),
            column: 0,
            in_head: false,
            in_link: 0,
            heading: place.heading.saturating_sub(1),
            colouring: Duration::ZERO,
        }
    }

    fn write(&mut self, events: &[Event<'_>]) {
        let mut at = 0;
        while let Some(event) = events.get(at) {
            if self.out.len() > LARGEST {
                return;
            }
            if let Some(used) = self.short_citation(&events[at..]) {
                at += used;
            } else {
                self.event(event, events.get(at + 1));
                at += 1;
            }
        }
    }

    /// `[2]` that the text itself defines as a link elsewhere stays a citation.
    fn short_citation(&mut self, events: &[Event<'_>]) -> Option<usize> {
        let [
            Event::Start(Tag::Link { link_type: LinkType::Shortcut | LinkType::Collapsed, .. }),
            Event::Text(text),
            Event::End(_),
            ..,
        ] = events
        else {
            return None;
        };
        let number = text.parse().ok().filter(|n| self.place.citations.contains(n))?;
        self.citation(number);
        Some(3)
    }

    fn event(&mut self, event: &Event<'_>, next: Option<&Event<'_>>) {
        match event {
            Event::Start(tag) => self.start(tag, next),
            Event::End(end) => self.end(*end),
            Event::Text(text) => self.text(text),
            Event::Code(code) => {
                self.out.push_str("<code>");
                escape(code, &mut self.out);
                self.out.push_str("</code>");
            }
            Event::Html(raw) | Event::InlineHtml(raw) | Event::InlineMath(raw) | Event::DisplayMath(raw) => {
                escape(raw, &mut self.out);
            }
            Event::FootnoteReference(name) => escape(name, &mut self.out),
            Event::SoftBreak => self.out.push('\n'),
            Event::HardBreak => self.out.push_str("<br>"),
            Event::Rule => self.out.push_str("<hr>"),
            Event::TaskListMarker(_) => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, _, code)) = &mut self.code {
            code.push_str(text);
            return;
        }
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('[') {
            escape(before, &mut self.out);
            let number = after.split_once(']').and_then(|(n, behind)| Some((n.parse().ok()?, behind)));
            if let Some((n, behind)) =
                number.filter(|(n, _)| self.in_link == 0 && self.place.citations.contains(n))
            {
                self.citation(n);
                rest = behind;
            } else {
                self.out.push('[');
                rest = after;
            }
        }
        escape(rest, &mut self.out);
    }

    fn citation(&mut self, n: u32) {
        self.out.push_str("<a class=\"cite\" href=\"#src-");
        escape(self.place.prefix, &mut self.out);
        // Writing to a string does not fail.
        let _ = write!(self.out, "-{n}\"><span class=\"vh\">Source </span>{n}</a>");
    }

    fn start(&mut self, tag: &Tag<'_>, next: Option<&Event<'_>>) {
        let close: Cow<'static, str> = match tag {
            Tag::CodeBlock(kind) => {
                let name = fence(kind);
                self.code = Some((language(&name), name, String::new()));
                "".into()
            }
            Tag::Heading { level, .. } => self.heading(*level),
            Tag::Image { dest_url, .. } => self.image(dest_url),
            Tag::Link { link_type, dest_url, .. } => self.link(*link_type, dest_url),
            Tag::List(Some(first)) if *first != 1 => {
                let _ = write!(self.out, "<ol start=\"{first}\">");
                "</ol>".into()
            }
            Tag::Table(columns) => {
                self.columns.clone_from(columns);
                self.out.push_str(
                    "<div class=\"tbl-x\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table>",
                );
                "</tbody></table></div>".into()
            }
            Tag::TableHead => {
                (self.in_head, self.column) = (true, 0);
                self.out.push_str("<thead><tr>");
                "</tr></thead><tbody>".into()
            }
            Tag::TableRow => {
                self.column = 0;
                self.plain("<tr>", "</tr>")
            }
            Tag::TableCell => self.cell(next),
            Tag::BlockQuote(_) | Tag::List(_) | Tag::Item if self.open.len() > DEEPEST => "".into(),
            Tag::BlockQuote(_) => self.plain("<blockquote>", "</blockquote>"),
            Tag::Emphasis => self.plain("<em>", "</em>"),
            Tag::Item => self.plain("<li>", "</li>"),
            Tag::List(Some(_)) => self.plain("<ol>", "</ol>"),
            Tag::List(None) => self.plain("<ul>", "</ul>"),
            Tag::Strikethrough => self.plain("<s>", "</s>"),
            Tag::Strong => self.plain("<strong>", "</strong>"),
            Tag::HtmlBlock | Tag::Paragraph => self.plain("<p>", "</p>"),
            Tag::DefinitionList
            | Tag::DefinitionListDefinition
            | Tag::DefinitionListTitle
            | Tag::FootnoteDefinition(_)
            | Tag::MetadataBlock(_)
            | Tag::Subscript
            | Tag::Superscript => "".into(),
        };
        self.open.push(close);
    }

    fn plain(&mut self, open: &str, close: &'static str) -> Cow<'static, str> {
        self.out.push_str(open);
        close.into()
    }

    fn end(&mut self, end: TagEnd) {
        if let Some((language, name, source)) = self.code.take() {
            self.code_block(language, &name, &source);
        }
        match end {
            TagEnd::TableHead => self.in_head = false,
            TagEnd::TableCell => self.column += 1,
            TagEnd::Image | TagEnd::Link => self.in_link = self.in_link.saturating_sub(1),
            _ => {}
        }
        let close = self.open.pop().unwrap_or_default();
        self.out.push_str(&close);
    }

    /// Headings keep their order, below the page's own, and no level is left out on the way down.
    fn heading(&mut self, level: HeadingLevel) -> Cow<'static, str> {
        let wanted = self.place.heading.saturating_sub(1).saturating_add(level as u8);
        let level = wanted.min(self.heading + 1).clamp(1, 6);
        self.heading = level;
        let _ = write!(self.out, "<h{level}>");
        format!("</h{level}>").into()
    }

    fn cell(&mut self, next: Option<&Event<'_>>) -> Cow<'static, str> {
        let class = match self.columns.get(self.column) {
            Some(Alignment::Right) => " class=\"r\"",
            Some(Alignment::Center) => " class=\"tc\"",
            _ => "",
        };
        // An empty cell heads nothing.
        let head = self.in_head && !matches!(next, Some(Event::End(TagEnd::TableCell)));
        let (open, close) = if head { ("th scope=\"col\"", "</th>") } else { ("td", "</td>") };
        let _ = write!(self.out, "<{open}{class}>");
        close.into()
    }

    /// A link when its address is one that may be followed, else only its words.
    fn link(&mut self, kind: LinkType, address: &CowStr<'_>) -> Cow<'static, str> {
        self.in_link += 1;
        if self.in_link > 1 {
            return "".into();
        }
        let Some((href, host)) = followable(address) else { return "".into() };
        self.out.push_str("<a href=\"");
        escape(&href, &mut self.out);
        self.out.push('"');
        let Some(host) = host else {
            self.out.push('>');
            return "</a>".into();
        };
        self.out.push_str(" rel=\"noopener noreferrer nofollow\" target=\"_blank\">");
        let mut close = "</a>".to_owned();
        if kind != LinkType::Autolink {
            close.push_str(" <span class=\"host\">(");
            escape(&host, &mut close);
            close.push_str(")</span>");
        }
        close.into()
    }

    /// A picture is named, with where it would have come from. Nothing is loaded.
    fn image(&mut self, address: &CowStr<'_>) -> Cow<'static, str> {
        self.in_link += 1;
        self.out.push_str("<span class=\"nopic\">Picture not loaded: ");
        let mut close = " (".to_owned();
        escape(clip(address, LONGEST_ADDRESS), &mut close);
        close.push_str(")</span>");
        close.into()
    }

    fn code_block(&mut self, language: Language, name: &str, source: &str) {
        let label = if name.is_empty() { "Code" } else { name };
        self.out.push_str("<div class=\"codeb\"><div class=\"codeb-h\">");
        escape(label, &mut self.out);
        let _ = write!(
            self.out,
            "<button class=\"btn ghost sm\" type=\"button\" data-copy-code hidden>{}<span>Copy</span></button></div>\
             <pre class=\"code\" tabindex=\"0\" role=\"group\" aria-label=\"",
            icon("copy")
        );
        escape(label, &mut self.out);
        self.out.push_str("\">");
        // Code is coloured as long as that is quick; hostile code would keep a reader waiting for each block.
        let language = if self.colouring > LONGEST_COLOURING { Language::Plain } else { language };
        let began = Instant::now();
        let lines = highlight(source, language);
        self.colouring += began.elapsed();
        for line in lines {
            for span in line.0 {
                match span.class {
                    Some(class) => {
                        let _ = write!(self.out, "<span class=\"{}\">", class.css());
                        escape(&span.text, &mut self.out);
                        self.out.push_str("</span>");
                    }
                    None => escape(&span.text, &mut self.out),
                }
            }
            self.out.push('\n');
        }
        self.out.push_str("</pre></div>");
    }

    /// The page, with everything closed that a cut left open.
    fn finish(mut self) -> String {
        if let Some((language, name, source)) = self.code.take() {
            self.code_block(language, &name, &source);
        }
        while let Some(close) = self.open.pop() {
            self.out.push_str(&close);
        }
        self.out
    }
}

/// The address to follow and the host to show, which is none for this server itself. `None` for every other scheme,
/// for addresses with a name and password in front of the host, and for what is no address.
fn followable(address: &str) -> Option<(String, Option<String>)> {
    let address = address.trim();
    if address.len() > LONGEST_ADDRESS || address.chars().any(|c| c.is_control() || c == '\\') {
        return None;
    }
    if address.starts_with('/') && !address.starts_with("//") {
        return Some((address.to_owned(), None));
    }
    let url = Url::parse(address).ok()?;
    let plain = url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|_| plain && matches!(url.scheme(), "http" | "https"))?;
    Some((url.as_str().to_owned(), Some(host.to_owned())))
}

/// The word behind the fence, as a label.
fn fence(kind: &CodeBlockKind<'_>) -> String {
    let CodeBlockKind::Fenced(info) = kind else { return String::new() };
    let word = info.split([' ', ',', '{']).next().unwrap_or_default();
    word.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '#'))
        .take(24)
        .collect()
}

fn language(fence: &str) -> Language {
    match fence.to_ascii_lowercase().as_str() {
        "java" | "soql" | "sosl" => Language::Apex,
        "javascript" | "typescript" => Language::JavaScript,
        name => Language::of_path(&format!(".{name}")),
    }
}
