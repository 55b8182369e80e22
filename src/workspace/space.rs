//! What a workspace takes on the disk, by kind.

use std::fs;
use std::io;
use std::path::Path;

use super::Workspace;

/// Bytes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Rows: conversations, metadata, findings, usage, the audit chain.
    pub keyspace: u64,
    /// What search reads.
    pub index: u64,
    /// Uploads and packages.
    pub blobs: u64,
}

impl Workspace {
    /// What it takes now. Blocks.
    pub fn space(&self) -> io::Result<Space> {
        let home = &self.tenant.home;
        let keyspace = fs::metadata(home.join("keyspace.redb"))?.len();
        Ok(Space { keyspace, index: below(&home.join("index"))?, blobs: below(&home.join("blobs"))? })
    }
}

/// Bytes of all files below a folder; none where there is no folder.
pub fn below(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let mut size = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            size += below(&entry.path())?;
        } else {
            // A file of the index may go meanwhile.
            size += entry.metadata().map(|m| m.len()).unwrap_or_default();
        }
    }
    Ok(size)
}
