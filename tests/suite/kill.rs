//! SIGKILL at any moment: what was acknowledged is there, and the file opens. The child is this test binary
//! itself, told by an environment variable which file to write.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use vynos::clock::Random;
use vynos::seal::{DataKey, MasterKey, Use, WrappedKey};
use vynos::store::{File, Read as _, StoreError, Table};

const ROWS: Table<u64, String> = Table::new("rows", 1);
const CACHE: usize = 2 << 20;
const CHILD: &str = "VYNOS_TEST_KILL_CHILD";

fn key(dir: &std::path::Path) -> DataKey {
    let master = MasterKey::load(&dir.join("master.key")).unwrap();
    master.unwrap_key(&WrappedKey(std::fs::read(dir.join("key")).unwrap()), "test").unwrap()
}

/// Not a test of its own: the child of the next one.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let dir = std::path::PathBuf::from(dir);
    let file = File::open(&dir.join("a.redb"), &key(&dir).sub(Use::Pages), CACHE).unwrap();
    let last = file.snapshot().unwrap().get(&ROWS, &0).unwrap().map_or(0, |v| v.parse::<u64>().unwrap());
    let random = Random::system();
    let mut pipe = std::io::stderr();
    for n in last + 1.. {
        file.write(|tx| {
            tx.put(&ROWS, &0, &n.to_string())?;
            for _ in 0..4 {
                let text = format!("{n} {}", "x".repeat(random.below(6000) as usize));
                tx.put(&ROWS, &(1 + random.below(300)), &text)?;
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
        pipe.write_all(&n.to_be_bytes()).unwrap();
    }
}

#[test]
fn two_hundred_kills_lose_no_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let master = MasterKey::create(&dir.path().join("master.key")).unwrap();
    let data = DataKey::new();
    std::fs::write(dir.path().join("key"), master.wrap(&data, "test").0).unwrap();
    let path = dir.path().join("a.redb");
    drop(File::create(&path, &data.sub(Use::Pages), CACHE).unwrap());
    let random = Random::seeded(99);
    let (mut acknowledged, mut written) = (0u64, 0u64);
    for round in 0..200 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "kill::child_that_writes_until_it_is_killed",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stderr.take().unwrap();
        let mut number = [0; 8];
        for _ in 0..random.below(6) {
            pipe.read_exact(&mut number).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = Vec::new();
        pipe.read_to_end(&mut rest).unwrap();
        let last = rest.chunks_exact(8).last().map_or(number, |b| b.try_into().unwrap());
        acknowledged = acknowledged.max(u64::from_be_bytes(last));
        let file =
            File::open(&path, &data.sub(Use::Pages), CACHE).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let read = file.snapshot().unwrap();
        let found = read.get(&ROWS, &0).unwrap().map_or(0, |v| v.parse::<u64>().unwrap());
        assert!(found >= acknowledged, "round {round}: {acknowledged} was acknowledged, {found} is there");
        assert!(found <= acknowledged + 1, "round {round}");
        for (key, value) in read.scan(&ROWS).from(&1u64).rows().unwrap() {
            let n: u64 = value.split(' ').next().unwrap().parse().unwrap();
            assert!(n <= found, "round {round}: row {key} is of commit {n}, which did not happen");
        }
        written = found;
    }
    assert!(written > 200, "only {written} commits");
}
