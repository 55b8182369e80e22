//! Objects as the data API lists and describes them.

use serde_json::{Value, json};

use super::rest::Refused;
use super::state::Org;

const STANDARD: [(&str, &str, &str); 8] = [
    ("Account", "Account", "001"),
    ("Asset", "Asset", "02i"),
    ("Case", "Case", "500"),
    ("Contact", "Contact", "003"),
    ("Contract", "Contract", "800"),
    ("Lead", "Lead", "00Q"),
    ("Opportunity", "Opportunity", "006"),
    ("User", "User", "005"),
];

fn brief(name: &str, label: &str, prefix: &str) -> Value {
    let url = format!("/services/data/v{}/sobjects/{name}", super::API_VERSION);
    json!({
        "name": name, "label": label, "labelPlural": format!("{label}s"), "custom": name.ends_with("__c"),
        "keyPrefix": prefix, "queryable": true, "createable": true, "layoutable": true, "customSetting": false,
        "activateable": false, "associateEntityType": null, "associateParentEntity": null, "deepCloneable": false,
        "deletable": true, "deprecatedAndHidden": false, "feedEnabled": false, "hasSubtypes": false,
        "isInterface": false, "isSubtype": false, "mergeable": false, "mruEnabled": true, "replicateable": true,
        "retrieveable": true, "searchable": true, "triggerable": true, "undeletable": true, "updateable": true,
        "urls": { "sobject": url, "describe": format!("{url}/describe"), "rowTemplate": format!("{url}/{{ID}}") },
    })
}

pub fn list(org: &Org) -> Value {
    let standard = STANDARD.iter().map(|(name, label, prefix)| brief(name, label, prefix));
    let custom =
        org.components.iter().filter(|((kind, name), _)| kind == "CustomObject" && name.ends_with("__c"));
    let custom = custom.enumerate().map(|(n, ((_, name), c))| {
        let label = element(&c.source, "label").unwrap_or_else(|| name.clone());
        brief(name, &label, &custom_prefix(n))
    });
    let all: Vec<Value> = standard.chain(custom).collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": all })
}

/// `a00` and on: two digits of 36.
fn custom_prefix(n: usize) -> String {
    let digit = |n: usize| char::from_digit((n % 36) as u32, 36).unwrap_or('0');
    format!("a{}{}", digit(n / 36), digit(n))
}

/// The text of the first `<name>` behind the fields of an object file.
fn element(source: &str, name: &str) -> Option<String> {
    let outside = source.rsplit("</fields>").next()?;
    let rest = outside.split(&format!("<{name}>")).nth(1)?;
    Some(rest.split('<').next()?.to_owned())
}

/// An object without its fields.
pub fn basic(org: &Org, name: &str) -> Result<Value, Refused> {
    let mut body = describe(org, name)?;
    if let Some(body) = body.as_object_mut() {
        body.remove("fields");
    }
    Ok(json!({ "objectDescribe": body, "recentItems": [] }))
}

/// An object with its fields.
pub fn describe(org: &Org, name: &str) -> Result<Value, Refused> {
    let component = org.components.get(&("CustomObject".to_owned(), name.to_owned()));
    let label = STANDARD.iter().find(|s| s.0 == name).map(|s| s.1.to_owned());
    let label = label.or_else(|| component.and_then(|c| element(&c.source, "label")));
    let label = label.ok_or_else(Refused::not_found)?;
    let standard = [
        ("Id", "id", "Record ID"),
        ("Name", "string", "Name"),
        ("OwnerId", "reference", "Owner ID"),
        ("CreatedDate", "datetime", "Created Date"),
        ("LastModifiedDate", "datetime", "Last Modified Date"),
    ];
    let mut fields: Vec<Value> = standard
        .iter()
        .map(|(name, kind, label)| {
            let target: &[&str] = if *kind == "reference" { &["User"] } else { &[] };
            json!({ "name": name, "type": kind, "label": label, "custom": false, "nillable": false, "referenceTo": target, "length": 0 })
        })
        .collect();
    for field in component.iter().flat_map(|c| c.source.split("<fields>").skip(1)) {
        let field = field.split("</fields>").next().unwrap_or_default();
        let part = |name: &str| field.split(&format!("<{name}>")).nth(1).and_then(|r| r.split('<').next());
        let kind = describe_type(part("type").unwrap_or("Text"));
        fields.push(json!({
            "name": part("fullName"), "type": kind, "label": part("label"),
            "custom": true, "nillable": part("required") != Some("true"),
            "referenceTo": part("referenceTo").into_iter().collect::<Vec<_>>(), "length": 0,
        }));
    }
    let mut body = brief(name, &label, "000");
    body["fields"] = Value::Array(fields);
    body["childRelationships"] = json!([]);
    body["recordTypeInfos"] = json!([]);
    Ok(body)
}

/// What describe calls a field type of the Metadata API.
fn describe_type(metadata: &str) -> String {
    match metadata {
        "AutoNumber" | "Text" => "string".into(),
        "Checkbox" => "boolean".into(),
        "EncryptedText" => "encryptedstring".into(),
        "Html" | "LongTextArea" => "textarea".into(),
        "Hierarchy" | "Lookup" | "MasterDetail" => "reference".into(),
        "MultiselectPicklist" => "multipicklist".into(),
        "Number" | "Summary" => "double".into(),
        other => other.to_lowercase(),
    }
}
