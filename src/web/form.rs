//! Posted forms: read whole, checked for their key, then parsed into a type that refuses unknown fields.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use super::{Problem, Returning};
use crate::seal::constant_time_eq;

/// Largest form, in bytes. Uploads have their own reader.
pub const LARGEST: usize = 256 * 1024;

/// A form of the signed-in session, its key checked.
pub struct PostForm<T>(pub T);

/// A form of somebody who has no session yet (setup, sign-in): protected by the Origin check alone.
pub struct OpenForm<T>(pub T);

type Reading<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

impl<T: DeserializeOwned + 'static> FromRequest for PostForm<T> {
    type Error = Problem;
    type Future = Reading<Self>;
    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let me = Returning::from_request(request, payload);
        let body = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            let me = me.await?;
            let pairs = pairs(body.await)?;
            let key =
                pairs.iter().find(|(name, _)| name == "csrf").map(|(_, v)| v.as_str()).unwrap_or_default();
            if me.csrf().is_empty() || !constant_time_eq(key.as_bytes(), me.csrf().as_bytes()) {
                return Err(Problem::ForeignForm);
            }
            parse(pairs).map(Self)
        })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for OpenForm<T> {
    type Error = Problem;
    type Future = Reading<Self>;
    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = web::Bytes::from_request(request, payload);
        Box::pin(async move { parse(pairs(body.await)?).map(Self) })
    }
}

fn pairs(body: Result<web::Bytes, actix_web::Error>) -> Result<Vec<(String, String)>, Problem> {
    let body = body.map_err(|_| Problem::TooLarge(format!("A form may have {} KB.", LARGEST / 1024)))?;
    serde_urlencoded::from_bytes(&body).map_err(|_| Problem::field("", "This is not a form."))
}

fn parse<T: DeserializeOwned>(pairs: Vec<(String, String)>) -> Result<T, Problem> {
    let pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| name != "csrf").collect();
    let again = serde_urlencoded::to_string(pairs).map_err(|e| Problem::field("", e.to_string()))?;
    serde_urlencoded::from_str(&again)
        .map_err(|e| Problem::field("", format!("The form is not complete: {e}.")))
}
