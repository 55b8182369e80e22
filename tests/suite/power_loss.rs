//! Simulated power loss under the page-encrypted store: of every 512-byte sector written since the last sync
//! a random prefix of its history survives. No acknowledged commit may be lost, none may be half there.

#![expect(clippy::disallowed_types, reason = "this drives the engine below the store")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use redb::{Database, Durability, ReadableDatabase as _, TableDefinition};
use vynos::clock::Random;
use vynos::seal::{DataKey, SubKey, Use};
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
    writes: u64,
    dies_after: Option<u64>,
    /// Ignores syncs: the control that shows the harness bites.
    lies: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Sim(Arc<Mutex<Disk>>);

impl Sim {
    pub fn dies_after(&self, writes: u64) {
        self.0.lock().unwrap().dies_after = Some(writes);
    }

    /// The disk as found after the power came back.
    pub fn crash(&self, random: &Random) -> Self {
        let disk = self.0.lock().unwrap();
        let mut image = disk.stable.clone();
        if random.below(2) == 0 || disk.view.len() > image.len() {
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
        self.0.lock().unwrap().view.resize(len as usize, 0);
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
        disk.writes += 1;
        let (start, end) = (offset as usize, offset as usize + data.len());
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

/// Commits until the disk dies; commit i writes i under 0 and up to five other rows. Answers the last
/// commit that was acknowledged as durable.
fn work(db: &Database, from: u64, random: &Random) -> u64 {
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
            Err(_) => return acknowledged,
        }
    }
    acknowledged
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
                acknowledged = work(&opened.db, acknowledged, &random);
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
            Ok(opened) => work(&opened.db, 0, &random),
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

#[test]
fn a_disk_that_fails_at_the_nth_write_tells_so_and_keeps_the_last_commit() {
    let key = DataKey::new().sub(Use::Pages);
    for n in (0..60).step_by(3) {
        let disk = Sim::default();
        drop(create_with(|| Ok(disk.clone()), &key, CACHE).unwrap());
        let already = disk.0.lock().unwrap().writes;
        disk.dies_after(already + n);
        let acknowledged = match open(&disk, &key) {
            Ok(opened) => work(&opened.db, 0, &Random::seeded(n)),
            Err(_) => 0,
        };
        disk.0.lock().unwrap().dies_after = None;
        let mut opened = open(&disk, &key).unwrap();
        assert!(check(&mut opened.db, acknowledged).is_ok(), "after write {n}");
    }
}
