//! APX-001: what a governor limit counts, inside a loop, also through helper methods of the same class.

use std::collections::{HashMap, HashSet};

use super::operations::{Operation, operation};
use super::{File, body_of, in_test};
use crate::apex::Node;
use crate::insights::rules::Severity;
use crate::insights::rules::finding::Hit;

const RULE: &str = "APX-001";

pub fn check(file: &File<'_>, out: &mut Vec<Hit>) {
    let mut helpers = Helpers::default();
    for node in file
        .apex
        .nodes()
        .filter(|n| matches!(n.kind(), "dml_expression" | "method_invocation" | "query_expression"))
    {
        let Some(around) = loop_around(node) else { continue };
        let mild = |hit: Hit| if in_test(node) { hit.severity(Severity::Low) } else { hit };
        if let Some(found) = operation(file, node) {
            if !filled_once(file, node) && !flushes_a_full_list(node) {
                let message = format!("{} runs in the loop of line {}.", found.what, around.line());
                out.push(mild(Hit::at(RULE, node, message)));
            }
        } else if node.is("method_invocation") {
            let methods = file.called(node);
            let Some(found) = methods.into_iter().find_map(|method| helpers.cost(file, method)) else {
                continue;
            };
            let name = node.field("name").map_or("", Node::text);
            let message = format!(
                "{name}() is called in the loop of line {}, and runs {} in line {}.",
                around.line(),
                lower_first(found.what),
                found.node.line()
            );
            out.push(mild(Hit::at(RULE, node, message).severity(Severity::Medium)));
        }
    }
}

fn lower_first(what: &str) -> String {
    if what == "DML" { what.to_owned() } else { what.to_ascii_lowercase() }
}

/// The innermost loop that runs this node once a pass. The list that a for-each walks is made once; a loop over
/// the chunks of a query is how bulk work is meant to be done.
fn loop_around(node: Node<'_>) -> Option<Node<'_>> {
    let mut inside = node;
    for outer in node.ancestors() {
        match outer.kind() {
            "do_statement" | "while_statement" => return Some(outer),
            "for_statement" if inside.field_name() != "init" && !steps_by_chunks(outer) => {
                return Some(outer);
            }
            "enhanced_for_statement" if inside.field_name() == "body" && !walks_chunks(outer) => {
                return Some(outer);
            }
            "accessor_declaration"
            | "class_body"
            | "constructor_declaration"
            | "method_declaration"
            | "static_initializer" => return None,
            _ => {}
        }
        inside = outer;
    }
    None
}

/// `for (Integer i = 0; i < all.size(); i += chunkSize)`
fn steps_by_chunks(counted: Node<'_>) -> bool {
    counted.field("update").is_some_and(|update| {
        let adds = update.field("operator").is_some_and(|o| o.text() == "+=");
        adds && update.field("right").is_some_and(|step| step.text() != "1")
    })
}

/// `for (List<Account> chunk : [SELECT ..])`
fn walks_chunks(for_each: Node<'_>) -> bool {
    let of_lists = for_each.field("type").is_some_and(|t| {
        let text = t.text().to_ascii_lowercase();
        text.starts_with("list<") || text.ends_with(']')
    });
    let over_query = for_each.field("value").is_some_and(|value| {
        value.is("query_expression") || value.text().to_ascii_lowercase().starts_with("database.query")
    });
    of_lists && over_query
}

/// `if (full.size() == 200) { insert full; full.clear(); }` writes once for each full list.
fn flushes_a_full_list(node: Node<'_>) -> bool {
    node.ancestors().take_while(|a| !a.is("method_declaration")).filter(|a| a.is("if_statement")).any(
        |guard| {
            let Some(condition) = guard.field("condition") else { return false };
            condition.below("method_invocation").any(|call| {
                let asks_size = call.field("name").is_some_and(|n| n.text().eq_ignore_ascii_case("size"));
                let compares =
                    call.parent().and_then(|p| p.field("right")).is_some_and(|right| right.text() != "0");
                let Some(list) = call.field("object").filter(|_| asks_size && compares) else { return false };
                node.below("identifier").any(|n| n.text().eq_ignore_ascii_case(list.text()))
            })
        },
    )
}

/// `if (cache == null) { cache = [SELECT ..]; }` on a field runs once, whatever the loop.
fn filled_once(file: &File<'_>, node: Node<'_>) -> bool {
    node.ancestors().take_while(|a| !a.is("method_declaration")).filter(|a| a.is("if_statement")).any(
        |guard| {
            let Some(condition) = guard.field("condition") else { return false };
            let tested = condition.below("binary_expression").find_map(|test| {
                let is_equal = test.field("operator").is_some_and(|o| o.text() == "==");
                let is_null = test.field("right").is_some_and(|r| r.is("null_literal"));
                test.field("left").filter(|_| is_equal && is_null)
            });
            let Some(tested) = tested else { return false };
            let name = tested.text().trim_start_matches("this.");
            let is_field = file.scope.lookup(name, guard).is_some_and(|found| found.within.is("class_body"));
            let filled = guard.below("assignment_expression").any(|assignment| {
                assignment
                    .field("left")
                    .is_some_and(|left| left.text().trim_start_matches("this.").eq_ignore_ascii_case(name))
            });
            is_field && filled
        },
    )
}

/// What each method costs once called; a method that calls itself is looked at once.
#[derive(Default)]
struct Helpers<'a> {
    known: HashMap<usize, Option<Operation<'a>>>,
}

impl<'a> Helpers<'a> {
    /// The first operation that a call of this method runs.
    fn cost(&mut self, file: &File<'a>, method: Node<'a>) -> Option<Operation<'a>> {
        if let Some(known) = self.known.get(&method.start()) {
            return *known;
        }
        let mut seen = HashSet::from([method.start()]);
        let mut open = vec![method];
        let mut found = None;
        while let Some(next) = open.pop() {
            for node in next.descendants().filter(|n| body_of(*n) == Some(next)) {
                match operation(file, node) {
                    Some(operation) if !filled_once(file, node) => {
                        found = Some(operation);
                        break;
                    }
                    None if node.is("method_invocation") => {
                        open.extend(file.called(node).into_iter().filter(|m| seen.insert(m.start())));
                    }
                    _ => {}
                }
            }
            if found.is_some() {
                break;
            }
        }
        self.known.insert(method.start(), found);
        found
    }
}
