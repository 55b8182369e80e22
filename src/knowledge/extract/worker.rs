//! The child: confines itself, reads the document from standard input, writes pages to standard output as it
//! finds them. Records are a length (four bytes, little endian) and JSON.

use std::io::{self, Read as _, Write};

use super::{ExtractError, Kind, LARGEST, MOST_TEXT, Page, Record, confine, pdf, plain};

/// Deep nesting in a document needs a deep stack.
const STACK: usize = 64 << 20;

/// What the child is told to do: read a document, or try something that must not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Extract(Kind),
    Probe(Probe),
}

/// Attempts that tests make from inside the confinement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Exec,
    Flood,
    Loop,
    Memory,
    Open,
    Panic,
    Recursion,
    Socket,
}

impl Task {
    /// `pdf`, `markdown` … or `probe-open` …
    pub fn by_name(name: &str) -> Option<Self> {
        let Some(probe) = name.strip_prefix("probe-") else { return Kind::by_name(name).map(Self::Extract) };
        Some(Self::Probe(match probe {
            "exec" => Probe::Exec,
            "flood" => Probe::Flood,
            "loop" => Probe::Loop,
            "memory" => Probe::Memory,
            "open" => Probe::Open,
            "panic" => Probe::Panic,
            "recursion" => Probe::Recursion,
            "socket" => Probe::Socket,
            _ => return None,
        }))
    }
}

/// Does the task in a thread with a deep stack, under every limit. Reads nothing before it is confined.
pub fn main(task: Task) -> io::Result<()> {
    confine::limit()?;
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        confine::filter()?;
        match task {
            Task::Extract(kind) => extract(kind, io::stdin().lock(), &mut io::stdout().lock()),
            Task::Probe(probe) => attempt(probe),
        }
    })?;
    thread.join().map_err(|_| io::Error::other("the document broke its reader"))?
}

/// Reads a document of `kind` and writes the records of what it says.
pub fn extract(kind: Kind, from: impl io::Read, to: &mut dyn Write) -> io::Result<()> {
    let mut document = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut document)?;
    let mut out = Out { to, written: 0, text: 0 };
    let done = match kind {
        Kind::Pdf => pdf::read(document, &mut out),
        Kind::Html | Kind::Markdown | Kind::Text => plain::read(kind, &document, &mut out),
    };
    match done {
        Ok((title, warnings)) => out.tell(&Record::Done { title, warnings }),
        Err(Stopped::Extract(error)) => out.tell(&Record::Failed(error)),
        Err(Stopped::Io(error)) => Err(error),
    }
}

/// Why reading ended early.
pub enum Stopped {
    Extract(ExtractError),
    Io(io::Error),
}

impl From<ExtractError> for Stopped {
    fn from(error: ExtractError) -> Self {
        Self::Extract(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Title and warnings of a document that was read to its end.
pub type Read = Result<(Option<String>, Vec<String>), Stopped>;

/// Where the records go.
pub struct Out<'a> {
    to: &'a mut dyn Write,
    written: u32,
    text: usize,
}

impl Out<'_> {
    pub fn total(&mut self, pages: usize) -> io::Result<()> {
        self.tell(&Record::Total(u32::try_from(pages).unwrap_or(u32::MAX)))
    }

    pub fn page(&mut self, text: String) -> Result<(), Stopped> {
        self.written += 1;
        self.text += text.len();
        if self.text > MOST_TEXT {
            return Err(ExtractError::TooLarge(
                "This document has more than 20 MB of text. Split it.".into(),
            )
            .into());
        }
        Ok(self.tell(&Record::Page(Page { number: self.written, text }))?)
    }

    fn tell(&mut self, record: &Record) -> io::Result<()> {
        let json = serde_json::to_vec(record)?;
        let length = u32::try_from(json.len()).map_err(io::Error::other)?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(&json)?;
        self.to.flush()
    }
}

/// Tries what must not work, and writes how it ended.
fn attempt(probe: Probe) -> io::Result<()> {
    let said = match probe {
        Probe::Exec => format!("{:?}", std::process::Command::new("/bin/true").status().map(|_| ())),
        Probe::Flood => loop {
            io::stdout().lock().write_all(&[b'A'; 8_192])?;
        },
        Probe::Loop => loop {
            std::hint::black_box(0);
        },
        Probe::Memory => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; 1 << 24]);
                std::hint::black_box(&all);
            }
        }
        Probe::Open => format!("{:?}", std::fs::File::open("/etc/hostname").map(|_| ())),
        #[expect(clippy::panic, reason = "the test asks for it")]
        Probe::Panic => panic!("asked for"),
        Probe::Recursion => format!("{}", deep(u64::MAX)),
        Probe::Socket => format!("{:?}", std::net::UdpSocket::bind("127.0.0.1:0").map(|_| ())),
    };
    io::stdout().lock().write_all(said.as_bytes())
}

fn deep(n: u64) -> u64 {
    let here = std::hint::black_box([n; 64]);
    if n == 0 { 0 } else { 1 + deep(n - 1) + std::hint::black_box(&here)[3] % 2 }
}
