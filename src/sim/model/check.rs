//! The 400s of the real service.

use serde_json::Value;

/// A refusal with the service's status, type and words.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub kind: String,
    pub message: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub fn new(status: u16, kind: &str, message: String) -> Self {
        Self { status, kind: kind.to_owned(), message, headers: Vec::new() }
    }

    pub fn invalid(message: &str) -> Self {
        Self::new(400, "invalid_request_error", message.to_owned())
    }
}

/// Checks a request for an answer (`create`) or a count.
pub fn request(body: &Value, version: &str, create: bool) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::invalid(&message));
    if create && body["max_tokens"].as_u64().is_none_or(|n| n == 0) {
        return invalid("max_tokens: a number of at least 1 is required".into());
    }
    let newest = body["model"].as_str().is_some_and(|m| m.contains("-5-5"));
    for name in ["temperature", "top_p", "top_k"] {
        if body.get(name).is_some() && (newest || version == "2026-10-21") {
            return invalid(format!("{name}: this parameter is not supported"));
        }
    }
    let choice = body.pointer("/tool_choice/type").and_then(Value::as_str).unwrap_or("auto");
    if matches!(choice, "any" | "tool") && newest {
        return invalid(format!("tool_choice: type '{choice}' is not supported on this model"));
    }
    let thinking = body.pointer("/thinking/type").and_then(Value::as_str);
    if newest && matches!(thinking, Some("enabled" | "disabled")) {
        return invalid("thinking: this type is not supported on this model".into());
    }
    tools(body)?;
    let marks = body.to_string().matches("\"cache_control\":{").count();
    if marks > 4 {
        return invalid(format!("A maximum of 4 blocks with cache_control may be provided. Found {marks}."));
    }
    let Some(messages) = body["messages"].as_array().filter(|m| !m.is_empty()) else {
        return invalid("messages: at least one message is required".into());
    };
    for (n, message) in messages.iter().enumerate() {
        self::message(n, message, version)?;
    }
    if messages[0]["role"] != "user" {
        return invalid("messages: first message must use the \"user\" role".into());
    }
    pairs(messages)?;
    if messages[messages.len() - 1]["role"] == "assistant" {
        return invalid("This model does not support assistant message prefill. The conversation must end with a user message.".into());
    }
    citable(messages)
}

fn tools(body: &Value) -> Result<(), Refusal> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let mut names: Vec<&str> = Vec::new();
    for (n, tool) in tools.iter().enumerate() {
        let name = tool["name"].as_str().unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(Refusal::invalid(&format!(
                "tools.{n}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
            )));
        }
        if tool.pointer("/input_schema/type") != Some(&Value::from("object")) {
            return Err(Refusal::invalid(&format!("tools.{n}.input_schema.type: Field required")));
        }
        let open = tool.pointer("/input_schema/additionalProperties") != Some(&Value::Bool(false));
        if tool["strict"] == true && open {
            return Err(Refusal::invalid(&format!(
                "tools.{n}.input_schema: additionalProperties must be false for strict tools"
            )));
        }
        if names.contains(&name) {
            return Err(Refusal::invalid("tools: Tool names must be unique."));
        }
        names.push(name);
    }
    Ok(())
}

fn message(n: usize, message: &Value, version: &str) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::invalid(&format!("messages.{n}{text}")));
    let role = message["role"].as_str().unwrap_or_default();
    match role {
        "user" | "assistant" => {}
        "system" => return Err(Refusal::invalid("role 'system' is not supported on this model")),
        _ => return invalid(".role: Input should be 'user' or 'assistant'".into()),
    }
    let blocks = match &message["content"] {
        Value::String(text) if !text.is_empty() => return Ok(()),
        Value::Array(blocks) if !blocks.is_empty() => blocks,
        _ => return invalid(": all messages must have non-empty content".into()),
    };
    let mut others = false;
    for (b, block) in blocks.iter().enumerate() {
        let kind = block["type"].as_str().unwrap_or_default();
        match kind {
            "" => return invalid(format!(".content.{b}.type: Field required")),
            "text" if block["text"].as_str().is_none_or(str::is_empty) => {
                return invalid(format!(".content.{b}: text content blocks must be non-empty"));
            }
            "text"
                if role == "user"
                    && version == "2026-10-21"
                    && block["citations"].as_array().is_some_and(|c| !c.is_empty()) =>
            {
                return invalid(format!(".content.{b}.citations: not allowed in user messages"));
            }
            "document" if role == "assistant" && version == "2026-10-21" => {
                return invalid(format!(
                    ".content.{b}: document blocks are not allowed in assistant messages"
                ));
            }
            "tool_result" if others => {
                return invalid(format!(".content.{b}: tool_result blocks must come before other content"));
            }
            "tool_use" if block["input"].as_object().is_none() => {
                return invalid(format!(".content.{b}.input: Input should be a valid dictionary"));
            }
            _ => {}
        }
        others |= kind != "tool_result";
    }
    Ok(())
}

/// Each tool_use has its tool_result in the next message, and no tool_result comes from nowhere. Neighbours of
/// one role count as one message.
fn pairs(messages: &[Value]) -> Result<(), Refusal> {
    let mut sides: Vec<(&Value, Vec<&Value>)> = Vec::new();
    for message in messages {
        let blocks = message["content"].as_array().into_iter().flatten();
        match sides.last_mut() {
            Some((role, all)) if *role == &message["role"] => all.extend(blocks),
            _ => sides.push((&message["role"], blocks.collect())),
        }
    }
    let ids = |blocks: &[&Value], kind: &str, id: &str| -> Vec<String> {
        blocks
            .iter()
            .filter(|b| b["type"] == kind)
            .filter_map(|b| b[id].as_str().map(str::to_owned))
            .collect()
    };
    for (n, (_, blocks)) in sides.iter().enumerate() {
        let asked = ids(blocks, "tool_use", "id");
        let given =
            sides.get(n + 1).map_or_else(Vec::new, |(_, next)| ids(next, "tool_result", "tool_use_id"));
        let missing: Vec<String> = asked.iter().filter(|id| !given.contains(id)).cloned().collect();
        if !missing.is_empty() {
            return Err(Refusal::invalid(&format!(
                "messages.{n}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
                missing.join(", ")
            )));
        }
        let mut unique = given.clone();
        unique.sort_unstable();
        unique.dedup();
        if unique.len() != given.len() {
            return Err(Refusal::invalid("each tool_use must have a single result"));
        }
        let stray = |next: &[&Value], asked: &[String]| {
            ids(next, "tool_result", "tool_use_id").into_iter().find(|id| !asked.contains(id))
        };
        let before = if n == 0 { Vec::new() } else { ids(&sides[n - 1].1, "tool_use", "id") };
        if let Some(id) = stray(blocks, &before) {
            return Err(Refusal::invalid(&format!(
                "messages.{n}: unexpected `tool_use_id` found in `tool_result` blocks: {id}"
            )));
        }
    }
    Ok(())
}

/// Citations are on for all documents and search results of a request, or for none.
fn citable(messages: &[Value]) -> Result<(), Refusal> {
    fn collect(value: &Value, found: &mut Vec<bool>) {
        for block in value.as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("document" | "search_result") => {
                    found.push(block.pointer("/citations/enabled") == Some(&Value::Bool(true)));
                }
                Some("tool_result") => collect(&block["content"], found),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    for message in messages {
        collect(&message["content"], &mut found);
    }
    if found.contains(&true) && found.contains(&false) {
        return Err(Refusal::invalid(
            "citations must be enabled on all documents and search results or on none",
        ));
    }
    Ok(())
}
