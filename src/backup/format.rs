//! What stands in a backup, without its seals: members one after the other, each a head and blocks, closed by its length
//! and SHA-256; then a trailer that counts them, so that a backup without its end is none.
//!
//! ```text
//! member   1 · u32 length · head as JSON · blocks (u32 length · bytes) · u32 0 · u64 bytes · SHA-256 of the bytes
//! trailer  0 · u64 members · SHA-256 over every member's head, bytes and SHA-256
//! rows     1 · u16 length · table     2 · u32 length · key · u32 length · value     0 · u64 rows
//! ```
//! Numbers are big endian.

use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::ids::WorkspaceId;
use crate::seal::hex;

/// Most bytes of a block.
const BLOCK: usize = 64 * 1024;
const LONGEST_HEAD: u32 = 4096;
const LONGEST_KEY: u32 = 1 << 20;
const LONGEST_VALUE: u32 = 256 << 20;

/// What a member holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Member {
    /// A large file of the workspace before it.
    Blob { workspace: WorkspaceId, name: String },
    /// The rows of the control file.
    Control {},
    /// A data key, sealed under the key of the backup: of `control`, `recovery` or a workspace.
    Key { place: String },
    /// The format number of the data directory.
    Version {},
    /// The rows of a workspace.
    Workspace { id: WorkspaceId },
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blob { workspace, name } => write!(f, "file {name} of workspace {workspace}"),
            Self::Control {} => f.write_str("rows of the control file"),
            Self::Key { place } => write!(f, "key of {place}"),
            Self::Version {} => f.write_str("format number"),
            Self::Workspace { id } => write!(f, "rows of workspace {id}"),
        }
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// Writes members.
pub struct MembersOut<W> {
    to: W,
    block: Vec<u8>,
    bytes: u64,
    member: Context,
    members: u64,
    all: Context,
}

impl<W: Write> MembersOut<W> {
    pub fn new(to: W) -> Self {
        let (member, all) = (Context::new(&SHA256), Context::new(&SHA256));
        Self { to, block: Vec::with_capacity(BLOCK), bytes: 0, member, members: 0, all }
    }

    /// Begins a member; its bytes are what is written until [`MembersOut::end`].
    pub fn begin(&mut self, member: &Member) -> io::Result<()> {
        let head = serde_json::to_vec(member)?;
        let length = u32::try_from(head.len()).map_err(|_| bad("the head of a member is too long"))?;
        self.to.write_all(&[1])?;
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(&head)?;
        self.all.update(&head);
        (self.bytes, self.member) = (0, Context::new(&SHA256));
        Ok(())
    }

    /// Ends the member that was begun.
    pub fn end(&mut self) -> io::Result<()> {
        self.emit()?;
        let member = std::mem::replace(&mut self.member, Context::new(&SHA256)).finish();
        self.to.write_all(&0u32.to_be_bytes())?;
        self.to.write_all(&self.bytes.to_be_bytes())?;
        self.to.write_all(member.as_ref())?;
        self.all.update(&self.bytes.to_be_bytes());
        self.all.update(member.as_ref());
        self.members += 1;
        Ok(())
    }

    /// Writes the trailer and hands back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0])?;
        self.to.write_all(&self.members.to_be_bytes())?;
        self.to.write_all(self.all.finish().as_ref())?;
        Ok(self.to)
    }

    fn emit(&mut self) -> io::Result<()> {
        if let Ok(length @ 1..) = u32::try_from(self.block.len()) {
            self.to.write_all(&length.to_be_bytes())?;
            self.to.write_all(&self.block)?;
            self.member.update(&self.block);
            self.bytes += u64::from(length);
            self.block.clear();
        }
        Ok(())
    }
}

impl<W: Write> Write for MembersOut<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            self.emit()?;
        }
        let n = data.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&data[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads members. What it hands out of a member is certain only once its end was read.
pub struct MembersIn<R> {
    from: R,
    /// In a member: bytes left of its block, or `None` behind its end.
    left: Option<u32>,
    bytes: u64,
    member: Context,
    members: u64,
    all: Context,
    ended: bool,
}

impl<R: Read> MembersIn<R> {
    pub fn new(from: R) -> Self {
        let (member, all) = (Context::new(&SHA256), Context::new(&SHA256));
        Self { from, left: None, bytes: 0, member, members: 0, all, ended: false }
    }

    /// What is read from.
    pub fn inner(&self) -> &R {
        &self.from
    }

    /// The next member, or `None` behind the last one. Skips what is left of the one before.
    pub fn advance(&mut self) -> io::Result<Option<Member>> {
        if self.left.is_some() {
            io::copy(self, &mut io::sink())?;
        }
        if self.ended {
            return Ok(None);
        }
        match self.array::<1>()? {
            [1] => {}
            [0] => return self.trailer().map(|()| None),
            _ => return Err(bad("a member begins wrongly")),
        }
        let length = u32::from_be_bytes(self.array()?);
        if length > LONGEST_HEAD {
            return Err(bad("the head of a member is too long"));
        }
        let head = exactly(&mut self.from, length)?;
        let member = serde_json::from_slice(&head).map_err(|_| bad("a member is of an unknown kind"))?;
        self.all.update(&head);
        (self.bytes, self.member, self.left) = (0, Context::new(&SHA256), Some(0));
        Ok(Some(member))
    }

    fn trailer(&mut self) -> io::Result<()> {
        self.ended = true;
        let members = u64::from_be_bytes(self.array()?);
        let sum: [u8; 32] = self.array()?;
        let all = std::mem::replace(&mut self.all, Context::new(&SHA256)).finish();
        if members != self.members || sum != all.as_ref() {
            return Err(bad("the list of members does not fit"));
        }
        match self.from.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(bad("something follows the end")),
        }
    }

    /// Goes to the next block and answers its length; 0 at the end of the member, whose length and checksum then fit.
    fn next_block(&mut self) -> io::Result<u32> {
        let length = u32::from_be_bytes(self.array()?);
        if length as usize > BLOCK {
            return Err(bad("a block is too long"));
        }
        if length > 0 {
            self.left = Some(length);
            return Ok(length);
        }
        self.left = None;
        let bytes = u64::from_be_bytes(self.array()?);
        let sum: [u8; 32] = self.array()?;
        let member = std::mem::replace(&mut self.member, Context::new(&SHA256)).finish();
        if bytes != self.bytes {
            return Err(bad("the length does not fit"));
        }
        if sum != member.as_ref() {
            return Err(bad(&format!(
                "the checksum does not fit: {} instead of {}",
                hex(member.as_ref()),
                hex(&sum)
            )));
        }
        self.all.update(&bytes.to_be_bytes());
        self.all.update(&sum);
        self.members += 1;
        Ok(0)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read> Read for MembersIn<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let left = match self.left {
            None => return Ok(0),
            Some(0) => match self.next_block()? {
                0 => return Ok(0),
                length => length,
            },
            Some(left) => left,
        };
        let most = out.len().min(left as usize);
        let n = self.from.read(&mut out[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.member.update(&out[..n]);
        self.bytes += n as u64;
        self.left = Some(left - u32::try_from(n).unwrap_or(left));
        Ok(n)
    }
}

/// Writes the rows of a file into a member.
pub struct RowsOut<'a, W> {
    to: &'a mut W,
    table: String,
    rows: u64,
}

impl<'a, W: Write> RowsOut<'a, W> {
    pub fn new(to: &'a mut W) -> Self {
        Self { to, table: String::new(), rows: 0 }
    }

    /// The next row; rows of one table follow each other.
    pub fn row(&mut self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.table != table {
            let length = u16::try_from(table.len()).map_err(|_| bad("the name of a table is too long"))?;
            self.to.write_all(&[1])?;
            self.to.write_all(&length.to_be_bytes())?;
            self.to.write_all(table.as_bytes())?;
            table.clone_into(&mut self.table);
        }
        self.to.write_all(&[2])?;
        for (part, longest) in [(key, LONGEST_KEY), (value, LONGEST_VALUE)] {
            let length = u32::try_from(part.len()).ok().filter(|length| *length <= longest);
            self.to.write_all(&length.ok_or_else(|| bad("a row is too long"))?.to_be_bytes())?;
            self.to.write_all(part)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Ends the rows; answers how many there were.
    pub fn finish(self) -> io::Result<u64> {
        self.to.write_all(&[0])?;
        self.to.write_all(&self.rows.to_be_bytes())?;
        Ok(self.rows)
    }
}

/// Reads what [`RowsOut`] wrote.
pub struct RowsIn<R> {
    from: R,
    /// The table of the row that was read last.
    pub table: String,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub rows: u64,
    ended: bool,
}

impl<R: Read> RowsIn<R> {
    pub fn new(from: R) -> Self {
        Self { from, table: String::new(), key: Vec::new(), value: Vec::new(), rows: 0, ended: false }
    }

    /// Reads the next row into `table`, `key` and `value`; answers false behind the last one.
    pub fn advance(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        loop {
            match self.array::<1>()? {
                [0] => {
                    self.ended = true;
                    let fits = u64::from_be_bytes(self.array()?) == self.rows;
                    return if fits { Ok(false) } else { Err(bad("the number of rows does not fit")) };
                }
                [1] => {
                    let length = u32::from(u16::from_be_bytes(self.array()?));
                    let name = String::from_utf8(exactly(&mut self.from, length)?);
                    self.table = name
                        .ok()
                        .filter(|name| !name.is_empty())
                        .ok_or_else(|| bad("a table has no name"))?;
                }
                [2] if !self.table.is_empty() => break,
                _ => return Err(bad("a row begins wrongly")),
            }
        }
        let key = u32::from_be_bytes(self.array()?);
        if key > LONGEST_KEY {
            return Err(bad("a key is too long"));
        }
        self.key = exactly(&mut self.from, key)?;
        let value = u32::from_be_bytes(self.array()?);
        if value > LONGEST_VALUE {
            return Err(bad("a value is too long"));
        }
        self.value = exactly(&mut self.from, value)?;
        self.rows += 1;
        Ok(true)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// So many bytes; takes memory only as they come.
fn exactly(from: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() == length as usize { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests;
