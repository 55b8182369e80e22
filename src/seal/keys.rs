//! The envelope: one master key wraps one random data key per workspace (and one for control); every use
//! has its own sub-key.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{aead, hkdf, hmac};
use zeroize::Zeroizing;

use super::SealError;

const MASTER_PREFIX: &str = "vynos-master-key-1 ";
/// First byte of a wrapped key.
const WRAP_VERSION: u8 = 1;

/// 32 random bytes from the operating system. Keys and nonces never come from a seeded source.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    if SystemRandom::new().fill(&mut out).is_err() {
        // getrandom(2) cannot fail once the kernel's pool is seeded; a predictable key would be worse.
        std::process::abort();
    }
    out
}

/// The key of the installation, kept outside the data directory.
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Makes a key file: one line, `vynos-master-key-1 <base64>`, mode 0600. Never replaces a file.
    pub fn create(path: &Path) -> Result<Self, SealError> {
        let key = Self(Zeroizing::new(random()));
        let line = Zeroizing::new(format!("{MASTER_PREFIX}{}\n", STANDARD.encode(*key.0)));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| {
                if e.kind() == std::io::ErrorKind::AlreadyExists {
                    SealError::Exists(path.to_owned())
                } else {
                    e.into()
                }
            })?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        Ok(key)
    }

    /// Reads a key file; refuses one that others can read.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            return Err(SealError::Permissions(path.to_owned()));
        }
        let text = Zeroizing::new(fs::read_to_string(path)?);
        let bytes = text
            .trim()
            .strip_prefix(MASTER_PREFIX)
            .and_then(|base64| STANDARD.decode(base64.trim()).ok())
            .map(Zeroizing::new)
            .ok_or_else(|| SealError::NotAKey(path.to_owned()))?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| SealError::NotAKey(path.to_owned()))?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// Eight hex digits that tell two keys apart and nothing else.
    pub fn fingerprint(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &derive(&self.0, b"", b"vynos 1 fingerprint"));
        super::hex(&hmac::sign(&key, b"").as_ref()[..4])
    }

    /// Seals a data key for `place` (a workspace id, or `control`).
    pub fn wrap(&self, key: &DataKey, place: &str) -> WrappedKey {
        wrap(&derive(&self.0, b"", b"vynos 1 wrap"), key, place)
    }

    /// Opens a data key that was wrapped for `place`.
    pub fn unwrap_key(&self, wrapped: &WrappedKey, place: &str) -> Result<DataKey, SealError> {
        unwrap(&derive(&self.0, b"", b"vynos 1 wrap"), wrapped, place)
    }
}

/// A sealed data key: version 1, nonce 12, ciphertext 32, tag 16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey(pub Vec<u8>);

pub(super) fn wrap(key: &[u8; 32], data: &DataKey, place: &str) -> WrappedKey {
    let nonce = random::<12>();
    let mut body = *data.0;
    let tag = aead_key(key).seal_in_place_separate_tag(
        aead::Nonce::assume_unique_for_key(nonce),
        aead::Aad::from(place.as_bytes()),
        &mut body,
    );
    // Sealing 32 bytes can only fail for lengths near 2^36; an empty tag would then never open.
    let tag = tag.map(|t| t.as_ref().to_vec()).unwrap_or_default();
    WrappedKey([&[WRAP_VERSION][..], &nonce, &body, &tag].concat())
}

pub(super) fn unwrap(key: &[u8; 32], wrapped: &WrappedKey, place: &str) -> Result<DataKey, SealError> {
    let (version, rest) = wrapped.0.split_first().ok_or(SealError::Damaged)?;
    let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or(SealError::Damaged)?;
    if *version != WRAP_VERSION || sealed.len() != 48 {
        return Err(SealError::Damaged);
    }
    let mut body = Zeroizing::new(sealed.to_vec());
    let plain = aead_key(key)
        .open_in_place(
            aead::Nonce::assume_unique_for_key(*nonce),
            aead::Aad::from(place.as_bytes()),
            &mut body,
        )
        .map_err(|_| SealError::WrongKey)?;
    let bytes = <[u8; 32]>::try_from(&*plain).map_err(|_| SealError::Damaged)?;
    Ok(DataKey(Zeroizing::new(bytes)))
}

/// The key of one workspace, or of control. Everything of it on disk opens only with it.
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// A new random key.
    #[expect(clippy::new_without_default, reason = "a default key would be a wrong idea")]
    pub fn new() -> Self {
        Self(Zeroizing::new(random()))
    }

    /// The key for one use: HKDF-SHA256 with the use's name as info.
    pub fn sub(&self, usage: Use) -> SubKey {
        SubKey(Zeroizing::new(derive(&self.0, b"", usage.info())))
    }
}

/// What a sub-key is for. Names are part of the format: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Audit,
    Backup,
    Blobs,
    Index,
    Lookups,
    Pages,
    Records,
}

impl Use {
    const fn info(self) -> &'static [u8] {
        match self {
            Self::Audit => b"vynos 1 audit",
            Self::Backup => b"vynos 1 backup",
            Self::Blobs => b"vynos 1 blobs",
            Self::Index => b"vynos 1 index",
            Self::Lookups => b"vynos 1 lookups",
            Self::Pages => b"vynos 1 pages",
            Self::Records => b"vynos 1 records",
        }
    }
}

/// A key for one use of one data key.
#[derive(Clone)]
pub struct SubKey(Zeroizing<[u8; 32]>);

impl SubKey {
    /// A key below this one, for one file: HKDF with the file's salt and name.
    pub fn for_file(&self, salt: &[u8], name: &[u8]) -> SubKey {
        SubKey(Zeroizing::new(derive(&self.0, salt, name)))
    }

    /// The AES-256-GCM key.
    pub fn aead(&self) -> aead::LessSafeKey {
        aead_key(&self.0)
    }

    /// Seals a data key for `place` under this key, as [`MasterKey::wrap`] does under the master key.
    pub fn wrap(&self, key: &DataKey, place: &str) -> WrappedKey {
        wrap(&self.0, key, place)
    }

    /// Opens a data key that [`SubKey::wrap`] sealed for `place`.
    pub fn unwrap_key(&self, wrapped: &WrappedKey, place: &str) -> Result<DataKey, SealError> {
        unwrap(&self.0, wrapped, place)
    }

    /// Keyed hash (HMAC-SHA256) for look-ups by a secret.
    pub fn lookup(&self, data: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.0);
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&key, data).as_ref());
        out
    }
}

impl std::fmt::Debug for SubKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubKey(…)")
    }
}

pub(super) fn aead_key(key: &[u8; 32]) -> aead::LessSafeKey {
    match aead::UnboundKey::new(&aead::AES_256_GCM, key) {
        Ok(key) => aead::LessSafeKey::new(key),
        // A 32-byte key is always right for AES-256.
        Err(_) => std::process::abort(),
    }
}

struct Length;
impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

fn derive(key: &[u8; 32], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let filled = hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(key)
        .expand(&[info], Length)
        .and_then(|okm| okm.fill(&mut out));
    if filled.is_err() {
        // 32 bytes are below HKDF's limit of 255 blocks.
        std::process::abort();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_only_in_its_place_with_its_master() {
        let dir = tempfile::tempdir().unwrap();
        let master = MasterKey::create(&dir.path().join("a.key")).unwrap();
        let other = MasterKey::create(&dir.path().join("b.key")).unwrap();
        let data = DataKey::new();
        let wrapped = master.wrap(&data, "control");
        assert_eq!(*master.unwrap_key(&wrapped, "control").unwrap().0, *data.0);
        assert!(matches!(master.unwrap_key(&wrapped, "elsewhere"), Err(SealError::WrongKey)));
        assert!(matches!(other.unwrap_key(&wrapped, "control"), Err(SealError::WrongKey)));
        for i in 0..wrapped.0.len() {
            let mut damaged = wrapped.clone();
            damaged.0[i] ^= 1;
            assert!(master.unwrap_key(&damaged, "control").is_err(), "byte {i}");
        }
    }

    #[test]
    fn a_key_file_is_private_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let key = MasterKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKey::load(&path).unwrap().fingerprint(), key.fingerprint());
        assert!(matches!(MasterKey::create(&path), Err(SealError::Exists(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(MasterKey::load(&path), Err(SealError::Permissions(_))));
        let bad = dir.path().join("bad.key");
        fs::write(&bad, "vynos-master-key-1 AAAA").unwrap();
        fs::set_permissions(&bad, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(MasterKey::load(&bad), Err(SealError::NotAKey(_))));
    }

    #[test]
    fn every_use_has_its_own_key() {
        let data = DataKey::new();
        assert_ne!(data.sub(Use::Pages).lookup(b"x"), data.sub(Use::Records).lookup(b"x"));
    }
}
