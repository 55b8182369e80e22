//! A file that only this process can read and that nothing is left of: sealed under a key that is nowhere written, without a
//! name from the moment it is made.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek as _, Write};
use std::path::Path;

use crate::clock::Random;
use crate::seal::{DataKey, OpeningReader, SealingWriter, SubKey, Use, hex};

/// What the key of the file is bound to.
const NAME: &str = "spool";

/// A spool being written.
pub struct Spool {
    file: File,
    key: SubKey,
    writer: SealingWriter<BufWriter<File>>,
}

/// A spool to be read, any number of times.
pub struct Spooled {
    file: File,
    key: SubKey,
}

impl Spool {
    /// Begins one in `folder`, which is on the disk that has room for it.
    pub fn create(folder: &Path, random: &Random) -> io::Result<Self> {
        let path = folder.join(format!("spool-{}", hex(&random.bytes::<16>())));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        let key = DataKey::new().sub(Use::Blobs);
        let writer = SealingWriter::new(BufWriter::new(file.try_clone()?), &key, NAME)?;
        Ok(Self { file, key, writer })
    }

    /// Ends the writing.
    pub fn finish(self) -> io::Result<Spooled> {
        self.writer.finish()?;
        Ok(Spooled { file: self.file, key: self.key })
    }
}

impl Write for Spool {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writer.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Spooled {
    /// Reads it from its beginning. One reader at a time: they share their place in the file.
    pub fn open(&self) -> io::Result<OpeningReader<BufReader<File>>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        OpeningReader::new(BufReader::new(file), &self.key, NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_is_read_twice_and_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), &Random::system()).unwrap();
        let bytes: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        spool.write_all(&bytes).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let spooled = spool.finish().unwrap();
        for _ in 0..2 {
            let mut read = Vec::new();
            io::Read::read_to_end(&mut spooled.open().unwrap(), &mut read).unwrap();
            assert_eq!(read, bytes);
        }
    }
}
