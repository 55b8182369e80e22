//! The parse: tree-sitter's tree, copied once into a flat pre-order array. A parent is one step away, a subtree
//! is a slice, and nothing here recurses, so depth costs heap and never stack.

use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tree_sitter::{ParseOptions, Parser, Tree};

use super::tangle::tangled;

/// The longest source that is parsed, in bytes. Salesforce's own limit for a class is 1,000,000 characters.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The deepest nesting that is read. Code that people write stays below a hundred levels; a text joined with `+`
/// nests one level a part.
pub const MAX_DEPTH: usize = 3_000;

/// The longest a parse may take.
const MAX_TIME: Duration = Duration::from_secs(2);

pub(super) static LANGUAGE: LazyLock<tree_sitter::Language> =
    LazyLock::new(|| tree_sitter_sfapex::apex::LANGUAGE.into());

/// Why a source was not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("The file opens too much that it never closes to be Apex, so it was not parsed.")]
    Tangled,
    #[error("The file is nested more than 3,000 levels deep, so it was not read.")]
    TooDeep,
    #[error("The file is larger than 1 MB, so it was not parsed.")]
    TooLarge,
    #[error("The file took longer than 2 seconds to parse, so it was given up.")]
    TookTooLong,
}

/// A parsed source.
pub struct Apex<'s> {
    source: &'s str,
    nodes: Vec<Raw>,
    /// Byte offset at which each line starts.
    lines: Vec<u32>,
}

struct Raw {
    kind: u16,
    field: u16,
    parent: u32,
    /// Index just behind the last node of this subtree.
    end: u32,
    start_byte: u32,
    end_byte: u32,
    flags: u8,
}

const NAMED: u8 = 1;
const ERROR: u8 = 2;
const MISSING: u8 = 4;

/// Parses a class, trigger or anonymous script. Code that does not follow the grammar still gives a tree, with
/// error nodes in it.
///
/// # Errors
/// When the source is over 1 MB, nested over 3,000 levels deep, takes over 2 seconds, or would fill the memory.
pub fn parse(source: &str) -> Result<Apex<'_>, Refused> {
    if source.len() > MAX_BYTES {
        return Err(Refused::TooLarge);
    }
    if tangled(source) {
        return Err(Refused::Tangled);
    }
    let mut tree = run(source.as_bytes())?;
    // The grammar stumbles over statements that begin with `Trigger.` and go on with a call. A name of the
    // same length parses, and keeps every position.
    if tree.root_node().has_error()
        && let Some(renamed) = without_trigger_variables(source)
    {
        let second = run(renamed.as_bytes())?;
        if !second.root_node().has_error() || errors_in(&second) < errors_in(&tree) {
            tree = second;
        }
    }
    Ok(Apex { source, nodes: flatten(&tree)?, lines: line_starts(source) })
}

fn run(bytes: &[u8]) -> Result<Tree, Refused> {
    let mut parser = Parser::new();
    if parser.set_language(&LANGUAGE).is_err() {
        return Err(Refused::TookTooLong);
    }
    let began = Instant::now();
    let mut in_time = |_: &tree_sitter::ParseState| {
        if began.elapsed() > MAX_TIME { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut in_time);
    let mut read = |at: usize, _| bytes.get(at..).unwrap_or_default();
    parser.parse_with_options(&mut read, None, Some(options)).ok_or(Refused::TookTooLong)
}

/// The source with `Trigger.` written `Tr1gger.`, when it occurs.
pub(super) fn without_trigger_variables(source: &str) -> Option<String> {
    let lower = source.to_ascii_lowercase();
    let mut bytes = source.as_bytes().to_vec();
    let mut found = false;
    for (at, _) in lower.match_indices("trigger.") {
        let inside_a_word = at > 0 && is_word(lower.as_bytes()[at - 1]);
        if !inside_a_word {
            bytes[at + 2] = b'1';
            found = true;
        }
    }
    if found { String::from_utf8(bytes).ok() } else { None }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

fn errors_in(tree: &Tree) -> usize {
    let mut cursor = tree.walk();
    let mut count = 0;
    loop {
        let node = cursor.node();
        count += usize::from(node.is_error() || node.is_missing());
        if node.has_error() && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return count;
            }
        }
    }
}

fn flatten(tree: &Tree) -> Result<Vec<Raw>, Refused> {
    let mut nodes: Vec<Raw> = Vec::with_capacity(tree.root_node().descendant_count());
    let mut cursor = tree.walk();
    let mut open: Vec<u32> = Vec::new();
    loop {
        let node = cursor.node();
        let index = nodes.len() as u32;
        nodes.push(Raw {
            kind: node.kind_id(),
            field: cursor.field_id().map_or(0, std::num::NonZeroU16::get),
            parent: open.last().copied().unwrap_or(0),
            end: 0,
            start_byte: node.start_byte() as u32,
            end_byte: node.end_byte() as u32,
            flags: u8::from(node.is_named()) * NAMED
                + u8::from(node.is_error()) * ERROR
                + u8::from(node.is_missing()) * MISSING,
        });
        open.push(index);
        if open.len() > MAX_DEPTH {
            return Err(Refused::TooDeep);
        }
        if cursor.goto_first_child() {
            continue;
        }
        loop {
            if let Some(closed) = open.pop() {
                nodes[closed as usize].end = nodes.len() as u32;
            }
            if cursor.goto_next_sibling() {
                break;
            }
            if !cursor.goto_parent() {
                return Ok(nodes);
            }
        }
    }
}

fn line_starts(source: &str) -> Vec<u32> {
    std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at as u32 + 1)).collect()
}

impl<'s> Apex<'s> {
    pub fn source(&self) -> &'s str {
        self.source
    }

    pub fn root(&self) -> Node<'_> {
        Node { apex: self, index: 0 }
    }

    /// Every node, parents before their children, in the order of the source.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.root().descendants()
    }

    /// Every node of this kind, in the order of the source.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = Node<'_>> {
        self.nodes().filter(move |node| node.is(kind))
    }

    /// Whether some part did not follow the grammar.
    pub fn has_error(&self) -> bool {
        self.nodes.iter().any(|raw| raw.flags & (ERROR | MISSING) != 0)
    }

    /// Line and column (both from 1, columns in characters) of a byte offset.
    pub fn position(&self, byte: usize) -> (u32, u32) {
        let byte = byte.min(self.source.len());
        let line = self.lines.partition_point(|start| *start as usize <= byte);
        let start = self.lines[line - 1] as usize;
        let column = self.source.get(start..byte).map_or(0, |text| text.chars().count());
        (line as u32, column as u32 + 1)
    }
}

/// One node of the tree. Copied freely.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    apex: &'a Apex<'a>,
    index: u32,
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && std::ptr::eq(self.apex.source, other.apex.source)
    }
}

impl<'a> Node<'a> {
    fn raw(self) -> &'a Raw {
        &self.apex.nodes[self.index as usize]
    }

    fn at(self, index: u32) -> Self {
        Self { apex: self.apex, index }
    }

    /// The kind of node, as the grammar names it.
    pub fn kind(self) -> &'static str {
        LANGUAGE_KINDS.get(self.raw().kind as usize).copied().unwrap_or("ERROR")
    }

    pub fn is(self, kind: &str) -> bool {
        self.kind() == kind
    }

    /// Whether the grammar names this node (otherwise it is a keyword or a sign).
    pub fn is_named(self) -> bool {
        self.raw().flags & NAMED != 0
    }

    pub fn is_error(self) -> bool {
        self.raw().flags & ERROR != 0
    }

    /// Whether the parser put this in because the source lacks it.
    pub fn is_missing(self) -> bool {
        self.raw().flags & MISSING != 0
    }

    pub fn is_comment(self) -> bool {
        matches!(self.kind(), "line_comment" | "block_comment")
    }

    pub fn text(self) -> &'a str {
        self.apex.source.get(self.start()..self.end()).unwrap_or("")
    }

    /// The first byte.
    pub fn start(self) -> usize {
        self.raw().start_byte as usize
    }

    /// The byte behind the last.
    pub fn end(self) -> usize {
        self.raw().end_byte as usize
    }

    pub fn line(self) -> u32 {
        self.apex.position(self.start()).0
    }

    /// Column in characters, from 1.
    pub fn column(self) -> u32 {
        self.apex.position(self.start()).1
    }

    pub fn end_line(self) -> u32 {
        self.apex.position(self.end()).0
    }

    pub fn parent(self) -> Option<Self> {
        (self.index > 0).then(|| self.at(self.raw().parent))
    }

    /// Parent, grandparent and so on.
    pub fn ancestors(self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), |node| node.parent())
    }

    /// The nearest ancestor of one of these kinds.
    pub fn nearest(self, kinds: &[&str]) -> Option<Self> {
        self.ancestors().find(|node| kinds.contains(&node.kind()))
    }

    /// Direct children, with keywords and signs.
    pub fn children(self) -> impl Iterator<Item = Self> {
        let end = self.raw().end;
        let first = self.index + 1;
        std::iter::successors((first < end).then(|| self.at(first)), move |child| {
            let next = child.raw().end;
            (next < end).then(|| child.at(next))
        })
    }

    /// Direct children that the grammar names, comments left out.
    pub fn named_children(self) -> impl Iterator<Item = Self> {
        self.children().filter(|child| child.is_named() && !child.is_comment())
    }

    pub fn child_of_kind(self, kind: &str) -> Option<Self> {
        self.children().find(|child| child.is(kind))
    }

    /// The child that holds this field of the grammar.
    pub fn field(self, name: &str) -> Option<Self> {
        self.children().find(|child| child.field_name() == name)
    }

    /// The field of its parent that this node holds; empty without one.
    pub fn field_name(self) -> &'static str {
        LANGUAGE_FIELDS.get(self.raw().field as usize).copied().unwrap_or("")
    }

    /// The node itself and everything below it, in the order of the source.
    pub fn descendants(self) -> impl Iterator<Item = Self> {
        (self.index..self.raw().end).map(move |index| self.at(index))
    }

    /// Everything below it of this kind.
    pub fn below(self, kind: &str) -> impl Iterator<Item = Self> {
        self.descendants().skip(1).filter(move |node| node.is(kind))
    }

    /// Whether `other` is this node or below it.
    pub fn holds(self, other: Node<'_>) -> bool {
        (self.index..self.raw().end).contains(&other.index)
    }

    /// How many nodes it and everything below it are.
    pub fn size(self) -> u32 {
        self.raw().end - self.index
    }

    /// Whether it has no children.
    pub fn is_leaf(self) -> bool {
        self.raw().end == self.index + 1
    }
}

static LANGUAGE_KINDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let count = LANGUAGE.node_kind_count() as u16;
    (0..count).map(|id| LANGUAGE.node_kind_for_id(id).unwrap_or("")).collect()
});

static LANGUAGE_FIELDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let count = LANGUAGE.field_count() as u16;
    (0..=count).map(|id| LANGUAGE.field_name_for_id(id).unwrap_or("")).collect()
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_statement_that_begins_with_trigger_variables_parses() {
        let source = "public class A { void run() { Trigger.new[0].addError('x'); } }";
        let apex = parse(source).unwrap();
        assert!(!apex.has_error());
        assert!(apex.nodes().any(|node| node.text() == "Trigger"), "the text is the source's own");
    }

    #[test]
    fn a_megabyte_of_source_is_refused() {
        assert_eq!(parse(&"a".repeat(MAX_BYTES + 1)).err(), Some(Refused::TooLarge));
    }

    #[test]
    fn nesting_without_end_is_refused_and_does_not_overflow() {
        let nested =
            |depth: usize| format!("class A {{ Integer x = {}1{}; }}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(parse(&nested(100_000)).err(), Some(Refused::TooDeep));
        assert!(parse(&nested(2_000)).unwrap().of_kind("parenthesized_expression").count() == 2_000);
    }

    #[test]
    fn positions_count_characters_from_one() {
        let apex = parse("class A {\n  String é = 'x';\n}").unwrap();
        let text = apex.of_kind("string_literal").next().unwrap();
        assert_eq!((text.line(), text.column(), text.end_line()), (2, 14, 2));
    }

    proptest! {
        #[test]
        fn any_text_parses_without_a_panic(source in "\\PC{0,300}") {
            if let Ok(apex) = parse(&source) {
                for node in apex.nodes() {
                    prop_assert!(node.start() <= node.end() && node.end() <= source.len());
                    let _ = (node.text(), node.line(), node.column(), node.kind());
                }
            }
        }
    }
}
