//! Keys of rows as JSON: each part of a key is a field of the record, ids as strings, times RFC 3339.

use std::vec::IntoIter;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

use crate::ids::{
    AccountId, ChangeSetId, ConversationId, DeploymentId, DocumentId, MessageId, NoticeId, OrgId, TurnId,
};
use crate::ledger::Part;
use crate::meter::Whose;
use crate::meter::records::{Facet, date_of, day_of};
use crate::store::Key;

/// A key whose parts are written one by one.
pub trait Parts: Key {
    fn give(&self, out: &mut Vec<Value>);
    /// Takes its parts off the front.
    fn take(from: &mut IntoIter<Value>) -> Option<Self>;
}

macro_rules! id_parts {
    ($($id:ident)*) => {$(
        impl Parts for $id {
            fn give(&self, out: &mut Vec<Value>) {
                out.push(json!(self));
            }
            fn take(from: &mut IntoIter<Value>) -> Option<Self> {
                from.next()?.as_str()?.parse().ok()
            }
        }
    )*};
}
id_parts!(AccountId ChangeSetId ConversationId DeploymentId DocumentId MessageId NoticeId OrgId TurnId);

impl Parts for String {
    fn give(&self, out: &mut Vec<Value>) {
        out.push(json!(self));
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        match from.next()? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Parts for u8 {
    fn give(&self, out: &mut Vec<Value>) {
        out.push(json!(self));
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        from.next()?.as_u64()?.try_into().ok()
    }
}

impl Parts for u32 {
    fn give(&self, out: &mut Vec<Value>) {
        out.push(json!(self));
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        from.next()?.as_u64()?.try_into().ok()
    }
}

impl Parts for u64 {
    fn give(&self, out: &mut Vec<Value>) {
        out.push(json!(self));
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        from.next()?.as_u64()
    }
}

impl<A: Parts, B: Parts> Parts for (A, B) {
    fn give(&self, out: &mut Vec<Value>) {
        self.0.give(out);
        self.1.give(out);
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl<A: Parts, B: Parts, C: Parts> Parts for (A, B, C) {
    fn give(&self, out: &mut Vec<Value>) {
        self.0.give(out);
        self.1.give(out);
        self.2.give(out);
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?, C::take(from)?))
    }
}

/// An id or null; an error for anything else.
fn some_id<T: std::str::FromStr>(value: Value) -> Result<Option<T>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}

impl Parts for Whose {
    fn give(&self, out: &mut Vec<Value>) {
        out.push(match self {
            Self::Workspace => Value::Null,
            Self::Member(id) => json!(id),
        });
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        Some(some_id(from.next()?).ok()?.map_or(Self::Workspace, Self::Member))
    }
}

impl Parts for Facet {
    fn give(&self, out: &mut Vec<Value>) {
        out.extend([json!(self.account), json!(self.feature), json!(self.model), json!(self.org)]);
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        let account = some_id(from.next()?).ok()?;
        let feature = serde_json::from_value(from.next()?).ok()?;
        let model = String::take(from)?;
        Some(Self { account, feature, model, org: some_id(from.next()?).ok()? })
    }
}

impl Parts for Part {
    fn give(&self, out: &mut Vec<Value>) {
        out.extend([json!(self.purpose), json!(self.account)]);
    }
    fn take(from: &mut IntoIter<Value>) -> Option<Self> {
        let purpose = serde_json::from_value(from.next()?).ok()?;
        Some(Self { purpose, account: some_id(from.next()?).ok()? })
    }
}

/// How a number of a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Days since 1970 as a date.
    Day,
    /// Milliseconds since 1970 as a time.
    Millis,
    /// The number of a month as `2026-11`.
    Month,
    /// As it is.
    Plain,
}

impl Form {
    /// The part as records show it; `None` when it can't be one.
    pub fn show(self, part: Value) -> Option<Value> {
        Some(match self {
            Self::Plain => part,
            Self::Day => json!(date_of(part.as_u64()?.try_into().ok()?).to_string()),
            Self::Millis => {
                json!(Timestamp::from_millisecond(part.as_u64()?.try_into().ok()?).ok()?.to_string())
            }
            Self::Month => {
                let month = part.as_u64()?;
                json!(format!("{:04}-{:02}", month / 12, month % 12 + 1))
            }
        })
    }

    /// The part that [`Form::show`] shows so.
    pub fn read(self, shown: Value) -> Option<Value> {
        let text = match (self, &shown) {
            (Self::Plain, _) => return Some(shown),
            (_, Value::String(text)) => text,
            _ => return None,
        };
        Some(match self {
            Self::Day => json!(day_of(text.parse::<Date>().ok()?)),
            Self::Millis => {
                json!(u64::try_from(text.parse::<Timestamp>().ok()?.as_millisecond()).ok()?)
            }
            _ => {
                let (year, month) = text.split_once('-')?;
                let (year, month): (u64, u64) = (year.parse().ok()?, month.parse().ok()?);
                json!(year.checked_mul(12)?.checked_add(month.checked_sub(1)?)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_keys_survive_their_form() {
        for (form, part, shown) in [
            (Form::Day, 20_781u64, "2026-11-24"),
            (Form::Millis, 1_795_510_800_123u64, "2026-11-24T09:00:00.123Z"),
            (Form::Month, 24_322, "2026-11"),
        ] {
            assert_eq!(form.show(json!(part)), Some(json!(shown)));
            assert_eq!(form.read(json!(shown)), Some(json!(part)));
            assert_eq!(form.read(json!("x")), None);
        }
    }
}
