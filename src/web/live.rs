//! What open pages listen to: one event stream per page, with the topics that changed. The page then asks
//! for itself again and replaces its live fragments.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use tokio::sync::broadcast::error::RecvError;

use crate::workspace::Viewer;

/// A comment is sent when nothing happened for this long, so that dead connections are noticed.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// A stream ends after this long; the browser opens it again, which checks the membership anew.
const LONGEST: Duration = Duration::from_mins(10);

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/live", web::get().to(stream));
}

async fn stream(ws: Viewer) -> HttpResponse {
    let listener = ws.live().listen();
    let until = tokio::time::Instant::now() + LONGEST;
    let events = futures_util::stream::unfold((listener, true), move |(mut listener, first)| async move {
        let event = if first {
            "retry: 2000\n\n".to_owned()
        } else if tokio::time::Instant::now() >= until {
            return None;
        } else {
            match tokio::time::timeout(HEARTBEAT, listener.recv()).await {
                Err(_) => ": still here\n\n".to_owned(),
                Ok(Ok(topic)) => format!("event: changed\ndata: {topic}\n\n"),
                // Too slow for some: look at everything.
                Ok(Err(RecvError::Lagged(_))) => "event: changed\ndata: *\n\n".to_owned(),
                Ok(Err(RecvError::Closed)) => return None,
            }
        };
        Some((Ok::<_, actix_web::Error>(web::Bytes::from(event)), (listener, false)))
    });
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(events)
}
