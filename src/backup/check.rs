//! Reading a backup back: every seal, length and checksum, every key, and that what must be there is there, in its order.
//! The first broken place is named. `restore` reads the same way and keeps what it reads.

use std::collections::HashSet;
use std::io::{self, Read};

use super::format::{Member, MembersIn, RowsIn};
use super::sealed::{Sealed, Stream, wrapping};
use super::{BackupError, Progress, Watch};
use crate::ids::WorkspaceId;
use crate::seal::{DataKey, WrappedKey};
use crate::workspace::blobs::BlobName;
use crate::workspace::pool::FORMAT;

/// Told of progress after so many members or rows.
const EVERY: u64 = 1 << 12;

/// What takes what is read. Nothing of it is certain before the end was read.
pub trait Taker {
    /// The data key of `place`.
    fn key(&mut self, place: &str, key: &DataKey) -> Result<(), BackupError>;
    /// The rows of the control file, or of a workspace whose key came before. What is not read of them is skipped.
    fn rows(
        &mut self,
        of: Option<WorkspaceId>,
        rows: &mut RowsIn<&mut MembersIn<Stream>>,
        each: &mut dyn FnMut() -> Result<(), BackupError>,
    ) -> Result<(), BackupError>;
    /// A file of a workspace whose rows came before.
    fn blob(&mut self, of: WorkspaceId, name: &BlobName, from: &mut dyn Read) -> Result<(), BackupError>;
}

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Contents {
    pub workspaces: u64,
    /// Files of all workspaces.
    pub blobs: u64,
    pub rows: u64,
}

/// Reads all of it and keeps nothing.
pub fn check(sealed: &Sealed, key: &DataKey, watch: Watch<'_>) -> Result<Contents, BackupError> {
    walk(sealed, key, &mut Nothing, watch)
}

struct Nothing;

impl Taker for Nothing {
    fn key(&mut self, _: &str, _: &DataKey) -> Result<(), BackupError> {
        Ok(())
    }

    fn rows(
        &mut self,
        _: Option<WorkspaceId>,
        rows: &mut RowsIn<&mut MembersIn<Stream>>,
        each: &mut dyn FnMut() -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        while rows.advance()? {
            each()?;
        }
        Ok(())
    }

    fn blob(&mut self, _: WorkspaceId, _: &BlobName, from: &mut dyn Read) -> Result<(), BackupError> {
        io::copy(from, &mut io::sink())?;
        Ok(())
    }
}

/// Hands all of a backup to `taker`.
pub fn walk(
    sealed: &Sealed,
    key: &DataKey,
    taker: &mut impl Taker,
    watch: Watch<'_>,
) -> Result<Contents, BackupError> {
    let members = sealed.members(key)?;
    let mut walk =
        Walk { key, members, keys: HashSet::new(), contents: Contents::default(), last: None, watch };
    let walked = walk.all(taker);
    walked.map_err(|error| match error {
        BackupError::Io(e)
            if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            let (from, to) = sealed.bytes_around(walk.members.inner().position());
            let place = walk.last.map_or_else(|| "its first member".to_owned(), |member| member.to_string());
            let why = if e.kind() == io::ErrorKind::UnexpectedEof {
                "it ends too early".into()
            } else {
                e.to_string()
            };
            BackupError::Broken { place: format!("{place}, bytes {from} to {to}"), why }
        }
        other => other,
    })
}

struct Walk<'a> {
    key: &'a DataKey,
    members: MembersIn<Stream>,
    keys: HashSet<String>,
    contents: Contents,
    last: Option<Member>,
    watch: Watch<'a>,
}

fn wrong(why: &str) -> BackupError {
    BackupError::Io(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()))
}

impl Walk<'_> {
    fn all(&mut self, taker: &mut impl Taker) -> Result<Contents, BackupError> {
        let (mut versions, mut controls, mut workspace) = (0, 0, None);
        while let Some(member) = self.members.advance()? {
            self.last = Some(member.clone());
            if (versions == 0) != matches!(member, Member::Version {}) {
                return Err(wrong("the format number has to stand first"));
            }
            match member {
                Member::Version {} => {
                    versions += 1;
                    self.version()?;
                }
                Member::Key { place } => {
                    let key = self.data_key(&place)?;
                    taker.key(&place, &key)?;
                    self.keys.insert(place);
                }
                Member::Control {} => {
                    controls += 1;
                    self.rows(None, taker)?;
                }
                Member::Workspace { id } => {
                    workspace = Some(id);
                    self.rows(Some(id), taker)?;
                    self.contents.workspaces += 1;
                    self.tell()?;
                }
                Member::Blob { workspace: id, name } => {
                    let name = name.parse().map_err(|_| wrong("this is no name of a file"))?;
                    if workspace != Some(id) {
                        return Err(wrong("a file stands behind another workspace"));
                    }
                    taker.blob(id, &name, &mut self.members)?;
                    self.contents.blobs += 1;
                    self.tell()?;
                }
            }
        }
        if controls != 1 {
            return Err(wrong("there have to be one control file and no second one"));
        }
        self.tell()?;
        Ok(self.contents.clone())
    }

    fn version(&mut self) -> Result<(), BackupError> {
        let mut text = String::new();
        (&mut self.members).take(16).read_to_string(&mut text)?;
        match text.trim().parse::<u32>() {
            Ok(found) if found > FORMAT => Err(BackupError::Newer(found)),
            Ok(_) => Ok(()),
            Err(_) => Err(wrong("this is no format number")),
        }
    }

    fn data_key(&mut self, place: &str) -> Result<DataKey, BackupError> {
        if !matches!(place, "control" | "recovery") && place.parse::<WorkspaceId>().is_err() {
            return Err(wrong("this is no place of a key"));
        }
        let mut wrapped = Vec::new();
        (&mut self.members).take(1024).read_to_end(&mut wrapped)?;
        wrapping(self.key)
            .unwrap_key(&WrappedKey(wrapped), place)
            .map_err(|_| wrong("the key can't be opened"))
    }

    fn rows(&mut self, of: Option<WorkspaceId>, taker: &mut impl Taker) -> Result<(), BackupError> {
        let place = of.map_or_else(|| "control".to_owned(), |id| id.to_string());
        if !self.keys.remove(&place) {
            return Err(wrong("the key of these rows is missing, or they come twice"));
        }
        let (contents, watch) = (&mut self.contents, &mut *self.watch);
        let mut rows = RowsIn::new(&mut self.members);
        taker.rows(of, &mut rows, &mut || {
            contents.rows += 1;
            if contents.rows.is_multiple_of(EVERY) {
                watch(Progress { bytes: 0, workspaces: contents.workspaces, of: 0 })?;
            }
            Ok(())
        })?;
        if self.members.read(&mut [0])? > 0 {
            return Err(wrong("something follows the rows"));
        }
        Ok(())
    }

    fn tell(&mut self) -> Result<(), BackupError> {
        let bytes = self.members.inner().position();
        (self.watch)(Progress { bytes, workspaces: self.contents.workspaces, of: 0 })
    }
}
