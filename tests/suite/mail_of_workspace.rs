//! The mail server of one workspace, against real SMTP servers: which ones it may choose, and what leaves through it.

use vynos::ledger::LINES;
use vynos::mail::outbox::MailState;
use vynos::mail::{WORKSPACE_MAIL, forget_workspace};
use vynos::store::audit::{AUDIT, Action};
use vynos::store::{Read as _, StoreError};

use crate::harness::{Client, Server};
use crate::mail::{RELAY_PASSWORD, Relay, filled, text};
use crate::members::workspace;
use crate::outbox::until;

const MAIL: &str = "/w/halden-energy/settings/mail";
const MEMBERS: &str = "/w/halden-energy/members";
const SENDER: &str = "Halden <people@halden.example>";

async fn allow(operator: &Client, servers: &str) -> u16 {
    operator.post("/admin/mail/servers", &[("servers", servers)]).await.status
}

async fn choose(admin: &Client, relay: &Relay, act: &str) -> crate::harness::Answer {
    let port = relay.port.to_string();
    let mut form = filled(relay, &port, "tls");
    form.retain(|(name, _)| *name != "sender" && *name != "act");
    form.extend([("sender", SENDER), ("act", act)]);
    admin.post(MAIL, &form).await
}

async fn invite(admin: &Client, address: &str) -> crate::harness::Answer {
    admin.post(MEMBERS, &[("email", address), ("role", "member")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_chooses_only_servers_that_the_operator_allows_and_its_mails_leave_there() {
    let (server, ada) = Server::ready().await;
    let control = server.app().web.control.clone();
    let (mut ours, mut theirs) = (Relay::with("tls", &[]), Relay::with("tls", &[]));
    let page = ada.get(MAIL).await;
    assert!(page.body.contains("allows no mail server for workspaces yet"), "{}", page.body);
    assert!(
        page.body.contains("the instance has no mail server") || page.body.contains("The instance has no")
    );
    // Not allowed: nothing is dialled, nothing saved.
    for act in ["test", "save"] {
        let refused = choose(&ada, &theirs, act).await;
        assert!(
            refused.status == 422 && text(&refused).contains("does not allow workspaces"),
            "{}",
            text(&refused)
        );
    }
    assert_eq!(control.read().unwrap().scan(&WORKSPACE_MAIL).count().unwrap(), 0);
    assert_eq!(allow(&ada, "localhost").await, 422);
    assert_eq!(allow(&ada, &format!("localhost:{}\n", theirs.port)).await, 303);
    // Allowed: the test mail comes from the workspace's sender, and it is kept, without its password in any file.
    let taken = choose(&ada, &theirs, "test").await;
    assert!(taken.status == 200 && taken.body.contains("Queued as 4711"), "{}", text(&taken));
    assert!(taken.body.contains("leave through its own server"), "{}", taken.body);
    assert!(!taken.body.contains(RELAY_PASSWORD));
    assert_eq!(theirs.mail()["from"], "people@halden.example");
    let kept = std::fs::read(server.dir.path().join("data/control.redb")).unwrap();
    assert!(!kept.windows(RELAY_PASSWORD.len()).any(|bytes| bytes == RELAY_PASSWORD.as_bytes()));
    // Without a server of the instance the invitation leaves through the workspace's.
    let sent = invite(&ada, "max@halden.example").await;
    assert!(!sent.body.contains("id=\"link-1\""), "it went out by mail");
    let mail = theirs.mail();
    assert_eq!(
        (&mail["from"], &mail["to"][0]),
        (&"people@halden.example".into(), &"max@halden.example".into())
    );
    until(&control, "max@halden.example", |row| row.state == MailState::Sent).await;
    // What concerns an account alone never does.
    ours.keep(&ada).await;
    let forgot = server.client();
    forgot.send(forgot.request("POST", "/forgot").form(&[("email", "ada@halden.example")])).await;
    assert_eq!(ours.mail()["from"], "vynos@halden.example");
    let ws = server.app().web.door.for_runner(workspace(&server)).unwrap();
    for _ in 0..500 {
        if ws
            .read()
            .unwrap()
            .scan(&LINES)
            .rows()
            .unwrap()
            .iter()
            .any(|(_, line)| line.why == "mail: invitation-sent")
        {
            break;
        }
        tokio::time::timeout(std::time::Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    let lines = ws.read().unwrap().scan(&LINES).rows().unwrap();
    assert!(
        lines.iter().any(|(_, line)| line.why == "mail: invitation-sent"),
        "the workspace sees what left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_longer_allowed_or_removed_gives_way_to_that_of_the_instance() {
    let (server, ada) = Server::ready().await;
    let (mut ours, mut theirs) = (Relay::with("tls", &[]), Relay::with("tls", &[]));
    ours.keep(&ada).await;
    assert!(ada.get(MAIL).await.body.contains("Vynos &#60;vynos@halden.example&#62;"));
    assert_eq!(allow(&ada, &format!("localhost:{}", theirs.port)).await, 303);
    assert_eq!(choose(&ada, &theirs, "save").await.status, 200);
    invite(&ada, "max@halden.example").await;
    assert_eq!(theirs.mail()["to"][0], "max@halden.example");
    assert_eq!(allow(&ada, "").await, 303);
    let page = ada.get(MAIL).await.body;
    assert!(page.contains("The operator no longer allows the server below"), "{page}");
    invite(&ada, "lise@halden.example").await;
    assert_eq!(ours.mail()["to"][0], "lise@halden.example");
    // The instance's own server needs no leave, with another sender.
    let own = choose(&ada, &ours, "save").await;
    assert!(own.status == 200 && own.body.contains("leave through its own server"), "{}", text(&own));
    invite(&ada, "otto@halden.example").await;
    assert_eq!(ours.mail()["from"], "people@halden.example");
    assert_eq!(ada.post(&format!("{MAIL}/remove"), &[]).await.status, 303);
    assert!(
        ada.get(MAIL)
            .await
            .body
            .contains("The mails of this workspace leave through the server of the instance")
    );
    let (control, id) = (server.app().web.control.clone(), workspace(&server));
    assert!(control.read().unwrap().get(&WORKSPACE_MAIL, &id).unwrap().is_none());
    control.touch::<StoreError>(|tx| forget_workspace(tx, id)).unwrap();
    let audited = control.read().unwrap().scan(&AUDIT).rows().unwrap();
    let acts =
        audited.iter().filter(|(_, line)| line.action == Action::MailChanged && line.workspace == Some(id));
    assert_eq!(acts.count(), 3, "saved twice, removed once");
}
