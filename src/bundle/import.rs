//! A bundle as a new workspace. Everything is checked first; then the workspace is filled where nobody can enter it, and one
//! commit lists it with its people. Whatever stops before that leaves nothing.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::ops::ControlFlow;
use std::sync::Arc;

use ring::digest;
use serde_json::{Value, json};

use super::BundleError;
use super::read::{Checked, check, first, unpack};
use super::table::{Filling, Object, Records, each_record};
use super::tables;
use crate::identity::control::Note;
use crate::identity::imported::Arrival;
use crate::identity::{Control, Quota, WorkspaceRow};
use crate::ids::{AccountId, RequestId, WorkspaceId};
use crate::jobs::{JobCause, enqueue_at};
use crate::knowledge::records::{CONTENTS, DOCUMENTS, Status};
use crate::knowledge::{INGEST, REINDEX};
use crate::notifications::{self, Kind, Notice};
use crate::orgs::records::ORGS;
use crate::orgs::search::INDEX;
use crate::seal::Secret;
use crate::store::audit::{AUDIT, Action, Actor, AuditEvent, Entry};
use crate::store::{Read as _, StoreError, Tx};
use crate::workspace::blobs::BlobName;
use crate::workspace::{Building, Pool, Workspace};

/// Records of one commit, in bytes as they stand in the bundle, about.
const BATCH: usize = 4 << 20;
/// What records may take besides documents.
const RECORDS: u64 = 8 << 30;
/// Bytes of a file that are written at once.
const PIECE: usize = 256 << 10;

/// Who imports, and into what.
pub struct Import<'a> {
    pub control: &'a Control,
    pub pool: &'a Arc<Pool>,
    pub by: Actor,
    /// Who owns the new workspace besides those who owned the exported one.
    pub owner: Option<AccountId>,
    /// An operator imports: the workspace keeps the limits of its own.
    pub operator: bool,
    pub request: Option<RequestId>,
}

/// Opens the bundle from its beginning; it is read twice.
pub type Open<'a> = &'a dyn Fn() -> io::Result<Box<dyn Read>>;

impl Import<'_> {
    /// The most bytes that a bundle may unpack to here.
    pub fn most(&self) -> Result<u64, StoreError> {
        Ok(self.control.settings()?.quota.bytes.saturating_add(RECORDS))
    }

    /// Checks everything and writes nothing.
    pub fn check(&self, open: Open<'_>) -> Result<Checked, BundleError> {
        let checked = check(open()?, self.most()?)?;
        let quota = self.quota(&checked)?;
        let bytes: u64 =
            checked.documents.iter().filter_map(|(record, _)| record.get("bytes")?.as_u64()).sum();
        let many = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        for (has, most, what) in [
            (bytes, quota.bytes, "bytes of documents"),
            (many(checked.documents.len()), quota.documents.into(), "documents"),
            (many(checked.people.len()), quota.members.into(), "members"),
        ] {
            if has > most {
                return Err(BundleError::Refused(format!(
                    "it has {has} {what}, and a workspace may have {most} here; the operator can raise the limit"
                )));
            }
        }
        Ok(checked)
    }

    fn quota(&self, checked: &Checked) -> Result<Quota, StoreError> {
        let own = checked.workspace.quota.filter(|_| self.operator);
        Ok(own.unwrap_or(self.control.settings()?.quota))
    }

    /// Makes a workspace of the bundle. Blocks.
    pub fn run(&self, open: Open<'_>) -> Result<(WorkspaceId, WorkspaceRow), BundleError> {
        let checked = self.check(open)?;
        let people: Vec<Arrival> = checked.people.iter().cloned().map(arrival).collect();
        let ids = self.control.accounts_of(&people)?;
        let described = &checked.workspace;
        // Also what was erased here is not made again under its old id.
        let kept = self.control.has_no_workspaces()? && self.control.erasure(described.id)?.is_none();
        let id =
            if kept { described.id } else { WorkspaceId::new(self.control.clock(), self.control.random()) };
        let row = WorkspaceRow {
            slug: self.control.slug_like(&described.slug)?,
            name: described.name.clone(),
            state: described.state,
            created: described.created,
            quota: described.quota.filter(|_| self.operator),
        };
        let building = Building::begin(self.pool, id, self.by.clone())?;
        let filler = Filler { building: &building, slug: &row.slug, ids: renamed(&ids) };
        filler.fill(open, checked)?;
        let note = Note::new(self.by.clone(), Action::WorkspaceImported, id).in_workspace(id);
        self.control.change_now(note.asked_by(self.request), |tx| {
            let known = self.control.list_imported(tx, id, row.clone(), &people, &ids, self.owner)?;
            for account in known.into_iter().filter(|account| Some(*account) != self.by.account()) {
                let title = format!("You belong to the workspace “{}” now", row.name);
                let notice = Notice::new(Kind::RoleChanged, title, format!("/w/{}/", row.slug));
                let notice = notice.body("It was imported from an export in which you were a member.");
                notifications::tell(tx, self.control, account, notice)?;
            }
            Ok::<_, BundleError>(())
        })?;
        if let Err(error) = building.finish() {
            tracing::warn!(workspace = %id, %error, "the mark of an imported workspace goes at the next start");
        }
        Ok((id, row))
    }
}

fn arrival(person: super::read::Person) -> Arrival {
    let super::read::Person { id, name, email, role, joined } = person;
    Arrival { id, name, email, role, joined }
}

/// Accounts that have another id here, as text.
fn renamed(ids: &BTreeMap<AccountId, AccountId>) -> BTreeMap<String, String> {
    let others = ids.iter().filter(|(there, here)| there != here);
    others.map(|(there, here)| (there.to_string(), here.to_string())).collect()
}

struct Filler<'a> {
    building: &'a Building,
    slug: &'a str,
    ids: BTreeMap<String, String>,
}

/// Name of a blob and keyed hash of what is in it, as rows hold them.
type File = (Value, Value);

impl Filler<'_> {
    fn fill(&self, open: Open<'_>, checked: Checked) -> Result<(), BundleError> {
        let (tables, mut files) = (tables::all(), BTreeMap::new());
        let mut unpacker = unpack(open()?)?;
        let manifest = first(&mut unpacker)?;
        if manifest != checked.manifest {
            return Err(BundleError::Refused("the file changed while it was imported".into()));
        }
        while let Some(entry) = unpacker.next_entry()? {
            let mut bytes = unpacker.member();
            let name = entry.path.strip_prefix("records/").and_then(|name| name.strip_suffix(".ndjson"));
            let table = name.and_then(|name| tables.iter().find(|table| table.name() == name));
            match table {
                Some(table) if table.name() == AUDIT.name => self.audit(&mut bytes)?,
                Some(table) if table.name() != DOCUMENTS.name => self.records(table.as_ref(), &mut bytes)?,
                _ => {
                    if let Some(document) =
                        entry.path.strip_prefix("files/").and_then(|p| p.split('/').next())
                    {
                        files.insert(document.to_owned(), self.file(&mut bytes)?);
                    }
                }
            }
            io::copy(&mut bytes, &mut io::sink())?;
        }
        if let Some(table) = tables.iter().find(|table| table.name() == DOCUMENTS.name) {
            self.documents(table.as_ref(), checked.documents, &files)?;
        }
        self.building.write(|tx| self.begin_jobs(tx))
    }

    fn records(&self, table: &dyn Records, bytes: &mut dyn Read) -> Result<(), BundleError> {
        let (mut batch, mut held) = (Vec::new(), 0);
        each_record(bytes, usize::MAX - 1, |_, record| {
            held += weight(&record);
            batch.push(record);
            if held >= BATCH {
                held = 0;
                self.put(table, std::mem::take(&mut batch), &BTreeMap::new())?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.put(table, batch, &BTreeMap::new())
    }

    fn put(
        &self,
        table: &dyn Records,
        batch: Vec<Object>,
        files: &BTreeMap<String, File>,
    ) -> Result<(), BundleError> {
        let ws = self.building.workspace();
        let filling = Filling {
            slug: self.slug,
            no_secret: &|table, key| json!(ws.seal(table, key, &Secret::new(String::new()))),
            file: &|document| files.get(document).cloned(),
        };
        self.building.write(|tx| {
            batch.into_iter().try_for_each(|record| table.put(tx, self.renamed(record), &filling))
        })
    }

    /// Lines of the audit log, in a chain under the key of this workspace.
    fn audit(&self, bytes: &mut dyn Read) -> Result<(), BundleError> {
        let mut batch: Vec<Entry> = Vec::new();
        let append = |batch: Vec<Entry>| {
            self.building.write(|tx| {
                batch.into_iter().try_for_each(|entry| self.building.append(tx, entry).map(|_| ()))
            })
        };
        each_record(bytes, usize::MAX - 1, |_, record| {
            let mut record = self.renamed(record);
            record.shift_remove("line");
            let event: AuditEvent = serde_json::from_value(Value::Object(record))
                .map_err(|e| BundleError::refused(AUDIT.name, e))?;
            let AuditEvent { at, actor, action, target, workspace, request, .. } = event;
            batch.push(Entry { at, actor, action, target, workspace, request });
            if batch.len() >= 5_000 {
                append(std::mem::take(&mut batch))?;
            }
            Ok::<_, BundleError>(ControlFlow::Continue(()))
        })?;
        Ok(append(batch)?)
    }

    fn file(&self, bytes: &mut dyn Read) -> Result<File, BundleError> {
        let ws = self.building.workspace();
        let (mut blob, mut hash) = (ws.blobs().create()?, digest::Context::new(&digest::SHA256));
        let mut piece = vec![0; PIECE];
        loop {
            let read = bytes.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
            blob.write_all(&piece[..read])?;
        }
        let name: BlobName = blob.finish()?;
        Ok((json!(name), json!(ws.lookup(hash.finish().as_ref()))))
    }

    fn documents(
        &self,
        table: &dyn Records,
        documents: Vec<(Object, String)>,
        files: &BTreeMap<String, File>,
    ) -> Result<(), BundleError> {
        let mut documents = documents.into_iter().map(|(record, _)| record).peekable();
        while documents.peek().is_some() {
            self.put(table, documents.by_ref().take(2_000).collect(), files)?;
        }
        self.building.write(|tx| {
            for (id, document) in tx.scan(&DOCUMENTS).rows()? {
                tx.put(&CONTENTS, &document.content, &id)?;
            }
            Ok(())
        })
    }

    /// What is not in a bundle because it follows from it: the search index, and documents that were not read yet.
    fn begin_jobs(&self, tx: &mut Tx) -> Result<(), BundleError> {
        let ws: &Workspace = self.building.workspace();
        let (cause, now) = (JobCause::of(ws), ws.clock().now_ms());
        let documents = tx.scan(&DOCUMENTS).rows()?;
        if !documents.is_empty() {
            enqueue_at(tx, &cause, REINDEX, json!({}), now)?;
        }
        for (id, mut document) in documents {
            if document.status == Status::Queued {
                document.job = enqueue_at(tx, &cause, INGEST, json!({ "document": id }), now)?;
                tx.put(&DOCUMENTS, &id, &document)?;
            }
        }
        for (id, _) in tx.scan(&ORGS).rows()? {
            enqueue_at(tx, &cause, INDEX, json!({ "org": id }), now)?;
        }
        Ok(())
    }

    fn renamed(&self, record: Object) -> Object {
        if self.ids.is_empty() {
            return record;
        }
        record.into_iter().map(|(name, value)| (name, self.renamed_value(value))).collect()
    }

    fn renamed_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.ids.get(&text).cloned().unwrap_or(text)),
            Value::Array(items) => items.into_iter().map(|item| self.renamed_value(item)).collect(),
            Value::Object(fields) => Value::Object(self.renamed(fields)),
            other => other,
        }
    }
}

/// About how many bytes a record takes.
fn weight(record: &Object) -> usize {
    record.values().map(|value| value.as_str().map_or(64, str::len)).sum()
}
