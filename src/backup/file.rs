//! The file that a backup is written into.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::BackupError;

/// A file, its owner's alone, that has its name only once it is whole and on the disk. Until then it is called `….new`;
/// dropped unfinished, it leaves nothing behind.
pub struct NewFile {
    writer: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file that is to be `path`. Never replaces one.
    pub fn create(path: &Path) -> Result<Self, BackupError> {
        let at = |e: io::Error| match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackupError::DiskFull,
            kind => BackupError::Io(io::Error::new(kind, format!("{}: {e}", path.display()))),
        };
        if fs::symlink_metadata(path).is_ok() {
            let said = "it is there already and was not touched; choose another name";
            return Err(at(io::Error::new(io::ErrorKind::AlreadyExists, said)));
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        // One that a killed process left.
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(e)),
            _ => {}
        }
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(at)?;
        Ok(Self { writer: BufWriter::new(file), temporary, path: path.to_owned() })
    }

    /// Puts it on the disk and gives it its name; answers its size.
    pub fn finish(mut self) -> Result<u64, BackupError> {
        self.writer.flush()?;
        let file = self.writer.get_ref();
        file.sync_all()?;
        let size = file.metadata()?.len();
        fs::rename(&self.temporary, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())?;
        Ok(size)
    }
}

impl Write for NewFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writer.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}
