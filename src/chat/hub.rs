//! Turns that run now: what each has told so far, for any page that asks, from the beginning or from where it was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::records::{Citation, Message, State};
use crate::ids::{ChangeSetId, MessageId, TurnId};

/// A listener hears that nothing happened after this long, so that dead connections are noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What happens in a turn.
#[derive(Clone, Debug)]
pub enum Event {
    Citation(Box<Citation>),
    Done { message: MessageId, stop: &'static str },
    Failed(Box<Failure>),
    Proposal(ChangeSetId),
    Started(MessageId),
    Text(String),
    Tool(Box<ToolCalled>),
    Usage(Box<Used>),
}

/// Why a turn broke off.
#[derive(Clone, Debug)]
pub struct Failure {
    pub title: String,
    pub detail: String,
    /// The endpoint's own id of the request, for its operator.
    pub request_id: Option<String>,
}

/// A tool call begins (`running`) or has ended (`done`, `failed`).
#[derive(Clone, Debug)]
pub struct ToolCalled {
    pub name: String,
    pub status: &'static str,
    pub summary: String,
}

/// What the turn used, in tokens and nano-dollars.
#[derive(Clone, Debug)]
pub struct Used {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost_nano_usd: Option<u64>,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Citation(_) => "citation",
            Self::Done { .. } => "done",
            Self::Failed(_) => "error",
            Self::Proposal(_) => "proposal",
            Self::Started(_) => "started",
            Self::Text(_) => "text",
            Self::Tool(_) => "tool",
            Self::Usage(_) => "usage",
        }
    }

    fn data(&self) -> Value {
        match self {
            Self::Citation(citation) => json!(citation),
            Self::Done { message, stop } => json!({ "message": message, "stop": stop }),
            Self::Failed(failure) => json!({
                "type": "about:blank", "title": failure.title, "status": 502, "detail": failure.detail,
                "request_id": failure.request_id,
            }),
            Self::Proposal(id) => json!({ "change_set": id }),
            Self::Started(message) => json!({ "message": message }),
            Self::Text(text) => json!({ "text": text }),
            Self::Tool(tool) => {
                json!({ "name": tool.name, "status": tool.status, "summary": tool.summary })
            }
            Self::Usage(used) => json!({
                "input_tokens": used.input_tokens, "output_tokens": used.output_tokens,
                "cost_usd": usd(used.cost_nano_usd),
            }),
        }
    }

    /// The last one of a turn.
    pub fn ends(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed(_))
    }
}

/// Nano-dollars as dollars, for interfaces.
#[expect(clippy::cast_precision_loss, reason = "an amount to show, far below 2^53 nano-dollars")]
pub fn usd(nano: Option<u64>) -> Option<f64> {
    nano.map(|nano| nano as f64 / 1e9)
}

/// An event with its number in the turn, from 1.
#[derive(Clone, Debug)]
pub struct Numbered {
    pub id: u64,
    pub event: Event,
}

impl Numbered {
    /// As a server-sent event.
    pub fn sse(&self) -> String {
        format!("id: {}\nevent: {}\ndata: {}\n\n", self.id, self.event.name(), self.event.data())
    }
}

/// A turn that runs.
pub struct Running {
    told: Mutex<Told>,
    count: watch::Sender<usize>,
    /// Cancelled when a person stops the turn.
    pub stop: CancellationToken,
    /// Cancelled when nothing more will be told.
    over: CancellationToken,
}

/// What a turn told so far. Small: a turn tells thousands of texts, of a few letters each.
#[derive(Default)]
struct Told {
    /// All texts, one after the other.
    text: String,
    events: Vec<Kept>,
}

enum Kept {
    Other(Box<Event>),
    /// A text, up to here.
    Text(usize),
}

impl Told {
    fn push(&mut self, event: Event) {
        let kept = match event {
            Event::Text(text) => {
                self.text.push_str(&text);
                Kept::Text(self.text.len())
            }
            other => Kept::Other(Box::new(other)),
        };
        self.events.push(kept);
    }

    fn get(&self, at: usize) -> Option<Event> {
        match self.events.get(at)? {
            Kept::Other(event) => Some(Event::clone(event)),
            Kept::Text(to) => {
                let before = self.events[..at].iter().rev().find_map(|kept| match kept {
                    Kept::Text(to) => Some(*to),
                    Kept::Other(_) => None,
                });
                self.text.get(before.unwrap_or(0)..*to).map(|text| Event::Text(text.to_owned()))
            }
        }
    }
}

impl Running {
    fn new() -> Self {
        Self {
            told: Mutex::default(),
            count: watch::Sender::new(0),
            stop: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }

    pub fn tell(&self, event: Event) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push(event);
        self.count.send_replace(told.events.len());
    }

    fn get(&self, at: usize) -> Option<Event> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(at)
    }
}

/// All turns that run in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<HashMap<TurnId, Arc<Running>>>>);

impl Hub {
    /// The turn, which begins to be told if it is not yet.
    pub fn open(&self, id: TurnId) -> Arc<Running> {
        Arc::clone(self.lock().entry(id).or_insert_with(|| Arc::new(Running::new())))
    }

    pub fn of(&self, id: TurnId) -> Option<Arc<Running>> {
        self.lock().get(&id).cloned()
    }

    /// Forgets a turn that has ended; those that listen hear it to its end.
    pub fn close(&self, id: TurnId) {
        if let Some(running) = self.lock().remove(&id) {
            running.over.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TurnId, Arc<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All events of a turn from the first on, then those that come. `None` is a heartbeat. Ends with the turn.
pub fn listen(running: Arc<Running>) -> impl Stream<Item = Option<Numbered>> {
    let news = running.count.subscribe();
    futures_util::stream::unfold(Some((running, news, 0)), |state| async move {
        let (running, mut news, at) = state?;
        loop {
            if let Some(event) = running.get(at) {
                let next = (!event.ends()).then_some((running, news, at + 1));
                return Some((Some(Numbered { id: at as u64 + 1, event }), next));
            }
            // Looked at before the next wait: what was told before the end is told to everybody.
            if running.over.is_cancelled() && running.get(at).is_none() {
                return None;
            }
            tokio::select! {
                () = running.over.cancelled() => {}
                heard = tokio::time::timeout(HEARTBEAT, news.changed()) => if heard.is_err() {
                    return Some((None, Some((running, news, at))));
                },
            }
        }
    })
}

/// The events of a turn that has ended, made from what is kept.
pub fn told(id: MessageId, row: &Message) -> Vec<Event> {
    let mut events = vec![Event::Started(id)];
    for tool in &row.tools {
        let status = if tool.failed { "failed" } else { "done" };
        let (name, summary) = (tool.name.clone(), tool.summary.clone());
        events.push(Event::Tool(Box::new(ToolCalled { name, status, summary })));
    }
    events.extend(row.citations.iter().map(|c| Event::Citation(Box::new(c.clone()))));
    if !row.text.is_empty() {
        events.push(Event::Text(row.text.clone()));
    }
    events.extend(row.proposals.iter().copied().map(Event::Proposal));
    events.push(Event::Usage(Box::new(Used {
        input_tokens: row.usage.prompt(),
        output_tokens: row.usage.output,
        cost_nano_usd: row.cost_nano_usd,
    })));
    events.push(match (&row.failure, row.state) {
        (Some(detail), State::Failed) => Event::Failed(Box::new(Failure {
            title: "The answer failed".into(),
            detail: detail.clone(),
            request_id: None,
        })),
        (_, State::Stopped) => Event::Done { message: id, stop: "stopped" },
        _ => Event::Done { message: id, stop: "end_turn" },
    });
    events
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_turn_that_breaks_off_without_a_last_word_leaves_no_listener_waiting() {
        let (hub, clock) = (Hub::default(), crate::clock::Clock::system());
        let id = TurnId::new(&clock, &crate::clock::Random::system());
        let listener = listen(hub.open(id));
        hub.open(id).tell(Event::Text("so far".into()));
        hub.close(id);
        let heard: Vec<Option<Numbered>> = listener.collect().await;
        assert_eq!(heard.len(), 1, "what came, and the end");
    }

    #[tokio::test]
    async fn every_listener_hears_each_text_as_it_was_told() {
        let running = Arc::new(Running::new());
        let tool = ToolCalled { name: "org_limits".into(), status: "done", summary: String::new() };
        let early = listen(Arc::clone(&running));
        for text in ["Über ", "", "uns."] {
            running.tell(Event::Text(text.into()));
            running.tell(Event::Tool(Box::new(tool.clone())));
        }
        running.tell(Event::Text(" Ende".into()));
        let clock = crate::clock::Clock::system();
        let message = MessageId::new(&clock, &crate::clock::Random::system());
        running.tell(Event::Done { message, stop: "end_turn" });
        for listener in [early.boxed(), listen(running).boxed()] {
            let heard: Vec<Numbered> = listener.filter_map(std::future::ready).collect().await;
            let texts: Vec<&str> = heard
                .iter()
                .filter_map(|n| match &n.event {
                    Event::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            assert_eq!(texts, ["Über ", "", "uns.", " Ende"]);
            assert_eq!(heard.iter().map(|n| n.id).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
            assert!(heard.last().is_some_and(|last| last.event.ends()));
        }
    }
}
