//! The checks of flows: `graph` reads a flow into elements and connectors, this file holds the rules.

mod graph;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::finding::{Hit, Severity};
use super::literals::{org_hosts, record_ids};

use graph::{Element, Kind, Text};
pub(super) use graph::{Flow, read};

/// What a subflow does once called, by flow name.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Fact {
    writes: bool,
    reads: bool,
}

/// What each flow does, its own subflows counted in.
pub(super) fn facts<'f>(flows: impl Iterator<Item = (&'f str, &'f Flow)>) -> HashMap<String, Fact> {
    let flows: Vec<(&str, &Flow)> = flows.collect();
    let mut facts: HashMap<String, Fact> = flows
        .iter()
        .map(|(name, flow)| {
            let has = |kind: fn(Kind) -> bool| flow.elements.iter().any(|e| kind(e.kind));
            (
                (*name).to_owned(),
                Fact { writes: has(Kind::writes), reads: has(|kind| kind == Kind::GetRecords) },
            )
        })
        .collect();
    // Each round carries facts one call further; calls nested deeper than this don't run either.
    for _ in 0..16 {
        let mut changed = false;
        for (name, flow) in &flows {
            for target in flow.elements.iter().filter_map(|e| e.subflow.as_deref()) {
                let Some(inner) = facts.get(target).copied() else { continue };
                let Some(own) = facts.get_mut(*name) else { continue };
                let sum = Fact { writes: own.writes || inner.writes, reads: own.reads || inner.reads };
                changed |= sum != *own;
                *own = sum;
            }
        }
        if !changed {
            break;
        }
    }
    facts
}

/// Runs every check of a flow.
pub(super) fn check(flow: &Flow, subflows: &HashMap<String, Fact>) -> Vec<Hit> {
    let mut out = Vec::new();
    in_loops(flow, subflows, &mut out);
    fault_paths(flow, &mut out);
    places(flow, &mut out);
    context(flow, &mut out);
    entry(flow, &mut out);
    if matches!(flow.process_type.as_str(), "InvocableProcess" | "Workflow") && flow.status == "Active" {
        out.push(Hit::on_line("FLW-014", 1, "", "An active process was built with Process Builder.".into()));
    }
    out
}

/// FLW-001, 002 and 003: elements that run once for each pass of a loop. One is in the body when the path for
/// each item reaches it and it leads back to the loop; what comes after the last item, and a fault path that
/// ends, is not.
fn in_loops(flow: &Flow, subflows: &HashMap<String, Fact>, out: &mut Vec<Hit>) {
    let mut inside: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (place, element) in flow.elements.iter().enumerate().filter(|(_, e)| e.kind == Kind::Loop) {
        let body = body(flow, place, element);
        for member in &body {
            let smaller = inside.get(member).is_none_or(|(_, size)| body.len() < *size);
            if smaller {
                inside.insert(*member, (place, body.len()));
            }
        }
    }
    for (place, (around, _)) in inside {
        let (element, around) = (&flow.elements[place], &flow.elements[around]);
        let each = format!("once for each item of the loop {}", around.name);
        let mut hit = |rule, what: &str| {
            out.push(Hit::on_line(
                rule,
                element.line,
                &element.name,
                format!("{} {what} {each}.", element.name),
            ));
        };
        match element.kind {
            kind if kind.writes() && !(flow.is_before_save() && element.on_record) => {
                hit("FLW-001", "writes records");
            }
            Kind::GetRecords => hit("FLW-002", "gets records"),
            Kind::Action => hit("FLW-003", "calls an action"),
            Kind::Subflow => {
                let target = element.subflow.as_deref().unwrap_or("");
                let fact = subflows.get(target).copied().unwrap_or_default();
                if fact.writes {
                    hit("FLW-001", &format!("runs the flow {target}, which writes records,"));
                }
                if fact.reads {
                    hit("FLW-002", &format!("runs the flow {target}, which gets records,"));
                }
            }
            _ => {}
        }
    }
}

fn body(flow: &Flow, place: usize, element: &Element) -> BTreeSet<usize> {
    let starts = element.next.iter().filter(|n| n.each_item).filter_map(|n| flow.place(&n.target));
    let forward = flow.reachable(starts, |from, _| from != place);
    let mut back: BTreeSet<usize> = BTreeSet::new();
    let mut open = vec![place];
    while let Some(target) = open.pop() {
        for from in flow.leading_to(target) {
            if from != place && forward.contains(&from) && back.insert(from) {
                open.push(from);
            }
        }
    }
    back
}

/// FLW-004: what can fail and has no fault path, outside fault paths themselves.
fn fault_paths(flow: &Flow, out: &mut Vec<Hit>) {
    if flow.is_legacy() {
        return;
    }
    let usual = flow.reachable(flow.starts(), |_, next| !next.fault);
    for (place, element) in flow.elements.iter().enumerate() {
        let can_fail = match element.kind {
            Kind::Action | Kind::Create | Kind::Delete | Kind::GetRecords | Kind::Update => {
                !(flow.is_before_save() && element.on_record)
            }
            Kind::Wait => element.can_fail,
            _ => false,
        };
        if can_fail && usual.contains(&place) && !element.next.iter().any(|next| next.fault) {
            let message = format!("{} has no fault path.", element.name);
            out.push(Hit::on_line("FLW-004", element.line, &element.name, message));
        }
    }
}

/// FLW-006 and FLW-007: each record id and org address in values and formulas.
fn places(flow: &Flow, out: &mut Vec<Hit>) {
    for Text { text, line, element } in &flow.texts {
        for id in record_ids(text) {
            let message = format!("The record id {id} is written in {element}.");
            out.push(Hit::on_line("FLW-006", *line, &format!("{element}\n{id}"), message));
        }
        for host in org_hosts(text) {
            let message = format!("The address {host} is written in {element}.");
            out.push(Hit::on_line("FLW-007", *line, &format!("{element}\n{host}"), message));
        }
    }
}

/// FLW-008: system context without sharing, worse where a person's input can reach the records.
fn context(flow: &Flow, out: &mut Vec<Hit>) {
    let Some(line) = flow.without_sharing else { return };
    let has_screen = flow.elements.iter().any(|e| e.kind == Kind::Screen);
    let touches = flow.elements.iter().any(|e| e.kind.writes() || e.kind == Kind::GetRecords);
    let message = if has_screen && touches {
        "The flow takes input on a screen and runs in system context without sharing."
    } else {
        "The flow runs in system context without sharing."
    };
    let hit = Hit::on_line("FLW-008", line, "", message.into());
    out.push(if has_screen && touches { hit.severity(Severity::High) } else { hit });
}

/// FLW-010: a record-triggered flow that starts on every update. On creation alone there is nothing to compare.
fn entry(flow: &Flow, out: &mut Vec<Hit>) {
    let Some(trigger) = &flow.trigger else { return };
    let on_update = matches!(trigger.record_event.as_str(), "CreateAndUpdate" | "Update");
    if trigger.on_save && on_update && !trigger.filtered {
        let message =
            format!("The flow starts on every update of {}: it has no entry conditions.", trigger.object);
        out.push(Hit::on_line("FLW-010", trigger.line, "", message));
    }
}
