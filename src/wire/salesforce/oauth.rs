//! OAuth 2.0 web-server flow with PKCE, refresh and revoke.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::SalesforceError;
use crate::clock::Random;
use crate::egress::{Cause, Gate, Purpose, Request};
use crate::seal::{Secret, constant_time_eq};

/// What is asked for: data and metadata by API, refresh, who the user is.
pub const SCOPES: &str = "api refresh_token id";
const LARGEST: usize = 64 * 1024;

/// The External Client App of one org.
#[derive(Clone, Debug)]
pub struct App {
    pub client_id: String,
    pub client_secret: Option<Secret>,
    /// Our address, exactly as registered.
    pub callback: Url,
}

/// A verifier that only we know and the challenge that travels first (RFC 7636).
pub struct Pkce {
    pub verifier: Secret,
    pub challenge: String,
}

impl Pkce {
    pub fn generate(random: &Random) -> Self {
        let verifier = URL_SAFE_NO_PAD.encode(random.bytes::<64>());
        let challenge =
            URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()));
        Self { verifier: Secret::new(verifier), challenge }
    }
}

/// Where the browser goes to ask for consent.
pub fn authorize_url(login: &Url, app: &App, state: &str, challenge: &str) -> Result<Url, SalesforceError> {
    let mut url = endpoint(login, "authorize")?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &app.client_id)
        .append_pair("redirect_uri", app.callback.as_str())
        .append_pair("scope", SCOPES)
        .append_pair("state", state)
        .append_pair("code_challenge", challenge)
        .append_pair("code_challenge_method", "S256");
    Ok(url)
}

/// What a grant brings.
#[derive(Clone, Debug)]
pub struct Grant {
    pub access: Secret,
    /// New at the first grant, and at every refresh where rotation is on.
    pub refresh: Option<Secret>,
    pub instance_url: Url,
    pub org_id: String,
}

#[derive(Deserialize)]
struct GrantAnswer {
    access_token: String,
    refresh_token: Option<String>,
    instance_url: Url,
    id: Url,
    issued_at: Option<String>,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Redeems an authorization code.
pub async fn exchange(
    gate: &Gate,
    cause: &Cause,
    login: &Url,
    app: &App,
    code: &str,
    verifier: &Secret,
) -> Result<Grant, SalesforceError> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", app.callback.as_str()),
        ("code_verifier", verifier.expose()),
    ];
    grant(gate, cause, login, app, &fields).await
}

/// Asks for a new access token. The answer may carry a new refresh token: store it before using the access
/// token, because the old one has ended.
pub async fn refresh(
    gate: &Gate,
    cause: &Cause,
    login: &Url,
    app: &App,
    token: &Secret,
) -> Result<Grant, SalesforceError> {
    grant(gate, cause, login, app, &[("grant_type", "refresh_token"), ("refresh_token", token.expose())])
        .await
}

/// Ends a refresh token and its access tokens. A token that is unknown there has ended already.
pub async fn revoke(gate: &Gate, cause: &Cause, login: &Url, token: &Secret) -> Result<(), SalesforceError> {
    let request = form(endpoint(login, "revoke")?, &[("token", token.expose())]);
    let answer = gate.send(&login_cause(cause), request).await?;
    match answer.status {
        200 | 400 => Ok(()),
        status => Err(SalesforceError::Unavailable(format!("status {status}"))),
    }
}

async fn grant(
    gate: &Gate,
    cause: &Cause,
    login: &Url,
    app: &App,
    fields: &[(&str, &str)],
) -> Result<Grant, SalesforceError> {
    let mut fields = fields.to_vec();
    fields.push(("client_id", &app.client_id));
    if let Some(secret) = &app.client_secret {
        fields.push(("client_secret", secret.expose()));
    }
    let answer = gate.send(&login_cause(cause), form(endpoint(login, "token")?, &fields)).await?;
    let status = answer.status;
    let body = answer.bytes(LARGEST).await?;
    if status != 200 {
        return Err(refusal(status, &body));
    }
    let answer: GrantAnswer = serde_json::from_slice(&body)
        .map_err(|_| SalesforceError::Malformed("the token answer is not what Salesforce sends".into()))?;
    accept(gate, app, answer)
}

/// Checks where the grant points to before anything is sent there.
fn accept(gate: &Gate, app: &App, answer: GrantAnswer) -> Result<Grant, SalesforceError> {
    gate.allows(&answer.instance_url, Purpose::Salesforce)?;
    gate.allows(&answer.id, Purpose::Salesforce)?;
    if let (Some(secret), Some(at), Some(signature)) =
        (&app.client_secret, &answer.issued_at, &answer.signature)
    {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.expose().as_bytes());
        let expected = STANDARD.encode(ring::hmac::sign(&key, format!("{}{at}", answer.id).as_bytes()));
        if !constant_time_eq(expected.as_bytes(), signature.as_bytes()) {
            return Err(SalesforceError::Malformed("the signature of the token answer is wrong".into()));
        }
    }
    let mut path = answer.id.path_segments().into_iter().flatten().rev();
    let (user_id, org_id) =
        (path.next().unwrap_or_default().to_owned(), path.next().unwrap_or_default().to_owned());
    let salesforce_id = |id: &str, prefix: &str| {
        id.starts_with(prefix) && matches!(id.len(), 15 | 18) && id.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if !salesforce_id(&org_id, "00D") || !salesforce_id(&user_id, "005") {
        return Err(SalesforceError::Malformed(
            "the identity in the token answer is not an org and a user".into(),
        ));
    }
    Ok(Grant {
        access: Secret::new(answer.access_token),
        refresh: answer.refresh_token.map(Secret::new),
        instance_url: answer.instance_url,
        org_id,
    })
}

fn refusal(status: u16, body: &[u8]) -> SalesforceError {
    if status >= 500 {
        return SalesforceError::Unavailable(format!("status {status}"));
    }
    let Ok(Refusal { error, error_description }) = serde_json::from_slice(body) else {
        return SalesforceError::Malformed(format!("status {status} without a reason"));
    };
    let why = if error_description.is_empty() { error.clone() } else { error_description };
    match error.as_str() {
        "access_denied" => SalesforceError::Denied,
        "invalid_client"
        | "invalid_client_id"
        | "invalid_client_secret"
        | "redirect_uri_mismatch"
        | "invalid_app_access" => SalesforceError::Client(why),
        "invalid_grant" | "inactive_user" | "inactive_org" => SalesforceError::NeedsReauth(why),
        "rate_limit_exceeded" | "temporarily_unavailable" => SalesforceError::Unavailable(why),
        _ => SalesforceError::Refused(why),
    }
}

fn login_cause(cause: &Cause) -> Cause {
    Cause { purpose: Purpose::SalesforceLogin, ..cause.clone() }
}

fn endpoint(login: &Url, name: &str) -> Result<Url, SalesforceError> {
    login.join(&format!("/services/oauth2/{name}")).map_err(|e| SalesforceError::Malformed(e.to_string()))
}

fn form(url: Url, fields: &[(&str, &str)]) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    request.body = Bytes::from(form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish());
    request
}

/// `force://clientId:clientSecret:refreshToken@host`, as `sf org display --verbose` prints it.
pub struct SfdxAuthUrl {
    pub client_id: String,
    pub client_secret: Option<Secret>,
    pub refresh: Secret,
    pub login: Url,
}

impl SfdxAuthUrl {
    pub fn parse(text: &Secret) -> Option<Self> {
        let rest = text.expose().trim().strip_prefix("force://")?;
        let (credentials, host) = rest.rsplit_once('@')?;
        let mut parts = credentials.splitn(3, ':');
        let (client_id, secret, refresh) = (parts.next()?, parts.next()?, parts.next()?);
        let host = host.trim_end_matches('/');
        // The simulated org stands on loopback without TLS; the gate decides whether it may be called.
        let scheme =
            if host.starts_with("127.0.0.1:") || host.starts_with("localhost:") { "http" } else { "https" };
        let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
        if client_id.is_empty() || refresh.is_empty() || !plain {
            return None;
        }
        Some(Self {
            client_id: client_id.to_owned(),
            client_secret: (!secret.is_empty()).then(|| Secret::new(secret.to_owned())),
            refresh: Secret::new(refresh.to_owned()),
            login: Url::parse(&format!("{scheme}://{host}/")).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auth_url_is_read_and_others_are_refused() {
        let read = |text: &str| SfdxAuthUrl::parse(&Secret::new(text.into()));
        let url = read("force://PlatformCLI::5Aep861:x=y@acme.my.salesforce.com\n").unwrap();
        assert_eq!((url.client_id.as_str(), url.refresh.expose()), ("PlatformCLI", "5Aep861:x=y"));
        assert!(url.client_secret.is_none());
        assert_eq!(url.login.as_str(), "https://acme.my.salesforce.com/");
        for text in [
            "",
            "https://x",
            "force://a:b@host",
            "force://a:b:c",
            "force://:b:c@host",
            "force://a:b:c@ho/st?x",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_challenge_is_the_hash_of_the_verifier() {
        let pkce = Pkce::generate(&Random::system());
        assert!(pkce.verifier.expose().len() >= 43 && pkce.verifier.expose().len() <= 128);
        let hash = ring::digest::digest(&ring::digest::SHA256, pkce.verifier.expose().as_bytes());
        assert_eq!(pkce.challenge, URL_SAFE_NO_PAD.encode(hash));
    }
}
