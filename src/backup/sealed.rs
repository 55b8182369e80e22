//! The outside of a backup: its head, its key, and the sealed stream behind it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::format::{MembersIn, MembersOut};
use crate::seal::{
    CHUNK, DataKey, MasterKey, OpeningReader, RecoveryCode, SealError, SealingWriter, Use, WrappedKey, hex,
};
use crate::workspace::DataDir;

const MAGIC: &[u8; 8] = b"VYNBAK\r\n";
/// The format that this build writes.
pub const FORMAT: u32 = 1;
const LONGEST_HEAD: u32 = 64 * 1024;
/// What a key of a backup is wrapped for.
const PLACE: &str = "backup";
/// Bytes before the first chunk of a sealed stream, and a chunk's tag.
const STREAM_HEAD: u64 = 24;
const TAG: u64 = 16;

/// What stands in front, readable without a key: nothing about anybody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    pub format: u32,
    /// The version of Vynos that made it.
    pub vynos: String,
    pub made: Timestamp,
    /// The fingerprint of the master key that opens it.
    pub master: String,
    /// Its key, wrapped by the master key; base64.
    key: String,
    /// Its key once more; none before setup has made a recovery code.
    recovery: Option<Recovery>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Recovery {
    /// The recovery key of the instance, wrapped by the recovery code.
    code: String,
    /// The key of the backup, wrapped by the recovery key; base64.
    key: String,
}

/// What opens a backup.
pub enum Opener<'a> {
    Code(&'a RecoveryCode),
    /// The master key that the server holds.
    Instance(&'a DataDir),
    Master(&'a MasterKey),
}

/// The key that wraps data keys inside a backup.
pub fn wrapping(key: &DataKey) -> crate::seal::SubKey {
    key.sub(Use::Records)
}

/// Writes the head of a new backup and begins its stream. `recovery` is what the settings of the instance hold.
pub fn begin<W: Write>(
    mut to: W,
    data: &DataDir,
    recovery: Option<String>,
    made: Timestamp,
) -> Result<(DataKey, MembersOut<SealingWriter<W>>), BackupError> {
    let key = DataKey::new();
    let recovery = recovery
        .map(|code| {
            let WrappedKey(wrapped) = data.recovery_key()?.sub(Use::Backup).wrap(&key, PLACE);
            Ok::<_, BackupError>(Recovery { code, key: STANDARD_NO_PAD.encode(wrapped) })
        })
        .transpose()?;
    let head = Head {
        format: FORMAT,
        vynos: env!("CARGO_PKG_VERSION").to_owned(),
        made,
        master: data.fingerprint(),
        key: STANDARD_NO_PAD.encode(data.wrap_for_backup(&key, PLACE).0),
        recovery,
    };
    let json = serde_json::to_vec(&head).map_err(io::Error::other)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let bytes = [MAGIC.as_slice(), &length.to_be_bytes(), &json].concat();
    let hash = digest(&SHA256, &bytes);
    to.write_all(&bytes)?;
    to.write_all(hash.as_ref())?;
    let stream = SealingWriter::new(to, &key.sub(Use::Backup), &hex(hash.as_ref()))?;
    Ok((key, MembersOut::new(stream)))
}

/// A backup whose head was read.
pub struct Sealed {
    pub head: Head,
    file: File,
    /// Where the stream begins, and its name.
    start: u64,
    name: String,
}

/// What a stream is read from.
pub type Stream = OpeningReader<BufReader<Section>>;

impl Sealed {
    /// Reads the head of the file at `path`.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let at = |e: io::Error| BackupError::Io(io::Error::new(e.kind(), format!("{}: {e}", path.display())));
        let mut file = File::open(path).map_err(at)?;
        let mut front = [0; 12];
        file.read_exact(&mut front).map_err(|_| BackupError::NotABackup)?;
        let (magic, length) = front.split_at(8);
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default());
        if magic != MAGIC || length > LONGEST_HEAD {
            return Err(BackupError::NotABackup);
        }
        let mut rest = vec![0; length as usize + 32];
        let broken = |why: &str| BackupError::Broken { place: "its head".into(), why: why.to_owned() };
        file.read_exact(&mut rest).map_err(|_| broken("it was cut short"))?;
        let (json, sum) = rest.split_at(length as usize);
        let hash = digest(&SHA256, &[front.as_slice(), json].concat());
        if hash.as_ref() != sum {
            return Err(broken("the checksum does not fit"));
        }
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(json).map_err(|e| broken(&e.to_string()))?;
        if format > FORMAT {
            return Err(BackupError::Newer(format));
        }
        let head = serde_json::from_slice(json).map_err(|e| broken(&e.to_string()))?;
        Ok(Self { head, file, start: 12 + u64::from(length) + 32, name: hex(hash.as_ref()) })
    }

    /// Unwraps the key of the backup.
    pub fn key(&self, with: &Opener<'_>) -> Result<DataKey, BackupError> {
        let wrapped = |text: &str| {
            let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| BackupError::Broken {
                place: "its head".into(),
                why: "a wrapped key can't be read".into(),
            });
            bytes.map(WrappedKey)
        };
        let opened = match with {
            Opener::Instance(data) => data.unwrap_of_backup(&wrapped(&self.head.key)?, PLACE),
            Opener::Master(master) => master.unwrap_key(&wrapped(&self.head.key)?, PLACE),
            Opener::Code(code) => {
                let Some(recovery) = &self.head.recovery else {
                    return Err(BackupError::Key(
                        "this backup was made before the instance had a recovery code: give the master key"
                            .into(),
                    ));
                };
                let outer = code.unwrap_key(&recovery.code);
                let wrapped = wrapped(&recovery.key)?;
                outer.and_then(|outer| outer.sub(Use::Backup).unwrap_key(&wrapped, PLACE))
            }
        };
        opened.map_err(|error| match (error, with) {
            (SealError::WrongKey, Opener::Master(master)) => BackupError::Key(format!(
                "the master key {} does not open this backup, which was sealed by {}: give that key with --backup-key-file, or \
                 the recovery code with --recovery-code-file",
                master.fingerprint(),
                self.head.master
            )),
            (SealError::WrongKey, Opener::Instance(_)) => {
                BackupError::Key("this backup was sealed by another master key".into())
            }
            (SealError::WrongKey, Opener::Code(_)) => BackupError::Key(
                "this recovery code does not open this backup: it is of another instance. Nothing was changed".into(),
            ),
            (other, _) => other.into(),
        })
    }

    /// Begins to read the members.
    pub fn members(&self, key: &DataKey) -> Result<MembersIn<Stream>, BackupError> {
        let section = Section { file: self.file.try_clone()?, start: self.start };
        let stream = OpeningReader::new(BufReader::new(section), &key.sub(Use::Backup), &self.name);
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => BackupError::Broken {
                place: "the end of the file".into(),
                why: "it was cut short, or the last part or the beginning of the sealed stream was changed"
                    .into(),
            },
            _ => error.into(),
        })?;
        Ok(MembersIn::new(stream))
    }

    /// Which bytes of the file hold the plain byte `at` of the stream: for telling what is damaged.
    pub fn bytes_around(&self, at: u64) -> (u64, u64) {
        let chunk = CHUNK as u64;
        let from = self.start + STREAM_HEAD + at / chunk * (chunk + TAG);
        (from, from + chunk + TAG - 1)
    }
}

/// A file from some place on.
pub struct Section {
    file: File,
    start: u64,
}

impl Read for Section {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.file.read(out)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.start.saturating_add(at)),
            other => other,
        };
        let at = self.file.seek(to)?;
        at.checked_sub(self.start).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}
