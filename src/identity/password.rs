//! Passwords: argon2id, one verification on every path.

use std::sync::OnceLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use super::IdentityError;
use crate::seal::Secret;

/// OWASP's argon2id floor of 2024 doubled in memory: 38 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 38 * 1024;
const PASSES: u32 = 2;
const SHORTEST: usize = 12;
const LONGEST: usize = 1024;

fn hasher() -> Result<Argon2<'static>, IdentityError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|e| IdentityError::Invalid(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The PHC string of a password. Blocks for tens of milliseconds.
pub fn hash(secret: &Secret) -> Result<String, IdentityError> {
    hasher()?
        .hash_password(secret.expose().as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|e| IdentityError::Invalid(e.to_string()))
}

/// Whether `secret` is the password behind `stored`. Without a stored hash it does the same work and
/// answers no, so that time tells nothing about which addresses exist.
pub fn verify(secret: &Secret, stored: Option<&str>) -> bool {
    static DUMMY: OnceLock<String> = OnceLock::new();
    let Ok(argon) = hasher() else { return false };
    let known = stored.is_some();
    let text = match stored {
        Some(text) => text,
        None => {
            DUMMY.get_or_init(|| hash(&Secret::new("nobody has this password".into())).unwrap_or_default())
        }
    };
    let right = PasswordHash::new(text)
        .is_ok_and(|parsed| argon.verify_password(secret.expose().as_bytes(), &parsed).is_ok());
    right && known
}

/// At least 12 characters, at most 1,024 bytes, not built of the account's own words. No composition rules.
pub fn check_strength(secret: &Secret, own_words: &[&str]) -> Result<(), IdentityError> {
    let (text, lower) = (secret.expose(), secret.expose().to_lowercase());
    if text.chars().count() < SHORTEST {
        return Err(IdentityError::Invalid(
            "Use at least 12 characters. A few words in a row work well.".into(),
        ));
    }
    if text.len() > LONGEST {
        return Err(IdentityError::Invalid("Use at most 1,024 bytes.".into()));
    }
    let mut left = lower.clone();
    for word in own_words.iter().flat_map(|w| w.split(['@', '.', ' ', '-', '_'])).filter(|w| w.len() > 2) {
        left = left.replace(&word.to_lowercase(), "");
    }
    let distinct = lower.chars().collect::<std::collections::BTreeSet<_>>().len();
    if left.chars().count() < SHORTEST / 2 || distinct < 4 {
        return Err(IdentityError::Invalid(
            "This password is easy to guess: it repeats itself or is made of your own name or address."
                .into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_password_verifies_and_others_do_not() {
        let stored = hash(&Secret::new("correct horse battery".into())).unwrap();
        assert!(verify(&Secret::new("correct horse battery".into()), Some(&stored)));
        assert!(!verify(&Secret::new("correct horse batterz".into()), Some(&stored)));
        assert!(!verify(&Secret::new("nobody has this password".into()), None));
    }

    #[test]
    fn weak_passwords_are_refused() {
        let own = ["ada.lovelace@example.com", "Ada Lovelace"];
        for weak in ["short", "aaaaaaaaaaaaaaaa", "adalovelace1", "lovelace.ada@example"] {
            assert!(check_strength(&Secret::new(weak.into()), &own).is_err(), "{weak}");
        }
        assert!(check_strength(&Secret::new("copper kettle morning".into()), &own).is_ok());
    }
}
