//! The analysis job: every check over the catalogue of an org, after each sync.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::identity::Role;
use crate::ids::OrgId;
use crate::jobs::{JobCause, JobContext, JobError};
use crate::mail::Letter;
use crate::meter::{self, Act, Event, Feature};
use crate::notifications::{Audience, Kind, Notice, raise};
use crate::orgs::records::{COMPONENTS, ComponentKey, ORGS, SOURCES};
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::workspace::{Change, Worker};

use super::records::{ANALYSES, Analysis, Area, FINDINGS, Kept, SCORES};
use super::rules::{self, Component, Counts, Finding, Input, Limit, RuleSet, Severity, score};

/// Threads that check at the same time: answers to people keep a core.
const THREADS: usize = 1;
/// Components of one org that are checked.
const MOST: usize = 50_000;
/// Lines around a finding that are kept as evidence.
const AROUND: u32 = 2;
/// Critical findings that a notice names.
const NAMED: usize = 5;
/// Rank of the highest severity.
const CRITICAL: u8 = 4;
/// Lines kept for one finding.
const MOST_LINES: usize = 14;

pub async fn run(job: JobContext) -> Result<(), JobError> {
    let id: OrgId =
        serde_json::from_value(job.args["org"].clone()).map_err(|e| JobError::Fail(e.to_string()))?;
    let (ws, steps) = job.split();
    allowed(&ws)?;
    let ws = Arc::new(ws);
    steps.progress(&ws, &topic(id), "Checking components", 0, 0);
    let worker = Arc::clone(&ws);
    let checked = tokio::task::spawn_blocking(move || check(&worker, id)).await;
    let Some(checked) = checked.map_err(|e| JobError::Retry(e.to_string()))?? else { return Ok(()) };
    steps.check()?;
    allowed(&ws)?;
    store(&ws, id, checked).await?;
    Ok(())
}

fn allowed(ws: &Worker) -> Result<(), JobError> {
    ws.hindered().map_or(Ok(()), |why| Err(JobError::Fail(format!("{why}. Nothing was analysed."))))
}

/// Removes what is kept of an org that was disconnected.
pub async fn forget(ws: &Worker, id: OrgId) -> Result<(), JobError> {
    ws.note(move |tx| {
        tx.remove_under(&FINDINGS, &id)?;
        tx.remove_under(&SCORES, &id)?;
        tx.remove(&ANALYSES, &id)?;
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(())
}

/// Pages that show an org's findings listen to this.
pub fn topic(id: OrgId) -> String {
    format!("findings:{id}")
}

struct Checked {
    analysis: Analysis,
    findings: Vec<(String, Kept)>,
}

/// Reads the catalogue and runs every check; `None` once the org is gone. Blocks.
fn check(ws: &Worker, id: OrgId) -> Result<Option<Checked>, StoreError> {
    let read = ws.read()?;
    let Some(org) = read.get(&ORGS, &id)? else { return Ok(None) };
    let mut rows: Vec<(ComponentKey, String, String)> = Vec::new();
    for (key, component) in read.scan(&COMPONENTS).under(&id).limit(MOST).rows()? {
        let source = read.get(&SOURCES, &key)?.unwrap_or_default();
        rows.push((key, component.file, source));
    }
    drop(read);
    let components: Vec<Component<'_>> =
        rows.iter().map(|((_, kind, name), file, source)| Component::new(kind, name, file, source)).collect();
    let limits: Vec<Limit> = org
        .limits
        .iter()
        .map(|(name, l)| Limit {
            name: name.clone(),
            max: i64::try_from(l.max).unwrap_or(i64::MAX),
            remaining: i64::try_from(l.remaining).unwrap_or(i64::MAX),
        })
        .collect();
    let input =
        Input { components: &components, limits: &limits, current_api: super::CURRENT_API, jobs: THREADS };
    let report = rules::run(&input, &RuleSet::all());
    let counts = counts(&components, limits.len());
    let score = score(report.findings.iter().map(|f| (f.rule, f.severity)), &counts);
    let now = ws.clock().now();
    let source_of = |finding: &Finding| {
        let c = &finding.component;
        rows.iter()
            .find(|((_, kind, name), ..)| *kind == c.kind && *name == c.name)
            .map(|(.., source)| source.as_str())
    };
    let findings: Vec<(String, Kept)> = report
        .findings
        .iter()
        .map(|f| (f.fingerprint.clone(), kept(f, source_of(f).unwrap_or_default(), now)))
        .collect();
    let analysis = Analysis {
        at: now,
        score: score.value,
        areas: score
            .areas
            .iter()
            .map(|a| Area {
                name: a.area.title().to_owned(),
                value: a.value,
                findings: a.findings.iter().map(|(s, n)| (s.as_str().to_owned(), *n as u64)).collect(),
            })
            .collect(),
        arithmetic: score
            .arithmetic
            .iter()
            .map(|s| format!("{}: {} = {}", s.label, s.formula, s.value))
            .collect(),
        open: findings.len() as u64,
        errors: report.errors.iter().map(|e| format!("{}: {}", e.file, e.message)).collect(),
    };
    Ok(Some(Checked { analysis, findings }))
}

fn counts(components: &[Component<'_>], limits: usize) -> Counts {
    let of = |kind: &str| components.iter().filter(|c| c.kind == kind).count();
    Counts {
        apex: of("ApexClass") + of("ApexTrigger"),
        flows: of("Flow"),
        objects: of("CustomObject"),
        limits,
        permission_sets: of("PermissionSet"),
        tests: components
            .iter()
            .filter(|c| c.kind == "ApexClass" && c.source.to_lowercase().contains("@istest"))
            .count(),
        coverage: None,
    }
}

fn kept(finding: &Finding, source: &str, now: jiff::Timestamp) -> Kept {
    let (from, to) =
        (finding.line.saturating_sub(AROUND).max(1), finding.end_line.max(finding.line) + AROUND);
    let lines = source.lines().zip(1u32..).filter(|(_, n)| (from..=to).contains(n)).take(MOST_LINES);
    Kept {
        rule: finding.rule.to_owned(),
        title: finding.name.replace('-', " "),
        rank: rank(finding.severity),
        severity: finding.severity.as_str().to_owned(),
        category: finding.category.as_str().to_owned(),
        kind: finding.component.kind.clone(),
        name: finding.component.name.clone(),
        line: finding.line,
        end_line: finding.end_line,
        message: finding.message.clone(),
        why: finding.why.to_owned(),
        fix: finding.fix.to_owned(),
        evidence: if finding.line == 0 {
            Vec::new()
        } else {
            lines.map(|(text, n)| (n, text.to_owned())).collect()
        },
        first_seen: now,
        closed: None,
    }
}

fn rank(severity: Severity) -> u8 {
    match severity.as_str() {
        "critical" => CRITICAL,
        "high" => 3,
        "medium" => 2,
        "low" => 1,
        _ => 0,
    }
}

/// Keeps when a finding was first seen; closes what is no longer found.
async fn store(ws: &Worker, id: OrgId, checked: Checked) -> Result<(), StoreError> {
    let Checked { analysis, findings } = checked;
    let (now, millis, cause) = (ws.clock().now(), ws.clock().now_ms(), JobCause::of(ws));
    let used = Event::new(ws.counted(), Feature::Insights).org(Some(id)).count(Act::FeatureUsed, 1);
    ws.change(Action::FindingsUpdated, id, move |tx| {
        meter::record(tx, now, &used)?;
        let mut critical = Vec::new();
        let found: BTreeSet<String> = findings.iter().map(|(print, _)| print.clone()).collect();
        for ((_, print), mut old) in tx.scan(&FINDINGS).under(&id).rows()? {
            if !found.contains(&print) && old.closed.is_none() {
                old.closed = Some(now);
                tx.put(&FINDINGS, &(id, print), &old)?;
            }
        }
        for (print, mut kept) in findings {
            let key = (id, print);
            let before = tx.get(&FINDINGS, &key)?;
            if kept.rank == CRITICAL
                && before.as_ref().is_none_or(|b| b.closed.is_some() || b.rank < CRITICAL)
            {
                critical.push((kept.title.clone(), kept.name.clone()));
            }
            if let Some(before) = before {
                kept.first_seen = before.first_seen;
            }
            tx.put(&FINDINGS, &key, &kept)?;
        }
        tx.put(&SCORES, &(id, millis), &analysis.score)?;
        tx.put(&ANALYSES, &id, &analysis)?;
        tell(tx, &cause, id, critical)?;
        tx.announce(topic(id));
        Ok(())
    })
    .await
}

/// Tells everybody of critical findings that were not there before: one notice an analysis.
fn tell(
    tx: &mut Change<'_>,
    cause: &JobCause,
    id: OrgId,
    critical: Vec<(String, String)>,
) -> Result<(), StoreError> {
    let Some(org) = tx.get(&ORGS, &id)?.filter(|_| !critical.is_empty()) else { return Ok(()) };
    let named: Vec<&str> = critical.iter().take(NAMED).map(|(_, name)| name.as_str()).collect();
    let body = named.join(", ");
    let link = format!("o/{}/findings", org.slug);
    let (count, findings) = (critical.len(), critical.into_iter().take(NAMED).collect());
    let letter = Letter::CriticalFinding { workspace: String::new(), org: org.name, count, findings, link };
    let notice = Notice::of(Kind::CriticalFinding, letter).body(body);
    raise(tx, cause, Audience::Role(Role::Viewer), notice).map(|_| ())
}
