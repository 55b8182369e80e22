//! What is written has its audit line: the few places that write without one are on a list here, each with its reason. And no line
//! holds what people say.

use std::path::{Path, PathBuf};

use serde_json::json;
use vynos::store::Read as _;
use vynos::store::audit::{AUDIT, Action, AuditEvent};

use crate::chat_pages::{ask, ended, talking};
use crate::harness::PASSWORD;
use crate::knowledge::{says, upload};
use crate::members::{invited, workspace};
use crate::members_api::token;

/// Where a workspace is written to without a line: `ws.note`. Progress, sums and drafts of an act whose own line stands
/// before or behind.
const NOTES: &[(&str, &str)] = &[
    ("api/idempotent.rs", "the kept answer of a request, whose act has its line"),
    ("backup/restore.rs", "rows of a backup, with the audit lines they had; instance.restored is added"),
    ("bundle/import.rs", "rows of a bundle before anybody is let in; workspace.imported lists it"),
    ("deployments/forget.rs", "part of org.disconnected"),
    ("deployments/send.rs", "steps of a run between deployment.submitted and its end"),
    ("deployments/watch.rs", "what the org says of a run, calls counted"),
    ("insights/analyse.rs", "findings of an org that is gone, part of org.disconnected"),
    ("jobs/runner.rs", "how often a job was begun; its end is job.finished"),
    ("knowledge/erase.rs", "rows of a document between document.deleted and document.erased"),
    ("knowledge/ingest.rs", "pages and passages before document.indexed"),
    ("ledger.rs", "the egress ledger, a log itself"),
    ("meter/budgets.rs", "usage counted; a budget that is reached has budget.reached"),
    ("notifications/inbox.rs", "what a person has read"),
    ("orgs/connect.rs", "takes the pending connection out; org.connected follows"),
    ("orgs/sync.rs", "components in batches before org.synced, calls counted"),
    ("retention/grown.rs", "rows that ended by themselves: old calls, notices, jobs"),
    ("usage/samples.rs", "disk space by day"),
    // Of `write`, which both stand on.
    ("workspace/change.rs", "the definition"),
    ("meter/tests.rs", "a test"),
    ("identity/control.rs", "the definition"),
    ("identity/sign_in.rs", "two steps of a sign-in, each with control.note in the same change"),
];

/// Where the control file is written to without a line: `control.touch`.
const TOUCHES: &[(&str, &str)] = &[
    ("backup/keeper.rs", "how a backup went; backup.made has its line"),
    ("backup/restore.rs", "indexes of restored data are queued; instance.restored has its line"),
    (
        "identity/erasures.rs",
        "how far an erasure is; workspace.erasure_begun and workspace.erased have their lines",
    ),
    (
        "identity/kept_audit.rs",
        "audit lines themselves, taken over from an erased workspace and let go after their year",
    ),
    ("identity/memberships.rs", "when a member was last there"),
    ("identity/passkeys.rs", "the counter of a passkey; the sign-in has its line"),
    ("identity/second_factor.rs", "a factor that is offered; second_factor.added follows"),
    ("identity/sessions.rs", "when a session was last seen; a list made from sessions that are there"),
    ("identity/sign_in.rs", "a password hashed anew with stronger settings"),
    ("identity/tokens.rs", "when a token was last used; tokens moved to another table"),
    ("ledger.rs", "the egress ledger, a log itself"),
    ("mail/outbox.rs", "how the delivery of a mail goes"),
    ("identity/control.rs", "the definition"),
];

/// Files below `src` that call `method` with a change: `.note(|tx| …)`.
fn callers(method: &str) -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let calls = |path: &PathBuf| {
        let source: String =
            std::fs::read_to_string(path).unwrap().chars().filter(|c| !c.is_whitespace()).collect();
        let begins = |rest: &str| rest.starts_with('|') || rest.starts_with("move|");
        source.split(&format!(".{method}(")).skip(1).any(begins)
    };
    let mut found: Vec<String> = files
        .iter()
        .filter(|path| calls(path))
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

fn listed(list: &[(&str, &str)], found: &[String], method: &str) {
    for file in found {
        let known = list.iter().any(|(name, reason)| name == file && !reason.is_empty());
        assert!(known, "{file} calls {method}: give the change its audit line, or list it with the reason");
    }
}

#[test]
fn what_is_written_without_an_audit_line_is_on_a_short_list() {
    let (notes, touches, writes) = (callers("note"), callers("touch"), callers("write"));
    listed(NOTES, &notes, "note");
    listed(TOUCHES, &touches, "touch");
    // Below both there is one door to a write transaction, which only the two definitions open.
    listed(NOTES, &writes, "write");
    let stale = |list: &[(&str, &str)], found: &[&[String]]| {
        for (name, _) in list {
            let used = found.iter().any(|files| files.iter().any(|file| file == name));
            assert!(used || name.ends_with("control.rs"), "{name} is listed and no longer calls it");
        }
    };
    stale(NOTES, &[&notes, &writes]);
    stale(TOUCHES, &[&touches]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_audit_line_holds_what_people_say() {
    let (rig, sim) = talking().await;
    let (server, ada) = (&rig.server, &rig.ada);
    ada.post("/account/profile", &[("name", "qzprofile person"), ("theme", "dark")]).await;
    server.client().sign_in("qzforeign@halden.example", "qzwrongpassword").await;
    let key = token(ada, &["read", "change", "chat", "upload", "admin"]).await;
    ada.post("/w/halden-energy/tokens", &[("name", "qztokenname"), ("scope", "read"), ("days", "30")]).await;
    invited(ada, "qzinvited@halden.example", "viewer").await;
    upload(ada, &[("qzfilename.md", b"# The qzheading\n\nWords qzdocument.\n")]).await;
    says(ada, "badge ok").await;
    let conversation = ask(ada, "What is qzquestion?").await;
    ended(ada, &conversation).await;
    ada.post(&format!("{conversation}/rename"), &[("title", "qztitle")]).await;
    ada.post(&format!("{conversation}/delete"), &[]).await;
    let client = server.client();
    let orgs = client.send(client.request("GET", "/api/v1/orgs").bearer_auth(&key)).await;
    let orgs: serde_json::Value = serde_json::from_str(&orgs.body).unwrap();
    let body = json!({
        "org": orgs["items"][0]["id"], "title": "qzchange", "tests": [],
        "files": [{ "path": "classes/Qzclass.cls", "content": "public class Qzclass { /* qzsource */ }" }],
    });
    let drafted =
        client.send(client.request("POST", "/api/v1/change-sets").bearer_auth(&key).json(&body)).await;
    assert_eq!(drafted.status, 201, "{}", drafted.body);
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    ada.post("/w/halden-energy/settings", &[("name", "qzworkspace")]).await;

    let mut lines: Vec<AuditEvent> = Vec::new();
    lines.extend(ws.read().unwrap().scan(&AUDIT).rows().unwrap().into_iter().map(|(_, line)| line));
    let control = server.app().web.control.read().unwrap();
    lines.extend(control.scan(&AUDIT).rows().unwrap().into_iter().map(|(_, line)| line));
    for action in [
        Action::AccountChanged,
        Action::ChangeSetProposed,
        Action::ConversationChanged,
        Action::ConversationDeleted,
        Action::DocumentIndexed,
        Action::DocumentUploaded,
        Action::InvitationSent,
        Action::OrgConnected,
        Action::QuestionAnswered,
        Action::QuestionAsked,
        Action::TokenCreated,
        Action::WorkspaceRenamed,
    ] {
        assert!(lines.iter().any(|line| line.action == action), "{action:?} has its line");
    }
    for line in &lines {
        let text = serde_json::to_string(line).unwrap().to_lowercase();
        for word in ["qz", "@halden.example", PASSWORD, "halden energy", sim.key()] {
            assert!(!text.contains(&word.to_lowercase()), "{word} in {text}");
        }
    }
    drop((ws, control));
    sim.stop().await;
}
