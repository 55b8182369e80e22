//! The sealed directory beside tantivy's own in-memory one, and under damage.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tantivy::collector::TopDocs;
use tantivy::directory::{INDEX_WRITER_LOCK, RamDirectory};
use tantivy::query::QueryParser;
use tantivy::schema::{STORED, Schema, TEXT, Value as _};
use tantivy::{Index, IndexSettings, IndexWriter, ReloadPolicy, TantivyDocument, Term};

use super::*;
use crate::seal::{DataKey, Use};

fn fresh(key: &SubKey) -> (tempfile::TempDir, SealedDirectory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = SealedDirectory::open(folder.path(), key.clone(), ChunkCache::new(64 * CHUNK)).unwrap();
    (folder, directory)
}

fn key() -> SubKey {
    DataKey::new().sub(Use::Index)
}

fn put(directory: &dyn Directory, name: &str, data: &[u8]) {
    let mut writer = directory.open_write(Path::new(name)).unwrap();
    writer.write_all(data).unwrap();
    writer.terminate().unwrap();
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i / CHUNK) as u8).collect()
}

fn whole(directory: &SealedDirectory, name: &str) -> Result<Vec<u8>, String> {
    let file = directory.open_read(Path::new(name)).map_err(|e| e.to_string())?;
    Ok(file.read_bytes().map_err(|e| e.to_string())?.as_slice().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_range_reads_as_it_does_from_memory(
        len in prop_oneof![0usize..50, CHUNK - 2..CHUNK + 3, 2 * CHUNK - 2..2 * CHUNK + 3, 0..12 * CHUNK],
        pieces in prop::collection::vec(1usize..3 * CHUNK, 1..5),
        ranges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 12),
        cached in 0usize..4,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let sealed = SealedDirectory::open(folder.path(), key(), ChunkCache::new(cached * CHUNK)).unwrap();
        let (memory, data, name) = (RamDirectory::create(), bytes(len), Path::new("a.term"));
        for directory in [&sealed as &dyn Directory, &memory] {
            let mut writer = directory.open_write(name).unwrap();
            let (mut rest, mut piece) = (&data[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*piece.next().unwrap()));
                writer.write_all(now).unwrap();
                writer.flush().unwrap();
                rest = later;
            }
            writer.terminate().unwrap();
        }
        let (ours, theirs) = (sealed.open_read(name).unwrap(), memory.open_read(name).unwrap());
        prop_assert_eq!(ours.len(), theirs.len());
        for (a, b) in &ranges {
            let (a, b) = (a.index(len + 1), b.index(len + 1));
            let range = a.min(b)..a.max(b);
            let part = ours.slice(range.clone()).read_bytes().unwrap();
            prop_assert!(*part == *theirs.slice(range).read_bytes().unwrap());
        }
        prop_assert!(*ours.read_bytes().unwrap() == *data);
        prop_assert_eq!(sealed.atomic_read(name).unwrap(), data);
    }
}

#[test]
fn files_are_written_once_replaced_whole_and_readable_after_removal() {
    let key = key();
    let (folder, directory) = fresh(&key);
    let name = Path::new("a.store");
    assert!(!directory.exists(name).unwrap());
    assert!(matches!(directory.open_read(name), Err(OpenReadError::FileDoesNotExist(_))));
    assert!(matches!(directory.atomic_read(name), Err(OpenReadError::FileDoesNotExist(_))));
    assert!(matches!(directory.delete(name), Err(DeleteError::FileDoesNotExist(_))));
    let data = bytes(3 * CHUNK);
    put(&directory, "a.store", &data);
    assert!(matches!(directory.open_write(name), Err(OpenWriteError::FileAlreadyExists(_))));
    let held = directory.open_read(name).unwrap();
    directory.delete(name).unwrap();
    assert!(!directory.exists(name).unwrap());
    assert_eq!(held.read_bytes().unwrap().as_slice(), data);
    for len in [0, 5, 3 * CHUNK] {
        directory.atomic_write(Path::new("meta.json"), &data[..len]).unwrap();
        assert_eq!(directory.atomic_read(Path::new("meta.json")).unwrap(), &data[..len]);
    }
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["meta.json"], "a temporary file stayed");
}

#[test]
fn a_name_that_leaves_the_folder_is_refused() {
    let (_folder, directory) = fresh(&key());
    for name in ["../a", "/etc/passwd", "a/b", ".", "..", ""] {
        let name = Path::new(name);
        assert!(directory.open_write(name).is_err());
        assert!(directory.atomic_write(name, b"x").is_err());
        assert!(matches!(directory.atomic_read(name), Err(OpenReadError::IoError { .. })));
        assert!(matches!(directory.delete(name), Err(DeleteError::IoError { .. })));
    }
}

#[test]
fn a_cut_or_lengthened_file_does_not_open() {
    let (folder, directory) = fresh(&key());
    let data = bytes(2 * CHUNK + 100);
    put(&directory, "a.pos", &data);
    let path = folder.path().join("a.pos");
    let good = fs::read(&path).unwrap();
    let around = [0, 1, HEAD, HEAD + TAG, HEAD + STRIDE, HEAD + 2 * STRIDE, good.len()];
    let lengths: BTreeSet<usize> =
        around.iter().flat_map(|n| n.saturating_sub(20)..n + 20).filter(|n| *n != good.len()).collect();
    for len in lengths {
        let mut image = good.clone();
        image.resize(len, 0);
        fs::write(&path, image).unwrap();
        // The cache still holds every chunk of the file as it was.
        assert!(whole(&directory, "a.pos").is_err(), "{len} of {} bytes", good.len());
    }
    fs::write(&path, good).unwrap();
    assert_eq!(whole(&directory, "a.pos").unwrap(), data);
}

#[test]
fn a_changed_byte_is_an_error_and_never_other_data() {
    let key = key();
    let (folder, directory) = fresh(&key);
    put(&directory, "a.idx", &bytes(2 * CHUNK + 300));
    let path = folder.path().join("a.idx");
    let good = fs::read(&path).unwrap();
    let places =
        (0..HEAD + 40).chain((HEAD + 40..good.len()).step_by(211)).chain(good.len() - 40..good.len());
    for at in places {
        let mut image = good.clone();
        image[at] ^= 1 << (at % 8);
        fs::write(&path, image).unwrap();
        let cold = SealedDirectory::open(folder.path(), key.clone(), ChunkCache::new(0)).unwrap();
        assert!(whole(&cold, "a.idx").is_err(), "byte {at}");
    }
}

#[test]
fn renamed_foreign_and_rearranged_files_do_not_open_even_from_a_warm_cache() {
    let cache = ChunkCache::new(64 * CHUNK);
    let (folder, other_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ours = SealedDirectory::open(folder.path(), key(), Arc::clone(&cache)).unwrap();
    let theirs = SealedDirectory::open(other_folder.path(), key(), cache).unwrap();
    put(&ours, "a.idx", &bytes(3 * CHUNK));
    whole(&ours, "a.idx").unwrap();
    let path = folder.path().join("a.idx");
    fs::copy(&path, folder.path().join("b.idx")).unwrap();
    fs::copy(&path, other_folder.path().join("a.idx")).unwrap();
    assert!(whole(&ours, "b.idx").is_err());
    assert!(whole(&theirs, "a.idx").is_err());
    let mut image = fs::read(&path).unwrap();
    let (head, tail) = image.split_at_mut(HEAD + STRIDE);
    head[HEAD..].swap_with_slice(&mut tail[..STRIDE]);
    fs::write(&path, image).unwrap();
    let cold = SealedDirectory::open(folder.path(), ours.key.clone(), ChunkCache::new(0)).unwrap();
    assert!(whole(&cold, "a.idx").is_err());
}

#[test]
fn the_cache_keeps_to_its_bound_and_serves_a_reopened_file() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), ChunkCache::new(4 * CHUNK));
    let directory = SealedDirectory::open(folder.path(), key(), Arc::clone(&cache)).unwrap();
    put(&directory, "a.idx", &bytes(20 * CHUNK));
    let file = directory.open_read(Path::new("a.idx")).unwrap();
    for n in 0..20 {
        file.slice(n * CHUNK..n * CHUNK + 5).read_bytes().unwrap();
    }
    assert_eq!(cache.0.lock().unwrap().len(), 4);
    drop(file);
    let held = |number| cache.0.lock().unwrap().iter().any(|(id, _)| id.number == number);
    assert!(held(19) && held(16) && !held(15));
    let reader = directory.reader(Path::new("a.idx")).unwrap();
    assert!(cache.find(reader.id(17)).is_some(), "a second opening starts warm");
    reader.read_bytes(0..15 * CHUNK).unwrap();
    assert!(held(17), "a long read goes past the cache");
    assert!(reader.read_bytes(0..20 * CHUNK + 1).is_err());
}

#[test]
fn a_lock_is_for_one_and_ends_with_its_holder() {
    let (folder, directory) = fresh(&key());
    // What a killed process leaves behind.
    fs::write(folder.path().join(&INDEX_WRITER_LOCK.filepath), b"").unwrap();
    let held = directory.acquire_lock(&INDEX_WRITER_LOCK).unwrap();
    assert!(matches!(directory.acquire_lock(&INDEX_WRITER_LOCK), Err(LockError::LockBusy)));
    let waiting = Lock { filepath: INDEX_WRITER_LOCK.filepath.clone(), is_blocking: true };
    let (here, there) = (directory.clone(), std::sync::mpsc::channel());
    let waiter = std::thread::spawn(move || {
        let lock = here.acquire_lock(&waiting).unwrap();
        there.0.send(()).unwrap();
        drop(lock);
    });
    assert!(there.1.try_recv().is_err());
    drop(held);
    there.1.recv().unwrap();
    waiter.join().unwrap();
    assert!(directory.acquire_lock(&INDEX_WRITER_LOCK).is_ok());
}

/// A disk that is full after some bytes and has room again later.
struct Full {
    room: usize,
    written: Vec<u8>,
    refused: usize,
}

impl Write for &mut Full {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.written.len() >= self.room {
            self.refused += 1;
            self.room = usize::MAX;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.written.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_full_disk_nothing_more_is_sealed_into_the_file() {
    let mut disk = Full { room: HEAD + STRIDE, written: Vec::new(), refused: 0 };
    let mut writer = BufWriter::new(Writer::new(&mut disk, &key(), Path::new("a")).unwrap());
    let failed = writer.write_all(&bytes(5 * CHUNK)).unwrap_err();
    assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
    assert!(writer.write_all(&bytes(5 * CHUNK)).is_err());
    assert!(writer.get_mut().finish().is_err());
    drop(writer);
    assert_eq!((disk.refused, disk.written.len()), (1, HEAD + STRIDE));
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    schema.add_text_field("id", tantivy::schema::STRING | STORED);
    schema.add_text_field("body", TEXT | STORED);
    schema.build()
}

/// Three commits of passages, one document removed, everything merged and collected.
fn filled(index: &Index, canary: &str) {
    let schema = index.schema();
    let (id, body) = (schema.get_field("id").unwrap(), schema.get_field("body").unwrap());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    for n in 0..600 {
        let mut document = TantivyDocument::new();
        document.add_text(id, format!("d{n}"));
        let words: Vec<String> = (0..40).map(|w| format!("w{}", n * 31 % (w + 7))).collect();
        let mark = if n == 300 { canary } else { "" };
        document.add_text(body, format!("renewal {} {mark} n{n}", words.join(" ")));
        writer.add_document(document).unwrap();
        if n % 200 == 199 {
            writer.commit().unwrap();
        }
    }
    writer.delete_term(Term::from_field_text(id, "d7"));
    writer.commit().unwrap();
    let segments = index.searchable_segment_ids().unwrap();
    writer.merge(&segments).wait().unwrap();
    writer.garbage_collect_files().wait().unwrap();
    writer.wait_merging_threads().unwrap();
}

fn hits(index: &Index, query: &str) -> tantivy::Result<Vec<(u32, String)>> {
    let schema = index.schema();
    let (id, body) = (schema.get_field("id").unwrap(), schema.get_field("body").unwrap());
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let searcher = reader.searcher();
    let query = QueryParser::for_index(index, vec![body]).parse_query(query).unwrap();
    let top = searcher.search(&query, &TopDocs::with_limit(700).order_by_score())?;
    let mut found = Vec::new();
    for (score, address) in top {
        let document: TantivyDocument = searcher.doc(address)?;
        let text = document.get_first(id).and_then(|v| v.as_str()).unwrap_or_default();
        found.push((score.to_bits(), text.to_owned()));
    }
    found.sort();
    Ok(found)
}

const QUERIES: [&str; 4] = ["renewal", "w3 w5", "\"w1 w2\"", "n300 n7"];

#[test]
fn an_index_answers_as_the_one_in_memory_does() {
    let key = key();
    let (folder, directory) = fresh(&key);
    let memory = Index::create(RamDirectory::create(), schema(), IndexSettings::default()).unwrap();
    filled(&memory, "");
    let sealed = Index::create(directory, schema(), IndexSettings::default()).unwrap();
    filled(&sealed, "");
    drop(sealed);
    let again = SealedDirectory::open(folder.path(), key, ChunkCache::new(CHUNK)).unwrap();
    let again = Index::open(again).unwrap();
    assert!(again.validate_checksum().unwrap().is_empty());
    for query in QUERIES {
        let found = hits(&again, query).unwrap();
        assert_eq!(found, hits(&memory, query).unwrap(), "{query}");
        assert!(!found.is_empty() && found.iter().all(|(_, id)| id != "d7"), "{query}");
    }
}

#[test]
fn no_plain_word_reaches_the_disk() {
    let canary = "zqkanarienvogel";
    let holds = |folder: &Path| {
        fs::read_dir(folder).unwrap().any(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(canary.len()).any(|w| w == canary.as_bytes())
        })
    };
    let plain = tempfile::tempdir().unwrap();
    filled(&Index::create_in_dir(plain.path(), schema()).unwrap(), canary);
    assert!(holds(plain.path()), "the control did not find the word either");
    let (folder, directory) = fresh(&key());
    let sealed = Index::create(directory, schema(), IndexSettings::default()).unwrap();
    filled(&sealed, canary);
    assert!(!holds(folder.path()));
    assert_eq!(hits(&sealed, canary).unwrap().len(), 1);
}

#[test]
fn a_damaged_index_gives_an_error_or_the_right_hits() {
    let key = key();
    let (folder, directory) = fresh(&key);
    let sealed = Index::create(directory, schema(), IndexSettings::default()).unwrap();
    filled(&sealed, "");
    let right: Vec<_> = QUERIES.iter().map(|q| hits(&sealed, q).unwrap()).collect();
    drop(sealed);
    let (mut told, mut unread) = (0, 0);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let good = fs::read(&path).unwrap();
        for trial in 0..12 {
            let Some(at) = (good.len() * trial).checked_div(12).filter(|_| !good.is_empty()) else {
                continue;
            };
            let mut image = good.clone();
            image[at] ^= 0x40;
            fs::write(&path, image).unwrap();
            let cold = SealedDirectory::open(folder.path(), key.clone(), ChunkCache::new(8 * CHUNK)).unwrap();
            let answers = || {
                let index = Index::open(cold)?;
                QUERIES.iter().map(|q| hits(&index, q)).collect::<tantivy::Result<Vec<_>>>()
            };
            match answers() {
                Err(_) => told += 1,
                Ok(found) => {
                    assert_eq!(found, right, "{} at {at}", path.display());
                    unread += 1;
                }
            }
        }
        fs::write(&path, good).unwrap();
    }
    assert!(told > 20, "told {told}, not read {unread}");
}
