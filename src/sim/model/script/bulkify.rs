//! Edits of Apex source by its syntax tree: statements that cost a limit move out of a loop.

use tree_sitter::{Node, Parser, Tree};

pub fn parse(source: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_sfapex::apex::LANGUAGE.into()).ok()?;
    parser.parse(source, None)
}

pub fn compiles(source: &str) -> bool {
    parse(source).is_some_and(|tree| !tree.root_node().has_error())
}

/// All nodes of a kind, outermost first, at most 20,000 visited.
pub fn all<'t>(root: Node<'t>, kind: &str) -> Vec<Node<'t>> {
    let (mut found, mut stack, mut visited) = (Vec::new(), vec![root], 0);
    while let Some(node) = stack.pop() {
        visited += 1;
        if visited > 20_000 {
            break;
        }
        if node.kind() == kind {
            found.push(node);
        }
        let children: Vec<Node> = (0..node.child_count()).filter_map(|i| node.child(i)).collect();
        stack.extend(children.into_iter().rev());
    }
    found
}

pub fn text<'s>(node: Node, source: &'s str) -> &'s str {
    source.get(node.byte_range()).unwrap_or_default()
}

fn field<'s>(node: Node, name: &str, source: &'s str) -> Option<&'s str> {
    Some(text(node.child_by_field_name(name)?, source))
}

/// One edit that moves a query or a write out of the first loop that holds one, and what it did.
pub fn out_of_loop(source: &str) -> Option<(String, String)> {
    let tree = parse(source)?;
    all(tree.root_node(), "enhanced_for_statement").into_iter().find_map(|each| {
        let edited = hoist_query(each, source).or_else(|| collect_writes(each, source))?;
        compiles(&edited.0).then_some(edited)
    })
}

/// `T v = [SELECT … WHERE K = :each.P …]` in a loop becomes one query with `IN` before it and a look-up inside.
fn hoist_query(each: Node, source: &str) -> Option<(String, String)> {
    let (over, item_type) = (field(each, "value", source)?, field(each, "type", source)?);
    let item = field(each, "name", source)?;
    if over.trim_start().starts_with('[') {
        return None;
    }
    let indent = indentation(each, source);
    all(each.child_by_field_name("body")?, "local_variable_declaration").into_iter().find_map(|declared| {
        let declarator = declared.child_by_field_name("declarator")?;
        let value = declarator.child_by_field_name("value")?;
        if value.kind() != "query_expression" {
            return None;
        }
        let (kind, name) = (field(declared, "type", source)?, field(declarator, "name", source)?);
        let query = text(value, source).trim().trim_matches(['[', ']']);
        let (before, after) = query.split_once(&format!(":{item}."))?;
        let path: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '.').collect();
        let rest = &after[path.len()..];
        let key = before.trim_end().strip_suffix('=')?.trim_end();
        let column = key.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|c| !c.is_empty())?;
        let list = kind.strip_prefix("List<").and_then(|k| k.strip_suffix('>'));
        let object = list.unwrap_or(kind);
        let rest = rest.split(" LIMIT ").next().unwrap_or_default().trim_end();
        let (select, from) = key.split_once(" FROM ")?;
        let has = select.split([',', ' ']).any(|c| c.eq_ignore_ascii_case(column));
        let select = if has { select.to_owned() } else { format!("{select}, {column}") };
        let key_type = if column == "Id" || column.ends_with("Id") { "Id" } else { "String" };
        let (keys, by) = (format!("{name}Keys"), format!("{name}ByKey"));
        let held = if list.is_some() { format!("List<{object}>") } else { object.to_owned() };
        let store = match list {
            Some(_) => format!(
                "if (!{by}.containsKey(row.{column})) {{\n{indent}        {by}.put(row.{column}, new {held}());\n{indent}    }}\n{indent}    {by}.get(row.{column}).add(row);"
            ),
            None => format!("{by}.put(row.{column}, row);"),
        };
        let ahead = format!(
            "Set<{key_type}> {keys} = new Set<{key_type}>();\n{indent}for ({item_type} {item} : {over}) {{\n{indent}    {keys}.add({item}.{path});\n{indent}}}\n{indent}Map<{key_type}, {held}> {by} = new Map<{key_type}, {held}>();\n{indent}for ({object} row : [{select} FROM {from} IN :{keys}{rest}]) {{\n{indent}    {store}\n{indent}}}\n{indent}"
        );
        let look_up = match list {
            Some(_) => format!("{by}.containsKey({item}.{path}) ? {by}.get({item}.{path}) : new {held}()"),
            None => format!("{by}.get({item}.{path})"),
        };
        let mut edited = source.to_owned();
        edited.replace_range(value.byte_range(), &look_up);
        edited.insert_str(each.start_byte(), &ahead);
        let missing = if list.is_some() { "" } else { " Where no row matches, the variable is now null; the query threw before." };
        let line = value.start_position().row + 1;
        Some((edited, format!("The query of line {line} ran once per pass of the loop. It now runs once before the loop and the loop reads from a map.{missing}")))
    })
}

/// `update x;` in a loop becomes a list that is written once after it.
fn collect_writes(each: Node, source: &str) -> Option<(String, String)> {
    let indent = indentation(each, source);
    let body = each.child_by_field_name("body")?;
    all(body, "dml_expression").into_iter().find_map(|write| {
        let target = write.child_by_field_name("target")?;
        let verb = text(write, source).split_whitespace().next()?.to_lowercase();
        if target.kind() != "identifier" || !["insert", "update", "delete", "upsert"].contains(&verb.as_str()) {
            return None;
        }
        let name = text(target, source);
        let kind = if field(each, "name", source)? == name {
            field(each, "type", source)?.to_owned()
        } else {
            all(body, "local_variable_declaration").into_iter().find_map(|d| {
                let same = field(d.child_by_field_name("declarator")?, "name", source)? == name;
                if same { field(d, "type", source).map(str::to_owned) } else { None }
            })?
        };
        let many = kind.strip_prefix("List<").and_then(|k| k.strip_suffix('>'));
        let element = many.unwrap_or(&kind);
        let list = format!("{name}To{}{}", verb[..1].to_uppercase(), &verb[1..]);
        let add = if many.is_some() { "addAll" } else { "add" };
        let after = format!("\n{indent}if (!{list}.isEmpty()) {{\n{indent}    {verb} {list};\n{indent}}}");
        let mut edited = source.to_owned();
        edited.insert_str(each.end_byte(), &after);
        edited.replace_range(write.byte_range(), &format!("{list}.{add}({name})"));
        edited.insert_str(each.start_byte(), &format!("List<{element}> {list} = new List<{element}>();\n{indent}"));
        let line = write.start_position().row + 1;
        Some((edited, format!("The {verb} of line {line} ran once per pass of the loop. The records are now collected and written once after it.")))
    })
}

fn indentation(node: Node, source: &str) -> String {
    let start = source[..node.start_byte()].rfind('\n').map_or(0, |n| n + 1);
    source[start..].chars().take_while(|c| *c == ' ' || *c == '\t').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(body: &str) -> String {
        format!(
            "public class A {{\n    public static void run(List<Opportunity> opps) {{\n        for (Opportunity o : opps) {{\n            {body}\n        }}\n    }}\n}}\n"
        )
    }

    #[test]
    fn a_query_in_a_loop_becomes_one_before_it() {
        let single = class(
            "Account a = [SELECT Id, Name FROM Account WHERE Id = :o.AccountId LIMIT 1];\n            o.Name = a.Name;",
        );
        let (edited, _) = out_of_loop(&single).unwrap();
        assert!(
            edited.contains("for (Account row : [SELECT Id, Name FROM Account WHERE Id IN :aKeys]) {"),
            "{edited}"
        );
        assert!(edited.contains("Account a = aByKey.get(o.AccountId);"));
        let many = class("List<Contact> c = [SELECT Email FROM Contact WHERE AccountId = :o.AccountId];");
        let (edited, _) = out_of_loop(&many).unwrap();
        assert!(
            edited.contains("SELECT Email, AccountId FROM Contact WHERE AccountId IN :cKeys"),
            "{edited}"
        );
    }

    #[test]
    fn a_write_in_a_loop_is_collected() {
        let (edited, _) = out_of_loop(&class("o.StageName = 'Won';\n            update o;")).unwrap();
        assert!(edited.contains("oToUpdate.add(o);") && edited.contains("update oToUpdate;"), "{edited}");
        assert!(compiles(&edited));
    }

    #[test]
    fn clean_code_is_left_alone() {
        assert_eq!(out_of_loop(&class("o.StageName = 'Won';")), None);
        assert_eq!(out_of_loop("not apex ((("), None);
    }
}
