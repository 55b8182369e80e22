//! APX-018, 019, 020, 022 and 025: empty catches, tests without assertions or on the org's data, old versions,
//! debug lines.

use std::collections::HashSet;

use super::operations::static_call;
use super::{File, arguments, in_test};
use crate::apex::Node;
use crate::apex::outline::{annotation, is_test};
use crate::insights::rules::Severity;
use crate::insights::rules::finding::Hit;

pub fn check(file: &File<'_>, current_api: f64, out: &mut Vec<Hit>) {
    for node in file.apex.nodes() {
        match node.kind() {
            "catch_clause" => empty_catch(node, out),
            "class_declaration" => see_all_data(node, out),
            "method_declaration" => {
                see_all_data(node, out);
                no_assertion(file, node, out);
            }
            "method_invocation" => debug_left(file, node, out),
            _ => {}
        }
    }
    old_api(file, current_api, out);
}

fn empty_catch(clause: Node<'_>, out: &mut Vec<Hit>) {
    let is_empty = clause.field("body").is_some_and(|body| body.named_children().next().is_none());
    let parameter = clause.child_of_kind("formal_parameter");
    let name = parameter.and_then(|p| p.field("name")).map_or("", Node::text).to_ascii_lowercase();
    if is_empty && !name.starts_with("ignore") && !name.starts_with("expected") {
        let type_name = parameter.and_then(|p| p.field("type")).map_or("", Node::text);
        let hit = Hit::at("APX-018", clause, format!("{type_name} is caught and nothing is done about it."));
        let in_test = clause.nearest(&["method_declaration"]).is_some_and(is_test);
        out.push(if in_test { hit.severity(Severity::Low) } else { hit });
    }
}

fn see_all_data(declaration: Node<'_>, out: &mut Vec<Hit>) {
    let Some(annotation) = annotation(declaration, "IsTest") else { return };
    let sees_all = annotation.below("annotation_key_value").any(|pair| {
        let is = |field: &str, wanted: &str| {
            pair.field(field).is_some_and(|n| n.text().trim_matches('\'').eq_ignore_ascii_case(wanted))
        };
        is("key", "SeeAllData") && is("value", "true")
    });
    if sees_all {
        let name = declaration.field("name").map_or("", Node::text);
        out.push(Hit::at(
            "APX-020",
            annotation,
            format!("{name} reads the org's own records (SeeAllData=true)."),
        ));
    }
}

fn no_assertion<'a>(file: &File<'a>, method: Node<'a>, out: &mut Vec<Hit>) {
    if !is_test(method) || annotation(method, "TestSetup").is_some() {
        return;
    }
    let (Some(body), Some(name)) = (method.field("body"), method.field("name")) else { return };
    let mut seen = HashSet::from([method.start()]);
    let mut open = vec![body];
    while let Some(next) = open.pop() {
        for call in next.below("method_invocation") {
            if asserts(call) {
                return;
            }
            open.extend(file.called(call).into_iter().filter(|m| seen.insert(m.start())));
        }
    }
    out.push(Hit::at("APX-019", name, format!("The test {}() asserts nothing.", name.text())));
}

/// Assertions, and helpers and mocks whose names say that they check.
fn asserts(call: Node<'_>) -> bool {
    const WORDS: [&str; 7] = ["assert", "check", "expect", "fail", "should", "validate", "verify"];
    let says_so = |node: Node<'_>| {
        let text = node.text().to_ascii_lowercase();
        WORDS.iter().any(|word| text.contains(word))
    };
    // `Assert.areEqual`, `System.Assert.areEqual` and classes with such a name.
    let on_assert = call.field("object").is_some_and(|object| {
        matches!(object.kind(), "field_access" | "identifier")
            && object.text().to_ascii_lowercase().contains("assert")
    });
    on_assert || call.field("name").is_some_and(says_so)
}

fn old_api(file: &File<'_>, current: f64, out: &mut Vec<Hit>) {
    let Some(version) = file.component.api_version.filter(|v| *v > 0.0) else { return };
    // Three releases a year.
    let years = (current - version) / 3.0;
    if years < 3.0 {
        return;
    }
    let retired = version < 31.0;
    let end = if retired { " Versions up to 30 are retired." } else { "" };
    let message = format!("API version {version:.1} is {} years old.{end}", years.floor());
    let hit = Hit::on_line("APX-022", 1, "", message);
    out.push(if retired { hit.severity(Severity::High) } else { hit });
}

fn debug_left<'a>(file: &File<'a>, call: Node<'a>, out: &mut Vec<Hit>) {
    if static_call(file, call) != Some(("system".into(), "debug".into())) {
        return;
    }
    let logs = file.component.name.to_ascii_lowercase().contains("log");
    if logs || in_test(call) {
        return;
    }
    let tells_secret =
        arguments(call).flat_map(Node::descendants).filter(|n| n.is("identifier")).find(|name| {
            let name = name.text().to_ascii_lowercase();
            ["password", "secret", "ssn", "token"].iter().any(|word| name.contains(word))
        });
    let hit = match tells_secret {
        Some(name) => {
            let message = format!("{} is written to the debug log.", name.text());
            Hit::at("APX-025", call, message).severity(Severity::High)
        }
        None => Hit::at("APX-025", call, "A debug line is left in the code.".into()),
    };
    out.push(hit);
}
