//! Erasing a workspace's files, after the [`super::Pool`] has closed it: the key first, so that what a crash leaves
//! behind can't be read. Every call can be made again. All block.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::pool::DataDir;
use crate::ids::WorkspaceId;

impl DataDir {
    /// Overwrites the wrapped key of a workspace, syncs and unlinks it. One that is gone already is fine.
    pub fn destroy_key(&self, id: WorkspaceId) -> io::Result<()> {
        let keys = self.root().join("keys");
        // Half a write of the key may lie beside it.
        for name in [id.to_string(), format!("{id}.new")] {
            let path = keys.join(name);
            let mut file = match fs::OpenOptions::new().write(true).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
            file.write_all(&vec![0; length])?;
            file.sync_all()?;
            fs::remove_file(&path)?;
        }
        fs::File::open(&keys)?.sync_all()
    }

    /// Unlinks every file of a workspace; `unlinked` is told the bytes of each. What is gone already is fine.
    pub fn remove_home(&self, id: WorkspaceId, unlinked: &mut impl FnMut(u64)) -> io::Result<()> {
        remove(&self.home(id), unlinked)?;
        fs::File::open(self.root().join("workspaces"))?.sync_all()
    }

    /// Number and bytes of the files of a workspace.
    pub fn measure_home(&self, id: WorkspaceId) -> io::Result<(u64, u64)> {
        let mut sum = (0, 0);
        measure(&self.home(id), &mut sum)?;
        Ok(sum)
    }
}

fn measure(folder: &Path, sum: &mut (u64, u64)) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            measure(&entry.path(), sum)?;
        } else {
            *sum = (sum.0 + 1, sum.1 + entry.metadata().map(|m| m.len()).unwrap_or_default());
        }
    }
    Ok(())
}

fn remove(folder: &Path, unlinked: &mut impl FnMut(u64)) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path(), unlinked)?;
        } else {
            let bytes = entry.metadata()?.len();
            fs::remove_file(entry.path())?;
            unlinked(bytes);
        }
    }
    fs::remove_dir(folder)
}
