//! APX-005: classes that touch data and don't say with which sharing.

use std::collections::BTreeMap;

use super::operations::{Operation, operation};
use super::{File, in_test};
use crate::apex::Node;
use crate::apex::outline::{Sharing, annotation, modifiers, sharing};
use crate::insights::rules::Severity;
use crate::insights::rules::finding::Hit;

const RULE: &str = "APX-005";

pub fn check<'a>(file: &File<'a>, out: &mut Vec<Hit>) {
    let mut by_class: BTreeMap<usize, (Node<'a>, Operation<'a>)> = BTreeMap::new();
    for node in file.apex.nodes() {
        let Some(found) = operation(file, node).filter(|o| o.touches_data && !o.user_mode) else { continue };
        if only_metadata(node) {
            continue;
        }
        if let Some(class) = node.nearest(&["class_declaration"]) {
            by_class.entry(class.start()).or_insert((class, found));
        }
    }
    for (class, found) in by_class.into_values() {
        let Some(name) = class.field("name") else { continue };
        if in_test(name) {
            continue;
        }
        match sharing(class) {
            None if class.child_of_kind("superclass").is_none() => {
                let inner = class.nearest(&["class_declaration"]).is_some();
                let extra = if inner { " Inner classes don't take over the outer class's." } else { "" };
                let message = format!(
                    "{} has no sharing keyword and touches records in line {}.{extra}",
                    name.text(),
                    found.node.line()
                );
                out.push(Hit::at(RULE, name, message));
            }
            Some(Sharing::Without) if is_entry_point(class) => {
                let message =
                    format!("{} can be called from outside and ignores record access.", name.text());
                out.push(Hit::at(RULE, name, message).severity(Severity::Info));
            }
            _ => {}
        }
    }
}

/// Custom metadata has no sharing.
fn only_metadata(node: Node<'_>) -> bool {
    let object = node.below("storage_identifier").next();
    object.is_some_and(|o| o.text().to_ascii_lowercase().ends_with("__mdt"))
}

/// Whether callers from outside reach the class: remote, REST or global.
fn is_entry_point(class: Node<'_>) -> bool {
    let remote = |member: Node<'_>| {
        ["AuraEnabled", "InvocableMethod", "RemoteAction"]
            .iter()
            .any(|name| annotation(member, name).is_some())
            || modifiers(member).iter().any(|m| m == "webservice")
    };
    annotation(class, "RestResource").is_some()
        || modifiers(class).iter().any(|m| m == "global")
        || class.field("body").is_some_and(|body| body.children().any(remote))
}
