//! Which type a name has at a place: locals, parameters and fields by their declared types. No inference.

use std::collections::HashMap;

use super::tree::{Apex, Node};

/// The declarations of a source, by lower-case name.
pub struct Scope<'a> {
    declared: HashMap<String, Vec<Declared<'a>>>,
}

/// A declared variable.
#[derive(Clone, Copy)]
pub struct Declared<'a> {
    /// The name's own node.
    pub name: Node<'a>,
    /// Its declared type.
    pub type_node: Node<'a>,
    /// Where it counts: the block, method, loop or type it belongs to.
    pub within: Node<'a>,
    /// What it starts with.
    pub value: Option<Node<'a>>,
    /// Whether callers give it.
    pub is_parameter: bool,
}

const PLACES: [&str; 12] = [
    "block",
    "catch_clause",
    "class_body",
    "constructor_body",
    "constructor_declaration",
    "enhanced_for_statement",
    "for_statement",
    "interface_body",
    "method_declaration",
    "parser_output",
    "switch_rule",
    "trigger_body",
];

impl<'a> Scope<'a> {
    pub fn read(apex: &'a Apex<'a>) -> Self {
        let mut declared: HashMap<String, Vec<Declared<'a>>> = HashMap::new();
        let mut add = |entry: Declared<'a>| {
            declared.entry(entry.name.text().to_ascii_lowercase()).or_default().push(entry);
        };
        for node in apex.nodes() {
            let within = || node.nearest(&PLACES).unwrap_or_else(|| apex.root());
            match node.kind() {
                "variable_declarator" => {
                    let type_node = node.parent().and_then(|list| list.field("type"));
                    if let (Some(name), Some(type_node)) = (node.field("name"), type_node) {
                        let value = node.field("value");
                        add(Declared { name, type_node, within: within(), value, is_parameter: false });
                    }
                }
                "formal_parameter" => {
                    if let (Some(name), Some(type_node)) = (node.field("name"), node.field("type")) {
                        let is_parameter = !node.parent().is_some_and(|p| p.is("catch_clause"));
                        add(Declared { name, type_node, within: within(), value: None, is_parameter });
                    }
                }
                "enhanced_for_statement" => {
                    if let (Some(name), Some(type_node)) = (node.field("name"), node.field("type")) {
                        let value = node.field("value");
                        add(Declared { name, type_node, within: node, value, is_parameter: false });
                    }
                }
                "when_sobject_type" => {
                    let mut parts = node.named_children();
                    if let (Some(type_node), Some(name)) = (parts.next(), parts.next()) {
                        add(Declared { name, type_node, within: within(), value: None, is_parameter: false });
                    }
                }
                _ => {}
            }
        }
        Self { declared }
    }

    /// The declaration that a name means at a place: the innermost that surrounds it.
    pub fn lookup(&self, name: &str, at: Node<'_>) -> Option<Declared<'a>> {
        let entries = self.declared.get(&name.to_ascii_lowercase())?;
        entries
            .iter()
            .filter(|entry| entry.within.holds(at))
            .max_by_key(|entry| entry.within.start())
            .copied()
    }

    /// The declared type of a name at a place, as written.
    pub fn type_of(&self, name: &str, at: Node<'_>) -> Option<&'a str> {
        self.lookup(name, at).map(|entry| entry.type_node.text())
    }

    /// Every declaration.
    pub fn all(&self) -> impl Iterator<Item = &Declared<'a>> {
        self.declared.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apex::parse;

    #[test]
    fn the_innermost_declaration_counts() {
        let source = "class A { String x; void b(Integer x) { use1(x); } void c() { use2(x); for (Account x : y) { use3(x); } } }";
        let apex = parse(source).unwrap();
        let scope = Scope::read(&apex);
        let seen: Vec<_> =
            apex.of_kind("method_invocation").filter_map(|call| scope.type_of("X", call)).collect();
        assert_eq!(seen, ["Integer", "String", "Account"]);
    }
}
