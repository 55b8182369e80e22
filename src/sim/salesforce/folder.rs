//! An org from files: a folder or a zip in the layout of the Metadata API.

use std::collections::BTreeMap;
use std::io::{Error, Read as _};
use std::path::Path;

/// Files that are read, and bytes of all together.
const MOST: usize = 50_000;
const LARGEST_ALL: u64 = 1 << 30;

/// Text files by their paths below the folder that holds `classes`, `objects` and so on.
pub fn read(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut files = BTreeMap::new();
    let mut left = LARGEST_ALL;
    let mut keep = |name: String, bytes: Vec<u8>| {
        left = left.checked_sub(bytes.len() as u64).filter(|_| files.len() < MOST).ok_or_else(too_much)?;
        // What is no text is no metadata that is served here.
        if let Ok(text) = String::from_utf8(bytes) {
            files.insert(name, text);
        }
        Ok(())
    };
    if path.is_dir() {
        walk(path, path, 0, &mut keep)?;
    } else {
        unzip(path, &mut keep)?;
    }
    Ok(below_the_package(files))
}

fn too_much() -> Error {
    Error::other(format!("the fixtures are more than {MOST} files or {LARGEST_ALL} bytes"))
}

fn walk(
    root: &Path,
    folder: &Path,
    depth: u32,
    keep: &mut impl FnMut(String, Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    if depth > 8 {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(root, &entry.path(), depth + 1, keep)?;
        } else if kind.is_file() {
            let path = entry.path();
            let name = path.strip_prefix(root).map_err(Error::other)?.to_string_lossy().into_owned();
            keep(name, std::fs::read(&path)?)?;
        }
    }
    Ok(())
}

fn unzip(path: &Path, keep: &mut impl FnMut(String, Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path)?).map_err(Error::other)?;
    for n in 0..zip.len() {
        let file = zip.by_index(n).map_err(Error::other)?;
        if file.is_dir() {
            continue;
        }
        let name = file.name().map_err(Error::other)?.into_owned();
        let mut bytes = Vec::new();
        file.take(LARGEST_ALL).read_to_end(&mut bytes)?;
        keep(name, bytes)?;
    }
    Ok(())
}

/// Takes off the folders above `package.xml`.
fn below_the_package(files: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let root = files.keys().filter_map(|name| name.strip_suffix("package.xml")).min_by_key(|root| root.len());
    let Some(root) = root.map(str::to_owned) else { return files };
    files.into_iter().filter_map(|(name, text)| Some((name.strip_prefix(&root)?.to_owned(), text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_below_its_package() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("src/classes")).unwrap();
        std::fs::write(dir.path().join("src/package.xml"), "<Package/>").unwrap();
        std::fs::write(dir.path().join("src/classes/A.cls"), "public class A {}").unwrap();
        std::fs::write(dir.path().join("src/classes/b.bin"), [0xff, 0xfe]).unwrap();
        let files = read(dir.path()).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["classes/A.cls", "package.xml"]);
    }
}
