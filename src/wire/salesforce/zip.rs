//! Archives of the Metadata API, read with bounds: whatever a server or a person sends, only so much is
//! unpacked, and names never become paths on this machine.

use std::io::{Cursor, Read as _};

use super::SalesforceError;

/// Files in one archive (the platform's own limit for a retrieve).
const MOST_FILES: usize = 10_000;
/// Unpacked bytes of one file, and of all.
const LARGEST_FILE: u64 = 50 << 20;
const LARGEST_ALL: u64 = 600 << 20;

/// One file of an archive: its path below the package's folder, and its bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// Reads an archive. The leading folder (`unpackaged/`) is taken off the paths.
pub fn read(archive: &[u8]) -> Result<Vec<Entry>, SalesforceError> {
    let bad = |e: String| SalesforceError::Malformed(format!("the archive can't be read: {e}"));
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).map_err(|e| bad(e.to_string()))?;
    if zip.len() > MOST_FILES {
        return Err(bad(format!("it has {} files, at most {MOST_FILES} are read", zip.len())));
    }
    let (mut entries, mut total) = (Vec::with_capacity(zip.len()), 0);
    for n in 0..zip.len() {
        let file = zip.by_index(n).map_err(|e| bad(e.to_string()))?;
        if file.is_dir() {
            continue;
        }
        let name = file.name().map_err(|e| bad(e.to_string()))?.into_owned();
        let mut bytes = Vec::new();
        // The size in the header is a claim; what counts is what comes out.
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|e| bad(e.to_string()))?;
        total += bytes.len() as u64;
        if bytes.len() as u64 > LARGEST_FILE || total > LARGEST_ALL {
            return Err(bad("it is too large unpacked".into()));
        }
        let path = name.strip_prefix("unpackaged/").unwrap_or(&name).to_owned();
        entries.push(Entry { path, bytes });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn files_come_back_without_the_leading_folder() {
        let bytes = archive(&[("unpackaged/classes/A.cls", b"class A {}"), ("package.xml", b"<Package/>")]);
        let paths: Vec<_> = read(&bytes).unwrap().into_iter().map(|e| e.path).collect();
        assert_eq!(paths, ["classes/A.cls", "package.xml"]);
    }

    #[test]
    fn a_bomb_is_refused() {
        let bytes = archive(&[("a", &vec![0; (LARGEST_FILE + 1) as usize])]);
        assert!(bytes.len() < 200_000);
        assert!(read(&bytes).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_archives_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = archive(&[("unpackaged/classes/A.cls", b"class A { Integer x = 1; }"), ("b/c", &[7; 300])]);
            let n = at.index(bytes.len());
            bytes[n] = byte;
            let _ = read(&bytes);
            let _ = read(&bytes[..cut.index(bytes.len())]);
        }
    }
}
