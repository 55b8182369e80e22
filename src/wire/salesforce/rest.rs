//! Typed endpoints of the REST and Tooling API.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

use super::session::{Get, Session};
use super::{API_VERSION, SalesforceError};

/// Largest answer that is read, in bytes.
const LARGEST: usize = 32 << 20;
/// Pages of one query: 2,000 rows each.
const MOST_PAGES: usize = 200;

/// One limit of the org: how much there is and how much is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Limit {
    pub max: u64,
    pub remaining: u64,
}

/// What an org says of itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Organization {
    pub is_sandbox: bool,
}

/// An object in the list of all objects.
#[derive(Clone, Debug, Deserialize)]
pub struct ObjectBrief {
    pub name: String,
}

/// An object with its fields.
#[derive(Clone, Debug, Deserialize)]
pub struct ObjectDescribe {
    pub fields: Vec<FieldDescribe>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDescribe {
    pub name: String,
    pub label: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub custom: bool,
    #[serde(default)]
    pub nillable: bool,
    #[serde(default)]
    pub reference_to: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    records: Vec<T>,
    next_records_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiError {
    message: String,
    error_code: String,
}

impl Session {
    /// All limits by name. Entries that are no pair of numbers are left out.
    pub async fn limits(&self) -> Result<BTreeMap<String, Limit>, SalesforceError> {
        let all: BTreeMap<String, Value> =
            self.read(&format!("/services/data/v{API_VERSION}/limits")).await?;
        Ok(all.into_iter().filter_map(|(name, v)| Some((name, serde_json::from_value(v).ok()?))).collect())
    }

    pub async fn organization(&self) -> Result<Organization, SalesforceError> {
        let soql = "SELECT Id, Name, InstanceName, IsSandbox, OrganizationType FROM Organization";
        let mut rows: Vec<Organization> = self.query("query", soql).await?;
        rows.pop().ok_or_else(|| SalesforceError::Malformed("the org has no Organization row".into()))
    }

    pub async fn objects(&self) -> Result<Vec<ObjectBrief>, SalesforceError> {
        #[derive(Deserialize)]
        struct All {
            sobjects: Vec<ObjectBrief>,
        }
        Ok(self.read::<All>(&format!("/services/data/v{API_VERSION}/sobjects")).await?.sobjects)
    }

    /// One object. `name` must be an API name.
    pub async fn describe(&self, name: &str) -> Result<ObjectDescribe, SalesforceError> {
        if !is_api_name(name) {
            return Err(SalesforceError::Refused(format!("{name} is not an API name")));
        }
        self.read(&format!("/services/data/v{API_VERSION}/sobjects/{name}/describe")).await
    }

    /// Every row of a query of the Tooling API.
    pub async fn tooling_query<T: DeserializeOwned>(&self, soql: &str) -> Result<Vec<T>, SalesforceError> {
        self.query("tooling/query", soql).await
    }

    async fn query<T: DeserializeOwned>(
        &self,
        resource: &str,
        soql: &str,
    ) -> Result<Vec<T>, SalesforceError> {
        let query: String = form_urlencoded::byte_serialize(soql.as_bytes()).collect();
        let mut path = format!("/services/data/v{API_VERSION}/{resource}?q={query}");
        let mut rows = Vec::new();
        for _ in 0..MOST_PAGES {
            let page: Page<T> = self.read(&path).await?;
            rows.extend(page.records);
            match page.next_records_url {
                Some(next) if next.starts_with("/services/data/") => path = next,
                Some(_) => {
                    return Err(SalesforceError::Malformed("a page of a query points elsewhere".into()));
                }
                None => return Ok(rows),
            }
        }
        Err(SalesforceError::Malformed(format!("a query has more than {} rows", MOST_PAGES * 2000)))
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, SalesforceError> {
        let (status, body) = self.call(&Get(self.url(path)?), LARGEST).await?;
        if status != 200 {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|e| SalesforceError::Malformed(e.to_string()))
    }
}

/// A refusal of the REST API in our terms.
pub(super) fn refusal(status: u16, body: &[u8]) -> SalesforceError {
    let first = serde_json::from_slice::<Vec<ApiError>>(body).ok().and_then(|mut all| all.pop());
    let (code, message) =
        first.map_or_else(|| (String::new(), format!("status {status}")), |e| (e.error_code, e.message));
    match code.as_str() {
        "REQUEST_LIMIT_EXCEEDED" => SalesforceError::LimitReached,
        "INVALID_SESSION_ID" => SalesforceError::NeedsReauth(message),
        "API_DISABLED_FOR_ORG" | "FUNCTIONALITY_NOT_ENABLED" | "INSUFFICIENT_ACCESS" => {
            SalesforceError::NotPermitted(message)
        }
        _ if status >= 500 || status == 429 => SalesforceError::Unavailable(message),
        _ if status == 403 => SalesforceError::NotPermitted(message),
        _ => SalesforceError::Refused(message),
    }
}

/// Letters, digits and underscores, beginning with a letter, at most 80 characters.
pub fn is_api_name(name: &str) -> bool {
    name.len() <= 80
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_28_names_that_are_no_api_names_never_become_paths() {
        for name in ["Account", "Renewal__c", "sbqq__Quote__c"] {
            assert!(is_api_name(name), "{name}");
        }
        for name in ["", "../query", "Account/describe", "A%2e%2e", "1st", "Konto ä", "a?b", &"A".repeat(81)]
        {
            assert!(!is_api_name(name), "{name}");
        }
    }
}
