//! The REST and Tooling API for reading, as far as a sync and common clients call it. `resource` answers a path;
//! `composite` asks it too.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::http::header::{IF_MODIFIED_SINCE, LAST_MODIFIED};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::fixture::user_id;
use super::state::{DAILY_CALLS, Org, Row};
use super::{API_VERSION, Sim, oauth, objects, soql, tooling};

const PAGE: usize = 2_000;
/// First and last version that is served.
const VERSIONS: std::ops::RangeInclusive<u32> = 31..=67;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/services/data", web::get().to(versions))
        .route("/services/data/", web::get().to(versions))
        .route("/services/data/{version}", web::get().to(read))
        .route("/services/data/{version}/{rest:.*}", web::get().to(read))
        .default_service(web::to(|| async { Refused::not_found().response() }));
}

/// A refusal: status, code and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub u16, pub &'static str, pub String);

impl Refused {
    pub fn not_found() -> Self {
        Self(404, "NOT_FOUND", "The requested resource does not exist".into())
    }

    /// As the body of an answer.
    pub fn body(&self) -> Value {
        json!([{ "message": self.2, "errorCode": self.1 }])
    }

    fn response(&self) -> HttpResponse {
        error(self.0, self.1, &self.2)
    }
}

pub fn error(status: u16, code: &str, message: &str) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
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
    count(&mut org).map_err(|refused| refused.response())
}

/// Counts one call against the limit of the day.
pub fn count(org: &mut Org) -> Result<(), Refused> {
    if org.remaining_calls() == 0 {
        return Err(Refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.".into()));
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
    let versions: Vec<Value> = VERSIONS
        .map(|n| json!({ "label": format!("Version {n}"), "url": format!("/services/data/v{n}.0"), "version": format!("{n}.0") }))
        .collect();
    HttpResponse::Ok().json(versions)
}

type Params = HashMap<String, String>;

async fn read(sim: web::Data<Sim>, request: HttpRequest, params: web::Query<Params>) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let mut org = sim.org();
    let body = match resource(&mut org, sim.0.base.as_str(), request.path(), &params) {
        Ok(body) => body,
        Err(refused) => return refused.response(),
    };
    let mut answer = good(&org, &body);
    if request.path().ends_with("/describe") {
        // Times are compared as texts of one form: clients send back what they were given.
        let modified = org.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let known = request.headers().get(IF_MODIFIED_SINCE).and_then(|v| v.to_str().ok());
        if known == Some(modified.as_str()) {
            return HttpResponse::NotModified().finish();
        }
        if let Ok(value) = modified.parse() {
            answer.headers_mut().insert(LAST_MODIFIED, value);
        }
    }
    answer
}

/// The body at a path of `/services/data/vXX.0/…`.
pub fn resource(org: &mut Org, base: &str, path: &str, params: &Params) -> Result<Value, Refused> {
    let rest = path.strip_prefix("/services/data/v").ok_or_else(Refused::not_found)?;
    let mut parts = rest.split('/').filter(|p| !p.is_empty());
    let version: f64 = parts.next().and_then(|v| v.parse().ok()).ok_or_else(Refused::not_found)?;
    if !VERSIONS.contains(&(version as u32)) {
        return Err(Refused(
            410,
            "UNSUPPORTED_API_VERSION",
            "The requested API version is not supported.".into(),
        ));
    }
    let parts: Vec<&str> = parts.collect();
    match parts.as_slice() {
        [] => Ok(root(org, base)),
        ["limits"] => Ok(org.limits()),
        ["sobjects"] => Ok(objects::list(org)),
        ["sobjects", name] => objects::basic(org, name),
        ["sobjects", name, "describe"] => objects::describe(org, name),
        ["sobjects", name, id] => one(data_rows(org, name), id),
        ["query" | "queryAll"] => query(org, params, data_rows, "query"),
        ["query" | "queryAll", locator] => more(org, locator, "query"),
        ["tooling", "query"] => query(org, params, tooling::rows, "tooling/query"),
        ["tooling", "query", locator] => more(org, locator, "tooling/query"),
        ["tooling", "sobjects"] => Ok(tooling::list()),
        ["tooling", "sobjects", name, "describe"] => tooling::describe(org, name),
        ["tooling", "sobjects", name, id] => one(tooling::rows(org, name), id),
        _ => Err(Refused::not_found()),
    }
}

fn root(org: &Org, base: &str) -> Value {
    let path = format!("/services/data/v{API_VERSION}");
    json!({
        "sobjects": format!("{path}/sobjects"), "query": format!("{path}/query"), "queryAll": format!("{path}/queryAll"),
        "limits": format!("{path}/limits"), "tooling": format!("{path}/tooling"),
        "composite": format!("{path}/composite"), "identity": format!("{base}id/{}/{}", org.id, user_id(4)),
    })
}

fn data_rows(org: &Org, from: &str) -> Option<(String, Vec<Row>)> {
    let held = org.rows.iter().find(|(name, _)| name.eq_ignore_ascii_case(from));
    held.map(|(name, rows)| ((*name).to_owned(), rows.clone())).or_else(|| tooling::shared_rows(org, from))
}

/// One row by its id.
fn one(rows: Option<(String, Vec<Row>)>, id: &str) -> Result<Value, Refused> {
    let (name, rows) = rows.ok_or_else(Refused::not_found)?;
    let same = |row: &Row| row.get("Id").and_then(Value::as_str).is_some_and(|i| i.get(..15) == id.get(..15));
    let mut row = rows.into_iter().find(same).filter(|_| id.len() >= 15).ok_or_else(Refused::not_found)?;
    row.insert("attributes".into(), attributes(&name, id));
    Ok(Value::Object(row))
}

fn attributes(name: &str, id: &str) -> Value {
    json!({ "type": name, "url": format!("/services/data/v{API_VERSION}/sobjects/{name}/{id}") })
}

fn query(
    org: &mut Org,
    params: &Params,
    rows: impl Fn(&Org, &str) -> Option<(String, Vec<Row>)>,
    path: &str,
) -> Result<Value, Refused> {
    let text = params.get("q").map(String::as_str).unwrap_or_default();
    let parsed = soql::parse(text).map_err(|message| Refused(400, "MALFORMED_QUERY", message))?;
    let Some((name, found)) = rows(org, &parsed.from) else {
        return Err(Refused(
            400,
            "INVALID_TYPE",
            format!("sObject type '{}' is not supported.", parsed.from),
        ));
    };
    if params.get("columns").is_some_and(|c| c == "true") {
        return Ok(columns(&parsed.fields, &name));
    }
    let mut result =
        soql::run(&parsed, &name, found).map_err(|message| Refused(400, "INVALID_FIELD", message))?;
    if parsed.count {
        return Ok(json!({ "totalSize": result.len(), "done": true, "records": [] }));
    }
    for row in &mut result {
        if let Some(id) = row.get("Id").and_then(Value::as_str).map(str::to_owned) {
            row.insert("attributes".into(), attributes(&name, &id));
        }
    }
    let total = result.len();
    let mut body = page(org, total, result, path);
    if path.starts_with("tooling") {
        body["entityTypeName"] = json!(name);
        body["size"] = json!(body["records"].as_array().map_or(0, Vec::len));
    }
    Ok(body)
}

/// What `sf data query` asks for behind every query.
fn columns(fields: &[String], name: &str) -> Value {
    let column = |field: &String| {
        let (head, inner) = field.split_once('.').map_or((field.as_str(), None), |(h, i)| (h, Some(i)));
        let joins: Vec<Value> =
            inner.map(|i| json!({ "columnName": i, "joinColumns": [] })).into_iter().collect();
        json!({
            "aggregate": false, "apexType": "String", "booleanType": false, "columnName": head, "custom": head.ends_with("__c"),
            "displayName": head, "foreignKeyName": null, "insertable": true, "joinColumns": joins, "numberType": false,
            "textType": true, "updatable": true,
        })
    };
    json!({
        "columnMetadata": fields.iter().map(column).collect::<Vec<_>>(), "entityName": name, "groupBy": false,
        "idSelected": fields.iter().any(|f| f.eq_ignore_ascii_case("Id")), "keyPrefix": null,
    })
}

fn page(org: &mut Org, total: usize, mut rows: Vec<Row>, path: &str) -> Value {
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
    body
}

fn more(org: &mut Org, wanted: &str, path: &str) -> Result<Value, Refused> {
    let gone = || Refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator".into());
    let wanted = wanted.split('-').next().unwrap_or_default();
    let at = org.locators.iter().position(|(locator, ..)| locator == wanted).ok_or_else(gone)?;
    let (_, total, rows) = org.locators.remove(at).ok_or_else(gone)?;
    Ok(page(org, total, rows, path))
}
