//! One state of a workspace, while a backup reads it: its rows as of one commit and the blobs that these rows name. People
//! go on working meanwhile: what they remove is gone for them at once and for the disk when the backup lets go.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blobs::BlobName;
use super::{Tenant, Workspace};
use crate::seal::OpeningReader;
use crate::store::{Snapshot, StoreError};

/// Below the folder of the workspace: links to blobs, one folder a backup.
const FOLDER: &str = "held";

/// What is held. Dropping it lets go of everything.
pub struct Held {
    tenant: Arc<Tenant>,
    rows: Option<Snapshot>,
    folder: PathBuf,
    /// Blobs that were there, and whether a row names them.
    blobs: HashMap<BlobName, bool>,
}

impl Workspace {
    /// Takes hold of the last commit and of the blobs there are. Blocks, for as long as linking the blobs takes.
    pub fn hold(&self) -> Result<Held, StoreError> {
        let tenant = Arc::clone(&self.tenant);
        let folder = tenant.home.join(FOLDER).join(crate::seal::hex(&tenant.random.bytes::<8>()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut held = Held { tenant: Arc::clone(&tenant), rows: None, folder, blobs: HashMap::new() };
        // A blob is there before the row that names it and goes after it: as none goes between these two steps, every
        // blob that a row of this state names is linked.
        let _none_goes = tenant.blobs.none_goes();
        held.rows = Some(tenant.file.snapshot()?);
        for name in tenant.blobs.names()? {
            tenant.blobs.link(&name, &held.folder)?;
            held.blobs.insert(name, false);
        }
        Ok(held)
    }
}

impl Held {
    /// Hands over every row, see [`Snapshot::copy_out`], and then lets go of the rows: the file can use their pages again
    /// while blobs are read.
    pub fn rows<E: From<StoreError>>(
        &mut self,
        mut row: impl FnMut(&str, &[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(rows) = self.rows.take() else { return Ok(()) };
        let blobs = &mut self.blobs;
        rows.copy_out(|table, key, value| {
            // Names are strings in JSON. A blob that no row names belongs to an upload that had not ended.
            for word in value.split(|byte| *byte == b'"').filter(|word| word.len() == 32) {
                let name = std::str::from_utf8(word).ok().and_then(|word| word.parse::<BlobName>().ok());
                if let Some(named) = name.and_then(|name| blobs.get_mut(&name)) {
                    *named = true;
                }
            }
            row(table, key, value)
        })
    }

    /// The blobs that the rows named, by name; call it after [`Held::rows`].
    pub fn blobs(&self) -> Vec<BlobName> {
        let named = self.blobs.iter().filter(|(_, named)| **named);
        let mut names: Vec<BlobName> = named.map(|(name, _)| name.clone()).collect();
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names
    }

    /// Opens one of them.
    pub fn open(&self, name: &BlobName) -> io::Result<OpeningReader<BufReader<fs::File>>> {
        self.tenant.blobs.open_linked(name, &self.folder)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What stays is swept when the workspace is opened the next time.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes what a killed backup held.
pub(super) fn sweep(home: &Path) -> io::Result<()> {
    match fs::remove_dir_all(home.join(FOLDER)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
