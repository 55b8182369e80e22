//! The checks of Apex classes and triggers. Each file holds the rules of one subject.

mod credentials;
mod hygiene;
mod injection;
mod loops;
mod operations;
mod places;
mod queries;
mod sharing;
mod triggers;

use std::collections::HashSet;

use super::Component;
use super::finding::Hit;
use crate::apex::scope::Scope;
use crate::apex::{Apex, Node, outline, parse, syntax_errors};

pub(super) use triggers::{Head, second_triggers};

/// What the checks of one source gave.
pub(super) struct Checked {
    pub hits: Vec<Hit>,
    /// Of a trigger: what it is on.
    pub head: Option<Head>,
}

/// A parsed source with what the checks need to know of it.
struct File<'a> {
    component: &'a Component<'a>,
    apex: &'a Apex<'a>,
    scope: Scope<'a>,
    /// Lower-case names of custom settings.
    settings: &'a HashSet<String>,
}

/// Runs every check.
///
/// # Errors
/// What to tell the reader when the source does not parse.
pub(super) fn check(
    component: &Component<'_>,
    current_api: f64,
    settings: &HashSet<String>,
) -> Result<Checked, String> {
    let apex = parse(component.source).map_err(|refused| refused.to_string())?;
    if apex.has_error() {
        let place = syntax_errors(component.source).into_iter().next();
        let told =
            place.map_or(String::new(), |e| format!(" Line {}, column {}: {}", e.line, e.column, e.message));
        return Err(format!("The file does not parse, so it was not checked.{told}"));
    }
    let file = File { component, apex: &apex, scope: Scope::read(&apex), settings };
    let mut hits = Vec::new();
    loops::check(&file, &mut hits);
    injection::check(&file, &mut hits);
    sharing::check(&file, &mut hits);
    places::check(&file, &mut hits);
    credentials::check(&file, &mut hits);
    let head = triggers::check(&file, &mut hits);
    queries::check(&file, &mut hits);
    hygiene::check(&file, current_api, &mut hits);
    Ok(Checked { hits, head })
}

impl<'a> File<'a> {
    /// The methods of the same file that a call means: `x()`, `this.x()` or `Own.x()`.
    fn called(&self, call: Node<'a>) -> Vec<Node<'a>> {
        let Some(name) = call.field("name") else { return Vec::new() };
        let own = match call.field("object") {
            None => true,
            Some(object) if object.is("this") => true,
            Some(object) if object.is("identifier") => {
                let class = call.ancestors().filter(|a| a.is("class_declaration"));
                self.scope.lookup(object.text(), call).is_none()
                    && class
                        .filter_map(|c| c.field("name"))
                        .any(|n| n.text().eq_ignore_ascii_case(object.text()))
            }
            Some(_) => false,
        };
        if own { own_methods(name.text(), arguments(call).count(), call) } else { Vec::new() }
    }
}

/// Whether this is test code: a class or method around it is a test.
fn in_test(node: Node<'_>) -> bool {
    node.ancestors()
        .filter(|a| matches!(a.kind(), "class_declaration" | "method_declaration"))
        .any(outline::is_test)
}

/// The methods of the class around a node with this name and number of parameters.
fn own_methods<'a>(name: &str, arguments: usize, at: Node<'a>) -> Vec<Node<'a>> {
    let fits = |member: &Node<'a>| {
        member.is("method_declaration")
            && member.field("name").is_some_and(|n| n.text().eq_ignore_ascii_case(name))
            && parameters(*member).count() == arguments
    };
    let classes = at.ancestors().filter(|a| a.is("class_body"));
    classes
        .map(|body| body.children().filter(fits).collect())
        .find(|found: &Vec<_>| !found.is_empty())
        .unwrap_or_default()
}

fn parameters(method: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    method.field("parameters").into_iter().flat_map(Node::named_children)
}

fn arguments(call: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    call.field("arguments").into_iter().flat_map(Node::named_children)
}

/// The method, constructor or other body that a node belongs to.
fn body_of(node: Node<'_>) -> Option<Node<'_>> {
    node.nearest(&[
        "accessor_declaration",
        "class_body",
        "constructor_declaration",
        "method_declaration",
        "static_initializer",
        "trigger_body",
    ])
}

/// The value of a string literal without its quotes.
fn literal(node: Node<'_>) -> Option<&str> {
    match node.kind() {
        "string_literal" => node.text().strip_prefix('\'')?.strip_suffix('\''),
        "multi_line_string_literal" => node.text().strip_prefix("'''")?.strip_suffix("'''"),
        _ => None,
    }
}

/// Every string literal of a source with its value.
fn literals<'a>(apex: &'a Apex<'a>) -> impl Iterator<Item = (Node<'a>, &'a str)> {
    apex.nodes().filter_map(|node| Some((node, literal(node)?)))
}
