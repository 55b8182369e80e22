//! What a turn uses: asked for before each call of the model, counted and committed after it.

use super::records::Message;
use crate::ids::{AccountId, OrgId};
use crate::meter::{Act, Event, Feature, Hold, Meter, Reached, Spent, records};
use crate::models::Chosen;
use crate::store::StoreError;
use crate::wire::model::{Ask, Outcome, Profile, Usage};
use crate::workspace::{Worker, Workspace};

/// The meter of one turn.
pub struct Spending {
    meter: Meter,
    account: Option<AccountId>,
    org: Option<OrgId>,
    /// Calls of the model that were counted.
    calls: usize,
    /// Tool calls that are not committed yet.
    tools: u64,
}

impl Spending {
    pub fn new(meter: Meter, account: Option<AccountId>, org: Option<OrgId>) -> Self {
        Self { meter, account, org, calls: 0, tools: 0 }
    }

    /// Asks for a call, whose prompt is sure to be spent; a budget may say no.
    pub fn begin(
        &self,
        ws: &Workspace,
        chosen: &Chosen,
        ask: &Ask,
    ) -> Result<Result<Hold, Reached>, StoreError> {
        let input = ask.estimated_tokens(Profile::Minimal);
        let used = Usage { input, ..Usage::default() };
        let cost = self.meter.prices()?.cost(&chosen.model, &used, records::date(ws.clock().now()));
        let coming = Spent { tokens: input, nano_usd: cost.unwrap_or(0), unpriced_tokens: 0 };
        self.meter.begin(ws, self.account, coming)
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
        outcome: &Outcome,
        broken: bool,
    ) -> Result<(), StoreError> {
        let (Outcome::Complete(message) | Outcome::Partial(message)) = outcome;
        let used = message.usage;
        let sum = &mut row.usage;
        *sum = Usage {
            input: sum.input.saturating_add(used.input),
            output: sum.output.saturating_add(used.output),
            cache_read: sum.cache_read.saturating_add(used.cache_read),
            cache_write_5m: sum.cache_write_5m.saturating_add(used.cache_write_5m),
            cache_write_1h: sum.cache_write_1h.saturating_add(used.cache_write_1h),
            thinking: sum.thinking.saturating_add(used.thinking),
            estimated: sum.estimated || used.estimated || broken,
        };
        // Each call by itself: prices depend on the length of its prompt.
        let cost = self.meter.prices()?.cost(&chosen.model, &used, records::date(ws.clock().now()));
        let before = if self.calls == 0 { Some(0) } else { row.cost_nano_usd };
        row.cost_nano_usd = before.zip(cost).and_then(|(before, cost)| before.checked_add(cost));
        self.calls += 1;
        let event = self.event(ws).model_call(&chosen.model, &used, cost);
        self.meter.ended(ws, event).await
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
