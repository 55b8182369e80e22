//! What uses a component or a field: sources that say its name as a word of its own.

use serde_json::{Value, json};

use super::metadata::source;
use super::{Brought, Failed, Scope};
use crate::ids::OrgId;
use crate::orgs::records::{COMPONENTS, ComponentKey, Field, Org, SOURCES};
use crate::orgs::search as index;
use crate::store::{Read, StoreError};

/// Components whose source is read, and rows of a result.
const LOOKED_AT: usize = 150;
const ROWS: usize = 40;
/// Objects whose fields are compared.
const OBJECTS: usize = 20_000;

/// Adds the users of `name` to a summary, to be cited at their lines.
pub fn add(
    scope: &Scope,
    (id, org): (OrgId, &Org),
    name: &str,
    own: &ComponentKey,
    brought: &mut Brought,
) -> Result<(), Failed> {
    let hits = index::search(&scope.ws, Some(id), name, LOOKED_AT).map_err(|error| {
        tracing::error!(%error, "the metadata search failed");
        Failed("What uses it can't be told right now.".into())
    })?;
    let read = scope.ws.read()?;
    let mut rows: Vec<Value> = Vec::new();
    for hit in hits {
        let key: ComponentKey = (hit.org, hit.kind, hit.name);
        if key == *own || rows.len() >= ROWS {
            continue;
        }
        let text = read.get(&SOURCES, &key)?.unwrap_or_default();
        let Some(line) = first_line(&text, name) else { continue };
        let reference = format!("{}/{}", key.1, key.2);
        rows.push(json!({ "ref": reference, "type": key.1, "line": line }));
        let quote = text.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
        brought.sources.push((reference, source(org, &key.1, &key.2, quote, text)));
    }
    brought.json["used_by"] = rows.into();
    Ok(())
}

/// The first line, from 1, that says the name as a word of its own.
fn first_line(text: &str, name: &str) -> Option<usize> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let name = name.to_lowercase();
    text.lines()
        .position(|line| {
            let line = line.to_lowercase();
            line.match_indices(&name).any(|(at, _)| {
                let before = line[..at].chars().next_back().is_none_or(|c| !part_of_word(c));
                before && line[at + name.len()..].chars().next().is_none_or(|c| !part_of_word(c))
            })
        })
        .map(|n| n + 1)
}

/// Fields of any object whose API name is a word of the query: object and field.
pub fn fields(read: &impl Read, id: OrgId, words: &[&str]) -> Result<Vec<(String, Field)>, StoreError> {
    let mut found = Vec::new();
    let words: Vec<String> = words
        .iter()
        .map(|word| word.rsplit('.').next().unwrap_or_default().to_lowercase())
        // A plain word is a field of every object.
        .filter(|word| word.contains('_'))
        .collect();
    if words.is_empty() {
        return Ok(found);
    }
    read.scan(&COMPONENTS).under(&(id, "CustomObject".to_owned())).limit(OBJECTS).each(|key, object| {
        let fields = object.fields.into_iter().filter(|field| words.contains(&field.name.to_lowercase()));
        found.extend(fields.map(|field| (key.2.clone(), field)));
        found.len() < ROWS
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_the_whole_word() {
        let text = "class A {\n    Renewal_Stage__c_x y;\n    o.renewal_stage__c = 1;\n}";
        assert_eq!(first_line(text, "Renewal_Stage__c"), Some(3));
        assert_eq!(first_line(text, "Stage__c"), None);
    }
}
