//! A table as a file to take away: CSV (RFC 4180) or a JSON array of objects, streamed row by row.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::store::StoreError;

/// Bytes collected before they are sent.
const PIECE: usize = 32 << 10;
/// Pieces that wait for a slow reader.
const WAITING: usize = 4;

/// How the table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Csv,
    Json,
}

/// What the rows are put into, one array of cells in the order of the columns each.
pub struct Rows {
    format: Format,
    columns: &'static [&'static str],
    out: Vec<u8>,
    begun: bool,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
}

/// The person went away: no more rows are wanted.
#[derive(Debug)]
pub struct Gone;

impl Rows {
    /// Blocks while the reader is slow, so no read transaction may be open.
    pub fn put(&mut self, cells: &[Value]) -> Result<(), Gone> {
        match self.format {
            Format::Csv => self.line(cells.iter().map(cell)),
            Format::Json => {
                self.out.extend_from_slice(if self.begun { b",\n" } else { b"[\n" });
                let row: serde_json::Map<_, _> =
                    self.columns.iter().map(|c| (*c).to_owned()).zip(cells.iter().cloned()).collect();
                self.out.extend_from_slice(Value::Object(row).to_string().as_bytes());
            }
        }
        self.begun = true;
        if self.out.len() < PIECE { Ok(()) } else { self.send() }
    }

    fn line(&mut self, cells: impl Iterator<Item = String>) {
        let mut writer =
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(&mut self.out);
        // Into memory: nothing that can fail.
        let _ = writer.write_record(cells);
        let _ = writer.flush();
    }

    fn send(&mut self) -> Result<(), Gone> {
        let piece = std::mem::take(&mut self.out);
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| Gone)
    }

    fn end(mut self) -> Result<(), Gone> {
        if self.format == Format::Json {
            self.out.extend_from_slice(if self.begun { b"\n]\n" } else { b"[]\n" });
        }
        self.send()
    }
}

/// A cell of a spreadsheet that is never run as a formula (OWASP, CSV injection).
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Sends what `rows` puts, as an attachment named `name` and the ending of the format. An error breaks the download off.
pub fn download(
    name: &str,
    format: Format,
    columns: &'static [&'static str],
    rows: impl FnOnce(&mut Rows) -> Result<Result<(), Gone>, StoreError> + Send + 'static,
) -> HttpResponse {
    let (sender, receiver) = mpsc::channel(WAITING);
    let failed = sender.clone();
    tokio::task::spawn_blocking(move || {
        let mut out = Rows { format, columns, out: Vec::new(), begun: false, sender };
        if format == Format::Csv {
            out.line(columns.iter().map(|c| (*c).to_owned()));
        }
        match rows(&mut out) {
            Ok(Ok(())) => drop(out.end()),
            Ok(Err(Gone)) => {}
            Err(error) => {
                tracing::error!(%error, "a download broke off");
                let _ = failed.blocking_send(Err(std::io::Error::other("the rest can't be read")));
            }
        }
    });
    let (ending, kind) = match format {
        Format::Csv => ("csv", "text/csv; charset=utf-8"),
        Format::Json => ("json", "application/json"),
    };
    let pieces = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{ending}\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(cell(&Value::from(text)), format!("'{text}"));
        }
        assert_eq!(
            [cell(&Value::from("a=b")), cell(&Value::from(-4)), cell(&Value::Null)],
            ["a=b", "-4", ""]
        );
    }
}
