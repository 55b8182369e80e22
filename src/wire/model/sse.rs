//! Server-sent events from bytes that arrive in any pieces. Yields the `data` of each event: the Messages API
//! repeats the event's name inside it, and some servers leave the name out.

/// The longest line, and the longest event, that is read.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Splits a byte stream into events. Every way of cutting the same bytes gives the same events.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    data: Option<String>,
    /// The last byte was `\r`: a `\n` that follows belongs to it.
    after_cr: bool,
    past_first_line: bool,
}

/// A line or an event is longer than anything a model sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("one event is longer than 16 MB")]
pub struct TooLong;

impl Decoder {
    /// Reads the next bytes and adds the data of each finished event to `out`. An event whose blank line never
    /// comes is never yielded.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<String>) -> Result<(), TooLong> {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.push(&rest[..end])?;
            self.end_line(out)?;
            let carriage_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if carriage_return {
                match rest.split_first() {
                    Some((b'\n', after)) => rest = after,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
        }
        self.push(rest)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > MOST_BYTES {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<String>) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            out.extend(self.data.take());
            return Ok(());
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[][..],
            Some([b':', value @ ..]) => value.strip_prefix(b" ").unwrap_or(value),
            _ => return Ok(()),
        };
        let text = String::from_utf8_lossy(value);
        match &mut self.data {
            None => self.data = Some(text.into_owned()),
            Some(data) if data.len() + text.len() > MOST_BYTES => return Err(TooLong),
            Some(data) => {
                data.push('\n');
                data.push_str(&text);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.feed(piece, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn the_rules_of_the_format_hold() {
        let text = "\u{feff}data: a\n\n: comment\nevent: x\ndata:b\ndata:  c\r\n\r\nid: 7\n\ndata\n\ndata: é🙂\r\rdata: never ended\n";
        assert_eq!(events(&[text.as_bytes()]), ["a", "b\n c", "", "é🙂"]);
    }

    #[test]
    fn a_giant_line_is_refused_instead_of_kept() {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let piece = vec![b'x'; 1024 * 1024];
        let fed = (0..20).map(|_| decoder.feed(&piece, &mut out)).collect::<Vec<_>>();
        assert_eq!(fed.iter().position(Result::is_err), Some(16));
        assert!(decoder.line.len() <= MOST_BYTES);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "data: a", "data:", "data: é🙂", "event: ping", ": c", "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "da", "ta: ", "x",
                ]),
                0..60,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let whole = parts.concat().into_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|c| c.index(whole.len() + 1)).collect();
            at.push(0);
            at.push(whole.len());
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
            let bytewise: Vec<&[u8]> = whole.chunks(1).collect();
            prop_assert_eq!(events(&pieces), events(&[&whole]));
            prop_assert_eq!(events(&bytewise), events(&[&whole]));
        }
    }
}
