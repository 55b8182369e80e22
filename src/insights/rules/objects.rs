//! OBJ-003 over objects, fields and permission sets; FLW-014's workflow rules; and which objects are custom
//! settings.

use std::collections::{BTreeMap, HashSet};

use roxmltree::{Document, Node};

use super::Component;
use super::finding::Hit;

/// Reads metadata XML. Document type declarations are refused.
pub(super) fn document(source: &str) -> Result<Document<'_>, String> {
    let options =
        roxmltree::ParsingOptions { nodes_limit: 2_000_000, ..roxmltree::ParsingOptions::default() };
    Document::parse_with_options(source, options)
        .map_err(|error| format!("The XML does not parse, so the file was not checked: {error}."))
}

/// The text of a direct child element.
pub(super) fn text_of<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim).filter(|text| !text.is_empty())
}

pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.tag_name().name() == name)
}

pub(super) fn line_of(node: Node<'_, '_>) -> u32 {
    node.document().text_pos_at(node.range().start).row
}

pub(super) fn check(component: &Component<'_>) -> Result<Vec<Hit>, String> {
    let document = document(component.source)?;
    let root = document.root_element();
    Ok(match component.kind {
        "PermissionSet" if text_of(root, "description").is_none() && !managed(component.name) => {
            vec![Hit::on_line("OBJ-003", line_of(root), "", "The permission set has no description.".into())]
        }
        "Workflow" => active_rules(root),
        _ => Vec::new(),
    })
}

fn active_rules(root: Node<'_, '_>) -> Vec<Hit> {
    let rules = root.children().filter(|node| node.tag_name().name() == "rules");
    rules
        .filter(|rule| text_of(*rule, "active") == Some("true"))
        .map(|rule| {
            let name = text_of(rule, "fullName").unwrap_or("without a name");
            Hit::on_line("FLW-014", line_of(rule), name, format!("Workflow rule {name} is active."))
        })
        .collect()
}

/// One hit an object: itself, and its custom fields, wherever the fields are kept.
pub(super) fn fields_without_description<'c, 'a>(
    components: &'c [Component<'a>],
) -> Vec<(&'c Component<'a>, Hit)> {
    let mut objects: BTreeMap<&str, Found<'c, 'a>> = BTreeMap::new();
    for component in components {
        let object = component.name.split('.').next().unwrap_or(component.name);
        if !matches!(component.kind, "CustomField" | "CustomObject") || managed(object) {
            continue;
        }
        let Ok(document) = document(component.source) else { continue };
        let found = objects.entry(object).or_insert_with(|| Found::new(component));
        found.read(component, document.root_element());
    }
    objects.into_iter().filter_map(|(object, found)| found.hit(object)).collect()
}

struct Found<'c, 'a> {
    component: &'c Component<'a>,
    line: u32,
    object_lacks: bool,
    fields: usize,
    lacking: Vec<String>,
}

impl<'c, 'a> Found<'c, 'a> {
    fn new(component: &'c Component<'a>) -> Self {
        Self { component, line: 1, object_lacks: false, fields: 0, lacking: Vec::new() }
    }

    fn read(&mut self, component: &'c Component<'a>, root: Node<'_, '_>) {
        if component.kind == "CustomField" {
            self.field(component.name.rsplit('.').next().unwrap_or(component.name), root);
            return;
        }
        self.component = component;
        self.line = line_of(root);
        self.object_lacks = is_custom(component.name) && text_of(root, "description").is_none();
        for field in root.children().filter(|node| node.tag_name().name() == "fields") {
            self.field(text_of(field, "fullName").unwrap_or(""), field);
        }
    }

    fn field(&mut self, name: &str, field: Node<'_, '_>) {
        if name.ends_with("__c") && !managed(name) {
            self.fields += 1;
            let told = text_of(field, "description").is_some() || text_of(field, "inlineHelpText").is_some();
            if !told {
                self.lacking.push(name.to_owned());
            }
        }
    }

    fn hit(mut self, object: &str) -> Option<(&'c Component<'a>, Hit)> {
        self.lacking.sort_unstable();
        let shown = self.lacking.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = if self.lacking.len() > 5 { ", …" } else { "" };
        let fields = format!("{} of {} custom fields of {object}", self.lacking.len(), self.fields);
        let message = match (self.object_lacks, self.lacking.is_empty()) {
            (false, true) => return None,
            (true, true) => format!("{object} has no description."),
            (true, false) => format!("{object} and {fields} have no description: {shown}{more}."),
            (false, false) => format!("{fields} have no description: {shown}{more}."),
        };
        Some((self.component, Hit::on_line("OBJ-003", self.line, object, message)))
    }
}

/// The lower-case names of custom settings, whose rows are few.
pub(super) fn custom_settings(components: &[Component<'_>]) -> HashSet<String> {
    components
        .iter()
        .filter(|c| c.kind == "CustomObject" && c.source.contains("<customSettingsType>"))
        .map(|c| c.name.to_ascii_lowercase())
        .collect()
}

fn is_custom(name: &str) -> bool {
    ["__c", "__e", "__mdt", "__b", "__x"].iter().any(|end| name.ends_with(end))
}

/// `ns__Name__c`: belongs to a package, which only its publisher can change.
fn managed(name: &str) -> bool {
    let stem = name.rsplit_once("__").filter(|_| is_custom(name)).map_or(name, |(stem, _)| stem);
    stem.contains("__")
}
