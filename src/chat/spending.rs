//! What a turn uses: asked for before each call of the model, counted and committed after it. A call is written down before
//! it is made, so that a process that dies in between does not make it free.

use super::records::{MESSAGES, Message, OPEN_CALLS, OpenCall, Turn};
use crate::ids::{AccountId, OrgId, TurnId};
use crate::meter::{Act, Event, Feature, Hold, Meter, Reached, Spent, records};
use crate::models::Chosen;
use crate::store::{Read as _, StoreError};
use crate::wire::model::{Ask, Outcome, Profile, Usage, estimated_tokens};
use crate::workspace::{Worker, Workspace};

/// A call that may be made; drop it after it was counted.
pub struct Begun {
    _hold: Hold,
    /// Tokens of its prompt, estimated.
    input: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server or the way to it failed.
    Failed,
    /// A person or the end of the process stopped it.
    Stopped,
    Whole,
}

/// The meter of one turn.
pub struct Spending {
    meter: Meter,
    id: TurnId,
    turn: Turn,
    account: Option<AccountId>,
    org: Option<OrgId>,
    /// Calls of the model that were counted.
    calls: usize,
    /// Tool calls that are not committed yet.
    tools: u64,
}

impl Spending {
    pub fn new(
        meter: Meter,
        (id, turn): (TurnId, &Turn),
        account: Option<AccountId>,
        org: Option<OrgId>,
    ) -> Self {
        Self { meter, id, turn: turn.clone(), account, org, calls: 0, tools: 0 }
    }

    /// Asks for a call, whose prompt is sure to be spent; a budget may say no.
    pub async fn begin(
        &self,
        ws: &Workspace,
        row: &Message,
        chosen: &Chosen,
        ask: &Ask,
    ) -> Result<Result<Begun, Reached>, StoreError> {
        let input = ask.estimated_tokens(Profile::Minimal);
        let used = Usage { input, ..Usage::default() };
        let cost = self.meter.prices()?.cost(&chosen.model, &used, records::date(ws.clock().now()));
        let coming = Spent { tokens: input, nano_usd: cost.nano_usd, unpriced_tokens: 0 };
        let hold = match self.meter.begin(ws, self.account, coming)? {
            Ok(hold) => hold,
            Err(reached) => return Ok(Err(reached)),
        };
        let (id, open) = (self.id, OpenCall { model: chosen.model.clone(), input, before: row.text.len() });
        ws.note::<_, StoreError>(move |tx| tx.put(&OPEN_CALLS, &id, &open)).await?;
        Ok(Ok(Begun { _hold: hold, input }))
    }

    pub fn tool_called(&mut self) {
        self.tools += 1;
    }

    /// Counts a call that has ended, whole or broken off, into the answer and durably into the workspace's sums.
    pub async fn count(
        &mut self,
        ws: &Worker,
        row: &mut Message,
        chosen: &Chosen,
        (outcome, ended): (&Outcome, Ended),
        begun: Begun,
    ) -> Result<(), StoreError> {
        let (Outcome::Complete(message) | Outcome::Partial(message)) = outcome;
        let mut used = message.usage;
        used.estimated |= ended != Ended::Whole;
        // Not every server reports what the prompt took, and none does of a call that was stopped before it answered.
        // One that failed before that took nothing.
        let answered = !message.content.is_empty() || !message.id.is_empty();
        if used.prompt() == 0 && (answered || ended == Ended::Stopped) {
            (used.input, used.estimated) = (begun.input, true);
        }
        self.add(ws, row, &chosen.model, used).await
    }

    /// Counts a call that was under way when an earlier process ended: its prompt, and what is kept of its answer.
    pub async fn count_left(&mut self, ws: &Worker, row: &mut Message) -> Result<(), StoreError> {
        let Some(OpenCall { model, input, before }) = ws.read()?.get(&OPEN_CALLS, &self.id)? else {
            return Ok(());
        };
        let output = estimated_tokens(row.text.len().saturating_sub(before));
        let used = Usage { input, output, estimated: true, ..Usage::default() };
        self.calls = usize::from(row.usage != Usage::default());
        self.add(ws, row, &model, used).await
    }

    async fn add(
        &mut self,
        ws: &Worker,
        row: &mut Message,
        model: &str,
        used: Usage,
    ) -> Result<(), StoreError> {
        let sum = &mut row.usage;
        *sum = Usage {
            input: sum.input.saturating_add(used.input),
            output: sum.output.saturating_add(used.output),
            cache_read: sum.cache_read.saturating_add(used.cache_read),
            cache_write_5m: sum.cache_write_5m.saturating_add(used.cache_write_5m),
            cache_write_1h: sum.cache_write_1h.saturating_add(used.cache_write_1h),
            thinking: sum.thinking.saturating_add(used.thinking),
            estimated: sum.estimated || used.estimated,
        };
        // Each call by itself: prices depend on the length of its prompt.
        let cost = self.meter.prices()?.cost(model, &used, records::date(ws.clock().now()));
        let before = if self.calls == 0 { Some(0) } else { row.cost_nano_usd };
        row.cost_nano_usd = before.zip(cost.whole()).and_then(|(before, cost)| before.checked_add(cost));
        self.calls += 1;
        let event = self.event(ws).model_call(model, &used, cost);
        // The answer says what it took in the commit that counts it.
        let (id, key, row) = (self.id, (self.turn.conversation, self.turn.answer), row.clone());
        let with = move |tx: &mut crate::store::Tx| {
            tx.remove(&OPEN_CALLS, &id)?;
            if tx.has(&MESSAGES, &key)? { tx.put(&MESSAGES, &key, &row) } else { Ok(()) }
        };
        self.meter.ended(ws, event, with).await
    }

    /// What is left to commit with the end of the turn.
    pub fn rest(&mut self, ws: &Worker) -> Event {
        self.event(ws)
    }

    /// A call that was under way when its person's processing was restricted is counted for nobody.
    fn event(&mut self, ws: &Worker) -> Event {
        let tools = std::mem::take(&mut self.tools);
        Event::new(ws.counted(), Feature::Chat).org(self.org).count(Act::ToolCall, tools)
    }
}
