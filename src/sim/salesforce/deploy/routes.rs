//! Deploys over REST (`/metadata/deployRequest`) and the same operations over SOAP.

use actix_multipart::Multipart;
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use roxmltree::Node;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DeployOptions, Refusal, TestLevel, report};
use crate::sim::salesforce::rest::{counted, error, good};
use crate::sim::salesforce::soap::{answer, child, fault, value};
use crate::sim::salesforce::state::Org;
use crate::sim::salesforce::{API_VERSION, Sim};

/// Bytes of a submitted form.
const LARGEST_FORM: usize = 60 << 20;

pub fn routes(config: &mut web::ServiceConfig) {
    const PATH: &str = "/services/data/{version}/metadata/deployRequest";
    config
        .route(PATH, web::post().to(submit))
        .route(&format!("{PATH}/validatedDeployRequestId"), web::post().to(submit))
        .route(&format!("{PATH}/{{id}}"), web::get().to(status))
        .route(&format!("{PATH}/{{id}}"), web::patch().to(cancel));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quick {
    validated_deploy_request_id: String,
}

async fn submit(sim: web::Data<Sim>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let now = sim.0.clock.now();
    let kind = request.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let submitted = if kind.starts_with("application/json") {
        let Ok(body) = payload.to_bytes_limited(LARGEST_FORM).await.unwrap_or(Ok(web::Bytes::new())) else {
            return error(400, "JSON_PARSER_ERROR", "the body can't be read");
        };
        let Ok(quick) = serde_json::from_slice::<Quick>(&body) else {
            return error(400, "JSON_PARSER_ERROR", "validatedDeployRequestId is missing");
        };
        let submitted = super::quick(&mut sim.org(), now, &quick.validated_deploy_request_id);
        if submitted.is_err() {
            return error(404, "NOT_FOUND", "The requested resource does not exist");
        }
        submitted
    } else {
        let Some((options, zip)) = form(&request, payload).await else {
            return error(400, "INVALID_MULTIPART_REQUEST", "file and deployOptions are needed");
        };
        super::submit(&mut sim.org(), now, &zip, options)
    };
    match submitted {
        Ok(id) => created(&sim, &id),
        Err(Refusal(code, text)) => error(400, code, text),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    deploy_options: DeployOptions,
}

/// The two parts, by either of their names and in either order.
async fn form(request: &HttpRequest, payload: web::Payload) -> Option<(DeployOptions, Vec<u8>)> {
    let mut form = Multipart::from_request(request, &mut payload.into_inner()).await.ok()?;
    let (mut options, mut zip) = (None, None);
    while let Some(part) = form.next().await {
        let mut part = part.ok()?;
        let is_file = part.name() == Some("file");
        let mut bytes = Vec::new();
        while let Some(chunk) = part.next().await {
            bytes.extend_from_slice(&chunk.ok()?);
            if bytes.len() > LARGEST_FORM {
                return None;
            }
        }
        if is_file {
            zip = Some(bytes);
        } else {
            options = Some(serde_json::from_slice::<Form>(&bytes).ok()?.deploy_options);
        }
    }
    Some((options?, zip?))
}

fn created(sim: &Sim, id: &str) -> HttpResponse {
    let org = sim.org();
    let Some(deploy) = org.deploys.iter().find(|d| d.id == id) else {
        return error(500, "UNKNOWN_EXCEPTION", "the deploy is gone");
    };
    let url = format!("{}services/data/v{API_VERSION}/metadata/deployRequest/{id}", sim.0.base);
    HttpResponse::Created().json(json!({
        "id": id, "validatedDeployRequestId": deploy.validated, "url": url,
        "deployOptions": { "checkOnly": deploy.options.check_only, "runTests": deploy.options.run_tests },
        "deployResult": report::report(deploy, false),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    include_details: bool,
}

async fn status(
    sim: web::Data<Sim>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    params: web::Query<Details>,
) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    let mut org = sim.org();
    let Some(deploy) = super::poll(&mut org, sim.0.clock.now(), &path.1) else {
        return error(404, "NOT_FOUND", "The requested resource does not exist");
    };
    let body = json!({ "id": deploy.id, "deployResult": report::report(deploy, params.include_details) });
    good(&org, &body)
}

async fn cancel(
    sim: web::Data<Sim>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Json<Value>,
) -> HttpResponse {
    if let Err(refusal) = counted(&sim, &request) {
        return refusal;
    }
    if body["deployResult"]["status"] != "Canceling" {
        return error(400, "INVALID_STATUS", "only deployResult.status Canceling can be set");
    }
    let mut org = sim.org();
    if super::cancel(&mut org, sim.0.clock.now(), &path.1).is_none() {
        return error(404, "NOT_FOUND", "The requested resource does not exist");
    }
    let deploy = org.deploys.iter().find(|d| super::same_id(&d.id, &path.1));
    HttpResponse::Accepted()
        .json(json!({ "id": path.1, "deployResult": deploy.map(|d| report::report(d, false)) }))
}

/// The operations of the Metadata API; `None` for one that is no deploy's.
pub fn soap(org: &mut Org, now: Timestamp, operation: Node<'_, '_>) -> Option<HttpResponse> {
    let invalid = || fault("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id");
    let response = match operation.tag_name().name() {
        "cancelDeploy" => {
            let id = ["id", "String"].map(|name| value(operation, name)).concat();
            match super::cancel(org, now, &id) {
                Some(done) => {
                    answer("cancelDeploy", &format!("<result><done>{done}</done><id>{id}</id></result>"))
                }
                None => invalid(),
            }
        }
        "checkDeployStatus" => {
            let details = value(operation, "includeDetails") == "true";
            match super::poll(org, now, &value(operation, "asyncProcessId")) {
                Some(deploy) => {
                    let body =
                        report::report(deploy, details).as_object().map(report::xml).unwrap_or_default();
                    answer("checkDeployStatus", &format!("<result>{body}</result>"))
                }
                None => invalid(),
            }
        }
        "deploy" => soap_deploy(org, now, operation),
        "deployRecentValidation" => match super::quick(org, now, &value(operation, "validationId")) {
            Ok(id) => answer("deployRecentValidation", &format!("<result>{id}</result>")),
            Err(Refusal(code, text)) => fault(code, text),
        },
        _ => return None,
    };
    Some(response)
}

fn soap_deploy(org: &mut Org, now: Timestamp, operation: Node<'_, '_>) -> HttpResponse {
    let base64: String = value(operation, "ZipFile").split_whitespace().collect();
    let Ok(zip) = STANDARD.decode(base64) else {
        return fault("UNKNOWN_EXCEPTION", "ZipFile is not base64");
    };
    let Some(given) = child(operation, "DeployOptions") else {
        return fault("INVALID_FIELD", "DeployOptions are missing");
    };
    // Python writes True.
    let truth = |name: &str| value(given, name).eq_ignore_ascii_case("true");
    let level = match value(given, "testLevel").as_str() {
        "" => None,
        "NoTestRun" => Some(TestLevel::NoTestRun),
        "RunAllTestsInOrg" => Some(TestLevel::RunAllTestsInOrg),
        "RunLocalTests" => Some(TestLevel::RunLocalTests),
        "RunSpecifiedTests" => Some(TestLevel::RunSpecifiedTests),
        other => {
            return fault(
                "INVALID_TYPE",
                &format!("'{other}' is not a valid value for the enum 'TestLevel'"),
            );
        }
    };
    let tests = given.children().filter(|n| n.tag_name().name() == "runTests").filter_map(|n| n.text());
    let options = DeployOptions {
        allow_missing_files: truth("allowMissingFiles"),
        check_only: truth("checkOnly"),
        ignore_warnings: truth("ignoreWarnings"),
        rollback_on_error: truth("rollbackOnError"),
        run_tests: tests.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect(),
        single_package: truth("singlePackage"),
        test_level: level,
    };
    match super::submit(org, now, &zip, options) {
        Ok(id) => answer(
            "deploy",
            &format!("<result><done>false</done><id>{id}</id><state>Queued</state></result>"),
        ),
        Err(Refusal(code, text)) => fault(code, text),
    }
}
