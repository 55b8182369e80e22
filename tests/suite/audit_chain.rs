//! The audit chain itself: an edited line, a removed one, a cut tail, a piece written anew and a false beginning are named;
//! old lines leave at a year and the rest still verifies.

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use vynos::audit::log::{Part, Wanted, newest, range};
use vynos::seal::{DataKey, SubKey, Use};
use vynos::store::audit::prune::{KeepFor, Pruned, prune};
use vynos::store::audit::verify::{Step, Walk, verify};
use vynos::store::audit::{AUDIT, AUDIT_CHECKPOINTS, AUDIT_HEAD, Action, Actor, Broken, Entry, Head, append};
use vynos::store::{File, Read as _, StoreError};

const FIRST: &str = "2026-11-23T09:00:00Z";

fn first() -> Timestamp {
    FIRST.parse().unwrap()
}

fn entry(at: Timestamp, target: String) -> Entry {
    Entry { at, actor: Actor::Operator, action: Action::OrgSynced, target, workspace: None, request: None }
}

/// A chain whose line n was added n - 1 `apart` after the first.
fn chain_of(lines: u64, apart: SignedDuration) -> (tempfile::TempDir, File, SubKey) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataKey::new();
    let (pages, key) = (data.sub(Use::Pages), data.sub(Use::Audit));
    let file = File::create(&dir.path().join("a.redb"), &pages, 4 << 20).unwrap();
    file.write(|tx| {
        for n in 0..lines {
            append(tx, &key, entry(first() + apart * i32::try_from(n).unwrap(), format!("org {n}")))?;
        }
        Ok::<_, StoreError>(())
    })
    .unwrap();
    (dir, file, key)
}

fn chain(lines: u64) -> (tempfile::TempDir, File, SubKey) {
    chain_of(lines, SignedDuration::ZERO)
}

fn verified(file: &File, key: &SubKey) -> Result<u64, Broken> {
    verify(&file.snapshot().unwrap(), key).unwrap()
}

fn checkpoints(file: &File) -> Vec<u64> {
    file.snapshot().unwrap().scan(&AUDIT_CHECKPOINTS).keys().unwrap()
}

fn numbers(file: &File) -> Vec<u64> {
    file.snapshot().unwrap().scan(&AUDIT).keys().unwrap()
}

/// Writes the lines from `line` on anew, each with the hash it should have, as somebody without the key can.
fn write_anew(file: &File, line: u64) {
    file.write(|tx| {
        let mut before = if line == 1 { String::new() } else { tx.get(&AUDIT, &(line - 1))?.unwrap().hash };
        for (number, mut event) in tx.scan(&AUDIT).from(&line).rows()? {
            event.target = "another".into();
            event.hash = String::new();
            let json = serde_json::to_vec(&event).unwrap();
            let hash = ring::digest::digest(&ring::digest::SHA256, &[before.as_bytes(), &json].concat());
            event.hash = vynos::seal::hex(hash.as_ref());
            before = event.hash.clone();
            tx.put(&AUDIT, &number, &event)?;
        }
        let mut head = tx.get(&AUDIT_HEAD, &0)?.unwrap();
        head.hash = before;
        tx.put(&AUDIT_HEAD, &0, &head)
    })
    .unwrap();
}

#[test]
fn a_whole_chain_holds() {
    let (_dir, file, key) = chain(50);
    assert_eq!(verified(&file, &key), Ok(50));
}

#[test]
fn an_edited_line_is_named() {
    let (_dir, file, key) = chain(50);
    file.write(|tx| {
        let mut event = tx.get(&AUDIT, &17)?.unwrap();
        event.target = "org 99".into();
        tx.put(&AUDIT, &17, &event)
    })
    .unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Link(17)));
}

#[test]
fn a_removed_line_and_a_cut_tail_are_named() {
    let (_dir, file, key) = chain(50);
    file.write(|tx| tx.remove(&AUDIT, &50)).unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Tail(49)));
    file.write(|tx| {
        // Even with a head that fits: the MAC needs the key.
        let hash = tx.get(&AUDIT, &49)?.unwrap().hash;
        let mut head = tx.get(&AUDIT_HEAD, &0)?.unwrap();
        (head.line, head.hash) = (49, hash);
        tx.put(&AUDIT_HEAD, &0, &head)
    })
    .unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Tail(49)));
    file.write(|tx| tx.remove(&AUDIT, &20)).unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Link(21)));
}

#[test]
fn a_checkpoint_is_sealed_every_thousand_lines_and_every_day_that_has_lines() {
    let (_dir, file, key) = chain(2_500);
    assert_eq!(checkpoints(&file), [1, 1001, 2001]);
    assert_eq!(verified(&file, &key), Ok(2_500));
    let (_dir, file, key) = chain_of(49, SignedDuration::from_mins(30));
    assert_eq!(checkpoints(&file), [1, 49]);
    assert_eq!(verified(&file, &key), Ok(49));
}

#[test]
fn a_piece_written_anew_is_named_at_the_next_checkpoint() {
    let (_dir, file, key) = chain(2_500);
    write_anew(&file, 500);
    assert_eq!(verified(&file, &key), Err(Broken::Checkpoint(1001)));
    let (_dir, file, key) = chain(2_500);
    write_anew(&file, 2_400);
    assert_eq!(
        verified(&file, &key),
        Err(Broken::Tail(2_500)),
        "behind the last checkpoint the head says so"
    );
}

#[test]
fn a_tail_cut_back_to_an_old_head_is_named() {
    let (_dir, file, key) = chain(1_000);
    let old = file.snapshot().unwrap().get(&AUDIT_HEAD, &0).unwrap().unwrap();
    file.write(|tx| {
        for n in 0..10 {
            append(tx, &key, entry(first(), format!("later {n}")))?;
        }
        Ok::<_, StoreError>(())
    })
    .unwrap();
    assert_eq!(checkpoints(&file), [1, 1001]);
    // The old head was sealed with the key; the checkpoint behind it tells.
    file.write(|tx| {
        for line in 1_001..=1_010 {
            tx.remove(&AUDIT, &line)?;
        }
        tx.put(&AUDIT_HEAD, &0, &old)
    })
    .unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Tail(1_000)));
}

#[test]
fn a_removed_or_moved_checkpoint_is_named() {
    let (_dir, file, key) = chain(2_500);
    file.write(|tx| tx.remove(&AUDIT_CHECKPOINTS, &1_001)).unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Checkpoint(2_001)));
    let (_dir, file, key) = chain(2_500);
    file.write(|tx| tx.remove(&AUDIT_CHECKPOINTS, &2_001)).unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Tail(2_500)));
    let (_dir, file, key) = chain(2_500);
    file.write(|tx| {
        let sealed = tx.get(&AUDIT_CHECKPOINTS, &1_001)?.unwrap();
        tx.put(&AUDIT_CHECKPOINTS, &1_002, &sealed)
    })
    .unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Checkpoint(1_002)));
}

#[test]
fn a_chain_that_an_earlier_version_began_without_checkpoints_holds_and_goes_on() {
    let (_dir, file, key) = chain(50);
    file.write(|tx| {
        let sealed = tx.scan(&AUDIT_CHECKPOINTS).keys()?;
        for line in sealed {
            tx.remove(&AUDIT_CHECKPOINTS, &line)?;
        }
        let Head { line, hash, .. } = tx.get(&AUDIT_HEAD, &0)?.unwrap();
        let mac = vynos::seal::hex(&key.lookup(format!("audit head {line} {hash}").as_bytes()));
        tx.put(&AUDIT_HEAD, &0, &Head { line, hash, mac, checkpoint: None })
    })
    .unwrap();
    assert_eq!(verified(&file, &key), Ok(50));
    file.write(|tx| append(tx, &key, entry(first(), "next".into()))).unwrap();
    assert_eq!(checkpoints(&file), [51]);
    assert_eq!(verified(&file, &key), Ok(51));
}

#[test]
fn lines_leave_at_a_year_and_not_before_and_the_rest_still_verifies() {
    let (_dir, file, key) = chain_of(40, SignedDuration::from_hours(24));
    let at = |now: Timestamp| {
        let until = KeepFor::default().ended(now);
        let entry = Entry { action: Action::AuditPruned, ..entry(now, String::new()) };
        file.write(|tx| prune(tx, &key, until, entry)).unwrap()
    };
    let year = first().to_zoned_datetime(jiff::tz::TimeZone::UTC).checked_add(1.year()).unwrap().timestamp();
    assert_eq!(at(year - SignedDuration::from_millis(1)), Ok(None));
    assert_eq!(numbers(&file).len(), 40, "nothing was written either");
    assert_eq!(at(year), Ok(Some(Pruned { first: 1, last: 1, more: false })));
    assert_eq!(numbers(&file), (2..=41).collect::<Vec<_>>(), "one left, the pruning itself has a line");
    assert_eq!(verified(&file, &key), Ok(40));
    let pruning = file.snapshot().unwrap().get(&AUDIT, &41).unwrap().unwrap();
    assert_eq!((pruning.action, pruning.target.as_str()), (Action::AuditPruned, "lines 1 to 1"));
    assert_eq!(checkpoints(&file)[0], 1);
    // All but the newest lines, over several checkpoints.
    assert_eq!(
        at(year + SignedDuration::from_hours(24 * 60)),
        Ok(Some(Pruned { first: 2, last: 40, more: false }))
    );
    assert_eq!((numbers(&file), checkpoints(&file)), (vec![41, 42], vec![40, 41, 42]));
    assert_eq!(verified(&file, &key), Ok(2));
    file.write(|tx| append(tx, &key, entry(year, "after".into()))).unwrap();
    assert_eq!(verified(&file, &key), Ok(3));
}

#[test]
fn a_great_number_of_old_lines_leaves_in_bounded_commits() {
    let (_dir, file, key) = chain(12_000);
    let now = first() + SignedDuration::from_hours(24 * 400);
    let mut went = Vec::new();
    loop {
        let entry = Entry { action: Action::AuditPruned, ..entry(now, String::new()) };
        let until = KeepFor::default().ended(now);
        let pruned = file.write(|tx| prune(tx, &key, until, entry)).unwrap().unwrap().unwrap();
        assert!(verified(&file, &key).is_ok());
        went.push(pruned.lines());
        if !pruned.more {
            break;
        }
    }
    assert_eq!(went, [5_000, 5_000, 2_000]);
    assert_eq!(verified(&file, &key), Ok(3));
}

#[test]
fn a_pruned_beginning_without_the_key_is_named_and_a_broken_piece_is_not_pruned() {
    let (_dir, file, key) = chain(50);
    file.write(|tx| {
        for line in 1..=20 {
            tx.remove(&AUDIT, &line)?;
        }
        let hash = tx.get(&AUDIT, &21)?.unwrap().hash;
        let mut sealed = tx.get(&AUDIT_CHECKPOINTS, &1)?.unwrap();
        (sealed.pruned, sealed.hash) = (true, hash);
        tx.remove(&AUDIT_CHECKPOINTS, &1)?;
        tx.put(&AUDIT_CHECKPOINTS, &20, &sealed)
    })
    .unwrap();
    assert_eq!(verified(&file, &key), Err(Broken::Checkpoint(20)));

    let (_dir, file, key) = chain(50);
    file.write(|tx| {
        let mut event = tx.get(&AUDIT, &17)?.unwrap();
        event.target = "org 99".into();
        tx.put(&AUDIT, &17, &event)
    })
    .unwrap();
    let now = first() + SignedDuration::from_hours(24 * 400);
    let until = KeepFor::default().ended(now);
    let pruned = file.write(|tx| prune(tx, &key, until, entry(now, String::new()))).unwrap();
    assert_eq!(pruned, Err(Broken::Link(17)));
    assert_eq!(numbers(&file).len(), 50, "it stays for whoever looks into it");
}

#[test]
fn a_walk_in_ranges_says_how_far_it_is_and_bears_changes_in_between() {
    let (_dir, file, key) = chain(25_000);
    let mut walk = Walk::begin(&file.snapshot().unwrap(), &key).unwrap();
    assert!(matches!(walk.step(&file.snapshot().unwrap()).unwrap(), Step::Holds));
    assert_eq!(walk.progress(), (10_000, 25_000));
    // Lines that are added while it walks are for the next walk.
    file.write(|tx| append(tx, &key, entry(first(), "meanwhile".into()))).unwrap();
    assert!(matches!(walk.step(&file.snapshot().unwrap()).unwrap(), Step::Holds));
    let Step::Ended(Ok(chain)) = walk.step(&file.snapshot().unwrap()).unwrap() else { panic!("it holds") };
    assert_eq!((chain.first, chain.last, chain.lines()), (1, 25_000, 25_000));
    // Lines that leave while it walks: it begins again.
    let mut walk = Walk::begin(&file.snapshot().unwrap(), &key).unwrap();
    walk.step(&file.snapshot().unwrap()).unwrap();
    let now = first() + SignedDuration::from_hours(24 * 400);
    let entry = Entry { action: Action::AuditPruned, ..entry(now, String::new()) };
    file.write(|tx| prune(tx, &key, KeepFor::default().ended(now), entry)).unwrap().unwrap();
    let mut seen = Vec::new();
    let chain = walk.finish(|| file.snapshot(), |done, total| seen.push((done, total))).unwrap().unwrap();
    assert_eq!((chain.first, chain.last), (5_001, 25_002));
    assert_eq!(seen, [(10_000, 20_002), (20_000, 20_002), (20_002, 20_002)]);
}

#[test]
fn a_filter_that_finds_little_says_where_to_go_on_and_days_are_found_by_halving() {
    let (_dir, file, _key) = chain_of(20_010, SignedDuration::from_mins(1));
    let read = file.snapshot().unwrap();
    let rare = Wanted { target: "org 0".into(), ..Wanted::default() };
    let page = newest(&read, &rare, None, 50).unwrap();
    assert_eq!((page.lines.len(), page.older), (0, Some(11)), "so far nothing, and it says so");
    let page = newest(&read, &rare, page.older, 50).unwrap();
    assert_eq!((page.lines.len(), page.lines[0].0, page.older), (1, 1, None));
    // The third day of the chain is far behind what one page looks at.
    let day = SignedDuration::from_hours(24);
    let (from, before) = (first() + day * 2, first() + day * 3);
    let third = Wanted { from: Some(from), before: Some(before), ..Wanted::default() };
    let page = newest(&read, &third, None, 5_000).unwrap();
    assert_eq!((page.lines.len(), page.lines[0].0, page.older), (1_440, 4_320, None));
    let Part { lines, last } = range(&read, &third, 0, 100_000).unwrap();
    assert_eq!(
        (lines.len(), last),
        (1_440, Some(5_760)),
        "a day beside it is looked at, for clocks that were set back"
    );
    assert_eq!(range(&read, &third, 5_760, 10).unwrap().last, None);
}
