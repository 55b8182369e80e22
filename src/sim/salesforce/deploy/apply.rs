//! What a package makes of the org.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::objects;
use super::package::{INNER, Package};
use crate::sim::salesforce::kinds::Part;
use crate::sim::salesforce::state::{Component, Org};

/// The user that deploys: the integration user.
const DEPLOYER: usize = 4;

/// Sources by type and name, as they are after the package.
pub type Sources = BTreeMap<(String, String), String>;

/// What the org would hold after the package.
pub fn preview(org: &Org, package: &Package) -> Sources {
    let mut sources: Sources =
        org.components.iter().map(|(key, component)| (key.clone(), component.source.clone())).collect();
    for part in &package.parts {
        let key = key(part);
        let source = merged(sources.get(&key).map(String::as_str), part);
        sources.insert(key, source);
    }
    for (kind, name) in &package.deletes {
        match inner(kind, name) {
            Some((element, object, member)) => {
                if let Some(source) = sources.get_mut(&("CustomObject".to_owned(), object.to_owned())) {
                    *source = objects::without(source, element, member);
                }
            }
            None => {
                sources.remove(&(kind.clone(), name.clone()));
            }
        }
    }
    sources
}

/// Changes the org.
pub fn apply(org: &mut Org, package: &Package, now: Timestamp) {
    org.modified = now;
    for part in &package.parts {
        let key = key(part);
        let Some(present) = org.components.get_mut(&key) else {
            let id = org.new_id(part.kind.prefix);
            let component = Component {
                id,
                file: part.file.clone(),
                source: part.source.clone(),
                meta: part.meta.clone(),
                extra: part.extra.clone(),
                created: now,
                modified: now,
                modified_by: DEPLOYER,
            };
            org.components.insert(key, component);
            continue;
        };
        let source = merged(Some(&present.source), part);
        let meta = part.meta.clone().or_else(|| present.meta.clone());
        // What is the same keeps its date, as in the real org.
        if present.source != source || present.meta != meta || present.extra != part.extra {
            (present.source, present.meta) = (source, meta);
            present.extra.clone_from(&part.extra);
            (present.modified, present.modified_by) = (now, DEPLOYER);
        }
    }
    for (kind, name) in &package.deletes {
        match inner(kind, name) {
            Some((element, object, member)) => {
                let key = ("CustomObject".to_owned(), object.to_owned());
                if let Some(component) = org.components.get_mut(&key) {
                    component.source = objects::without(&component.source, element, member);
                    (component.modified, component.modified_by) = (now, DEPLOYER);
                }
            }
            None => {
                org.components.remove(&(kind.clone(), name.clone()));
            }
        }
    }
}

fn key(part: &Part) -> (String, String) {
    (part.kind.name.to_owned(), part.name.clone())
}

fn merged(present: Option<&str>, part: &Part) -> String {
    match present {
        Some(present) if part.kind.name == "CustomObject" => objects::merge(present, &part.source),
        _ => part.source.clone(),
    }
}

/// Element, object and member of something inside an object's file.
pub fn inner<'n>(kind: &str, name: &'n str) -> Option<(&'static str, &'n str, &'n str)> {
    let (_, element) = INNER.iter().find(|(k, _)| *k == kind)?;
    let (object, member) = name.split_once('.')?;
    Some((element, object, member))
}
