//! A drafted change: the edited class, and a test for it that asserts something real.

use serde_json::{Value, json};

use super::bulkify::{all, compiles, out_of_loop, parse, text};
use super::talk::Call;

pub struct Draft {
    title: String,
    summary: String,
    path: String,
    content: Option<String>,
    test: Option<(String, String)>,
}

impl Draft {
    /// The input of `propose_change`.
    pub fn input(&self) -> Value {
        let mut files = Vec::new();
        if let Some(content) = &self.content {
            files.push(json!({ "path": self.path, "content": content }));
        }
        if let Some((name, content)) = &self.test {
            files.push(json!({ "path": format!("classes/{name}.cls"), "content": content }));
        }
        let tests: Vec<&String> = self.test.iter().map(|(name, _)| name).collect();
        json!({ "title": self.title, "summary": self.summary, "files": files, "tests": tests,
            "rollback": "Deploy the version that was in the org before; it is kept as a snapshot." })
    }
}

/// Edits the source of `reference`; `None` when no edit is known and no test can be written.
pub fn draft(reference: &str, source: &str, question: &str) -> Option<Draft> {
    let (kind, name) = reference.split_once('/')?;
    let path = match kind {
        "ApexClass" => format!("classes/{name}.cls"),
        "ApexTrigger" => format!("triggers/{name}.trigger"),
        _ => return None,
    };
    let lower = question.to_lowercase();
    let only_test = lower.contains("add a test") || lower.contains("write a test");
    let edited = if only_test { None } else { out_of_loop(source).or_else(|| sharing(source)) };
    let test =
        if kind == "ApexClass" { test_class(name, edited.as_ref().map_or(source, |(s, _)| s)) } else { None };
    if edited.is_none() && test.is_none() {
        return None;
    }
    let (content, summary) = edited.unzip();
    let title = if content.is_some() { format!("Improve {name}") } else { format!("Test {name}") };
    let summary =
        summary.unwrap_or_else(|| format!("A test for {name}; the component itself stays as it is."));
    Some(Draft { title, summary, path, content, test })
}

/// Adds `with sharing` to a class that says nothing about it.
fn sharing(source: &str) -> Option<(String, String)> {
    let tree = parse(source)?;
    let class = all(tree.root_node(), "class_declaration").into_iter().next()?;
    let head = &source[class.start_byte()..class.child_by_field_name("body")?.start_byte()];
    if head.to_lowercase().contains("sharing") || head.to_lowercase().contains("@istest") {
        return None;
    }
    let at = class.start_byte() + head.find("class ")?;
    let mut edited = source.to_owned();
    edited.insert_str(at, "with sharing ");
    compiles(&edited)
        .then(|| (edited, "The class now respects the sharing rules of the person who runs it.".to_owned()))
}

/// A test of the first public static method whose arguments can be made: it must stay within a handful of
/// queries and writes however many records come.
fn test_class(name: &str, source: &str) -> Option<(String, String)> {
    let tree = parse(source)?;
    let methods = all(tree.root_node(), "method_declaration");
    let (method, arguments, setup) = methods.into_iter().find_map(|m| {
        let body = m.child_by_field_name("body")?;
        let head = source[m.start_byte()..body.start_byte()].to_lowercase();
        if !head.contains("static")
            || !(head.contains("public") || head.contains("global"))
            || head.contains("@istest")
        {
            return None;
        }
        let mut setup = String::new();
        let parameters = all(m.child_by_field_name("parameters")?, "formal_parameter");
        let arguments: Option<Vec<String>> = parameters
            .iter()
            .enumerate()
            .map(|(n, p)| argument(text(p.child_by_field_name("type")?, source), n, &mut setup))
            .collect();
        Some((text(m.child_by_field_name("name")?, source).to_owned(), arguments?.join(", "), setup))
    })?;
    let test: String = name.chars().take(32).chain("BulkTest".chars()).collect();
    let content = format!(
        "@IsTest\nprivate class {test} {{\n    @IsTest\n    static void {method}StaysWithinLimits() {{\n{setup}        Test.startTest();\n        {name}.{method}({arguments});\n        Integer queries = Limits.getQueries();\n        Integer writes = Limits.getDmlStatements();\n        Test.stopTest();\n        Assert.isTrue(queries <= 10, 'Queries must not grow with the records: ' + queries);\n        Assert.isTrue(writes <= 10, 'Writes must not grow with the records: ' + writes);\n    }}\n}}\n"
    );
    compiles(&content).then_some((test, content))
}

/// An expression for a parameter of this type, with the statements that prepare it.
fn argument(kind: &str, n: usize, setup: &mut String) -> Option<String> {
    let inner = |open: &str| kind.strip_prefix(open).and_then(|k| k.strip_suffix('>'));
    if let Some(object) = inner("List<").filter(|o| !matches!(*o, "Id" | "String" | "Integer" | "SObject")) {
        let fields = match object {
            "Account" => "Name = 'Bulk ' + i",
            "Contact" => "LastName = 'Bulk ' + i",
            "Lead" => "LastName = 'Bulk ' + i, Company = 'Bulk'",
            "Opportunity" => "Name = 'Bulk ' + i, StageName = 'Prospecting', CloseDate = Date.today()",
            "Case" => "Subject = 'Bulk ' + i",
            _ => return Some(format!("new {kind}()")),
        };
        setup.push_str(&format!(
            "        {kind} records{n} = new {kind}();\n        for (Integer i = 0; i < 200; i++) {{\n            records{n}.add(new {object}({fields}));\n        }}\n        insert records{n};\n"
        ));
        return Some(format!("records{n}"));
    }
    // The records by their ids, where there are records.
    let records = (0..n).rev().find(|k| setup.contains(&format!(" records{k} = new")));
    if let (true, Some(k)) = (kind.starts_with("Map<Id,"), records) {
        return Some(format!("new {kind}(records{k})"));
    }
    Some(match kind {
        "Boolean" => "true".into(),
        "Date" => "Date.today()".into(),
        "Decimal" | "Double" | "Integer" | "Long" => "1".into(),
        "Id" => "UserInfo.getUserId()".into(),
        "String" => "'value'".into(),
        "TriggerOperation" => "TriggerOperation.AFTER_UPDATE".into(),
        kind if ["List<", "Map<", "Set<"].iter().any(|c| kind.starts_with(c)) => format!("new {kind}()"),
        _ => return None,
    })
}

/// The files again with what a failed validation names put right: a missing brace, or an expected value of an
/// assertion that the org contradicts. `None` when it passed or neither applies.
pub fn repair(proposed: &Value, validation: &Call) -> Option<Value> {
    let report = validation.json.to_string();
    let passed = validation.json["success"] == true
        || validation.json["status"] == "Succeeded"
        || validation.json["valid"] == true;
    if passed {
        return None;
    }
    let mut repaired = proposed.clone();
    let mut changed = false;
    for file in repaired["files"].as_array_mut()? {
        let source = file["content"].as_str()?.to_owned();
        let open = source.matches('{').count().saturating_sub(source.matches('}').count());
        let mut fixed = source.clone() + &"}\n".repeat(open);
        if let Some((expected, actual)) = assertion(&report) {
            fixed = fixed.replace(&format!("areEqual({expected},"), &format!("areEqual({actual},"));
        }
        changed |= fixed != source;
        file["content"] = fixed.into();
    }
    changed.then_some(repaired)
}

fn assertion(report: &str) -> Option<(String, String)> {
    let (_, rest) = report.split_once("Expected: ")?;
    let (expected, rest) = rest.split_once(", Actual: ")?;
    let actual: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '.' || *c == '-').collect();
    Some((expected.to_owned(), actual.trim_end_matches('.').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "public class Renewals {\n    public static Integer run(List<Opportunity> opps, Id owner) {\n        for (Opportunity o : opps) {\n            update o;\n        }\n        return 1;\n    }\n}\n";

    #[test]
    fn a_draft_holds_the_edited_class_and_a_test_that_compiles() {
        let input = draft("ApexClass/Renewals", SOURCE, "Fix it").unwrap().input();
        assert_eq!(input["files"][0]["path"], "classes/Renewals.cls");
        assert!(input["files"][0]["content"].as_str().unwrap().contains("update oToUpdate;"));
        let test = input["files"][1]["content"].as_str().unwrap();
        assert!(compiles(test) && test.contains("Renewals.run(records0, UserInfo.getUserId());"), "{test}");
        assert_eq!(input["tests"][0], "RenewalsBulkTest");
    }

    #[test]
    fn a_failed_validation_is_repaired_where_it_says_how() {
        let broken = json!({"files": [{"path": "classes/A.cls", "content": "class A { void b() { Assert.areEqual(2, c()); }"}]});
        let failed = Call {
            json: json!({"status": "Failed", "message": "Assertion Failed: Expected: 2, Actual: 3"}),
            ..Call::default()
        };
        let repaired = repair(&broken, &failed).unwrap();
        assert_eq!(repaired["files"][0]["content"], "class A { void b() { Assert.areEqual(3, c()); }}\n");
        let passed = Call { json: json!({"success": true}), ..Call::default() };
        assert_eq!(repair(&broken, &passed), None);
    }
}
