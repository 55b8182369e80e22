//! The rules of the API hold for whatever conversation comes in.

use proptest::prelude::*;

use super::*;

fn answer(ids: &[&str]) -> Message {
    let mut content =
        vec![json!({"type": "thinking", "thinking": "", "signature": "s"}), text_block("I look.")];
    content.extend(
        ids.iter().map(|id| json!({"type": "tool_use", "id": id, "name": "org_limits", "input": {}})),
    );
    Message::Assistant(content)
}

fn ask(messages: Vec<Message>) -> Ask {
    let mut ask = Ask::new("m", 100, messages);
    ask.system = vec![
        SystemBlock { text: "Rules.".into(), cache: Cache::OneHour },
        SystemBlock { text: " ".into(), cache: Cache::None },
        SystemBlock { text: "Facts.".into(), cache: Cache::FiveMinutes },
    ];
    let tool = |name: &str| Tool {
        name: name.into(),
        description: "d".into(),
        input_schema: json!({"type": "object"}),
        strict: true,
    };
    ask.tools = [tool("b"), tool("a")].into();
    ask.thinking = true;
    ask
}

fn json_of(ask: &Ask, profile: Profile) -> Value {
    serde_json::from_str(&ask.body(profile).unwrap()).unwrap()
}

#[test]
fn results_come_first_and_missing_ones_are_made_up_as_errors() {
    let messages = vec![
        Message::User("q".into()),
        answer(&["t1", "t2"]),
        Message::Results(vec![
            ToolResult::text("t2", "two".into()),
            ToolResult::text("stranger", "x".into()),
        ]),
        Message::User("and?".into()),
    ];
    let body = json_of(&ask(messages), Profile::Anthropic);
    let content = body["messages"][2]["content"].as_array().unwrap();
    let ids: Vec<&str> = content.iter().filter_map(|b| b["tool_use_id"].as_str()).collect();
    assert_eq!(ids, ["t1", "t2"]);
    assert_eq!(content[0]["is_error"], true);
    assert_eq!(content[1]["content"][0]["text"], "two");
    assert_eq!(content[2]["text"], "and?");
    assert_eq!(body["messages"].as_array().unwrap().len(), 3);
}

#[test]
fn the_vendor_gets_everything_and_a_minimal_server_only_text_and_tools() {
    let found = ResultBlock::SearchResult {
        source: "doc/7#p3".into(),
        title: "Guide".into(),
        texts: vec!["One.".into(), "Two.".into()],
    };
    let result = ToolResult { call: "t1".into(), content: vec![found], is_error: false };
    let ask = ask(vec![Message::User("q".into()), answer(&["t1"]), Message::Results(vec![result])]);
    let full = json_of(&ask, Profile::Anthropic);
    assert_eq!(full["system"][0]["cache_control"]["ttl"], "1h");
    assert_eq!(full["tools"][0]["name"], "a");
    assert_eq!(full["tools"][0]["strict"], true);
    assert_eq!(full["messages"][1]["content"][0]["type"], "thinking");
    assert_eq!(full["messages"][2]["content"][0]["content"][0]["citations"]["enabled"], true);
    let minimal = json_of(&ask, Profile::Minimal);
    assert_eq!(minimal["system"], "Rules.\n\nFacts.");
    let text = minimal.to_string();
    for unknown in ["cache_control", "citations", "strict", "thinking", "metadata", "search_result"] {
        assert!(!text.contains(unknown), "{unknown}");
    }
    assert!(text.contains("[[source: doc/7#p3 | Guide]]\\nOne.\\nTwo."));
    for forbidden in ["temperature", "top_p", "top_k"] {
        assert!(!full.to_string().contains(forbidden));
    }
}

#[test]
fn a_last_answer_without_tools_keeps_their_definitions_where_history_needs_them() {
    let mut ask = ask(vec![Message::User("q".into())]);
    ask.may_use_tools = false;
    assert_eq!(json_of(&ask, Profile::Anthropic)["tool_choice"]["type"], "none");
    assert!(json_of(&ask, Profile::Minimal).get("tools").is_none());
}

#[test]
fn nothing_to_answer_is_no_request() {
    assert_eq!(ask(vec![]).body(Profile::Minimal), Err(AskError::Empty));
    assert_eq!(ask(vec![Message::User(" ".into())]).body(Profile::Minimal), Err(AskError::Empty));
    let ended = ask(vec![Message::User("q".into()), answer(&[])]).body(Profile::Anthropic);
    assert_eq!(ended, Err(AskError::EndsWithAnswer));
}

proptest! {
    #[test]
    fn any_conversation_follows_the_rules(kinds in prop::collection::vec((0u8..4, 0usize..3), 0..14)) {
        let mut messages = Vec::new();
        for (n, (kind, calls)) in kinds.into_iter().enumerate() {
            let ids: Vec<String> = (0..calls).map(|c| format!("t{n}-{c}")).collect();
            let refs: Vec<&str> = ids.iter().map(String::as_str).collect();
            messages.push(match kind {
                0 => Message::User("q".into()),
                1 => answer(&refs),
                2 => Message::Results(vec![ToolResult::text(&format!("t{}-0", n.saturating_sub(1)), "r".into())]),
                _ => Message::User(String::new()),
            });
        }
        let Ok(body) = ask(messages).body(Profile::Anthropic) else { return Ok(()) };
        let body: Value = serde_json::from_str(&body).unwrap();
        let list = body["messages"].as_array().unwrap();
        prop_assert_eq!(&list[0]["role"], "user");
        prop_assert_eq!(&list[list.len() - 1]["role"], "user");
        for pair in list.windows(2) {
            prop_assert_ne!(&pair[0]["role"], &pair[1]["role"]);
        }
        for (n, message) in list.iter().enumerate() {
            let content = message["content"].as_array().unwrap();
            prop_assert!(!content.is_empty());
            let asked: Vec<&Value> = content.iter().filter(|b| b["type"] == "tool_use").map(|b| &b["id"]).collect();
            let next: Vec<&Value> = list.get(n + 1).and_then(|m| m["content"].as_array()).into_iter().flatten()
                .take_while(|b| b["type"] == "tool_result").map(|b| &b["tool_use_id"]).collect();
            if message["role"] == "assistant" {
                prop_assert_eq!(asked, next);
            }
            let after_text = content.iter().skip_while(|b| b["type"] == "tool_result").any(|b| b["type"] == "tool_result");
            prop_assert!(!after_text);
        }
    }
}
