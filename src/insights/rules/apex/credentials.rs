//! APX-008: passwords, tokens and keys written in code. Messages never show the value.

use super::{File, arguments, in_test, literal, literals};
use crate::apex::Node;
use crate::insights::rules::finding::Hit;

const RULE: &str = "APX-008";

pub fn check<'a>(file: &File<'a>, out: &mut Vec<Hit>) {
    let mut found: Vec<(Node<'a>, String)> = Vec::new();
    for (node, text) in literals(file.apex) {
        if let Some(kind) = known_shape(text) {
            found.push((node, format!("A {kind} is written in the code.")));
        }
    }
    for node in file.apex.nodes() {
        match node.kind() {
            "variable_declarator" => assigned(node.field("name"), node.field("value"), &mut found),
            "assignment_expression" => assigned(node.field("left"), node.field("right"), &mut found),
            "map_key_initializer" => {
                let mut pair = node.named_children();
                if let (Some(key), Some(value)) = (pair.next(), pair.next()) {
                    keyed(key, value, &mut found);
                }
            }
            "method_invocation" => given(node, &mut found),
            _ => {}
        }
    }
    found.sort_by_key(|(node, _)| node.start());
    found.dedup_by_key(|(node, _)| node.start());
    for (node, message) in found {
        if !in_test(node) {
            let mut hit = Hit::at(RULE, node, message);
            // Only a digest of the anchor is kept, and the value is no part even of that.
            hit.anchor = format!("{}\n{}", hit.anchor.lines().next().unwrap_or(""), anchor(node));
            out.push(hit);
        }
    }
}

/// What surrounds the value: the name it is given to.
fn anchor(node: Node<'_>) -> String {
    let around = node.parent().unwrap_or(node);
    around.text().replace(node.text(), "''").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assigned<'a>(name: Option<Node<'a>>, value: Option<Node<'a>>, found: &mut Vec<(Node<'a>, String)>) {
    let (Some(name), Some(value)) = (name, value) else { return };
    let last = name.text().rsplit('.').next().unwrap_or("");
    if let Some(text) = literal(value)
        && names_secret(last)
        && looks_secret(text)
    {
        found.push((value, format!("The value of {last} is written in the code.")));
    }
}

fn keyed<'a>(key: Node<'a>, value: Node<'a>, found: &mut Vec<(Node<'a>, String)>) {
    let Some(name) = literal(key) else { return };
    let header = matches!(name.to_ascii_lowercase().as_str(), "authorization" | "proxy-authorization");
    if header {
        authorization(value, found);
    } else if let Some(text) = literal(value)
        && names_secret(name)
        && looks_secret(text)
    {
        found.push((value, format!("The value of {name} is written in the code.")));
    }
}

/// Arguments: `setHeader('Authorization', ..)`, `put('api_key', ..)`, `System.setPassword(id, ..)`.
fn given<'a>(call: Node<'a>, found: &mut Vec<(Node<'a>, String)>) {
    let name = call.field("name").map_or("", Node::text).to_ascii_lowercase();
    let mut values = arguments(call);
    let (Some(first), Some(second)) = (values.next(), values.next()) else { return };
    match name.as_str() {
        "put" | "setheader" => keyed(first, second, found),
        "setpassword" if literal(second).is_some_and(|text| !text.is_empty()) => {
            found.push((second, "A password is written in the code.".into()));
        }
        _ => {}
    }
}

/// A header's value: literal after its scheme, or `user:password` to be encoded.
fn authorization<'a>(value: Node<'a>, found: &mut Vec<(Node<'a>, String)>) {
    for node in value.descendants() {
        let Some(text) = literal(node) else { continue };
        let bare = text.trim();
        let credential = ["Basic ", "Bearer ", "Token ", "OAuth "]
            .iter()
            .find_map(|scheme| {
                bare.get(..scheme.len()).filter(|s| s.eq_ignore_ascii_case(scheme)).map(|s| &bare[s.len()..])
            })
            .unwrap_or(bare);
        let pair = credential.split_once(':').is_some_and(|(user, pass)| !user.is_empty() && pass.len() >= 4);
        let is_token = credential.len() >= 8 && !credential.contains(' ') && !is_placeholder(credential);
        if (pair || is_token) && !credential.contains(['{', '}']) {
            found.push((node, "A value of the Authorization header is written in the code.".into()));
            return;
        }
    }
}

/// Credentials that show what they are.
fn known_shape(text: &str) -> Option<&'static str> {
    let run_after = |prefix: &str, least: usize| {
        text.match_indices(prefix).any(|(at, _)| {
            let rest = &text[at + prefix.len()..];
            rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count()
                >= least
        })
    };
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        Some("private key")
    } else if run_after("AKIA", 16) || run_after("ASIA", 16) && text.len() == 20 {
        Some("cloud access key")
    } else if run_after("sk_live_", 16) || run_after("sk-ant-", 16) || run_after("AIza", 35) {
        Some("service key")
    } else if run_after("ghp_", 30)
        || run_after("github_pat_", 30)
        || run_after("xoxb-", 20)
        || run_after("xoxp-", 20)
    {
        Some("access token")
    } else if is_session_id(text) {
        Some("Salesforce session id")
    } else if text.starts_with("eyJ") && text.len() > 60 && text.matches('.').count() == 2 {
        Some("signed token")
    } else {
        None
    }
}

/// `00D` + organisation id, `!`, and a long key.
fn is_session_id(text: &str) -> bool {
    let Some((org, key)) = text.trim_start_matches("Bearer ").split_once('!') else { return false };
    org.starts_with("00D") && matches!(org.len(), 15 | 18) && key.len() >= 20
}

/// Names such as `apiKey`, `CLIENT_SECRET` and `password`, but not of things about them.
fn names_secret(name: &str) -> bool {
    const SECRETS: [&str; 12] = [
        "accesskey",
        "accesstoken",
        "apikey",
        "apitoken",
        "authtoken",
        "clientsecret",
        "passphrase",
        "password",
        "passwd",
        "privatekey",
        "secret",
        "token",
    ];
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.ends_with(secret))
        || matches!(name.as_str(), "pwd" | "secretkey" | "xapikey")
}

/// Whether a literal can be a credential: not a sentence, name, address or placeholder.
fn looks_secret(text: &str) -> bool {
    let long_enough = text.len() >= 6 && text.len() <= 4000;
    let is_word = text.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b'.'));
    let is_name = text.ends_with("__c") || text.ends_with("__mdt") || text.starts_with("X-");
    let is_address = text.contains("://") || text.starts_with("callout:") || text.starts_with('/');
    let is_template =
        text.contains('{') || text.contains('<') || text.starts_with('%') || text.starts_with('$');
    long_enough
        && !text.contains(char::is_whitespace)
        && !is_word
        && !is_name
        && !is_address
        && !is_template
        && !is_placeholder(text)
}

fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let masked = lower.bytes().all(|b| matches!(b, b'*' | b'x' | b'-' | b'.' | b'0'));
    masked
        || ["changeme", "dummy", "example", "placeholder", "redacted", "your_", "your-"]
            .iter()
            .any(|w| lower.contains(w))
}
