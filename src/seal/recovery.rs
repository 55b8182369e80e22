//! The recovery code: shown once at setup, kept on paper; opens backups when the master key is lost.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::{DataKey, SealError, Secret, WrappedKey, keys};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 26 characters carry 130 random bits; two more are a check of the others.
const DIGITS: usize = 26;
const PLACE: &str = "recovery";

/// 130 random bits, written as seven groups of four Crockford base32 characters.
pub struct RecoveryCode(Secret);

impl RecoveryCode {
    /// A new code.
    pub fn generate() -> Self {
        let digits: Vec<u8> = keys::random::<DIGITS>().iter().map(|b| b & 31).collect();
        Self(Secret::new(text(&digits)))
    }

    /// Reads what a person typed: case, spaces and hyphens do not matter, O is 0, I and L are 1.
    pub fn parse(typed: &str) -> Result<Self, SealError> {
        let mut digits = Vec::new();
        for c in typed.to_uppercase().chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let c = match c {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let digit = ALPHABET.iter().position(|a| char::from(*a) == c).ok_or(SealError::RecoveryCode)?;
            digits.push(digit as u8);
        }
        if digits.len() != DIGITS + 2 || check(&digits[..DIGITS]) != [digits[DIGITS], digits[DIGITS + 1]] {
            return Err(SealError::RecoveryCode);
        }
        Ok(Self(Secret::new(text(&digits[..DIGITS]))))
    }

    /// The code as shown, for the one page that shows it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Wraps a key under the code: argon2id, 64 MiB, 3 passes. Text form `salt.wrapped`, base64.
    pub fn wrap(&self, key: &DataKey) -> Result<String, SealError> {
        let salt = keys::random::<16>();
        let WrappedKey(wrapped) = keys::wrap(&*self.stretch(&salt)?, key, PLACE);
        Ok(format!("{}.{}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(wrapped)))
    }

    /// Opens a key that was wrapped under this code.
    pub fn unwrap_key(&self, wrapped: &str) -> Result<DataKey, SealError> {
        let (salt, wrapped) = wrapped.split_once('.').ok_or(SealError::Damaged)?;
        let decode = |text| STANDARD_NO_PAD.decode(text).map_err(|_| SealError::Damaged);
        keys::unwrap(&*self.stretch(&decode(salt)?)?, &WrappedKey(decode(wrapped)?), PLACE)
    }

    fn stretch(&self, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let params = Params::new(64 * 1024, 3, 1, Some(32)).map_err(|_| SealError::Damaged)?;
        let mut out = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(self.0.expose().as_bytes(), salt, &mut *out)
            .map_err(|_| SealError::Damaged)?;
        Ok(out)
    }
}

fn check(digits: &[u8]) -> [u8; 2] {
    let hash = ring::digest::digest(&ring::digest::SHA256, digits);
    [hash.as_ref()[0] & 31, hash.as_ref()[1] & 31]
}

fn text(digits: &[u8]) -> String {
    let all: Vec<u8> = digits.iter().copied().chain(check(digits)).collect();
    let groups: Vec<String> =
        all.chunks(4).map(|g| g.iter().map(|d| char::from(ALPHABET[*d as usize])).collect()).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Use;

    #[test]
    fn a_key_comes_back_with_the_code_as_typed() {
        let code = RecoveryCode::generate();
        let key = DataKey::new();
        let wrapped = code.wrap(&key).unwrap();
        let typed = code.expose().to_lowercase().replace('-', " ");
        let back = RecoveryCode::parse(&typed).unwrap().unwrap_key(&wrapped).unwrap();
        assert_eq!(back.sub(Use::Pages).lookup(b"x"), key.sub(Use::Pages).lookup(b"x"));
        assert!(matches!(RecoveryCode::generate().unwrap_key(&wrapped), Err(SealError::WrongKey)));
    }

    #[test]
    fn a_typing_error_is_told() {
        let code = RecoveryCode::generate();
        let mut typed: Vec<char> = code.expose().chars().collect();
        typed[0] = if typed[0] == '7' { '8' } else { '7' };
        let typed: String = typed.into_iter().collect();
        assert!(matches!(RecoveryCode::parse(&typed), Err(SealError::RecoveryCode)));
        assert!(RecoveryCode::parse("").is_err());
    }
}
