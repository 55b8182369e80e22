//! JSON Schemas of what the instance itself keeps of a person.

use serde_json::Value;

use super::schema::{flag, free, id, list, maybe, number, object, one_of, text, time};

/// The schema of the records of each file, by its name.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("account_audit", audit()),
        ("account_notices", notices()),
        ("accounts", accounts()),
        ("address_changes", object([("from", text()), ("to", text()), ("ends", time()), ("made", flag())])),
        ("memberships", memberships()),
        ("notice_choices", free()),
        ("passkeys", object([("id", id()), ("name", text()), ("added", time()), ("used", maybe(time()))])),
        ("sessions", sessions()),
        ("sso_account_links", object([("issuer", text()), ("subject", text()), ("linked", time())])),
        ("tokens", tokens()),
        ("totp", object([("since", time()), ("codes_made", time()), ("codes_left", number())])),
    ]
}

fn audit() -> Value {
    object([
        ("line", number()),
        ("at", time()),
        ("actor", free()),
        ("action", text()),
        ("workspace", maybe(id())),
        ("target", text()),
    ])
}

fn notices() -> Value {
    object([
        ("id", id()),
        ("at", time()),
        ("kind", text()),
        ("title", text()),
        ("body", text()),
        ("link", text()),
        ("read", flag()),
    ])
}

/// More settings may come: those of the account are named, further ones allowed.
fn accounts() -> Value {
    let mut schema = object([
        ("id", id()),
        ("email", text()),
        ("name", text()),
        ("operator", flag()),
        ("state", text()),
        ("created", time()),
        ("organisation", text()),
        ("time_zone", text()),
        ("has_password", flag()),
    ]);
    schema["additionalProperties"] = Value::Bool(true);
    schema
}

fn memberships() -> Value {
    object([
        ("workspace", id()),
        ("name", maybe(text())),
        ("slug", maybe(text())),
        ("role", one_of(&["viewer", "member", "admin", "owner"])),
        ("joined", time()),
        ("visited", maybe(time())),
    ])
}

fn sessions() -> Value {
    object([
        ("id", id()),
        ("created", time()),
        ("seen", time()),
        ("address", text()),
        ("user_agent", text()),
        ("confirmed", maybe(time())),
    ])
}

fn tokens() -> Value {
    object([
        ("id", id()),
        ("workspace", id()),
        ("name", text()),
        ("begins", text()),
        ("scopes", list(text())),
        ("created", time()),
        ("expires", maybe(time())),
        ("revoked", maybe(time())),
        ("used", maybe(time())),
    ])
}
