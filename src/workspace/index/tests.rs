//! What is found, what is gone, what is sealed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tantivy::Directory as _;

use super::*;
use crate::clock::{Clock, Random};
use crate::seal::{DataKey, Use};

struct Place {
    dir: tempfile::TempDir,
    index: Index,
    key: SubKey,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let key = DataKey::new().sub(Use::Index);
    let id = WorkspaceId::new(&Clock::system(), &Random::system());
    let index = Index::new(id, dir.path(), key.clone(), Arc::default());
    Place { dir, index, key }
}

fn entry(id: &str, group: &str, title: &str, body: &str) -> Entry {
    Entry {
        id: id.into(),
        group: group.into(),
        number: 1,
        language: Some("en".into()),
        title: title.into(),
        heading: String::new(),
        body: body.into(),
    }
}

fn ids(place: &Place, text: &str) -> Vec<String> {
    let found = place.index.search(Shelf::Knowledge, text, None, false, 20).unwrap();
    found.hits.into_iter().map(|h| h.id).collect()
}

/// Every byte of every index file, opened, and the terms of every segment that has files on the disk.
fn on_disk(place: &Place) -> (Vec<u8>, Vec<String>) {
    let folder = place.dir.path().join("index/knowledge");
    let directory = SealedDirectory::open(&folder, place.key.clone(), ChunkCache::new(1 << 20)).unwrap();
    let index = place.index.open(Shelf::Knowledge).unwrap();
    let live: Vec<String> =
        index.searchable_segment_ids().unwrap().into_iter().map(|id| id.uuid_string()).collect();
    let mut bytes = Vec::new();
    for file in fs::read_dir(&folder).unwrap() {
        let name = PathBuf::from(file.unwrap().file_name());
        let text = name.to_string_lossy().into_owned();
        if text.contains(".lock") {
            continue;
        }
        let known = text.contains(".json") || live.iter().any(|id| text.starts_with(id.as_str()));
        assert!(known, "{text} is left over");
        bytes.extend(directory.atomic_read(&name).unwrap());
    }
    let mut terms = Vec::new();
    let reader = index.reader().unwrap();
    for segment in reader.searcher().segment_readers() {
        let mut fields = place.index.fields.stems.clone();
        fields.extend([place.index.fields.title, place.index.fields.words, place.index.fields.group]);
        for field in fields {
            let inverted = segment.inverted_index(field).unwrap();
            let mut stream = inverted.terms().stream().unwrap();
            while stream.advance() {
                terms.push(String::from_utf8_lossy(stream.key()).into_owned());
            }
        }
    }
    (bytes, terms)
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|w| w == word.as_bytes())
}

#[test]
fn identifiers_are_found_as_people_type_them() {
    let place = place();
    let code = "trigger Account_Trigger__c on AccountContactRelation (before insert) { HTTPRequest req = \
                getSObjectByName2(); } 東京都の天気予報";
    place.index.replace(Shelf::Knowledge, "a", &[entry("code", "a", "", code)]).unwrap();
    place
        .index
        .replace(Shelf::Knowledge, "b", &[entry("other", "b", "", "Something about governor limits")])
        .unwrap();
    for question in [
        "Account_Trigger__c",
        "account trigger",
        "accounttrigger",
        "contact relation",
        "http request",
        "HTTPRequest",
        "getSObjectByName2",
        "sobject name",
        "東京都",
        "天気",
        "triggers",
        "\"account trigger\"",
    ] {
        assert_eq!(ids(&place, question).first().map(String::as_str), Some("code"), "{question}");
    }
    for nothing in ["\"account http\"", "the of and", "zebra", "", "\"\"", "*", "title:code", "-limits \""] {
        assert!(!ids(&place, nothing).contains(&"code".to_owned()), "{nothing}");
    }
}

#[test]
fn a_misspelt_word_is_read_as_the_nearest_one_and_told() {
    let place = place();
    place.index.replace(Shelf::Knowledge, "a", &[entry("a", "a", "", "one trigger per object")]).unwrap();
    let found = place.index.search(Shelf::Knowledge, "tigger rules", None, false, 5).unwrap();
    assert_eq!(found.hits.len(), 1);
    assert_eq!(found.instead.as_deref(), Some("trigger rules"));
    let exact = place.index.search(Shelf::Knowledge, "trigger", None, false, 5).unwrap();
    assert_eq!(exact.instead, None);
}

#[test]
fn an_unfinished_last_word_is_found_where_it_is_asked_for() {
    let place = place();
    place.index.replace(Shelf::Metadata, "a", &[entry("a", "a", "", "OpportunityTriggerHandler")]).unwrap();
    let of =
        |prefix| place.index.search(Shelf::Metadata, "opportunity trig", None, prefix, 5).unwrap().hits.len();
    assert_eq!(of(true), 1);
    assert_eq!(place.index.search(Shelf::Metadata, "opportunitytri", None, true, 5).unwrap().hits.len(), 1);
    assert!(place.index.search(Shelf::Metadata, "zzz", None, true, 5).unwrap().hits.is_empty());
}

#[test]
fn languages_are_stemmed_each_in_its_own_way() {
    let place = place();
    let german = Entry {
        language: Some("de".into()),
        ..entry("de", "de", "", "Die Häuser der Kunden sind versichert")
    };
    place.index.replace(Shelf::Knowledge, "de", &[german]).unwrap();
    place.index.replace(Shelf::Knowledge, "en", &[entry("en", "en", "", "Policies were renewed")]).unwrap();
    assert_eq!(ids(&place, "Haus Kunde"), ["de"]);
    assert_eq!(ids(&place, "policy renewal renew"), ["en"]);
}

#[test]
fn removed_words_are_in_no_file_and_nothing_is_ever_in_clear() {
    let place = place();
    for n in 0..3 {
        let passage = |k: usize| entry(&format!("{n}-{k}"), "filler", "", &format!("filler passage {k}"));
        let many: Vec<Entry> = (0..40).map(passage).collect();
        place.index.replace(Shelf::Knowledge, &format!("filler{n}"), &many).unwrap();
    }
    let victim = entry("zqxjid", "victim", "zqxjtitle", "the zqxjvsecret clause");
    place.index.replace(Shelf::Knowledge, "victim", &[victim]).unwrap();
    let (bytes, terms) = on_disk(&place);
    assert!(holds(&bytes, "zqxjid"), "the control must find it");
    assert!(terms.iter().any(|t| t == "zqxjvsecret"), "the control must find it");
    for file in fs::read_dir(place.dir.path().join("index/knowledge")).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!holds(&bytes, "zqxjid") && !holds(&bytes, "filler"));
    }
    assert_eq!(ids(&place, "zqxjvsecret"), ["zqxjid"]);
    place.index.remove(Shelf::Knowledge, "victim").unwrap();
    let (bytes, terms) = on_disk(&place);
    assert!(!holds(&bytes, "zqxjid"));
    assert!(!terms.iter().any(|t| t.contains("zqxj") || t == "victim"), "{terms:?}");
    assert!(ids(&place, "zqxjvsecret").is_empty());
    assert!(!ids(&place, "filler").is_empty(), "the rest stays");
}

#[test]
fn a_damaged_index_is_an_error_and_can_be_built_again() {
    let place = place();
    place.index.replace(Shelf::Knowledge, "a", &[entry("a", "a", "", "governor limits")]).unwrap();
    let folder = place.dir.path().join("index/knowledge");
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if let Some(byte) = bytes.get_mut(30) {
            *byte ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let fresh = Index::new(place.index.workspace, place.dir.path(), place.key.clone(), Arc::default());
    assert!(matches!(
        fresh.search(Shelf::Knowledge, "governor", None, false, 5),
        Err(IndexError::Damaged(_))
    ));
    fresh.reset(Shelf::Knowledge).unwrap();
    assert!(!fresh.exists(Shelf::Knowledge));
    fresh.replace(Shelf::Knowledge, "a", &[entry("a", "a", "", "governor limits")]).unwrap();
    assert_eq!(fresh.search(Shelf::Knowledge, "governor", None, false, 5).unwrap().hits.len(), 1);
}

#[test]
fn another_key_opens_nothing_and_shelves_stay_apart() {
    let place = place();
    place.index.replace(Shelf::Knowledge, "a", &[entry("a", "a", "", "governor limits")]).unwrap();
    assert!(place.index.search(Shelf::Metadata, "governor", None, false, 5).unwrap().hits.is_empty());
    let other = DataKey::new().sub(Use::Index);
    let foreign = Index::new(place.index.workspace, place.dir.path(), other, Arc::default());
    assert!(foreign.search(Shelf::Knowledge, "governor", None, false, 5).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_index_holds_what_was_put_last(steps in prop::collection::vec((0..4usize, prop::option::of(0..6usize)), 1..10)) {
        let place = place();
        let words = ["amber", "basalt", "cobalt", "dolomite", "emerald", "feldspar"];
        let mut model: BTreeMap<usize, usize> = BTreeMap::new();
        for (group, word) in steps {
            let name = format!("g{group}");
            if let Some(word) = word {
                place.index.replace(Shelf::Knowledge, &name, &[entry(&name, &name, "", words[word])]).unwrap();
                model.insert(group, word);
            } else {
                place.index.remove(Shelf::Knowledge, &name).unwrap();
                model.remove(&group);
            }
        }
        for (n, word) in words.iter().enumerate() {
            let mut found = ids(&place, word);
            found.sort();
            let expected: Vec<String> = model.iter().filter(|(_, w)| **w == n).map(|(g, _)| format!("g{g}")).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
