//! Sums equal the events; budgets stop in time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::records::{DAYS, between, date, date_of, day_of, month, spent};
use super::*;
use crate::ids::{AccountId, OrgId};
use crate::seal::{DataKey, Use};
use crate::store::{File, Key as _, Read as _, StoreError};
use crate::wire::model::Usage;

fn id(n: u8) -> [u8; 16] {
    [n + 1; 16]
}

fn facet() -> impl Strategy<Value = Facet> {
    let model = prop_oneof![Just(String::new()), Just("claude-opus-5-5".to_owned()), "[a-z\\x00*-]{0,6}"];
    (prop::option::of(0..3u8), prop::sample::select(Feature::ALL), model, prop::option::of(0..2u8)).prop_map(
        |(account, feature, model, org)| Facet {
            account: account.map(|n| AccountId::from_bytes(id(n))),
            feature,
            model,
            org: org.map(|n| OrgId::from_bytes(id(n))),
        },
    )
}

fn event() -> impl Strategy<Value = (i64, Event)> {
    let usage = (0..1_000u64, 0..1_000u64, 0..1_000u64, 0..1_000u64, 0..1_000u64);
    let call = (usage, (0..1_000_000_000u64, 0..1_000u64));
    let acts = prop::collection::vec((prop::sample::select(Act::ALL), 0..1_000u64), 0..4);
    // Two months around the turn of a year, in seconds.
    let at = 1_796_083_200i64..1_801_267_200;
    (at, facet(), prop::option::of(call), acts).prop_map(|(at, facet, call, acts)| {
        let mut event = Event { facet: facet.clone(), sums: Sums::default() };
        if let Some(((input, output, cache_read, write_5m, write_1h), (nano_usd, unpriced_tokens))) = call {
            let used = Usage {
                input,
                output,
                cache_read,
                cache_write_5m: write_5m,
                cache_write_1h: write_1h,
                ..Usage::default()
            };
            let cost = Cost { nano_usd, unpriced_tokens, known: true };
            event = event.model_call(&facet.model, &used, cost);
        }
        (at, acts.into_iter().fold(event, |event, (act, n)| event.count(act, n)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sums_by_day_and_month_equal_the_events(events in prop::collection::vec(event(), 0..60)) {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(&dir.path().join("a.redb"), &DataKey::new().sub(Use::Pages), 1 << 20).unwrap();
        let mut days: BTreeMap<(u32, Facet), Sums> = BTreeMap::new();
        let mut months: BTreeMap<(u32, Whose), Spent> = BTreeMap::new();
        for (at, event) in &events {
            let at = Timestamp::from_second(*at).unwrap();
            file.write(|tx| record(tx, at, event)).unwrap();
            days.entry((day_of(date(at)), event.facet.clone())).or_default().add(&event.sums);
            for whose in [Some(Whose::Workspace), event.facet.account.map(Whose::Member)].into_iter().flatten() {
                let sum = months.entry((month(date(at)), whose)).or_default();
                *sum = sum.plus(Spent::from(&event.sums));
            }
        }
        let read = file.snapshot().unwrap();
        let mut kept: BTreeMap<(u32, Facet), Sums> = read.scan(&DAYS).rows().unwrap().into_iter().collect();
        prop_assert_eq!(&kept, &days);
        for ((month, whose), sum) in months {
            prop_assert_eq!(spent(&read, month, whose).unwrap(), sum);
        }
        // Each kind of act once more, straight from the events; and a range holds exactly its days.
        let first = date("2027-01-01T00:00:00Z".parse().unwrap());
        let last = date("2027-01-15T00:00:00Z".parse().unwrap());
        for act in Act::ALL {
            let mut in_range = 0;
            between(&read, first, last, |_, _, sums| in_range += sums.of(*act)).unwrap();
            let expected: u64 = events
                .iter()
                .filter(|(at, _)| (first..=last).contains(&date(Timestamp::from_second(*at).unwrap())))
                .map(|(_, event)| event.sums.of(*act))
                .sum();
            prop_assert_eq!(in_range, expected, "{:?}", act);
        }
        kept.retain(|(_, facet), _| Facet::read(&mut facet.encoded().as_slice()).as_ref() != Some(facet));
        prop_assert!(kept.is_empty(), "a key does not survive its stored form");
    }
}

#[test]
fn absurd_numbers_of_a_model_neither_wrap_nor_stop_the_count() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(&dir.path().join("a.redb"), &DataKey::new().sub(Use::Pages), 1 << 20).unwrap();
    let at: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let used = Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() };
    let event =
        Event::new(None, Feature::Chat).model_call("m", &used, Prices::built_in().cost("m", &used, date(at)));
    file.write(|tx| record(tx, at, &event).and_then(|()| record(tx, at, &event))).unwrap();
    let read = file.snapshot().unwrap();
    let spent = spent(&read, month(date(at)), Whose::Workspace).unwrap();
    assert_eq!((spent.tokens, spent.unpriced_tokens, spent.nano_usd), (u64::MAX, u64::MAX, 0));
}

#[test]
fn a_new_budget_forgets_what_was_told_and_none_lifts_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(&dir.path().join("a.redb"), &DataKey::new().sub(Use::Pages), 1 << 20).unwrap();
    let whose = Whose::Member(AccountId::from_bytes(id(1)));
    file.write(|tx| {
        budgets::set(tx, 7, whose, Some(Limit::Tokens(10)))?;
        tx.put(&budgets::TOLD, &(7, whose), &100)?;
        budgets::set(tx, 7, whose, Some(Limit::NanoUsd(NANO)))
    })
    .unwrap();
    let read = file.snapshot().unwrap();
    assert_eq!(read.get(&budgets::TOLD, &(7, whose)).unwrap(), None);
    let (limit, spent) = budgets::of(&read, 7, whose).unwrap().unwrap();
    assert_eq!((limit, spent), (Limit::NanoUsd(NANO), Spent::default()));
    file.write(|tx| budgets::set(tx, 7, whose, None)).unwrap();
    let lifted: Result<_, StoreError> = budgets::of(&file.snapshot().unwrap(), 7, whose);
    assert_eq!(lifted.unwrap(), None);
}

#[test]
fn a_budget_is_full_only_when_all_of_it_is_used() {
    let spent = |tokens| Spent { tokens, ..Spent::default() };
    let limit = Limit::Tokens(1_000);
    assert_eq!([0, 799, 800, 999, 1_000, 2_500].map(|n| limit.percent(spent(n))), [0, 79, 80, 99, 100, 250]);
    assert_eq!([999, 1_000].map(|n| limit.has_room(spent(n), spent(0))), [true, false]);
    assert_eq!(
        [100, 101].map(|n| limit.has_room(spent(900), spent(n))),
        [true, false],
        "its prompt has to fit"
    );
    assert!(Limit::NanoUsd(1).has_room(spent(u64::MAX), spent(5)), "tokens are no dollars");
    assert!(!Limit::Tokens(0).has_room(spent(0), spent(0)), "nothing may be used of nothing");
}

#[test]
fn months_and_days_have_numbers_and_come_back() {
    let day = date("2026-12-31T23:59:59Z".parse().unwrap());
    assert_eq!(date_of(day_of(day)), day);
    assert_eq!(month(day) + 1, month(day.tomorrow().unwrap()));
}

#[test]
fn money_is_rounded_for_people_and_exact_in_files() {
    let said =
        [0, 1, 4_120_000, 99_999_999, 100_000_000, 612_404_999_999, 1_234_567_000_000_000].map(dollars);
    assert_eq!(said, ["$0", "$0.0001", "$0.0041", "$0.1000", "$0.10", "$612.40", "$1,234,567.00"]);
    assert_eq!(exact_dollars(12_000_400_000), "12.000400000");
}
