//! Two workspaces in one instance, whatever is done in them: nothing of one is ever told to the other.

use std::time::Duration;

use proptest::prelude::*;
use reqwest::multipart::{Form, Part};
use vynos::features::ROUTES;
use vynos::identity::Role;
use vynos::identity::control::Note;
use vynos::store::audit::{Action, Actor};

use crate::access::{person, signed_in};
use crate::harness::{Answer, Client, Server};

#[derive(Clone, Copy, Debug)]
enum Act {
    Ask,
    MakeToken,
    Upload,
}

fn act() -> impl Strategy<Value = (bool, Act)> {
    (any::<bool>(), prop_oneof![Just(Act::Ask), Just(Act::MakeToken), Just(Act::Upload)])
}

/// Does something in a workspace that carries a word of its own; answers the ids that came of it.
async fn perform(client: &Client, slug: &str, act: Act, word: &str) -> Vec<String> {
    let (base, id) =
        (format!("/w/{slug}"), |path: &str| path.rsplit('/').next().unwrap_or_default()[..26].to_owned());
    match act {
        Act::Ask => {
            let asked = client
                .post(&format!("{base}/chat"), &[("text", &format!("What is {word}?")), ("org", "")])
                .await;
            assert_eq!(asked.status, 303, "{}", asked.body);
            vec![id(asked.location())]
        }
        Act::MakeToken => {
            let made = client
                .post(&format!("{base}/tokens"), &[("name", word), ("scope", "read"), ("days", "30")])
                .await;
            assert_eq!(made.status, 200, "{}", made.body);
            made.all_between("/tokens/", "/revoke")
        }
        Act::Upload => {
            let page = client.get(&format!("{base}/knowledge")).await;
            let csrf = page.between("name=\"csrf\" value=\"", "\"").unwrap();
            let text = format!("# About {word}\n\nOnly {word} stands here.\n");
            let form = Form::new()
                .text("csrf", csrf)
                .part("files", Part::text(text).file_name(format!("{word}.md")));
            let sent =
                client.send(client.request("POST", &format!("{base}/knowledge")).multipart(form)).await;
            assert_eq!(sent.status, 303, "{}", sent.body);
            let list = read_through(client, &format!("{base}/knowledge")).await;
            list.all_between(&format!("{base}/knowledge/"), "\"")
                .into_iter()
                .filter(|id| id.len() == 26)
                .collect()
        }
    }
}

/// The library once every document is read: pages that are compared must not change in between.
async fn read_through(client: &Client, path: &str) -> Answer {
    for _ in 0..1_000 {
        let list = client.get(path).await;
        if list.body.matches("class=\"ftype").count() == list.body.matches(">Ready</span>").count() {
            return list;
        }
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
    }
    panic!("the document was never read");
}

/// Everything that one person may read of a workspace, in one text; with the ids of another one in every place.
async fn told(client: &Client, slug: &str, foreign: &[String], words: &[String]) -> String {
    let mut all = String::new();
    for route in ROUTES.iter().filter(|r| r.method == "GET" && r.path.starts_with("/w/{workspace}/")) {
        if route.path.ends_with("/live") || route.path.ends_with("/events") {
            continue;
        }
        let path = route.path.replace("{workspace}", slug);
        if !path.contains('{') {
            all.push_str(&client.get(&path).await.body);
            continue;
        }
        for id in foreign {
            let mut path = path.clone();
            while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
                path.replace_range(from..=to, id);
            }
            let answer = client.get(&path).await;
            assert_eq!(answer.status, 404, "{path}");
            all.push_str(&answer.body.replace(id.as_str(), ""));
        }
    }
    // A search for a word of the other workspace is answered as one for a word that nobody ever said.
    for word in words {
        for page in ["knowledge", "chats"] {
            let unsaid = format!("{}yyyyyy", &word[..5]);
            let found =
                client.get(&format!("/w/{slug}/{page}?q={word}")).await.body.replace(word.as_str(), "*");
            let nothing =
                client.get(&format!("/w/{slug}/{page}?q={unsaid}")).await.body.replace(&unsaid, "*");
            assert_eq!(found, nothing, "{slug} {page}");
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn nothing_of_one_workspace_is_told_to_another(acts in prop::collection::vec(act(), 3..8)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (server, ada) = Server::ready().await;
            let control = &server.app().web.control;
            let eve_id = person(control, "eve");
            let row = vynos::people::create_workspace(&server.app().web, Actor::Operator, eve_id, "Other", None).unwrap();
            let eve = signed_in(&server, "eve").await;
            let (other, _) = control.workspace_by_slug(&row.slug).unwrap().unwrap();
            let note = Note::new(Actor::Operator, Action::AccountChanged, eve_id);
            control.change_now(note, |tx| control.put_member(tx, other, eve_id, Role::Owner)).unwrap();
            let mut ids = (Vec::new(), Vec::new());
            let mut words = (Vec::new(), Vec::new());
            for (n, (of_ada, act)) in acts.into_iter().enumerate() {
                // One token, and no other word's misspelling.
                let own = char::from(b'b' + n as u8).to_string().repeat(6);
                let word = format!("zq{}{own}", if of_ada { "ada" } else { "eve" });
                if of_ada {
                    ids.0.extend(perform(&ada, "halden-energy", act, &word).await);
                    words.0.push(word);
                } else {
                    ids.1.extend(perform(&eve, "other", act, &word).await);
                    words.1.push(word);
                }
            }
            let (to_eve, to_ada) =
                (told(&eve, "other", &ids.0, &words.0).await, told(&ada, "halden-energy", &ids.1, &words.1).await);
            for (text, ids, words) in [(&to_eve, &ids.0, &words.0), (&to_ada, &ids.1, &words.1)] {
                for secret in ids.iter().chain(words) {
                    assert!(!text.contains(secret.as_str()), "{secret} was told to the other workspace");
                }
            }
            // The same words are there for their own people, so the search for them means something.
            for (client, slug, words) in [(&ada, "halden-energy", &words.0), (&eve, "other", &words.1)] {
                let own = told(client, slug, &[], &[]).await;
                for word in words {
                    assert!(own.contains(word.as_str()), "{word} is not even told to its own workspace");
                }
            }
            for (client, slug) in [(&ada, "other"), (&eve, "halden-energy")] {
                assert_eq!(client.get(&format!("/w/{slug}/knowledge")).await.status, 404);
            }
        });
    }
}
