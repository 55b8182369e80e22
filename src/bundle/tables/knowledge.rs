//! Documents with what was read from them; the files themselves stand beside the records.

use serde_json::{Value, json};

use super::chat::NO_JOB;
use crate::bundle::key::Form::Plain;
use crate::bundle::schema::{any, id, list, maybe, number, object, one_of, text, time};
use crate::bundle::table::{Records, of};
use crate::knowledge::records::{DOCUMENTS, PAGES, PASSAGES};

pub fn all() -> Vec<Box<dyn Records>> {
    vec![Box::new(pages()), Box::new(passages()), Box::new(documents())]
}

fn documents() -> impl Records {
    let record = object([
        ("id", id()),
        ("name", text()),
        ("bytes", number()),
        ("status", one_of(&["failed", "queued", "ready"])),
        ("kind", text()),
        ("title", maybe(text())),
        ("language", maybe(text())),
        ("pages", number()),
        ("passages", number()),
        ("warnings", list(text())),
        ("error", maybe(any())),
        ("uploaded", time()),
        ("uploaded_by", maybe(id())),
        ("collection", maybe(text())),
    ]);
    of(DOCUMENTS, &[("id", Plain)], record)
        .without(&["blob", "content", "job"])
        .kept(|id, _, from| !from.hidden.contains(id))
        .own(|_, document, me| document.uploaded_by == Some(me.account))
        .between(
            |record, _| {
                // It is being read: that begins again where it is imported.
                if ["extracting", "indexing"].iter().any(|busy| record["status"] == *busy) {
                    record["status"] = json!("queued");
                }
            },
            |record, filling| {
                let file = record.get("id").and_then(Value::as_str).and_then(filling.file);
                let (blob, content) = file.unwrap_or_default();
                record.insert("blob".into(), blob);
                record.insert("content".into(), content);
                record.insert("job".into(), json!(NO_JOB));
            },
        )
}

fn pages() -> impl Records {
    let record = object([("document", id()), ("page", number()), ("text", text())]);
    of(PAGES, &[("document", Plain), ("page", Plain)], record)
        .single("text")
        .kept(|(document, _), _, from| !from.hidden.contains(document))
}

fn passages() -> impl Records {
    let record = object([
        ("document", id()),
        ("number", number()),
        ("page", number()),
        ("heading", text()),
        ("text", text()),
        ("start", number()),
        ("end", number()),
    ]);
    of(PASSAGES, &[("document", Plain), ("number", Plain)], record)
        .kept(|(document, _), _, from| !from.hidden.contains(document))
}
