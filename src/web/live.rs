//! What open pages listen to: one event stream per page, with the topics that changed. The page then asks
//! for itself again and replaces its live fragments. [`while_standing`] is the end of every event stream whose opener
//! was signed out, removed or lowered.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Web;
use super::access::Standing;
use crate::ids::AccountId;
use crate::workspace::Viewer;

/// A comment is sent when nothing happened for this long, so that dead connections are noticed.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// A stream ends after this long; the browser opens it again, which checks the membership anew.
const LONGEST: Duration = Duration::from_mins(10);
/// How often an open stream shows its credential again: what was taken away ends it within a second.
const SHOWN_AGAIN: Duration = Duration::from_millis(500);

/// Topic of pages that show notices of the whole workspace.
pub const NOTICES: &str = "notices";

/// Topic of pages that show the notices of one account; no other account's stream carries it.
pub fn notices_of(account: AccountId) -> String {
    format!("{NOTICES}:{account}")
}

/// Everything that a page with an account's notices listens to.
pub fn notice_topics(account: AccountId) -> String {
    format!("{NOTICES} {}", notices_of(account))
}

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/live", web::get().to(stream));
}

/// The stream until it ends by itself or what it was opened with no longer holds. Every event stream goes through this.
pub fn while_standing<T>(standing: Standing, events: impl Stream<Item = T>) -> impl Stream<Item = T> {
    let gone = async move {
        let mut again = tokio::time::interval(SHOWN_AGAIN);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            again.tick().await;
            if !standing.holds() {
                return;
            }
        }
    };
    events.take_until(gone)
}

async fn stream(web: web::Data<Web>, ws: Viewer, standing: Standing) -> HttpResponse {
    let listener = Listener { me: ws.account(), workspace: ws.live().listen(), account: web.control.told() };
    let until = tokio::time::Instant::now() + LONGEST;
    let events = futures_util::stream::unfold((listener, true), move |(mut listener, first)| async move {
        let event = if first {
            "retry: 2000\n\n".to_owned()
        } else if tokio::time::Instant::now() >= until {
            return None;
        } else {
            match tokio::time::timeout(HEARTBEAT, listener.next()).await {
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
        .streaming(while_standing(standing, events))
}

/// What the pages of one account in one workspace hear.
struct Listener {
    me: AccountId,
    workspace: Receiver<String>,
    account: Receiver<AccountId>,
}

impl Listener {
    /// The next topic that concerns this account.
    async fn next(&mut self) -> Result<String, RecvError> {
        loop {
            tokio::select! {
                topic = self.workspace.recv() => {
                    let topic = topic?;
                    let of_account = topic.strip_prefix(NOTICES).is_some_and(|rest| rest.starts_with(':'));
                    if !of_account || topic == notices_of(self.me) {
                        return Ok(topic);
                    }
                }
                told = self.account.recv() => {
                    if told? == self.me {
                        return Ok(notices_of(self.me));
                    }
                }
            }
        }
    }
}
