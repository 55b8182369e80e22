//! Secrets are masked before anything leaves for the model: each becomes `[[secret:…]]` with a keyed hash that
//! is the same every time, and what the person wrote themselves is restored in the answer they see.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::workspace::Workspace;

/// The shortest run that can be a secret by its form alone.
const SHORTEST: usize = 12;
/// What a placeholder begins with.
pub const MARK: &str = "secret:";

/// Masks texts of one workspace, and remembers what it masked.
pub struct Masker<'a> {
    hash: Box<dyn Fn(&str) -> String + Send + 'a>,
    known: Known,
}

/// What was masked in a turn, by the hash that stands for it. Never leaves, never kept.
#[derive(Clone, Default)]
pub struct Known {
    own: BTreeMap<String, String>,
    foreign: BTreeMap<String, String>,
}

impl Known {
    /// The person's own secret behind the inside of a placeholder.
    pub fn restored(&self, mark: &str) -> Option<&str> {
        self.own.get(mark.strip_prefix(MARK)?).map(String::as_str)
    }

    /// A draft with its secrets back in place; `None` when it holds a placeholder that stands for nothing known.
    pub fn draft(&self, text: &str) -> Option<String> {
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        let open = format!("[[{MARK}");
        while let Some((before, after)) = rest.split_once(&open) {
            let (hash, behind) = after.split_once("]]")?;
            out.push_str(before);
            out.push_str(self.own.get(hash).or_else(|| self.foreign.get(hash))?);
            rest = behind;
        }
        out.push_str(rest);
        Some(out)
    }
}

impl<'a> Masker<'a> {
    pub fn new(ws: &'a Workspace) -> Self {
        Self::with(|secret| crate::seal::hex(&ws.lookup(format!("masked {secret}").as_bytes())[..6]))
    }

    fn with(hash: impl Fn(&str) -> String + Send + 'a) -> Self {
        Self { hash: Box::new(hash), known: Known::default() }
    }

    /// A text of a document, of metadata, of a tool.
    pub fn foreign(&mut self, text: &str) -> String {
        let (masked, found) = self.masked(text);
        self.known.foreign.extend(found);
        masked
    }

    /// The same for every text of a result.
    pub fn result(&mut self, value: &mut Value) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|value| self.result(value)),
            Value::Object(map) => map.values_mut().for_each(|value| self.result(value)),
            Value::String(text) => *text = self.foreign(text),
            _ => {}
        }
    }

    /// What was masked so far, added to what was before.
    pub fn remember(self, known: &mut Known) {
        known.own.extend(self.known.own);
        known.foreign.extend(self.known.foreign);
    }

    /// A text that the person wrote: its secrets are restored where the answer repeats them.
    pub fn own(&mut self, text: &str) -> String {
        let (masked, found) = self.masked(text);
        self.known.own.extend(found);
        masked
    }

    fn masked(&self, text: &str) -> (String, Vec<(String, String)>) {
        let (mut out, mut found, mut at) = (String::with_capacity(text.len()), Vec::new(), 0);
        for (from, to) in secrets(text) {
            if from < at {
                continue;
            }
            let hash = (self.hash)(&text[from..to]);
            out.push_str(&text[at..from]);
            out.push_str(&format!("[[{MARK}{hash}]]"));
            found.push((hash, text[from..to].to_owned()));
            at = to;
        }
        out.push_str(&text[at..]);
        (out, found)
    }
}

/// Byte ranges of what looks like a secret, in order.
pub fn secrets(text: &str) -> Vec<(usize, usize)> {
    let mut found = blocks(text);
    for (from, to) in runs(text) {
        let run = &text[from..to];
        if let Some(inside) = by_form(run) {
            found.push((from + inside.0, from + inside.1));
        }
    }
    found.extend(named(text));
    found.sort_unstable();
    // Of overlapping ones the first and longest.
    let mut apart: Vec<(usize, usize)> = Vec::new();
    for (from, to) in found {
        match apart.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    apart
}

/// Private keys in PEM.
fn blocks(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find("-----BEGIN ").map(|n| at + n) {
        let head = &text[begin..text.len().min(begin + 60).max(begin)];
        let private = head.get(..).is_some_and(|head| head.contains("PRIVATE KEY"));
        let end = text[begin + 11..].find("-----END ").map(|n| begin + 11 + n);
        let end = end
            .map_or(text.len(), |end| text[end + 9..].find("-----").map_or(text.len(), |n| end + 9 + n + 5));
        if private {
            found.push((begin, end));
        }
        at = end.max(begin + 11);
    }
    found
}

/// Runs of characters that secrets are made of.
fn runs(text: &str) -> Vec<(usize, usize)> {
    let of_secret = |c: char| c.is_ascii_alphanumeric() || "-_.!/+=:@~%".contains(c);
    let mut found = Vec::new();
    let mut begin = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (of_secret(c), begin) {
            (true, None) => begin = Some(at),
            (false, Some(from)) => {
                if at - from >= SHORTEST {
                    found.push((from, at));
                }
                begin = None;
            }
            _ => {}
        }
    }
    found
}

/// The part of a run that is a secret by its form.
fn by_form(run: &str) -> Option<(usize, usize)> {
    const STARTS: [(&str, usize); 16] = [
        ("force://", 20),
        ("sk-ant-", 20),
        ("sk-", 24),
        ("sk_live_", 20),
        ("vyn_", 40),
        ("ghp_", 30),
        ("gho_", 30),
        ("ghs_", 30),
        ("github_pat_", 40),
        ("glpat-", 20),
        ("xoxb-", 20),
        ("xoxp-", 20),
        ("AKIA", 20),
        ("ASIA", 20),
        ("AIza", 35),
        ("eyJ", 40),
    ];
    for (start, least) in STARTS {
        if let Some(at) = run.find(start) {
            let before = run[..at].chars().next_back();
            let rest = run[at..].trim_end_matches(['.', ':', '/']);
            let apart = before.is_none_or(|c| !c.is_ascii_alphanumeric());
            // A JSON web token has three parts.
            if apart && rest.len() >= least && (start != "eyJ" || rest.matches('.').count() >= 2) {
                return Some((at, at + rest.len()));
            }
        }
    }
    // A Salesforce session: org id, `!`, token.
    if let Some(bang) = run.find('!') {
        let from = bang.saturating_sub(18);
        let org = run.get(from..bang).unwrap_or_default();
        let begin = org.find("00D").map(|n| from + n);
        if let Some(begin) = begin
            && run.len() - bang > 40
        {
            return Some((begin, run.len()));
        }
    }
    // A refresh token of a connected app.
    if let Some(at) = run.find("5Aep")
        && run.len() - at >= 60
    {
        return Some((at, run.len()));
    }
    // user:password@host
    if let Some((scheme, rest)) = run.split_once("://")
        && let Some((who, _)) = rest.split_once('@')
        && let Some((user, password)) = who.split_once(':')
        && !password.is_empty()
    {
        let from = scheme.len() + 3 + user.len() + 1;
        return Some((from, from + password.len()));
    }
    None
}

/// What follows a name that says it is a secret: `password = "…"`, `Authorization: Bearer …`.
fn named(text: &str) -> Vec<(usize, usize)> {
    const NAMES: [&str; 17] = [
        "password",
        "passwort",
        "kennwort",
        "passphrase",
        "mot de passe",
        "passwd",
        "pwd",
        "secret",
        "client_secret",
        "clientsecret",
        "api_key",
        "apikey",
        "api-key",
        "access_token",
        "refresh_token",
        "bearer",
        "security_token",
    ];
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for name in NAMES {
        let mut at = 0;
        while let Some(hit) = lower[at..].find(name).map(|n| at + n) {
            let after = hit + name.len();
            at = after;
            // Also the last part of a longer name: `consumerSecret`, `db_password`.
            let apart = lower[..hit].chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric())
                || text[hit..].starts_with(|c: char| c.is_ascii_uppercase());
            if apart {
                found.extend(value_after(text, after, name == "bearer").or_else(|| said_after(text, after)));
            }
        }
    }
    found
}

fn value_after(text: &str, after: usize, spaced: bool) -> Option<(usize, usize)> {
    let rest = &text[after..];
    let trimmed = rest.trim_start_matches(['"', '\'', ' ', '\t']);
    let value = if spaced {
        rest.strip_prefix(' ')?
    } else if let Some(inside) = rest.strip_prefix('>') {
        // An element: `<password>…</password>`.
        let end = inside.find('<')?;
        let plain = ["true", "false", "null", "none"].contains(&inside[..end].trim());
        let from = after + 1;
        return (end >= 4 && !plain && !inside.starts_with("[[")).then_some((from, from + end));
    } else {
        let value = trimmed.strip_prefix("=>").or_else(|| trimmed.strip_prefix(['=', ':']))?;
        value.trim_start_matches([' ', '\t'])
    };
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let body = quote.map_or(value, |q| &value[q.len_utf8()..]);
    let end = match quote {
        Some(quote) => body.find([quote, '\n'])?,
        None => body.find(|c: char| c.is_whitespace() || ",;)}]<\"'".contains(c)).unwrap_or(body.len()),
    };
    let secret = &body[..end];
    // Code: a variable, a call, a bind; and words like "none".
    let words = secret.len() >= LONG_WORD && secret.chars().all(|c| c.is_ascii_lowercase());
    let code = quote.is_none() && (secret.contains('(') || !(marked(secret) || words));
    if secret.len() < 4 || secret.starts_with("[[") || secret.starts_with('{') || code {
        return None;
    }
    let from = text.len() - (text.len() - after) + (rest.len() - body.len());
    Some((from, from + end))
}

/// A run of small letters behind `password:` that is longer than the words people write there.
const LONG_WORD: usize = 14;
/// How far behind the name a sentence is looked at.
const SENTENCE: usize = 60;

fn marked(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_digit() || "!@#$%^&*".contains(c))
}

/// What a sentence says a secret is: `the password for integration is Winter#2027x`.
fn said_after(text: &str, after: usize) -> Option<(usize, usize)> {
    let rest = &text[after..];
    let near = rest.char_indices().nth(SENTENCE).map_or(rest.len(), |(at, _)| at);
    let sentence = &rest[..rest[..near].find('\n').unwrap_or(near)];
    let verb = [" is ", " ist ", " lautet ", " est ", " was "];
    let (at, word) = verb.iter().filter_map(|verb| Some((sentence.find(verb)?, verb))).min()?;
    let from = after + at + word.len();
    let from = from + text[from..].len() - text[from..].trim_start_matches(['"', '\'', ' ', ':']).len();
    let end =
        text[from..].find(|c: char| c.is_whitespace() || "\"')<".contains(c)).unwrap_or(text.len() - from);
    let secret = text[from..from + end].trim_end_matches(['.', ',', ';', '?']);
    let fits = secret.len() >= 6 && marked(secret) && !secret.contains('(') && !secret.starts_with("[[");
    fits.then_some((from, from + secret.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masker() -> Masker<'static> {
        Masker::with(|secret| format!("{:x}", secret.len()))
    }

    #[test]
    fn secrets_of_many_forms_are_found() {
        let session = format!("00D000000000001EAA!{}", "AQEAQ.wF2qS4rPdnSKoteQ1kGzh6hXTG_ubZtvO0p5pRfOwipjC");
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlc2lnbmF0dXJl";
        for secret in [
            session.as_str(),
            jwt,
            "sk-ant-api03-abcdefghijklmnop",
            "vyn_JhQIK_YffaEmM3TUJL4txqhEkrMhw2qbunV7ychI7wA",
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
            "AKIAIOSFODNN7EXAMPLE",
            "force://3MVG9demo:demosecret:5Aep8617omvMJY3hK4IZe9zNxhj4kaH6WVoxOIQ@x.my.salesforce.com",
        ] {
            for text in [secret.to_owned(), format!("use {secret} now"), format!("(\"{secret}\")")] {
                let masked = masker().own(&text);
                assert!(!masked.contains(secret), "{masked}");
                assert!(masked.contains("[[secret:"), "{masked}");
            }
        }
        for (text, secret) in [
            ("password = \"hunter2 is mine\"", "hunter2 is mine"),
            ("the password: Tr0ub4dor&3, ok", "Tr0ub4dor&3"),
            ("Authorization: Bearer abc123def456", "abc123def456"),
            ("postgres://crm:s3cr3t@db.intranet/x", "s3cr3t"),
            ("<password>a1b2c3d4</password>", "a1b2c3d4"),
            ("<consumerSecret>8812309123</consumerSecret>", "8812309123"),
            ("passwort: Sommer2026!geheim", "Sommer2026!geheim"),
            ("the password for integration user is Winter#2027x", "Winter#2027x"),
            ("My password is hunter2Secret9.", "hunter2Secret9"),
            ("password: correcthorsebattery", "correcthorsebattery"),
            ("String dbPassword = 'opensesame';", "opensesame"),
            ("client_secret=9F8E7D6C5B4A", "9F8E7D6C5B4A"),
        ] {
            assert!(!masker().own(text).contains(secret), "{}", masker().own(text));
        }
        let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----";
        assert_eq!(masker().own(&format!("a {pem} b")), format!("a [[secret:{:x}]] b", pem.len()));
    }

    #[test]
    fn code_and_plain_words_stay() {
        for text in [
            "user.password = generatePassword();",
            "String apiKey = settings.apiKey;",
            "Set the password policy: none",
            "<isPassword>true</isPassword> <secretQuestion>Which pet?</secretQuestion>",
            "The password is required, and it is checked by the server.",
            "Account_Trigger__c and OpportunityTriggerHandler",
            "[SELECT Id FROM Account WHERE Id = :o.AccountId]",
            "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
            "0015g00000AbCdEFGH",
        ] {
            assert_eq!(masker().foreign(text), text);
        }
    }

    #[test]
    fn only_the_persons_own_secrets_are_restored() {
        let mut masker = masker();
        let own = masker.own("key sk-ant-api03-abcdefghijklmnop");
        let foreign = masker.foreign("key sk-ant-api03-abcdefghijklmnopqrst");
        let inside = |text: &str| text.split("[[").nth(1).unwrap().split("]]").next().unwrap().to_owned();
        assert_eq!(masker.known.restored(&inside(&own)), Some("sk-ant-api03-abcdefghijklmnop"));
        assert_eq!(masker.known.restored(&inside(&foreign)), None);
    }

    #[test]
    fn a_draft_gets_its_secrets_back_and_an_unknown_placeholder_is_refused() {
        let mut masker = masker();
        let text = "req.setHeader('X', 'sk-ant-api03-abcdefghijklmnop');";
        let masked = masker.foreign(text);
        let mut known = Known::default();
        masker.remember(&mut known);
        assert_eq!(known.draft(&masked).as_deref(), Some(text));
        assert_eq!(known.draft("a [[secret:ffff]]"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_masked_without_a_fault_and_holds_no_secret_after(before in "\\PC{0,30}", after in "\\PC{0,30}") {
            let secret = "sk-ant-api03-abcdefghijklmnop";
            let masked = masker().own(&format!("{before} {secret} {after}"));
            prop_assert!(!masked.contains(secret), "{masked}");
            for (from, to) in secrets(&before) {
                prop_assert!(before.get(from..to).is_some());
            }
        }
    }
}
