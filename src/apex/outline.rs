//! What a class or trigger declares: its name, sharing, methods, inner types, and for a trigger what it is on.

use super::tree::{Node, parse};

/// A class, interface, enum or trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    pub name: String,
    pub kind: UnitKind,
    /// The keyword it carries; `None` without one.
    pub sharing: Option<Sharing>,
    /// Whether it carries `@IsTest`.
    pub is_test: bool,
    /// Names as written, without `@`.
    pub annotations: Vec<String>,
    /// Other modifiers, lower case: `global`, `abstract`, ...
    pub modifiers: Vec<String>,
    pub extends: Option<String>,
    pub implements: Vec<String>,
    pub methods: Vec<Method>,
    pub inner: Vec<Outline>,
    /// For a trigger: its object and events.
    pub trigger: Option<TriggerOn>,
    pub first_line: u32,
    pub last_line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    Class,
    Enum,
    Interface,
    Trigger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    Inherited,
    With,
    Without,
}

/// What a trigger runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerOn {
    pub object: String,
    /// `before insert`, `after update`, ..., lower case.
    pub events: Vec<String>,
}

/// A method or constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    pub name: String,
    /// `None` for a constructor.
    pub returns: Option<String>,
    pub parameters: Vec<Parameter>,
    pub annotations: Vec<String>,
    /// Lower case: `public`, `static`, ...
    pub modifiers: Vec<String>,
    /// Whether it is a test: `@IsTest` or `testMethod`.
    pub is_test: bool,
    pub first_line: u32,
    pub last_line: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub type_name: String,
    pub name: String,
}

/// Inner types are read this deep; Apex itself allows one level.
const MAX_DEPTH: u32 = 4;

/// The outline of the first type or trigger of a source; `None` when there is none.
pub fn outline(source: &str) -> Option<Outline> {
    let apex = parse(source).ok()?;
    let unit = apex.nodes().find(|node| unit_kind(*node).is_some())?;
    read_unit(unit, 0)
}

/// The kind of type that a node declares.
pub fn unit_kind(node: Node<'_>) -> Option<UnitKind> {
    match node.kind() {
        "class_declaration" => Some(UnitKind::Class),
        "enum_declaration" => Some(UnitKind::Enum),
        "interface_declaration" => Some(UnitKind::Interface),
        "trigger_declaration" => Some(UnitKind::Trigger),
        _ => None,
    }
}

/// The sharing keyword of a class.
pub fn sharing(class: Node<'_>) -> Option<Sharing> {
    let modifiers = class.child_of_kind("modifiers")?;
    modifiers.below("modifier").find_map(|modifier| match modifier.children().next()?.kind() {
        "inherited_sharing" => Some(Sharing::Inherited),
        "with_sharing" => Some(Sharing::With),
        "without_sharing" => Some(Sharing::Without),
        _ => None,
    })
}

/// Whether a class or method carries `@IsTest`, or a method `testMethod`.
pub fn is_test(declaration: Node<'_>) -> bool {
    annotation(declaration, "IsTest").is_some()
        || modifiers(declaration).iter().any(|modifier| modifier == "testmethod")
}

/// The annotation of this name on a declaration; case does not matter.
pub fn annotation<'a>(declaration: Node<'a>, name: &str) -> Option<Node<'a>> {
    let modifiers = declaration.child_of_kind("modifiers")?;
    modifiers
        .children()
        .filter(|node| node.is("annotation"))
        .find(|node| node.field("name").is_some_and(|given| given.text().eq_ignore_ascii_case(name)))
}

/// The modifiers of a declaration, lower case.
pub fn modifiers(declaration: Node<'_>) -> Vec<String> {
    let Some(list) = declaration.child_of_kind("modifiers") else { return Vec::new() };
    list.children().filter(|n| n.is("modifier")).map(|n| n.text().to_ascii_lowercase()).collect()
}

fn read_unit(unit: Node<'_>, depth: u32) -> Option<Outline> {
    let kind = unit_kind(unit)?;
    let body = unit.field("body")?;
    let members: Vec<Node<'_>> = body.named_children().collect();
    let sharing_words = ["with sharing", "without sharing", "inherited sharing"];
    Some(Outline {
        name: unit.field("name")?.text().to_owned(),
        kind,
        sharing: sharing(unit),
        is_test: is_test(unit),
        annotations: annotations(unit),
        modifiers: modifiers(unit).into_iter().filter(|m| !sharing_words.contains(&m.as_str())).collect(),
        extends: unit.child_of_kind("superclass").and_then(|s| s.named_children().next()).map(text),
        implements: supertypes(unit),
        methods: members.iter().filter_map(|member| read_method(*member)).collect(),
        inner: if depth < MAX_DEPTH {
            members.iter().filter_map(|member| read_unit(*member, depth + 1)).collect()
        } else {
            Vec::new()
        },
        trigger: unit.field("object").map(|object| TriggerOn {
            object: text(object),
            events: unit.children().filter(|n| n.is("trigger_event")).map(|n| one_space(n.text())).collect(),
        }),
        first_line: unit.line(),
        last_line: unit.end_line(),
    })
}

fn supertypes(unit: Node<'_>) -> Vec<String> {
    let list = unit.child_of_kind("interfaces").or_else(|| unit.child_of_kind("extends_interfaces"));
    let types = list.and_then(|node| node.child_of_kind("type_list"));
    types.map(|node| node.named_children().map(text).collect()).unwrap_or_default()
}

fn annotations(declaration: Node<'_>) -> Vec<String> {
    let Some(list) = declaration.child_of_kind("modifiers") else { return Vec::new() };
    list.children().filter(|n| n.is("annotation")).filter_map(|n| n.field("name")).map(text).collect()
}

fn read_method(member: Node<'_>) -> Option<Method> {
    if !matches!(member.kind(), "method_declaration" | "constructor_declaration") {
        return None;
    }
    let parameters = member.field("parameters")?;
    Some(Method {
        name: member.field("name")?.text().to_owned(),
        returns: member.field("type").map(text),
        parameters: parameters
            .named_children()
            .filter_map(|p| {
                Some(Parameter { type_name: text(p.field("type")?), name: text(p.field("name")?) })
            })
            .collect(),
        annotations: annotations(member),
        modifiers: modifiers(member),
        is_test: is_test(member),
        first_line: member.line(),
        last_line: member.end_line(),
    })
}

fn text(node: Node<'_>) -> String {
    one_space_keeping_case(node.text())
}

fn one_space(text: &str) -> String {
    one_space_keeping_case(text).to_ascii_lowercase()
}

fn one_space_keeping_case(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_outlined_with_its_methods_and_inner_types() {
        let source = "@RestResource(urlMapping='/x')\nglobal with sharing class A extends B implements C, D.E {\n\
            public A(Integer n) {}\n  @AuraEnabled public static List<Account> find(String name, Id i) {\n return null;\n }\n\
            class In {}\n enum Colour { RED }\n}";
        let found = outline(source).unwrap();
        assert_eq!((found.name.as_str(), found.kind), ("A", UnitKind::Class));
        assert_eq!(found.sharing, Some(Sharing::With));
        assert_eq!(found.annotations, ["RestResource"]);
        assert_eq!(found.modifiers, ["global"]);
        assert_eq!(found.extends.as_deref(), Some("B"));
        assert_eq!(found.implements, ["C", "D.E"]);
        let names: Vec<_> =
            found.methods.iter().map(|m| (m.name.as_str(), m.first_line, m.last_line)).collect();
        assert_eq!(names, [("A", 3, 3), ("find", 4, 6)]);
        assert_eq!(found.methods[1].returns.as_deref(), Some("List<Account>"));
        assert_eq!(found.methods[1].parameters[0].type_name, "String");
        let inner: Vec<_> = found.inner.iter().map(|i| (i.name.as_str(), i.kind)).collect();
        assert_eq!(inner, [("In", UnitKind::Class), ("Colour", UnitKind::Enum)]);
    }

    #[test]
    fn a_trigger_is_outlined_with_its_object_and_events() {
        let found = outline("trigger T on Account (before insert, After  Update) { }").unwrap();
        let on = found.trigger.unwrap();
        assert_eq!((found.kind, on.object.as_str()), (UnitKind::Trigger, "Account"));
        assert_eq!(on.events[0], "before insert");
    }

    #[test]
    fn tests_are_known_in_any_case() {
        let found = outline(
            "@istest class A { @ISTEST static void b() {} static testMethod void c() {} void d() {} }",
        );
        let found = found.unwrap();
        assert!(found.is_test);
        assert_eq!(found.methods.iter().map(|m| m.is_test).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_source_without_a_type_has_no_outline() {
        assert_eq!(outline("Integer x = 1;"), None);
        assert_eq!(outline(""), None);
    }
}
