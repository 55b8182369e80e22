//! Fields of objects, from the object's file and, for standard fields, from describe.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, Node};

use crate::wire::salesforce::SalesforceError;
use crate::wire::salesforce::session::Session;

use super::records::Field;

/// Fields of the standard objects that the org has. `step` is told how far it is and says whether to go on.
pub async fn all(
    session: &Session,
    present: &BTreeSet<String>,
    standard: &[&str],
    mut step: impl FnMut(u64, u64) -> bool,
) -> Result<BTreeMap<String, Vec<Field>>, SalesforceError> {
    let wanted: Vec<&str> = standard.iter().copied().filter(|name| present.contains(*name)).collect();
    let mut found = BTreeMap::new();
    for (n, name) in wanted.iter().enumerate() {
        if !step(n as u64, wanted.len() as u64) {
            break;
        }
        let object = session.describe(name).await?;
        let fields = object.fields.into_iter().map(|f| Field {
            required: !f.nillable,
            name: f.name,
            label: f.label,
            kind: f.kind,
            custom: f.custom,
            references: f.reference_to,
            description: None,
        });
        found.insert((*name).to_owned(), fields.collect());
    }
    Ok(found)
}

/// Fields of an object file; what describe knows besides comes first.
pub fn merge(source: &str, described: Option<&Vec<Field>>) -> Vec<Field> {
    let own = fields(source);
    let names: BTreeSet<&str> = own.iter().map(|f| f.name.as_str()).collect();
    let others = described.into_iter().flatten().filter(|f| !names.contains(f.name.as_str())).cloned();
    others.chain(own.clone()).collect()
}

fn text(node: Node<'_, '_>, name: &str) -> Option<String> {
    let child = node.children().find(|n| n.tag_name().name() == name)?;
    child.text().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
}

fn fields(source: &str) -> Vec<Field> {
    let Ok(document) = Document::parse(source) else { return Vec::new() };
    let nodes = document.root_element().children().filter(|n| n.tag_name().name() == "fields");
    nodes
        .filter_map(|node| {
            let name = text(node, "fullName")?;
            Some(Field {
                label: text(node, "label").unwrap_or_else(|| name.clone()),
                kind: text(node, "type").unwrap_or_default(),
                custom: name.ends_with("__c"),
                required: text(node, "required").as_deref() == Some("true"),
                references: node
                    .children()
                    .filter(|n| n.tag_name().name() == "referenceTo")
                    .filter_map(|n| n.text().map(str::to_owned))
                    .collect(),
                description: text(node, "description"),
                name,
            })
        })
        .collect()
}

/// The label of a component whose file has one.
pub fn label(source: &str, kind: &str) -> Option<String> {
    if !["CustomObject", "Flow", "PermissionSet"].contains(&kind) {
        return None;
    }
    let document = Document::parse(source).ok()?;
    let root = document.root_element();
    text(root, "label").or_else(|| text(root, "masterLabel"))
}
