//! Large files: magic 8, salt 16, then chunks of 64 KiB with a 16-byte tag each. The file's key comes from
//! the salt and the file's name; a chunk's nonce holds its number and whether it is the last (the STREAM
//! construction), so that truncated, reordered and swapped files do not open.

use std::io::{self, Read, Seek, SeekFrom, Write};

use ring::aead;

use super::{SealError, SubKey, keys};

/// Plain bytes in one chunk.
pub const CHUNK: usize = 64 * 1024;
const MAGIC: &[u8; 8] = b"VYNB\x01\r\n\x1a";
const HEAD: usize = 24;
const TAG: usize = 16;

fn nonce(number: u64, last: bool) -> aead::Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8] = u8::from(last);
    aead::Nonce::assume_unique_for_key(bytes)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, SealError::Damaged)
}

/// Seals chunk `number` in place and appends its tag.
pub fn seal_file_chunk(
    key: &aead::LessSafeKey,
    number: u64,
    last: bool,
    chunk: &mut Vec<u8>,
) -> io::Result<()> {
    key.seal_in_place_append_tag(nonce(number, last), aead::Aad::empty(), chunk).map_err(|_| damaged())
}

/// Opens chunk `number` (ciphertext and tag) in place.
pub fn open_file_chunk(
    key: &aead::LessSafeKey,
    number: u64,
    last: bool,
    chunk: &mut Vec<u8>,
) -> io::Result<()> {
    let plain =
        key.open_in_place(nonce(number, last), aead::Aad::empty(), chunk).map_err(|_| damaged())?.len();
    chunk.truncate(plain);
    Ok(())
}

/// Seals what is written to it. Call [`SealingWriter::finish`]: without the last chunk the file never opens.
pub struct SealingWriter<W> {
    to: W,
    key: aead::LessSafeKey,
    buffer: Vec<u8>,
    number: u64,
    /// After a failed write the file can't be gone on with: the chunk would be sealed twice.
    dead: bool,
}

impl<W: Write> SealingWriter<W> {
    /// Begins a file called `name` (part of its key).
    pub fn new(mut to: W, key: &SubKey, name: &str) -> io::Result<Self> {
        let salt = keys::random::<16>();
        to.write_all(MAGIC)?;
        to.write_all(&salt)?;
        let key = key.for_file(&salt, name.as_bytes()).aead();
        Ok(Self { to, key, buffer: Vec::with_capacity(CHUNK + TAG), number: 0, dead: false })
    }

    /// Seals the rest and hands back the file, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.emit(true)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn emit(&mut self, last: bool) -> io::Result<()> {
        if std::mem::replace(&mut self.dead, true) {
            return Err(io::Error::other("an earlier write of this file failed"));
        }
        seal_file_chunk(&self.key, self.number, last, &mut self.buffer)?;
        self.to.write_all(&self.buffer)?;
        self.buffer.clear();
        self.number += 1;
        self.dead = false;
        Ok(())
    }
}

impl<W: Write> Write for SealingWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == CHUNK {
            self.emit(false)?;
        }
        let n = data.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&data[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Opens a sealed file; reads and seeks in its plain bytes.
pub struct OpeningReader<R> {
    from: R,
    key: aead::LessSafeKey,
    chunks: u64,
    len: u64,
    at: u64,
    chunk: Option<(u64, Vec<u8>)>,
}

impl<R: Read + Seek> OpeningReader<R> {
    /// Opens the file called `name`.
    pub fn new(mut from: R, key: &SubKey, name: &str) -> io::Result<Self> {
        let total = from.seek(SeekFrom::End(0))?;
        from.seek(SeekFrom::Start(0))?;
        let mut head = [0; HEAD];
        from.read_exact(&mut head).map_err(|_| damaged())?;
        if &head[..8] != MAGIC || total < (HEAD + TAG) as u64 {
            return Err(damaged());
        }
        let body = total - HEAD as u64;
        let chunks = body.div_ceil((CHUNK + TAG) as u64);
        // The last chunk has at least its tag.
        let before = (chunks - 1) * (CHUNK + TAG) as u64;
        if body - before < TAG as u64 {
            return Err(damaged());
        }
        let len = body - chunks * TAG as u64;
        let key = key.for_file(&head[8..], name.as_bytes()).aead();
        let mut reader = Self { from, key, chunks, len, at: 0, chunk: None };
        // The last chunk proves the length before any byte is handed out.
        reader.load(chunks - 1)?;
        Ok(reader)
    }

    /// Plain bytes in the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The plain byte that is read next.
    pub fn position(&self) -> u64 {
        self.at
    }

    fn load(&mut self, number: u64) -> io::Result<()> {
        if self.chunk.as_ref().is_some_and(|(n, _)| *n == number) {
            return Ok(());
        }
        let plain = (self.len - number * CHUNK as u64).min(CHUNK as u64) as usize;
        let mut chunk = vec![0; plain + TAG];
        self.from.seek(SeekFrom::Start(HEAD as u64 + number * (CHUNK + TAG) as u64))?;
        self.from.read_exact(&mut chunk).map_err(|_| damaged())?;
        open_file_chunk(&self.key, number, number + 1 == self.chunks, &mut chunk)?;
        self.chunk = Some((number, chunk));
        Ok(())
    }
}

impl<R: Read + Seek> Read for OpeningReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len || out.is_empty() {
            return Ok(0);
        }
        self.load(self.at / CHUNK as u64)?;
        let Some((_, chunk)) = &self.chunk else { return Ok(0) };
        let start = (self.at % CHUNK as u64) as usize;
        let n = out.len().min(chunk.len() - start);
        out[..n].copy_from_slice(&chunk[start..start + n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl<R: Read + Seek> Seek for OpeningReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
            SeekFrom::End(n) => self.len.checked_add_signed(n),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::seal::{DataKey, Use};

    fn sealed(key: &SubKey, name: &str, data: &[u8]) -> Vec<u8> {
        let mut writer = SealingWriter::new(Vec::new(), key, name).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn open(key: &SubKey, name: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        OpeningReader::new(Cursor::new(bytes), key, name)?.read_to_end(&mut out)?;
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_was_sealed_comes_back_and_any_damage_is_told(
            len in prop_oneof![0usize..200, CHUNK - 2..CHUNK + 3, 2 * CHUNK - 2..2 * CHUNK + 3],
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let key = DataKey::new().sub(Use::Blobs);
            let data: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let bytes = sealed(&key, "a", &data);
            prop_assert_eq!(open(&key, "a", &bytes).unwrap(), data.clone());
            prop_assert!(open(&key, "b", &bytes).is_err());
            let mut flipped = bytes.clone();
            flipped[at.index(bytes.len())] ^= 1 << bit;
            prop_assert!(open(&key, "a", &flipped).is_err());
            prop_assert!(open(&key, "a", &bytes[..at.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_file_cut_inside_its_last_tag_is_told() {
        let key = DataKey::new().sub(Use::Blobs);
        let bytes = sealed(&key, "a", &vec![7; CHUNK + 5]);
        for cut in 1..=20 {
            assert!(open(&key, "a", &bytes[..bytes.len() - cut]).is_err(), "{cut} bytes less");
        }
    }

    #[test]
    fn a_range_in_the_middle_is_read() {
        let key = DataKey::new().sub(Use::Blobs);
        let data: Vec<u8> = (0..3 * CHUNK + 17).map(|i| (i % 241) as u8).collect();
        let bytes = sealed(&key, "a", &data);
        let mut reader = OpeningReader::new(Cursor::new(bytes), &key, "a").unwrap();
        reader.seek(SeekFrom::Start(CHUNK as u64 - 5)).unwrap();
        let mut out = vec![0; 10];
        reader.read_exact(&mut out).unwrap();
        assert_eq!(out, data[CHUNK - 5..CHUNK + 5]);
    }

    #[test]
    fn chunks_cannot_change_places() {
        let key = DataKey::new().sub(Use::Blobs);
        let mut bytes = sealed(&key, "a", &vec![7; 3 * CHUNK]);
        let (a, b) = (HEAD, HEAD + CHUNK + TAG);
        for i in 0..CHUNK + TAG {
            bytes.swap(a + i, b + i);
        }
        assert!(open(&key, "a", &bytes).is_err());
    }
}
