//! Values that an expression has whatever the org holds: literals, and what is computed from literals alone.

use crate::apex::Node;

/// The value of a constant expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    Null,
    Text(String),
    Truth(bool),
    Whole(i64),
}

impl std::fmt::Display for Constant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Text(text) => f.write_str(text),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Whole(n) => write!(f, "{n}"),
        }
    }
}

/// The value of an expression when it needs nothing but itself.
pub fn constant(node: Node<'_>) -> Option<Constant> {
    match node.kind() {
        "boolean" => Some(Constant::Truth(node.text().eq_ignore_ascii_case("true"))),
        "int" => node.text().parse().ok().map(Constant::Whole),
        "null_literal" => Some(Constant::Null),
        "parenthesized_expression" => constant(node.named_children().next()?),
        "string_literal" => {
            let inner = node.text().strip_prefix('\'')?.strip_suffix('\'')?;
            Some(Constant::Text(inner.replace("\\'", "'").replace("\\n", "\n").replace("\\\\", "\\")))
        }
        "unary_expression" => match (node.field("operator")?.text(), constant(node.field("operand")?)?) {
            ("!", Constant::Truth(truth)) => Some(Constant::Truth(!truth)),
            ("-", Constant::Whole(n)) => n.checked_neg().map(Constant::Whole),
            _ => None,
        },
        "binary_expression" => {
            let (left, right) = (constant(node.field("left")?)?, constant(node.field("right")?)?);
            binary(node.field("operator")?.text(), left, right)
        }
        _ => None,
    }
}

fn binary(operator: &str, left: Constant, right: Constant) -> Option<Constant> {
    use Constant::{Text, Truth, Whole};
    match (operator, left, right) {
        ("==", a, b) => Some(Truth(a == b)),
        ("!=", a, b) => Some(Truth(a != b)),
        ("+", Whole(a), Whole(b)) => a.checked_add(b).map(Whole),
        ("-", Whole(a), Whole(b)) => a.checked_sub(b).map(Whole),
        ("*", Whole(a), Whole(b)) => a.checked_mul(b).map(Whole),
        ("+", a @ Text(_), b) | ("+", a, b @ Text(_)) => Some(Text(format!("{a}{b}"))),
        ("<", Whole(a), Whole(b)) => Some(Truth(a < b)),
        ("<=", Whole(a), Whole(b)) => Some(Truth(a <= b)),
        (">", Whole(a), Whole(b)) => Some(Truth(a > b)),
        (">=", Whole(a), Whole(b)) => Some(Truth(a >= b)),
        ("&&", Truth(a), Truth(b)) => Some(Truth(a && b)),
        ("||", Truth(a), Truth(b)) => Some(Truth(a || b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(expression: &str) -> Option<Constant> {
        let source = format!("class A {{ Object x = {expression}; }}");
        let apex = crate::apex::parse(&source).unwrap();
        let value = apex.of_kind("variable_declarator").next().unwrap().field("value").unwrap();
        constant(value)
    }

    #[test]
    fn literals_and_what_is_made_of_them_have_values() {
        assert_eq!(value("1 + 2 * 3"), Some(Constant::Whole(7)));
        assert_eq!(value("'a' + 1"), Some(Constant::Text("a1".into())));
        assert_eq!(value("!(2 > 1)"), Some(Constant::Truth(false)));
        assert_eq!(value("-4 == 4"), Some(Constant::Truth(false)));
        assert_eq!(value("null"), Some(Constant::Null));
        assert_eq!(value("'it\\'s'"), Some(Constant::Text("it's".into())));
    }

    #[test]
    fn what_needs_the_org_has_none() {
        for expression in ["a", "f()", "1 + n", "[SELECT Id FROM Account]", "9223372036854775807 + 1"] {
            assert_eq!(value(expression), None, "{expression}");
        }
    }
}
