//! Simulated power loss under the page-encrypted store: of every 512-byte sector written since the last sync
//! a random prefix of its history survives. No acknowledged commit may be lost, none may be half there. The same
//! disk can be full, fail, and tell which nonces were written.

#![expect(clippy::disallowed_types, reason = "this drives the engine below the store")]

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use redb::{Database, Durability, ReadableDatabase as _, TableDefinition};
use vynos::clock::Random;
use vynos::seal::{DataKey, SubKey, Use};
use vynos::store::StoreError;
use vynos::store::pages::{OpenError, Opened, create_with, open_with};

const SECTOR: usize = 512;
const CACHE: usize = 4 << 20;
const T: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("t");

#[derive(Debug, Default)]
struct Disk {
    stable: Vec<u8>,
    view: Vec<u8>,
    /// Unsynced history of each sector.
    pending: BTreeMap<u64, Vec<[u8; SECTOR]>>,
    /// Writes and changes of length so far.
    writes: u64,
    /// What was written where, when somebody wants to know.
    log: Option<Vec<(u64, Vec<u8>)>>,
    dies_after: Option<u64>,
    /// The most bytes it holds.
    room: Option<usize>,
    /// Ignores syncs: the control that shows the harness bites.
    lies: bool,
}

#[derive(Clone, Debug, Default)]
struct Sim(Arc<Mutex<Disk>>);

impl Sim {
    fn dies_after(&self, writes: u64) {
        self.0.lock().unwrap().dies_after = Some(writes);
    }

    fn room(&self, bytes: Option<usize>) {
        self.0.lock().unwrap().room = bytes;
    }

    fn record(&self) {
        self.0.lock().unwrap().log = Some(Vec::new());
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().view.len()
    }

    /// The disk as found after the power came back: an unsynced change of length is there or is not, and with
    /// a lost growth goes all that was written past the old end.
    fn crash(&self, random: &Random) -> Self {
        let disk = self.0.lock().unwrap();
        let mut image = disk.stable.clone();
        if random.below(2) == 0 {
            image.resize(disk.view.len(), 0);
        }
        for (sector, history) in &disk.pending {
            let kept = random.below(history.len() as u64 + 1) as usize;
            let start = *sector as usize * SECTOR;
            if kept == 0 || start >= image.len() {
                continue;
            }
            let end = (start + SECTOR).min(image.len());
            image[start..end].copy_from_slice(&history[kept - 1][..end - start]);
        }
        Self(Arc::new(Mutex::new(Disk { view: image.clone(), stable: image, ..Disk::default() })))
    }

    fn alive(disk: &Disk) -> io::Result<()> {
        match disk.dies_after {
            Some(n) if disk.writes >= n => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }

    fn fits(disk: &Disk, bytes: usize) -> io::Result<()> {
        match disk.room {
            Some(room) if bytes > room => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Sim {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().view.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let start = offset as usize;
        let bytes = disk.view.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        Self::alive(&disk)?;
        Self::fits(&disk, len as usize)?;
        disk.writes += 1;
        disk.view.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        Self::alive(&disk)?;
        if !disk.lies {
            let Disk { stable, view, .. } = &mut *disk;
            stable.clone_from(view);
            disk.pending.clear();
        }
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        Self::alive(&disk)?;
        let (start, end) = (offset as usize, offset as usize + data.len());
        Self::fits(&disk, end)?;
        disk.writes += 1;
        if let Some(log) = &mut disk.log {
            log.push((offset, data.to_vec()));
        }
        if disk.view.len() < end {
            disk.view.resize(end, 0);
        }
        disk.view[start..end].copy_from_slice(data);
        for sector in start / SECTOR..=(end - 1) / SECTOR {
            let to = ((sector + 1) * SECTOR).min(disk.view.len());
            let mut bytes = [0; SECTOR];
            bytes[..to - sector * SECTOR].copy_from_slice(&disk.view[sector * SECTOR..to]);
            disk.pending.entry(sector as u64).or_default().push(bytes);
        }
        Ok(())
    }
}

fn open(disk: &Sim, key: &SubKey) -> Result<Opened, OpenError> {
    open_with(|| Ok(disk.clone()), key, CACHE)
}

/// Commits until the disk refuses; commit i writes i under 0 and up to five other rows. Answers the last
/// commit that was acknowledged as durable, and the refusal.
fn work(db: &Database, from: u64, random: &Random) -> (u64, Option<redb::Error>) {
    let mut acknowledged = from;
    for i in from + 1..from + 120 {
        let commit = || -> Result<bool, redb::Error> {
            let mut tx = db.begin_write()?;
            let durable = random.below(3) != 0;
            if !durable {
                tx.set_durability(Durability::None)?;
            }
            {
                let mut table = tx.open_table(T)?;
                table.insert(0, i.to_be_bytes().as_slice())?;
                for _ in 0..5 {
                    let (key, size) = (1 + random.below(120), 50 + random.below(6000) as usize);
                    if random.below(4) == 0 {
                        table.remove(key)?;
                    } else {
                        table.insert(key, vec![i as u8; size].as_slice())?;
                    }
                }
            }
            tx.commit()?;
            Ok(durable)
        };
        match commit() {
            Ok(true) => acknowledged = i,
            Ok(false) => {}
            Err(error) => return (acknowledged, Some(error)),
        }
    }
    (acknowledged, None)
}

fn check(db: &mut Database, acknowledged: u64) -> Result<u64, String> {
    let found = {
        let tx = db.begin_read().map_err(|e| e.to_string())?;
        match tx.open_table(T) {
            Err(redb::TableError::TableDoesNotExist(_)) if acknowledged == 0 => 0,
            Err(e) => return Err(e.to_string()),
            Ok(table) => {
                let last = table.get(0).map_err(|e| e.to_string())?;
                for row in table.range(1..).map_err(|e| e.to_string())? {
                    let (_, value) = row.map_err(|e| e.to_string())?;
                    let value = value.value();
                    if value.iter().any(|b| *b != value[0]) {
                        return Err("a value mixes two commits".into());
                    }
                }
                last.map_or(0, |v| u64::from_be_bytes(v.value().try_into().unwrap()))
            }
        }
    };
    if found < acknowledged {
        return Err(format!("commit {acknowledged} was acknowledged, {found} is there"));
    }
    match db.check_integrity() {
        Ok(true) => Ok(found),
        other => Err(format!("integrity: {other:?}")),
    }
}

#[test]
fn five_hundred_power_losses_lose_nothing_that_was_acknowledged() {
    let key = DataKey::new().sub(Use::Pages);
    let (mut checked, mut torn) = (0, 0);
    for seed in 0..175u64 {
        let random = Random::seeded(seed * 7919 + 1);
        let mut disk = Sim::default();
        drop(create_with(|| Ok(disk.clone()), &key, CACHE).unwrap());
        let mut acknowledged = 0;
        for generation in 0..3 {
            // Some die inside opening and repair.
            let early = generation > 0 && random.below(4) == 0;
            disk.dies_after(if early { random.below(8) } else { random.below(160) });
            if let Ok(opened) = open(&disk, &key) {
                (acknowledged, _) = work(&opened.db, acknowledged, &random);
            }
            disk = disk.crash(&random);
            // A copy is checked, the image itself goes on.
            let mut opened = open(&disk.crash(&random), &key)
                .unwrap_or_else(|e| panic!("seed {seed} generation {generation}: {e}"));
            torn += opened.repaired_pages;
            acknowledged = check(&mut opened.db, acknowledged)
                .unwrap_or_else(|e| panic!("seed {seed} generation {generation}: {e}"));
            checked += 1;
        }
    }
    assert!(checked >= 500, "{checked}");
    assert!(torn > 0, "the simulation never tore a page, so it proves nothing");
}

#[test]
fn a_disk_that_ignores_syncs_is_noticed_by_this_harness() {
    let key = DataKey::new().sub(Use::Pages);
    let mut noticed = 0;
    for seed in 0..40u64 {
        let random = Random::seeded(seed + 1);
        let disk = Sim::default();
        drop(create_with(|| Ok(disk.clone()), &key, CACHE).unwrap());
        disk.0.lock().unwrap().lies = true;
        disk.dies_after(200);
        let acknowledged = match open(&disk, &key) {
            Ok(opened) => work(&opened.db, 0, &random).0,
            Err(_) => continue,
        };
        let fine = match open(&disk.crash(&random), &key) {
            Ok(mut opened) => check(&mut opened.db, acknowledged).is_ok(),
            Err(_) => false,
        };
        noticed += u32::from(!fine);
    }
    assert!(noticed > 10, "only {noticed} of 40");
}

/// Commits on a new disk after `spoil` has limited it, until it refuses. Then the disk is well again, and what
/// it holds is opened and checked. Answers the refusal.
fn refusal(seed: u64, spoil: impl Fn(&Sim)) -> Option<io::ErrorKind> {
    let key = DataKey::new().sub(Use::Pages);
    let disk = Sim::default();
    drop(create_with(|| Ok(disk.clone()), &key, CACHE).unwrap());
    spoil(&disk);
    let (acknowledged, error) = match open(&disk, &key) {
        Ok(opened) => work(&opened.db, 0, &Random::seeded(seed)),
        Err(OpenError::Io(error)) => (0, Some(error.into())),
        Err(other) => panic!("{seed}: {other}"),
    };
    disk.0.lock().unwrap().dies_after = None;
    disk.room(None);
    let mut opened = open(&disk, &key).unwrap_or_else(|e| panic!("{seed}: {e}"));
    check(&mut opened.db, acknowledged).unwrap_or_else(|e| panic!("{seed}: {e}"));
    match error? {
        redb::Error::Io(error) => Some(error.kind()),
        other => panic!("{seed}: {other}"),
    }
}

#[test]
fn a_disk_that_fails_at_the_nth_write_tells_so_and_keeps_the_last_commit() {
    for n in 0..80 {
        let kind = refusal(n, |disk| {
            let already = disk.0.lock().unwrap().writes;
            disk.dies_after(already + n);
        });
        assert_eq!(kind, Some(io::ErrorKind::Other), "write {n}");
    }
}

#[test]
fn a_full_disk_is_told_as_full_and_keeps_the_last_commit() {
    let mut full = 0;
    for n in 0..40 {
        match refusal(n, |disk| disk.room(Some(disk.len() + n as usize * 30_000))) {
            None => {}
            Some(kind) => {
                assert!(
                    matches!(StoreError::from(io::Error::from(kind)), StoreError::DiskFull),
                    "{n}: {kind}"
                );
                full += 1;
            }
        }
    }
    assert!(full > 20, "only {full} of 40 met the end of the disk");
}

#[test]
fn a_file_cannot_be_made_on_a_full_disk() {
    let key = DataKey::new().sub(Use::Pages);
    for room in [0, 3000, 5000, 20_000] {
        let disk = Sim::default();
        disk.room(Some(room));
        match create_with(|| Ok(disk.clone()), &key, CACHE) {
            Err(OpenError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{room}"),
            other => panic!("{room}: {other:?}"),
        }
    }
}

/// Every nonce that was written: of the header slots and of the units.
fn nonces(writes: &[(u64, Vec<u8>)]) -> Vec<[u8; 12]> {
    let mut found = Vec::new();
    for (offset, data) in writes {
        match offset {
            0 | 512 => {}
            1024 | 1536 => found.push(data[8..20].try_into().unwrap()),
            _ => found.extend(data.chunks_exact(4128).map(|unit| <[u8; 12]>::try_from(&unit[..12]).unwrap())),
        }
    }
    found
}

#[test]
fn copies_of_a_file_never_write_under_one_nonce_twice() {
    let key = DataKey::new().sub(Use::Pages);
    let random = Random::seeded(11);
    let mut seen = HashSet::new();
    let mut take = |disk: &Sim| {
        for nonce in nonces(&disk.0.lock().unwrap().log.take().unwrap_or_default()) {
            assert!(seen.insert(nonce), "a nonce was used twice");
        }
        seen.len()
    };
    let disk = Sim::default();
    disk.record();
    drop(create_with(|| Ok(disk.clone()), &key, CACHE).unwrap());
    let (acknowledged, _) = work(&open(&disk, &key).unwrap().db, 0, &random);
    take(&disk);
    // The same image each time, as after a restored snapshot: one key, one salt.
    for life in 0..12 {
        let copy = disk.crash(&random);
        copy.record();
        copy.dies_after(100 + life * 20);
        work(&open(&copy, &key).unwrap().db, acknowledged, &random);
        take(&copy);
        // And once more after its power was lost.
        let copy = copy.crash(&random);
        copy.record();
        work(&open(&copy, &key).unwrap().db, acknowledged, &random);
        assert!(take(&copy) > life as usize * 500);
    }
}
