//! What a question wants, from its words.

/// What to do about a question. Names are those that the question gives, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    Change { name: Option<String>, validate: bool },
    Deploy,
    Describe(String),
    Documents,
    Find,
    Greet,
    Limits,
    Overview,
    Problems(Option<String>),
    Show(String),
    Used(String),
    Validate,
}

const STANDARD: [&str; 12] = [
    "account",
    "contact",
    "opportunity",
    "case",
    "lead",
    "campaign",
    "contract",
    "order",
    "product2",
    "quote",
    "task",
    "user",
];

pub fn goal(question: &str) -> Goal {
    let text = question.to_lowercase();
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|w| !w.is_empty()).collect();
    let word = |list: &[&str]| words.iter().any(|w| list.contains(w));
    let phrase = |list: &[&str]| list.iter().any(|p| text.contains(p));
    let name = names(question).into_iter().next();
    let validate = word(&["validate", "validated", "validation"]) && !phrase(&["validation rule"]);
    if phrase(&[
        "write it",
        "write a",
        "write the",
        "add a test",
        "add test",
        "bulkify",
        "refactor",
        "rewrite",
        "fix it",
        "can you fix",
        "fix the",
        "repair",
    ]) || word(&["fix"])
        || (word(&["write", "add", "create", "change"])
            && word(&["test", "class", "method", "trigger", "code"]))
    {
        return Goal::Change { name, validate };
    }
    if validate {
        return Goal::Validate;
    }
    if word(&["deploy"]) && !word(&["policy", "process", "rules", "who", "how"]) {
        return Goal::Deploy;
    }
    if let Some(name) = &name
        && phrase(&[
            "where is",
            "where-used",
            "who uses",
            "what uses",
            "used by",
            "depends on",
            "references",
            "impact",
            "is used",
        ])
    {
        return Goal::Used(name.clone());
    }
    // The limits of the org; a component that hits one is asked about as a problem of that component.
    let limits = word(&["limit", "limits"]);
    if (limits && name.is_none())
        || phrase(&["run out", "storage left", "api calls left", "how much storage"])
    {
        return Goal::Limits;
    }
    if limits
        || phrase(&[
            "what is wrong",
            "what's wrong",
            "worst",
            "problem",
            "finding",
            "issue",
            "risk",
            "fix these",
            "health",
        ])
    {
        return Goal::Problems(name);
    }
    if phrase(&[
        "what is in this org",
        "what's in this org",
        "overview",
        "summarise",
        "summarize",
        "tell me about this org",
        "about the org",
        "about my org",
        "in my org",
    ]) && name.is_none()
    {
        return Goal::Overview;
    }
    if phrase(&[
        "policy",
        "naming",
        "guide",
        "guideline",
        "process",
        "handbook",
        "document",
        "convention",
        "rules for",
        "how do we",
        "do we have to",
        "allowed to",
        "according to",
    ]) {
        return Goal::Documents;
    }
    if (word(&["field", "fields", "describe", "picklist"]) || phrase(&["record type"]))
        && let Some(object) = name.clone().or_else(|| standard(&words))
    {
        return Goal::Describe(object);
    }
    match name {
        Some(name) => Goal::Show(name),
        None if word(&["object"]) => standard(&words).map_or(Goal::Find, Goal::Describe),
        None if keywords(question).is_empty()
            || phrase(&["who are you", "what can you do", "thank you", "hello"]) =>
        {
            Goal::Greet
        }
        None => Goal::Find,
    }
}

/// Words that look like names of components: `Renewal_Stage__c`, `AccountService`, `` `quoted` ``.
pub fn names(question: &str) -> Vec<String> {
    let quoted = question.split('`').skip(1).step_by(2).map(str::to_owned);
    let tokens = question.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
    let looks = |w: &str| {
        let inner_capital = w.chars().skip(1).any(char::is_uppercase) && w.chars().any(char::is_lowercase);
        w.len() > 3 && w.chars().next().is_some_and(char::is_alphabetic) && (w.contains('_') || inner_capital)
    };
    let known = ["DevOps", "PDFs", "APIs", "SObject"];
    let found =
        tokens.map(|w| w.trim_matches('.')).filter(|w| looks(w) && !known.contains(w)).map(str::to_owned);
    quoted.filter(|q| !q.trim().is_empty()).chain(found).collect()
}

fn standard(words: &[&str]) -> Option<String> {
    let found = words.iter().map(|w| w.strip_suffix('s').unwrap_or(w)).find(|w| STANDARD.contains(w))?;
    let mut chars = found.chars();
    Some(chars.next()?.to_uppercase().chain(chars).collect())
}

/// The words worth searching for.
pub fn keywords(question: &str) -> Vec<String> {
    const COMMON: &str = " a about again all also an and any are as at be by can could did do does explain failed find flow for from get give \
        has have hello hey hi how i in is it its me my no not of on or our please run say see show should tell test thank thanks that the their \
        there this to use used we what when where which who why will with without would write you your class add fix code it's three words ";
    let mut found: Vec<String> = Vec::new();
    for word in question.split(|c: char| !c.is_alphanumeric() && c != '_') {
        let lower = word.to_lowercase();
        if word.chars().count() > 2 && !COMMON.contains(&format!(" {lower} ")) && !found.contains(&lower) {
            found.push(lower);
        }
    }
    found.truncate(8);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_apart() {
        let name = |n: &str| n.to_owned();
        for (question, expected) in [
            ("What is in this org?", Goal::Overview),
            ("Where is Renewal_Stage__c used?", Goal::Used(name("Renewal_Stage__c"))),
            ("What are the worst problems?", Goal::Problems(None)),
            ("Explain AccountService", Goal::Show(name("AccountService"))),
            ("Which fields does the Account object have?", Goal::Describe(name("Account"))),
            ("Will we run out of API requests?", Goal::Limits),
            ("Why does InvoiceService hit limits?", Goal::Problems(Some(name("InvoiceService")))),
            ("What does our naming guide say about stages?", Goal::Documents),
            (
                "Fix RenewalService and validate it",
                Goal::Change { name: Some(name("RenewalService")), validate: true },
            ),
            ("Which flow is it, and can you fix it?", Goal::Change { name: None, validate: false }),
            ("Validate it", Goal::Validate),
            ("Deploy it now", Goal::Deploy),
            ("Hello", Goal::Greet),
            ("How is the weather in Oslo?", Goal::Find),
        ] {
            assert_eq!(goal(question), expected, "{question}");
        }
    }
}
