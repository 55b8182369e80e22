//! What is kept of conversations: messages are rows of their own, and so is each step of what the model saw.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, ChangeSetId, ConversationId, JobId, MessageId, OrgId, TurnId};
use crate::store::Table;
use crate::wire::model::{self, Usage};

pub const CONVERSATIONS: Table<ConversationId, Conversation> = Table::new("conversations", 1);
pub const MESSAGES: Table<(ConversationId, MessageId), Message> = Table::new("messages", 1);
pub const TURNS: Table<TurnId, Turn> = Table::new("turns", 1);
/// What the model was sent and answered in a turn, in order and masked: replayed with the next question.
pub const STEPS: Table<(TurnId, u32), model::Message> = Table::new("turn_steps", 1);
/// A person's consent that the assistant may ask for validations in an org, for one conversation.
pub const CONSENTS: Table<(ConversationId, OrgId), Consent> = Table::new("conversation_consents", 1);

/// A chat. Only its owner sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conversation {
    pub title: String,
    /// The org that its next question is about.
    pub org: Option<OrgId>,
    pub owner: AccountId,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// A person gave the title.
    pub renamed: bool,
    pub pinned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Assistant,
    User,
}

/// Where an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Complete,
    /// It ended in an error; what came is kept.
    Failed,
    /// It is still coming.
    Partial,
    /// A person, or the end of the process, stopped it; what came is kept.
    Stopped,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Stopped => "stopped",
        }
    }
}

/// One side of a turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub at: Timestamp,
    pub turn: TurnId,
    /// The question an answer belongs to; a question may have several.
    pub answers: Option<MessageId>,
    /// Markdown; `[n]` stands where a citation is.
    pub text: String,
    pub state: State,
    pub citations: Vec<Citation>,
    pub tools: Vec<ToolCall>,
    pub proposals: Vec<ChangeSetId>,
    /// The org in which the assistant would validate, if a person consents.
    pub wants_consent: Option<OrgId>,
    pub failure: Option<String>,
    pub usage: Usage,
    /// Cost in nano-dollars; `None` where no price is known.
    pub cost_nano_usd: Option<u64>,
    /// What the endpoint calls the model that answered; `None`: no model did.
    pub label: Option<String>,
    pub took_ms: u64,
}

/// A numbered pointer from an answer to a component or a page of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    pub n: u32,
    /// `ApexClass`, `Flow`, …, or `document`.
    pub kind: String,
    #[serde(rename = "ref")]
    pub reference: String,
    pub title: String,
    /// Path of the page that shows it.
    pub href: String,
    pub page: Option<u32>,
    pub lines: Option<(u32, u32)>,
    pub quote: String,
}

/// What the assistant did to answer, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    pub name: String,
    /// `running`, `done` or `failed`.
    pub status: String,
    pub summary: String,
    /// What it brought, in a few words.
    #[serde(default)]
    pub found: String,
}

/// A question with its answer.
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
