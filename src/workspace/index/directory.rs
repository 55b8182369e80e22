//! tantivy's files, sealed. One file:
//!
//! ```text
//! magic 8 | salt 16 | chunks: ciphertext of at most 16 KiB, then a 16-byte tag
//! ```
//!
//! * A file's key = HKDF(index key, salt, file name); a chunk's nonce = its number and whether it is the last
//!   (`seal::seal_file_chunk`). Files are written once under a fresh salt, so no nonce repeats; truncated,
//!   reordered, renamed and foreign files do not open.
//! * The last chunk is opened with the file: it proves the length. All others are opened when they are read.
//! * Opened chunks are kept in one [`ChunkCache`] of the process, under a keyed hash of the file's identity:
//!   a copy of a file under another key or name never meets what the cache holds of the first.
//! * Locks are `flock`s, so the kernel releases them with the process. Nothing is watched: readers are
//!   reloaded after our own commits (`ReloadPolicy::Manual`).
//!
//! The index is derived from the keyspace. Any error here means: build it again.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use ring::aead::LessSafeKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite, WatchCallback,
    WatchHandle, WritePtr,
};

use crate::seal::{SealError, SubKey, open_file_chunk, seal_file_chunk};

/// Plain bytes in one chunk.
pub const CHUNK: usize = 16 * 1024;
const MAGIC: &[u8; 8] = b"VYNI\x01\r\n\x1a";
const HEAD: usize = 24;
const TAG: usize = 16;
const STRIDE: usize = CHUNK + TAG;
/// Reads of more chunks than this (merges, term dictionaries) go past the cache, or they would wash it out.
const LONG_READ: usize = 8;

/// A folder of sealed files that tantivy reads and writes. Open a folder once and clone the value.
#[derive(Clone)]
pub struct SealedDirectory {
    root: Arc<Path>,
    key: SubKey,
    cache: Arc<ChunkCache>,
    /// Held while a file is replaced: the temporary name is one for all.
    replacing: Arc<Mutex<()>>,
}

impl SealedDirectory {
    /// Opens the folder `root`, making it if absent. `key` is the workspace's index key; `cache` is the one of
    /// the process.
    pub fn open(root: &Path, key: SubKey, cache: Arc<ChunkCache>) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self { root: root.into(), key, cache, replacing: Arc::default() })
    }

    /// Where the file called `name` lies. tantivy's names are flat; anything else is refused.
    fn place(&self, name: &Path) -> io::Result<PathBuf> {
        let mut parts = name.components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(part)), None) => Ok(self.root.join(part)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of an index file")),
        }
    }

    fn reader(&self, name: &Path) -> io::Result<Reader> {
        Reader::open(File::open(self.place(name)?)?, &self.key, name, &self.cache)
    }

    fn replace(&self, name: &Path, data: &[u8]) -> io::Result<()> {
        let _alone = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, temporary) = (self.place(name)?, self.root.join("replacement.new"));
        let mut writer = Writer::new(File::create(&temporary)?, &self.key, name)?;
        writer.write_all(data)?;
        writer.finish()?.sync_data()?;
        fs::rename(temporary, place)?;
        // A commit is acknowledged once `meta.json` stands, and the files it no longer names are removed then.
        if name == Path::new("meta.json") { self.sync_directory() } else { Ok(()) }
    }
}

impl fmt::Debug for SealedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedDirectory({})", self.root.display())
    }
}

impl Directory for SealedDirectory {
    fn get_file_handle(&self, name: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let reader = self.reader(name).map_err(|e| not_read(e, name))?;
        Ok(Arc::new(reader))
    }

    fn delete(&self, name: &Path) -> Result<(), DeleteError> {
        self.place(name).and_then(fs::remove_file).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(name.into()),
            _ => DeleteError::IoError { io_error: Arc::new(e), filepath: name.into() },
        })
    }

    fn exists(&self, name: &Path) -> Result<bool, OpenReadError> {
        self.place(name).and_then(|place| place.try_exists()).map_err(|e| not_read(e, name))
    }

    fn open_write(&self, name: &Path) -> Result<WritePtr, OpenWriteError> {
        let begin = || {
            let file = File::options().write(true).create_new(true).open(self.place(name)?)?;
            Writer::new(file, &self.key, name)
        };
        let writer = begin().map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(name.into()),
            _ => OpenWriteError::wrap_io_error(e, name.into()),
        })?;
        Ok(BufWriter::new(Box::new(writer)))
    }

    fn atomic_read(&self, name: &Path) -> Result<Vec<u8>, OpenReadError> {
        let read = || {
            let reader = self.reader(name)?;
            reader.gather(0..reader.len)
        };
        read().map_err(|e| not_read(e, name))
    }

    fn atomic_write(&self, name: &Path, data: &[u8]) -> io::Result<()> {
        self.replace(name, data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_data()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        let open =
            || File::options().write(true).create(true).truncate(false).open(self.place(&lock.filepath)?);
        let file = open().map_err(LockError::wrap_io_error)?;
        if lock.is_blocking {
            file.lock().map_err(LockError::wrap_io_error)?;
        } else {
            file.try_lock().map_err(|e| match e {
                TryLockError::Error(e) => LockError::wrap_io_error(e),
                TryLockError::WouldBlock => LockError::LockBusy,
            })?;
        }
        Ok(DirectoryLock::from(Box::new(file)))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

fn not_read(error: io::Error, name: &Path) -> OpenReadError {
    match error.kind() {
        io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(name.into()),
        _ => OpenReadError::wrap_io_error(error, name.into()),
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, SealError::Damaged)
}

/// Opened chunks of all indexes of the process, the least recently used leaving first.
pub struct ChunkCache(Mutex<LruCache<ChunkId, Arc<[u8]>>>);

impl ChunkCache {
    /// A cache of at most `bytes` bytes of plain text, and one chunk at least.
    pub fn new(bytes: usize) -> Arc<Self> {
        let chunks = NonZeroUsize::new(bytes / CHUNK).unwrap_or(NonZeroUsize::MIN);
        Arc::new(Self(Mutex::new(LruCache::new(chunks))))
    }

    fn find(&self, id: ChunkId) -> Option<Arc<[u8]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn keep(&self, id: ChunkId, chunk: Arc<[u8]>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(id, chunk);
    }
}

impl fmt::Debug for ChunkCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkCache")
    }
}

/// One chunk of one file. `file` is a keyed hash of the file's key: the same for every opening of the file,
/// another for any other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ChunkId {
    file: [u8; 32],
    number: u64,
}

fn file_key(key: &SubKey, salt: &[u8], name: &Path) -> SubKey {
    key.for_file(salt, name.as_os_str().as_encoded_bytes())
}

struct Reader {
    file: File,
    key: LessSafeKey,
    /// [`ChunkId::file`] of its chunks.
    identity: [u8; 32],
    /// Plain bytes.
    len: usize,
    chunks: u64,
    cache: Arc<ChunkCache>,
}

impl Reader {
    fn open(file: File, key: &SubKey, name: &Path, cache: &Arc<ChunkCache>) -> io::Result<Self> {
        let total = usize::try_from(file.metadata()?.len()).map_err(|_| damaged())?;
        let body = total.checked_sub(HEAD).ok_or_else(damaged)?;
        let chunks = body.div_ceil(STRIDE);
        // The last chunk has its tag, or the file was cut.
        if chunks == 0 || body - (chunks - 1) * STRIDE < TAG {
            return Err(damaged());
        }
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        let (magic, salt) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged());
        }
        let key = file_key(key, salt, name);
        let reader = Self {
            file,
            identity: key.lookup(b"index cache"),
            key: key.aead(),
            len: body - chunks * TAG,
            chunks: chunks as u64,
            cache: Arc::clone(cache),
        };
        // Never from the cache: a file that was cut since must not pass for whole.
        let last = reader.chunks - 1;
        reader.cache.keep(reader.id(last), reader.load(last)?.into());
        Ok(reader)
    }

    fn id(&self, number: u64) -> ChunkId {
        ChunkId { file: self.identity, number }
    }

    /// Reads and opens chunk `number` from the disk.
    fn load(&self, number: u64) -> io::Result<Vec<u8>> {
        let start = number as usize * CHUNK;
        let mut chunk = vec![0; CHUNK.min(self.len - start) + TAG];
        self.file
            .read_exact_at(&mut chunk, HEAD as u64 + number * STRIDE as u64)
            .map_err(|e| if e.kind() == io::ErrorKind::UnexpectedEof { damaged() } else { e })?;
        open_file_chunk(&self.key, number, number + 1 == self.chunks, &mut chunk)?;
        Ok(chunk)
    }

    fn chunk(&self, number: u64) -> io::Result<Arc<[u8]>> {
        if let Some(chunk) = self.cache.find(self.id(number)) {
            return Ok(chunk);
        }
        let chunk: Arc<[u8]> = self.load(number)?.into();
        self.cache.keep(self.id(number), Arc::clone(&chunk));
        Ok(chunk)
    }

    /// Copies a range that may cross chunks.
    fn gather(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(range.len());
        let long = range.len() > LONG_READ * CHUNK;
        while out.len() < range.len() {
            let at = range.start + out.len();
            let (number, from) = ((at / CHUNK) as u64, at % CHUNK);
            let to = (from + range.end - at).min(CHUNK);
            if long {
                out.extend_from_slice(self.load(number)?.get(from..to).ok_or_else(damaged)?);
            } else {
                out.extend_from_slice(self.chunk(number)?.get(from..to).ok_or_else(damaged)?);
            }
        }
        Ok(out)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sealed index file of {} bytes", self.len)
    }
}

impl HasLen for Reader {
    fn len(&self) -> usize {
        self.len
    }
}

impl FileHandle for Reader {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.start > range.end || range.end > self.len {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a read past the end of an index file"));
        }
        if range.is_empty() {
            return Ok(OwnedBytes::empty());
        }
        let first = range.start / CHUNK;
        if first == (range.end - 1) / CHUNK {
            let base = first * CHUNK;
            let chunk = OwnedBytes::new(self.chunk(first as u64)?);
            return Ok(chunk.slice(range.start - base..range.end - base));
        }
        Ok(OwnedBytes::new(self.gather(range)?))
    }
}

/// Seals what is written to it. Without its last chunk the file never opens.
struct Writer<W> {
    /// `None` after a failed write. tantivy's buffer writes once more when it is dropped, and sealing a chunk
    /// number twice would repeat a nonce.
    to: Option<W>,
    key: LessSafeKey,
    buffer: Vec<u8>,
    number: u64,
}

impl<W: Write> Writer<W> {
    fn new(mut to: W, key: &SubKey, name: &Path) -> io::Result<Self> {
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| io::Error::other("no randomness"))?;
        to.write_all(MAGIC)?;
        to.write_all(&salt)?;
        let key = file_key(key, &salt, name).aead();
        Ok(Self { to: Some(to), key, buffer: Vec::with_capacity(STRIDE), number: 0 })
    }

    fn finish(&mut self) -> io::Result<W> {
        self.emit(true)
    }

    /// Seals and writes the buffered chunk and answers the file, which the caller puts back if more follows.
    fn emit(&mut self, last: bool) -> io::Result<W> {
        let mut to =
            self.to.take().ok_or_else(|| io::Error::other("writing this index file failed before"))?;
        seal_file_chunk(&self.key, self.number, last, &mut self.buffer)?;
        to.write_all(&self.buffer)?;
        self.buffer.clear();
        self.number += 1;
        Ok(to)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= CHUNK {
            self.to = Some(self.emit(false)?);
        }
        let n = data.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&data[..n]);
        Ok(n)
    }

    /// Nothing to do: a part of a chunk can't be sealed, and readers come after `terminate`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for Writer<File> {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.finish()?.sync_data()
    }
}
