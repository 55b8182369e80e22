//! Credentials sealed once more as records: bound to workspace, table and key, so that neither a page-cache
//! dump nor a moved row opens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

use super::{SealError, Secret, SubKey, keys};

/// Where a sealed record belongs. Part of what is authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Workspace id, or `control`.
    pub workspace: &'a str,
    pub table: &'a str,
    pub key: &'a str,
}

impl Place<'_> {
    /// Lengths first, so that no two places read alike.
    fn aad(&self) -> Vec<u8> {
        [self.workspace, self.table, self.key].iter().fold(Vec::new(), |mut out, part| {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
            out
        })
    }
}

/// A sealed value: nonce 12, ciphertext, tag 16; base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        STANDARD_NO_PAD.decode(String::deserialize(d)?).map(Self).map_err(D::Error::custom)
    }
}

impl SubKey {
    /// Seals a secret for its place.
    pub fn seal_record(&self, place: Place<'_>, secret: &Secret) -> Sealed {
        let nonce = keys::random::<12>();
        let mut out = nonce.to_vec();
        let mut body = Zeroizing::new(secret.expose().as_bytes().to_vec());
        let tag = self.aead().seal_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(place.aad()),
            &mut body,
        );
        out.extend_from_slice(&body);
        // Sealing fails only beyond 64 GiB; without a tag the record never opens.
        out.extend_from_slice(tag.as_ref().map_or(&[], |t| t.as_ref()));
        Sealed(out)
    }

    /// Opens a secret in its place.
    pub fn open_record(&self, place: Place<'_>, sealed: &Sealed) -> Result<Secret, SealError> {
        let (nonce, body) = sealed.0.split_first_chunk::<12>().ok_or(SealError::Damaged)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = self
            .aead()
            .open_in_place(
                aead::Nonce::assume_unique_for_key(*nonce),
                aead::Aad::from(place.aad()),
                &mut body,
            )
            .map_err(|_| SealError::Damaged)?;
        std::str::from_utf8(plain).map(|text| Secret::new(text.to_owned())).map_err(|_| SealError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{DataKey, Use};

    #[test]
    fn a_record_opens_only_in_its_place() {
        let key = DataKey::new().sub(Use::Records);
        let place = Place { workspace: "w", table: "orgs", key: "a" };
        let sealed = key.seal_record(place, &Secret::new("refresh token".into()));
        assert_eq!(key.open_record(place, &sealed).unwrap().expose(), "refresh token");
        for moved in [
            Place { workspace: "v", ..place },
            Place { table: "org", key: "sa", ..place },
            Place { key: "b", ..place },
        ] {
            assert!(key.open_record(moved, &sealed).is_err());
        }
        for i in 0..sealed.0.len() {
            let mut damaged = sealed.clone();
            damaged.0[i] ^= 0x40;
            assert!(key.open_record(place, &damaged).is_err(), "byte {i}");
        }
        let json = serde_json::to_string(&sealed).unwrap();
        assert!(!json.contains("refresh"));
        assert_eq!(serde_json::from_str::<Sealed>(&json).unwrap(), sealed);
    }
}
