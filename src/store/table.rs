//! Typed tables: a name, a format number, a key type and a value type.

use std::marker::PhantomData;
use std::ops::Bound;

use serde::{Serialize, de::DeserializeOwned};

use super::StoreError;

/// One table of a file. Values are stored as the format number followed by JSON; fields that a later
/// format adds carry `#[serde(default)]`, so that older rows still open.
pub struct Table<K, V> {
    pub name: &'static str,
    pub version: u8,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// A table called `name` whose values are written in format `version`.
    pub const fn new(name: &'static str, version: u8) -> Self {
        Self { name, version, types: PhantomData }
    }

    pub(super) fn encode(&self, value: &V) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![self.version];
        serde_json::to_writer(&mut bytes, value).map_err(|e| self.unreadable(&e.to_string()))?;
        Ok(bytes)
    }

    pub(super) fn decode(&self, bytes: &[u8]) -> Result<V, StoreError> {
        match bytes.split_first() {
            Some((version, json)) if *version <= self.version => {
                serde_json::from_slice(json).map_err(|e| self.unreadable(&e.to_string()))
            }
            Some((version, _)) => Err(StoreError::Newer { table: self.name, found: *version }),
            None => Err(self.unreadable("empty value")),
        }
    }

    fn unreadable(&self, why: &str) -> StoreError {
        StoreError::Encoding { table: self.name, why: why.to_owned() }
    }
}

/// A key that sorts as its parts do. Composite keys are tuples; a prefix of the parts is a range.
pub trait Key: Sized {
    fn write(&self, out: &mut Vec<u8>);
    /// Takes its bytes off the front of `bytes`.
    fn read(bytes: &mut &[u8]) -> Option<Self>;

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        self.write(&mut out);
        out
    }
}

impl<const N: usize> Key for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<N>()?;
        *bytes = rest;
        Some(*head)
    }
}

macro_rules! integer_keys {
    ($($t:ty)*) => {$(
        impl Key for $t {
            fn write(&self, out: &mut Vec<u8>) {
                self.to_be_bytes().write(out);
            }
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                Key::read(bytes).map(<$t>::from_be_bytes)
            }
        }
    )*};
}
integer_keys!(u8 u32 u64);

macro_rules! id_keys {
    ($($t:ident)*) => {$(
        impl Key for crate::ids::$t {
            fn write(&self, out: &mut Vec<u8>) {
                self.bytes().write(out);
            }
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                Key::read(bytes).map(Self::from_bytes)
            }
        }
    )*};
}
id_keys!(AccountId ApiTokenId ChangeSetId ConversationId DeploymentId DocumentId ExportId InvitationId JobId MailId
    MessageId NoticeId OrgId PasskeyId RequestId SessionId TurnId WorkspaceId);

/// Text ends with 00 01; a NUL inside it is written 00 FF. So text sorts bytewise and may be followed by
/// further parts.
impl Key for String {
    fn write(&self, out: &mut Vec<u8>) {
        for byte in self.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(0xff);
            }
        }
        out.extend_from_slice(&[0, 1]);
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        loop {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            if *byte == 0 {
                let (mark, rest) = bytes.split_first()?;
                *bytes = rest;
                if *mark == 1 {
                    return Self::from_utf8(text).ok();
                }
            }
            text.push(*byte);
        }
    }
}

impl Key for () {
    fn write(&self, _: &mut Vec<u8>) {}
    fn read(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
    }
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?, C::read(bytes)?))
    }
}

#[doc(hidden)]
pub type RawRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Called with each raw key and value; answers whether to go on.
#[doc(hidden)]
pub type RawRow<'f> = &'f mut dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError>;

/// Reading, from a snapshot or inside a change.
pub trait Read: Sized {
    /// Hands the bytes under `key` to `value` where they lie.
    #[doc(hidden)]
    fn raw_get<T>(
        &self,
        table: &'static str,
        key: &[u8],
        value: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError>;
    #[doc(hidden)]
    fn raw_scan(
        &self,
        table: &'static str,
        range: RawRange,
        reverse: bool,
        row: RawRow<'_>,
    ) -> Result<(), StoreError>;

    /// The value under `key`.
    fn get<K: Key, V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, StoreError> {
        self.raw_get(table.name, &key.encoded(), |bytes| table.decode(bytes))
    }

    /// Whether there is a value under `key`.
    fn has<K: Key, V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<bool, StoreError> {
        Ok(self.raw_get(table.name, &key.encoded(), |_| Ok(()))?.is_some())
    }

    /// Rows in key order; narrow it with the methods of [`Scan`], then take [`Scan::rows`] or [`Scan::each`].
    fn scan<'r, K: Key, V: Serialize + DeserializeOwned>(
        &'r self,
        table: &'r Table<K, V>,
    ) -> Scan<'r, Self, K, V> {
        Scan {
            from: self,
            table,
            range: (Bound::Unbounded, Bound::Unbounded),
            reverse: false,
            limit: usize::MAX,
        }
    }
}

/// A range of a table.
pub struct Scan<'r, R, K, V> {
    from: &'r R,
    table: &'r Table<K, V>,
    range: RawRange,
    reverse: bool,
    limit: usize,
}

impl<R: Read, K: Key, V: Serialize + DeserializeOwned> Scan<'_, R, K, V> {
    /// Only keys that begin with `prefix` (the first parts of a composite key).
    pub fn under<P: Key>(mut self, prefix: &P) -> Self {
        let start = prefix.encoded();
        self.range = (Bound::Included(start.clone()), after_prefix(start));
        self
    }

    /// Only keys at or past `key`.
    pub fn from<P: Key>(mut self, key: &P) -> Self {
        self.range.0 = Bound::Included(key.encoded());
        self
    }

    /// Only keys before `key`.
    pub fn before<P: Key>(mut self, key: &P) -> Self {
        self.range.1 = Bound::Excluded(key.encoded());
        self
    }

    /// Goes on behind `key`: a cursor, in either direction.
    pub fn after(mut self, key: &K) -> Self {
        let key = Bound::Excluded(key.encoded());
        if self.reverse {
            self.range.1 = key;
        } else {
            self.range.0 = key;
        }
        self
    }

    /// Last key first. Call before [`Scan::after`].
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// At most `n` rows.
    pub fn limit(mut self, n: usize) -> Self {
        self.limit = n;
        self
    }

    /// The rows, collected. Give a [`Scan::limit`] wherever the table can grow.
    pub fn rows(self) -> Result<Vec<(K, V)>, StoreError> {
        let mut rows = Vec::new();
        self.each(|key, value| {
            rows.push((key, value));
            true
        })?;
        Ok(rows)
    }

    /// Calls `row` with each row until it answers false.
    pub fn each(self, mut row: impl FnMut(K, V) -> bool) -> Result<(), StoreError> {
        let mut left = self.limit;
        if left == 0 || empty(&self.range) {
            return Ok(());
        }
        let table = self.table;
        self.from.raw_scan(table.name, self.range, self.reverse, &mut |mut key, value| {
            let key = K::read(&mut key).ok_or_else(|| table.unreadable("key"))?;
            left -= 1;
            Ok(row(key, table.decode(value)?) && left > 0)
        })
    }

    /// The keys, collected; decodes no value.
    pub fn keys(self) -> Result<Vec<K>, StoreError> {
        let (mut keys, limit) = (Vec::new(), self.limit);
        if limit == 0 || empty(&self.range) {
            return Ok(keys);
        }
        let table = self.table;
        self.from.raw_scan(table.name, self.range, self.reverse, &mut |mut key, _| {
            keys.push(K::read(&mut key).ok_or_else(|| table.unreadable("key"))?);
            Ok(keys.len() < limit)
        })?;
        Ok(keys)
    }

    /// How many rows there are (reads keys, decodes nothing).
    pub fn count(self) -> Result<usize, StoreError> {
        let (mut n, limit) = (0, self.limit);
        if limit == 0 || empty(&self.range) {
            return Ok(0);
        }
        self.from.raw_scan(self.table.name, self.range, self.reverse, &mut |_, _| {
            n += 1;
            Ok(n < limit)
        })?;
        Ok(n)
    }
}

/// The first key behind all that begin with `prefix`.
fn after_prefix(mut prefix: Vec<u8>) -> Bound<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if last < 0xff {
            prefix.push(last + 1);
            return Bound::Excluded(prefix);
        }
    }
    Bound::Unbounded
}

/// The engine panics on a range whose end lies before its start; a cursor past the end makes one.
fn empty((start, end): &RawRange) -> bool {
    match (start, end) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b))
        | (Bound::Excluded(a), Bound::Included(b)) => a >= b,
        _ => false,
    }
}
