//! The REST and Tooling API, as far as a sync and its clients call it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fixture::user_id;
use super::state::{DAILY_CALLS, Org, Row, rest_time};
use super::{API_VERSION, Sim, oauth, soql};

const PAGE: usize = 2_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/services/data", web::get().to(versions))
        .route("/services/data/{version}", web::get().to(root))
        .route("/services/data/{version}/limits", web::get().to(limits))
        .route("/services/data/{version}/sobjects", web::get().to(sobjects))
        .route("/services/data/{version}/sobjects/{name}/describe", web::get().to(describe))
        .route("/services/data/{version}/query", web::get().to(query))
        .route("/services/data/{version}/query/{locator}", web::get().to(more))
        .route("/services/data/{version}/tooling/query", web::get().to(tooling_query))
        .route("/services/data/{version}/tooling/query/{locator}", web::get().to(more))
        .default_service(web::to(|| async {
            error(404, "NOT_FOUND", "The requested resource does not exist")
        }));
}

pub fn error(status: u16, code: &str, message: &str) -> HttpResponse {
    let status =
        actix_web::http::StatusCode::from_u16(status).unwrap_or(actix_web::http::StatusCode::BAD_REQUEST);
    HttpResponse::build(status).json(json!([{ "message": message, "errorCode": code }]))
}

/// Counts the call and refuses as the real API does; the answer of a good call carries the usage header.
#[expect(clippy::result_large_err, reason = "the refusal is the answer, made once a call")]
pub fn counted(sim: &Sim, request: &HttpRequest) -> Result<(), HttpResponse> {
    if !oauth::authorised(sim, request) {
        return Err(error(401, "INVALID_SESSION_ID", "Session expired or invalid"));
    }
    let mut org = sim.org();
    if let Some((left, status)) = org.faults.fail_next
        && left > 0
    {
        org.faults.fail_next = Some((left - 1, status));
        return Err(error(
            status,
            "SERVER_UNAVAILABLE",
            "The server is too busy to respond to this request.",
        ));
    }
    if org.remaining_calls() == 0 {
        return Err(error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."));
    }
    org.calls += 1;
    Ok(())
}

pub fn good(org: &Org, body: &Value) -> HttpResponse {
    let used = DAILY_CALLS - org.remaining_calls();
    HttpResponse::Ok()
        .insert_header(("Sforce-Limit-Info", format!("api-usage={used}/{DAILY_CALLS}")))
        .json(body)
}

async fn versions() -> HttpResponse {
    let versions: Vec<Value> = (31..=67)
        .map(|n| json!({ "label": format!("Version {n}"), "url": format!("/services/data/v{n}.0"), "version": format!("{n}.0") }))
        .collect();
    HttpResponse::Ok().json(versions)
}

async fn root(sim: web::Data<Sim>, request: HttpRequest) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let org = sim.org();
    let path = format!("/services/data/v{API_VERSION}");
    let identity = format!("{}id/{}/{}", sim.0.base, org.id, user_id(4));
    good(
        &org,
        &json!({
            "sobjects": format!("{path}/sobjects"), "query": format!("{path}/query"),
            "limits": format!("{path}/limits"), "tooling": format!("{path}/tooling"), "identity": identity,
        }),
    )
}

async fn limits(sim: web::Data<Sim>, request: HttpRequest) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let org = sim.org();
    good(&org, &org.limits())
}

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
    json!({
        "name": name, "label": label, "labelPlural": format!("{label}s"), "custom": name.ends_with("__c"),
        "keyPrefix": prefix, "queryable": true, "createable": true, "layoutable": true, "customSetting": false,
    })
}

async fn sobjects(sim: web::Data<Sim>, request: HttpRequest) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let org = sim.org();
    let standard = STANDARD.iter().map(|(name, label, prefix)| brief(name, label, prefix));
    let custom =
        org.components.iter().filter(|((kind, name), _)| kind == "CustomObject" && name.ends_with("__c"));
    let custom = custom.enumerate().map(|(n, ((_, name), c))| {
        brief(name, &element(&c.source, "label").unwrap_or_else(|| name.clone()), &format!("a{n:02}"))
    });
    let all: Vec<Value> = standard.chain(custom).collect();
    good(&org, &json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": all }))
}

/// The text of the first `<name>` behind the fields of an object file.
fn element(source: &str, name: &str) -> Option<String> {
    let outside = source.rsplit("</fields>").next()?;
    let rest = outside.split(&format!("<{name}>")).nth(1)?;
    Some(rest.split('<').next()?.to_owned())
}

async fn describe(
    sim: web::Data<Sim>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let org = sim.org();
    let name = &path.1;
    let component = org.components.get(&("CustomObject".to_owned(), name.clone()));
    let label = STANDARD.iter().find(|s| s.0 == name).map(|s| s.1.to_owned());
    let label = label.or_else(|| component.and_then(|c| element(&c.source, "label")));
    let Some(label) = label else {
        return error(404, "NOT_FOUND", "The requested resource does not exist");
    };
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
    good(&org, &body)
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

#[derive(Deserialize)]
struct Soql {
    q: String,
}

async fn query(sim: web::Data<Sim>, request: HttpRequest, params: web::Query<Soql>) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let mut org = sim.org();
    let rows = |org: &Org, from: &str| {
        org.rows
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(from))
            .map(|(name, rows)| ((*name).to_owned(), rows.clone()))
    };
    run(&mut org, &params.q, rows, "query")
}

async fn tooling_query(sim: web::Data<Sim>, request: HttpRequest, params: web::Query<Soql>) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let mut org = sim.org();
    run(&mut org, &params.q, tooling_rows, "tooling/query")
}

fn tooling_rows(org: &Org, from: &str) -> Option<(String, Vec<Row>)> {
    let kind = ["ApexClass", "ApexTrigger"].into_iter().find(|k| k.eq_ignore_ascii_case(from));
    let of_kind = |wanted: &'static str| org.components.iter().filter(move |((kind, _), _)| kind == wanted);
    if let Some(kind) = kind {
        let rows = of_kind(kind).map(|((_, name), c)| {
            let by = org.users[c.modified_by].0;
            object(json!({
                "Id": c.id, "Name": name, "ApiVersion": 67.0, "Status": "Active", "IsValid": true, "NamespacePrefix": null,
                "Body": c.source, "LengthWithoutComments": c.source.len(), "CreatedDate": rest_time(c.created),
                "LastModifiedDate": rest_time(c.modified), "LastModifiedBy": { "Name": by },
            }))
        });
        return Some((kind.to_owned(), rows.collect()));
    }
    if from.eq_ignore_ascii_case("FlowDefinition") {
        let rows = of_kind("Flow").map(|((_, name), c)| {
            let active = c.source.contains("<status>Active</status>");
            object(json!({
                "Id": c.id.replacen("301", "300", 1), "DeveloperName": name, "ActiveVersionId": active.then(|| c.id.clone()),
                "LatestVersionId": c.id, "LastModifiedDate": rest_time(c.modified),
            }))
        });
        return Some(("FlowDefinition".into(), rows.collect()));
    }
    if from.eq_ignore_ascii_case("ApexCodeCoverageAggregate") {
        // Declared: a class is covered as far as some test names it.
        let tests: String = of_kind("ApexClass")
            .filter(|(_, c)| c.source.contains("@IsTest"))
            .map(|(_, c)| c.source.as_str())
            .collect();
        let rows =
            of_kind("ApexClass").filter(|(_, c)| !c.source.contains("@IsTest")).map(|((_, name), c)| {
                let lines = c.source.lines().filter(|l| l.trim_end().ends_with(';')).count();
                let covered = if tests.contains(name.as_str()) { lines * 4 / 5 } else { 0 };
                object(json!({
                    "ApexClassOrTriggerId": c.id, "ApexClassOrTrigger": { "Name": name },
                    "NumLinesCovered": covered, "NumLinesUncovered": lines - covered,
                }))
            });
        return Some(("ApexCodeCoverageAggregate".into(), rows.collect()));
    }
    None
}

fn object(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}

fn run(
    org: &mut Org,
    text: &str,
    rows: impl Fn(&Org, &str) -> Option<(String, Vec<Row>)>,
    path: &str,
) -> HttpResponse {
    let parsed = match soql::parse(text) {
        Ok(parsed) => parsed,
        Err(message) => return error(400, "MALFORMED_QUERY", &message),
    };
    let Some((name, found)) = rows(org, &parsed.from) else {
        let message = format!("sObject type '{}' is not supported.", parsed.from);
        return error(400, "INVALID_TYPE", &message);
    };
    let result = match soql::run(&parsed, &name, found) {
        Ok(result) => result,
        Err(message) => return error(400, "INVALID_FIELD", &message),
    };
    if parsed.count {
        return good(org, &json!({ "totalSize": result.len(), "done": true, "records": [] }));
    }
    let total = json!(result.len());
    page(org, total, result, path)
}

fn page(org: &mut Org, total: Value, mut rows: Vec<Row>, path: &str) -> HttpResponse {
    let rest = rows.split_off(rows.len().min(PAGE));
    let mut body = json!({ "totalSize": total, "done": rest.is_empty(), "records": rows });
    if !rest.is_empty() {
        let locator = org.new_id("01g");
        body["nextRecordsUrl"] = json!(format!("/services/data/v{API_VERSION}/{path}/{locator}-2000"));
        org.locators.push_back((locator, total, rest));
        if org.locators.len() > 20 {
            org.locators.pop_front();
        }
    }
    good(org, &body)
}

async fn more(sim: web::Data<Sim>, request: HttpRequest, path: web::Path<(String, String)>) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let mut org = sim.org();
    let wanted = path.1.split('-').next().unwrap_or_default().to_owned();
    let Some(at) = org.locators.iter().position(|(locator, ..)| *locator == wanted) else {
        return error(400, "INVALID_QUERY_LOCATOR", "invalid query locator");
    };
    let Some((_, total, rows)) = org.locators.remove(at) else {
        return error(400, "INVALID_QUERY_LOCATOR", "invalid query locator");
    };
    let kind = if request.path().contains("/tooling/") { "tooling/query" } else { "query" };
    page(&mut org, total, rows, kind)
}
