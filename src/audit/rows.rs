//! Lines as people read them: names of accounts beside their ids, the hash before, and the cells of a file.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::log::{Part, Wanted, range};
use crate::identity::Control;
use crate::ids::AccountId;
use crate::store::audit::{AUDIT, AUDIT_CHECKPOINTS, Actor, AuditEvent};
use crate::store::{Read, StoreError};
use crate::web::page::{grouped, initials};
use crate::web::table_file::{Gone, Rows};

/// Lines read at once for a file.
const RANGE: usize = 2_000;

/// A line as a page shows it.
pub struct Row {
    pub line: u64,
    /// The same, with its thousands apart.
    pub number: String,
    pub at: Timestamp,
    /// The same, in the zone of the reader.
    pub when: String,
    pub who: String,
    pub initials: String,
    /// The person, as the filter names them.
    pub person: String,
    /// What kind of actor it was, with its id.
    pub actor: String,
    pub action: &'static str,
    pub target: String,
    pub request: String,
    pub hash: String,
    /// The hash of the line before; empty before the first.
    pub before: String,
}

impl Row {
    /// First and last characters of the hash.
    pub fn short(&self) -> String {
        shortened(&self.hash)
    }
}

/// 9f3c…e21a
pub fn shortened(hash: &str) -> String {
    match (hash.get(..4), hash.get(hash.len().saturating_sub(4)..)) {
        (Some(first), Some(last)) if hash.len() > 8 => format!("{first}\u{2026}{last}"),
        _ => hash.to_owned(),
    }
}

/// A moment with its seconds in a zone (IANA name; empty or unknown = UTC): 23 Nov 2026, 10:00:07.
pub fn exact_time(at: Timestamp, zone: &str) -> String {
    let zone = jiff::tz::db().get(zone).unwrap_or(TimeZone::UTC);
    at.to_zoned_datetime(zone).strftime("%-d %b %Y, %H:%M:%S").to_string()
}

/// The lines of a page, with what stands beside them in `read`.
pub fn rows(
    read: &impl Read,
    names: &mut Names<'_>,
    lines: Vec<(u64, AuditEvent)>,
    zone: &str,
) -> Result<Vec<Row>, StoreError> {
    lines
        .into_iter()
        .map(|(line, event)| {
            let who = names.of(&event.actor)?;
            Ok(Row {
                line,
                number: grouped(line),
                at: event.at,
                when: exact_time(event.at, zone),
                initials: names.initials(&event.actor, &who)?,
                who,
                person: person(&event.actor),
                actor: actor(&event.actor),
                action: event.action.name(),
                target: event.target,
                request: event.request.map(|id| id.to_string()).unwrap_or_default(),
                hash: event.hash,
                before: hash_before(read, line)?,
            })
        })
        .collect()
}

/// The hash of the line before `line`; empty before the first.
pub fn hash_before(read: &impl Read, line: u64) -> Result<String, StoreError> {
    let Some(before) = line.checked_sub(1).filter(|line| *line > 0) else { return Ok(String::new()) };
    if let Some(event) = read.get(&AUDIT, &before)? {
        return Ok(event.hash);
    }
    Ok(read.get(&AUDIT_CHECKPOINTS, &before)?.map(|base| base.hash).unwrap_or_default())
}

fn person(actor: &Actor) -> String {
    match actor {
        Actor::Account { id } | Actor::Token { account: id, .. } | Actor::Job { asked_by: Some(id), .. } => {
            id.to_string()
        }
        Actor::Job { asked_by: None, .. } => "schedule".into(),
        Actor::Operator => "operator".into(),
        Actor::Visitor => "visitor".into(),
    }
}

fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Account { id } => format!("Account {id}"),
        Actor::Job { id, asked_by: Some(account) } => format!("Job {id}, asked for by account {account}"),
        Actor::Job { id, asked_by: None } => format!("Job {id}, on a schedule"),
        Actor::Operator => "Somebody with a shell and the master key".into(),
        Actor::Token { id, account } => format!("API token {id} of account {account}"),
        Actor::Visitor => "Nobody was signed in".into(),
    }
}

/// Names of accounts, each read once.
pub struct Names<'a> {
    control: &'a Control,
    known: BTreeMap<AccountId, String>,
}

impl<'a> Names<'a> {
    pub fn new(control: &'a Control) -> Self {
        Self { control, known: BTreeMap::new() }
    }

    /// Who acted, in words; an account that is gone keeps its id.
    pub fn of(&mut self, actor: &Actor) -> Result<String, StoreError> {
        let name = match actor.account() {
            Some(id) => self.account(id)?,
            None => String::new(),
        };
        Ok(match actor {
            Actor::Account { .. } => name,
            Actor::Job { asked_by: Some(_), .. } => format!("Job for {name}"),
            Actor::Job { .. } => "Schedule".into(),
            Actor::Operator => "Operator".into(),
            Actor::Token { .. } => format!("API token of {name}"),
            Actor::Visitor => "Visitor".into(),
        })
    }

    /// Those of the person behind the act, else of what acted.
    fn initials(&mut self, actor: &Actor, who: &str) -> Result<String, StoreError> {
        Ok(match actor.account() {
            Some(id) => initials(&self.account(id)?),
            None => initials(who),
        })
    }

    fn account(&mut self, id: AccountId) -> Result<String, StoreError> {
        if let Some(name) = self.known.get(&id) {
            return Ok(name.clone());
        }
        let name = self.control.account(id)?.map_or_else(|| id.to_string(), |account| account.name);
        self.known.insert(id, name.clone());
        Ok(name)
    }
}

/// The columns of a file.
pub const COLUMNS: &[&str] = &[
    "line",
    "time",
    "who",
    "actor",
    "account",
    "token",
    "job",
    "action",
    "target",
    "workspace",
    "request",
    "hash",
];

/// Puts the lines that fit into a file, oldest first, in ranges, so that a slow reader holds no read transaction open.
pub fn put_all<R: Read>(
    control: &Control,
    wanted: &Wanted,
    rows: &mut Rows,
    open: impl Fn() -> Result<R, StoreError>,
) -> Result<Result<(), Gone>, StoreError> {
    let (mut names, mut after) = (Names::new(control), 0);
    loop {
        let Part { lines, last } = range(&open()?, wanted, after, RANGE)?;
        let Some(last) = last else { return Ok(Ok(())) };
        after = last;
        for (line, event) in lines {
            let who = names.of(&event.actor)?;
            if let Err(gone) = rows.put(&cells(line, &event, &who)) {
                return Ok(Err(gone));
            }
        }
    }
}

fn cells(line: u64, event: &AuditEvent, who: &str) -> [Value; 12] {
    let (kind, token, job) = match &event.actor {
        Actor::Account { .. } => ("account", None, None),
        Actor::Job { id, .. } => ("job", None, Some(id)),
        Actor::Operator => ("operator", None, None),
        Actor::Token { id, .. } => ("token", Some(id), None),
        Actor::Visitor => ("visitor", None, None),
    };
    [
        json!(line),
        json!(event.at),
        json!(who),
        json!(kind),
        json!(event.actor.account()),
        json!(token),
        json!(job),
        json!(event.action.name()),
        json!(event.target),
        json!(event.workspace),
        json!(event.request),
        json!(event.hash),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_shown_by_its_ends_and_a_moment_with_its_seconds() {
        assert_eq!(shortened(&format!("9f3c{}e21a", "0".repeat(56))), "9f3c\u{2026}e21a");
        assert_eq!(shortened(""), "");
        let at = "2026-11-23T09:00:07Z".parse().unwrap();
        assert_eq!(exact_time(at, "Europe/Berlin"), "23 Nov 2026, 10:00:07");
    }
}
