//! Files of objects: what a deploy names in them is added or replaced, the rest of the object stays.

use std::collections::BTreeSet;
use std::ops::Range;

use roxmltree::{Document, Node};

/// Whether an object's file has this member: a field, validation rule, list view or record type.
pub fn has(source: &str, element: &str, member: &str) -> bool {
    Document::parse(source)
        .is_ok_and(|d| d.root_element().children().any(|n| key(n) == (element.to_owned(), member.to_owned())))
}

/// The lower-case names of an object's fields.
pub fn fields(source: &str) -> BTreeSet<String> {
    let Ok(document) = Document::parse(source) else { return BTreeSet::new() };
    let named = document.root_element().children().map(key).filter(|(element, _)| element == "fields");
    named.map(|(_, name)| name.to_ascii_lowercase()).collect()
}

/// The object with what `change` brings: members by their full names, other elements by their tags.
pub fn merge(source: &str, change: &str) -> String {
    let (Ok(old), Ok(new)) = (Document::parse(source), Document::parse(change)) else {
        return change.to_owned();
    };
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let end = source.rfind("</").unwrap_or(source.len());
    for node in new.root_element().children().filter(Node::is_element) {
        let text = change.get(node.range()).unwrap_or_default();
        let same = |n: &Node<'_, '_>| n.is_element() && key(*n) == key(node);
        if let Some(present) = old.root_element().children().find(same) {
            edits.push((present.range(), text.to_owned()));
        } else {
            // Elements of one name stand together.
            let alike = old.root_element().children().rfind(|n| n.tag_name() == node.tag_name());
            let at = alike.map_or(end, |n| n.range().end);
            edits.push((at..at, format!("\n    {text}")));
        }
    }
    // From the end, so that no edit moves another.
    edits.reverse();
    edits.sort_by_key(|(range, _)| std::cmp::Reverse((range.start, range.end)));
    let mut result = source.to_owned();
    for (range, text) in edits {
        result.replace_range(range, &text);
    }
    result
}

/// The object without a member.
pub fn without(source: &str, element: &str, member: &str) -> String {
    let mut result = source.to_owned();
    if let Ok(document) = Document::parse(source) {
        let found =
            document.root_element().children().find(|n| key(*n) == (element.to_owned(), member.to_owned()));
        if let Some(node) = found {
            result.replace_range(node.range(), "");
        }
    }
    result
}

/// The tag of an element and the full name in it, when it has one.
fn key(node: Node<'_, '_>) -> (String, String) {
    let name = node.children().find(|n| n.tag_name().name() == "fullName").and_then(|n| n.text());
    (node.tag_name().name().to_owned(), name.unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "<CustomObject><fields><fullName>A__c</fullName><type>Text</type></fields>\
        <fields><fullName>B__c</fullName></fields><label>Old</label></CustomObject>";

    #[test]
    fn members_are_replaced_or_added_and_the_rest_stays() {
        let merged = merge(
            OLD,
            "<CustomObject><fields><fullName>A__c</fullName><type>Date</type></fields>\
             <fields><fullName>C__c</fullName></fields><label>New</label></CustomObject>",
        );
        assert!(merged.contains("<type>Date</type>") && !merged.contains("<type>Text</type>"));
        assert!(has(&merged, "fields", "B__c") && has(&merged, "fields", "C__c"));
        assert!(merged.contains("<label>New</label>") && !merged.contains("Old"));
        assert!(Document::parse(&merged).is_ok());
    }

    #[test]
    fn a_member_is_taken_out() {
        let rest = without(OLD, "fields", "A__c");
        assert!(!has(&rest, "fields", "A__c") && has(&rest, "fields", "B__c"));
    }
}
