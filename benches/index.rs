//! The sealed index directory against tantivy's own mmap: the same passages, the same questions.

use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{STORED, STRING, Schema, TEXT};
use tantivy::{Directory, Index, IndexSettings, TantivyDocument};
use vynos::clock::Random;
use vynos::seal::{DataKey, Use};
use vynos::workspace::index::directory::{ChunkCache, SealedDirectory};

use super::{median, timed};

const PASSAGES: usize = 20_000;
const WORDS: usize = 120;
const QUESTIONS: usize = 200;

pub fn measure() {
    let random = Random::seeded(11);
    let vocabulary: Vec<String> =
        (0..8_000).map(|n| format!("w{:x}", n * 2_654_435_761_u64 % 99_991)).collect();
    // Frequent words are frequent: the square of an even draw.
    let word = || {
        let draw = random.below(1_000_000) as f64 / 1_000_000.0;
        vocabulary[((draw * draw) * vocabulary.len() as f64) as usize].as_str()
    };
    let passages: Vec<String> =
        (0..PASSAGES).map(|_| (0..WORDS).map(|_| word()).collect::<Vec<_>>().join(" ")).collect();
    let questions: Vec<String> =
        (0..QUESTIONS).map(|_| format!("{} {} {}", word(), word(), word())).collect();
    let (sealed_dir, plain_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = DataKey::new().sub(Use::Index);
    let sealed = SealedDirectory::open(sealed_dir.path(), key, ChunkCache::new(24 << 20)).unwrap();
    #[expect(
        clippy::disallowed_types,
        reason = "the baseline is the directory that the product must not use"
    )]
    let plain = tantivy::directory::MmapDirectory::open(plain_dir.path()).unwrap();
    let (sealed, plain) = (build(sealed, &passages), build(plain, &passages));
    let (sealed_p50, sealed_p95) = ask(&sealed, &questions);
    let (plain_p50, plain_p95) = ask(&plain, &questions);
    println!(
        "index: {PASSAGES} passages, query p50 {sealed_p50:.3} ms (p95 {sealed_p95:.3}), mmap {plain_p50:.3} ms (p95 {plain_p95:.3}), ratio {:.2} (at most 1.4)",
        sealed_p50 / plain_p50
    );
}

fn build(directory: impl Directory, passages: &[String]) -> Index {
    let mut schema = Schema::builder();
    let (id, body) = (schema.add_text_field("id", STRING | STORED), schema.add_text_field("body", TEXT));
    let index = Index::create(directory, schema.build(), IndexSettings::default()).unwrap();
    let mut writer = index.writer_with_num_threads(1, 50_000_000).unwrap();
    for (n, passage) in passages.iter().enumerate() {
        let mut document = TantivyDocument::default();
        document.add_text(id, n.to_string());
        document.add_text(body, passage);
        writer.add_document(document).unwrap();
    }
    writer.commit().unwrap();
    writer.wait_merging_threads().unwrap();
    index
}

/// Median over five rounds of the p50 and the p95, in milliseconds.
fn ask(index: &Index, questions: &[String]) -> (f64, f64) {
    let body = index.schema().get_field("body").unwrap();
    let parser = QueryParser::for_index(index, vec![body]);
    let searcher = index.reader().unwrap().searcher();
    let mut p95 = Vec::new();
    let p50 = median(|| {
        let mut times: Vec<f64> = questions
            .iter()
            .map(|question| {
                let query = parser.parse_query(question).unwrap();
                let (found, took) = timed(|| {
                    let hits = searcher.search(&query, &TopDocs::with_limit(10).order_by_score()).unwrap();
                    hits.into_iter().filter(|(_, at)| searcher.doc::<TantivyDocument>(*at).is_ok()).count()
                });
                assert!(found > 0);
                took.as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        p95.push(times[times.len() * 95 / 100]);
        times[times.len() / 2]
    });
    p95.sort_by(f64::total_cmp);
    (p50, p95[2])
}
