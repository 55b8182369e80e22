//! The health score: 0 to 100 for the org and its six areas, with the arithmetic that anybody can repeat.

use std::collections::BTreeMap;

use super::catalogue::{Area, rule};
use super::finding::Severity;

/// How much there is: a finding weighs less in a larger org.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub apex: usize,
    pub flows: usize,
    pub objects: usize,
    /// How many limits were read; 0 when they were not.
    pub limits: usize,
    pub permission_sets: usize,
    pub tests: usize,
    /// Per cent of Apex lines that tests run, where known.
    pub coverage: Option<f64>,
}

/// The score of an org.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// 0 to 100.
    pub value: u32,
    pub areas: Vec<AreaScore>,
    /// How `value` came about, line by line.
    pub arithmetic: Vec<Step>,
}

/// The score of one area.
#[derive(Clone, Debug, PartialEq)]
pub struct AreaScore {
    pub area: Area,
    /// 0 to 100; `None` when there was nothing to look at.
    pub value: Option<u32>,
    /// Its share in the org's score.
    pub weight: u32,
    /// Findings by severity, worst first.
    pub findings: Vec<(Severity, usize)>,
}

/// One line of the arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub label: String,
    pub formula: String,
    pub value: u32,
}

/// What a finding costs.
pub fn points(severity: Severity) -> f64 {
    match severity {
        Severity::Info => 0.0,
        Severity::Low => 0.5,
        Severity::Medium => 2.0,
        Severity::High => 5.0,
        Severity::Critical => 10.0,
    }
}

/// What an area with nothing in it starts from, so that one finding in a small org is not ruin.
const BASE: usize = 20;

/// The score over open findings, each given by its rule's id and its severity.
///
/// An area with `n` components and findings worth `p` points (critical 10, high 5, medium 2, low 0.5) scores
/// `100 × (20 + n) ÷ (20 + n + p)`; tests also count coverage, half and half. The org's score is the mean of
/// the areas by weight. The formula is our own.
pub fn score<'f>(findings: impl IntoIterator<Item = (&'f str, Severity)>, counts: &Counts) -> Score {
    let mut by_area: BTreeMap<Area, BTreeMap<Severity, usize>> = BTreeMap::new();
    for (id, severity) in findings {
        if let Some(info) = rule(id) {
            *by_area.entry(info.area).or_default().entry(severity).or_default() += 1;
        }
    }
    let mut arithmetic = Vec::new();
    let areas: Vec<AreaScore> = Area::ALL
        .into_iter()
        .map(|area| {
            let found = by_area.remove(&area).unwrap_or_default();
            area_score(area, &found, counts, &mut arithmetic)
        })
        .collect();
    let measured = || areas.iter().filter_map(|area| Some((area.weight, area.value?)));
    let weights: u32 = measured().map(|(weight, _)| weight).sum();
    let sum: u32 = measured().map(|(weight, value)| weight * value).sum();
    let value = (sum + weights / 2).checked_div(weights).unwrap_or(0);
    let terms: Vec<String> = measured().map(|(weight, value)| format!("{weight} × {value}")).collect();
    if weights > 0 {
        let formula = format!("({}) ÷ {weights}", terms.join(" + "));
        arithmetic.push(Step { label: "Org health".into(), formula, value });
    }
    Score { value, areas, arithmetic }
}

fn area_score(
    area: Area,
    found: &BTreeMap<Severity, usize>,
    counts: &Counts,
    arithmetic: &mut Vec<Step>,
) -> AreaScore {
    let (size, weight) = match area {
        Area::Automation => (counts.flows, 20),
        Area::ApexCode => (counts.apex, 25),
        Area::AccessAndSharing => (counts.apex + counts.flows + counts.permission_sets, 20),
        Area::DataModel => (counts.objects, 10),
        Area::Limits => (counts.limits, 15),
        Area::Tests => (counts.tests, 10),
    };
    let findings: Vec<(Severity, usize)> = found.iter().rev().map(|(severity, n)| (*severity, *n)).collect();
    let coverage = counts.coverage.filter(|_| area == Area::Tests);
    if size == 0 && findings.is_empty() && coverage.is_none() {
        return AreaScore { area, value: None, weight, findings };
    }
    let lost = found.iter().fold(0.0, |lost, (severity, n)| lost + points(*severity) * *n as f64);
    let base = (BASE + size) as f64;
    let mut exact = 100.0 * base / (base + lost);
    let mut formula = format!("100 × {base} ÷ ({base} + {lost})");
    if let Some(coverage) = coverage {
        let coverage = coverage.clamp(0.0, 100.0);
        exact = f64::midpoint(exact, coverage);
        formula = format!("({formula} + {coverage:.0} % coverage) ÷ 2");
    }
    let value = exact.round() as u32;
    arithmetic.push(Step { label: area.title().into(), formula, value });
    AreaScore { area, value: Some(value), weight, findings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_gives_the_value() {
        let counts = Counts { apex: 60, flows: 12, ..Counts::default() };
        let found = [("APX-001", Severity::High), ("APX-001", Severity::High), ("FLW-001", Severity::High)];
        let score = score(found, &counts);
        let apex = score.areas.iter().find(|a| a.area == Area::ApexCode).unwrap();
        assert_eq!(apex.value, Some(89), "100 × 80 ÷ 90");
        assert_eq!(apex.findings, [(Severity::High, 2)]);
        let automation = score.areas.iter().find(|a| a.area == Area::Automation).unwrap();
        assert_eq!(automation.value, Some(86), "100 × 32 ÷ 37");
        assert_eq!(score.value, (25 * 89 + 20 * 86 + 20 * 100 + 32) / 65);
        assert_eq!(score.arithmetic.last().unwrap().value, score.value);
    }

    #[test]
    fn areas_that_were_not_looked_at_do_not_count() {
        let score = score([], &Counts { apex: 1, ..Counts::default() });
        assert_eq!(score.value, 100);
        assert!(score.areas.iter().any(|a| a.area == Area::Limits && a.value.is_none()));
    }

    #[test]
    fn coverage_is_half_of_the_tests() {
        let score = score([], &Counts { tests: 4, coverage: Some(50.0), ..Counts::default() });
        assert_eq!(score.value, 75);
        assert_eq!(score.arithmetic[0].formula, "(100 × 24 ÷ (24 + 0) + 50 % coverage) ÷ 2");
    }

    #[test]
    fn an_empty_org_has_no_arithmetic() {
        let score = score([], &Counts::default());
        assert_eq!((score.value, score.arithmetic.len()), (0, 0));
    }
}
