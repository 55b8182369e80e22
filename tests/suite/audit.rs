//! The audit chain: every change has its line, in its commit; an edited line and a cut tail are named.

use vynos::store::StoreError;
use vynos::store::audit::Action;

use crate::harness::Server;

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
