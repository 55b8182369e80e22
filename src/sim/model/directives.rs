//! What a test can order in its question: `[[fake:say T]]`, `[[fake:think T]]`, `[[fake:tools NAME JSON ;; NAME JSON]]`,
//! `[[fake:refuse CATEGORY]]`, `[[fake:error STATUS TYPE]]`, `[[fake:overloaded_once KEY]]`, `[[fake:midstream TYPE]]`,
//! `[[fake:long N]]`, `[[fake:slow MS]]`, `[[fake:truncate]]`, `[[fake:reset]]`, `[[fake:html]]`. Several may stand together.

use std::time::Duration;

use super::check::Refusal;
use super::reply::{Ending, Part, Reply};

pub enum Order {
    Answer(Reply),
    Html,
    Refuse { refusal: Refusal, once: Option<String> },
}

pub fn read(question: &str) -> Option<Order> {
    let mut reply = Reply::default();
    let mut found = false;
    for part in question.split("[[fake:").skip(1) {
        let (order, _) = part.split_once("]]")?;
        let (name, value) = order.split_once(' ').unwrap_or((order, ""));
        found = true;
        match name {
            "error" => {
                let (status, kind) = value.split_once(' ').unwrap_or((value, "api_error"));
                let refusal = Refusal::new(status.parse().unwrap_or(500), kind, "Ordered by a test".into());
                return Some(Order::Refuse { refusal, once: None });
            }
            "html" => return Some(Order::Html),
            "long" => {
                let words: Vec<String> =
                    (0..value.parse().unwrap_or(100u32)).map(|n| format!("word{n} ")).collect();
                reply.parts.push(Part::text(words.concat()));
            }
            "midstream" => reply.ending = Ending::MidStream(value.to_owned()),
            "overloaded_once" => {
                let mut refusal = Refusal::new(529, "overloaded_error", "Overloaded".into());
                refusal.headers.push(("retry-after-ms", "20".into()));
                return Some(Order::Refuse { refusal, once: Some(value.to_owned()) });
            }
            "refuse" => reply.refusal = Some(value.to_owned()),
            "reset" => reply.ending = Ending::Reset,
            "say" => reply.parts.push(Part::text(value)),
            "slow" => reply.slow = Duration::from_millis(value.parse().unwrap_or(10)),
            "think" => reply.parts.push(Part::Thinking(value.to_owned())),
            "tools" => reply.parts.extend(value.split(";;").filter_map(|call| {
                let (name, input) = call.trim().split_once(' ').unwrap_or((call.trim(), "{}"));
                Some(Part::Tool { name: name.to_owned(), input: serde_json::from_str(input).ok()? })
            })),
            "truncate" => reply.ending = Ending::Truncate,
            _ => {}
        }
    }
    if reply.parts.is_empty() && reply.refusal.is_none() {
        reply.parts.push(Part::text("As ordered."));
    }
    found.then_some(Order::Answer(reply))
}
