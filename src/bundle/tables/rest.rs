//! Notices, usage, budgets, outbound traffic, how long things are kept, the audit log.

use crate::bundle::key::Form::{Day, Millis, Month, Plain};
use crate::bundle::schema::{either, free, id, map, maybe, number, object, one_of, text, time};
use crate::bundle::table::{Records, link_in, link_out, of};
use crate::ledger;
use crate::meter::Whose;
use crate::meter::budgets::{BUDGETS, TOLD};
use crate::meter::records::{DAYS, MONTHS};
use crate::notifications::records::{NOTICES, NOTICES_READ, NOTICES_SEEN};
use crate::store::audit::AUDIT;
use crate::usage::samples::SAMPLES;
use crate::workspace::retention::RETENTION;

/// The lines of the audit chain.
pub fn audit() -> Vec<Box<dyn Records>> {
    let record = object([
        ("line", number()),
        ("at", time()),
        ("actor", free()),
        ("action", text()),
        ("target", text()),
        ("workspace", maybe(id())),
        ("request", maybe(id())),
        ("hash", text()),
    ]);
    let lines =
        of(AUDIT, &[("line", Plain)], record).own(|_, event, me| event.actor.account() == Some(me.account));
    vec![Box::new(lines)]
}

pub fn all() -> Vec<Box<dyn Records>> {
    vec![
        Box::new(notices()),
        Box::new(notices_read()),
        Box::new(notices_seen()),
        Box::new(usage_days()),
        Box::new(usage_months()),
        Box::new(budgets()),
        Box::new(told()),
        Box::new(samples()),
        Box::new(egress_days()),
        Box::new(egress_lines()),
        Box::new(retention()),
    ]
}

fn notices() -> impl Records {
    let record = object([
        ("id", id()),
        ("kind", text()),
        ("title", text()),
        ("body", text()),
        ("link", text()),
        ("group", text()),
        ("by", maybe(id())),
        ("to", either(&[text(), free()])),
        ("at", time()),
    ]);
    of(NOTICES, &[("id", Plain)], record)
        .own(|_, row, me| row.to.includes(me.account, me.role))
        .own_without(&["by", "to"])
        .between(
            |record, slug| link_out(&mut record["link"], slug),
            |record, filling| {
                if let Some(link) = record.get_mut("link") {
                    link_in(link, filling.slug);
                }
            },
        )
}

fn notices_read() -> impl Records {
    let record = object([("notice", id()), ("account", id())]);
    of(NOTICES_READ, &[("notice", Plain), ("account", Plain)], record)
        .nothing()
        .own(|(_, account), (), me| *account == me.account)
}

fn notices_seen() -> impl Records {
    let record = object([("account", id()), ("notice", id())]);
    of(NOTICES_SEEN, &[("account", Plain)], record)
        .single("notice")
        .own(|account, _, me| *account == me.account)
}

fn usage_days() -> impl Records {
    let record = object([
        ("day", text()),
        ("account", maybe(id())),
        ("feature", text()),
        ("model", text()),
        ("org", maybe(id())),
        ("amounts", map(number())),
        ("cost_nano_usd", number()),
        ("unpriced_tokens", number()),
    ]);
    let key = &[("day", Day), ("account", Plain), ("feature", Plain), ("model", Plain), ("org", Plain)];
    of(DAYS, key, record).own(|(_, facet), _, me| facet.account == Some(me.account))
}

fn usage_months() -> impl Records {
    let record = object([
        ("month", text()),
        ("account", maybe(id())),
        ("tokens", number()),
        ("nano_usd", number()),
        ("unpriced_tokens", number()),
    ]);
    of(MONTHS, &[("month", Month), ("account", Plain)], record)
        .own(|(_, whose), _, me| *whose == Whose::Member(me.account))
}

fn budgets() -> impl Records {
    let record = object([("account", maybe(id())), ("nano_usd?", number()), ("tokens?", number())]);
    of(BUDGETS, &[("account", Plain)], record).own(|whose, _, me| *whose == Whose::Member(me.account))
}

fn told() -> impl Records {
    let record = object([("month", text()), ("account", maybe(id())), ("percent", number())]);
    of(TOLD, &[("month", Month), ("account", Plain)], record)
        .single("percent")
        .own(|(_, whose), _, me| *whose == Whose::Member(me.account))
}

fn samples() -> impl Records {
    let record = object([
        ("day", text()),
        ("keyspace", number()),
        ("index", number()),
        ("blobs", number()),
        ("orgs", map(object([("max", number()), ("remaining", number())]))),
    ]);
    of(SAMPLES, &[("day", Day)], record)
}

const PURPOSES: [&str; 5] = ["mail", "model", "salesforce", "salesforce_login", "sso"];

fn egress_days() -> impl Records {
    let record = object([
        ("day", text()),
        ("host", text()),
        ("purpose", one_of(&PURPOSES)),
        ("account", maybe(id())),
        ("calls", number()),
        ("refused", number()),
        ("sent_bytes", number()),
        ("received_bytes", number()),
    ]);
    let key = &[("day", Day), ("host", Plain), ("purpose", Plain), ("account", Plain)];
    of(ledger::DAYS, key, record).own(|(_, _, part), _, me| part.account == Some(me.account))
}

fn egress_lines() -> impl Records {
    let record = object([
        ("kept", time()),
        ("number", number()),
        ("at", time()),
        ("purpose", one_of(&PURPOSES)),
        ("workspace", maybe(id())),
        ("account", maybe(id())),
        ("why", text()),
        ("host", text()),
        ("method", text()),
        ("status", maybe(number())),
        ("refused", maybe(text())),
        ("sent_bytes", number()),
        ("received_bytes", number()),
        ("millis", number()),
    ]);
    of(ledger::LINES, &[("kept", Millis), ("number", Plain)], record)
        .own(|_, line, me| line.account == Some(me.account))
}

fn retention() -> impl Records {
    let limits = object([
        ("conversations", maybe(number())),
        ("documents", maybe(number())),
        ("versions", maybe(number())),
        ("audit", number()),
    ]);
    let record = object([
        ("row", number()),
        ("limits", limits.clone()),
        ("before", limits),
        ("applies", time()),
        ("changed", time()),
        ("by", id()),
    ]);
    of(RETENTION, &[("row", Plain)], record)
}
