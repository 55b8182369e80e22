//! What a person does with a conversation: asks, asks for another answer, stops, allows validations, renames,
//! pins, deletes. Only its owner may.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::json;

use super::Chat;
use super::hub::{self, Numbered};
use super::records::{
    CONSENTS, CONVERSATIONS, Consent, Conversation, MESSAGES, Message, REPLAYS, Role, State, TURNS, Turn,
};
use crate::ids::{AccountId, ConversationId, MessageId, OrgId, TurnId};
use crate::jobs::{JobCause, enqueue};
use crate::meter::{self, Act, Event, Feature};
use crate::orgs::records::ORGS;
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError, Tx};
use crate::web::Problem;
use crate::workspace::{Change, Member, Workspace};

/// The kind of the job that answers a question.
pub const TURN: &str = "chat.turn";
/// Longest question, in characters.
pub const LONGEST: usize = 32_000;
/// Longest name of a conversation, in characters.
const LONGEST_TITLE: usize = 120;
/// The name of a conversation until its first question gives it one.
const UNNAMED: &str = "New conversation";
/// What the consent to validations asks for.
const VALIDATE: &str = "Validate it.";

/// A question that was taken.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub conversation: ConversationId,
    pub question: MessageId,
    pub answer: MessageId,
    pub turn: TurnId,
}

/// What pages of the conversation listen to.
pub fn topic(id: ConversationId) -> String {
    format!("chat:{id}")
}

/// The conversation, if it is this person's.
pub fn of(ws: &Member, id: ConversationId) -> Result<Conversation, Problem> {
    let found = ws.read()?.get(&CONVERSATIONS, &id)?;
    found.filter(|conversation| conversation.owner == ws.account()).ok_or(Problem::NotFound)
}

impl Chat {
    /// Takes a question, in a new conversation or an old one, and has it answered.
    pub async fn ask(
        &self,
        ws: &Member,
        conversation: Option<ConversationId>,
        org: Option<OrgId>,
        text: &str,
    ) -> Result<Asked, Problem> {
        ws.processing()?;
        let text = text.trim().to_owned();
        if text.is_empty() {
            return Err(Problem::field("text", "Write a message first."));
        }
        if text.chars().count() > LONGEST {
            return Err(Problem::field("text", format!("A message may have {LONGEST} characters.")));
        }
        let (clock, random) = (ws.clock(), ws.random());
        let now = clock.now();
        let (id, row) = if let Some(id) = conversation {
            let mut row = Conversation { org, updated: now, ..of(ws, id)? };
            if row.title == UNNAMED && newest(ws, id)?.is_none() {
                row.title = title(&text);
            }
            (id, row)
        } else {
            let (title, owner) = (title(&text), ws.account());
            let row = Conversation { title, org, owner, created: now, updated: now, pinned: false };
            (ConversationId::new(clock, random), row)
        };
        let question = next(ws, newest(ws, id)?);
        let used = used(ws, row.org).count(Act::Message, 1);
        let used = used.count(Act::ConversationStarted, u64::from(conversation.is_none()));
        let asked = Asked {
            conversation: id,
            question,
            answer: next(ws, Some(question)),
            turn: TurnId::new(clock, random),
        };
        let cause = JobCause::of(ws);
        ws.change(Action::QuestionAsked, id, move |tx| {
            nothing_runs(tx, id)?;
            tx.put(&CONVERSATIONS, &id, &row)?;
            tx.put(&MESSAGES, &(id, question), &Message::question(asked.turn, now, text))?;
            meter::record(tx, now, &used)?;
            begin(tx, &cause, asked, now)
        })
        .await?;
        Ok(asked)
    }

    /// Begins a conversation that has no question yet.
    pub async fn begin(
        &self,
        ws: &Member,
        org: Option<OrgId>,
        title: Option<&str>,
    ) -> Result<ConversationId, Problem> {
        if let Some(org) = org
            && !ws.read()?.has(&ORGS, &org)?
        {
            return Err(Problem::field("org", "There is no such org in this workspace."));
        }
        let title = match title.map(str::trim).filter(|title| !title.is_empty()) {
            Some(title) => title.chars().take(LONGEST_TITLE).collect(),
            None => UNNAMED.to_owned(),
        };
        let (id, now) = (ConversationId::new(ws.clock(), ws.random()), ws.clock().now());
        let row = Conversation { title, org, owner: ws.account(), created: now, updated: now, pinned: false };
        // It may be begun while processing is restricted; then it is not counted.
        let used = ws.processing().is_ok().then(|| used(ws, org).count(Act::ConversationStarted, 1));
        ws.change::<_, StoreError>(Action::ConversationChanged, id, move |tx| {
            if let Some(used) = used {
                meter::record(tx, now, &used)?;
            }
            tx.put(&CONVERSATIONS, &id, &row)
        })
        .await?;
        Ok(id)
    }

    /// Asks the last question once more; the answers before are kept.
    pub async fn again(&self, ws: &Member, id: ConversationId) -> Result<Asked, Problem> {
        ws.processing()?;
        let row = Conversation { updated: ws.clock().now(), ..of(ws, id)? };
        let read = ws.read()?;
        let rows = read.scan(&MESSAGES).under(&id).reverse().rows()?;
        drop(read);
        let last = rows.into_iter().find(|(_, message)| message.role == Role::User);
        let Some(((_, question), _)) = last else { return Err(Problem::NotFound) };
        let (clock, random) = (ws.clock(), ws.random());
        let (answer, turn) = (next(ws, newest(ws, id)?), TurnId::new(clock, random));
        let asked = Asked { conversation: id, question, answer, turn };
        let (cause, now) = (JobCause::of(ws), clock.now());
        ws.change(Action::QuestionAsked, id, move |tx| {
            nothing_runs(tx, id)?;
            tx.put(&CONVERSATIONS, &id, &row)?;
            begin(tx, &cause, asked, now)
        })
        .await?;
        Ok(asked)
    }

    /// Allows validations in this org from this conversation, and asks for one.
    pub async fn consent(&self, ws: &Member, id: ConversationId, org: OrgId) -> Result<Asked, Problem> {
        ws.processing()?;
        of(ws, id)?;
        if !ws.read()?.has(&ORGS, &org)? {
            return Err(Problem::NotFound);
        }
        let consent = Consent { by: ws.account(), at: ws.clock().now() };
        ws.change::<_, StoreError>(Action::ValidationAllowed, id, move |tx| {
            tx.put(&CONSENTS, &(id, org), &consent)
        })
        .await?;
        self.ask(ws, Some(id), Some(org), VALIDATE).await
    }

    /// Stops a turn; what came is kept.
    pub async fn stop(&self, ws: &Member, id: ConversationId, turn: TurnId) -> Result<(), Problem> {
        if !turn_of(ws, id, turn)?.running {
            return Ok(());
        }
        // Also one whose job has not begun: it finds itself stopped.
        let running = self.hub.open(turn);
        running.stop.cancel();
        if !turn_of(ws, id, turn)?.running {
            self.hub.close(turn);
            return Ok(());
        }
        // Ends when the turn has told its last event, so that the page which follows shows it stopped.
        let ended = hub::listen(running).for_each(|_| std::future::ready(()));
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), ended).await;
        Ok(())
    }

    /// The events of a turn, from the first on; `None` is a heartbeat.
    pub fn attach(
        &self,
        ws: &Member,
        id: ConversationId,
        turn: TurnId,
    ) -> Result<(MessageId, BoxStream<'static, Option<Numbered>>), Problem> {
        let row = turn_of(ws, id, turn)?;
        if row.running {
            let running = self.hub.open(turn);
            // It may have ended since it was read; then nobody tells its end here.
            if turn_of(ws, id, turn)?.running {
                return Ok((row.answer, hub::listen(running).boxed()));
            }
            if Arc::strong_count(&running) <= 2 {
                self.hub.close(turn);
            }
        }
        let message = ws.read()?.get(&MESSAGES, &(id, row.answer))?.ok_or(Problem::NotFound)?;
        let events = hub::told(row.answer, &message).into_iter().zip(1..);
        let events = events.map(|(event, id)| Some(Numbered { id, event })).collect::<Vec<_>>();
        Ok((row.answer, futures_util::stream::iter(events).boxed()))
    }

    /// Removes a conversation with everything said in it.
    pub async fn delete(&self, ws: &Member, id: ConversationId) -> Result<(), Problem> {
        of(ws, id)?;
        let stopped = ws.change::<_, StoreError>(Action::ConversationDeleted, id, move |tx| {
            let turns = remove(tx, id)?;
            tx.announce(topic(id));
            Ok(turns)
        });
        for turn in stopped.await? {
            if let Some(running) = self.hub.of(turn) {
                running.stop.cancel();
            }
        }
        Ok(())
    }
}

/// Removes what is kept of a conversation; answers its turns.
pub(super) fn remove(tx: &mut Tx, id: ConversationId) -> Result<Vec<TurnId>, StoreError> {
    let mut turns = Vec::new();
    for (key, message) in tx.scan(&MESSAGES).under(&id).rows()? {
        tx.remove(&MESSAGES, &key)?;
        tx.remove_under(&REPLAYS, &message.turn)?;
        tx.remove(&TURNS, &message.turn)?;
        turns.push(message.turn);
    }
    tx.remove_under(&CONSENTS, &id)?;
    tx.remove(&CONVERSATIONS, &id)?;
    Ok(turns)
}

/// Removes the conversations of somebody whose account is erased, one a commit, so that a crash loses no work. Running
/// it again finds what is left.
pub async fn erase(ws: &Workspace, owner: AccountId) -> Result<(), StoreError> {
    let mut own = Vec::new();
    ws.read()?.scan(&CONVERSATIONS).each(|id, row| {
        own.extend((row.owner == owner).then_some(id));
        true
    })?;
    for id in own {
        ws.change(Action::ConversationDeleted, id, move |tx| remove(tx, id)).await?;
    }
    Ok(())
}

fn turn_of(ws: &Member, id: ConversationId, turn: TurnId) -> Result<Turn, Problem> {
    of(ws, id)?;
    let row = ws.read()?.get(&TURNS, &turn)?;
    row.filter(|row| row.conversation == id).ok_or(Problem::NotFound)
}

/// Gives a conversation a name of the person's own.
pub async fn rename(ws: &Member, id: ConversationId, title: &str) -> Result<(), Problem> {
    let title = title.trim().to_owned();
    if title.is_empty() || title.chars().count() > LONGEST_TITLE {
        return Err(Problem::field("title", format!("A name has 1 to {LONGEST_TITLE} characters.")));
    }
    let row = Conversation { title, ..of(ws, id)? };
    put(ws, id, row).await
}

/// Keeps a conversation at the top of the list, or no longer.
pub async fn pin(ws: &Member, id: ConversationId, pinned: bool) -> Result<(), Problem> {
    let row = Conversation { pinned, ..of(ws, id)? };
    put(ws, id, row).await
}

async fn put(ws: &Member, id: ConversationId, row: Conversation) -> Result<(), Problem> {
    let changed = ws.change::<_, StoreError>(Action::ConversationChanged, id, move |tx| {
        tx.announce(topic(id));
        tx.put(&CONVERSATIONS, &id, &row)
    });
    Ok(changed.await?)
}

/// What this person uses of the chat.
fn used(ws: &Member, org: Option<OrgId>) -> Event {
    Event::new(Some(ws.account()), Feature::Chat).org(org)
}

/// Refuses a second turn in the same conversation while one runs.
fn nothing_runs(tx: &Change<'_>, id: ConversationId) -> Result<(), Problem> {
    let last = tx.scan(&MESSAGES).under(&id).reverse().limit(1).rows()?;
    if last.iter().any(|(_, message)| message.state == State::Partial) {
        return Err(Problem::Conflict(
            "An answer is still coming. Stop it or wait for its end, then send again. Nothing was sent."
                .into(),
        ));
    }
    Ok(())
}

fn begin(tx: &mut Change<'_>, cause: &JobCause, asked: Asked, now: jiff::Timestamp) -> Result<(), Problem> {
    let Asked { conversation, question, answer, turn } = asked;
    let job = enqueue(tx, cause, TURN, json!({ "turn": turn }))?;
    tx.put(&TURNS, &turn, &Turn { conversation, question, answer, job, running: true })?;
    tx.put(&MESSAGES, &(conversation, answer), &Message::answer(turn, now, Some(question)))?;
    tx.announce(topic(conversation));
    Ok(())
}

fn newest(ws: &Member, id: ConversationId) -> Result<Option<MessageId>, StoreError> {
    let last = ws.read()?.scan(&MESSAGES).under(&id).reverse().limit(1).rows()?;
    Ok(last.into_iter().next().map(|((_, id), _)| id))
}

/// An id that sorts behind the one before, also when both are made in the same millisecond.
fn next(ws: &Member, before: Option<MessageId>) -> MessageId {
    let next = MessageId::new(ws.clock(), ws.random());
    let Some(before) = before.filter(|before| next <= *before) else { return next };
    let mut bytes = *before.bytes();
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    MessageId::from_bytes(bytes)
}

/// The first words of a question.
fn title(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 60 {
        return line;
    }
    let cut: String = line.chars().take(60).collect();
    let words = cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words);
    format!("{words}…")
}
