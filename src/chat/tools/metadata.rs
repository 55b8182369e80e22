//! Components of the org: found, read, described.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Brought, Failed, LONGEST, Scope, clip, many, uses};
use crate::chat::citations::Source;
use crate::orgs::records::{COMPONENTS, Component, Org, SOURCES};
use crate::orgs::search as index;
use crate::store::Read as _;

/// Rows of a search at most.
const ROWS: usize = 25;
/// Fields of a description at most.
const FIELDS: usize = 150;

const TYPES: [(&str, &str); 6] = [
    ("apex_class", "ApexClass"),
    ("apex_trigger", "ApexTrigger"),
    ("flow", "Flow"),
    ("lwc", "LightningComponentBundle"),
    ("object", "CustomObject"),
    ("permission_set", "PermissionSet"),
];

pub fn search_input() -> Value {
    let types: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
    json!({
        "query": { "type": "string" },
        "types": { "type": "array", "items": { "type": "string", "enum": types } },
        "limit": { "type": "integer" },
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
    types: Vec<String>,
    limit: usize,
}

pub fn search(scope: &Scope, input: Map<String, Value>) -> Result<Brought, Failed> {
    let Search { query, types, limit } = super::parse(input)?;
    let (id, org) = scope.org()?;
    let hits = index::search(&scope.ws, Some(id), &query, ROWS * 4).map_err(|error| {
        tracing::error!(%error, "the metadata search failed");
        Failed("The search is not available right now. Read a component by its ref instead.".into())
    })?;
    let wanted = |kind: &str| {
        types.is_empty() || TYPES.iter().any(|(name, own)| *own == kind && types.iter().any(|t| t == name))
    };
    let hits: Vec<_> = hits.into_iter().filter(|hit| wanted(&hit.kind)).collect();
    // Names that are spelled out are found even while the index is still being built.
    let mut found = named(scope, id, &query)?;
    found.retain(|(kind, ..)| wanted(kind));
    for hit in hits {
        let snippet: String = hit.snippet.iter().map(|fragment| fragment.text.as_str()).collect();
        if !found.iter().any(|(kind, name, ..)| *kind == hit.kind && *name == hit.name) {
            found.push((hit.kind, hit.name, hit.label, snippet));
        }
    }
    found.truncate(limit.clamp(1, ROWS));
    let mut brought = Brought { found: format!("{} found", found.len()), ..Brought::default() };
    let mut rows = Vec::new();
    if types.is_empty() || types.iter().any(|t| t == "object") || types.len() == TYPES.len() {
        let words: Vec<&str> = query.split_whitespace().collect();
        for (object, field) in uses::fields(&scope.ws.read()?, id, &words)? {
            let reference = format!("CustomObject/{object}.{}", field.name);
            rows.push(json!({ "ref": reference, "type": "field", "label": clip(&field.label, 120), "snippet": field.kind }));
            let mut source = source(&org, "CustomObject", &object, field.kind, String::new());
            source.title = format!("{object}.{}", field.name);
            brought.sources.push((reference, source));
        }
    }
    for (kind, name, label, snippet) in found {
        let reference = format!("{kind}/{name}");
        rows.push(json!({
            "ref": reference, "type": kind, "label": clip(&label, 120), "snippet": clip(&snippet, 160),
        }));
        brought.sources.push((reference, source(&org, &kind, &name, snippet, String::new())));
    }
    brought.json = json!({ "rows": rows });
    Ok(brought)
}

/// Kind, name, label and a piece of the text.
type Row = (String, String, String, String);

/// Components whose full name is a word of the query.
fn named(scope: &Scope, id: crate::ids::OrgId, query: &str) -> Result<Vec<Row>, Failed> {
    let read = scope.ws.read()?;
    let mut found = Vec::new();
    let words = query.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-'));
    for word in words.filter(|word| word.len() > 2).take(12) {
        for (_, kind) in TYPES {
            let key = (id, kind.to_owned(), word.to_owned());
            let Some(component) = read.get(&COMPONENTS, &key)? else { continue };
            let text = read.get(&SOURCES, &key)?.unwrap_or_default();
            found.push((key.1, key.2, component.label.unwrap_or_default(), clip(text.trim(), 160)));
        }
    }
    Ok(found)
}

pub fn get_input() -> Value {
    json!({
        "ref": { "type": "string" },
        "part": { "type": "string", "enum": ["summary", "source"] },
        "offset": { "type": "integer" },
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    #[serde(rename = "ref")]
    reference: String,
    part: Part,
    offset: usize,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Part {
    Source,
    Summary,
}

pub fn get(scope: &Scope, input: Map<String, Value>) -> Result<Brought, Failed> {
    let Get { reference, part, offset } = super::parse(input)?;
    let unknown = || Failed(format!("There is no component {}. Search for it.", clip(&reference, 100)));
    let (kind, name) = reference.split_once('/').ok_or_else(unknown)?;
    let (id, org) = scope.org()?;
    let read = scope.ws.read()?;
    // A field is asked for by its object's ref and its name.
    let (name, field) = match name.split_once('.') {
        Some((object, field)) if kind == "CustomObject" => (object, Some(field)),
        _ => (name, None),
    };
    let key = (id, kind.to_owned(), name.to_owned());
    let component = read.get(&COMPONENTS, &key)?.ok_or_else(unknown)?;
    let facts = field.map(|field| {
        component.fields.iter().find(|f| f.name.eq_ignore_ascii_case(field)).ok_or_else(unknown)
    });
    let facts = facts.transpose()?;
    let text = read.get(&SOURCES, &key)?.unwrap_or_default();
    let mut brought = Brought { found: many(text.lines().count(), "line"), ..Brought::default() };
    brought.json = match part {
        Part::Summary => json!({
            "ref": reference, "label": component.label, "changed": component.modified, "by": component.modified_by,
            "lines": component.lines, "fields": component.fields.len(), "field": facts,
        }),
        Part::Source => {
            let (page, next) = page(&text, offset);
            json!({ "ref": reference, "source": page, "next_offset": next })
        }
    };
    let quote: Vec<&str> = text.lines().take(6).collect();
    let mut source = source(&org, kind, name, quote.join("\n"), text.clone());
    if let Some(field) = facts {
        source.title = format!("{name}.{}", field.name);
    }
    brought.sources.push((reference.clone(), source));
    if part == Part::Summary {
        let asked = facts.map_or(name, |field| field.name.as_str());
        uses::add(scope, (id, &org), asked, &key, &mut brought)?;
        let users = brought.json["used_by"].as_array().map_or(0, Vec::len);
        brought.found = many(users, "use");
    }
    Ok(brought)
}

/// A page of a text from byte `offset` on, and where the next one begins.
fn page(text: &str, offset: usize) -> (&str, Option<usize>) {
    let mut start = offset.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = (start + LONGEST).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[start..end], (end < text.len()).then_some(end))
}

pub fn describe_input() -> Value {
    json!({ "object": { "type": "string" }, "field_filter": { "type": ["string", "null"] } })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Describe {
    object: String,
    field_filter: Option<String>,
}

pub fn describe(scope: &Scope, input: Map<String, Value>) -> Result<Brought, Failed> {
    let Describe { object, field_filter } = super::parse(input)?;
    let (id, org) = scope.org()?;
    let unknown = || Failed(format!("There is no object {}. Search for it.", clip(&object, 100)));
    let (name, component) = find(scope, id, &object)?.ok_or_else(unknown)?;
    let filter = field_filter.unwrap_or_default().to_lowercase();
    let fields: Vec<_> =
        component.fields.iter().filter(|field| field.name.to_lowercase().contains(&filter)).collect();
    let mut brought = Brought { found: many(fields.len(), "field"), ..Brought::default() };
    let whole = format!("CustomObject/{name}");
    let mut rows = Vec::new();
    for field in fields.iter().take(FIELDS) {
        let reference = format!("{whole}.{}", field.name);
        rows.push(json!({
            "ref": reference, "label": clip(&field.label, 80), "type": field.kind, "required": field.required,
            "references": field.references,
        }));
        let quote = match &field.description {
            Some(text) => format!("{} ({}): {}", field.name, field.kind, clip(text, 200)),
            None => format!("{} ({})", field.name, field.kind),
        };
        let mut source = source(&org, "CustomObject", &name, quote, String::new());
        source.title = format!("{name}.{}", field.name);
        brought.sources.push((reference, source));
    }
    let all = format!("{} fields", component.fields.len());
    brought.sources.push((whole.clone(), source(&org, "CustomObject", &name, all, String::new())));
    brought.json =
        json!({ "ref": whole, "total": fields.len(), "truncated": fields.len() > FIELDS, "fields": rows });
    Ok(brought)
}

/// An object by its name, letter case aside.
fn find(scope: &Scope, id: crate::ids::OrgId, object: &str) -> Result<Option<(String, Component)>, Failed> {
    let read = scope.ws.read()?;
    let exact = read.get(&COMPONENTS, &(id, "CustomObject".to_owned(), object.to_owned()))?;
    if let Some(component) = exact {
        return Ok(Some((object.to_owned(), component)));
    }
    let mut found = None;
    read.scan(&COMPONENTS).under(&(id, "CustomObject".to_owned())).each(|key, component| {
        if key.2.eq_ignore_ascii_case(object) {
            found = Some((key.2, component));
        }
        found.is_none()
    })?;
    Ok(found)
}

pub fn source(org: &Org, kind: &str, name: &str, quote: String, text: String) -> Source {
    let name_in_path: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    Source {
        kind: kind.to_owned(),
        title: name.to_owned(),
        href: format!("o/{}/metadata/{kind}/{}", org.slug, name_in_path.replace('+', "%20")),
        quote,
        text,
        ..Source::default()
    }
}
