//! The events of turns that run now. Any number of pages attach to one; each is told everything from the start,
//! or from where it lost the connection. A turn goes on whether anybody listens or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::records::{Citation, Message, State, ToolCall};
use crate::ids::{ChangeSetId, MessageId, TurnId};
use crate::wire::model::Usage;

/// Events kept of one turn; beyond, text is joined to the event before it.
const MOST: usize = 20_000;
/// Text of one event after joining, in bytes.
const JOINED: usize = 64 * 1024;

/// What happened in a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Citation(Citation),
    Done { message: MessageId, stop: &'static str },
    /// The turn ended in an error, in words for people.
    Error(String),
    Proposal(ChangeSetId),
    Started { turn: TurnId, message: MessageId },
    Text(String),
    Tool(ToolCall),
    Usage { usage: Usage, cost_nano_usd: Option<u64> },
}

impl Event {
    /// Its name and data, as the API documents them.
    fn wire(&self) -> (&'static str, Value) {
        match self {
            Self::Citation(c) => ("citation", citation(c)),
            Self::Done { message, stop } => ("done", json!({ "message": message, "stop": stop })),
            Self::Error(detail) => (
                "error",
                json!({ "type": "about:blank", "title": "The answer failed", "status": 502, "detail": detail }),
            ),
            Self::Proposal(id) => ("proposal", json!({ "change_set": id })),
            Self::Started { turn, message } => ("started", json!({ "turn": turn, "message": message })),
            Self::Text(text) => ("text", json!({ "text": text })),
            Self::Tool(call) => (
                "tool",
                json!({ "name": call.name, "status": call.status, "summary": call.summary, "found": call.found }),
            ),
            Self::Usage { usage, cost_nano_usd } => (
                "usage",
                json!({ "input_tokens": usage.prompt(), "output_tokens": usage.output,
                    "cost_usd": cost_nano_usd.map(|nano| nano as f64 / 1e9) }),
            ),
        }
    }

    fn ends(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Error(_))
    }
}

/// A citation as the API shows it.
pub fn citation(c: &Citation) -> Value {
    let mut value = json!({ "n": c.n, "kind": c.kind, "ref": c.reference, "title": c.title, "href": c.href });
    if let Some(page) = c.page {
        value["page"] = page.into();
    }
    if let Some((first, last)) = c.lines {
        value["lines"] = json!([first, last]);
    }
    value
}

/// An event with its number in the turn, from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    pub id: u64,
    pub event: Event,
}

impl Numbered {
    /// As a server-sent event.
    pub fn sse(&self) -> String {
        let (name, data) = self.event.wire();
        format!("id: {}\nevent: {name}\ndata: {data}\n\n", self.id)
    }
}

struct Running {
    events: Mutex<Vec<Event>>,
    /// How many events there are; `usize::MAX` once it has ended.
    grown: watch::Sender<usize>,
}

/// All turns that run now. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<BTreeMap<TurnId, Arc<Running>>>>);

impl Hub {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TurnId, Arc<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to collect the events of a turn; listeners that waited for it go on with it.
    pub fn begin(&self, turn: TurnId) -> Speaker {
        let running = Arc::clone(self.lock().entry(turn).or_insert_with(fresh));
        Speaker { hub: self.clone(), turn, running }
    }

    /// The events of a turn that runs, or waits to be begun, from the first one.
    pub fn listen(&self, turn: TurnId) -> impl Stream<Item = Numbered> + use<> {
        let running = Arc::clone(self.lock().entry(turn).or_insert_with(fresh));
        let grown = running.grown.subscribe();
        futures_util::stream::unfold((running, grown, 0usize, false), |(running, mut grown, at, over)| async move {
            if over {
                return None;
            }
            loop {
                let event = {
                    let events = running.events.lock().unwrap_or_else(PoisonError::into_inner);
                    events.get(at).cloned()
                };
                if let Some(event) = event {
                    let over = event.ends();
                    return Some((Numbered { id: at as u64 + 1, event }, (running, grown, at + 1, over)));
                }
                // The sender lives in `running`, which this holds: an end is an event.
                if grown.changed().await.is_err() {
                    return None;
                }
            }
        })
    }

    /// Forgets a turn that nobody will begin.
    pub fn forget(&self, turn: TurnId) {
        self.lock().remove(&turn);
    }
}

fn fresh() -> Arc<Running> {
    Arc::new(Running { events: Mutex::default(), grown: watch::Sender::new(0) })
}

/// Tells the events of one turn. When it is dropped the turn is over, whether it said so or not.
pub struct Speaker {
    hub: Hub,
    turn: TurnId,
    running: Arc<Running>,
}

impl Speaker {
    pub fn say(&self, event: Event) {
        let mut events = self.running.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.last().is_some_and(Event::ends) {
            return;
        }
        if events.len() >= MOST
            && let (Event::Text(more), Some(Event::Text(last))) = (&event, events.last_mut())
        {
            if last.len() < JOINED {
                last.push_str(more);
            }
        } else {
            events.push(event);
        }
        let count = events.len();
        drop(events);
        self.running.grown.send_replace(count);
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.say(Event::Error("The answer ended unexpectedly. What came is kept. Choose Answer again.".into()));
        self.hub.forget(self.turn);
    }
}

/// The events of a turn that has ended, as told from what is kept.
pub fn retold(turn: TurnId, id: MessageId, message: &Message) -> Vec<Numbered> {
    let mut events = vec![Event::Started { turn, message: id }];
    events.extend(message.tools.iter().cloned().map(Event::Tool));
    events.extend(message.citations.iter().cloned().map(Event::Citation));
    if !message.text.is_empty() {
        events.push(Event::Text(message.text.clone()));
    }
    events.extend(message.proposals.iter().copied().map(Event::Proposal));
    events.push(Event::Usage { usage: message.usage, cost_nano_usd: message.cost_nano_usd });
    events.push(end_of(id, message));
    events.into_iter().zip(1..).map(|(event, id)| Numbered { id, event }).collect()
}

/// How a turn ended.
pub fn end_of(id: MessageId, message: &Message) -> Event {
    match (message.state, &message.failure) {
        (State::Failed, Some(failure)) => Event::Error(failure.clone()),
        (State::Stopped, _) => Event::Done { message: id, stop: "stopped" },
        _ => Event::Done { message: id, stop: "end" },
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;
    use crate::clock::{Clock, Random};

    fn turn() -> TurnId {
        TurnId::new(&Clock::system(), &Random::system())
    }

    #[tokio::test]
    async fn every_listener_is_told_everything_from_the_start() {
        let (hub, turn) = (Hub::default(), turn());
        let early = hub.listen(turn);
        let speaker = hub.begin(turn);
        speaker.say(Event::Text("a".into()));
        let late = hub.listen(turn);
        speaker.say(Event::Text("b".into()));
        let message = MessageId::new(&Clock::system(), &Random::system());
        speaker.say(Event::Done { message, stop: "end" });
        drop(speaker);
        let early: Vec<Numbered> = early.collect().await;
        let late: Vec<Numbered> = late.collect().await;
        assert_eq!(early, late);
        assert_eq!(early.len(), 3);
        assert_eq!(early[2].id, 3);
        assert!(hub.lock().is_empty());
    }

    #[tokio::test]
    async fn a_turn_that_breaks_off_ends_for_its_listeners() {
        let (hub, turn) = (Hub::default(), turn());
        let listener = hub.listen(turn);
        drop(hub.begin(turn));
        let told: Vec<Numbered> = listener.collect().await;
        assert!(matches!(told[0].event, Event::Error(_)), "{told:?}");
    }

    #[test]
    fn an_event_is_one_line_of_data() {
        let numbered = Numbered { id: 7, event: Event::Text("a\nb".into()) };
        assert_eq!(numbered.sse(), "id: 7\nevent: text\ndata: {\"text\":\"a\\nb\"}\n\n");
    }
}
