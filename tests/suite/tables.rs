//! Typed tables against a BTreeMap, and keys that sort as their parts do.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vynos::seal::{DataKey, Use};
use vynos::store::{File, Key, Read as _, StoreError, Table};

const T: Table<(String, u64), String> = Table::new("t", 1);

#[derive(Clone, Debug)]
enum Step {
    Put(String, u64, String),
    Remove(String, u64),
    RemoveUnder(String),
    Fail(String, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || "[ab\\x00\\xff]{0,3}";
    prop_oneof![
        4 => (name(), 0..5u64, ".{0,20}").prop_map(|(a, b, c)| Step::Put(a, b, c)),
        2 => (name(), 0..5u64).prop_map(|(a, b)| Step::Remove(a, b)),
        1 => name().prop_map(Step::RemoveUnder),
        1 => (name(), 0..5u64).prop_map(|(a, b)| Step::Fail(a, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_table_behaves_as_a_sorted_map(steps in prop::collection::vec(step(), 1..40), limit in 1..6usize) {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(&dir.path().join("a.redb"), &DataKey::new().sub(Use::Pages), 1 << 20).unwrap();
        let mut model: BTreeMap<(String, u64), String> = BTreeMap::new();
        for step in steps {
            let applied = file.write(|tx| {
                match step.clone() {
                    Step::Put(a, b, c) => tx.put(&T, &(a, b), &c)?,
                    Step::Remove(a, b) => { tx.remove(&T, &(a, b))?; }
                    Step::RemoveUnder(a) => { tx.remove_under(&T, &a)?; }
                    Step::Fail(a, b) => {
                        tx.put(&T, &(a, b), &"must not stay".into())?;
                        return Err(StoreError::DiskFull);
                    }
                }
                Ok(())
            });
            match step {
                Step::Put(a, b, c) => { model.insert((a, b), c); }
                Step::Remove(a, b) => { model.remove(&(a, b)); }
                Step::RemoveUnder(a) => model.retain(|(x, _), _| *x != a),
                Step::Fail(..) => prop_assert!(applied.is_err()),
            }
        }
        let read = file.snapshot().unwrap();
        let all: Vec<_> = model.clone().into_iter().collect();
        prop_assert_eq!(read.scan(&T).rows().unwrap(), all.clone());
        let mut backwards = all.clone();
        backwards.reverse();
        prop_assert_eq!(read.scan(&T).reverse().rows().unwrap(), backwards);
        // Pages by cursor see every row once, in both directions.
        let mut paged = Vec::new();
        let mut cursor: Option<(String, u64)> = None;
        loop {
            let mut scan = read.scan(&T).limit(limit);
            if let Some(key) = &cursor { scan = scan.after(key); }
            let rows = scan.rows().unwrap();
            let Some((last, _)) = rows.last() else { break };
            cursor = Some(last.clone());
            paged.extend(rows);
        }
        prop_assert_eq!(paged, all);
        for name in ["", "a", "ab", "\u{0}"] {
            let under: Vec<_> = model.iter().filter(|((a, _), _)| a == name).map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert_eq!(read.scan(&T).under(&name.to_owned()).rows().unwrap(), under);
        }
    }

    #[test]
    fn composite_keys_sort_as_their_parts(a in any::<(String, u64)>(), b in any::<(String, u64)>()) {
        let order = (a.0.as_bytes(), a.1).cmp(&(b.0.as_bytes(), b.1));
        prop_assert_eq!(a.encoded().cmp(&b.encoded()), order);
        let bytes = a.encoded();
        prop_assert_eq!(<(String, u64)>::read(&mut bytes.as_slice()), Some(a));
    }
}
