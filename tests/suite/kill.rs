//! SIGKILL at any moment, and a limit that stops the file from growing: what was acknowledged is there, and the
//! file opens. The child is this test binary itself, told by an environment variable which file to write.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

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

/// A folder with a master key, a wrapped data key and an empty file `a.redb`.
fn prepared() -> (tempfile::TempDir, DataKey) {
    let dir = tempfile::tempdir().unwrap();
    let master = MasterKey::create(&dir.path().join("master.key")).unwrap();
    let data = DataKey::new();
    std::fs::write(dir.path().join("key"), master.wrap(&data, "test").0).unwrap();
    drop(File::create(&dir.path().join("a.redb"), &data.sub(Use::Pages), CACHE).unwrap());
    (dir, data)
}

/// Writes commit after commit and tells each on stderr, eight bytes a number, until one is refused.
fn write_until_refused(dir: &std::path::Path) -> StoreError {
    let file = File::open(&dir.join("a.redb"), &key(dir).sub(Use::Pages), CACHE).unwrap();
    let mut n = file.snapshot().unwrap().get(&ROWS, &0).unwrap().map_or(0, |v| v.parse::<u64>().unwrap());
    let random = Random::system();
    let mut pipe = std::io::stderr();
    loop {
        n += 1;
        let written = file.write(|tx| {
            tx.put(&ROWS, &0, &n.to_string())?;
            for _ in 0..4 {
                let text = format!("{n} {}", "x".repeat(random.below(6000) as usize));
                tx.put(&ROWS, &(1 + random.below(300 + n)), &text)?;
            }
            Ok::<_, StoreError>(())
        });
        if let Err(error) = written {
            return error;
        }
        pipe.write_all(&n.to_be_bytes()).unwrap();
    }
}

/// Checks that no row is of a later commit than the last one there, and answers that one.
fn last_commit(dir: &std::path::Path, data: &DataKey) -> u64 {
    let file = File::open(&dir.join("a.redb"), &data.sub(Use::Pages), CACHE).unwrap();
    let read = file.snapshot().unwrap();
    let last = read.get(&ROWS, &0).unwrap().map_or(0, |v| v.parse::<u64>().unwrap());
    for (key, value) in read.scan(&ROWS).from(&1u64).rows().unwrap() {
        let n: u64 = value.split(' ').next().unwrap().parse().unwrap();
        assert!(n <= last, "row {key} is of commit {n}, which did not happen");
    }
    last
}

/// Not a test of its own: the child of the next ones.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let error = write_until_refused(dir.as_ref());
    std::fs::write(std::path::Path::new(&dir).join("refusal"), format!("{error:?}")).unwrap();
}

/// What runs the child: this binary, filtered to it; after `prefix`, when that is not empty.
fn child(prefix: &[&str], dir: &std::path::Path) -> Child {
    let own = std::env::current_exe().unwrap();
    let filter = ["kill::child_that_writes_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"];
    let line: Vec<&std::ffi::OsStr> = prefix
        .iter()
        .map(AsRef::as_ref)
        .chain([own.as_os_str()])
        .chain(filter.iter().map(AsRef::as_ref))
        .collect();
    Command::new(line[0])
        .args(&line[1..])
        .env(CHILD, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn two_hundred_kills_lose_no_acknowledged_write() {
    let (dir, data) = prepared();
    let random = Random::seeded(99);
    let (mut acknowledged, mut killed_writing) = (0u64, 0);
    for round in 0..220 {
        let mut child = child(&[], dir.path());
        let mut pipe = child.stderr.take().unwrap();
        let mut number = [0; 8];
        for _ in 0..random.below(6) {
            pipe.read_exact(&mut number).unwrap();
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "round {round}: the child ended by itself");
        let mut rest = Vec::new();
        pipe.read_to_end(&mut rest).unwrap();
        let last = rest.chunks_exact(8).last().map_or(number, |b| b.try_into().unwrap());
        killed_writing += u32::from(last != [0; 8]);
        acknowledged = acknowledged.max(u64::from_be_bytes(last));
        let found = last_commit(dir.path(), &data);
        assert!(found >= acknowledged, "round {round}: {acknowledged} was acknowledged, {found} is there");
        assert!(found <= acknowledged + 1, "round {round}");
        acknowledged = found;
    }
    assert!(killed_writing >= 150 && acknowledged > 220, "{killed_writing} kills, {acknowledged} commits");
}

#[test]
fn a_file_that_may_not_grow_refuses_and_keeps_every_acknowledged_write() {
    for times in [1, 10, 40] {
        let (dir, data) = prepared();
        let blocks = times * std::fs::metadata(dir.path().join("a.redb")).unwrap().len() / 512 + 100;
        // The signal of the limit is ignored, so that writing fails instead.
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let ended = child(&["sh", "-c", &limit], dir.path()).wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let refusal = std::fs::read_to_string(dir.path().join("refusal")).unwrap();
        assert!(refusal.starts_with("Io(") && refusal.contains("FileTooLarge"), "{refusal}");
        let acknowledged =
            ended.stderr.chunks_exact(8).last().map_or(0, |b| u64::from_be_bytes(b.try_into().unwrap()));
        assert!(acknowledged > 0);
        let found = last_commit(dir.path(), &data);
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{acknowledged} acknowledged, {found} there"
        );
        let file = File::open(&dir.path().join("a.redb"), &data.sub(Use::Pages), CACHE).unwrap();
        file.verify().unwrap();
        file.write(|tx| tx.put(&ROWS, &0, &"1".to_owned())).unwrap();
    }
}
