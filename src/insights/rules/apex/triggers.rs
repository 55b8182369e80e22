//! APX-015: logic in triggers, and several triggers for one object and event.

use std::collections::BTreeMap;

use super::File;
use crate::apex::Node;
use crate::insights::rules::Component;
use crate::insights::rules::finding::Hit;

const RULE: &str = "APX-015";

/// What a trigger is on.
#[derive(Clone)]
pub struct Head {
    object: String,
    /// Lower case.
    events: Vec<String>,
    line: u32,
}

/// Checks a trigger; of a class there is nothing to say.
pub fn check(file: &File<'_>, out: &mut Vec<Hit>) -> Option<Head> {
    let trigger = file.apex.of_kind("trigger_declaration").next()?;
    let body = trigger.field("body")?;
    if let Some((node, what)) = body.descendants().find_map(|node| Some((node, logic(node)?))) {
        let message = format!("The trigger itself {what}, instead of handing over to a class.");
        out.push(Hit::at(RULE, node, message));
    }
    let events = trigger.children().filter(|n| n.is("trigger_event"));
    let in_words =
        |n: Node<'_>| n.text().split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    Some(Head {
        object: trigger.field("object")?.text().to_owned(),
        events: events.map(in_words).collect(),
        line: trigger.line(),
    })
}

/// What makes a statement more than a hand-over. Conditions, switches, variables and calls are how frameworks
/// hand over.
fn logic(node: Node<'_>) -> Option<&'static str> {
    match node.kind() {
        "query_expression" => Some("queries"),
        "dml_expression" => Some("writes records"),
        "do_statement" | "enhanced_for_statement" | "for_statement" | "while_statement" => {
            Some("loops over records")
        }
        "assignment_expression" if node.field("left").is_some_and(|l| l.is("field_access")) => {
            Some("sets fields")
        }
        "method_invocation"
            if node.field("name").is_some_and(|n| n.text().eq_ignore_ascii_case("addError")) =>
        {
            Some("adds errors")
        }
        "throw_statement" => Some("throws errors"),
        _ => None,
    }
}

/// A hit for each trigger that shares object and event with one before it by name.
pub fn second_triggers<'c, 'a>(heads: &[(&'c Component<'a>, Head)]) -> Vec<(&'c Component<'a>, Hit)> {
    let mut by_event: BTreeMap<(String, &str), Vec<(&'c Component<'a>, u32)>> = BTreeMap::new();
    for (component, head) in heads {
        for event in &head.events {
            let key = (head.object.to_ascii_lowercase(), event.as_str());
            by_event.entry(key).or_default().push((component, head.line));
        }
    }
    let mut shared: BTreeMap<&str, (&'c Component<'a>, u32, &'c Component<'a>, Vec<&str>)> = BTreeMap::new();
    for ((_, event), mut triggers) in by_event {
        triggers.sort_by_key(|(component, _)| component.name);
        let Some(((first, _), others)) = triggers.split_first() else { continue };
        for (component, line) in others {
            let entry = shared.entry(component.name).or_insert((component, *line, first, Vec::new()));
            entry.3.push(event);
        }
    }
    shared
        .into_values()
        .map(|(component, line, first, events)| {
            let message = format!(
                "{} also runs {}; which of the two comes first is not defined.",
                first.name,
                events.join(", ")
            );
            (component, Hit::on_line(RULE, line, "second trigger", message))
        })
        .collect()
}
