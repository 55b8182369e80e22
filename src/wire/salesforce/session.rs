//! One org's API under one access token: counts calls, refreshes once when the token has ended, replays once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue};
use tokio::sync::Mutex;
use url::Url;

use super::SalesforceError;
use crate::egress::{Cause, EgressError, Gate, Request, Response};
use crate::seal::Secret;

/// Gets a new access token for one that has ended. It must have stored a rotated refresh token before it answers.
pub type Refresher = Arc<
    dyn Fn(Secret) -> Pin<Box<dyn Future<Output = Result<Secret, SalesforceError>> + Send>> + Send + Sync,
>;

/// A signed-in org. Shared by reference; all its calls use one token.
pub struct Session {
    gate: Gate,
    cause: Cause,
    instance: Url,
    token: Mutex<Secret>,
    refresh: Refresher,
    calls: AtomicU64,
}

/// What a call needs to be made again with another token.
pub(super) trait Call: Sync {
    fn request(&self, token: &Secret) -> Request;
    /// Whether this answer says that the token has ended.
    fn is_expired(&self, status: u16, body: &[u8]) -> bool;
    /// What it means when no answer came.
    fn unanswered(&self, error: EgressError) -> SalesforceError {
        SalesforceError::Outside(error)
    }
}

impl Session {
    pub fn new(gate: Gate, cause: Cause, instance: Url, token: Secret, refresh: Refresher) -> Self {
        Self { gate, cause, instance, token: Mutex::new(token), refresh, calls: AtomicU64::new(0) }
    }

    /// API calls made so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn url(&self, path: &str) -> Result<Url, SalesforceError> {
        self.instance.join(path).map_err(|e| SalesforceError::Malformed(e.to_string()))
    }

    /// Makes a call; a token that has ended is refreshed once and the call made again.
    pub(super) async fn call(
        &self,
        call: &dyn Call,
        limit: usize,
    ) -> Result<(u16, Vec<u8>), SalesforceError> {
        let token = self.token.lock().await.clone();
        let (status, body) = self.send(call, &token, limit).await?;
        if !call.is_expired(status, &body) {
            return Ok((status, body));
        }
        let token = self.fresh(&token).await?;
        let (status, body) = self.send(call, &token, limit).await?;
        if call.is_expired(status, &body) {
            return Err(SalesforceError::NeedsReauth("a fresh session was refused".into()));
        }
        Ok((status, body))
    }

    async fn send(
        &self,
        call: &dyn Call,
        token: &Secret,
        limit: usize,
    ) -> Result<(u16, Vec<u8>), SalesforceError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let sent = self.gate.send(&self.cause, call.request(token)).await;
        let answer: Response = sent.map_err(|error| call.unanswered(error))?;
        let status = answer.status;
        let body = answer.bytes(limit).await.map_err(|error| call.unanswered(error))?;
        Ok((status, body))
    }

    /// One refresh in flight: whoever waited finds that the token has changed already.
    async fn fresh(&self, ended: &Secret) -> Result<Secret, SalesforceError> {
        let mut token = self.token.lock().await;
        if *token == *ended {
            *token = (self.refresh)(ended.clone()).await?;
        }
        Ok(token.clone())
    }
}

/// A GET of the REST API.
pub(super) struct Get(pub Url);

impl Call for Get {
    fn request(&self, token: &Secret) -> Request {
        let mut request = Request::new(Method::GET, self.0.clone());
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers.insert(
            HeaderName::from_static("sforce-call-options"),
            HeaderValue::from_static("client=Vynos/1.0"),
        );
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) {
            value.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, value);
        }
        request
    }

    fn is_expired(&self, status: u16, body: &[u8]) -> bool {
        // Other refusals with 401 would loop: this session is not for this API, app not attached.
        let text = String::from_utf8_lossy(body);
        status == 401
            && text.contains("INVALID_SESSION_ID")
            && !text.contains("not valid for use with the REST API")
    }
}
