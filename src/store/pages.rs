//! The page-encrypting backend under redb. Physical layout:
//!
//! ```text
//! 0      superblock, copy A: magic 8 | salt 16 | HMAC 32, rest of the sector zero
//! 512    superblock, copy B
//! 1024   header slot A (one sector): number 8 | nonce 12 | tag 16 | pad 28 | sealed first 384 bytes of page 0
//! 1536   header slot B
//! 4096   units: page i >= 1 at 4096 + (i - 1) * 4128: nonce 12 | tag 16 | pad 4 | 4096 bytes of ciphertext
//! ```
//!
//! * Unit key = HKDF(sub-key, file salt). Associated data = page number (or header number).
//! * A nonce is 8 random bytes drawn at each open, then a 4-byte counter; the random part is drawn again
//!   when the counter wraps. So copies of one file that are both opened never repeat a nonce.
//! * redb never overwrites a page that the last durable commit can reach: a torn unit is one that redb's own
//!   repair rejects by checksum. Page 0 is the exception: it goes alternately to two one-sector slots, never
//!   to the one that was current at the last fsync.
//! * While repairing, a unit whose tag fails reads as zeros, because repair must see "bad checksum" and not
//!   an I/O error. At any other time a bad tag is an error, never data.

use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redb::{BackendError, StorageBackend};
use ring::aead;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::StoreError;
use crate::seal::{SubKey, constant_time_eq};

const PAGE: usize = 4096;
const STRIDE: usize = PAGE + 32;
const BASE: u64 = 4096;
const SECTOR: usize = 512;
const SLOTS: u64 = 1024;
/// redb 4 writes 320 bytes of page 0.
const HEADER: usize = 384;
const MAGIC: &[u8; 8] = b"VYNP\x01\r\n\x1a";

/// An open engine with what was noticed on the way.
#[derive(Debug)]
pub struct Opened {
    #[expect(clippy::disallowed_types, reason = "store is the one place that opens files")]
    pub db: redb::Database,
    /// Torn pages that repair left behind after a power loss.
    pub repaired_pages: u64,
}

/// Why opening over any backend failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("damaged: {0}")]
    Damaged(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("in use by another process")]
    Locked,
    #[error("sealed with another key")]
    WrongKey,
}

impl OpenError {
    fn at(self, path: &Path) -> StoreError {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match self {
            Self::Damaged(_) => StoreError::Damaged(name),
            Self::Io(e) => e.into(),
            Self::Locked => StoreError::Locked(path.display().to_string()),
            Self::WrongKey => StoreError::WrongKey(name),
        }
    }
}

/// Opens the file at `path`, repairing after a power loss.
pub fn open_file(path: &Path, key: &SubKey, cache: usize) -> Result<Opened, StoreError> {
    let make = || backend(path, false);
    open_with(make, key, cache).map_err(|e| e.at(path))
}

/// Makes the file at `path`: complete and synced under a temporary name, then renamed. Never replaces one.
pub fn create_file(path: &Path, key: &SubKey, cache: usize) -> Result<Opened, StoreError> {
    if path.exists() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match std::fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let make = || backend(&temporary, true);
    let opened = create_with(make, key, cache).map_err(|e| e.at(path))?;
    let folder: PathBuf = path.parent().map_or_else(|| ".".into(), Path::to_path_buf);
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(opened)
}

fn backend(path: &Path, create: bool) -> io::Result<redb::backends::FileBackend> {
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(create).open(path)?;
    redb::backends::FileBackend::new(file).map_err(|e| match e {
        redb::DatabaseError::DatabaseAlreadyOpen => io::Error::from(io::ErrorKind::ResourceBusy),
        other => io::Error::other(other.to_string()),
    })
}

/// Makes a new store over `make`'s empty backend.
pub fn create_with<B: StorageBackend>(
    make: impl Fn() -> io::Result<B>,
    key: &SubKey,
    cache: usize,
) -> Result<Opened, OpenError> {
    let file = PageFile::create(make()?, key)?;
    let (db, repaired_pages) = (engine(file, true, cache).0?, 0);
    Ok(Opened { db, repaired_pages })
}

/// Opens a store. Strictly first: a cleanly closed file shows no bad tag. Only when that fails because of one,
/// once leniently, so that redb's repair can reject torn pages by checksum; the repaired file is closed and
/// opened strictly again, so that no page read as zeros is ever served.
pub fn open_with<B: StorageBackend>(
    make: impl Fn() -> io::Result<B>,
    key: &SubKey,
    cache: usize,
) -> Result<Opened, OpenError> {
    let (opened, bad_tags) = engine(PageFile::open(make()?, key)?, true, cache);
    if opened.is_ok() || bad_tags == 0 {
        return opened.map(|db| Opened { db, repaired_pages: 0 });
    }
    drop(opened);
    drop(engine(PageFile::open(make()?, key)?, false, cache).0?);
    let (opened, _) = engine(PageFile::open(make()?, key)?, true, cache);
    opened.map(|db| Opened { db, repaired_pages: bad_tags })
}

#[expect(clippy::disallowed_types, reason = "store is the one place that opens files")]
fn engine<B: StorageBackend>(
    file: PageFile<B>,
    strict: bool,
    cache: usize,
) -> (Result<redb::Database, OpenError>, u64) {
    let notes = Arc::clone(&file.notes);
    notes.strict.store(strict, Ordering::Relaxed);
    let opened = catch_unwind(AssertUnwindSafe(|| {
        redb::Builder::new().set_cache_size(cache).create_with_backend(file)
    }));
    let result = match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => Err(OpenError::Locked),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(e))))
            if e.kind() != io::ErrorKind::InvalidData =>
        {
            Err(OpenError::Io(e))
        }
        Ok(Err(other)) => Err(OpenError::Damaged(other.to_string())),
        Err(_) => Err(OpenError::Damaged("the engine stopped while opening".into())),
    };
    // A strict open stays strict; a lenient one ends before anybody reads from it.
    (result, notes.bad_tags.load(Ordering::Relaxed))
}

#[derive(Debug, Default)]
struct Notes {
    strict: AtomicBool,
    bad_tags: AtomicU64,
}

/// redb's backend over another one: every page sealed.
pub struct PageFile<B> {
    inner: B,
    key: aead::LessSafeKey,
    nonces: Mutex<([u8; 8], u32)>,
    /// Read on the first call: redb takes its lock before it.
    header: OnceLock<Mutex<Header>>,
    notes: Arc<Notes>,
}

struct Header {
    page: [u8; HEADER],
    number: u64,
    current: u64,
    /// The slot that was current at the last fsync.
    durable: u64,
}

impl<B> std::fmt::Debug for PageFile<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageFile")
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut out = [0; N];
    SystemRandom::new().fill(&mut out).map_err(|_| io::Error::other("no randomness"))?;
    Ok(out)
}

impl<B: StorageBackend> PageFile<B> {
    /// Writes both superblocks to an empty backend and syncs them.
    pub fn create(inner: B, key: &SubKey) -> Result<Self, OpenError> {
        let salt = random::<16>()?;
        inner.set_len(BASE)?;
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(MAGIC);
        sector[8..24].copy_from_slice(&salt);
        let mac = superblock_mac(key, &sector);
        sector[24..56].copy_from_slice(&mac);
        inner.write(0, &sector)?;
        inner.write(SECTOR as u64, &sector)?;
        inner.sync_data()?;
        Self::with(inner, key, &salt)
    }

    /// Finds a good superblock; tells a wrong key from damage.
    pub fn open(inner: B, key: &SubKey) -> Result<Self, OpenError> {
        if inner.len()? < BASE {
            return Err(OpenError::Damaged("too short".into()));
        }
        let mut magic = false;
        for copy in 0..2 {
            let mut sector = [0; SECTOR];
            inner.read(copy * SECTOR as u64, &mut sector)?;
            magic |= &sector[..8] == MAGIC;
            if &sector[..8] == MAGIC && constant_time_eq(&superblock_mac(key, &sector), &sector[24..56]) {
                let salt = sector[8..24].to_vec();
                return Self::with(inner, key, &salt);
            }
        }
        Err(if magic { OpenError::WrongKey } else { OpenError::Damaged("no superblock".into()) })
    }

    fn with(inner: B, key: &SubKey, salt: &[u8]) -> Result<Self, OpenError> {
        let key = key.for_file(salt, b"pages").aead();
        let nonces = Mutex::new((random()?, 0));
        Ok(Self { inner, key, nonces, header: OnceLock::new(), notes: Arc::default() })
    }

    fn nonce(&self) -> io::Result<[u8; 12]> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let (prefix, counter) = *nonces;
        *nonces = match counter.checked_add(1) {
            Some(next) => (prefix, next),
            None => (random()?, 0),
        };
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&prefix);
        nonce[8..].copy_from_slice(&counter.to_be_bytes());
        Ok(nonce)
    }

    fn seal(&self, aad: &[u8], body: &mut [u8]) -> io::Result<([u8; 12], aead::Tag)> {
        let nonce = self.nonce()?;
        let unique = aead::Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(unique, aead::Aad::from(aad), body)
            .map_err(|_| bad("page can't be sealed"))?;
        Ok((nonce, tag))
    }

    fn opens(&self, nonce: [u8; 12], tag: &[u8], aad: &[u8], body: &mut [u8]) -> bool {
        let Ok(tag) = aead::Tag::try_from(tag) else { return false };
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.key.open_in_place_separate_tag(nonce, aead::Aad::from(aad), tag, body, 0..).is_ok()
    }

    fn header(&self) -> io::Result<&Mutex<Header>> {
        if let Some(header) = self.header.get() {
            return Ok(header);
        }
        let mut header = Header { page: [0; HEADER], number: 0, current: 0, durable: 1 };
        for slot in 0..2u64 {
            let mut sector = [0; SECTOR];
            self.inner.read(SLOTS + slot * SECTOR as u64, &mut sector)?;
            if sector == [0; SECTOR] {
                continue;
            }
            // A slot is one sector: it is old or new, never torn. Anything else is damage, and going on
            // with the older slot could serve pages that were reused since.
            let (number, page) =
                self.open_slot(&sector).ok_or_else(|| bad("header authentication failed"))?;
            if number > header.number {
                header = Header { page, number, current: slot, durable: slot };
            }
        }
        Ok(self.header.get_or_init(|| Mutex::new(header)))
    }

    fn open_slot(&self, sector: &[u8; SECTOR]) -> Option<(u64, [u8; HEADER])> {
        let number = u64::from_be_bytes(*sector.first_chunk()?);
        let nonce = *sector[8..].first_chunk::<12>()?;
        let mut page = *sector[64..].first_chunk::<HEADER>()?;
        let rest_is_zero = sector[36..64].iter().chain(&sector[64 + HEADER..]).all(|b| *b == 0);
        (rest_is_zero && self.opens(nonce, &sector[20..36], &header_aad(number), &mut page))
            .then_some((number, page))
    }

    fn write_header(&self, offset: usize, data: &[u8]) -> io::Result<()> {
        let mut header = self.header()?.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset + data.len();
        if end > HEADER {
            return Err(bad("the engine wrote past its header"));
        }
        let mut page = header.page;
        page[offset..end].copy_from_slice(data);
        let number = header.number + 1;
        let slot = 1 - header.durable;
        let mut sealed = page;
        let (nonce, tag) = self.seal(&header_aad(number), &mut sealed)?;
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(&number.to_be_bytes());
        sector[8..20].copy_from_slice(&nonce);
        sector[20..36].copy_from_slice(tag.as_ref());
        sector[64..64 + HEADER].copy_from_slice(&sealed);
        self.inner.write(SLOTS + slot * SECTOR as u64, &sector)?;
        (header.page, header.number, header.current) = (page, number, slot);
        Ok(())
    }

    fn open_unit(&self, page: u64, unit: &mut [u8], out: &mut [u8]) -> io::Result<()> {
        let (head, body) = unit.split_at_mut(32);
        let nonce = *head.first_chunk::<12>().ok_or_else(|| bad("unit"))?;
        if head.iter().all(|b| *b == 0) {
            // Never written: the body must be zero as well, or somebody wiped the head.
            if body.iter().all(|b| *b == 0) {
                out.fill(0);
                return Ok(());
            }
        } else if head[28..32] == [0; 4] && self.opens(nonce, &head[12..28], &page.to_be_bytes(), body) {
            out.copy_from_slice(body);
            return Ok(());
        }
        self.notes.bad_tags.fetch_add(1, Ordering::Relaxed);
        if self.notes.strict.load(Ordering::Relaxed) {
            return Err(bad("page authentication failed"));
        }
        out.fill(0);
        Ok(())
    }
}

fn superblock_mac(key: &SubKey, sector: &[u8; SECTOR]) -> [u8; 32] {
    key.for_file(b"", b"superblock").lookup(&sector[..24])
}

fn header_aad(number: u64) -> [u8; 11] {
    let mut aad = *b"hdr\0\0\0\0\0\0\0\0";
    aad[3..].copy_from_slice(&number.to_be_bytes());
    aad
}

fn physical(page: u64) -> u64 {
    BASE + (page - 1) * STRIDE as u64
}

/// First page and number of pages of an aligned range behind page 0.
fn aligned(offset: u64, len: usize) -> io::Result<(u64, usize)> {
    if !offset.is_multiple_of(PAGE as u64) || !len.is_multiple_of(PAGE) {
        return Err(bad("the engine's access is not aligned"));
    }
    Ok((offset / PAGE as u64, len / PAGE))
}

thread_local! {
    static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl<B: StorageBackend> StorageBackend for PageFile<B> {
    fn len(&self) -> io::Result<u64> {
        let physical = self.inner.len()?;
        if physical <= BASE {
            let header = self.header()?.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(if header.number == 0 { 0 } else { PAGE as u64 });
        }
        Ok(PAGE as u64 + (physical - BASE) / STRIDE as u64 * PAGE as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset < PAGE as u64 {
            let start = offset as usize;
            if start + out.len() > PAGE {
                return Err(bad("the engine read across its header"));
            }
            let header = self.header()?.lock().unwrap_or_else(PoisonError::into_inner);
            for (i, byte) in out.iter_mut().enumerate() {
                *byte = header.page.get(start + i).copied().unwrap_or(0);
            }
            return Ok(());
        }
        let (first, pages) = aligned(offset, out.len())?;
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(pages * STRIDE, 0);
            self.inner.read(physical(first), &mut buffer[..pages * STRIDE])?;
            for (i, (unit, out)) in buffer.chunks_mut(STRIDE).zip(out.chunks_mut(PAGE)).enumerate() {
                self.open_unit(first + i as u64, unit, out)?;
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (pages, _) = aligned(len, 0)?;
        self.inner.set_len(if pages <= 1 { BASE } else { physical(pages) })
    }

    fn sync_data(&self) -> io::Result<()> {
        let header = self.header()?;
        let current = header.lock().unwrap_or_else(PoisonError::into_inner).current;
        self.inner.sync_data()?;
        header.lock().unwrap_or_else(PoisonError::into_inner).durable = current;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset < PAGE as u64 {
            return self.write_header(offset as usize, data);
        }
        let (first, pages) = aligned(offset, data.len())?;
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(pages * STRIDE, 0);
            for (i, (unit, data)) in buffer.chunks_mut(STRIDE).zip(data.chunks(PAGE)).enumerate() {
                let (head, body) = unit.split_at_mut(32);
                body.copy_from_slice(data);
                let (nonce, tag) = self.seal(&(first + i as u64).to_be_bytes(), body)?;
                head[..12].copy_from_slice(&nonce);
                head[12..28].copy_from_slice(tag.as_ref());
                head[28..].fill(0);
            }
            self.inner.write(physical(first), &buffer[..pages * STRIDE])
        })
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
