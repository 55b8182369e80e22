//! What a source names that exists nowhere. Only what is certain is told: a name that may be inherited, or the
//! platform's own, is left alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::apply::Sources;
use super::compile::Problem;
use super::{objects, platform};
use crate::apex::scope::Scope;
use crate::apex::{self, Node, Outline, UnitKind};
use crate::sim::salesforce::kinds::Part;

/// Everything that can be named.
pub struct World<'s> {
    sources: &'s Sources,
    /// Class names by their lower case.
    classes: BTreeMap<String, &'s str>,
    objects: BTreeSet<String>,
    outlines: RefCell<BTreeMap<String, Option<Rc<Outline>>>>,
    /// Lower-case names of the custom fields of an object; none when the org does not hold it.
    fields: RefCell<BTreeMap<String, Option<Rc<BTreeSet<String>>>>>,
}

impl<'s> World<'s> {
    pub fn of(sources: &'s Sources) -> Self {
        let of_kind = |wanted: &'static str| sources.keys().filter(move |(kind, _)| kind == wanted);
        Self {
            sources,
            classes: of_kind("ApexClass")
                .map(|(_, name)| (name.to_ascii_lowercase(), name.as_str()))
                .collect(),
            objects: of_kind("CustomObject").map(|(_, name)| name.to_ascii_lowercase()).collect(),
            outlines: RefCell::default(),
            fields: RefCell::default(),
        }
    }

    fn source(&self, lower: &str) -> Option<&'s String> {
        let name = self.classes.get(lower)?;
        self.sources.get(&("ApexClass".to_owned(), (*name).to_owned()))
    }

    fn outline(&self, lower: &str) -> Option<Rc<Outline>> {
        if let Some(known) = self.outlines.borrow().get(lower) {
            return known.clone();
        }
        let outline = self.source(lower).and_then(|source| apex::outline(source)).map(Rc::new);
        self.outlines.borrow_mut().insert(lower.to_owned(), outline.clone());
        outline
    }

    fn fields(&self, object: &str) -> Option<Rc<BTreeSet<String>>> {
        if let Some(known) = self.fields.borrow().get(object) {
            return known.clone();
        }
        let source = self.sources.get(&("CustomObject".to_owned(), object.to_owned()));
        let fields = source.map(|source| Rc::new(objects::fields(source)));
        self.fields.borrow_mut().insert(object.to_owned(), fields.clone());
        fields
    }

    /// Whether a type of this lower-case name may exist outside the source that names it.
    fn may_exist(&self, lower: &str) -> bool {
        if self.classes.contains_key(lower) || self.objects.contains(lower) || platform::has(lower) {
            return true;
        }
        // Custom objects with a namespace may come from a package that is not seen here.
        let custom = ["__c", "__mdt", "__e", "__b"].iter().find_map(|ending| lower.strip_suffix(ending));
        custom.map_or_else(|| platform::is_derived(lower) || lower.contains("__"), |bare| bare.contains("__"))
    }

    /// The class of this lower-case name, when its methods are all its own.
    fn complete(&self, lower: &str) -> Option<Rc<Outline>> {
        let outline = self.outline(lower)?;
        (outline.kind == UnitKind::Class && outline.extends.is_none()).then_some(outline)
    }

    /// Imports of Apex that is not there.
    pub fn lwc_problems(&self, part: &Part) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (n, line) in part.source.lines().enumerate() {
            let Some((_, rest)) = line.split_once("@salesforce/apex/") else { continue };
            let named: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.')).collect();
            let Some((class, method)) = named.split_once('.') else { continue };
            let place = Some((n as u32 + 1, 1));
            match self.outline(&class.to_ascii_lowercase()) {
                None => problems
                    .push((place, format!("Unable to find Apex action class referenced as '{class}'."))),
                Some(outline) if !outline.methods.iter().any(|m| m.name == method) => problems
                    .push((place, format!("Unable to find Apex action method referenced as '{named}'."))),
                Some(_) => {}
            }
        }
        problems
    }
}

/// A place, line and column from 1, and what the compiler says of it.
pub type Unresolved = ((u32, u32), String);

/// What a source names that exists nowhere, in its order; each name once.
pub fn unresolved(source: &str, world: &World<'_>) -> Vec<Unresolved> {
    let Ok(apex) = apex::parse(source) else { return Vec::new() };
    let Some(own) = apex::outline(source) else { return Vec::new() };
    let mut reader = Reader {
        world,
        scope: Scope::read(&apex),
        known: known_inside(&own, world),
        told: BTreeSet::new(),
        found: Vec::new(),
    };
    for node in apex.nodes() {
        match node.kind() {
            "type_identifier" => reader.type_name(node),
            "method_invocation" => reader.call(node),
            "field_access" => reader.access(node),
            "object_creation_expression" => reader.creation(node),
            _ => {}
        }
    }
    reader.found
}

/// Lower-case names of types that stand in the source or are inherited, and of inherited variables.
fn known_inside(own: &Outline, world: &World<'_>) -> BTreeSet<String> {
    let mut known = BTreeSet::from([own.name.to_ascii_lowercase()]);
    let mut supers = Vec::new();
    let mut add = |outline: &Outline, known: &mut BTreeSet<String>| {
        for inner in &outline.inner {
            known.insert(inner.name.to_ascii_lowercase());
            supers.extend(inner.extends.clone());
        }
        supers.extend(outline.extends.clone());
    };
    add(own, &mut known);
    let mut open: Vec<String> = std::mem::take(&mut supers);
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        let lower = name.split(['.', '<']).next().unwrap_or_default().to_ascii_lowercase();
        if !seen.insert(lower.clone()) {
            continue;
        }
        if let (Some(source), Some(outline)) = (world.source(&lower), world.outline(&lower)) {
            known.extend(outline.inner.iter().map(|i| i.name.to_ascii_lowercase()));
            open.extend(outline.extends.clone());
            if let Ok(apex) = apex::parse(source) {
                known.extend(Scope::read(&apex).all().map(|d| d.name.text().to_ascii_lowercase()));
            }
        }
    }
    known
}

struct Reader<'a, 'w> {
    world: &'w World<'w>,
    scope: Scope<'a>,
    known: BTreeSet<String>,
    told: BTreeSet<String>,
    found: Vec<Unresolved>,
}

impl<'a> Reader<'a, '_> {
    fn tell(&mut self, node: Node<'_>, text: String) {
        if self.told.insert(text.clone()) {
            self.found.push(((node.line(), node.column()), text));
        }
    }

    fn exists(&self, name: &str) -> bool {
        let lower = name.to_ascii_lowercase();
        self.known.contains(&lower) || self.world.may_exist(&lower)
    }

    fn type_name(&mut self, node: Node<'a>) {
        // The key of an upsert is a field.
        if node.parent().is_some_and(|p| p.is("dml_expression")) {
            return;
        }
        let parent = node.parent().filter(|p| p.is("scoped_type_identifier"));
        if let Some(scoped) = parent {
            let first = scoped.named_children().next() == Some(node)
                && !scoped.parent().is_some_and(|p| p.is("scoped_type_identifier"));
            if first && !self.exists(node.text()) {
                self.tell(scoped, format!("Invalid type: {}", scoped.text()));
            }
        } else if !self.exists(node.text()) {
            self.tell(node, format!("Invalid type: {}", node.text()));
        }
    }

    /// Whether a name at a place is a class and no variable.
    fn is_class_like(&self, node: Node<'a>) -> bool {
        let lower = node.text().to_ascii_lowercase();
        node.is("identifier")
            && node.text().starts_with(|c: char| c.is_ascii_uppercase())
            && self.scope.lookup(node.text(), node).is_none()
            && !self.known.contains(&lower)
    }

    fn call(&mut self, node: Node<'a>) {
        let (Some(object), Some(name)) = (node.field("object"), node.field("name")) else { return };
        if !self.is_class_like(object) {
            return;
        }
        if !self.exists(object.text()) {
            self.tell(object, format!("Variable does not exist: {}", object.text()));
            return;
        }
        let Some(class) = self.world.complete(&object.text().to_ascii_lowercase()) else { return };
        let arguments: Vec<Node<'a>> =
            node.field("arguments").map(|a| a.named_children().collect()).unwrap_or_default();
        let fits = |m: &apex::Method| {
            m.name.eq_ignore_ascii_case(name.text()) && m.parameters.len() == arguments.len()
        };
        if !class.methods.iter().any(fits) {
            let types: Vec<String> = arguments.iter().map(|a| self.type_of(*a)).collect();
            let signature = format!("void {}({})", name.text(), types.join(", "));
            let text = format!(
                "Method does not exist or incorrect signature: {signature} from the type {}",
                class.name
            );
            self.tell(name, text);
        }
    }

    /// The type of an argument as far as it shows.
    fn type_of(&self, node: Node<'a>) -> String {
        let literal = match node.kind() {
            "boolean" => "Boolean",
            "int" => "Integer",
            "string_literal" => "String",
            "null_literal" => "NULL",
            "object_creation_expression" | "cast_expression" => {
                return node.field("type").map_or("Object", Node::text).to_owned();
            }
            _ => self.scope.type_of(node.text(), node).unwrap_or("Object"),
        };
        literal.to_owned()
    }

    fn access(&mut self, node: Node<'a>) {
        let Some(object) = node.field("object") else { return };
        if self.is_class_like(object) && !self.exists(object.text()) {
            self.tell(object, format!("Variable does not exist: {}", object.text()));
        }
        let Some(field) = node.field("field") else { return };
        let owner = self.scope.type_of(object.text(), object).filter(|_| object.is("identifier"));
        if let Some(owner) = owner
            && self.lacks(owner, field.text())
        {
            self.tell(field, format!("Variable does not exist: {}", field.text()));
        }
    }

    fn creation(&mut self, node: Node<'a>) {
        let (Some(kind), Some(arguments)) = (node.field("type"), node.field("arguments")) else { return };
        for left in arguments.named_children().filter_map(|a| a.field("left")) {
            if self.lacks(kind.text(), left.text()) {
                self.tell(left, format!("Field does not exist: {} on {}", left.text(), kind.text()));
            }
        }
    }

    /// Whether an object that the org holds has no such custom field.
    fn lacks(&self, object: &str, field: &str) -> bool {
        let lower = field.to_ascii_lowercase();
        let plain = lower.strip_suffix("__c").is_some_and(|bare| !bare.contains("__"));
        plain && self.world.fields(object.trim()).is_some_and(|fields| !fields.contains(&lower))
    }
}
