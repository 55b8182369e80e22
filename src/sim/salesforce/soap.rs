//! The Metadata API over SOAP: describe, list, retrieve. Requests are read by local name, never by prefix;
//! the session stands in the SOAP header only.

use std::io::Write as _;

use actix_web::{HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::{Document, Node};
use zip::write::SimpleFileOptions;

use super::fixture::user_id;
use super::kinds::{KINDS, kind};
use super::state::{Component, Org, Retrieve};
use super::{API_VERSION, Sim, deploy};

/// Files and bytes of one retrieve.
const MOST_FILES: usize = 10_000;
const LARGEST_ZIP: usize = 39 << 20;
const NAMESPACE: &str = "http://soap.sforce.com/2006/04/metadata";

pub fn routes(config: &mut web::ServiceConfig) {
    // Some clients add the org, a slash or the name of the operation.
    config
        .route("/services/Soap/m/{version}", web::post().to(call))
        .route("/services/Soap/m/{version}/{rest:.*}", web::post().to(call));
}

pub fn fault(code: &str, message: &str) -> HttpResponse {
    HttpResponse::InternalServerError().content_type("text/xml;charset=UTF-8").body(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:sf=\"{NAMESPACE}\"><soapenv:Body><soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {}\
         </faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>",
        escape(message)
    ))
}

pub fn answer(operation: &str, result: &str) -> HttpResponse {
    HttpResponse::Ok().content_type("text/xml;charset=UTF-8").body(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">\
         <soapenv:Body><{operation}Response xmlns=\"{NAMESPACE}\">{result}</{operation}Response></soapenv:Body></soapenv:Envelope>"
    ))
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|n| n.tag_name().name() == name)
}

pub fn value(node: Node<'_, '_>, name: &str) -> String {
    node.descendants()
        .find(|n| n.tag_name().name() == name)
        .and_then(|n| n.text())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

async fn call(sim: web::Data<Sim>, body: web::Bytes) -> HttpResponse {
    let text = String::from_utf8_lossy(&body);
    let Ok(document) = Document::parse(&text) else {
        return fault("SOAP_ENV", "the request is not XML");
    };
    let session = value(document.root_element(), "sessionId");
    let operation = child(document.root_element(), "Body").and_then(|b| b.children().find(Node::is_element));
    let Some(operation) = operation else { return fault("INVALID_OPERATION", "no operation") };
    let mut org = sim.org();
    if !org.access_tokens.contains(&session) {
        return fault("INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader: Illegal Session");
    }
    if org.remaining_calls() == 0 {
        return fault("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.");
    }
    if let Some((left, _)) = org.faults.fail_next
        && left > 0
    {
        let status = org.faults.fail_next.map_or(503, |f| f.1);
        org.faults.fail_next = Some((left - 1, status));
        return HttpResponse::ServiceUnavailable().body("Service Unavailable");
    }
    org.calls += 1;
    match operation.tag_name().name() {
        "checkRetrieveStatus" => check_retrieve(&mut org, operation),
        "describeMetadata" => describe(),
        "listMetadata" => list(&org, operation),
        "retrieve" => retrieve(&mut org, operation),
        other => deploy::routes::soap(&mut org, sim.0.clock.now(), operation)
            .unwrap_or_else(|| fault("INVALID_OPERATION", &format!("unknown operation {other}"))),
    }
}

fn describe() -> HttpResponse {
    let objects: String = KINDS
        .iter()
        .map(|k| {
            let suffix = if k.bundle { String::new() } else { format!("<suffix>{}</suffix>", k.ending) };
            format!(
                "<metadataObjects><directoryName>{}</directoryName><inFolder>false</inFolder><metaFile>{}</metaFile>\
                 {suffix}<xmlName>{}</xmlName></metadataObjects>",
                k.folder,
                k.meta && !k.bundle,
                k.name
            )
        })
        .collect();
    let rest = "<organizationNamespace></organizationNamespace><partialSaveAllowed>true</partialSaveAllowed><testRequired>false</testRequired>";
    answer("describeMetadata", &format!("<result>{objects}{rest}</result>"))
}

fn properties(org: &Org, (kind, name): (&str, &str), c: &Component, file: &str) -> String {
    let by = org.users[c.modified_by].0;
    format!(
        "<createdById>{id}</createdById><createdByName>{by}</createdByName><createdDate>{created}</createdDate>\
         <fileName>unpackaged/{file}</fileName><fullName>{name}</fullName><id>{own}</id><lastModifiedById>{id}</lastModifiedById>\
         <lastModifiedByName>{by}</lastModifiedByName><lastModifiedDate>{modified}</lastModifiedDate>\
         <manageableState>unmanaged</manageableState><type>{kind}</type>",
        id = user_id(c.modified_by),
        by = escape(by),
        created = c.created.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        modified = c.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        own = c.id,
    )
}

fn list(org: &Org, operation: Node<'_, '_>) -> HttpResponse {
    let queries: Vec<_> = operation.children().filter(|n| n.tag_name().name() == "queries").collect();
    if queries.len() > 3 {
        return fault("EXCEEDED_MAX_TYPES_LIMIT", "listMetadata takes at most three queries");
    }
    let mut result = String::new();
    for query in queries {
        let wanted = value(query, "type");
        if kind(&wanted).is_none() {
            return fault("INVALID_TYPE", &format!("Unknown type:{wanted}"));
        }
        for ((kind, name), component) in org.components.iter().filter(|((kind, _), _)| *kind == wanted) {
            // A bundle is listed by its folder.
            let file = if component.is_bundle() { component.folder() } else { &component.file };
            result.push_str(&format!("<result>{}</result>", properties(org, (kind, name), component, file)));
        }
    }
    answer("listMetadata", &result)
}

fn retrieve(org: &mut Org, operation: Node<'_, '_>) -> HttpResponse {
    let mut wanted = Vec::new();
    for types in operation.descendants().filter(|n| n.tag_name().name() == "types") {
        let members = types.children().filter(|n| n.tag_name().name() == "members").filter_map(|n| n.text());
        wanted.push((value(types, "name"), members.map(|m| m.trim().to_owned()).collect()));
    }
    if let Some((unknown, _)) = wanted.iter().find(|(name, _)| kind(name).is_none()) {
        return fault("INVALID_TYPE", &format!("Unknown type:{unknown}"));
    }
    let id = org.new_id("09S");
    let polls_left = 1 + org.faults.slow_retrieve;
    org.retrieves.insert(id.clone(), Retrieve { polls_left, wanted });
    answer("retrieve", &format!("<result><done>false</done><id>{id}</id><state>Queued</state></result>"))
}

fn check_retrieve(org: &mut Org, operation: Node<'_, '_>) -> HttpResponse {
    let id = value(operation, "asyncProcessId");
    let Some(mut waiting) = org.retrieves.remove(&id) else {
        return fault("INVALID_CROSS_REFERENCE_KEY", "invalid id, or the retrieve result has been deleted");
    };
    if waiting.polls_left > 0 {
        waiting.polls_left -= 1;
        org.retrieves.insert(id.clone(), waiting);
        let result = format!(
            "<result><done>false</done><id>{id}</id><status>InProgress</status><success>false</success></result>"
        );
        return answer("checkRetrieveStatus", &result);
    }
    let packed = match pack(org, &waiting.wanted) {
        Ok(packed) => packed,
        Err(error) => return fault("UNKNOWN_EXCEPTION", &error.to_string()),
    };
    if packed.count > org.faults.retrieve_files.unwrap_or(MOST_FILES) || packed.zip.len() > LARGEST_ZIP {
        let result = format!(
            "<result><done>true</done><errorMessage>LIMIT_EXCEEDED: MAXIMUM_SIZE_OF_FILES_REACHED Maximum size/number of \
             files reached</errorMessage><errorStatusCode>LIMIT_EXCEEDED</errorStatusCode><id>{id}</id><status>Failed</status>\
             <success>false</success></result>"
        );
        return answer("checkRetrieveStatus", &result);
    }
    let Packed { zip, files, messages, .. } = packed;
    // Asked without the zip, the result stays to be fetched.
    let zip = if value(operation, "includeZip") == "false" {
        org.retrieves.insert(id.clone(), waiting);
        String::new()
    } else {
        format!("<zipFile>{}</zipFile>", STANDARD.encode(zip))
    };
    let result = format!(
        "<result><done>true</done>{files}<id>{id}</id>{messages}<status>Succeeded</status><success>true</success>{zip}</result>"
    );
    answer("checkRetrieveStatus", &result)
}

/// What a retrieve brings: the zip, the properties of its files and messages, both as XML.
struct Packed {
    zip: Vec<u8>,
    files: String,
    messages: String,
    count: usize,
}

/// The zip of a retrieve, its file properties and its messages about members that are not there. A wildcard
/// does not reach standard objects: those are named one by one, as in the real API.
fn pack(org: &Org, wanted: &[(String, Vec<String>)]) -> std::io::Result<Packed> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    let (mut files, mut messages, mut package) = (String::new(), String::new(), String::new());
    let mut count = 0;
    for (kind, members) in wanted {
        let all = members.iter().any(|m| m == "*");
        let standard = |name: &str| kind == "CustomObject" && !name.contains("__");
        for member in members.iter().filter(|m| *m != "*") {
            if !org.components.contains_key(&(kind.clone(), member.clone())) {
                messages.push_str(&format!(
                    "<messages><fileName>unpackaged/package.xml</fileName><problem>Entity of type '{kind}' named '{}' cannot be \
                     found</problem></messages>",
                    escape(member)
                ));
            }
        }
        let mut names = String::new();
        for ((_, name), component) in org.components.iter().filter(|((k, _), _)| k == kind) {
            if !(members.contains(name) || all && !standard(name)) {
                continue;
            }
            for (path, text) in component.files() {
                zip.start_file(format!("unpackaged/{path}"), options)?;
                zip.write_all(text.as_bytes())?;
                count += 1;
                if !path.ends_with("-meta.xml") {
                    let about = properties(org, (kind, name), component, &path);
                    files.push_str(&format!("<fileProperties>{about}</fileProperties>"));
                }
            }
            names.push_str(&format!("<members>{name}</members>"));
        }
        package.push_str(&format!("<types>{names}<name>{kind}</name></types>"));
    }
    zip.start_file("unpackaged/package.xml", options)?;
    let package = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Package xmlns=\"{NAMESPACE}\">{package}<version>{API_VERSION}</version></Package>"
    );
    zip.write_all(package.as_bytes())?;
    Ok(Packed { zip: zip.finish()?.into_inner(), files, messages, count })
}
