//! What the request tells: the question, the calls of this turn with their results, the tools on offer.

use serde_json::{Map, Value};

/// A tool call of the conversation and what it brought.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub name: String,
    pub input: Value,
    pub failed: bool,
    pub text: String,
    /// `Null` when the result was no JSON.
    pub json: Value,
    pub passages: Vec<Passage>,
}

/// A search result block, and its number among all of the request.
#[derive(Clone, Debug)]
pub struct Passage {
    pub index: Option<usize>,
    pub source: String,
    pub title: String,
    pub text: String,
}

/// A row of a result that can be cited.
#[derive(Clone, Debug)]
pub struct Row {
    pub reference: String,
    pub raw: Map<String, Value>,
}

impl Row {
    pub fn field(&self, names: &[&str]) -> String {
        names.iter().find_map(|n| self.raw.get(*n)?.as_str()).unwrap_or_default().trim().to_owned()
    }

    /// The last part of the reference: `AccountService` of `ApexClass/AccountService`.
    pub fn name(&self) -> &str {
        self.reference.rsplit('/').next().unwrap_or_default()
    }

    pub fn kind(&self) -> &str {
        self.reference.split('/').next().unwrap_or_default()
    }

    /// The marker that the chat turns into a numbered citation.
    pub fn cite(&self) -> String {
        let number = |name: &str| self.raw.get(name).and_then(Value::as_u64);
        let lines = match self.raw.get("lines") {
            Some(Value::String(lines)) => Some(lines.trim_start_matches('L').replace("-L", "-")),
            Some(Value::Array(pair)) if pair.len() == 2 => Some(format!("{}-{}", pair[0], pair[1])),
            Some(Value::Number(line)) => Some(line.to_string()),
            _ => number("line").map(|line| format!("{line}-{}", number("end_line").unwrap_or(line))),
        };
        match lines {
            Some(lines) => cite_lines(&self.reference, &lines),
            None => format!("[[cite:{}]]", self.reference),
        }
    }
}

/// `[[cite:REF#L3-L9]]`.
pub fn cite_lines(reference: &str, lines: &str) -> String {
    let (from, to) = lines.split_once('-').unwrap_or((lines, lines));
    format!("[[cite:{reference}#L{from}-L{to}]]")
}

impl Call {
    /// Every object of the result that carries a `ref`.
    pub fn rows(&self) -> Vec<Row> {
        fn walk(value: &Value, rows: &mut Vec<Row>) {
            match value {
                Value::Array(list) => list.iter().for_each(|v| walk(v, rows)),
                Value::Object(raw) => {
                    if let Some(reference) = raw.get("ref").and_then(Value::as_str) {
                        rows.push(Row { reference: reference.to_owned(), raw: raw.clone() });
                    }
                    raw.values().for_each(|v| walk(v, rows));
                }
                _ => {}
            }
        }
        let mut rows = Vec::new();
        walk(&self.json, &mut rows);
        rows
    }

    pub fn string(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|n| self.json.get(*n)?.as_str().map(str::to_owned))
    }
}

#[derive(Debug, Default)]
pub struct Talk {
    pub question: String,
    /// Calls of this turn.
    pub calls: Vec<Call>,
    /// Calls of earlier turns.
    pub earlier: Vec<Call>,
    tools: Vec<Value>,
}

impl Talk {
    pub fn read(body: &Value) -> Self {
        let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let asked = messages.iter().rposition(|m| m["role"] == "user" && !spoken(m).is_empty()).unwrap_or(0);
        let mut talk =
            Self { question: messages.get(asked).map_or_else(String::new, spoken), ..Self::default() };
        if body.pointer("/tool_choice/type") != Some(&Value::from("none")) {
            talk.tools = body["tools"].as_array().cloned().unwrap_or_default();
        }
        let mut searched = 0;
        let mut open: Vec<(String, Call, bool)> = Vec::new();
        for (n, message) in messages.iter().enumerate() {
            for block in message["content"].as_array().into_iter().flatten() {
                match block["type"].as_str() {
                    Some("tool_use") => {
                        let name = block["name"].as_str().unwrap_or_default().to_owned();
                        let call = Call { name, input: block["input"].clone(), ..Call::default() };
                        open.push((block["id"].as_str().unwrap_or_default().to_owned(), call, n > asked));
                    }
                    Some("tool_result") => {
                        let id = block["tool_use_id"].as_str().unwrap_or_default();
                        if let Some(at) = open.iter().position(|(known, ..)| known == id) {
                            let (_, mut call, now) = open.remove(at);
                            call.failed = block["is_error"] == true;
                            fill(&mut call, &block["content"], &mut searched);
                            if now { &mut talk.calls } else { &mut talk.earlier }.push(call);
                        }
                    }
                    Some("search_result") => searched += 1,
                    _ => {}
                }
            }
        }
        talk
    }

    /// The last call of this turn with this name.
    pub fn last(&self, name: &str) -> Option<&Call> {
        self.calls.iter().rfind(|c| c.name == name)
    }

    /// The rows of all results of this turn of tool `name`.
    pub fn rows(&self, name: &str) -> Vec<Row> {
        self.calls.iter().filter(|c| c.name == name && !c.failed).flat_map(Call::rows).collect()
    }

    pub fn tool(&self, name: &str) -> Option<&Value> {
        self.tools.iter().find(|t| t["name"] == name)
    }
}

/// The words of a person, without the facts that a product wraps in tags.
fn spoken(message: &Value) -> String {
    let texts: Vec<&str> = match &message["content"] {
        Value::String(text) => vec![text],
        Value::Array(blocks) => {
            blocks.iter().filter(|b| b["type"] == "text").filter_map(|b| b["text"].as_str()).collect()
        }
        _ => Vec::new(),
    };
    let last = texts.iter().map(|t| untagged(t)).rfind(|t| !t.is_empty());
    last.unwrap_or_default()
}

fn untagged(text: &str) -> String {
    let text = text.trim();
    let Some(rest) = text.strip_prefix('<') else { return text.to_owned() };
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect();
    match text.split_once(&format!("</{name}>")) {
        Some((_, after)) if !name.is_empty() => untagged(after),
        _ => text.to_owned(),
    }
}

fn fill(call: &mut Call, content: &Value, searched: &mut usize) {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    match content {
        Value::String(words) => call.text.clone_from(words),
        Value::Array(blocks) => {
            for block in blocks {
                if block["type"] == "search_result" {
                    let parts = block["content"].as_array().into_iter().flatten();
                    let words: Vec<&str> = parts.filter_map(|p| p["text"].as_str()).collect();
                    call.passages.push(Passage {
                        index: Some(*searched),
                        source: text(&block["source"]),
                        title: text(&block["title"]),
                        text: words.join("\n"),
                    });
                    *searched += 1;
                } else if let Some((head, words)) =
                    block["text"].as_str().and_then(|t| t.strip_prefix("[[source: ")?.split_once("]]"))
                {
                    let (source, title) = head.split_once(" | ").unwrap_or((head, head));
                    call.passages.push(Passage {
                        index: None,
                        source: source.to_owned(),
                        title: title.to_owned(),
                        text: words.trim().to_owned(),
                    });
                } else {
                    call.text.push_str(block["text"].as_str().unwrap_or_default());
                }
            }
        }
        _ => {}
    }
    call.json = serde_json::from_str(&call.text).unwrap_or_default();
}
