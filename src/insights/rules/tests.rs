//! Every rule against the fixtures in `tests/fixtures/analysis`. Each line that must be found says so in a
//! comment (`expect: APX-001`); every other line is a trap that must not be.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;

struct Fixture {
    kind: &'static str,
    name: String,
    file: String,
    source: String,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/analysis");
    let mut found: Vec<Fixture> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let (name, ending) = file.split_once('.').unwrap();
            let kind = match ending {
                "cls" => "ApexClass",
                "flow" | "flow-meta.xml" => "Flow",
                "object" => "CustomObject",
                "permissionset" => "PermissionSet",
                "trigger" => "ApexTrigger",
                "workflow" => "Workflow",
                other => panic!("{other}"),
            };
            Fixture { kind, name: name.to_owned(), source: std::fs::read_to_string(&path).unwrap(), file }
        })
        .collect();
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

fn components(fixtures: &[Fixture]) -> Vec<Component<'_>> {
    fixtures.iter().map(|f| Component::new(f.kind, &f.name, &f.file, &f.source)).collect()
}

fn checked(components: &[Component<'_>]) -> Report {
    run(&Input { components, limits: &[], current_api: 67.0, jobs: 2 }, &RuleSet::all())
}

fn one(kind: &str, source: &str) -> Report {
    checked(&[Component::new(kind, "A", "A.cls", source)])
}

#[test]
fn every_marked_line_is_found_and_no_other() {
    let fixtures = fixtures();
    let report = checked(&components(&fixtures));
    assert_eq!(report.errors, Vec::new());
    let found: BTreeSet<_> = report.findings.iter().map(|f| (f.file.as_str(), f.line, f.rule)).collect();
    let mut expected = BTreeSet::new();
    for fixture in &fixtures {
        for (n, line) in fixture.source.lines().enumerate() {
            let Some((_, rules)) = line.split_once("expect: ") else { continue };
            for rule in rules.trim_end_matches("-->").split_whitespace() {
                expected.insert((fixture.file.as_str(), n as u32 + 1, catalogue::rule(rule).unwrap().id));
            }
        }
    }
    let missed: Vec<_> = expected.difference(&found).collect();
    let wrong: Vec<_> = found.difference(&expected).collect();
    assert!(missed.is_empty() && wrong.is_empty(), "missed {missed:#?}\nwrong {wrong:#?}");
    let rules: BTreeSet<_> = expected.iter().map(|(_, _, rule)| *rule).collect();
    for rule in catalogue() {
        let elsewhere = ["APX-022", "LIM-001"].contains(&rule.id);
        assert!(elsewhere || rules.contains(rule.id), "{} has no fixture", rule.id);
    }
}

#[test]
fn severities_follow_the_circumstances() {
    let fixtures = fixtures();
    let report = checked(&components(&fixtures));
    let severity = |file: &str, rule: &str, part: &str| {
        let found =
            report.findings.iter().find(|f| f.file == file && f.rule == rule && f.message.contains(part));
        found.map(|f| f.severity)
    };
    assert_eq!(severity("LoopLimit.cls", "APX-001", "DML runs"), Some(Severity::High));
    assert_eq!(severity("LoopLimit.cls", "APX-001", "first() is called"), Some(Severity::Medium));
    assert_eq!(severity("Injection.cls", "APX-004", "passesOn"), Some(Severity::High));
    assert_eq!(severity("HygieneTest.cls", "APX-001", "DML"), Some(Severity::Low));
    assert_eq!(severity("NoSharing.cls", "APX-005", "Remote"), Some(Severity::Info));
    assert_eq!(severity("Hygiene.cls", "APX-025", "userPassword"), Some(Severity::High));
    assert_eq!(severity("Screen_With_Wait.flow", "FLW-008", "screen"), Some(Severity::High));
}

#[test]
fn suppressed_findings_are_kept_apart_with_their_reason() {
    let fixtures = fixtures();
    let report = checked(&components(&fixtures));
    let reasons: Vec<_> = report.suppressed.iter().map(|s| s.reason.as_str()).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("NOPMD one record by contract"));
}

#[test]
fn an_old_api_version_is_found_from_three_years_on() {
    let severity = |version: f64| {
        let component = Component {
            api_version: Some(version),
            ..Component::new("ApexClass", "A", "A.cls", "class A {}")
        };
        checked(&[component]).findings.first().map(|f| f.severity)
    };
    assert_eq!(severity(58.0), Some(Severity::Medium));
    assert_eq!(severity(59.0), None);
    assert_eq!(severity(30.0), Some(Severity::High));
}

#[test]
fn a_fingerprint_survives_lines_put_in_above_and_tells_twins_apart() {
    let body =
        "class A {\n void b(List<Account> l) {\n for (Account a : l) {\n update a;\n update a;\n }\n }\n}";
    let before: Vec<_> = one("ApexClass", body).findings.into_iter().map(|f| f.fingerprint).collect();
    let moved = one("ApexClass", &format!("// new\n\n{}", body.replace("update a;\n }", "update a;\n\n }")));
    let after: Vec<_> = moved.findings.into_iter().map(|f| f.fingerprint).collect();
    assert_eq!(before, after);
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), before.len());
}

#[test]
fn a_secret_never_shows_in_a_finding() {
    let report = one("ApexClass", "class A { String apiKey = 'q8Zr2Lx9Tt4Vb7'; }");
    let json = serde_json::to_string(&report.findings).unwrap();
    assert!(json.contains("APX-008") && !json.contains("q8Zr2Lx9Tt4Vb7"), "{json}");
}

#[test]
fn a_file_that_does_not_parse_is_an_error_and_the_rest_is_checked() {
    let bad = Component::new("ApexClass", "Bad", "Bad.cls", "class Bad { void x( }");
    let worse = Component::new("Flow", "Worse", "Worse.flow", "<Flow><a></Flow>");
    let good =
        Component::new("ApexClass", "Good", "Good.cls", "class Good { void x() { System.debug(1); } }");
    let report = checked(&[bad, worse, good]);
    assert_eq!(report.errors.iter().map(|e| e.file.as_str()).collect::<Vec<_>>(), ["Bad.cls", "Worse.flow"]);
    assert!(report.errors[0].message.contains("Line 1"), "{}", report.errors[0].message);
    assert_eq!(report.findings.len(), 1);
}

#[test]
fn rules_are_chosen_by_id_or_name_and_by_severity() {
    let fixtures = fixtures();
    let all = components(&fixtures);
    let input = Input { components: &all, limits: &[], current_api: 67.0, jobs: 1 };
    let some = run(&input, &RuleSet::only(["apx-017", "flow-hard-id"]).unwrap());
    assert!(some.findings.iter().all(|f| ["APX-017", "FLW-006"].contains(&f.rule)));
    let high = run(&input, &RuleSet::all().at_least(Severity::High));
    assert!(!high.findings.is_empty() && high.findings.iter().all(|f| f.severity >= Severity::High));
    assert_eq!(RuleSet::only(["APX-999"]), Err(UnknownRule("APX-999".into())));
}

#[test]
fn the_order_does_not_depend_on_threads() {
    let fixtures = fixtures();
    let all = components(&fixtures);
    let with = |jobs| run(&Input { components: &all, limits: &[], current_api: 67.0, jobs }, &RuleSet::all());
    assert_eq!(with(1), with(8));
}

#[test]
fn limits_and_fields_in_their_own_files_are_reported_once() {
    let field = "<CustomField><fullName>X__c</fullName></CustomField>";
    let told = "<CustomField><fullName>Y__c</fullName><description>d</description></CustomField>";
    let all = [
        Component::new("CustomField", "Account.X__c", "fields/X__c.field-meta.xml", field),
        Component::new("CustomField", "Account.Y__c", "fields/Y__c.field-meta.xml", told),
        Component::new("CustomObject", "Account", "Account.object-meta.xml", "<CustomObject/>"),
    ];
    let limits = [Limit { name: "DailyApiRequests".into(), max: 100, remaining: 5 }];
    let report =
        run(&Input { components: &all, limits: &limits, current_api: 67.0, jobs: 1 }, &RuleSet::all());
    let found: Vec<_> = report.findings.iter().map(|f| (f.rule, f.component.name.as_str())).collect();
    assert_eq!(found, [("LIM-001", "DailyApiRequests"), ("OBJ-003", "Account")]);
    assert!(report.findings[1].message.contains("1 of 2 custom fields"), "{}", report.findings[1].message);
}

#[test]
fn nesting_without_end_is_survived() {
    let flow = format!("<Flow>{}{}</Flow>", "<loops>".repeat(20_000), "</loops>".repeat(20_000));
    let _ = one("Flow", &flow);
    let sum = |parts| {
        format!("class A {{ public void b(String s) {{ Database.query('a'{}); }} }}", " + s".repeat(parts))
    };
    assert!(one("ApexClass", &sum(2_000)).findings.iter().any(|f| f.rule == "APX-004"));
    assert_eq!(one("ApexClass", &sum(20_000)).errors.len(), 1);
    let calls = format!(
        "class A {{ void b(String s) {{ Database.query({}s{}); }} }}",
        "f(".repeat(3_000),
        ")".repeat(3_000)
    );
    let _ = one("ApexClass", &calls);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn mutated_fixtures_never_panic(which in 0_usize..26, cut in 0_usize..4000, put in "\\PC{0,12}", drop in 0_usize..40) {
        let fixtures = fixtures();
        let fixture = &fixtures[which % fixtures.len()];
        let mut chars: Vec<char> = fixture.source.chars().collect();
        let at = cut % chars.len();
        let end = (at + drop).min(chars.len());
        chars.splice(at..end, put.chars());
        let source: String = chars.into_iter().collect();
        let _ = one(fixture.kind, &source);
    }

    #[test]
    fn any_text_never_panics(source in "\\PC{0,200}") {
        for kind in ["ApexClass", "CustomField", "CustomObject", "Flow", "PermissionSet", "Workflow", "Other"] {
            let _ = one(kind, &source);
        }
    }
}
