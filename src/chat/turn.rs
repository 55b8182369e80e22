//! The job that answers a question: the model writes, tools look, and everything is told as it happens. What came is
//! saved every two seconds and at the end, so that neither a lost connection nor the end of the process loses it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Chat;
use super::citations::{Citing, Piece};
use super::hub::{Event, Failure, Running, ToolCalled, Used};
use super::mask::{Known, Masker};
use super::records::{CONVERSATIONS, MESSAGES, Message, REPLAYS, Replay, State, TURNS, ToolShown, Turn};
use super::spending::{Ended, Spending};
use super::tools::{self, Brought, Scope, change};
use super::{fallback, prompt, topic};
use crate::egress::{Cause, Purpose};
use crate::ids::TurnId;
use crate::jobs::{JobContext, JobError, Steps};
use crate::meter;
use crate::models::Chosen;
use crate::orgs::records::ORGS;
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::wire::model::{
    AnswerStream, Ask, AssistantMessage, Event as Heard, Message as Wire, ModelError, Outcome, ResultBlock,
    Stop, ToolCall, ToolResult,
};
use crate::workspace::{Refused, Worker};

/// Answers of the model in one turn.
const STEPS: usize = 12;
/// Tool calls in one turn, and with the same input.
const CALLS: usize = 40;
const SAME: usize = 3;
const LONGEST: Duration = Duration::from_mins(10);
const LONGEST_VALIDATION: Duration = Duration::from_mins(8);
const SAVE_EVERY: Duration = Duration::from_secs(2);
const MAX_TOKENS: u32 = 8_192;
const STOPPED: &str = "The turn was stopped.";
const NO_BUDGET: &str = "The tool budget of this turn is used up. Answer with what you have.";

#[derive(Deserialize)]
struct Args {
    turn: TurnId,
}

/// How a turn ended.
enum End {
    Complete,
    Failed { detail: String, request_id: Option<String> },
    Stopped,
}

fn hindered(why: &Refused) -> End {
    End::Failed { detail: format!("{why}: nothing is sent."), request_id: None }
}

pub async fn run(chat: Chat, job: JobContext) -> Result<(), JobError> {
    let Args { turn: id } =
        serde_json::from_value(job.args.clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    let (ws, steps) = job.split();
    let ws = Arc::new(ws);
    let Some(turn) = ws.read()?.get(&TURNS, &id)?.filter(|turn| turn.running) else { return Ok(()) };
    let Some(row) = ws.read()?.get(&MESSAGES, &(turn.conversation, turn.answer))? else { return Ok(()) };
    let org = ws.read()?.get(&CONVERSATIONS, &turn.conversation)?.and_then(|row| row.org);
    let spending = Spending::new(chat.meter.clone(), (id, &turn), steps.asked_by, org);
    let mut answer = Answer::new(&chat, Arc::clone(&ws), id, turn, row, spending);
    answer.tell(Event::Started(answer.turn.answer));
    let end = if steps.attempt > 1 {
        // An earlier process began it; what came then is kept and counted, and asking again is a person's choice.
        answer.spending.count_left(&answer.ws, &mut answer.row).await?;
        End::Stopped
    } else if let Some(why) = ws.hindered() {
        hindered(&why)
    } else {
        match answer.write(&chat, &steps).await {
            Ok(end) => end,
            // Nothing comes after it: without an end the conversation would wait for one for ever.
            Err(JobError::Fail(why)) => {
                let detail = format!("{why}. Your message is saved. Answer again.");
                End::Failed { detail, request_id: None }
            }
            // Whoever asked is no member any more.
            Err(JobError::Cancelled) if !steps.is_put_off() => End::Stopped,
            Err(error) => {
                chat.hub.close(id);
                return Err(error);
            }
        }
    };
    let finished = answer.finish(end).await;
    chat.hub.close(id);
    finished
}

struct Answer {
    ws: Arc<Worker>,
    running: Arc<Running>,
    id: TurnId,
    turn: Turn,
    row: Message,
    citing: Citing,
    began: Instant,
    saved: Instant,
    /// Something came since.
    unsaved: bool,
    /// What the model will read again.
    replays: Vec<Replay>,
    calls: BTreeMap<String, usize>,
    /// What was masked on the way out.
    known: Known,
    spending: Spending,
}

impl Answer {
    fn new(chat: &Chat, ws: Arc<Worker>, id: TurnId, turn: Turn, row: Message, spending: Spending) -> Self {
        Self {
            ws,
            running: chat.hub.open(id),
            id,
            turn,
            row,
            citing: Citing::default(),
            began: Instant::now(),
            saved: Instant::now(),
            unsaved: false,
            replays: Vec::new(),
            calls: BTreeMap::new(),
            known: Known::default(),
            spending,
        }
    }

    fn tell(&self, event: Event) {
        self.running.tell(event);
    }

    async fn write(&mut self, chat: &Chat, steps: &Steps) -> Result<End, JobError> {
        steps.check()?;
        let read = self.ws.read()?;
        let Some(conversation) = read.get(&CONVERSATIONS, &self.turn.conversation)? else {
            return Ok(End::Stopped);
        };
        let org = match conversation.org {
            Some(id) => read.get(&ORGS, &id)?,
            None => None,
        };
        let ws = Arc::clone(&self.ws);
        let mut masker = Masker::new(&ws);
        let Turn { conversation: id, question, .. } = self.turn;
        let messages = prompt::messages(&read, id, question, org.as_ref(), &mut masker)?;
        drop(read);
        masker.remember(&mut self.known);
        self.citing.knows(self.known.clone());
        let scope = Scope { ws: Arc::clone(&self.ws), org: conversation.org };
        let chosen = chat.models.chosen().map_err(|e| JobError::Fail(e.to_string()))?;
        let Some(chosen) = chosen else {
            return Box::pin(self.without_model(scope)).await;
        };
        self.row.label = Some(chosen.label.clone());
        let cause = Cause {
            purpose: Purpose::Model,
            workspace: Some(self.ws.id()),
            account: steps.asked_by,
            why: format!("turn {}", self.id),
        };
        self.converse(&chosen, &cause, messages, &scope, steps).await
    }

    /// The loop: the model answers or calls tools, until it has nothing more to look at.
    async fn converse(
        &mut self,
        chosen: &Chosen,
        cause: &Cause,
        mut messages: Vec<Wire>,
        scope: &Scope,
        steps: &Steps,
    ) -> Result<End, JobError> {
        let user = self.ws.actor().account().map(|id| crate::seal::hex(&self.ws.lookup(id.bytes())[..16]));
        for step in 1..=STEPS {
            if let Some(why) = self.ws.hindered() {
                return Ok(hindered(&why));
            }
            if self.running.stop.is_cancelled() {
                return Ok(End::Stopped);
            }
            steps.check()?;
            let last = step == STEPS
                || self.calls.values().sum::<usize>() >= CALLS
                || self.began.elapsed() > LONGEST;
            let mut ask = Ask::new(&chosen.model, MAX_TOKENS, messages.clone());
            ask.system = prompt::system();
            ask.tools = tools::offer();
            ask.may_use_tools = !last;
            ask.user.clone_from(&user);
            if !self.row.text.is_empty() && !self.row.text.ends_with('\n') {
                self.add("\n\n".to_owned());
            }
            let begun = match self.spending.begin(&self.ws, &self.row, chosen, &ask).await? {
                Ok(begun) => begun,
                Err(reached) => return Ok(End::Failed { detail: reached.to_string(), request_id: None }),
            };
            let mut stream = chosen.client.stream(cause, &ask);
            // The request is written: its tools and history need no room while the answer comes.
            drop(ask);
            let heard = self.hear(&mut stream, steps).await;
            let outcome = stream.finish();
            let ended = match heard {
                Ok(Some(Ok(()))) => Ended::Whole,
                Ok(Some(Err(_))) => Ended::Failed,
                Ok(None) | Err(_) => Ended::Stopped,
            };
            self.spending.count(&self.ws, &mut self.row, chosen, (&outcome, ended), begun).await?;
            match heard? {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    return Ok(End::Failed { detail: error.to_string(), request_id: error.request_id });
                }
                None => return Ok(End::Stopped),
            }
            let (Outcome::Complete(message) | Outcome::Partial(message)) = outcome;
            self.replays.push(Replay::Assistant(message.content.clone()));
            let calls = message.tool_calls();
            if calls.is_empty() {
                return Ok(end_of(&message));
            }
            messages.push(Wire::Assistant(message.content));
            let mut results = Vec::new();
            for call in calls {
                if self.running.stop.is_cancelled() {
                    return Ok(End::Stopped);
                }
                steps.check()?;
                results.push(Box::pin(self.look(call, scope, steps)).await);
            }
            self.replays.push(Replay::of_results(&results));
            messages.push(Wire::Results(results));
            self.save().await?;
        }
        Ok(End::Complete)
    }

    /// Hears one answer of the model to its end; `None` when a person stopped it.
    async fn hear(
        &mut self,
        stream: &mut AnswerStream,
        steps: &Steps,
    ) -> Result<Option<Result<(), ModelError>>, JobError> {
        let stop = self.running.stop.clone();
        loop {
            // One wait for the next event, however often what came is saved meanwhile: given up, it would lose the stream.
            let mut next = std::pin::pin!(stream.next());
            let heard = loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(None),
                    () = steps.cancel.cancelled() => {
                        self.save().await?;
                        return Err(JobError::Cancelled);
                    }
                    heard = &mut next => break heard,
                    () = tokio::time::sleep_until(self.saved + SAVE_EVERY), if self.unsaved => {
                        self.save().await?;
                    }
                }
            };
            match heard {
                None => break,
                Some(Err(error)) => {
                    let rest = self.citing.rest();
                    self.put(rest);
                    return Ok(Some(Err(error)));
                }
                Some(Ok(Heard::Text(text))) => {
                    let pieces = self.citing.take(&text);
                    self.put(pieces);
                }
                Some(Ok(Heard::Citation(citation))) => {
                    let pieces = self.citing.passage(&citation.source, &citation.cited_text);
                    self.put(pieces);
                }
                Some(Ok(_)) => {}
            }
            if self.saved.elapsed() >= SAVE_EVERY {
                self.save().await?;
            }
        }
        let rest = self.citing.rest();
        self.put(rest);
        Ok(Some(Ok(())))
    }

    fn put(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Citation(citation) => {
                    self.unsaved = true;
                    self.tell(Event::Citation(Box::new(citation.clone())));
                    self.row.citations.push(citation);
                }
                Piece::Text(text) => self.add(text),
            }
        }
    }

    fn add(&mut self, text: String) {
        self.unsaved = true;
        self.row.text.push_str(&text);
        self.tell(Event::Text(text));
    }

    /// Carries out one call.
    async fn look(&mut self, call: ToolCall, scope: &Scope, steps: &Steps) -> ToolResult {
        let Ok(input) = call.input else {
            return ToolResult::error(&call.id, "The input is no JSON object. Send it again.".into());
        };
        let same = self.calls.entry(format!("{} {}", call.name, Value::Object(input.clone()))).or_default();
        *same += 1;
        if *same > SAME || self.calls.values().sum::<usize>() > CALLS {
            return ToolResult::error(&call.id, NO_BUDGET.into());
        }
        let summary = tools::said(&call.name, &input);
        self.spending.tool_called();
        self.tell(tool(&call.name, "running", &summary));
        let brought = match call.name.as_str() {
            change::PROPOSE => self.propose(scope, input).await,
            change::VALIDATE => self.validate(scope, input, steps).await,
            _ => {
                let stop = self.running.stop.clone();
                tokio::select! {
                    () = stop.cancelled() => Err(tools::Failed(STOPPED.into())),
                    () = steps.cancel.cancelled() => Err(tools::Failed(STOPPED.into())),
                    brought = tools::read(scope.clone(), call.name.clone(), input) => brought,
                }
            }
        };
        let failed = brought.is_err();
        let (found, result) = match brought {
            Ok(mut brought) => {
                let mut masker = Masker::new(&self.ws);
                masker.result(&mut brought.json);
                for block in &mut brought.passages {
                    if let ResultBlock::SearchResult { title, texts, .. } = block {
                        *title = masker.foreign(title);
                        for text in texts {
                            *text = masker.foreign(text);
                        }
                    }
                }
                masker.remember(&mut self.known);
                let result = brought.result(&call.id);
                self.citing.learn(brought.sources);
                (brought.found, result)
            }
            Err(tools::Failed(why)) => (String::new(), ToolResult::error(&call.id, why)),
        };
        let status = if failed { "failed" } else { "done" };
        self.tell(tool(&call.name, status, &summary));
        self.row.tools.push(ToolShown { name: call.name, failed, summary, found });
        result
    }

    async fn propose(&mut self, scope: &Scope, input: Map<String, Value>) -> Result<Brought, tools::Failed> {
        let (id, brought) = change::propose(scope, self.turn.conversation, input, &self.known).await?;
        self.row.proposals.push(id);
        self.tell(Event::Proposal(id));
        Ok(brought)
    }

    async fn validate(
        &mut self,
        scope: &Scope,
        input: Map<String, Value>,
        steps: &Steps,
    ) -> Result<Brought, tools::Failed> {
        let stop = self.running.stop.clone();
        let validated = change::validate(scope, self.turn.conversation, input);
        let validated = tokio::select! {
            () = stop.cancelled() => return Err(tools::Failed(STOPPED.into())),
            () = steps.cancel.cancelled() => return Err(tools::Failed(STOPPED.into())),
            validated = tokio::time::timeout(LONGEST_VALIDATION, validated) => validated,
        };
        match validated {
            Ok(Ok(brought)) => Ok(brought),
            Ok(Err(change::Refused::NoConsent(org))) => {
                self.row.wants_consent = Some(org);
                Err(tools::Failed(change::NO_CONSENT.into()))
            }
            Ok(Err(change::Refused::Failed(failed))) => Err(failed),
            Err(_) => Err(tools::Failed("The validation still runs. Its page shows the result.".into())),
        }
    }

    async fn without_model(&mut self, scope: Scope) -> Result<End, JobError> {
        let read = self.ws.read()?;
        let key = (self.turn.conversation, self.turn.question);
        let question = read.get(&MESSAGES, &key)?.map(|row| row.text).unwrap_or_default();
        drop(read);
        let found = tokio::task::spawn_blocking(move || fallback::answer(&scope, &question)).await;
        let found = found.map_err(|e| JobError::Fail(e.to_string()))?;
        self.citing.learn(found.sources);
        let pieces = self.citing.take(&found.text);
        self.put(pieces);
        let rest = self.citing.rest();
        self.put(rest);
        Ok(End::Complete)
    }

    /// Saves what came so far.
    async fn save(&mut self) -> Result<(), JobError> {
        (self.saved, self.unsaved) = (Instant::now(), false);
        self.row.took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (key, row) = ((self.turn.conversation, self.turn.answer), self.row.clone());
        let kept = self.ws.note::<_, StoreError>(move |tx| {
            if tx.has(&MESSAGES, &key)? { tx.put(&MESSAGES, &key, &row) } else { Ok(()) }
        });
        Ok(kept.await?)
    }

    async fn finish(mut self, end: End) -> Result<(), JobError> {
        self.row.took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let message = self.turn.answer;
        self.row.state = match &end {
            End::Complete => State::Complete,
            End::Failed { .. } => State::Failed,
            End::Stopped => State::Stopped,
        };
        let last = match end {
            End::Complete => Event::Done { message, stop: "end_turn" },
            End::Stopped => Event::Done { message, stop: "stopped" },
            End::Failed { detail, request_id } => {
                let id = request_id.as_ref().map(|id| format!(" Request {id}.")).unwrap_or_default();
                self.row.failure = Some(format!("{detail}{id}"));
                let title = "The answer failed".into();
                Event::Failed(Box::new(Failure { title, detail, request_id }))
            }
        };
        let usage = Event::Usage(Box::new(Used {
            input_tokens: self.row.usage.prompt(),
            output_tokens: self.row.usage.output,
            cost_nano_usd: self.row.cost_nano_usd,
        }));
        let (conversation, id, row) = (self.turn.conversation, self.id, self.row.clone());
        let turn = Turn { running: false, ..self.turn.clone() };
        let replays = std::mem::take(&mut self.replays);
        let (rest, now) = (self.spending.rest(&self.ws), self.ws.clock().now());
        let kept = self.ws.change::<_, StoreError>(Action::QuestionAnswered, conversation, move |tx| {
            if rest.sums != meter::Sums::default() {
                meter::record(tx, now, &rest)?;
            }
            // Deleted while it ran: nothing of what was said is kept.
            let Some(mut of) = tx.get(&CONVERSATIONS, &conversation)? else { return Ok(()) };
            of.updated = row.at.max(of.updated);
            tx.put(&CONVERSATIONS, &conversation, &of)?;
            tx.put(&MESSAGES, &(conversation, turn.answer), &row)?;
            tx.put(&TURNS, &id, &turn)?;
            for (n, replay) in (0u32..).zip(&replays) {
                tx.put(&REPLAYS, &(id, n), replay)?;
            }
            tx.announce(topic(conversation));
            Ok(())
        });
        kept.await?;
        // Told after it is kept, so that a page which looks now sees the end.
        self.tell(usage);
        self.tell(last);
        Ok(())
    }
}

fn tool(name: &str, status: &'static str, summary: &str) -> Event {
    Event::Tool(Box::new(ToolCalled { name: name.to_owned(), status, summary: summary.to_owned() }))
}

fn end_of(message: &AssistantMessage) -> End {
    let failed =
        |detail: &str| End::Failed { detail: detail.to_owned(), request_id: message.request_id.clone() };
    match &message.stop {
        Stop::Refusal(_) => {
            failed("The model declined to answer this. Your message is saved; ask in other words.")
        }
        Stop::MaxTokens => {
            failed("The answer reached its longest length. What came is kept; ask for the rest.")
        }
        Stop::ContextFull => {
            failed("The conversation is too long for this model. It is kept; begin a new one to go on.")
        }
        _ => End::Complete,
    }
}
