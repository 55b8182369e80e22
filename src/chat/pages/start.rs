//! What a new conversation begins with: facts of the org, and questions made from them.

use std::collections::BTreeMap;

use url::form_urlencoded::byte_serialize;

use crate::ids::OrgId;
use crate::insights::records::FINDINGS;
use crate::orgs::records::{COMPONENTS, Org};
use crate::store::{Read, StoreError};

/// Findings looked at for the questions.
const FINDINGS_READ: usize = 5_000;
/// Objects looked at.
const OBJECTS_READ: usize = 2_000;
/// The rule about queries and writes in loops.
const LOOPS: &str = "APX-001";
/// A limit is worth a question from this many percent on.
const WORTH_ASKING: u64 = 50;

/// A question to begin with.
#[derive(Debug, PartialEq, Eq)]
pub struct Starter {
    pub href: String,
    pub icon: &'static str,
    pub title: String,
    pub detail: String,
}

/// Questions that this org suggests, at most four.
pub fn starters(read: &impl Read, slug: &str, id: OrgId, org: &Org) -> Result<Vec<Starter>, StoreError> {
    let make = |icon, title: String, detail: String| {
        let ask: String = byte_serialize(title.as_bytes()).collect();
        Starter { href: format!("/w/{slug}/chat?ask={ask}&org={}", org.slug), icon, title, detail }
    };
    let mut starters = Vec::new();
    let worst = worst(read, id)?;
    if let Some((severity, count, first)) = &worst.open {
        let title = match count {
            1 => format!("Explain the {severity} finding of {}", org.name),
            _ => format!("Explain the {count} {severity} findings of {}", org.name),
        };
        starters.push(make("shield-alert", title, first.clone()));
    }
    if let Some((class, message)) = worst.class {
        starters.push(make("code", format!("Can you fix {class}?"), message));
    }
    if let Some(limit) = crate::orgs::limits(org).first().filter(|limit| limit.percent >= WORTH_ASKING) {
        let detail = format!("{}: {} % used at the last sync", limit.name, limit.percent);
        starters.push(make("gauge", "Which limit do we reach first?".into(), detail));
    }
    if let Some((object, fields)) = widest(read, id)? {
        let detail = format!("{fields} fields, more than any other custom object");
        starters.push(make("table-2", format!("Which fields does {object} have?"), detail));
    }
    if org.last_sync.is_some() && starters.len() < 4 {
        let detail = format!("What was read at the last sync of {}", org.name);
        starters.push(make("boxes", "What is in this org?".into(), detail));
    }
    Ok(starters)
}

struct Worst {
    /// Severity, how many are open, and what one of them says.
    open: Option<(String, usize, String)>,
    /// The class to begin with, and what its finding says: work in loops first, which a model mends well.
    class: Option<(String, String)>,
}

fn worst(read: &impl Read, id: OrgId) -> Result<Worst, StoreError> {
    let mut by_rank: BTreeMap<u8, (String, usize, String)> = BTreeMap::new();
    let mut class: Option<((bool, u8), String, String)> = None;
    read.scan(&FINDINGS).under(&id).limit(FINDINGS_READ).each(|_, kept| {
        if kept.closed.is_some() {
            return true;
        }
        let weight = (kept.rule == LOOPS, kept.rank);
        if kept.kind == "ApexClass" && class.as_ref().is_none_or(|(most, ..)| weight > *most) {
            class = Some((weight, kept.name.clone(), kept.message.clone()));
        }
        let (severity, message) = (kept.severity, kept.message);
        by_rank.entry(kept.rank).or_insert_with(|| (severity, 0, message)).1 += 1;
        true
    })?;
    let open = by_rank.pop_last().map(|(_, worst)| worst);
    Ok(Worst { open, class: class.map(|(_, name, message)| (name, message)) })
}

/// The custom object with the most fields.
fn widest(read: &impl Read, id: OrgId) -> Result<Option<(String, usize)>, StoreError> {
    let mut widest = None;
    read.scan(&COMPONENTS).under(&(id, "CustomObject".to_owned())).limit(OBJECTS_READ).each(
        |key, object| {
            let fields = object.fields.len();
            if key.2.ends_with("__c") && widest.as_ref().is_none_or(|(_, most)| fields > *most) {
                widest = Some((key.2, fields));
            }
            true
        },
    )?;
    Ok(widest.filter(|(_, fields)| *fields > 0))
}

/// One line about what is known of the org.
pub fn facts(read: &impl Read, id: OrgId, org: &Org) -> Result<String, StoreError> {
    let Some(run) = &org.last_sync else {
        return Ok(format!("{} was not synced yet, so nothing is known of its metadata.", org.name));
    };
    let count = |kind: &str| read.scan(&COMPONENTS).under(&(id, kind.to_owned())).count();
    let many = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let classes = count("ApexClass")?;
    Ok(format!(
        "{} was synced {}: {}, {}, {classes} Apex class{}.",
        org.name,
        crate::orgs::shown(run.at),
        many(count("CustomObject")?, "object"),
        many(count("Flow")?, "flow"),
        if classes == 1 { "" } else { "es" },
    ))
}
