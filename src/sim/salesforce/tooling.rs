//! Rows of the Tooling API, made from what the org holds.

use serde_json::{Value, json};

use super::deploy::testing::{self, Covered};
use super::rest::Refused;
use super::state::{Component, Org, Row, rest_time};

type Held<'o> = (&'o str, &'o Component);
type Make = fn(&Org, Held<'_>) -> Vec<Value>;

/// Name of the object, type of the components it shows, and how.
const SHOWN: [(&str, &str, Make); 11] = [
    ("ApexClass", "ApexClass", |org, held| vec![apex(org, held)]),
    ("ApexTrigger", "ApexTrigger", |org, held| vec![trigger(org, held)]),
    ("AuraDefinition", "AuraDefinitionBundle", |_, held| resources(held, "AuraDefinitionBundleId")),
    ("AuraDefinitionBundle", "AuraDefinitionBundle", |org, held| vec![bundle(org, held)]),
    ("CustomField", "CustomObject", |org, held| fields(org, held)),
    ("CustomObject", "CustomObject", |org, held| vec![custom_object(org, held)]),
    ("Flow", "Flow", |org, held| vec![flow(org, held)]),
    ("FlowDefinition", "Flow", |org, held| vec![flow_definition(org, held)]),
    ("LightningComponentBundle", "LightningComponentBundle", |org, held| vec![bundle(org, held)]),
    ("LightningComponentResource", "LightningComponentBundle", |_, held| {
        resources(held, "LightningComponentBundleId")
    }),
    ("PermissionSet", "PermissionSet", |org, held| vec![permission_set(org, held)]),
];
const MADE: [&str; 2] = ["ApexCodeCoverageAggregate", "ApexOrgWideCoverage"];

/// The rows of an object of the Tooling API; `None` when there is no such object.
pub fn rows(org: &Org, from: &str) -> Option<(String, Vec<Row>)> {
    if let Some((name, kind, make)) = SHOWN.iter().find(|(name, ..)| name.eq_ignore_ascii_case(from)) {
        let held = org.components.iter().filter(|((k, _), _)| k == kind);
        let rows = held.flat_map(|((_, name), component)| make(org, (name, component)));
        return Some(((*name).to_owned(), rows.filter_map(object).collect()));
    }
    let name = MADE.iter().find(|name| name.eq_ignore_ascii_case(from))?;
    Some(((*name).to_owned(), coverage(org, name).into_iter().filter_map(object).collect()))
}

/// Objects that the data API shows too.
pub fn shared_rows(org: &Org, from: &str) -> Option<(String, Vec<Row>)> {
    let shared = ["ApexClass", "ApexTrigger", "PermissionSet"];
    shared.iter().any(|name| name.eq_ignore_ascii_case(from)).then(|| rows(org, from)).flatten()
}

/// `/tooling/sobjects`.
pub fn list() -> Value {
    let names = SHOWN.iter().map(|(name, ..)| *name).chain(MADE);
    let all: Vec<Value> = names
        .map(|name| {
            let url = format!("/services/data/v{}/tooling/sobjects/{name}", super::API_VERSION);
            json!({ "name": name, "label": name, "queryable": true, "urls": { "sobject": url, "describe": format!("{url}/describe") } })
        })
        .collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": all })
}

/// The fields of an object are those of its rows.
pub fn describe(org: &Org, name: &str) -> Result<Value, Refused> {
    let (name, rows) = rows(org, name).ok_or_else(Refused::not_found)?;
    let fields: Vec<Value> = rows
        .first()
        .into_iter()
        .flatten()
        .map(|(field, value)| {
            let kind = match value {
                Value::Bool(_) => "boolean",
                Value::Number(_) => "double",
                _ if field == "Id" => "id",
                _ => "string",
            };
            json!({ "name": field, "label": field, "type": kind, "custom": false, "nillable": true, "referenceTo": [] })
        })
        .collect();
    Ok(
        json!({ "name": name, "label": name, "queryable": true, "custom": false, "keyPrefix": null, "fields": fields }),
    )
}

fn object(value: Value) -> Option<Row> {
    match value {
        Value::Object(row) => Some(row),
        _ => None,
    }
}

/// What every component has.
fn stamped(org: &Org, c: &Component, mut row: Value) -> Value {
    row["NamespacePrefix"] = Value::Null;
    row["ManageableState"] = json!("unmanaged");
    row["CreatedDate"] = json!(rest_time(c.created));
    row["LastModifiedDate"] = json!(rest_time(c.modified));
    row["LastModifiedBy"] = json!({ "Name": org.users[c.modified_by].0 });
    row
}

fn version(c: &Component) -> f64 {
    let text = c.meta.as_deref().unwrap_or(&c.source);
    part(text, "apiVersion").and_then(|v| v.parse().ok()).unwrap_or(67.0)
}

fn part<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.split(&format!("<{name}>")).nth(1).and_then(|rest| rest.split('<').next())
}

fn apex(org: &Org, (name, c): Held<'_>) -> Value {
    let row = json!({
        "Id": c.id, "Name": name, "ApiVersion": version(c), "Status": "Active", "IsValid": true, "Body": c.source,
        "LengthWithoutComments": c.source.len(),
    });
    stamped(org, c, row)
}

fn trigger(org: &Org, (name, c): Held<'_>) -> Value {
    let mut row = apex(org, (name, c));
    let head = c.source.split('{').next().unwrap_or_default().to_lowercase();
    for (field, event) in [
        ("UsageBeforeInsert", "before insert"),
        ("UsageAfterInsert", "after insert"),
        ("UsageBeforeUpdate", "before update"),
        ("UsageAfterUpdate", "after update"),
        ("UsageBeforeDelete", "before delete"),
        ("UsageAfterDelete", "after delete"),
        ("UsageAfterUndelete", "after undelete"),
    ] {
        row[field] = json!(head.contains(event));
    }
    row["TableEnumOrId"] = json!(crate::apex::outline(&c.source).and_then(|o| o.trigger).map(|t| t.object));
    row
}

fn bundle(org: &Org, (name, c): Held<'_>) -> Value {
    let meta = c.meta.as_deref().unwrap_or_default();
    let row = json!({
        "Id": c.id, "DeveloperName": name, "MasterLabel": part(meta, "masterLabel").unwrap_or(name),
        "ApiVersion": version(c), "Description": part(meta, "description"),
        "IsExposed": part(meta, "isExposed") == Some("true"),
    });
    stamped(org, c, row)
}

fn resources((_, c): Held<'_>, parent: &str) -> Vec<Value> {
    let main = std::iter::once((&c.file, &c.source)).filter(|(_, source)| !source.is_empty());
    main.chain(&c.extra)
        .map(|(path, source)| {
            let format = path.rsplit('.').next().unwrap_or_default();
            json!({ "Id": c.id, parent: c.id, "FilePath": path, "Format": format, "DefType": format.to_uppercase(), "Source": source })
        })
        .collect()
}

fn fields(org: &Org, (name, c): Held<'_>) -> Vec<Value> {
    let each = c.source.split("<fields>").skip(1).filter_map(|text| {
        let full = part(text, "fullName")?.strip_suffix("__c")?;
        let row = json!({
            "Id": c.id, "DeveloperName": full, "TableEnumOrId": name,
            "EntityDefinition": { "QualifiedApiName": name },
        });
        Some(stamped(org, c, row))
    });
    each.collect()
}

fn custom_object(org: &Org, (name, c): Held<'_>) -> Value {
    stamped(org, c, json!({ "Id": c.id, "DeveloperName": name.trim_end_matches("__c") }))
}

fn flow(org: &Org, (name, c): Held<'_>) -> Value {
    let text = |element| part(&c.source, element);
    let row = json!({
        "Id": c.id, "DefinitionId": definition_id(c), "MasterLabel": text("interviewLabel").unwrap_or(name),
        "Status": text("status"), "VersionNumber": 1, "ProcessType": text("processType"), "ApiVersion": version(c),
        "FullName": format!("{name}-1"),
    });
    stamped(org, c, row)
}

fn flow_definition(org: &Org, (name, c): Held<'_>) -> Value {
    let active = c.source.contains("<status>Active</status>");
    let row = json!({
        "Id": definition_id(c), "DeveloperName": name, "ActiveVersionId": active.then_some(&c.id),
        "LatestVersionId": c.id, "ApiVersion": version(c), "Description": part(&c.source, "description"),
    });
    stamped(org, c, row)
}

fn definition_id(c: &Component) -> String {
    c.id.replacen("301", "300", 1)
}

fn permission_set(org: &Org, (name, c): Held<'_>) -> Value {
    let row = json!({
        "Id": c.id, "Name": name, "Label": part(&c.source, "label"), "IsCustom": true, "IsOwnedByProfile": false,
    });
    stamped(org, c, row)
}

/// As deploys count it, with all local tests.
fn coverage(org: &Org, name: &str) -> Vec<Value> {
    let sources = org.components.iter().map(|(key, c)| (key.clone(), c.source.clone())).collect();
    let tests: Vec<String> = testing::tests_in(&sources).map(|(name, _)| name.to_owned()).collect();
    let covered = testing::coverage(&sources, &tests);
    if name == "ApexOrgWideCoverage" {
        let lines: usize = covered.iter().map(|c| c.lines).sum();
        let missed: usize = covered.iter().map(|c| c.uncovered.len()).sum();
        return vec![json!({ "PercentCovered": (lines - missed) * 100 / lines.max(1) })];
    }
    let row = |c: &Covered| {
        let kind = if c.is_trigger { "ApexTrigger" } else { "ApexClass" };
        let id = org.components.get(&(kind.to_owned(), c.name.clone())).map(|c| c.id.clone());
        json!({
            "ApexClassOrTriggerId": id, "ApexClassOrTrigger": { "Name": c.name },
            "NumLinesCovered": c.lines - c.uncovered.len(), "NumLinesUncovered": c.uncovered.len(),
            "Coverage": { "coveredLines": [], "uncoveredLines": c.uncovered },
        })
    };
    covered.iter().map(row).collect()
}
