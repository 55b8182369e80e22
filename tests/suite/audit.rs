//! The audit chain: every change has its line, in its commit; an edited line and a cut tail are named.

use vynos::seal::{DataKey, SubKey, Use};
use vynos::store::audit::{AUDIT, AUDIT_HEAD, Action, Actor, Broken, Entry, append, verify};
use vynos::store::{File, Read as _, StoreError};

use crate::harness::Server;

fn chain(lines: u64) -> (tempfile::TempDir, File, SubKey) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataKey::new();
    let (pages, key) = (data.sub(Use::Pages), data.sub(Use::Audit));
    let file = File::create(&dir.path().join("a.redb"), &pages, 1 << 20).unwrap();
    file.write(|tx| {
        for n in 0..lines {
            let entry = Entry {
                at: "2026-11-23T09:00:00Z".parse().unwrap(),
                actor: Actor::Operator,
                action: Action::OrgSynced,
                target: format!("org {n}"),
                workspace: None,
                request: None,
            };
            append(tx, &key, entry)?;
        }
        Ok::<_, StoreError>(())
    })
    .unwrap();
    (dir, file, key)
}

#[test]
fn a_whole_chain_holds() {
    let (_dir, file, key) = chain(50);
    assert_eq!(verify(&file.snapshot().unwrap(), &key).unwrap(), Ok(50));
}

#[test]
fn an_edited_line_is_named() {
    let (_dir, file, key) = chain(50);
    file.write(|tx| {
        let mut event = tx.get(&AUDIT, &17)?.unwrap();
        event.target = "org 99".into();
        tx.put(&AUDIT, &17, &event)
    })
    .unwrap();
    assert_eq!(verify(&file.snapshot().unwrap(), &key).unwrap(), Err(Broken::Link(17)));
}

#[test]
fn a_removed_line_and_a_cut_tail_are_named() {
    let (_dir, file, key) = chain(50);
    file.write(|tx| tx.remove(&AUDIT, &50)).unwrap();
    assert_eq!(verify(&file.snapshot().unwrap(), &key).unwrap(), Err(Broken::Tail(49)));
    file.write(|tx| {
        // Even with a head that fits: the MAC needs the key.
        let hash = tx.get(&AUDIT, &49)?.unwrap().hash;
        let mut head = tx.get(&AUDIT_HEAD, &0)?.unwrap();
        (head.line, head.hash) = (49, hash);
        tx.put(&AUDIT_HEAD, &0, &head)
    })
    .unwrap();
    assert_eq!(verify(&file.snapshot().unwrap(), &key).unwrap(), Err(Broken::Tail(49)));
    file.write(|tx| tx.remove(&AUDIT, &20)).unwrap();
    assert_eq!(verify(&file.snapshot().unwrap(), &key).unwrap(), Err(Broken::Link(21)));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_leave_their_line_and_the_page_shows_them() {
    let (server, ada) = Server::ready().await;
    let door = &server.app().web.door;
    let control = &server.app().web.control;
    let (id, _) = control.workspace_by_slug("halden-energy").unwrap().unwrap();
    let ws = door.for_runner(id).unwrap();
    for n in 0..60 {
        ws.change(Action::OrgSynced, format!("doc-{n}"), |_| Ok::<_, StoreError>(())).await.unwrap();
    }
    ws.change(Action::OrgConnected, "org-1", |_| Ok::<_, StoreError>(())).await.unwrap();
    assert_eq!(ws.verify_audit().unwrap(), Ok(61));
    let failed = ws.change(Action::OrgDisconnected, "doc-1", |_| Err::<(), _>(StoreError::DiskFull)).await;
    assert!(failed.is_err());
    assert_eq!(ws.verify_audit().unwrap(), Ok(61), "a change that failed leaves no line");
    let page = ada.get("/w/halden-energy/audit").await;
    assert!(page.body.contains("The chain holds: 61 lines.") && page.body.contains("<code>org-1</code>"));
    let filtered = ada.get("/w/halden-energy/audit?action=org.connected").await;
    assert!(filtered.body.contains("<code>org-1</code>") && !filtered.body.contains("<code>doc-59</code>"));
    let older = page.between("<a class=\"btn\" href=\"", "\"").unwrap().replace("&amp;", "&");
    let older = ada.get(&older).await;
    assert!(older.body.contains("<code>doc-3</code>") && !older.body.contains("<code>doc-59</code>"));
    assert!(matches!(control.verify_audit().unwrap(), Ok(lines) if lines >= 6));
}
