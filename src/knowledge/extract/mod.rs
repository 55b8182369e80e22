//! Text of documents. Whatever a person uploads is hostile until proven otherwise, so nothing is parsed in the
//! server: `run` starts a child that `confine`s itself before it reads a byte (`worker`), and takes pages from it
//! over a pipe. `pdf` and `plain` are what runs in the child.

mod confine;
mod pdf;
mod plain;
mod run;
pub mod worker;

use serde::{Deserialize, Serialize};

pub use run::Extractor;

/// Bytes of a document, pages, and bytes of its text, at most.
pub const LARGEST: u64 = 50 * 1024 * 1024;
pub const MOST_PAGES: usize = 5_000;
const MOST_TEXT: usize = 20 * 1024 * 1024;

/// What a document is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Html,
    Markdown,
    Pdf,
    Text,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Markdown => "markdown",
            Self::Pdf => "pdf",
            Self::Text => "text",
        }
    }

    fn by_name(name: &str) -> Option<Self> {
        [Self::Html, Self::Markdown, Self::Pdf, Self::Text].into_iter().find(|kind| kind.name() == name)
    }

    /// By the first bytes, then by the ending of the name; the bytes win.
    pub fn of(name: &str, head: &[u8]) -> Result<Self, ExtractError> {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        let window = &head[..head.len().min(1024)];
        if window.windows(5).any(|w| w == b"%PDF-") {
            return Ok(Self::Pdf);
        }
        let wide = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
        let binary = !wide && window.contains(&0);
        match ending.as_str() {
            "pdf" => Err(ExtractError::Damaged),
            _ if binary || head.starts_with(b"PK\x03\x04") => Err(ExtractError::Unsupported),
            "htm" | "html" | "xhtml" => Ok(Self::Html),
            "markdown" | "md" => Ok(Self::Markdown),
            "csv" | "json" | "log" | "text" | "tsv" | "txt" | "xml" | "yaml" | "yml" | "" => Ok(Self::Text),
            _ => Err(ExtractError::Unsupported),
        }
    }
}

/// A page of text, from 1. What has no pages has one for about 3,000 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub number: u32,
    pub text: String,
}

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Extracted {
    pub pages: Vec<Page>,
    pub title: Option<String>,
    /// ISO 639-1, where it can be told.
    pub language: Option<String>,
    pub kind: String,
    pub warnings: Vec<String>,
    /// `false`: reading stopped before the end, the pages so far are good.
    #[serde(skip)]
    pub complete: bool,
}

/// Why there is no text. The words are for the person who uploaded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ExtractError {
    /// The work itself broke off, not the file: the disk was full, say.
    #[error("Reading broke off: {0}. The file is kept. Read it again when that is mended.")]
    BrokeOff(String),
    #[error(
        "This file is damaged or isn’t what its name says. Open it, save it again and upload the new copy."
    )]
    Damaged,
    #[error(
        "This PDF is protected by a password, so it can’t be read. Save a copy without a password and upload that."
    )]
    Encrypted,
    #[error("{0}")]
    NoText(String),
    #[error(
        "Processing was restricted, in this workspace or for the person who asked for it. The file is kept; try again \
         when that is lifted."
    )]
    Restricted,
    #[error("Reading stopped because this file took too much time or memory. Nothing else is affected.")]
    TimedOut,
    #[error("{0}")]
    TooLarge(String),
    #[error("Files of this kind can’t be read. Upload PDF, Markdown, HTML or plain text.")]
    Unsupported,
}

impl ExtractError {
    /// Its name for interfaces.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BrokeOff(_) => "broke off",
            Self::Damaged => "damaged",
            Self::Encrypted => "encrypted",
            Self::NoText(_) => "no text",
            Self::Restricted => "restricted",
            Self::TimedOut => "timed out",
            Self::TooLarge(_) => "too large",
            Self::Unsupported => "unsupported",
        }
    }

    fn scanned() -> Self {
        Self::NoText(
            "This PDF has no text, only pictures of pages (a scan). Run text recognition (OCR) on it and upload the \
             result."
                .into(),
        )
    }

    fn empty() -> Self {
        Self::NoText("There is no text in this document.".into())
    }
}

/// What the child tells, one record after the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Done {
        title: Option<String>,
        warnings: Vec<String>,
    },
    Failed(ExtractError),
    Page(Page),
    /// How many pages there will be.
    Total(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_what_a_document_is_read_as() {
        assert_eq!(Kind::of("a.txt", b"%PDF-1.7"), Ok(Kind::Pdf));
        assert_eq!(Kind::of("a.pdf", b"hello"), Err(ExtractError::Damaged));
        assert_eq!(Kind::of("a.md", b"# Title"), Ok(Kind::Markdown));
        assert_eq!(Kind::of("a.HTML", b"<p>"), Ok(Kind::Html));
        assert_eq!(Kind::of("a.docx", b"PK\x03\x04"), Err(ExtractError::Unsupported));
        assert_eq!(Kind::of("a.md", b"PK\x03\x04"), Err(ExtractError::Unsupported));
        assert_eq!(Kind::of("a.txt", b"a\0b"), Err(ExtractError::Unsupported));
        assert_eq!(Kind::of("a.txt", &[0xff, 0xfe, b'a', 0]), Ok(Kind::Text));
        assert_eq!(Kind::of("notes.pages", b"x"), Err(ExtractError::Unsupported));
    }
}
