//! Packages of the Metadata API: which component a path stands for, and the archive made of a change set with
//! `package.xml`, `destructiveChanges.xml` and the `-meta.xml` files. The same files give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write as _};

use ring::digest;

use super::records::{ChangeFile, Snapshot};
use crate::wire::salesforce::API_VERSION;
use crate::wire::salesforce::rest::is_api_name;

/// Folder, ending, type, and whether a `-meta.xml` goes with it.
const TYPES: [(&str, &str, &str, bool); 11] = [
    ("classes", "cls", "ApexClass", true),
    ("components", "component", "ApexComponent", true),
    ("customMetadata", "md", "CustomMetadata", false),
    ("flows", "flow", "Flow", false),
    ("labels", "labels", "CustomLabels", false),
    ("layouts", "layout", "Layout", false),
    ("objects", "object", "CustomObject", false),
    ("pages", "page", "ApexPage", true),
    ("permissionsets", "permissionset", "PermissionSet", false),
    ("tabs", "tab", "CustomTab", false),
    ("triggers", "trigger", "ApexTrigger", true),
];
const META: &str = "-meta.xml";
const NAMESPACE: &str = "http://soap.sforce.com/2006/04/metadata";

/// A component and its file in a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub kind: String,
    pub name: String,
    /// Path in an mdapi package.
    pub path: String,
    /// It is the `-meta.xml` beside the component's file.
    pub is_meta: bool,
    has_meta: bool,
}

impl Part {
    /// Reads an mdapi or SFDX path: the folder of the type and what is below it count.
    pub fn of(path: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{path}: {why}"));
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let plain = |c: char| c.is_alphanumeric() || "_-. %&()".contains(c);
        if path.len() > 255 || parts.iter().any(|p| p.starts_with('.') || !p.chars().all(plain)) {
            return wrong("this is not a path of a package");
        }
        let Some(at) = parts.iter().position(|p| is_folder(p)) else {
            return wrong("this type of component can't be in a change set yet");
        };
        let (folder, below) = (parts[at], &parts[at + 1..]);
        if matches!(folder, "lwc" | "aura") {
            // A bundle is deployed whole: one file of it would take the others away.
            return wrong("Lightning components can't be in a change set yet");
        }
        let Some((_, ending, kind, has_meta)) = TYPES.iter().find(|(f, ..)| *f == folder) else {
            return wrong("this type of component can't be in a change set yet");
        };
        let (file, is_object) = match below {
            [file] => (*file, false),
            // SFDX keeps an object in a folder of its name.
            [name, file] if folder == "objects" && file.starts_with(&format!("{name}.")) => (*file, true),
            _ => return wrong("give the whole component as one file, as the Metadata API does"),
        };
        let bare = file.strip_suffix(META).unwrap_or(file);
        let Some(name) = bare.strip_suffix(&format!(".{ending}")).filter(|n| !n.is_empty()) else {
            return wrong(&format!("a file in {folder} ends with .{ending}"));
        };
        let api_name = !matches!(folder, "customMetadata" | "layouts");
        if (api_name && !is_api_name(name)) || name.contains("..") {
            return wrong("this is not the API name of a component");
        }
        // Of types without a file beside them, `-meta.xml` is only SFDX's ending.
        let is_meta = *has_meta && file.ends_with(META) && !is_object;
        let path = format!("{folder}/{bare}{}", if is_meta { META } else { "" });
        Ok(Self { kind: (*kind).to_owned(), name: name.to_owned(), path, is_meta, has_meta: *has_meta })
    }

    pub fn is_apex(&self) -> bool {
        !self.is_meta && matches!(self.kind.as_str(), "ApexClass" | "ApexTrigger")
    }
}

fn is_folder(name: &str) -> bool {
    matches!(name, "lwc" | "aura") || TYPES.iter().any(|(folder, ..)| *folder == name)
}

/// SHA-256 of the files as drafted: paths and contents with their lengths, in order of path.
pub fn hash_of(files: &[(String, ChangeFile)]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    for (path, file) in files {
        add(path.as_bytes());
        match &file.content {
            Some(content) => {
                add(b"+");
                add(content.as_bytes());
            }
            None => add(b"-"),
        }
    }
    crate::seal::hex(context.finish().as_ref())
}

/// SHA-256 of some bytes, hex.
pub fn sha256(bytes: &[u8]) -> String {
    crate::seal::hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The package as it is sent. A component that the org has keeps its API version and status; a new one gets ours.
pub fn zip(files: &[(String, ChangeFile)], present: &BTreeMap<String, Snapshot>) -> Result<Vec<u8>, String> {
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    let (mut members, mut gone) = (Members::new(), Members::new());
    for (path, file) in files {
        let part = Part::of(path)?;
        match &file.content {
            Some(content) => {
                // Paths are in order: the meta file of a draft comes after, and wins over the one made here.
                entries.insert(part.path.clone(), content.clone());
                members.entry(part.kind.clone()).or_default().insert(part.name.clone());
                if part.has_meta && !part.is_meta {
                    let kept = present.get(path).and_then(|p| p.meta.clone());
                    let meta = kept.unwrap_or_else(|| meta(&part));
                    entries.entry(format!("{}{META}", part.path)).or_insert(meta);
                }
            }
            None => {
                gone.entry(part.kind.clone()).or_default().insert(part.name.clone());
            }
        }
    }
    entries.insert("package.xml".into(), manifest(&members, true));
    if !gone.is_empty() {
        entries.insert("destructiveChanges.xml".into(), manifest(&gone, false));
    }
    archive(&entries).map_err(|e| format!("the package can't be made: {e}"))
}

type Members = BTreeMap<String, BTreeSet<String>>;

fn manifest(members: &Members, version: bool) -> String {
    let mut xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Package xmlns=\"{NAMESPACE}\">\n");
    for (kind, names) in members {
        xml.push_str("    <types>\n");
        for name in names {
            xml.push_str(&format!("        <members>{}</members>\n", escape(name)));
        }
        xml.push_str(&format!("        <name>{kind}</name>\n    </types>\n"));
    }
    if version {
        xml.push_str(&format!("    <version>{API_VERSION}</version>\n"));
    }
    xml.push_str("</Package>\n");
    xml
}

/// The file beside a new component.
fn meta(part: &Part) -> String {
    let kind = &part.kind;
    let rest = match kind.as_str() {
        "ApexClass" | "ApexTrigger" => "    <status>Active</status>\n".to_owned(),
        _ => format!("    <label>{}</label>\n", escape(&part.name)),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{kind} xmlns=\"{NAMESPACE}\">\n    \
         <apiVersion>{API_VERSION}</apiVersion>\n{rest}</{kind}>\n"
    )
}

fn archive(entries: &BTreeMap<String, String>) -> zip::result::ZipResult<Vec<u8>> {
    // Dates in the archive would make equal packages differ.
    let options = zip::write::SimpleFileOptions::default()
        .last_modified_time(zip::DateTime::default())
        .compression_method(zip::CompressionMethod::Deflated);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in entries {
        zip.start_file(path.as_str(), options)?;
        zip.write_all(content.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(content: &str) -> ChangeFile {
        ChangeFile { content: Some(content.into()), base: None }
    }

    #[test]
    fn paths_of_both_forms_name_the_same_component() {
        for (given, kind, name, path) in [
            ("classes/A.cls", "ApexClass", "A", "classes/A.cls"),
            ("force-app/main/default/classes/A.cls", "ApexClass", "A", "classes/A.cls"),
            ("unpackaged/triggers/T.trigger", "ApexTrigger", "T", "triggers/T.trigger"),
            ("force-app/main/default/flows/F.flow-meta.xml", "Flow", "F", "flows/F.flow"),
            ("objects/R__c/R__c.object-meta.xml", "CustomObject", "R__c", "objects/R__c.object"),
        ] {
            let part = Part::of(given).unwrap();
            assert_eq!((part.kind.as_str(), part.name.as_str(), part.path.as_str()), (kind, name, path));
            assert!(!part.is_meta);
        }
        assert!(Part::of("classes/A.cls-meta.xml").unwrap().is_meta);
    }

    #[test]
    fn paths_that_are_none_are_refused() {
        for path in [
            "",
            "A.cls",
            "classes/../../etc/passwd",
            "classes/A.txt",
            "classes/.cls",
            "classes/a/A.cls",
            "classes/1st.cls",
            "layouts/a..b.layout",
            "objects/A/fields/B__c.field-meta.xml",
            "classes/A\u{0}.cls",
            "documents/A.pdf",
            "lwc/tile/tile.js",
        ] {
            assert!(Part::of(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_package_has_its_manifests_and_meta_files() {
        let files = vec![
            ("classes/A.cls".to_owned(), file("class A {}")),
            ("classes/B.cls".to_owned(), file("class B {}")),
            ("triggers/T.trigger".to_owned(), ChangeFile { content: None, base: None }),
        ];
        let kept = Snapshot { content: Some("class B { }".into()), meta: Some("<kept/>".into()) };
        let present = BTreeMap::from([("classes/B.cls".to_owned(), kept)]);
        let entries = crate::wire::salesforce::zip::read(&zip(&files, &present).unwrap()).unwrap();
        let text = |path: &str| {
            let entry = entries.iter().find(|e| e.path == path).unwrap();
            String::from_utf8(entry.bytes.clone()).unwrap()
        };
        assert!(text("package.xml").contains("<members>A</members>\n        <members>B</members>"));
        assert!(!text("package.xml").contains("ApexTrigger"));
        assert!(text("destructiveChanges.xml").contains("<members>T</members>"));
        assert!(text("classes/A.cls-meta.xml").contains(&format!("<apiVersion>{API_VERSION}</apiVersion>")));
        assert_eq!(text("classes/B.cls-meta.xml"), "<kept/>", "an existing class keeps its API version");
    }

    #[test]
    fn the_hash_tells_drafts_apart_and_the_archive_repeats() {
        let one = vec![("classes/A.cls".to_owned(), file("ab")), ("classes/B.cls".to_owned(), file("c"))];
        let two = vec![("classes/A.cls".to_owned(), file("a")), ("classes/B.cls".to_owned(), file("bc"))];
        assert_ne!(hash_of(&one), hash_of(&two));
        let none = BTreeMap::new();
        assert_eq!(zip(&one, &none).unwrap(), zip(&one, &none).unwrap());
    }

    proptest! {
        #[test]
        fn an_accepted_path_reads_the_same_again(path in "(classes|objects|flows|lwc|x)/[A-Za-z_./-]{0,12}(\\.cls|\\.flow|\\.object)?(-meta\\.xml)?") {
            if let Ok(part) = Part::of(&path) {
                prop_assert_eq!(&Part::of(&part.path).unwrap().path, &part.path);
                prop_assert!(!part.path.contains(".."));
            }
        }
    }
}
