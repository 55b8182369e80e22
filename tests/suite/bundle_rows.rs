//! Rows for generated workspaces: of every table that a bundle carries.

use proptest::prelude::*;
use serde_json::{Value, json};
use vynos::chat::records::{CONVERSATIONS, MESSAGES, Message, REPLAYS, TURNS};
use vynos::deployments::records::{CHANGE_FILES, CHANGE_SETS, RUNS, SNAPSHOTS};
use vynos::egress::{Line, Purpose};
use vynos::identity::Role;
use vynos::ids::{
    AccountId, ChangeSetId, ConversationId, DeploymentId, DocumentId, JobId, MessageId, NoticeId, OrgId,
    TurnId,
};
use vynos::insights::records::{ANALYSES, FINDINGS, SCORES};
use vynos::knowledge::records::{CONTENTS, DOCUMENTS, PAGES, PASSAGES};
use vynos::ledger;
use vynos::meter::budgets::{BUDGETS, TOLD};
use vynos::meter::records::{self, MONTHS};
use vynos::meter::{Act, Event, Feature, Limit, Spent, Whose};
use vynos::notifications::records::{NOTICES, NOTICES_READ, NOTICES_SEEN, NoticeRow};
use vynos::notifications::{Audience, Kind};
use vynos::orgs::records::{COMPONENTS, HISTORY, ORGS, SOURCES};
use vynos::seal::Secret;
use vynos::store::audit::{Action, Actor, Entry};
use vynos::store::{Key, StoreError, Table, Tx};
use vynos::usage::samples::{SAMPLES, Sample};
use vynos::workspace::Building;
use vynos::workspace::retention::RETENTION;

/// A kind of row, a word, and a number.
pub fn item() -> impl Strategy<Value = (u8, String, u64)> {
    (any::<u8>(), "\\PC{0,40}", 0u64..1 << 40)
}

const AT: &str = "2026-11-20T08:30:00.123456789Z";

fn put<K: Key, V: serde::Serialize + serde::de::DeserializeOwned>(
    tx: &mut Tx,
    table: &Table<K, V>,
    key: &K,
    value: Value,
) {
    tx.put(table, key, &serde_json::from_value(value).unwrap()).unwrap();
}

/// Fills a workspace with one row, or a few that belong together, for each item.
pub fn fill(building: &Building, owner: AccountId, items: &[(u8, String, u64)]) {
    for (n, (kind, word, number)) in items.iter().enumerate() {
        match kind % 8 {
            0 | 1 => conversation(building, owner, word, *number),
            2 => document(building, owner, word, *number, n),
            3 => org(building, owner, word, *number),
            4 => change_set(building, owner, word, *number),
            5 => notice(building, owner, word, *number),
            6 => usage(building, owner, word, *number),
            _ => traffic(building, owner, word, *number),
        }
    }
}

fn conversation(building: &Building, owner: AccountId, word: &str, number: u64) {
    let ws = building.workspace();
    let (clock, random) = (ws.clock(), ws.random());
    let (id, turn) = (ConversationId::new(clock, random), TurnId::new(clock, random));
    let (question, answer) = (MessageId::new(clock, random), MessageId::new(clock, random));
    let org = OrgId::new(clock, random);
    building
        .write(|tx| {
            let row = json!({
                "title": word, "org": (number.is_multiple_of(2)).then_some(org), "owner": owner, "created": AT, "updated": AT,
                "pinned": number.is_multiple_of(3),
            });
            put(tx, &CONVERSATIONS, &id, row);
            let asked = Message::question(turn, AT.parse().unwrap(), word.to_owned());
            tx.put(&MESSAGES, &(id, question), &asked)?;
            let mut said = json!(Message::answer(turn, AT.parse().unwrap(), Some(question)));
            said["text"] = json!(word);
            said["cost_nano_usd"] = json!(number);
            said["citations"] = json!([{
                "n": 1, "kind": "Document", "ref": "x", "title": word, "href": "/w/halden-energy/knowledge/x",
                "lines": [1, 2], "quote": word,
            }]);
            put(tx, &MESSAGES, &(id, answer), said);
            let row = json!({
                "conversation": id, "question": question, "answer": answer, "job": JobId::from_bytes([0; 16]),
                "running": false,
            });
            put(tx, &TURNS, &turn, row);
            put(tx, &REPLAYS, &(turn, 0), json!({ "Assistant": [{ "type": "text", "text": word }] }));
            let result = json!({ "call": "a", "is_error": false, "text": word, "passages": [["a", "b", [word]]] });
            put(tx, &REPLAYS, &(turn, 1), json!({ "Results": [result] }));
            audited(building, tx, owner, Action::QuestionAsked, &id.to_string())
        })
        .unwrap();
}

fn audited(
    building: &Building,
    tx: &mut Tx,
    owner: AccountId,
    action: Action,
    target: &str,
) -> Result<(), StoreError> {
    let entry = Entry {
        at: AT.parse().unwrap(),
        actor: Actor::Account { id: owner },
        action,
        target: target.to_owned(),
        workspace: None,
        request: None,
    };
    building.append(tx, entry).map(|_| ())
}

fn document(building: &Building, owner: AccountId, word: &str, number: u64, n: usize) {
    let ws = building.workspace();
    let id = DocumentId::new(ws.clock(), ws.random());
    let content = format!("{n} {word} {number}\n").repeat((number % 50) as usize + 1);
    let blob = ws.blobs().put(content.as_bytes()).unwrap();
    let hash = ws.lookup(ring::digest::digest(&ring::digest::SHA256, content.as_bytes()).as_ref());
    building
        .write::<_, StoreError>(|tx| {
            let status = ["ready", "queued", "failed"][(number % 3) as usize];
            let row = json!({
                "name": format!("{word}.md"), "bytes": content.len(), "content": hash, "blob": blob, "status": status,
                "job": JobId::from_bytes([0; 16]), "kind": "markdown", "title": word, "language": null, "pages": 1,
                "passages": 1, "warnings": [word], "error": (status == "failed").then_some("damaged"),
                "uploaded": AT, "uploaded_by": owner, "collection": null,
            });
            put(tx, &DOCUMENTS, &id, row);
            tx.put(&CONTENTS, &hash, &id)?;
            tx.put(&PAGES, &(id, 1), &content)?;
            let row = json!({ "page": 1, "heading": word, "text": content, "start": 0, "end": content.len() });
            put(tx, &PASSAGES, &(id, 0), row);
            audited(building, tx, owner, Action::DocumentUploaded, &id.to_string())
        })
        .unwrap();
}

fn org(building: &Building, owner: AccountId, word: &str, number: u64) {
    let ws = building.workspace();
    let id = OrgId::new(ws.clock(), ws.random());
    let sealed = ws.seal("orgs", &id.to_string(), &Secret::new("a secret of the org".into()));
    building
        .write::<_, StoreError>(|tx| {
            let row = json!({
                "slug": "production", "name": word, "kind": "sandbox", "salesforce_id": "00D000000000001AAA",
                "login": "https://login.salesforce.com/", "instance": "https://x.my.salesforce.com/", "client_id": "c",
                "client_secret": sealed, "access": sealed, "refresh": null, "signed_out": null, "connected": AT,
                "connected_by": owner, "sync_job": null,
                "last_sync": { "at": AT, "api_calls": number, "components": 1, "changed": 1, "messages": [word] },
                "limits": { "DailyApiRequests": { "max": number, "remaining": 1 } }, "deploy_policy": "four_eyes",
            });
            put(tx, &ORGS, &id, row);
            let key = (id, "ApexClass".to_owned(), word.to_owned());
            let field = json!({
                "name": "Name", "label": word, "kind": "string", "custom": false, "required": true, "references": ["A"],
                "description": null,
            });
            let row = json!({
                "salesforce_id": "01p", "label": null, "namespace": null, "file": "classes/A.cls", "hash": "ab",
                "bytes": number, "lines": 3, "modified": AT, "modified_by": word, "synced": AT, "fields": [field],
            });
            put(tx, &COMPONENTS, &key, row);
            tx.put(&SOURCES, &key, &format!("class A {{ // {word}\n}}"))?;
            let row = json!({ "seen": AT, "change": "added", "modified": null, "modified_by": "", "source": word });
            put(tx, &HISTORY, &(key, 1), row);
            let row = json!({
                "rule": "APX-001", "title": word, "rank": 3, "severity": "high", "category": "performance",
                "kind": "ApexClass", "name": word, "line": 1, "end_line": 2, "message": word, "why": "", "fix": "",
                "evidence": [[1, word]], "first_seen": AT, "closed": null,
            });
            put(tx, &FINDINGS, &(id, format!("f{number}")), row);
            let area = json!({ "name": "Security", "value": null, "findings": [["high", 1]] });
            let row = json!({ "at": AT, "score": 71, "areas": [area], "arithmetic": [word], "open": 1, "errors": [] });
            put(tx, &ANALYSES, &id, row);
            tx.put(&SCORES, &(id, number), &71)?;
            audited(building, tx, owner, Action::OrgConnected, &id.to_string())
        })
        .unwrap();
}

fn change_set(building: &Building, owner: AccountId, word: &str, number: u64) {
    let ws = building.workspace();
    let (clock, random) = (ws.clock(), ws.random());
    let (id, run, org) =
        (ChangeSetId::new(clock, random), DeploymentId::new(clock, random), OrgId::new(clock, random));
    building
        .write::<_, StoreError>(|tx| {
            let problem = json!({ "path": word, "line": 0, "message": word, "warning": true });
            let row = json!({
                "org": org, "title": word, "summary": word, "author": owner, "editors": [owner], "conversation": null,
                "created": AT, "changed": AT, "tests": ["T"], "draft": number, "hash": "ab", "problems": [problem],
                "validation": run, "deployment": null, "ready_until": AT, "rolls_back": null, "discarded": null,
            });
            put(tx, &CHANGE_SETS, &id, row);
            put(tx, &CHANGE_FILES, &(id, format!("classes/{word}.cls")), json!({ "content": word, "base": null }));
            let row = json!({
                "change_set": id, "org": org, "kind": "validate", "draft": number, "by": owner,
                "job": JobId::from_bytes([0; 16]), "state": "succeeded", "phase": "", "said": word, "hash": "ab",
                "package": null, "tests": [], "sent": AT, "salesforce": "0Af", "cancel_asked": false, "result": null,
                "begun": AT, "ended": AT,
            });
            put(tx, &RUNS, &run, row);
            put(tx, &SNAPSHOTS, &(run, word.to_owned()), json!({ "content": null, "meta": word }));
            audited(building, tx, owner, Action::ChangeSetProposed, &id.to_string())
        })
        .unwrap();
}

fn notice(building: &Building, owner: AccountId, word: &str, number: u64) {
    let ws = building.workspace();
    let id = NoticeId::new(ws.clock(), ws.random());
    let to = match number % 4 {
        0 => Audience::Everyone,
        1 => Audience::Account(owner),
        2 => Audience::Role(Role::Admin),
        _ => Audience::Others { least: Role::Member, but: vec![owner] },
    };
    let row = NoticeRow {
        kind: Kind::SyncFailed,
        title: word.to_owned(),
        body: word.to_owned(),
        link: if number.is_multiple_of(2) { "/w/halden-energy/orgs".into() } else { "orgs".into() },
        group: word.to_owned(),
        by: Some(owner),
        to,
        at: AT.parse().unwrap(),
    };
    building
        .write::<_, StoreError>(|tx| {
            tx.put(&NOTICES, &id, &row)?;
            tx.put(&NOTICES_READ, &(id, owner), &())?;
            tx.put(&NOTICES_SEEN, &owner, &id)
        })
        .unwrap();
}

fn usage(building: &Building, owner: AccountId, word: &str, number: u64) {
    building
        .write::<_, StoreError>(|tx| {
            let event = Event::new(Some(owner), Feature::Chat).count(Act::Message, number % 7 + 1);
            records::record(tx, AT.parse().unwrap(), &event)?;
            let spent = Spent { tokens: number, nano_usd: number, unpriced_tokens: 0 };
            tx.put(&MONTHS, &(24_322, Whose::Member(owner)), &spent)?;
            tx.put(&MONTHS, &(24_322, Whose::Workspace), &spent)?;
            tx.put(&BUDGETS, &Whose::Workspace, &Limit::NanoUsd(number))?;
            tx.put(&BUDGETS, &Whose::Member(owner), &Limit::Tokens(number))?;
            tx.put(&TOLD, &(24_322, Whose::Workspace), &80)?;
            let day = u32::try_from(number % 40_000).unwrap();
            tx.put(&SAMPLES, &day, &Sample { keyspace: number, index: 1, blobs: 2, ..Sample::default() })?;
            let limits =
                json!({ "conversations": number % 99, "documents": null, "versions": 30, "audit": 365 });
            let row =
                json!({ "limits": limits, "before": limits, "applies": AT, "changed": AT, "by": owner });
            put(tx, &RETENTION, &0, row);
            audited(building, tx, owner, Action::BudgetChanged, word)
        })
        .unwrap();
}

fn traffic(building: &Building, owner: AccountId, word: &str, number: u64) {
    let line = Line {
        at: AT.parse().unwrap(),
        purpose: Purpose::Salesforce,
        workspace: Some(building.workspace().id()),
        account: (number.is_multiple_of(2)).then_some(owner),
        why: word.to_owned(),
        host: "x.my.salesforce.com".into(),
        method: "GET".into(),
        status: Some(200),
        refused: None,
        sent_bytes: number,
        received_bytes: 1,
        millis: 2,
    };
    building
        .write::<_, StoreError>(|tx| {
            tx.put(&ledger::LINES, &(number, number), &line)?;
            let part = ledger::Part { purpose: Purpose::Model, account: Some(owner) };
            let sums = ledger::Sums { calls: 1, refused: 0, sent_bytes: number, received_bytes: 1 };
            tx.put(&ledger::DAYS, &(20_000, word.to_owned(), part), &sums)
        })
        .unwrap();
}
