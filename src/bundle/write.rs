//! Making a bundle: everything is read twice from one consistent state, first for its sizes and checksums, then into the
//! archive. Nothing is held in memory but a piece of a table or of a file.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use jiff::Timestamp;
use ring::digest;

use super::BundleError;
use super::container::{LONGEST_NAME, Packer};
use super::manifest::{self, Described, LeftOut, MANIFEST, Manifest, README};
use super::schema::{id, object, one_of, text, time};
use super::table::{Own, Records, Source};
use super::tables;
use crate::chat::records::{CONVERSATIONS, TURNS};
use crate::identity::memberships::MEMBERSHIPS;
use crate::identity::{Control, Membership, Role};
use crate::ids::{AccountId, DocumentId, TurnId};
use crate::knowledge::records::{DOCUMENTS, Status};
use crate::seal::hex;
use crate::store::{Read as _, StoreError};
use crate::workspace::Workspace;
use crate::workspace::blobs::BlobName;

/// The compression level of zstd: beyond it bundles get hardly smaller.
const LEVEL: i32 = 3;
/// Bytes that are read at once.
const PIECE: usize = 128 << 10;

/// Told how many bytes were gone through, of how many (0 = not known yet); an error stops.
pub type Step<'a> = &'a mut dyn FnMut(u64, u64) -> io::Result<()>;

/// A file of the bundle, which can be read twice.
pub struct Part<'a> {
    pub path: String,
    pub open: Box<dyn Fn() -> io::Result<Box<dyn Read + 'a>> + 'a>,
}

impl<'a> Part<'a> {
    /// Bytes that are there already.
    pub fn bytes(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            open: Box::new(move || Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>)),
        }
    }

    /// Records as lines.
    pub fn records(path: impl Into<String>, records: &[serde_json::Value]) -> Self {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        Self::bytes(path, lines.into_bytes())
    }

    /// The rows of a table.
    pub fn table(path: impl Into<String>, table: &'a dyn Records, from: &'a Source) -> Self {
        Self { path: path.into(), open: Box::new(move || Ok(table.lines(from))) }
    }
}

impl Source {
    /// All of a workspace, as of now.
    pub fn of(ws: &Workspace, slug: &str) -> Result<Self, StoreError> {
        let read = ws.read()?;
        let mut hidden = BTreeSet::new();
        read.scan(&DOCUMENTS).each(|id, document| {
            if document.status == Status::Deleting {
                hidden.insert(id);
            }
            true
        })?;
        Ok(Self { read, slug: slug.to_owned(), hidden, own: None })
    }

    /// What a workspace holds of one of its members.
    pub fn own(ws: &Workspace, slug: &str, account: AccountId, role: Role) -> Result<Self, StoreError> {
        let whole = Self::of(ws, slug)?;
        let (mut conversations, mut turns) = (BTreeSet::new(), BTreeSet::<TurnId>::new());
        whole.read.scan(&CONVERSATIONS).each(|id, conversation| {
            if conversation.owner == account {
                conversations.insert(id);
            }
            true
        })?;
        whole.read.scan(&TURNS).each(|id, turn| {
            if conversations.contains(&turn.conversation) {
                turns.insert(id);
            }
            true
        })?;
        Ok(Self { own: Some(Own { account, role, conversations, turns }), ..whole })
    }
}

/// Writes the bundle of a workspace, compressed.
pub fn pack_workspace(
    control: &Control,
    ws: &Workspace,
    at: Timestamp,
    out: impl Write,
    step: Step<'_>,
) -> Result<(), BundleError> {
    let row =
        control.workspace(ws.id())?.ok_or_else(|| BundleError::Refused("the workspace is gone".into()))?;
    let from = Source::of(ws, &row.slug)?;
    let described = Described::of(ws.id(), &row);
    let left_out = manifest::left_out();
    let all = tables::all();
    let mut parts = vec![Part::bytes(README, manifest::readme(Some(&described), &left_out).into_bytes())];
    parts.push(Part::bytes("schema/members.json", pretty(&members_schema())?));
    for table in &all {
        parts.push(Part::bytes(format!("schema/{}.json", table.name()), pretty(&table.schema(false))?));
    }
    parts.push(Part::records("records/members.ndjson", &members(control, ws)?));
    for table in &all {
        parts.push(Part::table(format!("records/{}.ndjson", table.name()), table.as_ref(), &from));
    }
    parts.extend(files(ws, &from)?);
    pack(Some(described), left_out, at, &parts, out, step)
}

/// The JSON Schema of the people of a workspace.
pub fn members_schema() -> serde_json::Value {
    let roles = Role::ALL.map(Role::name);
    object([("id", id()), ("name", text()), ("email", text()), ("role", one_of(&roles)), ("joined", time())])
}

fn members(control: &Control, ws: &Workspace) -> Result<Vec<serde_json::Value>, StoreError> {
    let read = control.read()?;
    let mut records = Vec::new();
    let mut people = control.people_of(ws.id())?;
    people.sort_by_key(|(account, ..)| *account);
    for (account, person, _) in people {
        let Some(Membership { role, joined }) = read.get(&MEMBERSHIPS, &(account, ws.id()))? else {
            continue;
        };
        records.push(serde_json::json!({
            "id": account, "name": person.name, "email": person.email, "role": role, "joined": joined,
        }));
    }
    Ok(records)
}

fn files<'a>(ws: &'a Workspace, from: &Source) -> Result<Vec<Part<'a>>, StoreError> {
    let mut files: Vec<(DocumentId, String, BlobName)> = Vec::new();
    from.read.scan(&DOCUMENTS).each(|id, document| {
        if !from.hidden.contains(&id) {
            files.push((id, document.name, document.blob));
        }
        true
    })?;
    let part = |(id, name, blob): (DocumentId, String, BlobName)| Part {
        path: file_path(&id.to_string(), &name),
        open: Box::new(move || Ok(Box::new(ws.blobs().open(&blob)?) as Box<dyn Read>)),
    };
    Ok(files.into_iter().map(part).collect())
}

/// Where the file of a document stands in a bundle: its name without what file systems read in their own way, not too long,
/// with its ending.
pub fn file_path(document: &str, name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c }).collect();
    let (stem, ending) = match plain.rsplit_once('.') {
        Some((stem, ending)) if ending.len() <= 16 => (stem, format!(".{ending}")),
        _ => (plain.as_str(), String::new()),
    };
    let mut cut = stem.len().min(LONGEST_NAME - ending.len());
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    let name = format!("{}{ending}", &stem[..cut]);
    let name = if name.trim_matches('.').is_empty() { "file" } else { &name };
    format!("files/{document}/{name}")
}

/// Writes an archive of these parts behind its manifest.
pub fn pack(
    workspace: Option<Described>,
    left_out: Vec<LeftOut>,
    at: Timestamp,
    parts: &[Part<'_>],
    out: impl Write,
    step: Step<'_>,
) -> Result<(), BundleError> {
    let (mut members, mut gone) = (Vec::new(), 0);
    for part in parts {
        members.push(measured(part, &mut |more| {
            gone += more;
            step(gone, 0)
        })?);
    }
    let all: u64 = members.iter().map(|member| member.bytes).sum();
    let manifest = Manifest {
        format: manifest::FORMAT.into(),
        format_version: manifest::VERSION,
        product_version: env!("CARGO_PKG_VERSION").into(),
        exported: at,
        workspace,
        left_out,
        members,
    };
    let mut packer =
        Packer::new(zstd::Encoder::new(out, LEVEL)?, u64::try_from(at.as_second()).unwrap_or_default());
    let head = pretty(&manifest)?;
    packer.put(MANIFEST, head.len() as u64, &mut head.as_slice())?;
    let mut gone = 0;
    for (part, member) in parts.iter().zip(&manifest.members) {
        let mut from = Counting {
            from: (part.open)()?,
            step: &mut |more| {
                gone += more;
                step(gone, all)
            },
        };
        packer.put(&part.path, member.bytes, &mut from)?;
    }
    packer.finish()?.finish()?.flush()?;
    Ok(())
}

fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, BundleError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn measured(part: &Part<'_>, step: &mut dyn FnMut(u64) -> io::Result<()>) -> io::Result<manifest::Member> {
    let (mut from, mut piece) = ((part.open)()?, vec![0; PIECE]);
    let (mut hash, mut bytes, mut lines) = (digest::Context::new(&digest::SHA256), 0, 0);
    let counts_lines = part.path.rsplit('.').next() == Some("ndjson");
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
        if counts_lines {
            lines += piece[..read].split(|b| *b == b'\n').count() as u64 - 1;
        }
        step(read as u64)?;
    }
    Ok(manifest::Member {
        path: part.path.clone(),
        bytes,
        sha256: hex(hash.finish().as_ref()),
        records: counts_lines.then_some(lines),
    })
}

/// Tells how much was read.
struct Counting<'a, R> {
    from: R,
    step: &'a mut dyn FnMut(u64) -> io::Result<()>,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(out)?;
        (self.step)(read as u64)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain_and_keep_their_ending() {
        let path = |name: &str| file_path("x", name);
        assert_eq!(path("Runbook 2026.pdf"), "files/x/Runbook 2026.pdf");
        assert_eq!(path("a:b?.md"), "files/x/a_b_.md");
        assert_eq!(path("..."), "files/x/file");
        let long = path(&format!("{}.markdown", "é".repeat(190)));
        assert!(long.len() <= "files/x/".len() + LONGEST_NAME && long.ends_with("é.markdown"), "{long}");
    }
}
