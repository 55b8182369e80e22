//! A table as records: one JSON object a row, the parts of its key first, one row a line (NDJSON), in key order. The same
//! description writes records, checks them and makes rows of them again.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::ops::ControlFlow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::BundleError;
use super::key::{Form, Parts};
use super::schema;
use crate::identity::Role;
use crate::ids::{AccountId, ConversationId, DocumentId, TurnId};
use crate::store::{Read, Snapshot, StoreError, Table, Tx};

/// A record.
pub type Object = Map<String, Value>;

/// Bytes of lines that are made at once.
const PIECE: usize = 256 << 10;
/// How links of the workspace begin in a bundle, whatever its slug is.
const ANYWHERE: &str = "/w/{workspace}/";

/// What records are made from: one consistent state of a workspace.
pub struct Source {
    pub read: Snapshot,
    pub slug: String,
    /// Documents that are being deleted: nothing of them leaves.
    pub hidden: BTreeSet<DocumentId>,
    /// Only what is of this person.
    pub own: Option<Own>,
}

/// A person, with what decides which rows are theirs.
pub struct Own {
    pub account: AccountId,
    pub role: Role,
    pub conversations: BTreeSet<ConversationId>,
    pub turns: BTreeSet<TurnId>,
}

/// What rows need besides their records.
pub struct Filling<'a> {
    /// The slug that links get.
    pub slug: &'a str,
    /// A credential that is not there, sealed for the row of a table.
    pub no_secret: &'a dyn Fn(&str, &str) -> Value,
    /// Where the file of a document lies and the keyed hash of its content.
    pub file: &'a dyn Fn(&str) -> Option<(Value, Value)>,
}

/// A table that bundles carry.
pub trait Records: Send + Sync {
    fn name(&self) -> &'static str;
    /// The JSON Schema of a record, of the workspace's bundle or of a person's own data.
    fn schema(&self, own: bool) -> Value;
    /// Whether persons get their rows of it.
    fn has_own(&self) -> bool;
    /// The records, one a line.
    fn lines<'a>(&'a self, from: &'a Source) -> Box<dyn io::Read + 'a>;
    /// Whether a record can become a row that would be written as the same record; answers the row's key.
    fn check(&self, record: &Object, filling: &Filling<'_>) -> Result<Vec<u8>, String>;
    /// Makes the row.
    fn put(&self, tx: &mut Tx, record: Object, filling: &Filling<'_>) -> Result<(), BundleError>;
}

/// Whether a row is of a person.
pub type IsOwn<K, V> = fn(&K, &V, &Own) -> bool;

/// How a value stands in its record.
#[derive(Clone, Copy)]
enum Valued {
    Fields,
    Nothing,
    Single(&'static str),
}

/// One table with the rules for its records.
pub struct Of<K, V> {
    table: Table<K, V>,
    key: &'static [(&'static str, Form)],
    schema: Value,
    valued: Valued,
    /// Fields that stay here.
    without: &'static [&'static str],
    /// Fields that a person's own data has not, because they are about others.
    not_own: &'static [&'static str],
    kept: fn(&K, &V, &Source) -> bool,
    shown: fn(&mut Object, &str),
    taken: fn(&mut Object, &Filling<'_>),
    own: Option<IsOwn<K, V>>,
}

/// A table whose values are objects; `schema` describes the whole record.
pub fn of<K, V>(table: Table<K, V>, key: &'static [(&'static str, Form)], schema: Value) -> Of<K, V> {
    Of {
        table,
        key,
        schema,
        valued: Valued::Fields,
        without: &[],
        not_own: &[],
        kept: |_, _, _| true,
        shown: |_, _| {},
        taken: |_, _| {},
        own: None,
    }
}

impl<K, V> Of<K, V> {
    /// Its values are no objects; they stand in the field `name`.
    pub fn single(self, name: &'static str) -> Self {
        Self { valued: Valued::Single(name), ..self }
    }

    /// Its rows say everything by their key.
    pub fn nothing(self) -> Self {
        Self { valued: Valued::Nothing, ..self }
    }

    /// Leaves these fields out.
    pub fn without(self, without: &'static [&'static str]) -> Self {
        Self { without, ..self }
    }

    /// Only these rows leave.
    pub fn kept(self, kept: fn(&K, &V, &Source) -> bool) -> Self {
        Self { kept, ..self }
    }

    /// Changes a record on its way out (given the slug) and back in.
    pub fn between(self, shown: fn(&mut Object, &str), taken: fn(&mut Object, &Filling<'_>)) -> Self {
        Self { shown, taken, ..self }
    }

    /// Persons get their rows of it.
    pub fn own(self, own: IsOwn<K, V>) -> Self {
        Self { own: Some(own), ..self }
    }

    /// Without these fields, then.
    pub fn own_without(self, not_own: &'static [&'static str]) -> Self {
        Self { not_own, ..self }
    }
}

impl<K: Parts, V: Serialize + DeserializeOwned> Of<K, V> {
    fn record(&self, key: &K, value: &V, slug: &str, own: bool) -> Result<Object, StoreError> {
        let unreadable = |why: &str| StoreError::Encoding { table: self.table.name, why: why.to_owned() };
        let (mut parts, mut record) = (Vec::new(), Object::new());
        key.give(&mut parts);
        for ((name, form), part) in self.key.iter().zip(parts) {
            let shown = form.show(part).ok_or_else(|| unreadable("key"))?;
            record.insert((*name).to_owned(), shown);
        }
        let value = serde_json::to_value(value).map_err(|e| unreadable(&e.to_string()))?;
        match (self.valued, value) {
            (Valued::Fields, Value::Object(fields)) => record.extend(fields),
            (Valued::Fields, _) => return Err(unreadable("no object")),
            (Valued::Nothing, _) => {}
            (Valued::Single(name), value) => drop(record.insert(name.to_owned(), value)),
        }
        for name in self.without {
            record.shift_remove(*name);
        }
        (self.shown)(&mut record, slug);
        for name in self.not_own.iter().filter(|_| own) {
            record.shift_remove(*name);
        }
        Ok(record)
    }

    fn row(&self, mut record: Object, filling: &Filling<'_>) -> Result<(K, V), String> {
        (self.taken)(&mut record, filling);
        let mut parts = Vec::new();
        for (name, form) in self.key {
            let shown = record.shift_remove(*name).ok_or_else(|| format!("{name} is missing"))?;
            parts.push(form.read(shown).ok_or_else(|| format!("{name} can't be read"))?);
        }
        let key = K::take(&mut parts.into_iter()).ok_or("its key can't be read")?;
        let value = match self.valued {
            Valued::Fields => Value::Object(record),
            Valued::Nothing => Value::Null,
            Valued::Single(name) => record.shift_remove(name).ok_or_else(|| format!("{name} is missing"))?,
        };
        Ok((key, serde_json::from_value(value).map_err(|e| e.to_string())?))
    }
}

impl<K: Parts + Clone + Send + Sync + 'static, V: Serialize + DeserializeOwned + 'static> Records
    for Of<K, V>
{
    fn name(&self) -> &'static str {
        self.table.name
    }

    fn schema(&self, own: bool) -> Value {
        let mut schema = self.schema.clone();
        for name in self.not_own.iter().filter(|_| own) {
            if let Some(properties) = schema["properties"].as_object_mut() {
                properties.shift_remove(*name);
            }
            if let Some(required) = schema["required"].as_array_mut() {
                required.retain(|known| known != name);
            }
        }
        let mut whole = Object::new();
        whole.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        whole.insert("title".into(), json!(self.table.name));
        whole.extend(schema.as_object().cloned().unwrap_or_default());
        Value::Object(whole)
    }

    fn has_own(&self) -> bool {
        self.own.is_some()
    }

    fn lines<'a>(&'a self, from: &'a Source) -> Box<dyn io::Read + 'a> {
        Box::new(Lines { of: self, from, after: None, held: io::Cursor::new(Vec::new()), done: false })
    }

    fn check(&self, record: &Object, filling: &Filling<'_>) -> Result<Vec<u8>, String> {
        schema::check(&self.schema, &Value::Object(record.clone()))
            .map_err(|at| format!("{} is not as its schema says", if at.is_empty() { "it" } else { &at }))?;
        let (key, value) = self.row(record.clone(), filling)?;
        let again = self.record(&key, &value, filling.slug, false).map_err(|e| e.to_string())?;
        match record.iter().find(|(name, value)| again.get(*name) != Some(value)) {
            Some((name, _)) => Err(format!("{name} is not written as Vynos writes it")),
            None => Ok(key.encoded()),
        }
    }

    fn put(&self, tx: &mut Tx, record: Object, filling: &Filling<'_>) -> Result<(), BundleError> {
        let (key, value) =
            self.row(record, filling).map_err(|why| BundleError::refused(self.table.name, why))?;
        Ok(tx.put(&self.table, &key, &value)?)
    }
}

/// Reads a table as lines, a piece at a time.
struct Lines<'a, K, V> {
    of: &'a Of<K, V>,
    from: &'a Source,
    /// The last row that was written, and those behind it are left.
    after: Option<K>,
    held: io::Cursor<Vec<u8>>,
    done: bool,
}

impl<K: Parts + Clone, V: Serialize + DeserializeOwned> Lines<'_, K, V> {
    fn next_piece(&mut self) -> Result<(), StoreError> {
        let (of, from) = (self.of, self.from);
        let mut scan = from.read.scan(&of.table);
        if let Some(after) = &self.after {
            scan = scan.after(after);
        }
        let (mut lines, mut last, mut failed) = (Vec::new(), None, None);
        scan.each(|key, value| {
            let leaves = (of.kept)(&key, &value, from)
                && from.own.as_ref().is_none_or(|me| of.own.is_some_and(|own| own(&key, &value, me)));
            let step = if leaves { line(of, &key, &value, from, &mut lines) } else { Ok(()) };
            last = Some(key);
            failed = step.err();
            failed.is_none() && lines.len() < PIECE
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.done = lines.len() < PIECE;
        self.after = last.or(self.after.take());
        self.held = io::Cursor::new(lines);
        Ok(())
    }
}

fn line<K: Parts, V: Serialize + DeserializeOwned>(
    of: &Of<K, V>,
    key: &K,
    value: &V,
    from: &Source,
    lines: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let record = of.record(key, value, &from.slug, from.own.is_some())?;
    serde_json::to_writer(&mut *lines, &record)
        .map_err(|e| StoreError::Encoding { table: of.table.name, why: e.to_string() })?;
    lines.push(b'\n');
    Ok(())
}

impl<K: Parts + Clone, V: Serialize + DeserializeOwned> io::Read for Lines<'_, K, V> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.held.read(out)?;
            if read > 0 || self.done || out.is_empty() {
                return Ok(read);
            }
            self.next_piece().map_err(io::Error::other)?;
        }
    }
}

/// A link of the workspace, without its slug.
pub fn link_out(link: &mut Value, slug: &str) {
    let begins = format!("/w/{slug}/");
    if let Some(rest) = link.as_str().and_then(|text| text.strip_prefix(&begins)) {
        *link = json!(format!("{ANYWHERE}{rest}"));
    }
}

/// A link of the workspace, with its slug.
pub fn link_in(link: &mut Value, slug: &str) {
    if let Some(rest) = link.as_str().and_then(|text| text.strip_prefix(ANYWHERE)) {
        *link = json!(format!("/w/{slug}/{rest}"));
    }
}

/// Calls `line` with each line of a file of records, its number from 1 and its object; lines beyond `longest` bytes and what
/// is no JSON object are refused.
pub fn each_record(
    from: &mut dyn io::Read,
    longest: usize,
    mut record: impl FnMut(u64, Object) -> Result<ControlFlow<()>, BundleError>,
) -> Result<u64, BundleError> {
    let (mut from, mut line, mut number) = (io::BufReader::with_capacity(64 << 10, from), Vec::new(), 0);
    loop {
        line.clear();
        let read = io::BufRead::read_until(&mut from.by_ref().take(longest as u64 + 1), b'\n', &mut line)?;
        if read == 0 {
            return Ok(number);
        }
        number += 1;
        if read > longest || line.last() != Some(&b'\n') {
            return Err(BundleError::Refused(format!("line {number} is too long or does not end")));
        }
        let object = serde_json::from_slice(&line)
            .map_err(|_| BundleError::Refused(format!("line {number} is no JSON object")))?;
        if record(number, object)?.is_break() {
            return Ok(number);
        }
    }
}
