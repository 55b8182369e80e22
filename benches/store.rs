//! The encrypted store against plain redb: the same rows, the same commits.

use redb::{ReadableDatabase as _, TableDefinition};
use vynos::seal::{DataKey, Use};
use vynos::store::{File, Read as _, StoreError, Table};

use super::{median, timed};

const ROWS: u64 = 100_000;
const IN_ONE: u64 = 10_000;
const READS: u64 = 200_000;
const OURS: Table<u64, String> = Table::new("rows", 1);
/// Keys of the same bytes and values of the same JSON, so that what differs is the store.
const PLAIN: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

fn row(n: u64) -> String {
    format!("row {n} {}", "of a catalogue, a message or a passage ".repeat(5))
}

pub fn measure() {
    let mut ours = (0.0, 0.0);
    let mut plain = (0.0, 0.0);
    ours.0 = median(|| load_ours().1);
    plain.0 = median(|| load_plain().1);
    let (dir, _) = load_ours();
    let file = File::open(&dir.path().join("a.redb"), &key(), 64 << 20).unwrap();
    ours.1 = median(|| read_ours(&file));
    let (dir, _) = load_plain();
    #[expect(clippy::disallowed_types, reason = "the baseline is the engine without the store")]
    let db = redb::Database::open(dir.path().join("a.redb")).unwrap();
    plain.1 = median(|| {
        let tx = db.begin_read().unwrap();
        let table = tx.open_table(PLAIN).unwrap();
        let ((), took) = timed(|| {
            for n in 0..READS {
                let value = table.get((n * 7919 % ROWS).to_be_bytes().as_slice()).unwrap().unwrap();
                // The same work as ours does with a value: it is JSON.
                let _: String = serde_json::from_slice(&value.value()[1..]).unwrap();
            }
        });
        READS as f64 / took.as_secs_f64()
    });
    println!(
        "store: bulk load {:.0} rows/s, plain redb {:.0}, ratio {:.2} (at least 0.55)",
        ours.0,
        plain.0,
        ours.0 / plain.0
    );
    println!(
        "store: warm reads {:.0}/s, plain redb {:.0}, ratio {:.2} (at least 0.9)",
        ours.1,
        plain.1,
        ours.1 / plain.1
    );
}

fn key() -> vynos::seal::SubKey {
    thread_local! { static KEY: DataKey = DataKey::new(); }
    KEY.with(|key| key.sub(Use::Pages))
}

fn load_ours() -> (tempfile::TempDir, f64) {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(&dir.path().join("a.redb"), &key(), 64 << 20).unwrap();
    let ((), took) = timed(|| {
        for first in (0..ROWS).step_by(IN_ONE as usize) {
            file.write(|tx| {
                for n in first..first + IN_ONE {
                    tx.put(&OURS, &n, &row(n))?;
                }
                Ok::<_, StoreError>(())
            })
            .unwrap();
        }
    });
    (dir, ROWS as f64 / took.as_secs_f64())
}

fn load_plain() -> (tempfile::TempDir, f64) {
    let dir = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_types, reason = "the baseline is the engine without the store")]
    let db = redb::Database::builder().set_cache_size(64 << 20).create(dir.path().join("a.redb")).unwrap();
    let ((), took) = timed(|| {
        for first in (0..ROWS).step_by(IN_ONE as usize) {
            let tx = db.begin_write().unwrap();
            {
                let mut table = tx.open_table(PLAIN).unwrap();
                for n in first..first + IN_ONE {
                    let mut value = vec![1];
                    value.extend(serde_json::to_vec(&row(n)).unwrap());
                    table.insert(n.to_be_bytes().as_slice(), value.as_slice()).unwrap();
                }
            }
            tx.commit().unwrap();
        }
    });
    (dir, ROWS as f64 / took.as_secs_f64())
}

fn read_ours(file: &File) -> f64 {
    let read = file.snapshot().unwrap();
    let ((), took) = timed(|| {
        for n in 0..READS {
            assert!(read.get(&OURS, &(n * 7919 % ROWS)).unwrap().is_some());
        }
    });
    READS as f64 / took.as_secs_f64()
}
