//! APX-004: text that a caller controls in a dynamic query. Follows values backwards through the method, through
//! fields and through the class's own methods; a value it can't follow counts as safe.

use std::cell::Cell;
use std::collections::HashSet;

use super::operations::static_call;
use super::{File, arguments, body_of, in_test};
use crate::apex::Node;
use crate::apex::scope::Declared;
use crate::insights::rules::finding::{Hit, Severity};

const SINKS: [&str; 6] = [
    "countquery",
    "countquerywithbinds",
    "getquerylocator",
    "getquerylocatorwithbinds",
    "query",
    "querywithbinds",
];

/// Methods of String that give the same text in another form.
const KEEPS_TEXT: [&str; 16] = [
    "abbreviate",
    "capitalize",
    "deletewhitespace",
    "left",
    "mid",
    "normalizespace",
    "remove",
    "replace",
    "replaceall",
    "replacefirst",
    "right",
    "substring",
    "tolowercase",
    "touppercase",
    "trim",
    "unescapehtml4",
];

/// How far a value is followed, and how many nodes may be looked at for one file in all.
const MAX_DEPTH: u32 = 24;
const MAX_WORK: u64 = 30_000_000;

pub fn check(file: &File<'_>, out: &mut Vec<Hit>) {
    let trace = Trace { file, work: Cell::new(0) };
    for call in file.apex.of_kind("method_invocation") {
        let Some((class, method)) = static_call(file, call) else { continue };
        let is_sink = match class.as_str() {
            "database" => SINKS.contains(&method.as_str()),
            "search" => matches!(method.as_str(), "find" | "query"),
            _ => false,
        };
        let Some(query) = arguments(call).next().filter(|_| is_sink && !in_test(call)) else { continue };
        if let Some(from) = trace.taint(query, 0) {
            let message = format!("{from} becomes part of the query without escaping or a bind.");
            let hit = Hit::at("APX-004", call, message);
            // A method that runs whatever query it is given: its callers decide, and each of them is checked.
            let passes_on = query.is("identifier") && from.starts_with(&format!("{},", query.text()));
            out.push(if passes_on { hit.severity(Severity::High) } else { hit });
        }
    }
}

struct Trace<'t, 'a> {
    file: &'t File<'a>,
    work: Cell<u64>,
}

impl<'a> Trace<'_, 'a> {
    /// Where outside text comes from, when this expression holds any.
    fn taint(&self, node: Node<'a>, depth: u32) -> Option<String> {
        if depth > MAX_DEPTH || !self.may_look_at(1) {
            return None;
        }
        let of = |name: &str| node.field(name).and_then(|part| self.taint(part, depth + 1));
        match node.kind() {
            "binary_expression" => self.joined(node, depth),
            "ternary_expression" => of("consequence").or_else(|| of("alternative")),
            "assignment_expression" => of("right"),
            "cast_expression" => {
                let safe = node.field("type").is_some_and(|t| !carries_text(t.text()));
                if safe { None } else { of("value") }
            }
            "array_access" => of("array"),
            "array_creation_expression" | "array_initializer" | "parenthesized_expression" => {
                node.named_children().find_map(|part| self.taint(part, depth + 1))
            }
            "object_creation_expression" => arguments(node).find_map(|part| self.taint(part, depth + 1)),
            "identifier" => self.variable(node.text(), node, depth),
            "field_access" if node.field("object").is_some_and(|o| o.is("this")) => {
                self.variable(node.field("field")?.text(), node, depth)
            }
            "method_invocation" => self.call(node, depth),
            _ => None,
        }
    }

    /// Counts work; `false` when there was enough of it.
    fn may_look_at(&self, nodes: u32) -> bool {
        self.work.set(self.work.get() + u64::from(nodes));
        self.work.get() <= MAX_WORK
    }

    /// A long `a + b + c` leans to the left as deep as it is long, so it is walked and not recursed.
    fn joined(&self, node: Node<'a>, depth: u32) -> Option<String> {
        let mut left = node;
        let mut parts = Vec::new();
        while left.is("binary_expression")
            && left.field("operator").is_some_and(|o| matches!(o.text(), "+" | "??"))
        {
            parts.extend(left.field("right"));
            left = left.field("left")?;
        }
        if parts.is_empty() {
            return None;
        }
        parts.push(left);
        let mut seen = HashSet::new();
        parts.retain(|part| !part.is("identifier") || seen.insert(part.text()));
        parts.into_iter().rev().find_map(|part| self.taint(part, depth + 1))
    }

    fn call(&self, node: Node<'a>, depth: u32) -> Option<String> {
        let method = node.field("name")?.text().to_ascii_lowercase();
        let any_argument = || arguments(node).find_map(|part| self.taint(part, depth + 1));
        if let Some((class, method)) = static_call(self.file, node) {
            match (class.as_str(), method.as_str()) {
                ("encodingutil", "urldecode")
                | ("json", "serialize")
                | ("string", "format" | "join" | "valueof") => {
                    return any_argument();
                }
                _ => {}
            }
        }
        let own = self.file.called(node);
        if !own.is_empty() {
            return own.into_iter().find_map(|callee| self.returned(callee, node, depth));
        }
        let object = node.field("object")?;
        if method == "get" && page_parameters(object) {
            return Some("A page parameter".into());
        }
        match method.as_str() {
            "get" => self.taint(object, depth + 1),
            method if KEEPS_TEXT.contains(&method) => self.taint(object, depth + 1).or_else(any_argument),
            _ => None,
        }
    }

    /// What a method of the class gives back: outside text in its returns, where its parameters are as given here.
    fn returned(&self, method: Node<'a>, call: Node<'a>, depth: u32) -> Option<String> {
        if !method.field("type").is_some_and(|t| carries_text(t.text())) {
            return None;
        }
        let returns = method.below("return_statement").filter(|r| body_of(*r) == Some(method));
        let values = returns.filter_map(|r| r.named_children().next());
        for value in values {
            let Some(from) = self.taint(value, depth + 4) else { continue };
            let names = method.field("parameters")?.named_children().filter_map(|p| p.field("name"));
            let by_parameter =
                names.zip(arguments(call)).find(|(name, _)| from.starts_with(&format!("{},", name.text())));
            match by_parameter {
                Some((_, given)) => {
                    if let Some(from) = self.taint(given, depth + 4) {
                        return Some(from);
                    }
                }
                None => return Some(from),
            }
        }
        None
    }

    fn variable(&self, name: &str, at: Node<'a>, depth: u32) -> Option<String> {
        let declared = self.file.scope.lookup(name, at)?;
        if !self.may_look_at(2 * body_of(at)?.size()) {
            return None;
        }
        if !carries_text(declared.type_node.text()) || self.is_checked(name, at) {
            return None;
        }
        if declared.within.is("class_body") {
            return self.field(name, declared, depth);
        }
        let method = body_of(at)?;
        let writes = writes_to(name, method, at);
        // The last plain assignment that always runs before this use makes everything before it moot.
        let settled = writes.iter().rposition(|w| w.replaces && always_before(w.node, at));
        let from = settled.unwrap_or(0);
        let written = writes[from..].iter().find_map(|write| self.taint(write.value, depth + 1));
        if written.is_some() || settled.is_some() {
            return written;
        }
        if declared.is_parameter {
            return self.parameter(declared, depth);
        }
        declared.value.and_then(|value| self.taint(value, depth + 1))
    }

    /// A parameter of a private method is what its callers in the class give; of any other, whatever anybody gives.
    fn parameter(&self, declared: Declared<'a>, depth: u32) -> Option<String> {
        let method = declared.name.nearest(&["constructor_declaration", "method_declaration"])?;
        let name = method.field("name")?;
        let outside = || Some(format!("{}, a parameter of {}(),", declared.name.text(), name.text()));
        let modifiers = crate::apex::outline::modifiers(method);
        let open = ["global", "protected", "public", "webservice"]
            .iter()
            .any(|m| modifiers.iter().any(|own| own == m));
        if open || !method.is("method_declaration") {
            return outside();
        }
        if !self.may_look_at(self.file.apex.root().size()) {
            return None;
        }
        let place = method.field("parameters")?.named_children().position(|p| p.holds(declared.name))?;
        let calls = self.file.apex.of_kind("method_invocation").filter(|c| {
            c.field("name").is_some_and(|n| n.text().eq_ignore_ascii_case(name.text()))
                && self.file.called(*c).contains(&method)
        });
        calls.filter_map(|call| arguments(call).nth(place)).find_map(|given| self.taint(given, depth + 1))
    }

    /// A field: a page may set a property; otherwise what the class itself puts in.
    fn field(&self, name: &str, declared: Declared<'a>, depth: u32) -> Option<String> {
        let declaration = declared.name.nearest(&["field_declaration"])?;
        let modifiers = crate::apex::outline::modifiers(declaration);
        let is = |wanted: &str| modifiers.iter().any(|m| m == wanted);
        if is("final") && is("static") {
            return None;
        }
        let setter = declaration.child_of_kind("accessor_list").is_some_and(|list| {
            list.children().any(|accessor| {
                let sets = accessor.field("accessor").is_some_and(|a| a.text().eq_ignore_ascii_case("set"));
                sets && accessor.child_of_kind("modifiers").is_none()
            })
        });
        let in_the_background = declaration.nearest(&["class_declaration"]).is_some_and(|class| {
            class.child_of_kind("interfaces").is_some_and(|i| {
                let text = i.text().to_ascii_lowercase();
                ["batchable", "queueable", "schedulable"].iter().any(|word| text.contains(word))
            })
        });
        if setter && !in_the_background && (is("public") || is("global")) {
            return Some(format!("{name}, which a page can set,"));
        }
        if !self.may_look_at(declared.within.size()) {
            return None;
        }
        let writes = writes_to(name, declared.within, declared.within);
        let started = declared.value.and_then(|value| self.taint(value, depth + 1));
        started.or_else(|| writes.iter().find_map(|write| self.taint(write.value, depth + 1)))
    }

    /// Whether the code asks a list of allowed values about it before: `ALLOWED.contains(x)`.
    fn is_checked(&self, name: &str, at: Node<'a>) -> bool {
        let Some(method) = body_of(at) else { return false };
        method.below("method_invocation").take_while(|call| call.start() < at.start()).any(|call| {
            let asks = call.field("name").is_some_and(|n| {
                matches!(n.text().to_ascii_lowercase().as_str(), "contains" | "containskey")
            });
            // `text.contains(x)` on the text itself is no list of allowed values.
            let on_collection = call.field("object").is_some_and(|object| match object.kind() {
                "identifier" => self
                    .file
                    .scope
                    .type_of(object.text(), call)
                    .is_none_or(|t| !t.eq_ignore_ascii_case("String")),
                _ => true,
            });
            asks && on_collection
                && arguments(call).any(|a| {
                    a.descendants().any(|n| n.is("identifier") && n.text().eq_ignore_ascii_case(name))
                })
        })
    }
}

struct Write<'a> {
    node: Node<'a>,
    value: Node<'a>,
    /// Whether the old value is gone.
    replaces: bool,
}

/// Assignments to a name, and values put into a collection by that name, within a body and before a place; with
/// the body itself as the place, everywhere in it.
fn writes_to<'a>(name: &str, body: Node<'a>, before: Node<'a>) -> Vec<Write<'a>> {
    let everywhere = before == body;
    let named = |node: Node<'a>| {
        let text = node.text();
        text.strip_prefix("this.").unwrap_or(text).eq_ignore_ascii_case(name)
    };
    let mut found = Vec::new();
    for node in body.descendants().take_while(|n| everywhere || n.start() < before.start()) {
        match node.kind() {
            "assignment_expression" if !node.holds(before) || everywhere => {
                let (Some(left), Some(value)) = (node.field("left"), node.field("right")) else { continue };
                if named(left) {
                    let replaces = node.field("operator").is_some_and(|o| o.text() == "=");
                    found.push(Write { node, value, replaces });
                }
            }
            "method_invocation" => {
                let adds = node.field("name").is_some_and(|n| {
                    matches!(n.text().to_ascii_lowercase().as_str(), "add" | "addall" | "put" | "putall")
                });
                if adds && node.field("object").is_some_and(named) {
                    found.extend(arguments(node).map(|value| Write { node, value, replaces: false }));
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a statement's block also holds the later use, so that the statement has run by then.
fn always_before(statement: Node<'_>, later: Node<'_>) -> bool {
    let direct = statement.parent().is_some_and(|p| p.is("expression_statement"));
    let block =
        statement.nearest(&["block", "constructor_body", "if_statement", "for_statement", "while_statement"]);
    direct && block.is_some_and(|block| !block.kind().ends_with("_statement") && block.holds(later))
}

/// Types whose values can hold any text.
fn carries_text(type_name: &str) -> bool {
    let lower = type_name.to_ascii_lowercase();
    lower == "object" || lower.contains("string")
}

fn page_parameters(node: Node<'_>) -> bool {
    node.descendants().any(|n| {
        n.is("method_invocation")
            && n.field("name").is_some_and(|name| name.text().eq_ignore_ascii_case("getParameters"))
    })
}
