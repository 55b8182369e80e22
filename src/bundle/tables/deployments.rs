//! Change sets, with their validations and deployments.

use serde_json::json;

use super::chat::NO_JOB;
use crate::bundle::key::Form::Plain;
use crate::bundle::schema::{flag, free, id, list, maybe, number, object, one_of, text, time};
use crate::bundle::table::{Records, of};
use crate::deployments::records::{CHANGE_FILES, CHANGE_SETS, RUNS, SNAPSHOTS};

pub fn all() -> Vec<Box<dyn Records>> {
    vec![Box::new(sets()), Box::new(files()), Box::new(runs()), Box::new(snapshots())]
}

fn sets() -> impl Records {
    let check = object([("path", text()), ("line", number()), ("message", text()), ("warning", flag())]);
    let record = object([
        ("id", id()),
        ("org", id()),
        ("title", text()),
        ("summary", text()),
        ("author", maybe(id())),
        ("editors", list(id())),
        ("conversation", maybe(id())),
        ("created", time()),
        ("changed", time()),
        ("tests", list(text())),
        ("draft", number()),
        ("hash", text()),
        ("problems", list(check)),
        ("validation", maybe(id())),
        ("deployment", maybe(id())),
        ("rolls_back", maybe(id())),
        ("discarded", maybe(time())),
    ]);
    // What was validated there has to be validated here.
    of(CHANGE_SETS, &[("id", Plain)], record).without(&["ready_until"])
}

fn files() -> impl Records {
    let record =
        object([("change_set", id()), ("path", text()), ("content", maybe(text())), ("base", maybe(text()))]);
    of(CHANGE_FILES, &[("change_set", Plain), ("path", Plain)], record)
}

fn runs() -> impl Records {
    let record = object([
        ("id", id()),
        ("change_set", id()),
        ("org", id()),
        ("kind", one_of(&["deploy", "validate"])),
        ("draft", number()),
        ("by", maybe(id())),
        ("state", one_of(&["cancelled", "failed", "lost", "stopped", "succeeded"])),
        ("phase", text()),
        ("said", text()),
        ("hash", maybe(text())),
        ("tests", list(text())),
        ("sent", maybe(time())),
        ("salesforce", maybe(text())),
        ("cancel_asked", flag()),
        ("result", maybe(free())),
        ("begun", time()),
        ("ended", maybe(time())),
    ]);
    of(RUNS, &[("id", Plain)], record).without(&["job", "package"]).between(
        |record, _| {
            // It runs: how it ends is not known in the bundle.
            if ["queued", "running"].iter().any(|runs| record["state"] == *runs) {
                record["state"] = json!("lost");
            }
        },
        |record, _| {
            record.insert("job".into(), json!(NO_JOB));
            record.insert("package".into(), json!(null));
        },
    )
}

fn snapshots() -> impl Records {
    let record =
        object([("run", id()), ("path", text()), ("content", maybe(text())), ("meta", maybe(text()))]);
    of(SNAPSHOTS, &[("run", Plain), ("path", Plain)], record)
}
