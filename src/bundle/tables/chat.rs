//! Conversations.

use serde_json::json;

use crate::bundle::key::Form::Plain;
use crate::bundle::schema::{any, flag, id, list, maybe, number, object, one_of, text, time};
use crate::bundle::table::{Records, link_in, link_out, of};
use crate::chat::records::{CONVERSATIONS, MESSAGES, REPLAYS, TURNS};

/// An id that no job has.
pub const NO_JOB: &str = "00000000000000000000000000";

pub fn all() -> Vec<Box<dyn Records>> {
    vec![Box::new(conversations()), Box::new(messages()), Box::new(replays()), Box::new(turns())]
}

fn conversations() -> impl Records {
    let record = object([
        ("id", id()),
        ("title", text()),
        ("org", maybe(id())),
        ("owner", id()),
        ("created", time()),
        ("updated", time()),
        ("pinned", flag()),
    ]);
    of(CONVERSATIONS, &[("id", Plain)], record).own(|_, row, me| row.owner == me.account)
}

fn messages() -> impl Records {
    let citation = object([
        ("n", number()),
        ("kind", text()),
        ("ref", text()),
        ("title", text()),
        ("href", text()),
        ("page?", number()),
        ("lines?", list(number())),
        ("quote", text()),
    ]);
    let tool = object([("name", text()), ("failed", flag()), ("summary", text()), ("found", text())]);
    let usage = object([
        ("input", number()),
        ("output", number()),
        ("cache_read", number()),
        ("cache_write_5m", number()),
        ("cache_write_1h", number()),
        ("thinking", number()),
        ("estimated", flag()),
    ]);
    let record = object([
        ("conversation", id()),
        ("id", id()),
        ("role", one_of(&["assistant", "user"])),
        ("at", time()),
        ("turn", id()),
        ("answers", maybe(id())),
        ("text", text()),
        ("state", one_of(&["complete", "failed", "stopped"])),
        ("citations", list(citation)),
        ("tools", list(tool)),
        ("proposals", list(id())),
        ("wants_consent", maybe(id())),
        ("failure", maybe(text())),
        ("usage", usage),
        ("cost_nano_usd", maybe(number())),
        ("label", maybe(text())),
        ("took_ms", number()),
    ]);
    of(MESSAGES, &[("conversation", Plain), ("id", Plain)], record)
        .own(|(conversation, _), _, me| me.conversations.contains(conversation))
        .between(
            |record, slug| {
                // It is being written: what came until now.
                if record["state"] == "partial" {
                    record["state"] = json!("stopped");
                }
                for citation in record["citations"].as_array_mut().into_iter().flatten() {
                    link_out(&mut citation["href"], slug);
                }
            },
            |record, filling| {
                for citation in
                    record.get_mut("citations").and_then(|c| c.as_array_mut()).into_iter().flatten()
                {
                    if let Some(href) = citation.get_mut("href") {
                        link_in(href, filling.slug);
                    }
                }
            },
        )
}

fn replays() -> impl Records {
    let result =
        object([("call", text()), ("is_error", flag()), ("text", text()), ("passages", list(list(any())))]);
    let record = object([
        ("turn", id()),
        ("number", number()),
        ("Assistant?", list(any())),
        ("Results?", list(result)),
    ]);
    of(REPLAYS, &[("turn", Plain), ("number", Plain)], record).own(|(turn, _), _, me| me.turns.contains(turn))
}

fn turns() -> impl Records {
    let record = object([("id", id()), ("conversation", id()), ("question", id()), ("answer", id())]);
    of(TURNS, &[("id", Plain)], record)
        .without(&["job", "running"])
        .own(|_, turn, me| me.conversations.contains(&turn.conversation))
        .between(
            |_, _| {},
            |record, _| {
                record.insert("job".into(), json!(NO_JOB));
                record.insert("running".into(), json!(false));
            },
        )
}
