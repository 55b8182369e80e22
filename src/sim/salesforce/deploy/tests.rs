//! The fixture through the compiler and the tests of a deploy.

use super::*;
use crate::clock::Clock;
use crate::sim::salesforce::{Options, fixture};

fn org() -> Org {
    fixture::load(&Options {
        clock: Clock::manual("2026-11-23T09:00:00Z".parse().unwrap()),
        ..Options::default()
    })
    .unwrap()
}

#[test]
fn everything_in_the_fixture_compiles() {
    let org = org();
    let sources = apply::preview(&org, &Package::default());
    let world = resolve::World::of(&sources);
    let problems: Vec<String> = sources
        .iter()
        .filter(|((kind, _), _)| kind.starts_with("Apex"))
        .flat_map(|((_, name), source)| {
            resolve::unresolved(source, &world).into_iter().map(move |p| format!("{name} {p:?}"))
        })
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_tests_of_the_fixture_pass_and_cover_enough() {
    let org = org();
    let sources = apply::preview(&org, &Package::default());
    let options = DeployOptions { test_level: Some(TestLevel::RunLocalTests), ..DeployOptions::default() };
    let run = testing::run(&org, &sources, &Package::default(), &options);
    assert!(run.failures.is_empty(), "{:#?}", run.failures);
    let covered = testing::coverage(
        &sources,
        &testing::tests_in(&sources).map(|(n, _)| n.to_owned()).collect::<Vec<_>>(),
    );
    let lines: usize = covered.iter().map(|c| c.lines).sum();
    let missed: usize = covered.iter().map(|c| c.uncovered.len()).sum();
    assert!((lines - missed) * 100 / lines >= 75, "{lines} {missed}");
}
