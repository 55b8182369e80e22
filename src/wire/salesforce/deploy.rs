//! Deploys of the Metadata API over REST (`/metadata/deployRequest`): submit once, poll, cancel, and deploy what
//! was validated. Format: Metadata API developer guide, "Deploying Metadata with REST API". `result` reads what
//! Salesforce reports.

mod result;

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::session::{Call, Get, Session};
use super::{API_VERSION, SalesforceError, rest};
use crate::egress::{EgressError, Request};
use crate::seal::Secret;

pub use result::{ComponentFailure, Coverage, DeployResult, DeployStatus, TestFailure};

/// Largest archive, in bytes (the platform's own limit: 39 MB).
pub const LARGEST_ZIP: usize = 39 << 20;
/// Largest answer: 10,000 components with their messages and coverage.
const LARGEST: usize = 64 << 20;
/// Silence that is borne while an archive travels and is unpacked.
const SUBMIT_IDLE: Duration = Duration::from_mins(5);
/// Pauses before a poll that failed is made again.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(750), Duration::from_secs(2)];

/// Which tests Salesforce runs with a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestLevel {
    /// What the org asks for: all local tests in production when there is Apex in it, none elsewhere.
    Default,
    /// None; production refuses this when there is Apex in it.
    NoTestRun,
    /// All that are not in managed packages.
    RunLocalTests,
    /// These classes; each class and trigger deployed must then be covered to 75 %.
    RunSpecifiedTests(Vec<String>),
}

#[derive(Deserialize)]
struct Submitted {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    deploy_result: result::Wire,
}

impl Session {
    /// Submits an archive (`package.xml` at its root) and answers the id to poll with. It is sent once: when
    /// the answer is lost, `AnswerLost` says so and nothing is sent again.
    pub async fn deploy(
        &self,
        zip: Vec<u8>,
        check_only: bool,
        level: &TestLevel,
    ) -> Result<String, SalesforceError> {
        if zip.len() > LARGEST_ZIP {
            return Err(SalesforceError::Refused(format!(
                "the package has {} bytes, Salesforce takes at most {LARGEST_ZIP}",
                zip.len()
            )));
        }
        let boundary = boundary(&zip);
        let submit = Submit {
            url: self.url(&path(""))?,
            kind: format!("multipart/form-data; boundary={boundary}"),
            body: multipart(&boundary, &options(check_only, level), &zip),
        };
        self.submit(submit).await
    }

    /// Deploys a validation that ran its tests, without running them again.
    pub async fn deploy_validated(&self, validation_id: &str) -> Result<String, SalesforceError> {
        let submit = Submit {
            url: self.url(&path(""))?,
            kind: "application/json".into(),
            body: Bytes::from(json!({ "validatedDeployRequestId": checked(validation_id)? }).to_string()),
        };
        self.submit(submit).await
    }

    /// Where a deploy stands. A poll that the network spoilt is made again three times.
    pub async fn deploy_status(&self, id: &str) -> Result<DeployResult, SalesforceError> {
        let call = Get(self.url(&path(&format!("/{}?includeDetails=true", checked(id)?)))?);
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.poll(&call).await {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            let Some(pause) = pauses.next().filter(|_| error.may_pass()) else { return Err(error) };
            tokio::time::sleep(*pause).await;
        }
    }

    /// Asks Salesforce to stop a deploy. It has stopped when its status says so; one that is ending may still
    /// succeed.
    pub async fn cancel_deploy(&self, id: &str) -> Result<(), SalesforceError> {
        let call = Cancel(self.url(&path(&format!("/{}", checked(id)?)))?);
        let (status, body) = self.call(&call, LARGEST).await?;
        match status {
            200..=299 => Ok(()),
            _ => Err(rest::refusal(status, &body)),
        }
    }

    async fn submit(&self, submit: Submit) -> Result<String, SalesforceError> {
        let (status, body) = self.call(&submit, LARGEST).await?;
        match status {
            200..=299 => {
                let answer: Submitted = serde_json::from_slice(&body)
                    .map_err(|e| SalesforceError::AnswerLost(format!("its answer can't be read: {e}")))?;
                Ok(answer.id)
            }
            // A server or a gateway broke down on the way: what it did before is not known.
            500 | 502 | 504 => Err(SalesforceError::AnswerLost(format!("status {status}"))),
            _ => Err(rest::refusal(status, &body)),
        }
    }

    async fn poll(&self, call: &Get) -> Result<DeployResult, SalesforceError> {
        let (status, body) = self.call(call, LARGEST).await?;
        if status != 200 {
            return Err(rest::refusal(status, &body));
        }
        read_status(&body)
    }
}

/// The answer to a poll.
pub fn read_status(body: &[u8]) -> Result<DeployResult, SalesforceError> {
    let status: Status =
        serde_json::from_slice(body).map_err(|e| SalesforceError::Malformed(e.to_string()))?;
    Ok(status.deploy_result.into())
}

fn path(rest: &str) -> String {
    format!("/services/data/v{API_VERSION}/metadata/deployRequest{rest}")
}

/// Ids of deploys become part of a path: 15 or 18 letters and digits.
fn checked(id: &str) -> Result<&str, SalesforceError> {
    if matches!(id.len(), 15 | 18) && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(id)
    } else {
        Err(SalesforceError::Refused("this is not the id of a deploy".into()))
    }
}

fn options(check_only: bool, level: &TestLevel) -> Value {
    let mut options = json!({
        "rollbackOnError": true, "ignoreWarnings": false, "checkOnly": check_only,
        "singlePackage": true, "purgeOnDelete": false,
    });
    match level {
        TestLevel::Default => {}
        TestLevel::NoTestRun => options["testLevel"] = "NoTestRun".into(),
        TestLevel::RunLocalTests => options["testLevel"] = "RunLocalTests".into(),
        TestLevel::RunSpecifiedTests(tests) => {
            options["testLevel"] = "RunSpecifiedTests".into();
            options["runTests"] = json!(tests);
        }
    }
    json!({ "deployOptions": options })
}

/// A line that can't stand in the archive: nobody can write a file that holds its own hash.
fn boundary(zip: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, zip);
    let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("vynos-{hex}")
}

/// The two parts in the order and with the names that Salesforce's own tools send.
fn multipart(boundary: &str, options: &Value, zip: &[u8]) -> Bytes {
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"package.zip\"\r\n\
         Content-Type: application/zip\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(zip);
    body.extend_from_slice(
        format!(
            "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"entity_content\"\r\n\
             Content-Type: application/json\r\n\r\n{options}\r\n--{boundary}--\r\n"
        )
        .as_bytes(),
    );
    Bytes::from(body)
}

/// Something that must happen once.
struct Submit {
    url: Url,
    kind: String,
    body: Bytes,
}

impl Call for Submit {
    fn request(&self, token: &Secret) -> Request {
        let mut request = Get(self.url.clone()).request(token);
        request.method = Method::POST;
        if let Ok(kind) = HeaderValue::from_str(&self.kind) {
            request.headers.insert(CONTENT_TYPE, kind);
        }
        request.body = self.body.clone();
        request.idle = SUBMIT_IDLE;
        request
    }

    fn is_expired(&self, status: u16, body: &[u8]) -> bool {
        Get(self.url.clone()).is_expired(status, body)
    }

    fn unanswered(&self, error: EgressError) -> SalesforceError {
        match error {
            EgressError::Refused { .. } | EgressError::Tls { .. } | EgressError::Unreachable { .. } => {
                SalesforceError::Outside(error)
            }
            EgressError::Reset { .. } | EgressError::TimedOut { .. } | EgressError::TooLarge { .. } => {
                SalesforceError::AnswerLost(error.to_string())
            }
        }
    }
}

struct Cancel(Url);

impl Call for Cancel {
    fn request(&self, token: &Secret) -> Request {
        let mut request = Get(self.0.clone()).request(token);
        request.method = Method::PATCH;
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.body = Bytes::from(json!({ "deployResult": { "status": "Canceling" } }).to_string());
        request
    }

    fn is_expired(&self, status: u16, body: &[u8]) -> bool {
        Get(self.0.clone()).is_expired(status, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_say_which_tests_run() {
        let of = |level| options(true, &level)["deployOptions"].clone();
        assert_eq!(of(TestLevel::Default).get("testLevel"), None);
        let specified = of(TestLevel::RunSpecifiedTests(vec!["ATest".into()]));
        assert_eq!(
            (&specified["testLevel"], &specified["runTests"]),
            (&json!("RunSpecifiedTests"), &json!(["ATest"]))
        );
        assert_eq!(specified["rollbackOnError"], true);
        assert_eq!(specified["checkOnly"], true);
    }

    #[test]
    fn only_ids_become_paths() {
        assert!(checked("0Af000000000101AAA").is_ok());
        for id in ["", "0Af", "0Af00000000010/../", "0Af000000000101?a="] {
            assert!(checked(id).is_err(), "{id}");
        }
    }

    #[test]
    fn the_archive_travels_unchanged_between_its_boundaries() {
        let zip = b"PK\x03\x04\r\n--x\r\n";
        let boundary = boundary(zip);
        let body = multipart(&boundary, &options(false, &TestLevel::NoTestRun), zip);
        let at = body.windows(zip.len()).position(|w| w == zip).unwrap();
        assert!(body[at + zip.len()..].starts_with(format!("\r\n--{boundary}\r\n").as_bytes()));
        assert!(body.ends_with(format!("--{boundary}--\r\n").as_bytes()));
    }
}
