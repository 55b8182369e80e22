//! A small SOQL: SELECT fields FROM one object, WHERE with AND, OR, NOT and parentheses, ORDER BY, LIMIT,
//! OFFSET, COUNT(). What it does not know it refuses, in Salesforce's words.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::state::Row;

/// Conditions of a filter, however they are nested: each may cost a level of the stack.
const MOST_CONDITIONS: usize = 100;

#[derive(Debug)]
pub struct Query {
    pub fields: Vec<String>,
    pub from: String,
    pub count: bool,
    condition: Option<Condition>,
    order: Vec<(String, bool)>,
    limit: Option<usize>,
    offset: usize,
}

#[derive(Debug)]
enum Condition {
    And(Box<Condition>, Box<Condition>),
    Compare(String, String, Value),
    In(String, Vec<Value>, bool),
    Not(Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

/// Words, strings, numbers and signs of a query.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut token = c.to_string();
        if c == '\'' {
            loop {
                match chars.next() {
                    Some('\\') => token.extend(chars.next()),
                    Some('\'') => break,
                    Some(other) => token.push(other),
                    None => return Err("unterminated string".into()),
                }
            }
        } else if c.is_alphanumeric() || "_.-+:".contains(c) {
            while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || "_.-+:".contains(*c)) {
                token.push(next);
            }
        } else if "<>!".contains(c) {
            token.extend(chars.next_if_eq(&'='));
        }
        found.push(token);
    }
    Ok(found)
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
    conditions: usize,
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn take(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().unwrap_or_default()
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.peek().eq_ignore_ascii_case(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.word(word) { Ok(()) } else { Err(format!("unexpected token: '{}'", self.peek())) }
    }

    fn name(&mut self) -> Result<String, String> {
        let token = self.take();
        let plain = token.starts_with(|c: char| c.is_alphabetic());
        if plain { Ok(token) } else { Err(format!("unexpected token: '{token}'")) }
    }

    fn number(&mut self) -> Result<usize, String> {
        let token = self.take();
        token.parse().map_err(|_| format!("unexpected token: '{token}'"))
    }

    fn or(&mut self) -> Result<Condition, String> {
        let mut left = self.and()?;
        while self.word("OR") {
            left = Condition::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Condition, String> {
        let mut left = self.primary()?;
        while self.word("AND") {
            left = Condition::And(Box::new(left), Box::new(self.primary()?));
        }
        Ok(left)
    }

    fn primary(&mut self) -> Result<Condition, String> {
        self.conditions += 1;
        if self.conditions > MOST_CONDITIONS {
            return Err("the filter has too many conditions".into());
        }
        if self.word("NOT") {
            return Ok(Condition::Not(Box::new(self.primary()?)));
        }
        if self.word("(") {
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let field = self.name()?;
        let negated = self.word("NOT");
        if self.word("IN") {
            self.expect("(")?;
            let mut values = vec![self.value()?];
            while self.word(",") {
                values.push(self.value()?);
            }
            self.expect(")")?;
            return Ok(Condition::In(field, values, negated));
        }
        let operator = self.take().to_uppercase();
        if negated || !["=", "!=", "<", "<=", ">", ">=", "LIKE"].contains(&operator.as_str()) {
            return Err(format!("unexpected token: '{operator}'"));
        }
        Ok(Condition::Compare(field, operator, self.value()?))
    }

    fn value(&mut self) -> Result<Value, String> {
        let token = self.take();
        if let Some(text) = token.strip_prefix('\'') {
            return Ok(json!(text));
        }
        Ok(match token.to_lowercase().as_str() {
            "true" => json!(true),
            "false" => json!(false),
            "null" => Value::Null,
            "" => return Err("unexpected end of the query".into()),
            _ => token.parse::<f64>().map_or_else(|_| json!(token), |n| json!(n)),
        })
    }
}

pub fn parse(text: &str) -> Result<Query, String> {
    let mut p = Parser { tokens: tokens(text)?, at: 0, conditions: 0 };
    p.expect("SELECT")?;
    let mut fields = Vec::new();
    let mut count = false;
    loop {
        let name = p.name()?;
        if p.word("(") {
            p.expect(")")?;
            if !name.eq_ignore_ascii_case("COUNT") {
                return Err(format!("Invalid aggregate function: {name}"));
            }
            count = true;
        } else {
            fields.push(name);
        }
        if !p.word(",") {
            break;
        }
    }
    p.expect("FROM")?;
    let from = p.name()?;
    let condition = if p.word("WHERE") { Some(p.or()?) } else { None };
    let mut order = Vec::new();
    if p.word("ORDER") {
        p.expect("BY")?;
        loop {
            let field = p.name()?;
            let down = p.word("DESC");
            let _ = p.word("ASC");
            order.push((field, down));
            if !p.word(",") {
                break;
            }
        }
    }
    let limit = if p.word("LIMIT") { Some(p.number()?) } else { None };
    let offset = if p.word("OFFSET") { p.number()? } else { 0 };
    if !p.peek().is_empty() {
        return Err(format!("unexpected token: '{}'", p.peek()));
    }
    Ok(Query { fields, from, count, condition, order, limit, offset })
}

/// A field of a row by name, without regard to case, through one relationship.
fn field<'r>(row: &'r Row, name: &str) -> Option<&'r Value> {
    let (head, rest) = name.split_once('.').map_or((name, None), |(h, r)| (h, Some(r)));
    let value = row.iter().find(|(key, _)| key.eq_ignore_ascii_case(head)).map(|(_, v)| v)?;
    match rest {
        None => Some(value),
        Some(rest) => {
            value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(rest)).map(|(_, v)| v)
        }
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    if let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) {
        a.partial_cmp(&b).unwrap_or(Ordering::Equal)
    } else {
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_lowercase);
        // Times are written two ways; the first nineteen characters say the same.
        let time = |t: String| match t.get(..19) {
            Some(start) if t.as_bytes()[4] == b'-' => start.to_owned(),
            _ => t,
        };
        time(text(a)).cmp(&time(text(b)))
    }
}

fn holds(condition: &Condition, row: &Row) -> bool {
    let value = |name: &str| field(row, name).cloned().unwrap_or(Value::Null);
    match condition {
        Condition::And(a, b) => holds(a, row) && holds(b, row),
        Condition::Or(a, b) => holds(a, row) || holds(b, row),
        Condition::Not(a) => !holds(a, row),
        Condition::In(name, values, negated) => {
            values.iter().any(|v| compare(&value(name), v) == Ordering::Equal) != *negated
        }
        Condition::Compare(name, operator, right) => {
            let left = value(name);
            let order = compare(&left, right);
            match operator.as_str() {
                "=" => order == Ordering::Equal,
                "!=" => order != Ordering::Equal,
                "<" => order == Ordering::Less,
                "<=" => order != Ordering::Greater,
                ">" => order == Ordering::Greater,
                ">=" => order != Ordering::Less,
                _ => like(left.as_str().unwrap_or_default(), right.as_str().unwrap_or_default()),
            }
        }
    }
}

/// `%` is any text; case does not matter.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_lowercase(), pattern.to_lowercase());
    let parts: Vec<&str> = pattern.split('%').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The rows a query finds, with only the fields it asked for.
pub fn run(query: &Query, name: &str, mut rows: Vec<Row>) -> Result<Vec<Row>, String> {
    if let Some(first) = rows.first() {
        for wanted in &query.fields {
            if field(first, wanted).is_none() {
                return Err(format!(
                    "No such column '{wanted}' on entity '{name}'. If you are attempting to use a custom field, be sure to \
                     append the '__c' after the custom field name. Please reference your WSDL or the describe call for the \
                     appropriate names."
                ));
            }
        }
    }
    if let Some(condition) = &query.condition {
        rows.retain(|row| holds(condition, row));
    }
    for (by, down) in query.order.iter().rev() {
        rows.sort_by(|a, b| {
            let order = compare(field(a, by).unwrap_or(&Value::Null), field(b, by).unwrap_or(&Value::Null));
            if *down { order.reverse() } else { order }
        });
    }
    let rows = rows.into_iter().skip(query.offset).take(query.limit.unwrap_or(usize::MAX));
    Ok(rows.map(|row| project(&row, query, name)).collect())
}

fn project(row: &Row, query: &Query, name: &str) -> Row {
    let mut out = Map::new();
    out.insert("attributes".into(), json!({ "type": name }));
    for wanted in &query.fields {
        let value = field(row, wanted).cloned().unwrap_or(Value::Null);
        match wanted.split_once('.') {
            None => {
                out.insert(wanted.clone(), value);
            }
            Some((parent, child)) => {
                let entry = out.entry(parent.to_owned()).or_insert_with(|| json!({}));
                entry[child] = value;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |v: Value| v.as_object().unwrap().clone();
        vec![
            row(json!({ "Id": "1", "Name": "Beta", "Size": 10, "By": { "Name": "Mira" } })),
            row(json!({ "Id": "2", "Name": "alpha", "Size": 30, "By": { "Name": "Jonas" } })),
            row(json!({ "Id": "3", "Name": "Gamma's", "Size": 20, "By": { "Name": "Mira" } })),
        ]
    }

    fn ids(text: &str) -> Vec<String> {
        let query = parse(text).unwrap();
        let found = run(&query, "T", rows()).unwrap();
        found.iter().map(|r| r["Id"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn conditions_order_and_limits_hold() {
        assert_eq!(ids("SELECT Id FROM T WHERE size > 10 ORDER BY Name"), ["2", "3"]);
        assert_eq!(ids("SELECT Id FROM T WHERE Name = 'Gamma\\'s'"), ["3"]);
        assert_eq!(
            ids("SELECT Id FROM T WHERE (Size = 10 OR Size = 20) AND By.Name = 'Mira' ORDER BY Size DESC"),
            ["3", "1"]
        );
        assert_eq!(ids("SELECT Id FROM T WHERE Name LIKE '%a%' AND NOT Id IN ('1','3')"), ["2"]);
        assert_eq!(ids("SELECT Id FROM T WHERE Id NOT IN ('2') LIMIT 1 OFFSET 1"), ["3"]);
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for text in [
            "SELECT FROM T",
            "SELECT Id FROM",
            "DELETE FROM T",
            "SELECT Id FROM T WHERE",
            "SELECT Id FROM T GROUP BY Id",
            "SELECT MAX() FROM T",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(
            run(&parse("SELECT Nope FROM T").unwrap(), "T", rows())
                .unwrap_err()
                .contains("No such column 'Nope'")
        );
    }
}
