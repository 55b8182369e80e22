//! The privacy policy: readable by anybody, in versions, acknowledged when a change is material; and the page of cookies,
//! which names those that are set.

use std::collections::BTreeSet;

use reqwest::header::SET_COOKIE;

use vynos::identity::IdentityError;
use vynos::identity::accounts::NewAccount;
use vynos::identity::control::Note;
use vynos::mail::Letter;
use vynos::privacy::POLICY_MAILS;
use vynos::store::audit::{Action, Actor};
use vynos::store::{Read as _, StoreError};

use crate::access::{person, signed_in};
use crate::harness::{Client, PASSWORD, Server};
use crate::reset::{mails, outbox};

const BANNER: &str = "The privacy policy changed.";

async fn publish(ada: &Client, text: &str, what: &str, material: bool) {
    let mut fields = vec![("text", text), ("what", what)];
    fields.extend(material.then_some(("material", "true")));
    let done = ada.post("/admin/privacy", &fields).await;
    assert_eq!(done.status, 303, "{}", done.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_stay_readable_and_a_material_one_waits_for_everybody() {
    let (server, ada) = Server::ready().await;
    person(&server.app().web.control, "max");
    let max = signed_in(&server, "max").await;
    let nobody = server.client();
    let first = nobody.get("/privacy").await;
    assert!(
        first.status == 200 && first.body.contains("Who else receives data") && first.body.contains("<table")
    );
    assert!(first.body.contains("Ask the operator of this instance."));
    assert!(!max.get("/account/profile").await.body.contains(BANNER));

    publish(&ada, "# One\n\nfirstwords <script>x</script>", "Written for us", false).await;
    assert!(!max.get("/account/profile").await.body.contains(BANNER));
    server.clock.advance(jiff::SignedDuration::from_hours(48));
    let max = signed_in(&server, "max").await;
    let ada = {
        let again = server.client();
        again.sign_in("ada@halden.example", PASSWORD).await;
        again
    };
    publish(&ada, "# Two\n\nsecondwords", "Documents are kept for a year", true).await;
    let now = nobody.get("/privacy").await;
    assert!(now.body.contains("secondwords") && now.body.contains("Last updated: 25 November 2026"));
    assert!(now.body.contains("Documents are kept for a year"));
    let before = nobody.get("/privacy?version=1").await;
    assert!(before.body.contains("firstwords") && before.body.contains("This is an older version."));
    assert!(!before.body.contains("<script>x"));
    assert_eq!(nobody.get("/privacy?version=9").await.status, 404);

    assert!(ada.get("/admin/privacy").await.body.contains("2 not acknowledged yet"));
    let page = max.get("/account/profile").await;
    assert!(page.body.contains(BANNER));
    // Only a version that there is.
    assert_eq!(max.post("/account/policy", &[("version", "7")]).await.status, 422);
    let acknowledged = max.post("/account/policy", &[("version", "2")]).await;
    assert_eq!((acknowledged.status, acknowledged.location()), (303, "/"));
    assert!(!max.get("/account/profile").await.body.contains(BANNER));
    assert!(ada.get("/admin/privacy").await.body.contains("1 not acknowledged yet"));
    let control = &server.app().web.control;
    let lines = control.read().unwrap().scan(&vynos::store::audit::AUDIT).rows().unwrap();
    let target = lines.iter().rev().find(|(_, line)| line.action.name() == "policy.acknowledged");
    assert!(target.unwrap().1.target.ends_with(" version 2"));
    assert!(ada.get("/w/halden-energy/notifications").await.body.contains("The privacy policy changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_material_change_is_mailed_once_to_every_account_whatever_they_chose() {
    let (server, ada) = Server::ready().await;
    mails(&server);
    let control = server.app().web.control.clone();
    let joined = Note::new(Actor::Operator, Action::AccountJoined, "many");
    control
        .change_now::<_, IdentityError>(joined, |tx| {
            for n in 0..250 {
                let email = format!("p{n}@halden.example").parse()?;
                let new = NewAccount { email, name: format!("P {n}"), password_hash: None, operator: false };
                control.insert_account(tx, new)?;
            }
            Ok(())
        })
        .unwrap();
    let mailed = || {
        let mut to: Vec<String> = outbox(&server)
            .into_iter()
            .filter(|row| matches!(&row.letter, Some(Letter::PrivacyPolicyChanged { .. })))
            .map(|row| row.to)
            .collect();
        to.sort();
        to
    };
    publish(&ada, "# One", "Spelling", false).await;
    assert!(mailed().is_empty(), "not material");
    publish(&ada, "# Two", "Backups are kept for 14 days", true).await;
    let first = mailed();
    assert_eq!(first.len(), 251);
    let mut once = first.clone();
    once.dedup();
    assert_eq!(once.len(), 251);
    let said = outbox(&server).into_iter().find_map(|row| match row.letter {
        Some(Letter::PrivacyPolicyChanged { what, .. }) => Some(what),
        _ => None,
    });
    assert_eq!(said.as_deref(), Some("Backups are kept for 14 days"));
    // What looks every day goes on where it stopped, and mails nobody twice.
    let begin = Note::new(Actor::Operator, Action::PolicyPublished, "again");
    assert_eq!(control.read().unwrap().scan(&POLICY_MAILS).count().unwrap(), 0);
    server.app().sweeper.sweep_due().await.unwrap();
    assert_eq!(mailed(), first);
    // A process that ended before it mailed anybody: the version waits in the file.
    let waiting = serde_json::from_str("{\"after\":null}").unwrap();
    control.change_now::<_, StoreError>(begin, |tx| tx.put(&POLICY_MAILS, &2, &waiting)).unwrap();
    server.app().sweeper.sweep_due().await.unwrap();
    assert_eq!(mailed().len(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_without_text_or_reason_is_refused_and_kept_in_the_form() {
    let (_server, ada) = Server::ready().await;
    let refused = ada.post("/admin/privacy", &[("text", "keepthis"), ("what", " ")]).await;
    assert!(refused.status == 422 && refused.body.contains("keepthis"));
    assert_eq!(ada.post("/admin/privacy", &[("text", ""), ("what", "x")]).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_cookies_names_those_that_are_set() {
    let (server, ada) = Server::ready().await;
    let listed: BTreeSet<String> =
        ada.get("/cookies").await.all_between("<code>", "</code>").into_iter().collect();
    let mut set = BTreeSet::new();
    for route in vynos::features::ROUTES.iter().filter(|r| r.method == "GET" && !r.path.contains('{')) {
        for client in [&ada, &server.client()] {
            let answer = client.send(client.request("GET", route.path)).await;
            set.extend(answer.headers.get_all(SET_COOKIE).iter().map(|v| v.to_str().unwrap().to_owned()));
        }
    }
    set.extend(ada.cookies().into_keys().map(|name| format!("{name}=")));
    let fresh = server.client();
    let signed = fresh.sign_in("ada@halden.example", PASSWORD).await;
    set.extend(signed.headers.get_all(SET_COOKIE).iter().map(|v| v.to_str().unwrap().to_owned()));
    let names: BTreeSet<String> =
        set.iter().filter_map(|c| c.split_once('=')).map(|(n, _)| n.to_owned()).collect();
    assert!(!names.is_empty() && names.is_subset(&listed), "{names:?} are set, {listed:?} are told");
}
