//! The scripted model: keywords choose tools, results become the answer. `talk` reads the conversation, `intent`
//! the question, this file plans the next calls, `compose` writes, `edit` changes Apex. Every figure and name in
//! an answer comes from a result in the request; a citation is `[[cite:REF]]` or `[[cite:REF#L1-L2]]`.

mod bulkify;
mod compose;
mod edit;
mod intent;
mod talk;

use serde_json::{Map, Value, json};

use super::reply::{Part, Reply};
use intent::Goal;
use talk::{Call, Row, Talk};

/// The last thing a person said in the request.
pub fn question(body: &Value) -> String {
    Talk::read(body).question
}

/// The next step: more tool calls, or the answer.
pub fn answer(body: &Value) -> Reply {
    let talk = Talk::read(body);
    let goal = intent::goal(&talk.question);
    let mut steps = Steps { talk: &talk, wanted: Vec::new() };
    plan(&mut steps, &goal);
    if steps.wanted.is_empty() {
        return Reply::of(compose::answer(&talk, &goal));
    }
    let mut parts = Vec::new();
    if talk.calls.is_empty() {
        parts.push(Part::text("I look that up."));
    }
    parts.extend(steps.wanted.into_iter().map(|(name, input)| Part::Tool { name: name.to_owned(), input }));
    Reply::of(parts)
}

struct Steps<'a> {
    talk: &'a Talk,
    wanted: Vec<(&'static str, Value)>,
}

impl Steps<'_> {
    /// Calls a tool unless it is not on offer, or was called with the same input in this turn.
    fn want(&mut self, name: &'static str, input: Value) {
        let Some(tool) = self.talk.tool(name) else { return };
        let input = conform(&tool["input_schema"], input);
        let known = self.talk.calls.iter().any(|c| c.name == name && c.input == input);
        if !known && self.talk.calls.len() + self.wanted.len() < 30 {
            self.wanted.push((name, input));
        }
    }

    fn search(&mut self, query: &str) {
        let types = [
            "object",
            "field",
            "flow",
            "apex_class",
            "apex_trigger",
            "validation_rule",
            "permission_set",
            "layout",
            "other",
        ];
        self.want("metadata_search", json!({ "query": query, "types": types, "limit": 10 }));
    }

    fn source(&mut self, reference: &str) {
        self.want("metadata_get", json!({ "ref": reference, "part": "source", "offset": 0 }));
        let mut pages =
            self.talk.calls.iter().filter(|c| c.name == "metadata_get" && c.input["ref"] == reference);
        if let Some(offset) =
            pages.next_back().and_then(|c| c.json["next_offset"].as_u64()).filter(|o| *o > 0)
        {
            self.want("metadata_get", json!({ "ref": reference, "part": "source", "offset": offset }));
        }
    }
}

fn plan(steps: &mut Steps<'_>, goal: &Goal) {
    let talk = steps.talk;
    let words = intent::keywords(&talk.question).join(" ");
    match goal {
        Goal::Deploy | Goal::Greet => {}
        Goal::Documents => steps.want("knowledge_search", json!({ "query": words, "limit": 5 })),
        Goal::Find => {
            steps.search(&words);
            steps.want("knowledge_search", json!({ "query": words, "limit": 5 }));
        }
        Goal::Limits => steps.want("org_limits", json!({})),
        Goal::Overview => {
            steps.want("org_overview", json!({}));
            steps.want("org_limits", json!({}));
        }
        Goal::Problems(name) => {
            steps.want("run_analysis", json!({}));
            if let (Some(name), Some(_)) = (name, talk.last("run_analysis"))
                && let Some(row) = talk.rows("run_analysis").iter().find(|r| r.name() == name)
            {
                steps.source(&row.reference);
            }
        }
        Goal::Describe(object) => {
            let (object, field) =
                object.split_once('.').map_or((object.as_str(), None), |(o, f)| (o, Some(f)));
            steps.want("object_describe", json!({ "object": object, "field_filter": field }));
            if talk.last("object_describe").is_some_and(|c| c.failed) {
                steps.search(object);
            }
        }
        Goal::Show(name) | Goal::Used(name) => {
            steps.search(name);
            let found = exact(&talk.rows("metadata_search"), name);
            if let Some(row) = found {
                if matches!(goal, Goal::Used(_)) {
                    steps.want(
                        "metadata_get",
                        json!({ "ref": row.reference, "part": "summary", "offset": 0 }),
                    );
                } else if row.kind() == "CustomObject" {
                    steps.want("object_describe", json!({ "object": row.name(), "field_filter": null }));
                } else {
                    steps.source(&row.reference);
                }
            }
        }
        Goal::Change { name, validate } => plan_change(steps, name.as_deref(), *validate, &words),
        Goal::Validate => {
            let drafts = talk.earlier.iter().chain(&talk.calls).filter(|c| c.name == "propose_change");
            if let Some(id) = drafts.filter_map(change_id).next_back() {
                steps.want("validate_change", json!({ "change_id": id }));
            }
        }
    }
}

fn plan_change(steps: &mut Steps<'_>, name: Option<&str>, validate: bool, words: &str) {
    let talk = steps.talk;
    if name.is_none() && earlier_target(talk).is_none() {
        steps.want("run_analysis", json!({}));
    }
    steps.search(name.unwrap_or(words));
    if ["guide", "naming", "policy", "stage"].iter().any(|w| talk.question.to_lowercase().contains(w)) {
        steps.want("knowledge_search", json!({ "query": words, "limit": 3 }));
    }
    if talk.last("metadata_search").is_none() || !steps.wanted.is_empty() {
        return;
    }
    let Some(target) = target(talk, name) else { return };
    steps.source(&target);
    if !steps.wanted.is_empty() {
        return;
    }
    let Some(source) = source(talk, &target) else { return };
    let Some(draft) = edit::draft(&target, &source, &talk.question) else { return };
    match talk.calls.iter().filter(|c| c.name == "propose_change").count() {
        0 => return steps.want("propose_change", draft.input()),
        _ if !validate => return,
        _ => {}
    }
    let drafts: Vec<&Call> = talk.calls.iter().filter(|c| c.name == "propose_change").collect();
    if let Some(id) = drafts.last().and_then(|c| change_id(c)) {
        let tried: Vec<&Call> = talk.calls.iter().filter(|c| c.name == "validate_change").collect();
        match tried.last() {
            Some(last) if tried.len() == drafts.len() => {
                // One repair, from what the org said.
                if let (1, false, Some(repaired)) =
                    (tried.len(), last.failed, edit::repair(&drafts[0].input, last))
                {
                    steps.want("propose_change", repaired);
                }
            }
            _ => steps.want("validate_change", json!({ "change_id": id })),
        }
    }
}

/// The id of a stored draft.
fn change_id(call: &Call) -> Option<String> {
    if call.failed { None } else { call.string(&["change_id", "change_set", "id"]) }
}

/// What to edit: the named component, else what was talked about, else the first class that a search or finding names.
fn target(talk: &Talk, name: Option<&str>) -> Option<String> {
    let found = talk.rows("metadata_search");
    if let Some(name) = name {
        return exact(&found, name).map(|r| r.reference);
    }
    let code = |r: &Row| matches!(r.kind(), "ApexClass" | "ApexTrigger") && !r.name().ends_with("Test");
    let classes: Vec<Row> = found.into_iter().filter(code).collect();
    let findings: Vec<Row> = talk.rows("run_analysis").into_iter().filter(code).collect();
    let both = classes.iter().find(|c| findings.iter().any(|f| f.reference == c.reference));
    both.map(|r| r.reference.clone())
        .or_else(|| earlier_target(talk))
        .or_else(|| classes.first().or(findings.first()).map(|r| r.reference.clone()))
}

fn earlier_target(talk: &Talk) -> Option<String> {
    let gets = talk.earlier.iter().rev().filter(|c| c.name == "metadata_get" && !c.failed);
    gets.filter_map(|c| c.input["ref"].as_str()).find(|r| r.starts_with("Apex")).map(str::to_owned)
}

/// The row whose name is `name`, letter case aside.
fn exact(rows: &[Row], name: &str) -> Option<Row> {
    let last = name.rsplit(['.', '/']).next().unwrap_or(name);
    let same = |r: &&Row| {
        let own = r.name().rsplit('.').next().unwrap_or_default();
        r.name().eq_ignore_ascii_case(name) || own.eq_ignore_ascii_case(last)
    };
    rows.iter().find(same).cloned()
}

/// The whole source that the calls of this turn brought, page after page.
fn source(talk: &Talk, reference: &str) -> Option<String> {
    let mut pages = String::new();
    let calls =
        talk.calls.iter().filter(|c| c.name == "metadata_get" && c.input["ref"] == reference && !c.failed);
    let mut unfinished = true;
    for call in calls {
        let text = call.string(&["source", "content", "text", "body"]);
        pages.push_str(text.as_deref().unwrap_or(if call.json.is_null() { &call.text } else { "" }));
        unfinished = call.json["next_offset"].as_u64().is_some_and(|o| o > 0);
    }
    (!unfinished && !pages.trim().is_empty()).then_some(pages)
}

/// Fits an input to a tool's schema: unknown properties go, required ones appear, lists of choices keep only
/// choices (all of them when none is given).
fn conform(schema: &Value, input: Value) -> Value {
    let Some(properties) = schema["properties"].as_object() else { return input };
    let given = input.as_object().cloned().unwrap_or_default();
    let mut out = Map::new();
    for (name, property) in properties {
        let choices = property.pointer("/items/enum").and_then(Value::as_array);
        let value = match (given.get(name), choices) {
            (Some(Value::Array(list)), Some(choices)) => {
                list.iter().filter(|v| choices.contains(v)).cloned().collect()
            }
            (Some(value), _) => value.clone(),
            (None, Some(choices)) => choices.clone().into(),
            (None, None) => blank(property),
        };
        let required = schema["required"].as_array().is_some_and(|r| r.contains(&Value::from(name.as_str())));
        if required || given.contains_key(name) {
            out.insert(name.clone(), value);
        }
    }
    out.into()
}

fn blank(property: &Value) -> Value {
    if let Some(first) = property["enum"].as_array().and_then(|e| e.first()) {
        return first.clone();
    }
    let kinds: Vec<&str> = match &property["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    match kinds.as_slice() {
        kinds if kinds.contains(&"null") => Value::Null,
        ["array"] => json!([]),
        ["boolean"] => false.into(),
        ["integer" | "number"] => 0.into(),
        ["object"] => json!({}),
        _ => "".into(),
    }
}
