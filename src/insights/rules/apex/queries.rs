//! APX-017: queries that read a whole table.

use super::operations::static_call;
use super::{File, arguments, in_test, literal};
use crate::apex::Node;
use crate::apex::references::{queries, query_path};
use crate::insights::rules::finding::Hit;

const RULE: &str = "APX-017";

/// Tables that stay small in every org.
const SMALL: [&str; 8] = [
    "businesshours",
    "customnotificationtype",
    "organization",
    "profile",
    "recordtype",
    "scontrol",
    "userlicense",
    "userrole",
];

pub fn check(file: &File<'_>, out: &mut Vec<Hit>) {
    for query in queries(file.apex) {
        let bounded = query.field("where_clause").is_some() || query.field("limit_clause").is_some();
        if bounded || is_aggregate(query) || feeds_a_batch(file, query) || in_test(query) {
            continue;
        }
        let Some(object) = query_path(query).filter(|object| !stays_small(file, object)) else { continue };
        out.push(Hit::at(
            RULE,
            query,
            format!("The query reads every {object}: it has no WHERE and no LIMIT."),
        ));
    }
    for call in file.apex.of_kind("method_invocation") {
        let Some((class, method)) = static_call(file, call) else { continue };
        let Some(text) = arguments(call).next().and_then(literal) else { continue };
        let lower = text.to_ascii_lowercase();
        let Some((head, from)) = lower.split_once(" from ") else { continue };
        let bounded = from.contains(" where ") || from.contains(" limit ") || head.contains('(');
        if class == "database" && method.starts_with("query") && !bounded && !in_test(call) {
            let object = from.split_whitespace().next().unwrap_or("");
            if !stays_small(file, object) {
                let message = "The query reads a whole table: it has no WHERE and no LIMIT.".to_owned();
                out.push(Hit::at(RULE, call, message));
            }
        }
    }
}

fn stays_small(file: &File<'_>, object: &str) -> bool {
    let object = object.to_ascii_lowercase();
    object.ends_with("__mdt") || SMALL.contains(&object.as_str()) || file.settings.contains(&object)
}

/// Counts and grouped results give few rows.
fn is_aggregate(query: Node<'_>) -> bool {
    const FUNCTIONS: [&str; 6] = ["avg", "count", "count_distinct", "max", "min", "sum"];
    let selects = query.field("select_clause");
    query.field("group_by_clause").is_some()
        || selects.is_some_and(|clause| {
            clause.child_of_kind("count_expression").is_some()
                || clause.below("function_expression").any(|function| {
                    let name = function.field("function_name").map_or("", Node::text);
                    FUNCTIONS.contains(&name.to_ascii_lowercase().as_str())
                })
        })
}

/// `Database.getQueryLocator([..])` is made for whole tables.
fn feeds_a_batch<'a>(file: &File<'a>, query: Node<'a>) -> bool {
    let call = query.nearest(&["method_invocation"]);
    call.and_then(|call| static_call(file, call))
        .is_some_and(|(_, method)| method.starts_with("getquerylocator"))
}
