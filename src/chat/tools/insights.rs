//! What the last analysis found.

use serde_json::{Map, Value, json};

use super::{Brought, Failed, Scope, clip, many};
use crate::chat::citations::Source;
use crate::insights::records::FINDINGS;
use crate::store::Read as _;

/// Findings in one result.
const MOST: usize = 40;
/// Findings looked at.
const LOOKED_AT: usize = 20_000;

pub fn run(scope: &Scope, _: Map<String, Value>) -> Result<Brought, Failed> {
    let (id, org) = scope.org()?;
    let mut open = Vec::new();
    scope.ws.read()?.scan(&FINDINGS).under(&id).limit(LOOKED_AT).each(|(_, print), kept| {
        if kept.closed.is_none() {
            open.push((print, kept));
        }
        true
    })?;
    open.sort_by_key(|(_, kept)| std::cmp::Reverse(kept.rank));
    let total = open.len();
    let mut brought = Brought { found: many(total, "finding"), ..Brought::default() };
    let mut rows = Vec::new();
    for (print, kept) in open.into_iter().take(MOST) {
        let reference = format!("{}/{}", kept.kind, kept.name);
        rows.push(json!({
            "ref": reference, "rule": kept.rule, "severity": kept.severity, "line": kept.line,
            "end_line": kept.end_line, "message": clip(&kept.message, 200), "why": clip(&kept.why, 200),
            "fix": clip(&kept.fix, 200),
        }));
        let evidence: Vec<&str> = kept.evidence.iter().map(|(_, line)| line.as_str()).collect();
        let source = Source {
            kind: kept.kind,
            title: kept.name,
            href: format!("o/{}/findings/{print}", org.slug),
            quote: if evidence.is_empty() { kept.message } else { evidence.join("\n") },
            ..Source::default()
        };
        brought.sources.push((reference, source));
    }
    brought.json = json!({ "total": total, "truncated": total > MOST, "findings": rows });
    Ok(brought)
}
