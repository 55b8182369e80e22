//! One flipped bit anywhere in a data file: an error or the right data, never other data. And copies of one
//! file that are both written to never share a nonce.

use std::collections::HashSet;
use std::path::Path;

use vynos::clock::Random;
use vynos::seal::{DataKey, SubKey, Use};
use vynos::store::{File, Read as _, StoreError, Table};

const ROWS: Table<u64, String> = Table::new("rows", 1);
const CACHE: usize = 1 << 20;

fn filled(path: &Path, key: &SubKey) {
    let file = File::create(path, key, CACHE).unwrap();
    file.write(|tx| {
        for n in 0..1500u64 {
            tx.put(&ROWS, &n, &format!("{n}-{}", "a".repeat(500)))?;
        }
        Ok::<_, StoreError>(())
    })
    .unwrap();
}

/// Every row, or the error that stopped the reading.
fn read(path: &Path, key: &SubKey) -> Result<Vec<(u64, String)>, StoreError> {
    File::open(path, key, CACHE)?.snapshot()?.scan(&ROWS).rows()
}

#[test]
fn a_flipped_bit_never_gives_wrong_data() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let key = DataKey::new().sub(Use::Pages);
    filled(&path, &key);
    let good = read(&path, &key).unwrap();
    let image = std::fs::read(&path).unwrap();
    let random = Random::seeded(5);
    let (mut told, mut harmless) = (0, 0);
    let trials = (0..330u64).map(|n| if n < 64 { n * 32 } else { random.below(image.len() as u64) });
    for at in trials {
        let mut damaged = image.clone();
        damaged[at as usize] ^= 1 << random.below(8);
        std::fs::write(&path, &damaged).unwrap();
        match read(&path, &key) {
            Err(StoreError::Damaged(_) | StoreError::WrongKey(_)) => told += 1,
            Err(other) => panic!("byte {at}: {other}"),
            Ok(rows) => {
                assert!(rows == good, "byte {at}: wrong data");
                harmless += 1;
            }
        }
    }
    assert!(told > 200, "told {told}, harmless {harmless}");
}

/// One bad page costs the rows on it and nothing else: after the first error the rest is still read. (A page
/// that opening itself needs, or an inner one, costs more; those are the few.)
#[test]
fn a_damaged_page_does_not_take_the_rest_of_the_file_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let key = DataKey::new().sub(Use::Pages);
    filled(&path, &key);
    let image = std::fs::read(&path).unwrap();
    let units = (image.len() - 4096) / 4128;
    let (mut opened, mut hit, mut local) = (0, 0, 0);
    let trials = 40;
    for trial in 0..trials {
        let mut damaged = image.clone();
        damaged[4096 + (units * trial / trials) * 4128 + 100] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let file = match File::open(&path, &key, CACHE) {
            Ok(file) => file,
            Err(StoreError::Damaged(_)) => continue,
            Err(other) => panic!("trial {trial}: {other}"),
        };
        opened += 1;
        let mut bad = 0;
        for n in 0..1500u64 {
            match file.snapshot().and_then(|read| read.get(&ROWS, &n)) {
                Ok(Some(row)) => assert!(row.starts_with(&format!("{n}-")), "wrong data"),
                Ok(None) => panic!("row {n} vanished"),
                Err(StoreError::Damaged(_)) => bad += 1,
                Err(other) => panic!("row {n}: {other}"),
            }
        }
        hit += u32::from(bad > 0);
        local += u32::from(bad < 100);
    }
    assert!(opened > trials / 2, "only {opened} of {trials} opened");
    assert!(hit > 5, "only {hit} flips met a row");
    assert!(local as usize > opened * 9 / 10, "{local} of {opened} stayed local");
}

#[test]
fn another_key_is_told_apart_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    filled(&path, &DataKey::new().sub(Use::Pages));
    assert!(matches!(read(&path, &DataKey::new().sub(Use::Pages)), Err(StoreError::WrongKey(_))));
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(read(&path, &DataKey::new().sub(Use::Pages)), Err(StoreError::Damaged(_))));
}

/// Nonces of the header slots and of every written unit.
fn nonces(path: &Path) -> Vec<([u8; 12], Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let mut found = Vec::new();
    for slot in [1024usize, 1536] {
        found.push((bytes[slot + 8..slot + 20].try_into().unwrap(), bytes[slot..slot + 512].to_vec()));
    }
    for unit in bytes[4096..].chunks_exact(4128) {
        found.push((unit[..12].try_into().unwrap(), unit.to_vec()));
    }
    found.retain(|(nonce, _)| *nonce != [0; 12]);
    found
}

#[test]
fn copies_of_a_file_that_are_both_written_share_no_nonce() {
    let dir = tempfile::tempdir().unwrap();
    let key = DataKey::new().sub(Use::Pages);
    let first = dir.path().join("a.redb");
    filled(&first, &key);
    let mut seen: HashSet<([u8; 12], Vec<u8>)> = nonces(&first).into_iter().collect();
    let copies: Vec<_> = (0..3).map(|n| dir.path().join(format!("copy{n}.redb"))).collect();
    for copy in &copies {
        std::fs::copy(&first, copy).unwrap();
    }
    for (n, copy) in copies.iter().enumerate() {
        let file = File::open(copy, &key, CACHE).unwrap();
        for round in 0..20u64 {
            file.write(|tx| tx.put(&ROWS, &round, &format!("copy {n} round {round}"))).unwrap();
        }
        drop(file);
        seen.extend(nonces(copy));
    }
    let distinct: HashSet<[u8; 12]> = seen.iter().map(|(nonce, _)| *nonce).collect();
    assert_eq!(distinct.len(), seen.len(), "a nonce stands over two different contents");
}

#[test]
fn a_file_is_for_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let key = DataKey::new().sub(Use::Pages);
    filled(&path, &key);
    let held = File::open(&path, &key, CACHE).unwrap();
    assert!(matches!(File::open(&path, &key, CACHE), Err(StoreError::Locked(_))));
    drop(held);
    assert!(File::open(&path, &key, CACHE).is_ok());
}

#[test]
fn compaction_gives_removed_bytes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let key = DataKey::new().sub(Use::Pages);
    filled(&path, &key);
    let file = File::open(&path, &key, CACHE).unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    file.write(|tx| tx.remove_under(&ROWS, &())).unwrap();
    assert!(file.compact().unwrap());
    drop(file);
    assert!(std::fs::metadata(&path).unwrap().len() < before / 2);
    assert!(read(&path, &key).unwrap().is_empty());
}
