//! The org as a whole.

use serde_json::{Map, Value, json};

use super::{Brought, Failed, Scope, many};
use crate::chat::citations::Source;
use crate::orgs;

pub fn overview(scope: &Scope, _: Map<String, Value>) -> Result<Brought, Failed> {
    let (id, org) = scope.org()?;
    let counts = orgs::counts(&scope.ws.read()?, id)?;
    let reference = format!("Org/{}", org.slug);
    let synced = org.last_sync.as_ref().map(|run| orgs::shown(run.at));
    let words: Vec<String> = counts.iter().map(|(label, n)| format!("{label}: {n}")).collect();
    let source = Source {
        kind: "Org".into(),
        title: org.name.clone(),
        href: format!("o/{}", org.slug),
        quote: words.join("\n"),
        ..Source::default()
    };
    let counts: Map<String, Value> =
        counts.iter().map(|(label, n)| ((*label).to_owned(), json!(n))).collect();
    Ok(Brought {
        json: json!({ "ref": reference, "name": org.name, "type": org.kind.label(), "synced": synced, "counts": counts }),
        found: synced.map(|at| format!("synced {at}")).unwrap_or_default(),
        sources: vec![(reference, source)],
        ..Brought::default()
    })
}

pub fn limits(scope: &Scope, _: Map<String, Value>) -> Result<Brought, Failed> {
    let (_, org) = scope.org()?;
    let mut limits: Vec<_> = org.limits.iter().filter(|(_, limit)| limit.max > 0).collect();
    limits.sort_by_key(|(_, limit)| std::cmp::Reverse(limit.used_percent()));
    let mut brought = Brought { found: many(limits.len(), "limit"), ..Brought::default() };
    let mut rows = Vec::new();
    for (name, limit) in limits.into_iter().take(40) {
        let reference = format!("Limit/{name}");
        let used = limit.max.saturating_sub(limit.remaining);
        rows.push(json!({ "ref": reference, "name": name, "used": used, "max": limit.max }));
        let source = Source {
            kind: "Limit".into(),
            title: name.clone(),
            href: format!("o/{}/limits", org.slug),
            quote: format!("{used} of {} used ({} %)", limit.max, limit.used_percent()),
            ..Source::default()
        };
        brought.sources.push((reference, source));
    }
    brought.json = json!({ "limits": rows });
    Ok(brought)
}
