//! Good, broken and hostile streams.

use proptest::prelude::*;

use super::*;
use crate::wire::model::sse::Decoder;

fn play(events: &[Value]) -> (Vec<Event>, Result<(), StreamError>, Accumulator) {
    let (mut acc, mut out) = (Accumulator::default(), Vec::new());
    let result = events.iter().try_for_each(|e| acc.feed(&e.to_string(), &mut out));
    (out, result, acc)
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "model": "m", "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}})
}

fn open(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn close(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn stop(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 12}})
}

fn text(index: u64, text: &str) -> Vec<Value> {
    vec![
        open(index, json!({"type": "text", "text": ""})),
        delta(index, json!({"type": "text_delta", "text": text})),
        close(index),
    ]
}

fn whole() -> Vec<Value> {
    let mut events = vec![start()];
    events.push(open(0, json!({"type": "thinking", "thinking": "", "signature": ""})));
    events.push(delta(0, json!({"type": "thinking_delta", "thinking": "hm"})));
    events.push(delta(0, json!({"type": "signature_delta", "signature": "sig"})));
    events.push(close(0));
    events.push(json!({"type": "ping"}));
    events.extend(text(1, "Grüße 🙂"));
    events.push(open(7, json!({"type": "tool_use", "id": "t", "name": "metadata_get", "input": {}})));
    for part in ["", "{\"ref\": \"Apex", "Class/A\"}"] {
        events.push(delta(7, json!({"type": "input_json_delta", "partial_json": part})));
    }
    events.push(close(7));
    events.push(json!({"type": "from_the_future"}));
    events.push(stop("tool_use"));
    events.push(json!({"type": "message_stop"}));
    events
}

#[test]
fn a_whole_answer_is_kept_block_by_block() {
    let (out, result, acc) = play(&whole());
    result.unwrap();
    assert!(out.contains(&Event::Text("Grüße 🙂".into())));
    assert!(out.contains(&Event::Stop(Stop::ToolUse)));
    let Outcome::Complete(message) = acc.finish(Some("req_1".into())) else { panic!() };
    assert_eq!(message.content[0], json!({"type": "thinking", "thinking": "hm", "signature": "sig"}));
    assert_eq!(message.content[2]["input"], json!({"ref": "ApexClass/A"}));
    assert_eq!(message.tool_calls().len(), 1);
    assert_eq!((message.usage.input, message.usage.output, message.usage.estimated), (9, 12, false));
}

#[test]
fn a_truncated_stream_is_never_complete_and_runs_no_tool() {
    let events = whole();
    for cut in 0..events.len() - 2 {
        let (_, result, acc) = play(&events[..cut]);
        result.unwrap();
        let Outcome::Partial(message) = acc.finish(None) else { panic!("complete after {cut} events") };
        assert!(message.tool_calls().is_empty());
        assert!(message.content.iter().all(|b| b["type"] != "tool_use"));
    }
}

#[test]
fn a_half_tool_call_is_dropped_when_the_answer_ran_out_of_tokens() {
    let mut events = vec![start()];
    events.extend(text(0, "I look."));
    events.push(open(1, json!({"type": "tool_use", "id": "t", "name": "x", "input": {}})));
    events.push(delta(1, json!({"type": "input_json_delta", "partial_json": "{\"a\": "})));
    events.push(stop("max_tokens"));
    let (_, _, acc) = play(&events);
    let Outcome::Complete(message) = acc.finish(None) else { panic!() };
    assert_eq!(message.content.len(), 1);
    assert_eq!(message.stop, Stop::MaxTokens);
}

#[test]
fn a_closed_call_with_broken_json_is_told_apart_from_an_empty_one() {
    for (json, broken) in [("{\"a\": ", true), ("[1]", true), ("", false), ("{}", false)] {
        let mut events =
            vec![start(), open(0, json!({"type": "tool_use", "id": "t", "name": "x", "input": {}}))];
        events.push(delta(0, json!({"type": "input_json_delta", "partial_json": json})));
        events.extend([close(0), stop("tool_use")]);
        let (_, _, acc) = play(&events);
        let Outcome::Complete(message) = acc.finish(None) else { panic!() };
        assert_eq!(message.tool_calls()[0].input.is_err(), broken, "{json}");
    }
}

#[test]
fn sparse_indices_cost_nothing_and_strange_order_is_refused() {
    let mut events = vec![start()];
    events.extend(text(u64::MAX, "a"));
    events.extend(text(3, "b"));
    events.push(delta(99, json!({"type": "text_delta", "text": "nowhere"})));
    events.push(delta(3, json!({"type": "text_delta", "text": "too late"})));
    events.push(stop("end_turn"));
    let (_, result, acc) = play(&events);
    result.unwrap();
    let Outcome::Complete(message) = acc.finish(None) else { panic!() };
    assert_eq!(message.text(), "ab");
    for bad in [vec![start(), start()], [vec![start()], text(0, "a"), text(0, "b")].concat(), text(0, "a")] {
        assert_eq!(play(&bad).1, Err(StreamError::NotAnEvent));
    }
}

#[test]
fn floods_end_at_their_limits() {
    let mut acc = Accumulator::default();
    let mut out = Vec::new();
    for _ in 0..200_000 {
        acc.feed("{\"type\": \"ping\"}", &mut out).unwrap();
    }
    assert_eq!(acc.events, 0);
    let many: Vec<Value> = std::iter::once(start()).chain((0..600).flat_map(|i| text(i, "x"))).collect();
    assert_eq!(play(&many).1, Err(StreamError::TooMuch("blocks")));
    let mut long = vec![start(), open(0, json!({"type": "text", "text": ""}))];
    long.extend((0..3).map(|_| delta(0, json!({"type": "text_delta", "text": "x".repeat(1 << 20)}))));
    assert_eq!(play(&long).1, Err(StreamError::TooMuch("bytes of text")));
    let mut tool = vec![start(), open(0, json!({"type": "tool_use", "id": "t", "name": "x"}))];
    tool.extend(
        (0..3).map(|_| delta(0, json!({"type": "input_json_delta", "partial_json": "x".repeat(1 << 19)}))),
    );
    assert_eq!(play(&tool).1, Err(StreamError::TooMuch("bytes in a tool call")));
}

#[test]
fn an_error_in_the_middle_carries_its_words_bounded() {
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "x".repeat(9_999)}, "request_id": "req_9"});
    let (_, result, acc) = play(&[start(), error]);
    let Err(StreamError::Upstream { kind, message, request_id }) = result else { panic!() };
    assert_eq!(
        (kind.as_str(), message.len(), request_id.as_deref()),
        ("overloaded_error", 300, Some("req_9"))
    );
    assert!(!acc.is_complete());
}

#[test]
fn servers_that_count_nothing_get_an_estimate() {
    let mut events = vec![json!({"type": "message_start", "message": {}})];
    events.extend(text(0, "seven bytes"));
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}));
    let (_, _, acc) = play(&events);
    let Outcome::Complete(message) = acc.finish(None) else { panic!() };
    assert_eq!((message.usage.output, message.usage.estimated), (4, true));
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let bytes: Vec<u8> = whole().iter().flat_map(|e| format!("event: x\r\ndata: {e}\r\n\r\n").into_bytes()).collect();
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len())).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let (mut decoder, mut acc, mut lines, mut out) = (Decoder::default(), Accumulator::default(), Vec::new(), Vec::new());
        for window in at.windows(2) {
            decoder.feed(&bytes[window[0]..window[1]], &mut lines).unwrap();
            for line in lines.drain(..) {
                acc.feed(&line, &mut out).unwrap();
            }
        }
        prop_assert_eq!(out, play(&whole()).0);
        prop_assert!(acc.is_complete());
    }

    #[test]
    fn shuffled_and_repeated_events_never_panic(picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        let events = whole();
        let chosen: Vec<Value> = picks.iter().map(|p| p.get(&events).clone()).collect();
        let (_, _, acc) = play(&chosen);
        let _ = acc.finish(None);
    }
}
