//! Conversations over HTTP against the scripted model and the simulated org: questions, streams, stop, failures,
//! who may read what.

use std::time::Duration;

use futures_util::StreamExt as _;
use vynos::identity::Role;
use vynos::identity::control::Note;
use vynos::models::Entered;
use vynos::seal::Secret;
use vynos::sim::model::{self, SimulatedModel};
use vynos::sim::salesforce::Consent;
use vynos::store::audit::{Action, Actor};
use vynos::wire::model::{Auth, Profile};

use crate::harness::{Answer, Client, PASSWORD};
use crate::orgs::{Rig, rig};

pub const CHAT: &str = "/w/halden-energy/chat";

/// An instance with a synced org and the scripted model, which obeys directives.
pub async fn talking() -> (Rig, SimulatedModel) {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    let sim = with_model(&rig).await;
    (rig, sim)
}

/// The scripted model, as the endpoint of an instance.
pub async fn with_model(rig: &Rig) -> SimulatedModel {
    let options = model::Options { directives: true, ..model::Options::default() };
    let sim = model::start(options).await.unwrap();
    let entered = Entered {
        base_url: sim.url().clone(),
        model: model::MODEL.to_owned(),
        auth: Auth::XApiKey,
        key: Some(Secret::new(sim.key().to_owned())),
        profile: Profile::Anthropic,
    };
    let models = &rig.server.app().models;
    let tested = models.test(&entered, None).await.unwrap().unwrap();
    models.save(Actor::Operator, &entered, Some(&tested)).unwrap();
    sim
}

/// Asks in a new conversation; answers its path.
pub async fn ask(client: &Client, text: &str) -> String {
    let posted = client.post(CHAT, &[("text", text), ("org", "production")]).await;
    assert_eq!(posted.status, 303, "{}", posted.body);
    posted.location().split('#').next().unwrap().to_owned()
}

/// Loads a conversation until nothing runs in it.
pub async fn ended(client: &Client, path: &str) -> Answer {
    for _ in 0..600 {
        let page = client.get(path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        if !page.body.contains("aria-busy") {
            return page;
        }
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
    }
    panic!("the answer never ended");
}

/// Path of the events of the turn that runs, or ran last.
fn events_path(page: &Answer, path: &str) -> String {
    let turn = page.all_between("<section class=\"turn\" id=\"t-", "\"").pop().unwrap();
    format!("{path}/turns/{turn}/events")
}

/// Names and data of all events until the stream ends.
async fn events(client: &Client, path: &str, last: Option<&str>) -> Vec<(String, String)> {
    let mut request = client.request("GET", path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let text = answer.text().await.unwrap();
    let event = |block: &str| {
        let line =
            |name: &str| block.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().to_owned();
        (line("event: "), line("data: "))
    };
    text.split("\n\n").filter(|block| block.contains("event: ")).map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_from_the_org_with_sources_and_what_was_looked_at() {
    let (rig, sim) = talking().await;
    let start = rig.ada.get(CHAT).await;
    assert!(
        start.body.contains("What are we working on?") && start.body.contains("Apex classes."),
        "{}",
        start.body
    );
    assert!(start.body.contains("finding"), "starters come from the org: {}", start.body);
    assert!(start.body.contains(model::LABEL));
    let path = ask(&rig.ada, "What does OpportunityTriggerHandler do?").await;
    let page = ended(&rig.ada, &path).await.body;
    assert!(page.contains("Read ApexClass OpportunityTriggerHandler"), "{page}");
    assert!(page.contains("<strong>OpportunityTriggerHandler</strong>"));
    assert!(page.contains(&format!("<span class=\"badge\">{}</span>", model::LABEL)));
    let cite = page.split("<a class=\"cite\" href=\"#").nth(1).unwrap().split('"').next().unwrap();
    assert!(page.contains(&format!("id=\"{cite}\"")), "a citation has its source");
    let hrefs: Vec<&str> = page
        .split("class=\"src\"")
        .skip(1)
        .filter_map(|s| s.split("href=\"").nth(1)?.split('"').next())
        .collect();
    assert!(
        hrefs.iter().any(|h| h.contains("/o/production/metadata/ApexClass/OpportunityTriggerHandler#L")),
        "{hrefs:?} {page}"
    );
    assert!(page.contains(" tokens"), "what it used is said");
    let source =
        rig.ada.get("/w/halden-energy/o/production/metadata/ApexClass/OpportunityTriggerHandler").await;
    assert_eq!(source.status, 200);
    // The sidebar and the list name it by its question.
    assert!(
        rig.ada.get("/w/halden-energy/tokens").await.body.contains("What does OpportunityTriggerHandler do?")
    );
    let list = rig.ada.get("/w/halden-energy/chats?q=writes").await;
    assert!(list.body.contains("1 result") && list.body.contains("<mark>"), "{}", list.body);
    assert!(
        rig.ada.get("/w/halden-energy/chats?q=nowhere").await.body.contains("Nothing was said about that")
    );
    let export = rig.ada.get(&format!("{path}/export")).await;
    assert!(export.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert!(export.body.contains("## You,") && export.body.contains("- [1] OpportunityTriggerHandler"));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_hears_the_whole_turn_from_wherever_it_was() {
    let (rig, sim) = talking().await;
    let path = ask(&rig.ada, "[[fake:say First **block**.\n\nSecond block.]][[fake:slow 15]]").await;
    let page = rig.ada.get(&path).await;
    assert!(page.body.contains("aria-busy") && page.body.contains("http-equiv=\"refresh\""), "{}", page.body);
    let stream = events_path(&page, &path);
    let (one, two) = tokio::join!(events(&rig.ada, &stream, None), events(&rig.ada, &stream, None));
    assert_eq!(one, two);
    let names: Vec<&str> = one.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names[0], *names.last().unwrap()), ("started", "done"), "{names:?}");
    assert!(names.contains(&"usage") && names.contains(&"text"));
    let block = &one.iter().find(|(name, _)| name == "block").unwrap().1;
    assert!(block.contains("<strong>block</strong>"), "{block}");
    let texts = |events: &[(String, String)]| -> String {
        let text = |data: &str| {
            serde_json::from_str::<serde_json::Value>(data).unwrap()["text"].as_str().unwrap().to_owned()
        };
        events.iter().filter(|(name, _)| name == "text").map(|(_, data)| text(data)).collect()
    };
    assert_eq!(texts(&one), "First **block**.\n\nSecond block.");
    // After the end the same is told from what is kept.
    let late = events(&rig.ada, &stream, None).await;
    assert_eq!((texts(&late), late.last().unwrap().0.as_str()), (texts(&one), "done"));
    let resumed = events(&rig.ada, &stream, Some("1")).await;
    assert!(resumed.iter().all(|(name, _)| name != "started"), "{resumed:?}");
    assert!(ended(&rig.ada, &path).await.body.contains("First <strong>block</strong>."));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_keeps_what_came_and_another_answer_stands_beside_it() {
    let (rig, sim) = talking().await;
    let path = ask(&rig.ada, "[[fake:long 2000]][[fake:slow 10]]").await;
    let page = rig.ada.get(&path).await;
    let stream = events_path(&page, &path);
    let answer = rig.ada.request("GET", &stream).send().await.unwrap();
    let mut bytes = answer.bytes_stream();
    let mut heard = String::new();
    while !heard.contains("word3") {
        heard.push_str(&String::from_utf8_lossy(&bytes.next().await.unwrap().unwrap()));
    }
    // A second question has to wait.
    let second = rig.ada.post(&path, &[("text", "And now?"), ("org", "")]).await;
    assert_eq!(second.status, 409, "{}", second.body);
    let stop = stream.replace("/events", "/stop");
    assert_eq!(rig.ada.post(&stop, &[]).await.status, 303);
    let page = rig.ada.get(&path).await.body;
    assert!(
        page.contains("<b>Stopped.</b>") && page.contains("word3") && !page.contains("word1999"),
        "{page}"
    );
    assert_eq!(rig.ada.post(&format!("{path}/again"), &[]).await.status, 303);
    assert_eq!(rig.ada.post(&stop, &[]).await.status, 303, "stopping twice is no error");
    let again = rig.ada.get(&path).await;
    assert_eq!(rig.ada.post(&events_path(&again, &path).replace("/events", "/stop"), &[]).await.status, 303);
    let page = ended(&rig.ada, &path).await;
    assert!(page.body.contains("2 of 2"), "{}", page.body);
    let before = page.between("<span class=\"pager\"><a class=\"btn ghost icon sm\" href=\"", "#").unwrap();
    let first = rig.ada.get(&before).await;
    assert!(first.body.contains("1 of 2"), "{before}: {}", first.body);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_came_and_asks_nobody_again() {
    let (rig, sim) = talking().await;
    let path = ask(&rig.ada, "[[fake:long 3000]][[fake:slow 10]]").await;
    let stream = events_path(&rig.ada.get(&path).await, &path);
    let mut bytes = rig.ada.request("GET", &stream).send().await.unwrap().bytes_stream();
    let mut heard = String::new();
    while !heard.contains("word3") {
        heard.push_str(&String::from_utf8_lossy(&bytes.next().await.unwrap().unwrap()));
    }
    drop(bytes);
    let calls = sim.calls();
    let (dir, clock) = rig.server.stop().await;
    let server = crate::harness::Server::on(dir, clock).await;
    let mut ada = rig.ada.clone();
    ada.base.clone_from(&server.base);
    let page = ended(&ada, &path).await.body;
    assert!(
        page.contains("<b>Stopped.</b>") && page.contains("word3") && page.contains("Answer again"),
        "{page}"
    );
    assert_eq!(sim.calls(), calls, "the model was not asked again");
    assert_eq!(events(&ada, &stream, None).await.last().unwrap().0, "done");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_kept_within_seconds_also_while_the_model_says_nothing() {
    let (rig, sim) = talking().await;
    // After each event the model is silent for longer than the two seconds after which what came is kept.
    let path = ask(&rig.ada, "[[fake:long 3]][[fake:slow 2600]]").await;
    let page = crate::usage::shows(&rig.ada, &path, "word").await;
    assert!(page.contains("aria-busy"), "while the answer is still coming: {page}");
    let stop = events_path(&rig.ada.get(&path).await, &path).replace("/events", "/stop");
    assert_eq!(rig.ada.post(&stop, &[]).await.status, 303);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_outside_is_said_in_the_answers_place_and_the_question_is_kept() {
    let (rig, sim) = talking().await;
    for (order, words) in [
        ("[[fake:error 401 authentication_error]]", "rejected the key"),
        ("[[fake:html]]", "is not a model"),
        ("[[fake:say Half]][[fake:truncate]]", "broke off"),
        ("[[fake:refuse safety]]", "declined"),
    ] {
        let path = ask(&rig.ada, order).await;
        let page = ended(&rig.ada, &path).await.body;
        assert!(
            page.contains(words) && page.contains("Answer again") && page.contains("[[fake:"),
            "{order}: {page}"
        );
    }
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_the_chat_says_so_and_answers_with_what_it_finds() {
    let rig = rig(Consent::Auto).await;
    rig.connect().await;
    rig.synced().await;
    assert!(rig.ada.get(CHAT).await.body.contains("No model is configured"));
    let path = ask(&rig.ada, "OpportunityTriggerHandler").await;
    let page = ended(&rig.ada, &path).await.body;
    assert!(page.contains("No model is configured") && page.contains("class=\"cite\""), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_in_questions_and_answers_stays_text() {
    let (rig, sim) = talking().await;
    let hostile = "<script>alert(1)</script> <img src=x onerror=alert(1)> ![x](http://127.0.0.1:9/d)";
    let path = ask(&rig.ada, &format!("[[fake:say {hostile}]]")).await;
    let page = ended(&rig.ada, &path).await;
    assert!(!page.body.contains("<script>alert") && !page.body.contains("<img"), "{}", page.body);
    for (name, data) in events(&rig.ada, &events_path(&page, &path), None).await {
        assert!(name != "block" || !data.contains("<script"), "{data}");
    }
    let named = rig.ada.post(&format!("{path}/rename"), &[("title", "<b>Mine</b>")]).await;
    assert_eq!(named.status, 303);
    assert!(rig.ada.get(&path).await.body.contains("&#60;b&#62;Mine"));
    assert_eq!(rig.ada.post(&format!("{path}/rename"), &[("title", " ")]).await.status, 422);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_a_conversation_and_a_deleted_one_is_gone() {
    let (rig, sim) = talking().await;
    let control = &rig.server.app().web.control;
    let (workspace, _) = control.workspace_by_slug("halden-energy").unwrap().unwrap();
    for (name, role) in [("admin", Role::Admin), ("viewer", Role::Viewer)] {
        let email = format!("{name}@halden.example");
        let new =
            vynos::identity::Control::prepare_account(&email, name, &Secret::new(PASSWORD.into()), false);
        let note = Note::new(Actor::Operator, Action::AccountChanged, name);
        let new = new.unwrap();
        control
            .change_now(note, |tx| {
                let id = control.insert_account(tx, new)?;
                control.put_member(tx, workspace, id, role)?;
                Ok::<_, vynos::identity::IdentityError>(())
            })
            .unwrap();
    }
    let path = ask(&rig.ada, "[[fake:say A word only Ada may read.]]").await;
    let page = ended(&rig.ada, &path).await;
    let stream = events_path(&page, &path);
    for (name, expected) in [("admin", 404), ("viewer", 403)] {
        let other = rig.server.client();
        assert_eq!(other.sign_in(&format!("{name}@halden.example"), PASSWORD).await.status, 303);
        for path in [path.clone(), format!("{path}/export"), format!("{path}/delete"), stream.clone()] {
            assert_eq!(other.get(&path).await.status, expected, "{name} {path}");
        }
        assert_eq!(other.post(&format!("{path}/delete"), &[]).await.status, expected);
        assert_eq!(other.post(&path, &[("text", "x"), ("org", "")]).await.status, expected);
        assert!(!other.get("/w/halden-energy/orgs").await.body.contains("only Ada"));
    }
    assert_eq!(rig.ada.post(&format!("{path}/pin"), &[("pinned", "yes")]).await.status, 303);
    assert!(rig.ada.get("/w/halden-energy/chats").await.body.contains("<h2>Pinned</h2>"));
    assert!(rig.ada.get(&format!("{path}/delete")).await.body.contains("2 messages"));
    assert_eq!(rig.ada.post(&format!("{path}/delete"), &[]).await.status, 303);
    assert_eq!(rig.ada.get(&path).await.status, 404);
    assert!(rig.ada.get("/w/halden-energy/chats").await.body.contains("No chats yet"));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fix_is_drafted_and_validated_only_after_a_person_allowed_it() {
    let (rig, sim) = talking().await;
    let path = ask(&rig.ada, "Can you fix OpportunityTriggerHandler?").await;
    let page = ended(&rig.ada, &path).await;
    let card = page.between("<section class=\"prop", "</section>").unwrap_or_else(|| panic!("{}", page.body));
    assert!(card.contains("Review change set") && card.contains(">Draft</span>"), "{card}");
    let href = card.split("href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(rig.ada.get(&href).await.status, 200, "{href}");
    assert!(!page.body.contains("Allow validation"), "nothing asks for consent before it is needed");
    assert_eq!(rig.ada.post(&path, &[("text", "Validate it."), ("org", "production")]).await.status, 303);
    let page = ended(&rig.ada, &path).await;
    assert!(page.body.contains("Allow validation and go on"), "{}", page.body);
    let org = page.between("name=\"org\" value=\"", "\"").unwrap();
    assert!(page.body.contains(">Draft</span>"), "nothing was validated");
    assert_eq!(rig.ada.post(&format!("{path}/consent"), &[("org", &org)]).await.status, 303);
    let page = ended(&rig.ada, &path).await.body;
    assert!(page.contains("Validated the change set") && !page.contains("Allow validation"), "{page}");
    assert!(page.contains("The org accepts the change set") || page.contains("does not accept"), "{page}");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_field_is_used_is_told_with_the_components_that_say_it() {
    let (rig, sim) = talking().await;
    indexed(&rig.ada).await;
    let path = ask(&rig.ada, "Where is Renewal_Stage__c used?").await;
    let page = ended(&rig.ada, &path).await.body;
    assert!(page.contains("is used by"), "{page}");
    assert!(page.contains("/metadata/ApexClass/OpportunityTriggerHandler"), "{page}");
    sim.stop().await;
}

/// Waits until the catalogue is found by what it says.
async fn indexed(client: &Client) {
    for _ in 0..600 {
        let page = client.get("/w/halden-energy/o/production/metadata?q=renewal+stage+closed").await;
        if page.body.contains("/metadata/ApexClass/") {
            return;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("the catalogue was not indexed");
}
