//! What can go wrong with a model, in words for the person who waits for it.

use std::time::Duration;

use serde_json::Value;

use super::request::AskError;
use super::stream::StreamError;
use crate::egress::EgressError;

/// A failed call, with the server's name for it where one came.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ModelError {
    pub fault: Fault,
    /// The server's request id: what its support asks for.
    pub request_id: Option<String>,
}

/// What happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(
        "The model endpoint refuses to go on: its spending limit is reached or billing failed. Your question is kept. Raise the limit at the provider, or choose another model in the settings."
    )]
    Budget,
    #[error("The answer broke off: {0}. What came is kept. Choose Answer again to ask once more.")]
    Broken(StreamError),
    #[error(
        "The key may not use this model. Your question is kept. Ask the operator to check the rights of the key."
    )]
    Forbidden,
    #[error(
        "The model endpoint rejected the key. Your question is kept. Ask the operator to enter a valid key in the instance settings."
    )]
    KeyRejected,
    #[error("{0}. Your question is kept.")]
    NotAllowed(EgressError),
    #[error(
        "What answers at this address is not a model: it sent {0}. Check the base URL, usually without /v1."
    )]
    NotAModel(String),
    #[error("The model is overloaded. Your question is kept. Try again in a moment.")]
    Overloaded { retry_after: Option<Duration> },
    #[error("The endpoint allows no more questions right now{}. Your question is kept.", wait(*retry_after))]
    RateLimited { retry_after: Option<Duration> },
    #[error(
        "The endpoint could not use the request: {0}. Your question is kept. Start a new conversation, or ask the operator to check the model's settings."
    )]
    Rejected(String),
    #[error(
        "The conversation is too long for this model. It is kept. Start a new conversation, or choose a model with a larger context."
    )]
    TooLarge,
    #[error("The endpoint knows no model named {0}. Choose another model in the settings.")]
    UnknownModel(String),
    #[error("The model can't be reached: {0}. Your question is kept.")]
    Unreachable(EgressError),
    #[error("The model endpoint failed with status {0}. Your question is kept. Try again in a moment.")]
    Upstream(u16),
}

fn wait(after: Option<Duration>) -> String {
    after.map_or_else(String::new, |d| format!("; try again in {} seconds", d.as_secs().max(1)))
}

impl Fault {
    /// A short name for metrics and the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ask(_) => "nothing_to_answer",
            Self::Budget => "budget",
            Self::Broken(_) => "broken",
            Self::Forbidden => "forbidden",
            Self::KeyRejected => "key_rejected",
            Self::NotAllowed(_) => "not_allowed",
            Self::NotAModel(_) => "not_a_model",
            Self::Overloaded { .. } => "overloaded",
            Self::RateLimited { .. } => "rate_limited",
            Self::Rejected(_) => "rejected",
            Self::TooLarge => "too_large",
            Self::UnknownModel(_) => "unknown_model",
            Self::Unreachable(_) => "unreachable",
            Self::Upstream(_) => "upstream",
        }
    }

    /// Reads an answer that is not 200. `model` is what was asked for, `key` is kept out of the words.
    pub(super) fn from_answer(
        status: u16,
        body: &[u8],
        model: &str,
        key: Option<&str>,
        retry_after: Option<Duration>,
    ) -> Self {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let text = |pointer: &str| json.as_ref().and_then(|j| j.pointer(pointer)).and_then(Value::as_str);
        let kind = text("/error/type").unwrap_or_default();
        let code = text("/error/details/error_code").unwrap_or_default();
        let message = text("/error/message").or_else(|| text("/error")).unwrap_or_default();
        match status {
            _ if kind == "billing_error" || code.ends_with("spend_limit_reached") => Self::Budget,
            400 if message.starts_with("You have reached your specified") => Self::Budget,
            401 => Self::KeyRejected,
            402 => Self::Budget,
            403 => Self::Forbidden,
            404 if kind == "not_found_error" && message.starts_with("model") => {
                Self::UnknownModel(model.to_owned())
            }
            404 if message.contains(model) && !model.is_empty() => Self::UnknownModel(model.to_owned()),
            413 => Self::TooLarge,
            400 if message.contains("prompt is too long") => Self::TooLarge,
            429 => Self::RateLimited { retry_after },
            529 | 503 => Self::Overloaded { retry_after },
            300..400 => Self::NotAModel(format!("a redirect (status {status})")),
            404 | 405 if json.is_none() => {
                Self::NotAModel(format!("{} with status {status}", looks_like(body)))
            }
            400..500 => Self::Rejected(words(message, status, key)),
            _ => Self::Upstream(status),
        }
    }

    /// A call that brought no answer, or an answer that could not be read.
    pub(super) fn from_egress(error: EgressError) -> Self {
        match error {
            EgressError::Refused { .. } => Self::NotAllowed(error),
            _ => Self::Unreachable(error),
        }
    }

    pub(super) fn from_stream(error: StreamError) -> Self {
        match &error {
            StreamError::Upstream { kind, .. } if kind == "overloaded_error" => {
                Self::Overloaded { retry_after: None }
            }
            StreamError::Upstream { kind, .. } if kind == "rate_limit_error" => {
                Self::RateLimited { retry_after: None }
            }
            StreamError::Upstream { kind, .. } if kind == "billing_error" => Self::Budget,
            _ => Self::Broken(error),
        }
    }

    pub(super) fn with(self, request_id: Option<String>) -> ModelError {
        ModelError { fault: self, request_id }
    }
}

/// What a body seems to be, for a person who typed a wrong address.
pub(super) fn looks_like(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(200)]).trim_start().to_lowercase();
    if start.is_empty() {
        "an empty answer".into()
    } else if start.starts_with('<') {
        "a web page".into()
    } else if start.starts_with('{') || start.starts_with('[') {
        "JSON of another kind".into()
    } else {
        "text".into()
    }
}

/// The server's own words: bounded, on one line, without the key.
fn words(message: &str, status: u16, key: Option<&str>) -> String {
    let mut text = message.to_owned();
    if let Some(key) = key.filter(|k| !k.is_empty()) {
        text = text.replace(key, "…");
    }
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    let text = text.trim().trim_end_matches('.');
    if text.is_empty() { format!("status {status}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(status: u16, body: &Value) -> &'static str {
        Fault::from_answer(status, body.to_string().as_bytes(), "m-1", Some("sk-canary"), None).code()
    }

    #[test]
    fn each_status_becomes_the_fault_that_a_person_can_act_on() {
        let error =
            |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
        for (status, kind, message, expected) in [
            (400, "invalid_request_error", "messages: required", "rejected"),
            (400, "invalid_request_error", "You have reached your specified API usage limits", "budget"),
            (400, "invalid_request_error", "prompt is too long: 9 tokens", "too_large"),
            (401, "authentication_error", "invalid x-api-key", "key_rejected"),
            (402, "billing_error", "", "budget"),
            (403, "permission_error", "", "forbidden"),
            (404, "not_found_error", "model: m-1", "unknown_model"),
            (404, "api_error", "no such model 'm-1'", "unknown_model"),
            (413, "request_too_large", "", "too_large"),
            (429, "rate_limit_error", "", "rate_limited"),
            (429, "billing_error", "", "budget"),
            (500, "api_error", "", "upstream"),
            (529, "overloaded_error", "", "overloaded"),
        ] {
            assert_eq!(fault(status, &error(kind, message)), expected, "{status} {kind} {message}");
        }
        let spent = json!({"error": {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}});
        assert_eq!(fault(429, &spent), "budget");
    }

    #[test]
    fn pages_and_redirects_are_named_as_what_they_are() {
        let page = Fault::from_answer(404, b" <!doctype html>", "m", None, None).to_string();
        assert!(page.contains("a web page"), "{page}");
        assert_eq!(Fault::from_answer(302, b"", "m", None, None).code(), "not_a_model");
        assert_eq!(Fault::from_answer(413, b"<html>", "m", None, None).code(), "too_large");
    }

    #[test]
    fn an_echoed_key_and_control_characters_stay_out_of_the_words() {
        let body =
            json!({"error": {"type": "x", "message": "bad\u{1b}[31m key sk-canary\nhere."}}).to_string();
        let text = Fault::from_answer(422, body.as_bytes(), "m", Some("sk-canary"), None).to_string();
        assert!(!text.contains("canary") && !text.chars().any(char::is_control), "{text}");
    }
}
