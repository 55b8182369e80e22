//! The server's side: starts the child, feeds it the document, takes its pages, ends it when it takes too long.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use super::{ExtractError, Extracted, Kind, Record};

/// The longest a document may take, whatever it does.
const LONGEST: Duration = Duration::from_mins(1);
/// Bytes that the child may write.
const MOST_OUTPUT: usize = 40 * 1024 * 1024;
const LARGEST_RECORD: usize = 24 * 1024 * 1024;
/// Bytes that decide about the kind.
const HEAD: usize = 2048;
/// Tries for a child that dies.
const TRIES: usize = 2;
/// Text that the language is told from, in bytes.
const SAMPLE: usize = 20_000;

/// Starts children of this program.
#[derive(Clone, Debug)]
pub struct Extractor {
    program: PathBuf,
}

impl Default for Extractor {
    fn default() -> Self {
        Self::new(PathBuf::from("/proc/self/exe"))
    }
}

/// What one child brought.
enum Ran {
    /// It died: these pages came before.
    Died(Extracted),
    Ended(Result<Extracted, ExtractError>),
}

impl Extractor {
    /// `program` is this binary, or in tests the one that was built.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// The text of a document. `open` begins to read it, again if the first child dies; `on_page` hears how far
    /// it is (pages done, pages in all or 0). A cancel is [`ExtractError::TimedOut`].
    pub async fn run<R: Read + Send + 'static>(
        &self,
        name: &str,
        open: impl Fn() -> io::Result<R> + Send,
        mut on_page: impl FnMut(u32, u32) + Send,
        cancel: &CancellationToken,
    ) -> Result<Extracted, ExtractError> {
        let mut died = Extracted::default();
        for _ in 0..TRIES {
            let document = open().map_err(|_| ExtractError::Damaged)?;
            let once = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(ExtractError::TimedOut),
                once = tokio::time::timeout(LONGEST, self.once(name, document, &mut on_page)) => once,
            };
            match once {
                Ok(Ok(Ran::Ended(ended))) => return ended,
                Ok(Ok(Ran::Died(part))) => died = part,
                Ok(Err(error)) => {
                    tracing::error!(%error, "a document's reader could not be started");
                    return Err(ExtractError::TimedOut);
                }
                // It used up its time: once more would take as long.
                Err(_) => return Err(ExtractError::TimedOut),
            }
        }
        if died.pages.iter().all(|page| page.text.trim().is_empty()) {
            return Err(ExtractError::TimedOut);
        }
        died.warnings.push(format!(
            "Reading stopped after page {}: the rest took too much time or memory.",
            died.pages.len()
        ));
        Ok(died)
    }

    async fn once<R: Read + Send + 'static>(
        &self,
        name: &str,
        document: R,
        on_page: &mut (impl FnMut(u32, u32) + Send),
    ) -> io::Result<Ran> {
        let (document, head) = blocking(document, HEAD).await?;
        let kind = match Kind::of(name, &head) {
            Ok(kind) => kind,
            Err(error) => return Ok(Ran::Ended(Err(error))),
        };
        let mut child = self.spawn(kind.name())?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = pipes else { return Err(io::Error::other("no pipes")) };
        let mut found = Extracted { kind: kind.name().into(), ..Extracted::default() };
        let ((), ended) = tokio::join!(feed(stdin, document, head), listen(stdout, &mut found, on_page));
        // It has said everything, or too much.
        let _ = child.start_kill();
        let _ = child.wait().await;
        Ok(match ended {
            Some(Ok(())) => {
                found.complete = true;
                found.language = language(&found);
                Ran::Ended(Ok(found))
            }
            Some(Err(error)) => Ran::Ended(Err(error)),
            None => {
                found.language = language(&found);
                Ran::Died(found)
            }
        })
    }

    fn spawn(&self, task: &str) -> io::Result<Child> {
        Command::new(&self.program)
            .args(["worker", "extract", task])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Reads up to `most` bytes off the async threads, and hands the reader back.
async fn blocking<R: Read + Send + 'static>(mut reader: R, most: usize) -> io::Result<(R, Vec<u8>)> {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.by_ref().take(most as u64).read_to_end(&mut bytes)?;
        Ok((reader, bytes))
    });
    read.await.map_err(io::Error::other)?
}

/// Hands the document to the child; a child that wants no more is no fault of ours.
async fn feed<R: Read + Send + 'static>(mut stdin: ChildStdin, mut document: R, mut bytes: Vec<u8>) {
    while !bytes.is_empty() {
        if stdin.write_all(&bytes).await.is_err() {
            return;
        }
        match blocking(document, 256 * 1024).await {
            Ok((rest, more)) => (document, bytes) = (rest, more),
            // A child that reads half a document calls it damaged.
            Err(_) => return,
        }
    }
    let _ = stdin.shutdown().await;
}

/// Takes records until the last; `None` when the child ended without one.
async fn listen(
    mut stdout: ChildStdout,
    found: &mut Extracted,
    on_page: &mut (impl FnMut(u32, u32) + Send),
) -> Option<Result<(), ExtractError>> {
    let (mut total, mut output) = (0, 0);
    loop {
        let length = stdout.read_u32_le().await.ok()? as usize;
        output += length + 4;
        if length > LARGEST_RECORD || output > MOST_OUTPUT {
            return None;
        }
        let mut json = vec![0; length];
        stdout.read_exact(&mut json).await.ok()?;
        match serde_json::from_slice(&json).ok()? {
            Record::Total(pages) => total = pages,
            Record::Page(page) => {
                // The child may be anything by now: pages come in order, or not at all.
                if page.number as usize != found.pages.len() + 1 {
                    return None;
                }
                found.pages.push(page);
                on_page(found.pages.len() as u32, total);
            }
            Record::Done { title, warnings } => {
                found.title = title.map(|t| t.chars().take(300).collect());
                found.warnings =
                    warnings.into_iter().take(20).map(|w| w.chars().take(300).collect()).collect();
                return Some(Ok(()));
            }
            Record::Failed(error) => return Some(Err(error)),
        }
    }
}

/// The language of a text, where it can be told.
fn language(found: &Extracted) -> Option<String> {
    let mut sample = String::new();
    for page in &found.pages {
        sample.push_str(&page.text);
        sample.push('\n');
        if sample.len() > SAMPLE {
            break;
        }
    }
    let told = whatlang::detect(&sample).filter(whatlang::Info::is_reliable)?;
    let code = match told.lang().code() {
        "ara" => "ar",
        "dan" => "da",
        "deu" => "de",
        "ell" => "el",
        "eng" => "en",
        "spa" => "es",
        "fin" => "fi",
        "fra" => "fr",
        "hun" => "hu",
        "ita" => "it",
        "jpn" => "ja",
        "kor" => "ko",
        "nld" => "nl",
        "nob" => "no",
        "por" => "pt",
        "ron" => "ro",
        "rus" => "ru",
        "swe" => "sv",
        "tam" => "ta",
        "tur" => "tr",
        "cmn" => "zh",
        _ => return None,
    };
    Some(code.to_owned())
}
