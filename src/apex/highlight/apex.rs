//! Apex by its syntax tree.

use super::{Class, Piece};
use crate::apex::tree::{Node, parse};

pub(super) fn pieces(source: &str) -> Vec<Piece> {
    let Ok(apex) = parse(source) else { return Vec::new() };
    let coloured = |node: Node<'_>| {
        let class = class_of(node)?;
        Some(Piece { start: node.start(), end: node.end(), class })
    };
    apex.nodes().filter_map(coloured).filter(|piece| piece.end > piece.start).collect()
}

fn class_of(node: Node<'_>) -> Option<Class> {
    match node.kind() {
        "block_comment" | "line_comment" => Some(Class::Comment),
        "multi_line_string_literal" | "string_literal" => Some(Class::String),
        "date" | "date_literal" | "date_time" | "decimal" | "decimal_floating_point_literal" | "int" => {
            Some(Class::Number)
        }
        "all_rows_clause" | "boolean" | "boolean_type" | "modifier" | "null_literal" | "super" | "this"
        | "trigger_event" | "void_type" => Some(Class::Keyword),
        "storage_identifier" | "type_identifier" => Some(Class::Type),
        "annotation" if node.field("arguments").is_none() => Some(Class::Type),
        "identifier" => named(node),
        kind if !node.is_named() && kind.starts_with(char::is_alphabetic) => Some(Class::Keyword),
        _ if node.is_leaf()
            && node.parent().is_some_and(|p| p.is("dml_type") || p.is("dml_security_mode")) =>
        {
            Some(Class::Keyword)
        }
        _ => None,
    }
}

/// Names that stand for a type: of a declaration, an annotation, a trigger's object.
fn named(node: Node<'_>) -> Option<Class> {
    let parent = node.parent()?;
    let declares = matches!(
        parent.kind(),
        "annotation"
            | "class_declaration"
            | "constructor_declaration"
            | "enum_declaration"
            | "interface_declaration"
            | "trigger_declaration"
    );
    (declares && matches!(node.field_name(), "name" | "object")).then_some(Class::Type)
}
