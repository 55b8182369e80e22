//! JSON Schema (2020-12), the part that bundles use: what describes the records of a table, and what checks a record
//! against its description.

use serde_json::{Map, Value, json};

/// An id of 26 base32 characters.
pub fn id() -> Value {
    json!({ "type": "string", "minLength": 26, "maxLength": 26 })
}

pub fn text() -> Value {
    json!({ "type": "string" })
}

/// A whole number from 0.
pub fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

pub fn flag() -> Value {
    json!({ "type": "boolean" })
}

/// A moment, RFC 3339.
pub fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// Any JSON: what stands there is another's format.
pub fn any() -> Value {
    json!({})
}

/// An object whose fields are another's.
pub fn free() -> Value {
    json!({ "type": "object" })
}

/// This, or null.
pub fn maybe(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

pub fn either(schemas: &[Value]) -> Value {
    json!({ "anyOf": schemas })
}

pub fn list(schema: Value) -> Value {
    json!({ "type": "array", "items": schema })
}

/// An object with keys of any name.
pub fn map(schema: Value) -> Value {
    json!({ "type": "object", "additionalProperties": schema })
}

/// One of these words.
pub fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// A field of an object; a name that ends with `?` may be missing.
pub type Field = (&'static str, Value);

/// An object of exactly these fields.
pub fn object(fields: impl IntoIterator<Item = Field>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, schema) in fields {
        let plain = name.trim_end_matches('?');
        if plain == name {
            required.push(plain);
        }
        properties.insert(plain.to_owned(), schema);
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// Checks a value; answers where it does not fit, as a path such as `/citations/0/n`.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let Some(schema) = schema.as_object() else { return Ok(()) };
    if let Some(kinds) = schema.get("anyOf").and_then(Value::as_array) {
        let fits = kinds.iter().any(|kind| check(kind, value).is_ok());
        return if fits { Ok(()) } else { Err(String::new()) };
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return if words.contains(value) { Ok(()) } else { Err(String::new()) };
    }
    let fits = match schema.get("type").and_then(Value::as_str) {
        None => true,
        Some("array") => return check_list(schema, value),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.as_u64().is_some() || (value.is_i64() && !schema.contains_key("minimum")),
        Some("null") => value.is_null(),
        Some("object") => return check_object(schema, value),
        Some("string") => value.as_str().is_some_and(|text| check_text(schema, text)),
        Some(_) => false,
    };
    if fits { Ok(()) } else { Err(String::new()) }
}

fn check_text(schema: &Map<String, Value>, text: &str) -> bool {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    let long = text.chars().count() as u64;
    let is_time = schema.get("format").and_then(Value::as_str) == Some("date-time");
    bound("minLength").is_none_or(|least| long >= least)
        && bound("maxLength").is_none_or(|most| long <= most)
        && (!is_time || text.parse::<jiff::Timestamp>().is_ok())
}

fn check_list(schema: &Map<String, Value>, value: &Value) -> Result<(), String> {
    let items = value.as_array().ok_or_else(String::new)?;
    let Some(of) = schema.get("items") else { return Ok(()) };
    items.iter().enumerate().try_for_each(|(n, item)| check(of, item).map_err(|at| format!("/{n}{at}")))
}

fn check_object(schema: &Map<String, Value>, value: &Value) -> Result<(), String> {
    let object = value.as_object().ok_or_else(String::new)?;
    let properties = schema.get("properties").and_then(Value::as_object);
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        if !object.contains_key(name) {
            return Err(format!("/{name}"));
        }
    }
    for (name, value) in object {
        let known = properties.and_then(|p| p.get(name));
        let of = known.or_else(|| schema.get("additionalProperties"));
        match of {
            Some(Value::Bool(false)) => return Err(format!("/{name}")),
            Some(of) => check(of, value).map_err(|at| format!("/{name}{at}"))?,
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_does_not_fit_is_named_by_its_path() {
        let schema = object([
            ("id", id()),
            ("at", time()),
            ("notes", list(object([("n", number()), ("more?", text())]))),
            ("state", one_of(&["on", "off"])),
            ("by", maybe(id())),
        ]);
        let good = json!({
            "id": "01m8502e5c5z16kwvzypsnvxp3", "at": "2026-11-24T09:00:00Z", "notes": [{ "n": 1 }], "state": "on", "by": null,
        });
        assert_eq!(check(&schema, &good), Ok(()));
        let bad = |change: fn(&mut Value)| {
            let mut value = good.clone();
            change(&mut value);
            check(&schema, &value).unwrap_err()
        };
        assert_eq!(bad(|v| v["id"] = json!("01")), "/id");
        assert_eq!(bad(|v| v["at"] = json!("yesterday")), "/at");
        assert_eq!(bad(|v| v["notes"][0]["n"] = json!(-1)), "/notes/0/n");
        assert_eq!(bad(|v| v["notes"][0]["odd"] = json!(1)), "/notes/0/odd");
        assert_eq!(bad(|v| v["state"] = json!("maybe")), "/state");
        assert_eq!(bad(|v| v["by"] = json!(7)), "/by");
        assert_eq!(bad(|v| drop(v.as_object_mut().unwrap().remove("by"))), "/by");
    }
}
