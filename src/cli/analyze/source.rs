//! Metadata from a folder, a zip or one file, in SFDX or Metadata API layout. Everything in it is hostile: sizes
//! and counts are bounded, links are not followed, names never become paths on disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::insights::rules::{Component, FileError};

const MAX_FILES: usize = 200_000;
const MAX_FILE: u64 = 10 * 1024 * 1024;
const MAX_TOTAL: u64 = 1024 * 1024 * 1024;
const MAX_DEPTH: usize = 40;

pub struct Loaded {
    /// How many files there were, of any kind.
    pub files: usize,
    pub components: Vec<Owned>,
    pub errors: Vec<FileError>,
}

/// A component with its text.
pub struct Owned {
    kind: &'static str,
    name: String,
    file: String,
    source: String,
    api_version: Option<f64>,
    active: bool,
}

impl Owned {
    pub fn component(&self) -> Component<'_> {
        Component {
            api_version: self.api_version,
            active: self.active,
            ..Component::new(self.kind, &self.name, &self.file, &self.source)
        }
    }
}

/// Reads everything that is checked.
///
/// # Errors
/// When the path can't be read, or holds more than can be checked at once.
pub fn load(path: &Path) -> Result<Loaded, String> {
    let told = |error: std::io::Error| format!("{} can't be read: {error}.", path.display());
    let kind = std::fs::metadata(path).map_err(told)?;
    let mut reading = Reading::default();
    if kind.is_dir() {
        let mut names = Vec::new();
        walk(path, "", 0, &mut names).map_err(told)?;
        names.sort_unstable();
        for name in names {
            reading.counted()?;
            if classify(&name).is_some() {
                reading.take(&name, File::open(path.join(&name)).map_err(|error| error.to_string()))?;
            }
        }
    } else if is_zip(path).map_err(told)? {
        reading.zip(path)?;
    } else {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if classify(&name).is_none() {
            return Err(format!(
                "{} is no folder, no zip and no metadata file that is checked.",
                path.display()
            ));
        }
        reading.counted()?;
        reading.take(&name, File::open(path).map_err(|error| error.to_string()))?;
    }
    Ok(reading.finish())
}

fn is_zip(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::with_capacity(4);
    File::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06"))
}

/// Relative names of all files, with `/`. Links, hidden folders and installed modules are left out.
fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type()?;
        let full = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if kind.is_dir() {
            if depth < MAX_DEPTH && !name.starts_with('.') && name != "node_modules" {
                walk(&entry.path(), &full, depth + 1, names)?;
            }
        } else if kind.is_file() && !name.starts_with('.') && names.len() <= MAX_FILES {
            names.push(full);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Reading {
    files: usize,
    total: u64,
    components: Vec<Owned>,
    errors: Vec<FileError>,
    /// Of Apex: what the `-meta.xml` beside it says, by the name of the source.
    about: HashMap<String, (Option<f64>, bool)>,
}

impl Reading {
    fn counted(&mut self) -> Result<(), String> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(format!("There are more than {MAX_FILES} files. Check a part of them at a time."));
        }
        Ok(())
    }

    fn zip(&mut self, path: &Path) -> Result<(), String> {
        let damaged =
            |error: zip::result::ZipError| format!("{} is no zip that can be read: {error}.", path.display());
        let file = File::open(path).map_err(|error| format!("{} can't be read: {error}.", path.display()))?;
        let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(damaged)?;
        if archive.len() > MAX_FILES {
            return Err(format!("There are more than {MAX_FILES} files. Check a part of them at a time."));
        }
        let mut order: Vec<(String, usize)> = Vec::new();
        for place in 0..archive.len() {
            let name = archive.name_for_index(place).and_then(Result::ok).unwrap_or_default().into_owned();
            if !name.ends_with('/') {
                self.counted()?;
                order.push((name, place));
            }
        }
        order.sort_unstable();
        for (name, place) in order {
            if name.starts_with('/') || name.contains('\\') || name.split('/').any(|part| part == "..") {
                self.failed(&name, "The name points outside the zip, so the file was left out.");
            } else if classify(&name).is_some() {
                match archive.by_index(place) {
                    Ok(entry) => self.take(&name, Ok(entry))?,
                    Err(error) => {
                        self.failed(&name, &format!("The file can't be read from the zip: {error}."));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads one file. What is wrong with it becomes an entry; only the size of everything stops the run.
    fn take(&mut self, name: &str, reader: Result<impl Read, String>) -> Result<(), String> {
        let mut bytes = Vec::new();
        let read =
            reader.and_then(|r| r.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| e.to_string()));
        if let Err(error) = read {
            self.failed(name, &format!("The file can't be read: {error}."));
            return Ok(());
        }
        if bytes.len() as u64 > MAX_FILE {
            self.failed(name, "The file is larger than 10 MB, so it was not checked.");
            return Ok(());
        }
        self.total += bytes.len() as u64;
        if self.total > MAX_TOTAL {
            return Err("There is more than 1 GB of metadata. Check a part of it at a time.".into());
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.add(name, text),
            Err(_) => self.failed(name, "The file is not UTF-8 text, so it was not checked."),
        }
        Ok(())
    }

    fn add(&mut self, file: &str, text: String) {
        let source = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        match classify(file) {
            Some(Found::About(of)) => {
                self.about.insert(of, about(&source));
            }
            Some(Found::Component(kind, name)) => {
                let file = file.to_owned();
                self.components.push(Owned { kind, name, file, source, api_version: None, active: true });
            }
            None => {}
        }
    }

    fn failed(&mut self, file: &str, message: &str) {
        self.errors.push(FileError { file: file.to_owned(), message: message.to_owned() });
    }

    fn finish(mut self) -> Loaded {
        for component in &mut self.components {
            if let Some((version, active)) = self.about.get(&component.file) {
                component.api_version = *version;
                component.active = *active;
            }
        }
        Loaded { files: self.files, components: self.components, errors: self.errors }
    }
}

enum Found {
    /// The `-meta.xml` of this Apex source.
    About(String),
    Component(&'static str, String),
}

/// What a file is, by its name.
fn classify(path: &str) -> Option<Found> {
    let source = path.strip_suffix("-meta.xml");
    let plain = source.unwrap_or(path);
    let (folder, name) = plain.rsplit_once('/').unwrap_or(("", plain));
    let (stem, ending) = name.rsplit_once('.')?;
    let component = |kind| Some(Found::Component(kind, stem.to_owned()));
    match (ending, source) {
        ("cls" | "trigger", Some(of)) => Some(Found::About(of.to_owned())),
        ("cls", None) => component("ApexClass"),
        ("trigger", None) => component("ApexTrigger"),
        ("flow", _) => component("Flow"),
        ("object", _) => component("CustomObject"),
        ("permissionset", _) => component("PermissionSet"),
        ("workflow", _) => component("Workflow"),
        ("field", Some(_)) => {
            let object = folder.strip_suffix("/fields")?.rsplit('/').next()?;
            Some(Found::Component("CustomField", format!("{object}.{stem}")))
        }
        _ => None,
    }
}

/// API version and whether it is active, from a `-meta.xml`.
fn about(xml: &str) -> (Option<f64>, bool) {
    let value = |tag: &str| {
        let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
        rest.split('<').next().map(str::trim)
    };
    (
        value("apiVersion").and_then(|v| v.parse().ok()),
        value("status").is_none_or(|s| s.eq_ignore_ascii_case("Active")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_and_name(path: &str) -> Option<(&'static str, String)> {
        match classify(path) {
            Some(Found::Component(kind, name)) => Some((kind, name)),
            _ => None,
        }
    }

    #[test]
    fn both_layouts_are_known_by_name() {
        for (path, kind, name) in [
            ("unpackaged/classes/A.cls", "ApexClass", "A"),
            ("force-app/main/default/triggers/T.trigger", "ApexTrigger", "T"),
            ("flows/F.flow", "Flow", "F"),
            ("flows/F.flow-meta.xml", "Flow", "F"),
            ("objects/Account.object", "CustomObject", "Account"),
            ("objects/Account/Account.object-meta.xml", "CustomObject", "Account"),
            ("objects/Account/fields/X__c.field-meta.xml", "CustomField", "Account.X__c"),
        ] {
            assert_eq!(kind_and_name(path), Some((kind, name.to_owned())), "{path}");
        }
        assert!(
            matches!(classify("classes/A.cls-meta.xml"), Some(Found::About(of)) if of == "classes/A.cls")
        );
        assert!(kind_and_name("README.md").is_none());
        assert!(kind_and_name("x.field-meta.xml").is_none());
    }

    #[test]
    fn a_meta_file_gives_version_and_status() {
        let xml = "<ApexClass><apiVersion>29.0</apiVersion><status>Inactive</status></ApexClass>";
        assert_eq!(about(xml), (Some(29.0), false));
        assert_eq!(about("<x/>"), (None, true));
    }
}
