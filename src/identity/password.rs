//! Passwords: argon2id, one verification on every path.

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
    let Ok(argon) = hasher() else { return false };
    #[cfg(test)]
    tests::VERIFIED.with(|count| count.set(count.get() + 1));
    let of_nobody = of_nobody();
    let right = PasswordHash::new(stored.unwrap_or(&of_nobody))
        .is_ok_and(|parsed| argon.verify_password(secret.expose().as_bytes(), &parsed).is_ok());
    right && stored.is_some()
}

/// A hash under the parameters of now that no known password has.
fn of_nobody() -> String {
    let (salt, hash) = ("bm9ib2R5cyBzYWx0IGhlcmU", "UW1SVUF2T1RjRHBhSm5nV2x4eUZLc0hZQmVNaXRrWHo");
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${hash}")
}

/// Whether a stored hash was made under weaker parameters than those of now.
pub fn is_outgrown(stored: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(stored) else { return false };
    let number = |name: &str| parsed.params.get_decimal(name).unwrap_or_default();
    parsed.algorithm.as_str() != "argon2id" || number("m") < MEMORY_KIB || number("t") < PASSES
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
    let guess = guess(secret, own_words);
    if guess.score < 2 {
        return Err(IdentityError::Invalid(format!("This password is easy to guess. {}", guess.advice)));
    }
    Ok(())
}

/// How hard a password is to guess.
pub struct Guess {
    /// 0 to 4, as zxcvbn counts.
    pub score: u8,
    /// What would make it harder.
    pub advice: String,
}

/// Estimates as zxcvbn does; looks at the first 100 characters, which bounds its work.
pub fn guess(secret: &Secret, own_words: &[&str]) -> Guess {
    let start: String = secret.expose().chars().take(100).collect();
    let estimate = zxcvbn::zxcvbn(&start, own_words);
    let advice = estimate.feedback().map(|feedback| {
        let warning = feedback.warning().map(|w| w.to_string());
        let first = feedback.suggestions().first().map(ToString::to_string);
        warning.or(first).unwrap_or_default()
    });
    let advice = advice.filter(|a| !a.is_empty());
    Guess {
        score: u8::from(estimate.score()),
        advice: advice.unwrap_or_else(|| "Use a few words that do not belong together.".into()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    thread_local! {
        /// Verifications of this thread: the work that every path must do once.
        pub static VERIFIED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    #[test]
    fn the_hash_of_nobody_costs_what_others_cost() {
        let parsed = of_nobody();
        let parsed = PasswordHash::new(&parsed).unwrap();
        let known = hash(&Secret::new("correct horse battery".into())).unwrap();
        let known = PasswordHash::new(&known).unwrap();
        assert_eq!((&parsed.algorithm, &parsed.params), (&known.algorithm, &known.params));
        assert_eq!(parsed.hash.unwrap().len(), known.hash.unwrap().len());
    }

    #[test]
    fn the_right_password_verifies_and_others_do_not() {
        let stored = hash(&Secret::new("correct horse battery".into())).unwrap();
        assert!(verify(&Secret::new("correct horse battery".into()), Some(&stored)));
        assert!(!verify(&Secret::new("correct horse batterz".into()), Some(&stored)));
        assert!(!verify(&Secret::new("nobody has this password".into()), None));
    }

    #[test]
    fn a_hash_of_weaker_parameters_is_outgrown() {
        let weak =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8 * 1024, 1, 1, None).unwrap());
        let weak = weak.hash_password(b"correct horse battery").unwrap().to_string();
        assert!(is_outgrown(&weak));
        assert!(!is_outgrown(&hash(&Secret::new("correct horse battery".into())).unwrap()));
    }

    #[test]
    fn weak_passwords_are_refused() {
        let own = ["ada.lovelace@example.com", "Ada Lovelace"];
        for weak in ["short", "aaaaaaaaaaaaaaaa", "adalovelace1", "lovelace.ada@example", "password1234"] {
            assert!(check_strength(&Secret::new(weak.into()), &own).is_err(), "{weak}");
        }
        assert!(check_strength(&Secret::new("copper kettle morning".into()), &own).is_ok());
    }
}
