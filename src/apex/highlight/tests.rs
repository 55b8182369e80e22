//! What is coloured, and that nothing is lost.

use proptest::prelude::*;

use super::*;

fn classes(source: &str, language: Language) -> Vec<(Option<Class>, String)> {
    highlight(source, language)
        .into_iter()
        .flat_map(|line| line.0)
        .map(|span| (span.class, span.text))
        .collect()
}

fn has(source: &str, language: Language, class: Class, text: &str) -> bool {
    classes(source, language).contains(&(Some(class), text.to_owned()))
}

#[test]
fn apex_keywords_types_strings_numbers_and_comments_are_told_apart() {
    let source = "public with sharing class A { // note\n  Integer n = 42; String s = 'it';\n void b() { insert [SELECT Id FROM Account]; }\n}";
    let check = |class, text| assert!(has(source, Language::Apex, class, text), "{text} as {class:?}");
    check(Class::Keyword, "public");
    check(Class::Keyword, "with sharing");
    check(Class::Type, "A");
    check(Class::Comment, "// note");
    check(Class::Type, "Integer");
    check(Class::Number, "42");
    check(Class::String, "'it'");
    check(Class::Keyword, "insert");
    check(Class::Type, "Account");
}

#[test]
fn a_comment_over_lines_is_coloured_on_each() {
    let lines = highlight("/* a\r\n b */ class X {}", Language::Apex);
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.0[0].class == Some(Class::Comment)));
    assert_eq!(lines[0].0[0].text, "/* a");
}

#[test]
fn xml_tags_attributes_and_comments_are_told_apart() {
    let source = "<?xml version=\"1.0\"?>\n<!-- x --><Flow a:b='c'>text &amp; more</Flow>";
    assert!(has(source, Language::Xml, Class::Keyword, "Flow"));
    assert!(has(source, Language::Xml, Class::Type, "a:b"));
    assert!(has(source, Language::Xml, Class::String, "'c'"));
    assert!(has(source, Language::Xml, Class::Comment, "<!-- x -->"));
}

#[test]
fn javascript_and_json_are_coloured() {
    let source = "import { LightningElement, api } from 'lwc';\nexport default class A extends LightningElement {\n @api n = 1; // x\n t = `a\nb`;\n}";
    assert!(has(source, Language::JavaScript, Class::Keyword, "import"));
    assert!(has(source, Language::JavaScript, Class::Type, "LightningElement"));
    assert!(has(source, Language::JavaScript, Class::Type, "@api"));
    assert!(has(source, Language::JavaScript, Class::String, "'lwc'"));
    assert!(has("{\"a\": [1, true]}", Language::Json, Class::Keyword, "true"));
}

#[test]
fn languages_are_known_by_file_name() {
    assert_eq!(Language::of_path("classes/A.cls"), Language::Apex);
    assert_eq!(Language::of_path("A.flow-meta.xml"), Language::Xml);
    assert_eq!(Language::of_path("README"), Language::Plain);
}

proptest! {
    #[test]
    fn no_text_is_lost_in_any_language(source in "[<>/!\\-\"'`a-zé{}()@\\\\?\\n 0-9]{0,200}") {
        for language in [Language::Apex, Language::JavaScript, Language::Json, Language::Plain, Language::Xml] {
            let back: Vec<String> = highlight(&source, language)
                .into_iter()
                .map(|line| line.0.into_iter().map(|span| span.text).collect())
                .collect();
            let mut expected: Vec<&str> = source.split('\n').collect();
            if expected.len() > 1 && expected.last() == Some(&"") {
                expected.pop();
            }
            prop_assert_eq!(back, expected);
        }
    }
}
