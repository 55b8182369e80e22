//! Typed ids: 48 bits of milliseconds, 80 random bits, written as 26 lower-case Crockford base32
//! characters (the ULID format). They sort by time of creation. One list for the whole product.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::{Clock, Random};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Text that is not an id of 26 base32 characters.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an id")]
pub struct NotAnId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A new id, at the clock's time.
            pub fn new(clock: &Clock, random: &Random) -> Self {
                let mut bytes = random.bytes::<16>();
                bytes[..6].copy_from_slice(&clock.now_ms().to_be_bytes()[2..]);
                Self(bytes)
            }
            /// From its sixteen bytes (a storage key).
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            /// Its sixteen bytes (a storage key).
            pub const fn bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                std::str::from_utf8(&encode(self.0)).map_err(|_| fmt::Error).and_then(|text| f.write_str(text))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                decode(text).map(Self)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_str(Text).map(Self)
            }
        }
    )*};
}

ids! {
    /// A person's account on this instance.
    AccountId
    /// An API token (not the token itself).
    ApiTokenId
    /// A change set: proposed edits to components of one org.
    ChangeSetId
    /// A chat.
    ConversationId
    /// A validation or deployment of a change set.
    DeploymentId
    /// An uploaded knowledge file.
    DocumentId
    /// An export of a workspace.
    ExportId
    /// A seat offered to an e-mail address (not its link).
    InvitationId
    /// A background job.
    JobId
    /// A mail in the outbox.
    MailId
    /// One side of a turn.
    MessageId
    /// Something a person is told.
    NoticeId
    /// A connected Salesforce organisation.
    OrgId
    /// A passkey of an account (not its credential id).
    PasskeyId
    /// One HTTP request, for logs, problems and the audit log.
    RequestId
    /// A signed-in browser session (not its cookie).
    SessionId
    /// A question with its answer.
    TurnId
    /// A tenant.
    WorkspaceId
}

/// Reads the text of an id where it lies.
struct Text;

impl Visitor<'_> for Text {
    type Value = [u8; 16];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id of 26 base32 characters")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<[u8; 16], E> {
        decode(text).map_err(E::custom)
    }
}

fn encode(bytes: [u8; 16]) -> [u8; 26] {
    let number = u128::from_be_bytes(bytes);
    std::array::from_fn(|place| ALPHABET[((number >> ((25 - place) * 5)) & 31) as usize])
}

/// The digit that each byte stands for; 32 and more for what is no digit.
const DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 32 {
        digits[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

fn decode(text: &str) -> Result<[u8; 16], NotAnId> {
    let text = text.as_bytes();
    if text.len() != 26 || text[0] > b'7' {
        return Err(NotAnId);
    }
    let mut number = 0u128;
    for byte in text {
        let digit = DIGITS[*byte as usize];
        if digit >= 32 {
            return Err(NotAnId);
        }
        number = (number << 5) | u128::from(digit);
    }
    Ok(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = OrgId::new(&Clock::system(), &Random::system());
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 26);
    }

    #[test]
    fn text_that_is_not_an_id_is_refused() {
        for text in [
            "",
            "x",
            "zzzzzzzzzzzzzzzzzzzzzzzzzz",
            "0123456789abcdefghjkmnpqr!",
            "../../../../../../etc/pass",
        ] {
            assert_eq!(OrgId::from_str(text), Err(NotAnId), "{text}");
        }
    }
}
