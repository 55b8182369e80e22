//! What counts against a governor limit, and how it reaches data.

use super::{File, arguments};
use crate::apex::Node;

/// A query, a write, or a call that a governor limit counts.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    pub node: Node<'a>,
    /// As a sentence begins: "A query", "DML", ...
    pub what: &'static str,
    /// Whether it reads or writes records.
    pub touches_data: bool,
    /// Whether it runs with the rights of the person: sharing holds whatever the class says.
    pub user_mode: bool,
}

/// A static call of a system class: class and method in lower case, `System.` left off.
pub fn static_call<'a>(file: &File<'a>, node: Node<'a>) -> Option<(String, String)> {
    if !node.is("method_invocation") {
        return None;
    }
    let object = node.field("object")?;
    let class = match object.kind() {
        "identifier" if file.scope.lookup(object.text(), object).is_none() => {
            object.text().to_ascii_lowercase()
        }
        "field_access" => object.text().to_ascii_lowercase().strip_prefix("system.")?.to_owned(),
        _ => return None,
    };
    Some((class, node.field("name")?.text().to_ascii_lowercase()))
}

/// What this node does, when it is such an operation.
pub fn operation<'a>(file: &File<'a>, node: Node<'a>) -> Option<Operation<'a>> {
    let found = |what, touches_data, user_mode| Some(Operation { node, what, touches_data, user_mode });
    match node.kind() {
        "query_expression" => {
            let with = node.below("with_clause").next().map(|w| w.text().to_ascii_lowercase());
            let user_mode = with.is_some_and(|w| w.contains("user_mode"));
            let what = if node.child_of_kind("sosl_query_body").is_some() { "A search" } else { "A query" };
            found(what, true, user_mode)
        }
        "dml_expression" => {
            let mode = node.below("dml_security_mode").next();
            found("DML", true, mode.is_some_and(|m| m.text().eq_ignore_ascii_case("user")))
        }
        "method_invocation" => {
            if let Some((class, method)) = static_call(file, node) {
                let user_mode = arguments(node).any(|a| a.text().to_ascii_lowercase().ends_with("user_mode"));
                let (what, touches_data) = limited_call(&class, &method)?;
                // A query inside the call is an operation of its own.
                let only_wraps = arguments(node).next().is_some_and(|a| a.is("query_expression"));
                return if only_wraps && touches_data && !is_write(&method) {
                    None
                } else {
                    found(what, touches_data, user_mode)
                };
            }
            sends_http(file, node).then_some(())?;
            found("A callout", false, false)
        }
        _ => None,
    }
}

fn is_write(method: &str) -> bool {
    ["convertlead", "delete", "emptyrecyclebin", "insert", "merge", "undelete", "update", "upsert"]
        .iter()
        .any(|write| method.starts_with(write))
}

fn limited_call(class: &str, method: &str) -> Option<(&'static str, bool)> {
    Some(match (class, method) {
        (
            "database",
            "countquery"
            | "countquerywithbinds"
            | "getquerylocator"
            | "getquerylocatorwithbinds"
            | "query"
            | "querywithbinds",
        ) => ("A query", true),
        ("database", method) if is_write(method) => ("DML", true),
        ("search", "find" | "query") => ("A search", true),
        ("approval", "lock" | "process" | "unlock") => ("An approval call", false),
        (
            "messaging",
            "renderemailtemplate" | "renderstoredemailtemplate" | "sendemail" | "sendemailmessage",
        ) => ("An email", false),
        ("system", "enqueuejob" | "schedule" | "schedulebatch") | ("database", "executebatch") => {
            ("An asynchronous job", false)
        }
        ("eventbus", "publish") => ("An event", false),
        _ => return None,
    })
}

/// `http.send(..)` on a variable of type Http, or `new Http().send(..)`.
fn sends_http(file: &File<'_>, node: Node<'_>) -> bool {
    let named_send = node.field("name").is_some_and(|n| n.text().eq_ignore_ascii_case("send"));
    let Some(object) = node.field("object").filter(|_| named_send) else { return false };
    if object.kind() == "identifier" {
        file.scope.type_of(object.text(), object).is_some_and(|t| t.eq_ignore_ascii_case("Http"))
    } else {
        let made = object.descendants().find(|n| n.is("object_creation_expression"));
        made.and_then(|m| m.field("type")).is_some_and(|t| t.text().eq_ignore_ascii_case("Http"))
    }
}
