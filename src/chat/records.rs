//! What is kept of conversations: messages and turns are rows of their own, and what a model needs to read again
//! stands beside what people see.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{AccountId, ChangeSetId, ConversationId, JobId, MessageId, OrgId, TurnId};
use crate::store::Table;
use crate::wire::model::{Message as Wire, ResultBlock, ToolResult, Usage};

pub const CONVERSATIONS: Table<ConversationId, Conversation> = Table::new("conversations", 1);
pub const MESSAGES: Table<(ConversationId, MessageId), Message> = Table::new("messages", 1);
pub const TURNS: Table<TurnId, Turn> = Table::new("turns", 1);
/// What went to and came from the model in a turn, in order, to be read by it again.
pub const REPLAYS: Table<(TurnId, u32), Replay> = Table::new("turn_replays", 1);
/// The call of the model that a turn makes now; gone once it is counted.
pub const OPEN_CALLS: Table<TurnId, OpenCall> = Table::new("turn_calls", 1);
/// Who allowed validations, for a conversation and an org.
pub const CONSENTS: Table<(ConversationId, OrgId), Consent> = Table::new("validation_consents", 1);

/// A call that was begun and not counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenCall {
    pub model: String,
    /// Tokens of its prompt, estimated.
    pub input: u64,
    /// Bytes of the answer that stood there before it.
    pub before: usize,
}

/// A chat. Only its owner sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conversation {
    pub title: String,
    /// The org that its tools read.
    pub org: Option<OrgId>,
    pub owner: AccountId,
    pub created: Timestamp,
    pub updated: Timestamp,
    #[serde(default)]
    pub pinned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Assistant,
    User,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Complete,
    /// The model or the way to it failed; what came is kept.
    Failed,
    /// It is being written.
    Partial,
    /// A person or the end of the process stopped it; what came is kept.
    Stopped,
}

/// One side of a turn. A question may have several answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub at: Timestamp,
    pub turn: TurnId,
    /// The question that this answers.
    pub answers: Option<MessageId>,
    /// As shown: citations stand as `[n]`.
    pub text: String,
    pub state: State,
    #[serde(default)]
    pub citations: Vec<Citation>,
    #[serde(default)]
    pub tools: Vec<ToolShown>,
    #[serde(default)]
    pub proposals: Vec<ChangeSetId>,
    /// It would validate in this org, if a person allowed it.
    #[serde(default)]
    pub wants_consent: Option<OrgId>,
    /// What failed, in words for people.
    #[serde(default)]
    pub failure: Option<String>,
    #[serde(default)]
    pub usage: Usage,
    #[serde(default)]
    pub cost_nano_usd: Option<u64>,
    /// What the endpoint calls the model that answered.
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub took_ms: u64,
}

impl Message {
    pub fn question(turn: TurnId, at: Timestamp, text: String) -> Self {
        Self { role: Role::User, state: State::Complete, text, ..Self::answer(turn, at, None) }
    }

    /// An answer of which nothing came yet.
    pub fn answer(turn: TurnId, at: Timestamp, answers: Option<MessageId>) -> Self {
        Self {
            role: Role::Assistant,
            at,
            turn,
            answers,
            text: String::new(),
            state: State::Partial,
            citations: Vec::new(),
            tools: Vec::new(),
            proposals: Vec::new(),
            wants_consent: None,
            failure: None,
            usage: Usage::default(),
            cost_nano_usd: None,
            label: None,
            took_ms: 0,
        }
    }
}

/// A numbered pointer from an answer to what it says it from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    pub n: u32,
    /// `ApexClass`, …, or `Document`.
    pub kind: String,
    #[serde(rename = "ref")]
    pub reference: String,
    pub title: String,
    /// Path of its page.
    pub href: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub page: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lines: Option<(u32, u32)>,
    pub quote: String,
}

/// A tool call as people see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToolShown {
    pub name: String,
    pub failed: bool,
    /// What it did: `Read ApexClass RenewalService`.
    pub summary: String,
    /// What it brought: `12 found`.
    pub found: String,
}

/// A question being answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    pub conversation: ConversationId,
    pub question: MessageId,
    pub answer: MessageId,
    pub job: JobId,
    pub running: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Consent {
    pub by: AccountId,
    pub at: Timestamp,
}

/// One message of a turn as the model reads it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Replay {
    Assistant(Vec<Value>),
    Results(Vec<ReplayedResult>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplayedResult {
    call: String,
    is_error: bool,
    text: String,
    /// Reference, title and texts of passages that can be cited.
    passages: Vec<(String, String, Vec<String>)>,
}

impl Replay {
    pub fn of_results(results: &[ToolResult]) -> Self {
        let one = |result: &ToolResult| {
            let mut kept = ReplayedResult {
                call: result.call.clone(),
                is_error: result.is_error,
                text: String::new(),
                passages: Vec::new(),
            };
            for block in &result.content {
                match block {
                    ResultBlock::SearchResult { source, title, texts } => {
                        kept.passages.push((source.clone(), title.clone(), texts.clone()));
                    }
                    ResultBlock::Text(text) => kept.text.push_str(text),
                }
            }
            kept
        };
        Self::Results(results.iter().map(one).collect())
    }

    pub fn message(self) -> Wire {
        match self {
            Self::Assistant(content) => Wire::Assistant(content),
            Self::Results(results) => {
                Wire::Results(results.into_iter().map(ReplayedResult::result).collect())
            }
        }
    }
}

impl ReplayedResult {
    fn result(self) -> ToolResult {
        let mut content: Vec<ResultBlock> = Vec::new();
        if !self.text.is_empty() {
            content.push(ResultBlock::Text(self.text));
        }
        let passage = |(source, title, texts)| ResultBlock::SearchResult { source, title, texts };
        content.extend(self.passages.into_iter().map(passage));
        ToolResult { call: self.call, content, is_error: self.is_error }
    }
}
