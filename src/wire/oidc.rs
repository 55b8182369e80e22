//! OpenID Connect: discovery, the way to the provider (authorization code, PKCE S256, nonce), and what its ID token
//! says once issuer, audience, authorised party, times, nonce and signature were checked. Every call passes `egress`.

use std::collections::BTreeMap;

use bytes::Bytes;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim,
    CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreProviderMetadata, CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse,
    CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IdTokenClaims, IdTokenFields, IdTokenVerifier, Nonce, NonceVerifier, OAuth2TokenResponse as _,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, StandardErrorResponse,
    StandardTokenResponse, TokenResponse as _, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::clock::{Clock, Random};
use crate::egress::{Cause, EgressError, Gate, Request};
use crate::seal::Secret;

/// The longest answer that is read.
const LARGEST: usize = 256 * 1024;
/// How far a provider's clock may be ahead of ours, in seconds.
const SKEW: i64 = 120;
/// Groups of one person that are read.
const MOST_GROUPS: usize = 500;

/// Why a provider can't be used, or a sign-in there does not count.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// It answers, but not as a provider of this issuer has to.
    #[error("{0}")]
    NotAProvider(String),
    /// It refused the code: in its own words.
    #[error("the provider refused the sign-in: {0}")]
    Refused(String),
    #[error("the provider's answer does not prove who signed in: {0}")]
    Token(String),
}

/// How this instance is known at the provider.
#[derive(Clone, Debug)]
pub struct Registration {
    pub client_id: String,
    pub secret: Option<Secret>,
    /// Our address, exactly as registered.
    pub callback: Url,
    /// Asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that lists a person's groups.
    pub groups_claim: String,
}

/// How calls leave.
#[derive(Clone)]
pub struct Line {
    pub gate: Gate,
    pub cause: Cause,
    /// PEM of a private CA.
    pub ca: Option<String>,
}

impl Line {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, EgressError> {
        let (parts, body) = request.into_parts();
        let host = parts.uri.host().unwrap_or_default().to_owned();
        let unusable = |why: String| EgressError::Unreachable { host: host.clone(), why };
        let url = Url::parse(&parts.uri.to_string()).map_err(|e| unusable(e.to_string()))?;
        let mut sent = Request::new(parts.method, url);
        sent.headers = parts.headers;
        sent.body = Bytes::from(body);
        sent.ca.clone_from(&self.ca);
        sent.idle = std::time::Duration::from_secs(15);
        let answer = self.gate.send(&self.cause, sent).await?;
        let mut built = openidconnect::http::Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            built = built.header(name, value);
        }
        let body = answer.bytes(LARGEST).await?;
        built.body(body).map_err(|e| unusable(e.to_string()))
    }
}

/// What discovery brought: where the provider is asked, and later its keys.
#[derive(Clone, Debug)]
pub struct Provider(CoreProviderMetadata);

/// Where the browser goes, and what only we know of it.
pub struct Departure {
    pub url: Url,
    pub state: Secret,
    pub nonce: Secret,
    pub verifier: Secret,
}

/// Who signed in, as the provider vouches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
    /// Only an address that the provider says it verified.
    pub email: Option<String>,
    pub name: Option<String>,
    pub groups: Vec<String>,
    /// The provider says that it asked for more than one factor.
    pub second_factor: bool,
}

/// Claims beyond the standard ones: groups are among them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
struct Others(BTreeMap<String, Value>);
impl AdditionalClaims for Others {}

type Fields = IdTokenFields<
    Others,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Answer = StandardTokenResponse<Fields, CoreTokenType>;
type Party = Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;
type Claims = IdTokenClaims<Others, CoreGenderClaim>;

impl Provider {
    /// Reads the discovery document of `issuer`. Its keys are fetched by [`Provider::with_keys`], because they may stand
    /// on a host that has to be let through first.
    pub async fn discover(line: &Line, issuer: &str) -> Result<Self, OidcError> {
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let request = openidconnect::http::Request::get(&address)
            .header("accept", "application/json")
            .body(Vec::new())
            .map_err(|e| OidcError::NotAProvider(format!("{address} is no address: {e}")))?;
        let answer = line.call(request).await?;
        if answer.status() != 200 {
            let status = answer.status().as_u16();
            return Err(OidcError::NotAProvider(format!("{address} answered with status {status}")));
        }
        let metadata: CoreProviderMetadata = serde_json::from_slice(answer.body())
            .map_err(|e| OidcError::NotAProvider(format!("{address} is no discovery document: {e}")))?;
        let found = metadata.issuer().as_str();
        if found != issuer {
            let message = format!("the document at {address} is of the issuer {found}, not of {issuer}");
            return Err(OidcError::NotAProvider(message));
        }
        let this = Self(metadata);
        this.check(issuer)?;
        Ok(this)
    }

    /// What a provider must offer: a code for tokens, every endpoint under TLS when the issuer is.
    fn check(&self, issuer: &str) -> Result<(), OidcError> {
        let wrong = |what: String| Err(OidcError::NotAProvider(what));
        let Some(token) = self.0.token_endpoint() else {
            return wrong("the provider names no token endpoint".into());
        };
        let tls = issuer.starts_with("https:");
        let mut named = vec![self.0.authorization_endpoint().url(), token.url(), self.0.jwks_uri().url()];
        named.extend(self.0.userinfo_endpoint().map(openidconnect::UserInfoUrl::url));
        for url in named {
            if !matches!(url.scheme(), "http" | "https") || tls && url.scheme() != "https" {
                return wrong(format!("the provider names {url}, which is not under TLS"));
            }
        }
        if !self.0.id_token_signing_alg_values_supported().iter().any(|alg| ALGORITHMS.contains(alg)) {
            return wrong("the provider signs ID tokens neither with RS256 nor with ES256".into());
        }
        Ok(())
    }

    /// Fetches the keys that ID tokens are checked with.
    pub async fn with_keys(self, line: &Line) -> Result<Self, OidcError> {
        let url = self.0.jwks_uri().clone();
        let http = |request| line.call(request);
        let keys = CoreJsonWebKeySet::fetch_async(&url, &http).await.map_err(|e| match e {
            openidconnect::DiscoveryError::Request(e) => OidcError::Egress(e),
            other => OidcError::NotAProvider(format!("the keys at {} can't be read: {other}", url.url())),
        })?;
        if keys.keys().is_empty() {
            return Err(OidcError::NotAProvider(format!("there are no keys at {}", url.url())));
        }
        Ok(Self(self.0.set_jwks(keys)))
    }

    pub fn issuer(&self) -> &str {
        self.0.issuer().as_str()
    }

    /// The origins that this server itself calls.
    pub fn origins(&self) -> Vec<Url> {
        let mut found = vec![self.0.issuer().url().clone(), self.0.jwks_uri().url().clone()];
        found.extend(self.0.token_endpoint().map(|u| u.url().clone()));
        found.extend(self.0.userinfo_endpoint().map(|u| u.url().clone()));
        let mut origins: Vec<Url> = Vec::new();
        for url in found.iter().filter_map(|url| Url::parse(&url.origin().ascii_serialization()).ok()) {
            if !origins.contains(&url) {
                origins.push(url);
            }
        }
        origins
    }

    /// What discovery found, for the operator: label and value.
    pub fn found(&self) -> Vec<(&'static str, String)> {
        let algorithms = self.0.id_token_signing_alg_values_supported().iter();
        let algorithms: Vec<String> =
            algorithms.map(|a| serde_json::to_string(a).unwrap_or_default().replace('"', "")).collect();
        let mut found = vec![
            ("Issuer", self.issuer().to_owned()),
            ("Sign-in page", self.0.authorization_endpoint().to_string()),
            ("Tokens", self.0.token_endpoint().map(ToString::to_string).unwrap_or_default()),
            ("Keys", format!("{} ({})", self.0.jwks_uri().as_str(), self.0.jwks().keys().len())),
            ("Signs with", algorithms.join(", ")),
        ];
        if let Some(url) = self.0.userinfo_endpoint() {
            found.push(("User info", url.to_string()));
        }
        found
    }

    fn party(&self, us: &Registration) -> Result<Party, OidcError> {
        let callback = RedirectUrl::new(us.callback.to_string())
            .map_err(|e| OidcError::NotAProvider(format!("our own address is not usable: {e}")))?;
        let secret = us.secret.as_ref().map(|s| ClientSecret::new(s.expose().to_owned()));
        let client_id = ClientId::new(us.client_id.clone());
        let party = Client::from_provider_metadata(self.0.clone(), client_id, secret);
        let post_only = self.0.token_endpoint_auth_methods_supported().is_some_and(|methods| {
            !methods.contains(&openidconnect::core::CoreClientAuthMethod::ClientSecretBasic)
        });
        let by = if post_only || us.secret.is_none() {
            openidconnect::AuthType::RequestBody
        } else {
            openidconnect::AuthType::BasicAuth
        };
        Ok(party.set_auth_type(by).set_redirect_uri(callback))
    }

    /// Where the browser has to go, with a new state, nonce and PKCE verifier.
    pub fn depart(&self, us: &Registration, random: &Random) -> Result<Departure, OidcError> {
        let word = || crate::seal::hex(&random.bytes::<32>());
        let (state, nonce) = (word(), word());
        let verifier = PkceCodeVerifier::new(word());
        let party = self.party(us)?;
        let (sent_state, sent_nonce) = (state.clone(), nonce.clone());
        let mut asked = party.authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            move || CsrfToken::new(sent_state),
            move || Nonce::new(sent_nonce),
        );
        for scope in us.scopes.iter().filter(|scope| *scope != "openid") {
            asked = asked.add_scope(Scope::new(scope.clone()));
        }
        let (url, ..) =
            asked.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier)).url();
        let verifier = Secret::new(verifier.into_secret());
        Ok(Departure { url, state: Secret::new(state), nonce: Secret::new(nonce), verifier })
    }

    /// Redeems the code and checks what it brings.
    pub async fn redeem(
        &self,
        line: &Line,
        us: &Registration,
        clock: &Clock,
        code: &str,
        nonce: &Secret,
        verifier: &Secret,
    ) -> Result<Identity, OidcError> {
        let party = self.party(us)?;
        let http = |request| line.call(request);
        let answer = party
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|e| OidcError::NotAProvider(e.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
            .request_async(&http)
            .await
            .map_err(refused)?;
        let claims = self.claims(us, clock, &answer, Nonce::new(nonce.expose().to_owned()))?;
        let mut who = read(&claims, &us.groups_claim);
        let lacks = who.email.is_none() || !claims.additional_claims().0.contains_key(&us.groups_claim);
        // Many providers keep the ID token small and tell the rest at their user info endpoint.
        if lacks && self.0.userinfo_endpoint().is_some() {
            let subject = Some(claims.subject().clone());
            let told: UserInfoClaims<Others, CoreGenderClaim> = party
                .user_info(answer.access_token().clone(), subject)
                .map_err(|e| OidcError::NotAProvider(e.to_string()))?
                .request_async(&http)
                .await
                .map_err(|e| match e {
                    openidconnect::UserInfoError::Request(e) => OidcError::Egress(e),
                    other => OidcError::Token(format!("user info: {other}")),
                })?;
            let email = told.email().filter(|_| told.email_verified() == Some(true));
            who.email = who.email.or_else(|| email.map(|e| e.to_string()));
            let name = told.name().and_then(|n| n.get(None)).map(|n| n.to_string());
            who.name = who.name.or(name);
            if who.groups.is_empty() {
                who.groups = groups(told.additional_claims(), &us.groups_claim);
            }
        }
        Ok(who)
    }

    fn claims(
        &self,
        us: &Registration,
        clock: &Clock,
        answer: &Answer,
        nonce: Nonce,
    ) -> Result<Claims, OidcError> {
        let token = answer.id_token().ok_or_else(|| OidcError::Token("it holds no ID token".into()))?;
        let now = clock.now();
        let at = move || chrono::DateTime::from_timestamp(now.as_second(), 0).unwrap_or_default();
        // As a public client whether or not there is a secret: HMAC signatures never count.
        let (client_id, keys) = (ClientId::new(us.client_id.clone()), self.0.jwks().clone());
        let verifier = IdTokenVerifier::new_public_client(client_id, self.0.issuer().clone(), keys)
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(at)
            .set_issue_time_verifier_fn(move |issued| {
                let ahead = issued.timestamp() - now.as_second();
                if ahead > SKEW { Err(format!("it was issued {ahead} seconds from now")) } else { Ok(()) }
            });
        let wrong = |e: &dyn std::fmt::Display| OidcError::Token(e.to_string());
        let claims =
            token.claims(&verifier, |found: Option<&Nonce>| (&nonce).verify(found)).map_err(|e| wrong(&e))?;
        if claims.authorized_party().is_some_and(|party| party.as_str() != us.client_id) {
            return Err(OidcError::Token("it was issued to another client (azp)".into()));
        }
        if let Some(expected) = claims.access_token_hash() {
            let key = token.signing_key(&verifier).map_err(|e| wrong(&e))?;
            let algorithm = token.signing_alg().map_err(|e| wrong(&e))?;
            let found = AccessTokenHash::from_token(answer.access_token(), algorithm, key);
            if found.map_err(|e| wrong(&e))? != *expected {
                return Err(OidcError::Token("the access token is not the one it was issued with".into()));
            }
        }
        Ok(claims.clone())
    }
}

/// Signatures that count.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 2] =
    [CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, CoreJwsSigningAlgorithm::EcdsaP256Sha256];

fn refused(error: RequestTokenError<EgressError, StandardErrorResponse<CoreErrorResponseType>>) -> OidcError {
    match error {
        RequestTokenError::Request(error) => OidcError::Egress(error),
        RequestTokenError::ServerResponse(said) => {
            let code = said.error().to_string();
            OidcError::Refused(match said.error_description() {
                Some(words) => format!("{words} ({code})"),
                None => code,
            })
        }
        other => OidcError::Token(format!("it can't be read: {other}")),
    }
}

fn read(claims: &Claims, groups_claim: &str) -> Identity {
    let email = claims.email().filter(|_| claims.email_verified() == Some(true));
    let methods = claims.auth_method_refs().into_iter().flatten();
    Identity {
        issuer: claims.issuer().to_string(),
        subject: claims.subject().to_string(),
        email: email.map(|e| e.to_string()),
        name: claims.name().and_then(|n| n.get(None)).map(|n| n.to_string()),
        groups: groups(claims.additional_claims(), groups_claim),
        second_factor: methods.into_iter().any(|method| method.as_str() == "mfa"),
    }
}

/// A list of texts, or one text.
fn groups(others: &Others, claim: &str) -> Vec<String> {
    match others.0.get(claim) {
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).take(MOST_GROUPS).map(str::to_owned).collect()
        }
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(more: Value) -> Identity {
        let mut said = json!({"iss": "https://id.example", "aud": "vynos", "sub": "s", "exp": 2, "iat": 1});
        for (name, value) in more.as_object().unwrap() {
            said[name] = value.clone();
        }
        read(&serde_json::from_value::<Claims>(said).unwrap(), "roles")
    }

    #[test]
    fn an_address_counts_only_when_it_was_verified() {
        let address =
            |verified: Value| identity(json!({"email": "a@x.example", "email_verified": verified})).email;
        assert_eq!(address(json!(true)).as_deref(), Some("a@x.example"));
        assert_eq!((address(json!(false)), address(Value::Null)), (None, None));
        assert_eq!(identity(json!({"email": "a@x.example"})).email, None);
    }

    #[test]
    fn groups_are_a_list_of_texts_or_one_text() {
        let groups = |value: Value| identity(json!({ "roles": value })).groups;
        assert_eq!(groups(json!(["a", 7, "b c"])), ["a", "b c"]);
        assert_eq!(groups(json!("a")), ["a"]);
        assert!(groups(json!({"a": true})).is_empty() && groups(Value::Null).is_empty());
        assert_eq!(groups(json!(vec!["g"; 9_999])).len(), MOST_GROUPS);
    }

    #[test]
    fn the_provider_says_whether_it_asked_for_a_second_factor() {
        let second = |methods: Value| identity(json!({ "amr": methods })).second_factor;
        assert!(second(json!(["pwd", "mfa"])));
        assert!(!second(json!(["pwd", "otp"])) && !second(json!([])) && !identity(json!({})).second_factor);
    }
}
