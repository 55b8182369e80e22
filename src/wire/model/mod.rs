//! Client of any server that speaks the Messages API. Start at `client`; `request` builds what is sent, `sse` and
//! `stream` read what comes, `error` says what went wrong, `retry` when to try again.

mod answer;
mod client;
mod error;
mod request;
mod retry;
mod sse;
mod stream;
mod usage;

pub use answer::{AssistantMessage, Citation, Outcome, Stop, ToolCall, without_thinking};
pub use client::{
    AnswerStream, Auth, Endpoint, ModelClient, ModelInfo, Tested, VERSION_ANTHROPIC, VERSION_OTHERS,
};
pub use error::{Fault, ModelError};
pub use request::{Ask, AskError, Cache, Message, Profile, ResultBlock, SystemBlock, Tool, ToolResult};
pub use sse::Decoder;
pub use stream::{Accumulator, Event};
pub use usage::{Usage, estimated_tokens};
