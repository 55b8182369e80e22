//! Source as lines of coloured spans, for pages. Text stays text: escaping is the template's work.

mod apex;
mod markup;
mod script;

#[cfg(test)]
mod tests;

/// A line of source without its line break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Span>);

/// A stretch of one colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub class: Option<Class>,
    pub text: String,
}

/// What a stretch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Comment,
    Keyword,
    Number,
    String,
    Type,
}

impl Class {
    /// The class name that the style sheet colours inside `.code` and `.diff`.
    pub fn css(self) -> &'static str {
        match self {
            Self::Comment => "c",
            Self::Keyword => "k",
            Self::Number => "n",
            Self::String => "s",
            Self::Type => "t_",
        }
    }
}

/// How a file is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Apex,
    JavaScript,
    Json,
    Plain,
    Xml,
}

impl Language {
    /// By the end of a file's name.
    pub fn of_path(path: &str) -> Self {
        let ending = path.rsplit('.').next().unwrap_or("").to_ascii_lowercase();
        match ending.as_str() {
            "apex" | "cls" | "trigger" => Self::Apex,
            "js" | "mjs" | "ts" => Self::JavaScript,
            "json" => Self::Json,
            "app" | "cmp" | "component" | "evt" | "flow" | "html" | "intf" | "layout" | "object" | "page"
            | "permissionset" | "profile" | "svg" | "xml" => Self::Xml,
            _ => Self::Plain,
        }
    }
}

/// The longest source that is coloured, in bytes; longer ones come back plain.
const MAX_BYTES: usize = 1024 * 1024;

/// The lines of a source. Always the whole text: joined with line breaks the spans give the source back, but for
/// carriage returns at line ends.
pub fn highlight(source: &str, language: Language) -> Vec<Line> {
    if source.len() > MAX_BYTES {
        return paint(source, &[]);
    }
    let pieces = match language {
        Language::Apex => apex::pieces(source),
        Language::JavaScript | Language::Json => script::pieces(source),
        Language::Plain => Vec::new(),
        Language::Xml => markup::pieces(source),
    };
    paint(source, &pieces)
}

/// A coloured stretch of bytes.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
    class: Class,
}

/// Cuts the source into lines and spans. Pieces are in order and don't overlap.
fn paint(source: &str, pieces: &[Piece]) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let mut at = 0;
    for piece in pieces {
        if piece.start < at {
            continue;
        }
        put(&mut lines, source.get(at..piece.start).unwrap_or(""), None);
        put(&mut lines, source.get(piece.start..piece.end).unwrap_or(""), Some(piece.class));
        at = piece.end;
    }
    put(&mut lines, source.get(at..).unwrap_or(""), None);
    if lines.len() > 1 && lines.last().is_some_and(|line| line.0.is_empty()) {
        lines.pop();
    }
    lines
}

fn put(lines: &mut Vec<Line>, text: &str, class: Option<Class>) {
    for (n, part) in text.split('\n').enumerate() {
        if n > 0 {
            lines.push(Line::default());
        }
        let part = part.strip_suffix('\r').unwrap_or(part);
        let Some(line) = lines.last_mut().filter(|_| !part.is_empty()) else { continue };
        match line.0.last_mut().filter(|span| span.class == class) {
            Some(span) => span.text.push_str(part),
            None => line.0.push(Span { class, text: part.to_owned() }),
        }
    }
}
