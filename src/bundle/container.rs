//! The container of a bundle: a tar archive (POSIX ustar) of plain files, written and read in one pass. Reading refuses
//! whatever this program would not write: links, folders, paths that leave the archive, headers that do not add up.

use std::io::{self, Read, Write};

/// Bytes of a tar block.
const BLOCK: usize = 512;
/// Longest name behind the folder, and longest folder, in bytes.
pub const LONGEST_NAME: usize = 100;
const LONGEST_FOLDER: usize = 155;
/// The largest size that fits in eleven octal digits.
const OCTAL: u64 = 0o777_7777_7777;

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Writes members one after the other. Call [`Packer::finish`].
pub struct Packer<W> {
    to: W,
    /// Seconds since 1970: the time of every member.
    at: u64,
}

impl<W: Write> Packer<W> {
    pub fn new(to: W, at: u64) -> Self {
        Self { to, at }
    }

    /// Writes a member whose bytes are `size` bytes of `from`; fewer or more of them are an error.
    pub fn put(&mut self, path: &str, size: u64, from: &mut dyn Read) -> io::Result<()> {
        self.to.write_all(&header(path, size, self.at)?)?;
        let written = io::copy(&mut from.take(size), &mut self.to)?;
        if written != size || from.read(&mut [0])? != 0 {
            return Err(io::Error::other(format!("{path} changed while it was exported")));
        }
        let rest = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.to.write_all(&[0; BLOCK][..rest as usize])
    }

    /// Writes the end and hands back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        Ok(self.to)
    }
}

fn header(path: &str, size: u64, at: u64) -> io::Result<[u8; BLOCK]> {
    let (folder, name) = split(path)?;
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if size <= OCTAL {
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    block[136..148].copy_from_slice(format!("{:011o}\0", at.min(OCTAL)).as_bytes());
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[345..345 + folder.len()].copy_from_slice(folder.as_bytes());
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// Folder and name of a path, each short enough for its field.
fn split(path: &str) -> io::Result<(&str, &str)> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() || name.len() > LONGEST_NAME || folder.len() > LONGEST_FOLDER {
        return Err(io::Error::other(format!("{path} does not fit into the archive")));
    }
    Ok((folder, name))
}

/// The sum of all bytes, the checksum's own place taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    block.iter().enumerate().map(|(n, b)| u32::from(if (148..156).contains(&n) { b' ' } else { *b })).sum()
}

/// Reads members one after the other.
pub struct Unpacker<R> {
    from: R,
    /// Bytes of the current member that were not read, and those that fill its last block.
    left: u64,
    fill: u64,
}

/// What stands in front of a member's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    pub bytes: u64,
}

impl<R: Read> Unpacker<R> {
    pub fn new(from: R) -> Self {
        Self { from, left: 0, fill: 0 }
    }

    /// The next member, whose bytes are read from [`Unpacker::member`]; `None` behind the last one.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        if self.left > 0 {
            return Err(refused("a member was not read to its end"));
        }
        let mut fill = [0; BLOCK];
        let fill = &mut fill[..self.fill as usize];
        self.from.read_exact(fill).map_err(early)?;
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(early)?;
        if block == [0; BLOCK] {
            self.end()?;
            return Ok(None);
        }
        let entry = entry(&block)?;
        self.left = entry.bytes;
        self.fill = (BLOCK as u64 - entry.bytes % BLOCK as u64) % BLOCK as u64;
        Ok(Some(entry))
    }

    /// The bytes of the current member.
    pub fn member(&mut self) -> Member<'_, R> {
        Member(self)
    }

    /// A second empty block, then nothing.
    fn end(&mut self) -> io::Result<()> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(early)?;
        if block != [0; BLOCK] || self.from.read(&mut [0])? != 0 {
            return Err(refused("something stands behind the end of the archive"));
        }
        Ok(())
    }
}

/// Reads the bytes of one member.
pub struct Member<'a, R>(&'a mut Unpacker<R>);

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(usize::try_from(self.0.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.0.from.read(&mut out[..most])?;
        if read == 0 {
            return Err(cut());
        }
        self.0.left -= read as u64;
        Ok(read)
    }
}

fn cut() -> io::Error {
    refused("the file ends in the middle")
}

fn early(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { cut() } else { error }
}

fn entry(block: &[u8; BLOCK]) -> io::Result<Entry> {
    if octal(&block[148..156]) != Some(u64::from(checksum(block))) || &block[257..263] != b"ustar\0" {
        return Err(refused("this is not a bundle: no tar archive of the kind that Vynos writes"));
    }
    if block[156] != b'0' {
        return Err(refused("the archive holds a link, a folder or something else that is no file"));
    }
    let (folder, name) = (text(&block[345..500])?, text(&block[..100])?);
    let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
    if !is_plain(&path) {
        return Err(refused("the archive holds a path that leads out of it"));
    }
    let size = &block[124..136];
    let bytes = if size[0] == 0x80 {
        size[4..].try_into().ok().map(u64::from_be_bytes).filter(|_| size[1..4] == [0; 3])
    } else {
        octal(size)
    };
    Ok(Entry { path, bytes: bytes.ok_or_else(|| refused("the archive holds a size that is no number"))? })
}

/// Relative, without `.` and `..`, without characters that a file system may read in its own way.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !path.chars().any(|c| c.is_control() || c == '\\')
}

fn text(field: &[u8]) -> io::Result<String> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let text = std::str::from_utf8(&field[..end]).map_err(|_| refused("a path is not text"))?;
    Ok(text.to_owned())
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut packer = Packer::new(Vec::new(), 1_700_000_000);
        for (path, bytes) in members {
            packer.put(path, bytes.len() as u64, &mut &**bytes).unwrap();
        }
        packer.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let (mut unpacker, mut found) = (Unpacker::new(bytes), Vec::new());
        while let Some(entry) = unpacker.next_entry()? {
            let mut held = Vec::new();
            unpacker.member().read_to_end(&mut held)?;
            found.push((entry.path, held));
        }
        Ok(found)
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let folder = format!("files/{}", "a".repeat(26));
        let (long, empty) = (format!("{folder}/{}", "é".repeat(50)), format!("{folder}/empty"));
        let members: [(&str, &[u8]); 4] =
            [("a.txt", b"text"), (&long, &[7; 513]), (&empty, b""), ("b/c", &[1; 512])];
        let found = unpacked(&packed(&members)).unwrap();
        let found: Vec<(&str, &[u8])> = found.iter().map(|(p, b)| (p.as_str(), b.as_slice())).collect();
        assert_eq!(found, members);
    }

    #[test]
    fn sizes_beyond_eight_gigabytes_are_written_as_numbers() {
        for size in [0, OCTAL, OCTAL + 1, 1 << 40] {
            let block = header("a", size, 0).unwrap();
            assert_eq!(entry(&block).unwrap(), Entry { path: "a".into(), bytes: size });
        }
    }

    #[test]
    fn what_we_would_not_write_is_refused() {
        let good = packed(&[("a/b", b"text")]);
        assert!(unpacked(&good).is_ok());
        for cut in [0, 1, 512, 600, 1024, good.len() - 1] {
            assert!(unpacked(&good[..cut]).is_err(), "cut at {cut}");
        }
        assert!(unpacked(&[good.as_slice(), b"x"].concat()).is_err());
        for path in ["../a", "a/../b", "a//b", "a\\b", "a\nb", "./a"] {
            assert!(unpacked(&packed(&[(path, b"x")])).is_err(), "{path}");
        }
        let mut absolute = header("aa", 0, 0).unwrap();
        absolute[0] = b'/';
        let sum = checksum(&absolute);
        absolute[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(entry(&absolute).is_err(), "an absolute path");
        let mut link = header("a", 0, 0).unwrap();
        link[156] = b'2';
        let sum = checksum(&link);
        link[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(unpacked(&[&link[..], &[0; 1024]].concat()).is_err());
    }
}
