//! An archive as it is read: `package.xml`, the components it names, what it deletes, and the refusals that need
//! no compiler, in Salesforce's words.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read as _};

use roxmltree::Document;

use super::Message;
use crate::sim::salesforce::kinds::{self, Part};

const MOST_FILES: usize = 10_000;
const LARGEST_ALL: u64 = 600 << 20;

/// Types that live inside an object's file.
pub const INNER: [(&str, &str); 4] = [
    ("CustomField", "fields"),
    ("ListView", "listViews"),
    ("RecordType", "recordTypes"),
    ("ValidationRule", "validationRules"),
];

/// What a deploy brings.
#[derive(Clone, Debug, Default)]
pub struct Package {
    pub parts: Vec<Part>,
    /// Type and name, in the order in which they are named.
    pub deletes: Vec<(String, String)>,
    pub failures: Vec<Message>,
    /// Before file names: nothing, or the folder of the package.
    pub root: String,
}

/// Why an archive is not taken at all.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    NoZip,
    TooMuch,
}

/// Reads an archive. What is wrong with single files becomes a failure of the deploy.
pub fn read(archive: &[u8], single_package: bool, allow_missing: bool) -> Result<Package, Unreadable> {
    let mut package = Package::default();
    let mut files = unpack(archive, &mut package)?;
    if !single_package {
        // One top folder holds the package.
        let folder = files.keys().find_map(|p| p.strip_suffix("/package.xml").filter(|f| !f.contains('/')));
        if let Some(folder) = folder.map(|f| format!("{f}/")) {
            files = files
                .into_iter()
                .filter_map(|(p, text)| Some((p.strip_prefix(&folder)?.to_owned(), text)))
                .collect();
            package.root = folder;
        }
    }
    let Some(manifest) = files.remove("package.xml") else {
        package.failures.push(package.about_manifest("package.xml", "No package.xml found"));
        return Ok(package);
    };
    for name in ["destructiveChangesPre.xml", "destructiveChanges.xml", "destructiveChangesPost.xml"] {
        if let Some(text) = files.remove(name) {
            let named = members(&mut package, name, &text);
            package.deletes.extend(named);
        }
    }
    let named = members(&mut package, "package.xml", &manifest);
    let mut named: BTreeSet<(String, String)> = named.into_iter().collect();
    for (_, part) in kinds::assemble(files) {
        take(&mut package, &mut named, part);
    }
    if !allow_missing {
        named.retain(|(kind, name)| name != "*" && !is_inside(&package, kind, name));
        package.failures.extend(named.iter().map(|(kind, name)| not_in_zip(&package.root, kind, name)));
    }
    Ok(package)
}

fn unpack(archive: &[u8], package: &mut Package) -> Result<BTreeMap<String, String>, Unreadable> {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).map_err(|_| Unreadable::NoZip)?;
    if zip.len() > MOST_FILES {
        return Err(Unreadable::TooMuch);
    }
    let (mut files, mut total) = (BTreeMap::new(), 0);
    for n in 0..zip.len() {
        let file = zip.by_index(n).map_err(|_| Unreadable::NoZip)?;
        if file.is_dir() {
            continue;
        }
        let name = file.name().map_err(|_| Unreadable::NoZip)?.into_owned();
        let mut bytes = Vec::new();
        file.take(LARGEST_ALL - total + 1).read_to_end(&mut bytes).map_err(|_| Unreadable::NoZip)?;
        total += bytes.len() as u64;
        if total > LARGEST_ALL {
            return Err(Unreadable::TooMuch);
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                files.insert(name, text);
            }
            Err(_) => {
                package.failures.push(Message::failure("", &name, &name, "The file is not text in UTF-8."));
            }
        }
    }
    Ok(files)
}

/// The `(type, member)` pairs of a manifest.
fn members(package: &mut Package, file: &str, text: &str) -> Vec<(String, String)> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let failure = package.about_manifest(file, &format!("Error parsing file: {error}"));
            package.failures.push(failure);
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for types in document.root_element().children().filter(|n| n.tag_name().name() == "types") {
        let texts = |name: &'static str| {
            types
                .children()
                .filter(move |n| n.tag_name().name() == name)
                .filter_map(|n| n.text())
                .map(|t| t.trim().to_owned())
        };
        let kind = texts("name").next().unwrap_or_default();
        if kinds::kind(&kind).is_none() && !INNER.iter().any(|(k, _)| *k == kind) {
            let problem = format!("Unknown type name '{kind}' specified in {file}");
            let failure = package.about_manifest(file, &problem);
            package.failures.push(failure);
            continue;
        }
        found.extend(texts("members").map(|member| (kind.clone(), member)));
    }
    found
}

fn take(package: &mut Package, named: &mut BTreeSet<(String, String)>, part: Part) {
    let kind = part.kind.name;
    let exact = named.remove(&(kind.to_owned(), part.name.clone()));
    let wildcard = named.contains(&(kind.to_owned(), "*".to_owned()));
    let for_inner = kind == "CustomObject" && names_inside(named, &part.name);
    let file = format!("{}{}", package.root, part.file);
    if !(exact || wildcard || for_inner) {
        package.failures.push(Message::failure(kind, &file, &part.name, "Not in package.xml"));
    } else if !part.has_source && (!part.kind.bundle || part.extra.is_empty()) {
        package.failures.push(not_in_zip(&package.root, kind, &part.name));
    } else if part.kind.meta && part.meta.is_none() {
        let problem = format!("Metadata file {}-meta.xml is missing", part.file);
        package.failures.push(Message::failure(kind, &file, &part.name, &problem));
    } else {
        package.parts.push(part);
    }
}

fn not_in_zip(root: &str, kind: &str, name: &str) -> Message {
    let problem = format!(
        "An object '{name}' of type {kind} was named in package.xml, but was not found in zipped directory"
    );
    Message::failure(kind, &format!("{root}package.xml"), name, &problem)
}

/// Whether a manifest names something inside this object.
fn names_inside(named: &BTreeSet<(String, String)>, object: &str) -> bool {
    named.iter().any(|(kind, name)| {
        INNER.iter().any(|(k, _)| k == kind) && name.split_once('.').is_some_and(|(o, _)| o == object)
    })
}

/// Whether `Object.Member` of a type that lives in an object's file is there.
fn is_inside(package: &Package, kind: &str, name: &str) -> bool {
    let (Some((_, element)), Some((object, member))) =
        (INNER.iter().find(|(k, _)| *k == kind), name.split_once('.'))
    else {
        return false;
    };
    package
        .parts
        .iter()
        .filter(|part| part.kind.name == "CustomObject" && part.name == object)
        .any(|part| super::objects::has(&part.source, element, member))
}

impl Package {
    /// A failure of the package itself.
    fn about_manifest(&self, file: &str, problem: &str) -> Message {
        Message::failure("", &format!("{}{file}", self.root), file, problem)
    }

    /// Whether it changes Apex, which production tests.
    pub fn has_apex(&self) -> bool {
        self.parts.iter().any(Part::is_apex)
            || self.deletes.iter().any(|(kind, _)| matches!(kind.as_str(), "ApexClass" | "ApexTrigger"))
    }
}
