//! Typed ids: 48 bits of milliseconds, 80 random bits, written as 26 lower-case Crockford base32
//! characters (the ULID format). They sort by time of creation. One list for the whole product.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

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
                f.write_str(&encode(self.0))
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
                String::deserialize(d)?.parse().map_err(D::Error::custom)
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
    /// One HTTP request, for logs, problems and the audit log.
    RequestId
    /// A signed-in browser session (not its cookie).
    SessionId
    /// A question with its answer.
    TurnId
    /// A tenant.
    WorkspaceId
}

fn encode(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    (0..26).rev().map(|i| char::from(ALPHABET[((number >> (i * 5)) & 31) as usize])).collect()
}

fn decode(text: &str) -> Result<[u8; 16], NotAnId> {
    let text = text.as_bytes();
    if text.len() != 26 || text[0] > b'7' {
        return Err(NotAnId);
    }
    let mut number = 0u128;
    for byte in text {
        let digit = ALPHABET.iter().position(|a| a == byte).ok_or(NotAnId)?;
        number = (number << 5) | digit as u128;
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
