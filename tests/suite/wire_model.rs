//! The model client through the gate against the simulated model, on good and bad networks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use vynos::clock::Clock;
use vynos::egress::{Cause, Gate, Line, Policy, Purpose};
use vynos::seal::Secret;
use vynos::sim::model::{Options, SimulatedModel};
use vynos::wire::model::{
    Ask, AssistantMessage, Auth, Endpoint, Event, Message, ModelClient, ModelError, Outcome, Profile, Stop,
    Tool, ToolResult, VERSION_ANTHROPIC,
};

pub struct World {
    pub sim: SimulatedModel,
    pub client: ModelClient,
    pub ledger: Arc<Mutex<Vec<Line>>>,
}

pub async fn world(options: Options, change: impl FnOnce(&mut Endpoint)) -> World {
    vynos::app::install_crypto();
    let sim = vynos::sim::model::start(options).await.unwrap();
    let ledger = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&ledger);
    let mut endpoint = Endpoint {
        name: "Demo".into(),
        base_url: sim.url().clone(),
        auth: Auth::XApiKey,
        key: Some(Secret::new(sim.key().into())),
        version: VERSION_ANTHROPIC.into(),
        profile: Profile::Anthropic,
        model: "demo-scripted".into(),
    };
    change(&mut endpoint);
    let policy = Policy { models: vec![endpoint.base_url.clone()], ..Policy::default() };
    let gate =
        Gate::new(policy, Clock::system(), Arc::new(move |line| sink.lock().unwrap().push(line))).unwrap();
    World { sim, client: ModelClient::new(gate, endpoint), ledger }
}

async fn ordered() -> World {
    world(Options { directives: true, ..Options::default() }, |_| {}).await
}

pub fn cause() -> Cause {
    Cause { purpose: Purpose::Model, workspace: None, account: None, why: "test".into() }
}

pub fn ask(text: &str) -> Ask {
    Ask::new("demo-scripted", 4_000, vec![Message::User(text.into())])
}

/// All events, the error that ended them, and what was left.
async fn play(world: &World, ask: &Ask) -> (Vec<Event>, Option<ModelError>, Outcome) {
    let mut stream = world.client.stream(&cause(), ask);
    let (mut events, mut error) = (Vec::new(), None);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(e) => error = Some(e),
        }
    }
    (events, error, stream.finish())
}

async fn complete(world: &World, ask: &Ask) -> AssistantMessage {
    let (_, error, outcome) = play(world, ask).await;
    match outcome {
        Outcome::Complete(message) if error.is_none() => message,
        other => panic!("{error:?} {other:?}"),
    }
}

async fn fault(world: &World, order: &str) -> (String, AssistantMessage) {
    let (_, error, outcome) = play(world, &ask(order)).await;
    let Outcome::Partial(message) = outcome else { panic!("complete: {order}") };
    (error.unwrap().fault.code().to_owned(), message)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_streams_and_leaves_one_ledger_line() {
    let world = ordered().await;
    let (events, error, outcome) =
        play(&world, &ask("[[fake:think Hm]][[fake:say Grüße 🙂 aus Oslo]]")).await;
    assert!(error.is_none(), "{error:?}");
    let text: String =
        events.iter().filter_map(|e| if let Event::Text(t) = e { Some(t.as_str()) } else { None }).collect();
    assert_eq!(text, "Grüße 🙂 aus Oslo");
    let Outcome::Complete(message) = outcome else { panic!() };
    assert_eq!((message.text(), message.stop.clone()), (text, Stop::EndTurn));
    assert!(
        message.request_id.unwrap().starts_with("req_")
            && message.usage.output > 0
            && !message.usage.estimated
    );
    let lines = world.ledger.lock().unwrap();
    assert_eq!((lines.len(), lines[0].status), (1, Some(200)));
    assert!(lines[0].received_bytes > 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_called_and_their_results_answered() {
    let world = ordered().await;
    let mut ask = ask("[[fake:tools org_limits {} ;; metadata_get {\"ref\": \"ApexClass/A\"}]]");
    ask.tools = Arc::new([Tool {
        name: "org_limits".into(),
        description: "d".into(),
        input_schema: json!({"type": "object", "additionalProperties": false}),
        strict: true,
    }]);
    let message = complete(&world, &ask).await;
    let calls = message.tool_calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].input.as_ref().unwrap()["ref"], "ApexClass/A");
    // One result is missing: the request is still one that the service accepts.
    ask.messages.push(Message::Assistant(message.content));
    ask.messages.push(Message::Results(vec![ToolResult::text(&calls[0].id, "{}".into())]));
    ask.messages.push(Message::User("[[fake:say Done]]".into()));
    assert_eq!(complete(&world, &ask).await.text(), "Done");
    assert!(world.client.count_tokens(&cause(), &ask).await.unwrap() > 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_keep_their_text_and_never_run_a_tool() {
    let world = ordered().await;
    for order in ["truncate", "reset", "midstream api_error"] {
        let text = format!(
            "[[fake:say The first sentence stands.]][[fake:tools org_limits {{\"a\": 1}}]][[fake:{order}]]"
        );
        let (code, message) = fault(&world, &text).await;
        assert_eq!(code, "broken", "{order}");
        assert!(message.text().starts_with("The first"), "{order}: {}", message.text());
        assert!(message.tool_calls().is_empty() && message.content.iter().all(|b| b["type"] != "tool_use"));
    }
    assert_eq!(world.sim.calls(), 3, "an answer that was shown in part is not asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_model_is_asked_again_and_a_stubborn_one_given_up() {
    let world = ordered().await;
    assert_eq!(complete(&world, &ask("[[fake:overloaded_once k]]")).await.stop, Stop::EndTurn);
    assert_eq!(world.sim.calls(), 2);
    assert_eq!(fault(&world, "[[fake:error 529 overloaded_error]]").await.0, "overloaded");
    assert_eq!(world.sim.calls(), 5);
    for (order, code) in [
        ("402 billing_error", "budget"),
        ("403 permission_error", "forbidden"),
        ("413 request_too_large", "too_large"),
    ] {
        assert_eq!(fault(&world, &format!("[[fake:error {order}]]")).await.0, code);
    }
    assert_eq!(world.sim.calls(), 8, "what can't get better is asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_a_slow_drip_and_a_refusal_are_told_apart() {
    let world = ordered().await;
    assert_eq!(fault(&world, "[[fake:html]]").await.0, "not_a_model");
    let slow = complete(&world, &ask("[[fake:slow 3]][[fake:long 60]]")).await;
    assert!(slow.text().ends_with("word59 "));
    let refused = complete(&world, &ask("[[fake:refuse cyber]]")).await;
    assert_eq!(refused.stop, Stop::Refusal(Some("cyber".into())));
    let mut short = ask("[[fake:long 500]]");
    short.max_tokens = 16;
    assert_eq!(complete(&world, &short).await.stop, Stop::MaxTokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_button_really_asks_and_names_what_is_wrong() {
    let world = world(Options::default(), |_| {}).await;
    let tested = world.client.test(&cause()).await.unwrap();
    assert_eq!(tested.models[0].display_name, "Demo model: scripted, not AI");
    assert!(!tested.said.is_empty() && tested.took < Duration::from_secs(20));
    type Change = fn(&mut Endpoint);
    let changes: [(Change, &str); 4] = [
        (|e| e.key = Some(Secret::new("sk-canary".into())), "key_rejected"),
        (|e| e.model = "gpt-5".into(), "unknown_model"),
        (|e| e.base_url = e.base_url.join("/nowhere").unwrap(), "rejected"),
        (|e| e.base_url = "http://127.0.0.1:1/".parse().unwrap(), "unreachable"),
    ];
    for (change, code) in changes {
        let other = self::world(Options::default(), change).await;
        let error = other.client.test(&cause()).await.unwrap_err();
        assert_eq!(error.fault.code(), code);
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    let bearer = self::world(Options::default(), |e| {
        (e.auth, e.profile, e.version) = (Auth::Bearer, Profile::Minimal, "2023-06-01".into());
    })
    .await;
    assert!(!bearer.client.test(&cause()).await.unwrap().said.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_prefix_is_read_from_the_cache() {
    let world = ordered().await;
    let mut ask = ask("[[fake:say One]]");
    let first = complete(&world, &ask).await;
    assert_eq!((first.usage.cache_read, first.usage.cache_write_5m > 0), (0, true));
    ask.messages.push(Message::Assistant(first.content));
    ask.messages.push(Message::User("[[fake:say Two]]".into()));
    assert!(complete(&world, &ask).await.usage.cache_read > 0);
}
