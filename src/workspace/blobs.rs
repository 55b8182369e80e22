//! Large files of a workspace: uploads and snapshots, sealed in chunks under random names. A person's file
//! name is metadata in a row, never part of a path.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Random;
use crate::seal::{OpeningReader, SealingWriter, SubKey};

/// The random name of a blob: 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobName(String);

impl BlobName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobName {
    type Err = io::Error;
    fn from_str(text: &str) -> io::Result<Self> {
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a blob name"))
        }
    }
}

impl TryFrom<String> for BlobName {
    type Error = io::Error;
    fn try_from(text: String) -> io::Result<Self> {
        text.parse()
    }
}

impl From<BlobName> for String {
    fn from(name: BlobName) -> Self {
        name.0
    }
}

/// The folder of sealed files. All calls block: use a blocking thread.
pub struct Blobs {
    folder: PathBuf,
    key: SubKey,
    random: Random,
    /// Held for the moment in which a backup takes hold of all that is there.
    removing: Mutex<()>,
}

impl Blobs {
    pub(super) fn new(folder: PathBuf, key: SubKey, random: Random) -> Self {
        Self { folder, key, random, removing: Mutex::default() }
    }

    /// Begins a new blob. It exists under its name only after [`NewBlob::finish`].
    pub fn create(&self) -> io::Result<NewBlob> {
        self.begin(crate::seal::hex(&self.random.bytes::<16>()))
    }

    fn begin(&self, name: String) -> io::Result<NewBlob> {
        fs::create_dir_all(&self.folder)?;
        let temporary = self.folder.join(format!("{name}.new"));
        let file = BufWriter::new(File::options().write(true).create_new(true).open(&temporary)?);
        let writer = SealingWriter::new(file, &self.key, &name)?;
        Ok(NewBlob { name, folder: self.folder.clone(), temporary, writer: Some(writer) })
    }

    /// Opens a blob for reading and seeking.
    pub fn open(&self, name: &BlobName) -> io::Result<OpeningReader<BufReader<File>>> {
        OpeningReader::new(BufReader::new(File::open(self.folder.join(&name.0))?), &self.key, &name.0)
    }

    /// The whole blob, at most `most` bytes of it.
    pub fn read(&self, name: &BlobName, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(name)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Stores `bytes` as a new blob.
    pub fn put(&self, bytes: &[u8]) -> io::Result<BlobName> {
        let mut blob = self.create()?;
        blob.write_all(bytes)?;
        blob.finish()
    }

    /// Stores what `from` reads under the name it had elsewhere: for a restore.
    pub(super) fn restore(&self, name: &BlobName, from: &mut dyn Read) -> io::Result<()> {
        let mut blob = self.begin(name.0.clone())?;
        io::copy(from, &mut blob)?;
        blob.finish().map(|_| ())
    }

    /// Until this is dropped no blob goes. For milliseconds: whoever removes one waits.
    pub(super) fn none_goes(&self) -> MutexGuard<'_, ()> {
        self.removing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blobs that are there, by name.
    pub(super) fn names(&self) -> io::Result<Vec<BlobName>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // What is being written has no name of a blob yet.
            names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<BlobName>().ok()));
        }
        Ok(names)
    }

    /// A second way to a blob below `folder`, which stays when the blob is removed.
    pub(super) fn link(&self, name: &BlobName, folder: &std::path::Path) -> io::Result<()> {
        fs::hard_link(self.folder.join(&name.0), folder.join(&name.0))
    }

    /// Opens what [`Blobs::link`] made.
    pub(super) fn open_linked(
        &self,
        name: &BlobName,
        folder: &std::path::Path,
    ) -> io::Result<OpeningReader<BufReader<File>>> {
        OpeningReader::new(BufReader::new(File::open(folder.join(&name.0))?), &self.key, &name.0)
    }

    /// Unlinks a blob; one that is gone already is fine.
    pub fn remove(&self, name: &BlobName) -> io::Result<()> {
        let _going = self.none_goes();
        match fs::remove_file(self.folder.join(&name.0)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Removes what a crash left half-written.
    pub(super) fn sweep(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "new") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// A blob being written; dropped unfinished, it leaves nothing behind.
pub struct NewBlob {
    name: String,
    folder: PathBuf,
    temporary: PathBuf,
    writer: Option<SealingWriter<BufWriter<File>>>,
}

impl NewBlob {
    /// Syncs the blob and gives it its name.
    pub fn finish(mut self) -> io::Result<BlobName> {
        let writer = self.writer.take().ok_or_else(|| io::Error::other("blob ended already"))?;
        let file = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&self.temporary, self.folder.join(&self.name))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(BlobName(self.name.clone()))
    }
}

impl Write for NewBlob {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(data),
            None => Err(io::Error::other("blob ended already")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        // After `finish` the temporary name is gone, and this does nothing.
        let _ = fs::remove_file(&self.temporary);
    }
}
