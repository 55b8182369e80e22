//! Text that must not leak. It can be handed on,
//!
//! ```
//! fn send(token: &vynos::seal::Secret) -> usize {
//!     token.expose().len()
//! }
//! ```
//!
//! but neither printed nor written into an answer:
//!
//! ```compile_fail,E0277
//! fn page(token: &vynos::seal::Secret) -> String {
//!     format!("{token}")
//! }
//! ```
//!
//! ```compile_fail,E0277
//! fn body(token: &vynos::seal::Secret) -> String {
//!     serde_json::to_string(token).unwrap_or_default()
//! }
//! ```

use std::fmt;

use zeroize::Zeroizing;

/// A credential: no Display, no Serialize, a Debug that shows nothing, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(self.expose().as_bytes(), other.expose().as_bytes())
    }
}

impl Eq for Secret {}

/// Compares without telling by time where two values differ.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let secret = Secret::new("hunter2-canary".into());
        assert!(!format!("{secret:?} {:?}", Some(&secret)).contains("canary"));
        assert_eq!(secret, Secret::new("hunter2-canary".into()));
        assert_ne!(secret, Secret::new("hunter2-canarx".into()));
    }
}
