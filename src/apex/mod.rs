//! Reads Apex: a bounded parse into a flat tree, syntax errors in Salesforce's words, outlines, references and
//! highlighting (of XML, JSON and JavaScript too). Imports nothing of ours. Start with `tree`.

pub mod errors;
pub mod highlight;
pub mod outline;
pub mod references;
pub mod scope;
mod tangle;
pub mod tree;

pub use errors::{SyntaxError, syntax_errors};
pub use highlight::{Class, Language, Line, Span, highlight};
pub use outline::{Method, Outline, Parameter, Sharing, TriggerOn, UnitKind, outline};
pub use references::{Access, Reference, ReferenceKind, References, references};
pub use tree::{Apex, Node, Refused, parse};
