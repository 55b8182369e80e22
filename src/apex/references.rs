//! What a source mentions: types, methods, objects and fields, with lines, for "where is it used". Names are
//! resolved by declared types; what only shows at run time is listed as dynamic, never guessed.

use std::collections::BTreeSet;

use super::scope::Scope;
use super::tree::{Apex, Node, parse};

/// Everything a source mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Without doubles, by line.
    pub uses: Vec<Reference>,
    /// Lines that reach metadata by a name made at run time: a search here can't say "nothing else uses it".
    pub dynamic_lines: Vec<u32>,
}

/// One mention.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// From 1.
    pub line: u32,
    pub kind: ReferenceKind,
    /// As written: `Account`, `Account.Industry`, `Account.Owner.Name`, `AccountService.run`.
    pub name: String,
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReferenceKind {
    /// `Object.Field` or `Class.member`.
    Field,
    /// `Class.method`, called.
    Method,
    /// An object named in SOQL, SOSL or a trigger's head.
    Object,
    /// A class, interface or object used as a type.
    Type,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    Write,
}

const MOST: usize = 20_000;

const BUILT_IN: [&str; 18] = [
    "blob", "boolean", "date", "datetime", "decimal", "double", "id", "integer", "iterable", "iterator",
    "list", "long", "map", "object", "set", "string", "time", "void",
];

/// What this source mentions; empty when it can't be parsed.
pub fn references(source: &str) -> References {
    let Ok(apex) = parse(source) else { return References::default() };
    let mut found = Found { scope: Scope::read(&apex), uses: BTreeSet::new(), dynamic: BTreeSet::new() };
    for node in apex.nodes() {
        match node.kind() {
            "field_access" => found.field_access(node),
            "method_invocation" => found.call(node),
            "object_creation_expression" => found.creation(node),
            "scoped_type_identifier" | "type_identifier" => found.type_name(node),
            "soql_query_body" => found.query(node),
            "sobject_return" => found.sosl(node),
            "trigger_declaration" => {
                if let Some(object) = node.field("object") {
                    found.add(ReferenceKind::Object, object.text(), object, Access::Read);
                }
            }
            _ => {}
        }
    }
    References {
        uses: found.uses.into_iter().take(MOST).collect(),
        dynamic_lines: found.dynamic.into_iter().collect(),
    }
}

struct Found<'a> {
    scope: Scope<'a>,
    uses: BTreeSet<Reference>,
    dynamic: BTreeSet<u32>,
}

impl<'a> Found<'a> {
    fn add(&mut self, kind: ReferenceKind, name: &str, at: Node<'_>, access: Access) {
        let name: String = name.split_whitespace().collect();
        if !name.is_empty() {
            self.uses.insert(Reference { line: at.line(), kind, name, access });
        }
    }

    fn type_name(&mut self, node: Node<'a>) {
        let inside_a_longer_name = node.parent().is_some_and(|p| p.is("scoped_type_identifier"));
        if !inside_a_longer_name && !BUILT_IN.contains(&node.text().to_ascii_lowercase().as_str()) {
            self.add(ReferenceKind::Type, node.text(), node, Access::Read);
        }
    }

    /// `a.B.C`, taken at its outermost node.
    fn field_access(&mut self, node: Node<'a>) {
        let part_of_longer =
            node.parent().is_some_and(|p| p.is("field_access")) && node.field_name() == "object";
        if part_of_longer {
            return;
        }
        let Some((base, path)) = chain(node) else { return };
        let access = match node.parent() {
            Some(p) if p.is("assignment_expression") && node.field_name() == "left" => Access::Write,
            Some(p) if p.is("update_expression") => Access::Write,
            _ => Access::Read,
        };
        match self.type_at(base) {
            Some(type_name) => self.add(ReferenceKind::Field, &format!("{type_name}.{path}"), node, access),
            None if base.is("identifier") => {
                self.add(ReferenceKind::Field, &format!("{}.{path}", base.text()), node, access);
                self.add(ReferenceKind::Type, base.text(), node, Access::Read);
            }
            None => {}
        }
    }

    /// The declared type of an expression that is a name, or an element of a list by that name.
    fn type_at(&self, node: Node<'a>) -> Option<&'a str> {
        match node.kind() {
            "identifier" => self.scope.type_of(node.text(), node).map(str::trim),
            "array_access" => {
                let array = node.field("array")?;
                element_of(self.scope.type_of(array.text(), node)?)
            }
            "cast_expression" => node.field("type").map(Node::text),
            "parenthesized_expression" => self.type_at(node.named_children().next()?),
            _ => None,
        }
    }

    fn call(&mut self, node: Node<'a>) {
        let (Some(object), Some(name)) = (node.field("object"), node.field("name")) else { return };
        let literal = node.field("arguments").and_then(|a| a.named_children().next());
        let text = literal.filter(|l| l.is("string_literal")).map(|l| l.text().trim_matches('\''));
        let method = name.text().to_ascii_lowercase();
        let owner = self.type_at(object);
        match (owner, method.as_str()) {
            (Some(owner), "get" | "getsobject" | "put" | "putsobject") if !is_collection(owner) => match text
            {
                Some(field) if !owner.eq_ignore_ascii_case("SObject") => {
                    let access = if method.starts_with("put") { Access::Write } else { Access::Read };
                    self.add(ReferenceKind::Field, &format!("{owner}.{field}"), node, access);
                }
                _ => {
                    self.dynamic.insert(node.line());
                }
            },
            (Some(owner), _) if !is_collection(owner) => {
                self.add(ReferenceKind::Method, &format!("{owner}.{}", name.text()), node, Access::Read);
            }
            (None, _) if object.is("identifier") => {
                self.add(ReferenceKind::Type, object.text(), object, Access::Read);
                self.add(
                    ReferenceKind::Method,
                    &format!("{}.{}", object.text(), name.text()),
                    node,
                    Access::Read,
                );
                self.static_call(&object.text().to_ascii_lowercase(), &method, text, node);
            }
            _ => {}
        }
    }

    fn static_call(&mut self, class: &str, method: &str, text: Option<&str>, node: Node<'a>) {
        match (class, method) {
            ("type", "forname") => match text {
                Some(name) => self.add(ReferenceKind::Type, name, node, Access::Read),
                None => {
                    self.dynamic.insert(node.line());
                }
            },
            (
                "database",
                "countquery" | "countquerywithbinds" | "getquerylocator" | "query" | "querywithbinds",
            )
            | ("search", "query" | "find")
            | ("schema", "getglobaldescribe" | "describesobjects") => {
                let inline =
                    node.field("arguments").is_some_and(|a| a.child_of_kind("query_expression").is_some());
                if !inline {
                    self.dynamic.insert(node.line());
                }
            }
            _ => {}
        }
    }

    /// `new Account(Name = 'x')` writes fields.
    fn creation(&mut self, node: Node<'a>) {
        let (Some(type_node), Some(arguments)) = (node.field("type"), node.field("arguments")) else {
            return;
        };
        for argument in arguments.named_children().filter(|a| a.is("assignment_expression")) {
            if let Some(left) = argument.field("left") {
                self.add(
                    ReferenceKind::Field,
                    &format!("{}.{}", type_node.text(), left.text()),
                    left,
                    Access::Write,
                );
            }
        }
    }

    fn query(&mut self, query: Node<'a>) {
        let Some(object) = query_path(query) else { return };
        let relation = is_child_query(query);
        if let Some(from) = query.field("from_clause") {
            let kind = if relation { ReferenceKind::Field } else { ReferenceKind::Object };
            self.add(kind, &object, from, Access::Read);
        }
        let alias = query.below("storage_alias").next().and_then(|a| a.named_children().last());
        for field in query.below("field_identifier").filter(|f| own_query(*f) == Some(query)) {
            let mut name = field.text();
            if let Some(rest) = alias.and_then(|a| name.strip_prefix(a.text())?.strip_prefix('.')) {
                name = rest;
            }
            self.add(ReferenceKind::Field, &format!("{object}.{name}"), field, Access::Read);
        }
    }

    fn sosl(&mut self, object: Node<'a>) {
        if let Some(name) = object.named_children().next() {
            self.add(ReferenceKind::Object, name.text(), name, Access::Read);
        }
    }
}

/// The base of `a.B.C` and the path behind it, at most six steps.
fn chain(node: Node<'_>) -> Option<(Node<'_>, String)> {
    let mut parts = Vec::new();
    let mut at = node;
    while at.is("field_access") {
        parts.push(at.field("field")?.text());
        if parts.len() > 6 {
            return None;
        }
        at = at.field("object")?;
    }
    if at.is("this") {
        return None;
    }
    parts.reverse();
    Some((at, parts.join(".")))
}

/// `Account` of `List<Account>` and `Account[]`.
fn element_of(type_name: &str) -> Option<&str> {
    let inner = match type_name.split_once('<') {
        Some((_, rest)) => rest.trim_end().strip_suffix('>')?,
        None => type_name.trim_end().strip_suffix("[]")?,
    };
    Some(inner.trim())
}

fn is_collection(type_name: &str) -> bool {
    type_name.contains('<') || type_name.trim_end().ends_with(']')
}

fn own_query(node: Node<'_>) -> Option<Node<'_>> {
    node.nearest(&["soql_query_body"])
}

/// Whether it is the `(SELECT .. FROM Contacts)` of a select list, whose source is a relationship.
pub fn is_child_query(query: Node<'_>) -> bool {
    query.parent().is_some_and(|p| p.is("subquery") && p.parent().is_some_and(|g| g.is("select_clause")))
}

/// The object a query reads; for a child query `Account.Contacts`.
pub fn query_path(query: Node<'_>) -> Option<String> {
    let mut names = Vec::new();
    let mut at = Some(query);
    while let Some(body) = at {
        names.push(body.field("from_clause")?.below("storage_identifier").next()?.text());
        at = if is_child_query(body) && names.len() < 6 { own_query(body) } else { None };
    }
    names.reverse();
    Some(names.join("."))
}

/// The queries of a source with the object each reads, outermost ones only.
pub fn queries<'a>(apex: &'a Apex<'a>) -> impl Iterator<Item = Node<'a>> {
    apex.of_kind("soql_query_body").filter(|query| query.parent().is_some_and(|p| p.is("query_expression")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str, kind: ReferenceKind) -> Vec<String> {
        references(source).uses.into_iter().filter(|u| u.kind == kind).map(|u| u.name).collect()
    }

    #[test]
    fn queries_name_their_object_and_fields() {
        let source = "class A { void b() { for (Account a : [SELECT Id, Owner.Name, (SELECT LastName FROM Contacts) \
            FROM Account WHERE Industry = 'x' AND Id IN (SELECT AccountId FROM Case)]) {} } }";
        assert_eq!(names(source, ReferenceKind::Object), ["Account", "Case"]);
        let fields = names(source, ReferenceKind::Field);
        for field in [
            "Account.Contacts",
            "Account.Contacts.LastName",
            "Account.Id",
            "Account.Industry",
            "Account.Owner.Name",
            "Case.AccountId",
        ] {
            assert!(fields.contains(&field.to_owned()), "{field} not in {fields:?}");
        }
    }

    #[test]
    fn fields_are_resolved_by_the_declared_type_and_writes_are_told_apart() {
        let source = "class A { void b(Account acc, List<Contact> all) {\n acc.Industry = acc.Owner.Name;\n\
            all[0].Email = null;\n new Lead(Company = 'x');\n acc.put('Rating', 1);\n} }";
        let found = references(source);
        let writes: Vec<_> =
            found.uses.iter().filter(|u| u.access == Access::Write).map(|u| u.name.as_str()).collect();
        assert_eq!(writes, ["Account.Industry", "Contact.Email", "Lead.Company", "Account.Rating"]);
        assert!(
            found
                .uses
                .iter()
                .any(|u| u.name == "Account.Owner.Name" && u.access == Access::Read && u.line == 2)
        );
    }

    #[test]
    fn types_and_methods_are_found_through_variables_and_static_calls() {
        let source = "class A extends Base { Helper h; void b() { h.run(); Util.go(); List<Thing__c> t = new List<Thing__c>(); } }";
        assert_eq!(names(source, ReferenceKind::Method), ["Helper.run", "Util.go"]);
        for name in ["Base", "Helper", "Util", "Thing__c"] {
            assert!(names(source, ReferenceKind::Type).contains(&name.to_owned()), "{name}");
        }
        assert!(!names(source, ReferenceKind::Type).contains(&"List".to_owned()));
    }

    #[test]
    fn names_made_at_run_time_are_listed_as_dynamic() {
        let source = "class A { void b(SObject s, String f) {\n s.get(f);\n Database.query('SELECT Id FROM ' + f);\n\
            Type.forName(f);\n} }";
        assert_eq!(references(source).dynamic_lines, [2, 3, 4]);
    }

    #[test]
    fn broken_code_still_gives_what_can_be_read() {
        assert!(names("class A { void b( { Foo.bar(); }", ReferenceKind::Method).len() <= 1);
        assert_eq!(references("").uses, Vec::new());
    }
}
