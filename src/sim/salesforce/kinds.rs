//! The types of metadata that the org holds, and which component a file of a package belongs to.

use std::collections::BTreeMap;

/// A type of the Metadata API.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub folder: &'static str,
    /// Of the component's own file.
    pub ending: &'static str,
    pub name: &'static str,
    /// Of its ids.
    pub prefix: &'static str,
    /// A `-meta.xml` goes with it.
    pub meta: bool,
    /// Its files lie in a folder of its name.
    pub bundle: bool,
}

const fn plain(folder: &'static str, ending: &'static str, name: &'static str, prefix: &'static str) -> Kind {
    Kind { folder, ending, name, prefix, meta: false, bundle: false }
}

const fn code(folder: &'static str, ending: &'static str, name: &'static str, prefix: &'static str) -> Kind {
    Kind { folder, ending, name, prefix, meta: true, bundle: false }
}

const fn bundle(
    folder: &'static str,
    ending: &'static str,
    name: &'static str,
    prefix: &'static str,
) -> Kind {
    Kind { folder, ending, name, prefix, meta: true, bundle: true }
}

pub const KINDS: [Kind; 17] = [
    bundle("aura", "cmp", "AuraDefinitionBundle", "0Ab"),
    code("classes", "cls", "ApexClass", "01p"),
    code("components", "component", "ApexComponent", "099"),
    plain("customMetadata", "md", "CustomMetadata", "m00"),
    plain("flexipages", "flexipage", "FlexiPage", "0M0"),
    plain("flows", "flow", "Flow", "301"),
    plain("labels", "labels", "CustomLabels", "101"),
    plain("layouts", "layout", "Layout", "00h"),
    bundle("lwc", "js", "LightningComponentBundle", "0Rb"),
    plain("objects", "object", "CustomObject", "01I"),
    code("pages", "page", "ApexPage", "066"),
    plain("permissionsets", "permissionset", "PermissionSet", "0PS"),
    plain("profiles", "profile", "Profile", "00e"),
    code("staticresources", "resource", "StaticResource", "081"),
    plain("tabs", "tab", "CustomTab", "01r"),
    code("triggers", "trigger", "ApexTrigger", "01q"),
    plain("workflows", "workflow", "Workflow", "01Q"),
];

/// The type of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.name == name)
}

/// What a file is to its component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Extra,
    Main,
    Meta,
}

/// The component that a path of a package belongs to.
fn owner(path: &str) -> Option<(&'static Kind, String, Role)> {
    let (folder, rest) = path.split_once('/')?;
    let kind = KINDS.iter().find(|k| k.folder == folder)?;
    let (bare, is_meta) = rest.strip_suffix("-meta.xml").map_or((rest, false), |bare| (bare, true));
    if kind.bundle {
        let (name, file) = bare.split_once('/')?;
        let main = file == format!("{name}.{}", kind.ending);
        let role = match (main, is_meta) {
            (true, true) => Role::Meta,
            (true, false) => Role::Main,
            (false, _) => Role::Extra,
        };
        return Some((kind, name.to_owned(), role));
    }
    let name = bare.strip_suffix(&format!(".{}", kind.ending))?;
    Some((kind, name.to_owned(), if is_meta && kind.meta { Role::Meta } else { Role::Main }))
}

/// The files of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub kind: &'static Kind,
    pub name: String,
    /// Path of its own file.
    pub file: String,
    /// Empty when only its `-meta.xml` is there.
    pub source: String,
    pub has_source: bool,
    pub meta: Option<String>,
    pub extra: BTreeMap<String, String>,
}

impl Part {
    /// Of a class or trigger.
    pub fn is_apex(&self) -> bool {
        matches!(self.kind.name, "ApexClass" | "ApexTrigger")
    }
}

/// The components that files by their paths make, by type and name. Files that belong to none are left out.
pub fn assemble(files: BTreeMap<String, String>) -> BTreeMap<(&'static str, String), Part> {
    let mut parts: BTreeMap<(&'static str, String), Part> = BTreeMap::new();
    for (path, text) in files {
        let Some((kind, name, role)) = owner(&path) else { continue };
        let part = parts.entry((kind.name, name.clone())).or_insert_with(|| Part {
            kind,
            file: if kind.bundle {
                format!("{}/{name}/{name}.{}", kind.folder, kind.ending)
            } else {
                format!("{}/{name}.{}", kind.folder, kind.ending)
            },
            name,
            source: String::new(),
            has_source: false,
            meta: None,
            extra: BTreeMap::new(),
        });
        match role {
            Role::Extra => {
                part.extra.insert(path, text);
            }
            Role::Main => {
                part.source = text;
                part.has_source = true;
            }
            Role::Meta => part.meta = Some(text),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_components() {
        let files = [
            "classes/A.cls",
            "classes/A.cls-meta.xml",
            "lwc/tile/tile.js",
            "lwc/tile/tile.html",
            "lwc/tile/tile.js-meta.xml",
            "flows/F.flow",
            "package.xml",
            "classes/notes.txt",
        ];
        let parts = assemble(files.iter().map(|p| ((*p).to_owned(), (*p).to_owned())).collect());
        let names: Vec<_> = parts.keys().map(|(kind, name)| format!("{kind} {name}")).collect();
        assert_eq!(names, ["ApexClass A", "Flow F", "LightningComponentBundle tile"]);
        let tile = &parts[&("LightningComponentBundle", "tile".to_owned())];
        assert_eq!((tile.file.as_str(), tile.source.as_str()), ("lwc/tile/tile.js", "lwc/tile/tile.js"));
        assert!(tile.meta.is_some());
        assert_eq!(tile.extra.keys().collect::<Vec<_>>(), ["lwc/tile/tile.html"]);
    }
}
