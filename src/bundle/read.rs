//! Checking a bundle from its first byte to its last, before anything of it is taken: format, order and names of its members,
//! sizes and checksums, every record against its schema, its order and its form, every document with its file.

use std::io::{self, Read};
use std::ops::ControlFlow;

use ring::digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::BundleError;
use super::container::Unpacker;
use super::manifest::{self, Described, MANIFEST, Manifest, Member, README};
use super::table::{Filling, Object, Records, each_record};
use super::write::{file_path, members_schema};
use super::{schema, tables};
use crate::identity::{Email, Role};
use crate::ids::AccountId;
use crate::store::audit::{AUDIT, AuditEvent, follows};

/// The largest manifest, in bytes.
const LARGEST_MANIFEST: u64 = 64 << 20;
/// The longest record, and the longest of a document or a person, in bytes.
const LONGEST: usize = 16 << 20;
const LONGEST_SMALL: usize = 64 << 10;
/// Documents and people of a bundle, at most.
const MOST_DOCUMENTS: usize = 100_000;
const MOST_PEOPLE: usize = 10_000;
/// Memory that unpacking may take for what it looks back at: 8 MiB.
const WINDOW: u32 = 23;

/// A bundle that was checked.
#[derive(Debug)]
pub struct Checked {
    pub manifest: Manifest,
    pub workspace: Described,
    pub people: Vec<Person>,
    /// Records of documents, and where their files stand.
    pub documents: Vec<(Object, String)>,
}

/// A member of the exported workspace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub id: AccountId,
    pub name: String,
    pub email: Email,
    pub role: Role,
    pub joined: jiff::Timestamp,
}

/// The archive behind its compression.
pub fn unpack<R: Read>(from: R) -> Result<Unpacker<impl Read>, BundleError> {
    let mut plain = zstd::Decoder::new(from).map_err(damaged)?;
    plain.window_log_max(WINDOW).map_err(damaged)?;
    Ok(Unpacker::new(Plain(plain)))
}

/// Reads a bundle to its end and checks everything. What it unpacks to may have `most` bytes.
pub fn check(from: impl Read, most: u64) -> Result<Checked, BundleError> {
    check_archive(unpack(from)?, most)
}

/// [`check`] behind the compression.
pub fn check_archive(mut unpacker: Unpacker<impl Read>, most: u64) -> Result<Checked, BundleError> {
    let manifest = first(&mut unpacker)?;
    let workspace = manifest.workspace.clone().ok_or_else(|| {
        BundleError::Refused("this is the data of a person, not of a workspace; it can't be imported".into())
    })?;
    if !is_slug(&workspace.slug) {
        return Err(refused(MANIFEST, "the slug of the workspace can't be part of an address"));
    }
    let unpacked = manifest.members.iter().try_fold(0u64, |sum, member| sum.checked_add(member.bytes));
    if unpacked.is_none_or(|bytes| bytes > most) {
        return Err(BundleError::Refused(format!(
            "it unpacks to more than the {} MB that are taken here; the operator can raise the limit of workspaces",
            most >> 20
        )));
    }
    let tables = tables::all();
    in_order(&manifest, &tables)?;
    let mut checked =
        Checked { manifest: manifest.clone(), workspace, people: Vec::new(), documents: Vec::new() };
    let mut files = 0;
    for member in &manifest.members {
        let entry = unpacker.next_entry()?.ok_or_else(|| refused(&member.path, "it is missing"))?;
        if entry.path != member.path || entry.bytes != member.bytes {
            return Err(refused(&entry.path, "the manifest names another file, or another size, here"));
        }
        let mut bytes = Hashed { from: unpacker.member(), hash: digest::Context::new(&digest::SHA256) };
        checked.member(member, &tables, &mut files, &mut bytes).map_err(|error| error.at(&member.path))?;
        io::copy(&mut bytes, &mut io::sink())?;
        if crate::seal::hex(bytes.hash.finish().as_ref()) != member.sha256 {
            return Err(refused(&member.path, "its bytes are not those that were exported (SHA-256)"));
        }
    }
    if unpacker.next_entry()?.is_some() {
        return Err(BundleError::Refused("it holds files that its manifest does not name".into()));
    }
    if files != checked.documents.len() {
        return Err(BundleError::Refused("the file of a document is missing".into()));
    }
    Ok(checked)
}

/// The manifest of a bundle that this build reads.
pub fn first(unpacker: &mut Unpacker<impl Read>) -> Result<Manifest, BundleError> {
    let entry =
        unpacker.next_entry()?.filter(|entry| entry.path == MANIFEST && entry.bytes <= LARGEST_MANIFEST);
    entry.ok_or_else(|| BundleError::Refused("this is no bundle of Vynos: it has no manifest".into()))?;
    let mut bytes = Vec::new();
    unpacker.member().read_to_end(&mut bytes)?;
    let head: Value = serde_json::from_slice(&bytes).map_err(|_| refused(MANIFEST, "it is no JSON"))?;
    if head["format"] != manifest::FORMAT {
        return Err(BundleError::Refused("this is no bundle of Vynos".into()));
    }
    if head["format_version"] != manifest::VERSION {
        return Err(BundleError::Refused(format!(
            "it has format {}, and this version of Vynos reads {}; use the version that wrote it, or a later one",
            head["format_version"],
            manifest::VERSION
        )));
    }
    serde_json::from_value(head).map_err(|e| refused(MANIFEST, e))
}

/// As slugs are made: a few more characters than a name gives, for its suffix.
fn is_slug(slug: &str) -> bool {
    (1..=46).contains(&slug.len())
        && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !slug.starts_with('-')
        && !slug.ends_with('-')
}

/// Every table once and in its place, then files; nothing else.
fn in_order(manifest: &Manifest, tables: &[Box<dyn Records>]) -> Result<(), BundleError> {
    let mut expected = vec![README.to_owned(), "schema/members.json".to_owned()];
    expected.extend(tables.iter().map(|table| format!("schema/{}.json", table.name())));
    expected.push("records/members.ndjson".into());
    expected.extend(tables.iter().map(|table| format!("records/{}.ndjson", table.name())));
    for (n, path) in expected.iter().enumerate() {
        match manifest.members.get(n) {
            Some(member) if member.path == *path => {}
            Some(member) => {
                return Err(refused(&member.path, format!("{path} was expected in this place")));
            }
            None => return Err(refused(path, "it is missing")),
        }
    }
    match manifest.members[expected.len()..].iter().find(|member| !member.path.starts_with("files/")) {
        Some(member) => Err(refused(&member.path, "this version of Vynos does not know it")),
        None => Ok(()),
    }
}

impl Checked {
    fn member(
        &mut self,
        member: &Member,
        tables: &[Box<dyn Records>],
        files: &mut usize,
        bytes: &mut dyn Read,
    ) -> Result<(), BundleError> {
        if member.path.starts_with("files/") {
            let (record, path) = self
                .documents
                .get(*files)
                .ok_or_else(|| BundleError::Refused("there is no document of it".into()))?;
            if *path != member.path || record.get("bytes") != Some(&json!(member.bytes)) {
                return Err(BundleError::Refused("it is not the file of the next document".into()));
            }
            *files += 1;
            return Ok(());
        }
        let Some(name) = member.path.strip_prefix("records/").and_then(|n| n.strip_suffix(".ndjson")) else {
            return Ok(());
        };
        let lines = match tables.iter().find(|table| table.name() == name) {
            Some(table) => records(table.as_ref(), bytes, &mut self.documents)?,
            None => self.people(bytes)?,
        };
        if member.records == Some(lines) {
            Ok(())
        } else {
            Err(BundleError::Refused(format!("it has {lines} records, and the manifest says otherwise")))
        }
    }

    fn people(&mut self, bytes: &mut dyn Read) -> Result<u64, BundleError> {
        let schema = members_schema();
        each_record(bytes, LONGEST_SMALL, |number, record| {
            let bad = |why: &str| BundleError::Refused(format!("line {number}: {why}"));
            let record = Value::Object(record);
            schema::check(&schema, &record).map_err(|at| bad(&format!("{at} is not as its schema says")))?;
            let person: Person = serde_json::from_value(record).map_err(|e| bad(&e.to_string()))?;
            // As if it had been typed.
            let email: Email = person.email.as_str().parse()?;
            let name = crate::identity::accounts::display_name(&person.name)?;
            let known = self.people.iter().any(|known| known.email.key() == email.key());
            if known || name != person.name || email != person.email || self.people.len() >= MOST_PEOPLE {
                return Err(bad("it comes twice, or is not written as Vynos writes it"));
            }
            if self.people.last().is_some_and(|last| last.id >= person.id) {
                return Err(bad("it comes twice or out of order"));
            }
            self.people.push(person);
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// Checks the records of a table; answers how many there are. Those of documents are kept, with the places of their files.
pub fn records(
    table: &dyn Records,
    bytes: &mut dyn Read,
    kept: &mut Vec<(Object, String)>,
) -> Result<u64, BundleError> {
    let documents = table.name() == crate::knowledge::records::DOCUMENTS.name;
    let nowhere = json!("0".repeat(32));
    let filling = Filling {
        // No slug is like this: links are checked as they stand.
        slug: "\0",
        no_secret: &|_, _| json!(""),
        file: &|_| Some((nowhere.clone(), json!(vec![0; 32]))),
    };
    let (mut last, mut chain): (Option<Vec<u8>>, _) = (None, None);
    each_record(bytes, if documents { LONGEST_SMALL } else { LONGEST }, |number, record| {
        let bad = |why: String| BundleError::Refused(format!("line {number}: {why}"));
        let key = table.check(&record, &filling).map_err(bad)?;
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err(bad("it comes twice or out of order".into()));
        }
        last = Some(key);
        if table.name() == AUDIT.name {
            chain = Some(linked(chain.take(), &record).map_err(bad)?);
        }
        if documents {
            if kept.len() >= MOST_DOCUMENTS {
                return Err(bad("there are too many documents".into()));
            }
            let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
            let path = file_path(text("id"), text("name"));
            kept.push((record, path));
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// Checks that a line of the audit log follows the one before it; answers its number and hash. Of a log whose beginning was
/// pruned the first line stands for itself.
fn linked(before: Option<(u64, String)>, record: &Object) -> Result<(u64, String), String> {
    let mut record = record.clone();
    let line = record.shift_remove("line").and_then(|line| line.as_u64()).unwrap_or_default();
    let event: AuditEvent = serde_json::from_value(Value::Object(record)).map_err(|e| e.to_string())?;
    let holds = match &before {
        Some((number, hash)) => line == number + 1 && follows(hash, &event).map_err(|e| e.to_string())?,
        None => line != 1 || follows("", &event).map_err(|e| e.to_string())?,
    };
    if holds { Ok((line, event.hash)) } else { Err("the chain of the audit log is broken here".into()) }
}

fn refused(place: &str, why: impl std::fmt::Display) -> BundleError {
    BundleError::refused(place, why)
}

fn damaged(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it can't be unpacked: {error}"))
}

/// What zstd unpacks; what it can't is a damaged bundle.
struct Plain<R>(R);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out).map_err(|error| match error.kind() {
            io::ErrorKind::Other | io::ErrorKind::UnexpectedEof => damaged(error),
            _ => error,
        })
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    from: R,
    hash: digest::Context,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(out)?;
        self.hash.update(&out[..read]);
        Ok(read)
    }
}
