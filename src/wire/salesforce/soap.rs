//! The Metadata API over SOAP: the only way to retrieve. The session travels in the SOAP header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use roxmltree::{Document, Node};
use url::Url;

use super::session::{Call, Session};
use super::{API_VERSION, SalesforceError};
use crate::egress::Request;
use crate::seal::Secret;

/// Largest answer: a zip of 39 MB in base64 (the platform's own limit) and its file properties.
const LARGEST: usize = 80 << 20;

/// What Salesforce knows of one retrieved file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProperties {
    pub kind: String,
    pub full_name: String,
    pub file_name: String,
    pub id: String,
    pub last_modified_by: String,
    pub last_modified: Option<Timestamp>,
    pub namespace: Option<String>,
}

/// A finished retrieve.
#[derive(Debug)]
pub struct Retrieved {
    pub files: Vec<FileProperties>,
    /// What could not be retrieved, in Salesforce's words.
    pub messages: Vec<String>,
    pub zip: Vec<u8>,
}

impl Session {
    /// Asks for `(type, members)`; `*` is every member, which leaves standard objects out. Answers the id
    /// to poll with.
    pub async fn retrieve(&self, types: &[(&str, Vec<String>)]) -> Result<String, SalesforceError> {
        let mut package = String::new();
        for (kind, members) in types {
            let members: String =
                members.iter().map(|m| format!("<members>{}</members>", escape(m))).collect();
            package.push_str(&format!("<types>{members}<name>{}</name></types>", escape(kind)));
        }
        let body = format!(
            "<retrieve><retrieveRequest><apiVersion>{API_VERSION}</apiVersion><singlePackage>true</singlePackage>\
             <unpackaged>{package}<version>{API_VERSION}</version></unpackaged></retrieveRequest></retrieve>"
        );
        let answer = self.soap(&body).await?;
        let document = parse(&answer)?;
        Ok(text(document.root_element(), "id"))
    }

    /// The retrieve's result, or `None` while it goes on.
    pub async fn retrieved(&self, id: &str) -> Result<Option<Retrieved>, SalesforceError> {
        let body = format!(
            "<checkRetrieveStatus><asyncProcessId>{}</asyncProcessId><includeZip>true</includeZip></checkRetrieveStatus>",
            escape(id)
        );
        let answer = self.soap(&body).await?;
        read_retrieved(&answer)
    }

    async fn soap(&self, body: &str) -> Result<String, SalesforceError> {
        let call = Soap { url: self.url(&format!("/services/Soap/m/{API_VERSION}"))?, body };
        let (status, answer) = self.call(&call, LARGEST).await?;
        let answer = String::from_utf8(answer)
            .map_err(|_| SalesforceError::Malformed("the answer is not text".into()))?;
        if status == 200 {
            return Ok(answer);
        }
        let Ok(document) = Document::parse(&answer) else {
            return Err(if status >= 500 || status == 429 {
                SalesforceError::Unavailable(format!("status {status}"))
            } else {
                SalesforceError::Refused(format!("status {status}"))
            });
        };
        let code = text(document.root_element(), "faultcode");
        let message = text(document.root_element(), "faultstring");
        Err(match code.rsplit(':').next().unwrap_or_default() {
            "INVALID_SESSION_ID" => SalesforceError::NeedsReauth(message),
            "REQUEST_LIMIT_EXCEEDED" => SalesforceError::LimitReached,
            "INSUFFICIENT_ACCESS" | "API_CURRENTLY_DISABLED" => SalesforceError::NotPermitted(message),
            "SERVER_UNAVAILABLE" => SalesforceError::Unavailable(message),
            _ => SalesforceError::Refused(message),
        })
    }
}

/// The answer to a poll: the result, or `None` while the retrieve goes on.
pub fn read_retrieved(answer: &str) -> Result<Option<Retrieved>, SalesforceError> {
    let document = parse(answer)?;
    let root = document.root_element();
    let result =
        find(root, "result").ok_or_else(|| SalesforceError::Malformed("no retrieve result".into()))?;
    if child_text(result, "done") != "true" {
        return Ok(None);
    }
    if child_text(result, "errorStatusCode") == "LIMIT_EXCEEDED" {
        return Err(SalesforceError::TooManyFiles);
    }
    if child_text(result, "success") != "true" {
        return Err(SalesforceError::Refused(format!(
            "the retrieve failed: {}",
            text(result, "errorMessage")
        )));
    }
    let of = |name: &'static str| result.children().filter(move |n| n.tag_name().name() == name);
    let zip = STANDARD
        .decode(child_text(result, "zipFile").split_whitespace().collect::<String>())
        .map_err(|_| SalesforceError::Malformed("the retrieved zip is not base64".into()))?;
    Ok(Some(Retrieved {
        files: of("fileProperties").map(properties).collect(),
        messages: of("messages").map(|m| child_text(m, "problem")).collect(),
        zip,
    }))
}

fn properties(node: Node<'_, '_>) -> FileProperties {
    FileProperties {
        kind: child_text(node, "type"),
        full_name: child_text(node, "fullName"),
        file_name: child_text(node, "fileName"),
        id: child_text(node, "id"),
        last_modified_by: child_text(node, "lastModifiedByName"),
        last_modified: child_text(node, "lastModifiedDate").parse().ok(),
        namespace: Some(child_text(node, "namespacePrefix")).filter(|n| !n.is_empty()),
    }
}

fn parse(answer: &str) -> Result<Document<'_>, SalesforceError> {
    Document::parse(answer).map_err(|e| SalesforceError::Malformed(e.to_string()))
}

fn find<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.descendants().find(|n| n.tag_name().name() == name)
}

fn text(node: Node<'_, '_>, name: &str) -> String {
    find(node, name).and_then(|n| n.text()).unwrap_or_default().trim().to_owned()
}

fn child_text(node: Node<'_, '_>, name: &str) -> String {
    let child = node.children().find(|n| n.tag_name().name() == name);
    child.and_then(|n| n.text()).unwrap_or_default().trim().to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

struct Soap<'a> {
    url: Url,
    body: &'a str,
}

impl Call for Soap<'_> {
    fn request(&self, token: &Secret) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=UTF-8"));
        request.headers.insert(HeaderName::from_static("soapaction"), HeaderValue::from_static("\"\""));
        request.body = Bytes::from(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">\
             <soapenv:Header xmlns=\"http://soap.sforce.com/2006/04/metadata\"><SessionHeader><sessionId>{}</sessionId></SessionHeader>\
             <CallOptions><client>Vynos/1.0</client></CallOptions></soapenv:Header>\
             <soapenv:Body xmlns=\"http://soap.sforce.com/2006/04/metadata\">{}</soapenv:Body></soapenv:Envelope>",
            escape(token.expose()),
            self.body
        ));
        request
    }

    fn is_expired(&self, status: u16, body: &[u8]) -> bool {
        status == 500 && String::from_utf8_lossy(body).contains(":INVALID_SESSION_ID</faultcode>")
    }
}
