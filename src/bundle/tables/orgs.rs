//! Orgs with their metadata, and what the analysis found in it.

use serde_json::json;

use crate::bundle::key::Form::{Millis, Plain};
use crate::bundle::schema::{any, flag, id, list, map, maybe, number, object, one_of, text, time};
use crate::bundle::table::{Records, of};
use crate::insights::records::{ANALYSES, FINDINGS, SCORES};
use crate::orgs::records::{COMPONENTS, HISTORY, ORGS, SOURCES};

pub fn all() -> Vec<Box<dyn Records>> {
    vec![
        Box::new(orgs()),
        Box::new(components()),
        Box::new(sources()),
        Box::new(history()),
        Box::new(findings()),
        Box::new(analyses()),
        Box::new(scores()),
    ]
}

fn orgs() -> impl Records {
    let sync = object([
        ("at", time()),
        ("api_calls", number()),
        ("components", number()),
        ("changed", number()),
        ("messages", list(text())),
    ]);
    let policies = ["admins", "four_eyes", "members", "off", "validate_only"];
    let record = object([
        ("id", id()),
        ("slug", text()),
        ("name", text()),
        ("kind", one_of(&["production", "sandbox"])),
        ("salesforce_id", text()),
        ("login", text()),
        ("instance", text()),
        ("client_id", text()),
        ("connected", time()),
        ("connected_by", maybe(id())),
        ("last_sync", maybe(sync)),
        ("limits", map(object([("max", number()), ("remaining", number())]))),
        ("deploy_policy", maybe(one_of(&policies))),
    ]);
    of(ORGS, &[("id", Plain)], record)
        .without(&["client_secret", "access", "refresh", "signed_out", "sync_job"])
        .between(
            |_, _| {},
            |record, filling| {
                let id = record.get("id").and_then(|id| id.as_str()).unwrap_or_default().to_owned();
                record.insert("access".into(), (filling.no_secret)(ORGS.name, &id));
                let said = "Its credentials were not in the export. Connect it again.";
                record.insert("signed_out".into(), json!(said));
                for none in ["client_secret", "refresh", "sync_job"] {
                    record.insert(none.into(), json!(null));
                }
            },
        )
}

const COMPONENT: [(&str, crate::bundle::key::Form); 3] = [("org", Plain), ("type", Plain), ("name", Plain)];

fn components() -> impl Records {
    let field = object([
        ("name", text()),
        ("label", text()),
        ("kind", text()),
        ("custom", flag()),
        ("required", flag()),
        ("references", list(text())),
        ("description", maybe(text())),
    ]);
    let record = object([
        ("org", id()),
        ("type", text()),
        ("name", text()),
        ("salesforce_id", text()),
        ("label", maybe(text())),
        ("namespace", maybe(text())),
        ("file", text()),
        ("hash", text()),
        ("bytes", number()),
        ("lines", number()),
        ("modified", maybe(time())),
        ("modified_by", text()),
        ("synced", time()),
        ("fields", list(field)),
    ]);
    of(COMPONENTS, &COMPONENT, record)
}

fn sources() -> impl Records {
    let record = object([("org", id()), ("type", text()), ("name", text()), ("source", text())]);
    of(SOURCES, &COMPONENT, record).single("source")
}

fn history() -> impl Records {
    let record = object([
        ("org", id()),
        ("type", text()),
        ("name", text()),
        ("version", number()),
        ("seen", time()),
        ("change", one_of(&["added", "changed", "removed"])),
        ("modified", maybe(time())),
        ("modified_by", text()),
        ("source", maybe(text())),
    ]);
    of(HISTORY, &[("org", Plain), ("type", Plain), ("name", Plain), ("version", Plain)], record)
}

fn findings() -> impl Records {
    let record = object([
        ("org", id()),
        ("fingerprint", text()),
        ("rule", text()),
        ("title", text()),
        ("rank", number()),
        ("severity", text()),
        ("category", text()),
        ("kind", text()),
        ("name", text()),
        ("line", number()),
        ("end_line", number()),
        ("message", text()),
        ("why", text()),
        ("fix", text()),
        ("evidence", list(list(any()))),
        ("first_seen", time()),
        ("closed", maybe(time())),
    ]);
    of(FINDINGS, &[("org", Plain), ("fingerprint", Plain)], record)
}

fn analyses() -> impl Records {
    let area = object([("name", text()), ("value", maybe(number())), ("findings", list(list(any())))]);
    let record = object([
        ("org", id()),
        ("at", time()),
        ("score", number()),
        ("areas", list(area)),
        ("arithmetic", list(text())),
        ("open", number()),
        ("errors", list(text())),
    ]);
    of(ANALYSES, &[("org", Plain)], record)
}

fn scores() -> impl Records {
    let record = object([("org", id()), ("at", time()), ("score", number())]);
    of(SCORES, &[("org", Plain), ("at", Millis)], record).single("score")
}
