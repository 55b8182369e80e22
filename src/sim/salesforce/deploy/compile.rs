//! What a compiler and the Metadata API refuse: syntax, names, references to what is nowhere, XML that is none.

use roxmltree::Document;

use super::apply::{Sources, inner};
use super::package::Package;
use super::resolve::{World, unresolved};
use super::{Message, objects};
use crate::apex;
use crate::sim::salesforce::kinds::Part;
use crate::sim::salesforce::state::Org;

/// A place and what is wrong there.
pub type Problem = (Option<(u32, u32)>, String);

/// Judges every component of a package by what the org would hold after it.
pub fn check(
    org: &Org,
    after: &Sources,
    package: &Package,
    successes: &mut Vec<Message>,
    failures: &mut Vec<Message>,
) {
    let world = World::of(after);
    for part in &package.parts {
        let file = format!("{}{}", package.root, part.file);
        let failure = |(place, problem): Problem| Message {
            place,
            ..Message::failure(part.kind.name, &file, &part.name, &problem)
        };
        let mut problems = problems(part, after, &world);
        if problems.is_empty() && part.kind.name == "ApexClass" {
            problems.extend(dependents(org, after, package, &world, &part.name));
        }
        if problems.is_empty() {
            successes.push(success(org, after, part, file));
        } else {
            failures.extend(problems.into_iter().map(failure));
        }
    }
    for (kind, name) in &package.deletes {
        delete(org, after, package, (kind, name), successes, failures);
    }
    if failures.is_empty() {
        let name = "package.xml".to_owned();
        let file = format!("{}{name}", package.root);
        successes.push(Message { file, name, changed: true, ..Message::default() });
    }
}

fn success(org: &Org, after: &Sources, part: &Part, file: String) -> Message {
    let key = (part.kind.name.to_owned(), part.name.clone());
    let present = org.components.get(&key);
    let changed = present.is_none_or(|c| {
        after.get(&key) != Some(&c.source)
            || part.meta.is_some() && part.meta != c.meta
            || part.extra != c.extra
    });
    Message {
        kind: part.kind.name.into(),
        file,
        name: part.name.clone(),
        id: present.map(|c| c.id.clone()),
        created: present.is_none(),
        changed,
        ..Message::default()
    }
}

fn problems(part: &Part, after: &Sources, world: &World<'_>) -> Vec<Problem> {
    if let Some(problem) = part.meta.as_deref().and_then(not_xml) {
        return vec![problem];
    }
    match part.kind.name {
        "ApexClass" | "ApexTrigger" => apex_problems(part, world),
        "AuraDefinitionBundle" => not_xml(&part.source).into_iter().collect(),
        "LightningComponentBundle" => world.lwc_problems(part),
        "ApexPage" | "ApexComponent" | "StaticResource" => Vec::new(),
        kind => xml_problems(part, kind, after),
    }
}

fn apex_problems(part: &Part, world: &World<'_>) -> Vec<Problem> {
    let errors = apex::syntax_errors(&part.source);
    if !errors.is_empty() {
        return errors.into_iter().map(|e| (Some((e.line, e.column)), e.message)).collect();
    }
    let Some(outline) = apex::outline(&part.source) else { return Vec::new() };
    // Case counts: the name of the file is the name of the component.
    if outline.name != part.name {
        let what = if outline.trigger.is_some() { "trigger" } else { "class" };
        return vec![(Some((1, 1)), format!("File name mismatch with {what} name: {}", outline.name))];
    }
    unresolved(&part.source, world).into_iter().map(|(place, text)| (Some(place), text)).collect()
}

fn not_xml(text: &str) -> Option<Problem> {
    let error = Document::parse(text).err()?;
    let at = error.pos();
    let problem = format!("Error parsing file: {error} at line: {} column: {}", at.row, at.col);
    Some((Some((at.row, at.col)), problem))
}

fn xml_problems(part: &Part, kind: &str, after: &Sources) -> Vec<Problem> {
    let Ok(document) = Document::parse(&part.source) else {
        return not_xml(&part.source).into_iter().collect();
    };
    let root = document.root_element();
    let place = |node: roxmltree::Node<'_, '_>| {
        let at = document.text_pos_at(node.range().start);
        Some((at.row, at.col))
    };
    let namespace = "http://soap.sforce.com/2006/04/metadata";
    if root.tag_name().name() != kind {
        let found = root.tag_name().name();
        return vec![(
            place(root),
            format!(
                "Error parsing file: Element {{{namespace}}}{found} invalid at this location in type {kind}"
            ),
        )];
    }
    let mut problems = Vec::new();
    let (mut seen, mut last) = (std::collections::BTreeSet::new(), "");
    for node in root.children().filter(roxmltree::Node::is_element) {
        let name = node.tag_name().name();
        if name != last && !seen.insert(name) {
            problems.push((
                place(node),
                format!("Error parsing file: Element {{{namespace}}}{name} is duplicated at this location in type {kind}"),
            ));
        }
        last = name;
    }
    let text = |node: roxmltree::Node<'_, '_>, name: &str| {
        let child = node.children().find(|n| n.tag_name().name() == name);
        child.and_then(|n| n.text()).unwrap_or_default().trim().to_owned()
    };
    for node in root.children() {
        match (kind, node.tag_name().name()) {
            ("CustomObject", "fields") => problems.extend(
                field_problem(
                    &text(node, "fullName"),
                    &text(node, "type"),
                    &text(node, "label"),
                    part,
                    after,
                )
                .map(|p| (place(node), p)),
            ),
            ("PermissionSet" | "Profile", "classAccesses") => {
                let class = text(node, "apexClass");
                if !after.contains_key(&("ApexClass".to_owned(), class.clone())) {
                    let problem = format!("In field: apexClass - no ApexClass named {class} found");
                    problems.push((place(node), problem));
                }
            }
            ("PermissionSet" | "Profile", "fieldPermissions") => {
                let field = text(node, "field");
                let missing = field.split_once('.').is_some_and(|(object, name)| {
                    let source = after.get(&("CustomObject".to_owned(), object.to_owned()));
                    name.ends_with("__c") && source.is_some_and(|s| !objects::has(s, "fields", name))
                });
                if missing {
                    let problem = format!("In field: field - no CustomField named {field} found");
                    problems.push((place(node), problem));
                }
            }
            _ => {}
        }
    }
    problems
}

fn field_problem(name: &str, kind: &str, label: &str, part: &Part, after: &Sources) -> Option<String> {
    let before = after.get(&("CustomObject".to_owned(), part.name.clone()));
    if !name.ends_with("__c") {
        // Standard fields are listed with the custom ones; they need no type.
        return None;
    }
    if kind.is_empty() && before.is_none_or(|s| !objects::has(s, "fields", name)) {
        return Some(format!("Must specify a type for the CustomField {name}"));
    }
    (label.is_empty() && !kind.is_empty())
        .then(|| format!("Must specify a non-empty label for the CustomField {name}"))
}

/// Classes outside the package that no longer compile because of this one.
fn dependents(org: &Org, after: &Sources, package: &Package, world: &World<'_>, class: &str) -> Vec<Problem> {
    let outside = |name: &str| !package.parts.iter().any(|p| p.is_apex() && p.name == name);
    let users: Vec<(&String, &String)> = after
        .iter()
        .filter(|((kind, name), source)| {
            matches!(kind.as_str(), "ApexClass" | "ApexTrigger") && outside(name) && source.contains(class)
        })
        .map(|((_, name), source)| (name, source))
        .collect();
    if users.is_empty() {
        return Vec::new();
    }
    let before: Sources = org.components.iter().map(|(key, c)| (key.clone(), c.source.clone())).collect();
    let old = World::of(&before);
    let broken = users.iter().find_map(|(name, source)| {
        let was = unresolved(source, &old);
        let (_, text) = unresolved(source, world).into_iter().find(|problem| !was.contains(problem))?;
        Some((None, format!("Dependent class is invalid and needs recompilation:\n Class {name} : {text}")))
    });
    broken.into_iter().collect()
}

fn delete(
    org: &Org,
    after: &Sources,
    package: &Package,
    (kind, name): (&str, &str),
    successes: &mut Vec<Message>,
    failures: &mut Vec<Message>,
) {
    let file = format!("{}destructiveChanges.xml", package.root);
    let held = match inner(kind, name) {
        Some((element, object, member)) => {
            let key = ("CustomObject".to_owned(), object.to_owned());
            org.components.get(&key).is_some_and(|c| objects::has(&c.source, element, member))
        }
        None => org.components.contains_key(&(kind.to_owned(), name.to_owned())),
    };
    if !held {
        let problem = format!("No {kind} named: {name} found");
        successes.push(Message { warning: true, ..Message::failure(kind, &file, name, &problem) });
        return;
    }
    let word = name.rsplit('.').next().unwrap_or(name);
    let uses = |(key, source): (&(String, String), &String)| {
        let code =
            matches!(key.0.as_str(), "ApexClass" | "ApexTrigger" | "Flow" | "LightningComponentBundle");
        (code && key.1 != name && names(source, word)).then(|| format!("{} - {}", spoken(&key.0), key.1))
    };
    let uses: Vec<String> =
        if names_code(kind) { after.iter().filter_map(uses).take(10).collect() } else { Vec::new() };
    if uses.is_empty() {
        successes.push(Message {
            kind: kind.into(),
            file,
            name: name.into(),
            changed: true,
            deleted: true,
            ..Message::default()
        });
    } else {
        let problem = format!(
            "This {} is referenced elsewhere in salesforce.com. Remove the usage and try again. : {}",
            spoken(kind).to_lowercase(),
            uses.join(", ")
        );
        failures.push(Message::failure(kind, &file, name, &problem));
    }
}

/// Types whose names code uses.
fn names_code(kind: &str) -> bool {
    matches!(kind, "ApexClass" | "CustomField" | "CustomObject")
}

/// `ApexClass` as it is said: `Apex Class`.
fn spoken(kind: &str) -> String {
    let mut said = String::new();
    for c in kind.chars() {
        if c.is_uppercase() && !said.is_empty() {
            said.push(' ');
        }
        said.push(c);
    }
    said
}

/// Whether a source has this word outside comments.
fn names(source: &str, word: &str) -> bool {
    let lines =
        source.lines().filter(|l| !l.trim_start().starts_with("//") && !l.trim_start().starts_with('*'));
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    lines.into_iter().any(|line| line.split(|c| !is_part(c)).any(|w| w == word))
}
