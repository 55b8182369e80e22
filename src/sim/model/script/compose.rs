//! Writes the answer out of results. What no result says is not said.

use serde_json::{Value, json};

use super::super::reply::Part;
use super::bulkify::{all, parse, text};
use super::intent::{Goal, keywords};
use super::talk::{Call, Row, Talk, cite_lines};

const HELP: &str = "I am a demo model that follows a script. I can give an overview of the org, find where a component is used, list the worst problems, \
explain a class or flow, describe the fields of an object, show the limits, answer from your documents, and draft a change with a test.";

pub fn answer(talk: &Talk, goal: &Goal) -> Vec<Part> {
    let mut parts = match goal {
        Goal::Greet => vec![Part::text(HELP)],
        Goal::Deploy => {
            vec![Part::text("I can't deploy. A person reads the change set and deploys it on its page.")]
        }
        Goal::Change { name, .. } => vec![Part::text(changed(talk, name.as_deref()))],
        Goal::Validate if talk.last("validate_change").is_none() => {
            vec![Part::text(
                "There is no change set in this conversation to validate. Ask me to draft one first.",
            )]
        }
        Goal::Validate => vec![Part::text(validated(talk))],
        Goal::Documents => documents(talk),
        Goal::Find => {
            let mut parts =
                if talk.calls.iter().any(|c| !c.passages.is_empty()) { documents(talk) } else { Vec::new() };
            let rows = talk.rows("metadata_search");
            if !rows.is_empty() {
                parts.push(Part::text(format!("In the org I found:\n{}", list(&rows, 6))));
            }
            if parts.is_empty() {
                parts.push(Part::text(format!(
                    "I found nothing about that in the org or the documents. {HELP}"
                )));
            }
            parts
        }
        Goal::Limits => vec![Part::text(limits(talk))],
        Goal::Overview => vec![Part::text(overview(talk))],
        Goal::Problems(name) => vec![Part::text(problems(talk, name.as_deref()))],
        Goal::Describe(object) => vec![Part::text(described(talk, object))],
        Goal::Show(name) => vec![Part::text(shown(talk, name))],
        Goal::Used(name) => vec![Part::text(used(talk, name))],
    };
    let failures: Vec<String> = talk
        .calls
        .iter()
        .filter(|c| c.failed)
        .map(|c| match c.text.strip_prefix("Needs consent") {
            // What follows is told to the model, not to the person.
            Some(_) => "\n\nThe validation waits for you: allow validations in this org below.".to_owned(),
            None => format!("\n\n`{}` did not run: {}", c.name, sentence(&c.text)),
        })
        .collect();
    parts.extend(failures.into_iter().map(Part::text));
    parts.extend(planted(talk).map(Part::text));
    parts
}

fn overview(talk: &Talk) -> String {
    let Some(call) = talk.last("org_overview").filter(|c| !c.failed) else {
        return "I could not read the org.".into();
    };
    let mut lines = Vec::new();
    scalars(&call.json, "", &mut lines);
    let cited = call.rows().first().map_or_else(String::new, Row::cite);
    format!("This is what the last sync found. {cited}\n{}\n\n{}", lines.join("\n"), limits(talk))
}

/// Each figure and word of a JSON result as a line of a list.
fn scalars(value: &Value, path: &str, lines: &mut Vec<String>) {
    const SKIPPED: [&str; 6] = ["ref", "trust", "source", "truncated", "limits", "next_offset"];
    let name = path.replace('_', " ");
    match value {
        _ if lines.len() >= 20 => {}
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(k, _)| !SKIPPED.contains(&k.as_str())) {
                scalars(value, key, lines);
            }
        }
        Value::Array(list) => list.iter().take(8).for_each(|v| scalars(v, path, lines)),
        Value::String(text) if !text.is_empty() => lines.push(format!("- {name}: {}", sentence(text))),
        Value::Number(n) => lines.push(format!("- {name}: {n}")),
        _ => {}
    }
}

fn limits(talk: &Talk) -> String {
    fn collect(value: &Value, found: &mut Vec<(u64, String)>) {
        match value {
            Value::Array(list) => list.iter().for_each(|v| collect(v, found)),
            Value::Object(map) => {
                let number = |n: &str| map.get(n).and_then(Value::as_u64);
                let name = ["name", "limit", "label"].iter().find_map(|n| map.get(*n)?.as_str());
                let used =
                    number("used").or_else(|| Some(number("max")?.saturating_sub(number("remaining")?)));
                if let (Some(name), Some(max), Some(used)) = (name, number("max").filter(|m| *m > 0), used) {
                    let percent = used.saturating_mul(100) / max;
                    let cited = map
                        .get("ref")
                        .and_then(Value::as_str)
                        .map_or_else(String::new, |r| format!(" [[cite:{r}]]"));
                    found.push((percent, format!("- {name}: {used} of {max} used ({percent} %).{cited}")));
                }
                map.values().for_each(|v| collect(v, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    talk.last("org_limits").into_iter().for_each(|c| collect(&c.json, &mut found));
    found.sort_by_key(|(percent, _)| std::cmp::Reverse(*percent));
    let tight = found.iter().filter(|(percent, _)| *percent >= 80).count();
    let head = match (found.len(), tight) {
        (0, _) => return "The org reported no limits.".into(),
        (_, 0) => "No limit is above 80 %. The fullest are:".to_owned(),
        (_, n) => format!("{n} of the limits are at 80 % or more. The fullest are:"),
    };
    let lines: Vec<String> = found.into_iter().take(6).map(|(_, line)| line).collect();
    format!("{head}\n{}", lines.join("\n"))
}

fn problems(talk: &Talk, name: Option<&str>) -> String {
    const ORDER: [&str; 5] = ["critical", "high", "medium", "low", "info"];
    let mut rows: Vec<Row> = talk.rows("run_analysis");
    let total = rows.len();
    if let Some(name) = name {
        rows.retain(|r| r.name() == name || r.raw.values().any(|v| v.as_str() == Some(name)));
    }
    if rows.is_empty() {
        return match total {
            0 => "The analysis found nothing wrong.".into(),
            n => format!("None of the {n} findings is about {}.", name.unwrap_or("that")),
        };
    }
    let rank = |r: &Row| ORDER.iter().position(|s| *s == r.field(&["severity"])).unwrap_or(ORDER.len());
    rows.sort_by_key(rank);
    let counts: Vec<String> = ORDER
        .iter()
        .map(|s| (rows.iter().filter(|r| r.field(&["severity"]) == *s).count(), s))
        .filter(|(n, _)| *n > 0)
        .map(|(n, s)| format!("{n} {s}"))
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .take(if name.is_some() { 3 } else { 5 })
        .enumerate()
        .map(|(n, row)| {
            let fix = row.field(&["fix"]);
            let fix = if fix.is_empty() { String::new() } else { format!(" Fix: {}", sentence(&fix)) };
            let why = sentence(&row.field(&["message", "why", "snippet"]));
            format!("{}. **{}** ({}): {why} {}{fix}", n + 1, row.name(), row.field(&["severity"]), row.cite())
        })
        .collect();
    format!(
        "The analysis has {} findings here: {}. Fix these first:\n{}",
        rows.len(),
        counts.join(", "),
        lines.join("\n")
    )
}

fn described(talk: &Talk, object: &str) -> String {
    let Some(call) = talk.last("object_describe").filter(|c| !c.failed) else { return unknown(talk, object) };
    let rows = call.rows();
    let fields: Vec<&Row> =
        rows.iter().filter(|r| r.raw.contains_key("type") && r.reference.contains('.')).collect();
    let custom = fields.iter().filter(|r| r.reference.ends_with("__c")).count();
    let lines: Vec<String> = fields
        .iter()
        .take(15)
        .map(|r| format!("- `{}`: {} {}", r.name(), r.field(&["type"]), r.cite()))
        .collect();
    format!("{object} shows {} fields here, {custom} of them custom.\n{}", fields.len(), lines.join("\n"))
}

fn shown(talk: &Talk, name: &str) -> String {
    if talk.last("object_describe").is_some() {
        return described(talk, name);
    }
    let Some(row) = super::exact(&talk.rows("metadata_search"), name) else { return unknown(talk, name) };
    let Some(source) = super::source(talk, &row.reference) else {
        return format!(
            "**{}** is in the org. {} {}",
            row.name(),
            sentence(&row.field(&["snippet", "label"])),
            row.cite()
        );
    };
    if row.kind().starts_with("Apex") {
        return apex(&row, &source);
    }
    let count = |tag: &str| source.matches(&format!("<{tag}>")).count();
    let kinds = [
        "recordLookups",
        "recordUpdates",
        "recordCreates",
        "recordDeletes",
        "decisions",
        "loops",
        "screens",
        "actionCalls",
        "assignments",
    ];
    let found: Vec<String> =
        kinds.iter().filter(|k| count(k) > 0).map(|k| format!("- {}: {}", k, count(k))).collect();
    format!(
        "**{}** is a {} of {} lines. {}\n{}",
        row.name(),
        row.kind(),
        source.lines().count(),
        row.cite(),
        found.join("\n")
    )
}

fn apex(row: &Row, source: &str) -> String {
    let Some(tree) = parse(source) else {
        return format!("**{}** can't be read. {}", row.name(), row.cite());
    };
    let lines =
        |n: &tree_sitter::Node| format!("{}-{}", n.start_position().row + 1, n.end_position().row + 1);
    let mut out = format!("**{}** has {} lines. {}", row.name(), source.lines().count(), row.cite());
    for method in all(tree.root_node(), "method_declaration").iter().take(10) {
        let name = method.child_by_field_name("name").map_or("", |n| text(n, source));
        let queries = all(*method, "query_expression").len();
        let writes = all(*method, "dml_expression").len();
        out.push_str(&format!(
            "\n- `{name}`: {queries} queries, {writes} writes {}",
            cite_lines(&row.reference, &lines(method))
        ));
    }
    let loops = all(tree.root_node(), "enhanced_for_statement");
    let costly = loops
        .iter()
        .filter_map(|l| l.child_by_field_name("body"))
        .find_map(|body| all(body, "query_expression").into_iter().chain(all(body, "dml_expression")).next());
    if let Some(node) = costly {
        out.push_str(&format!(
            "\n\nOne thing to fix: a query or write runs inside a loop. {}",
            cite_lines(&row.reference, &lines(&node))
        ));
    }
    out
}

fn used(talk: &Talk, name: &str) -> String {
    let rows = talk.rows("metadata_search");
    let Some(own) = super::exact(&rows, name) else { return unknown(talk, name) };
    let summary = talk.last("metadata_get");
    let mut users: Vec<Row> = summary
        .and_then(|c| c.json.get("used_by").cloned())
        .map(|json| Call { json, ..Call::default() }.rows())
        .unwrap_or_default();
    users.extend(rows.into_iter().filter(|r| r.field(&["snippet"]).contains(name)));
    users.retain(|r| r.reference != own.reference);
    users.sort_by(|a, b| a.reference.cmp(&b.reference));
    users.dedup_by(|a, b| a.reference == b.reference);
    match users.len() {
        0 => format!("I found `{name}` itself, but nothing that uses it. {}", own.cite()),
        n => format!("`{name}` {} is used by {n} components:\n{}", own.cite(), list(&users, 15)),
    }
}

fn unknown(talk: &Talk, name: &str) -> String {
    let rows = talk.rows("metadata_search");
    match rows.len() {
        0 => format!("There is no `{name}` in this org, and nothing with a similar name."),
        _ => format!("There is no `{name}` in this org. The nearest names are:\n{}", list(&rows, 5)),
    }
}

fn list(rows: &[Row], most: usize) -> String {
    let line = |r: &Row| {
        let label = r.field(&["label", "type"]);
        format!(
            "- **{}** {} {}",
            r.name(),
            if label == r.name() { String::new() } else { sentence(&label) },
            r.cite()
        )
    };
    rows.iter().take(most).map(line).collect::<Vec<_>>().join("\n")
}

/// The sentences of the passages that share most words with the question.
fn documents(talk: &Talk) -> Vec<Part> {
    let words = keywords(&talk.question);
    let mut best: Vec<(usize, String, &super::talk::Passage)> = Vec::new();
    for passage in talk.calls.iter().flat_map(|c| &c.passages) {
        for line in passage.text.split_inclusive(['.', '\n']).map(str::trim).filter(|s| s.len() > 20) {
            let lower = line.to_lowercase();
            let score = words.iter().filter(|w| lower.contains(w.trim_end_matches('s'))).count();
            best.push((score, line.to_owned(), passage));
        }
    }
    best.sort_by_key(|(score, ..)| std::cmp::Reverse(*score));
    best.dedup_by(|a, b| a.1 == b.1);
    best.retain(|(score, ..)| *score > 0);
    if best.is_empty() {
        return vec![Part::text("The documents say nothing about that.")];
    }
    let mut parts = Vec::new();
    for (n, (_, line, passage)) in best.into_iter().take(3).enumerate() {
        let lead = if n == 0 { format!("{} says: ", passage.title) } else { " It goes on: ".to_owned() };
        let line = sentence(&line);
        match passage.index {
            Some(index) => parts.push(Part::Text {
                text: format!("{lead}“{line}”"),
                citations: vec![json!({ "type": "search_result_location", "cited_text": line, "source": passage.source,
                    "title": passage.title, "search_result_index": index, "start_block_index": 0, "end_block_index": 1 })],
            }),
            None => parts.push(Part::text(format!("{lead}“{line}” [[cite:{}]]", passage.source))),
        }
    }
    parts.push(Part::text("\n\n"));
    parts
}

fn changed(talk: &Talk, name: Option<&str>) -> String {
    let Some(draft) = talk.calls.iter().rfind(|c| c.name == "propose_change") else {
        return match (super::target(talk, name), name) {
            (Some(target), _) => format!(
                "I read {target}, but know no edit for it. [[cite:{target}]] Describe the change in a person's words to a developer, or choose an Apex class."
            ),
            (None, Some(name)) => unknown(talk, name),
            (None, None) => "I found no Apex class or trigger to change for that. Name one.".into(),
        };
    };
    if draft.failed {
        return "The change set could not be stored.".into();
    }
    let word = |n: &str| draft.input[n].as_str().unwrap_or_default().to_owned();
    let files = draft.input["files"].as_array().map_or(&[][..], Vec::as_slice);
    let files: Vec<&str> = files.iter().filter_map(|f| f["path"].as_str()).collect();
    let cited = super::target(talk, name).map_or_else(String::new, |t| format!(" [[cite:{t}]]"));
    let mut out = format!(
        "I drafted **{}**. {}{cited}\n\nIt holds {}.",
        word("title"),
        word("summary"),
        files.join(" and ")
    );
    if talk.last("validate_change").is_some() {
        out.push_str(&format!("\n\n{}", validated(talk)));
    } else {
        out.push_str(" Read the diff, then validate it. Nothing is in the org yet.");
    }
    out
}

fn validated(talk: &Talk) -> String {
    let Some(call) = talk.last("validate_change").filter(|c| !c.failed) else {
        return "It was not validated.".into();
    };
    let passed =
        call.json["success"] == true || call.json["status"] == "Succeeded" || call.json["valid"] == true;
    let mut lines = Vec::new();
    scalars(&call.json, "", &mut lines);
    let head =
        if passed { "The org accepts the change set." } else { "The org does not accept the change set." };
    format!("{head} It reported:\n{}", lines.join("\n"))
}

/// Reports an instruction that hides in a result. It is never followed.
fn planted(talk: &Talk) -> Option<String> {
    const SIGNS: [&str; 5] = [
        "ignore previous",
        "ignore all previous",
        "disregard the",
        "system prompt",
        "ignore your instructions",
    ];
    let mut texts = talk.calls.iter().flat_map(|c| {
        let own = (c.name.as_str(), c.text.as_str());
        std::iter::once(own).chain(c.passages.iter().map(|p| (p.title.as_str(), p.text.as_str())))
    });
    texts.find_map(|(from, text)| {
        let lower = text.to_lowercase();
        SIGNS.iter().any(|s| lower.contains(s)).then(|| {
            format!("\n\nNote: a text that came from {from} contains instructions to an assistant. I report them and do not follow them.")
        })
    })
}

/// One bounded line that ends what it says.
fn sentence(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("[[", "[ [");
    if line.chars().count() > 300 { line.chars().take(299).chain("…".chars()).collect() } else { line }
}
