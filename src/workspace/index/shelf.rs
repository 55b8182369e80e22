//! One tantivy index: what its fields are, how they are analysed. Bodies are not stored: who adds a text keeps
//! it, sealed, in the keyspace.

use tantivy::schema::{Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{Language, Stemmer, StopWordFilter, TextAnalyzer};
use tantivy::{IndexBuilder, IndexSettings};

use super::words::Words;

/// Languages that are stemmed: ISO 639-1, the stemmer.
pub const LANGUAGES: [(&str, Language); 18] = [
    ("ar", Language::Arabic),
    ("da", Language::Danish),
    ("de", Language::German),
    ("el", Language::Greek),
    ("en", Language::English),
    ("es", Language::Spanish),
    ("fi", Language::Finnish),
    ("fr", Language::French),
    ("hu", Language::Hungarian),
    ("it", Language::Italian),
    ("nl", Language::Dutch),
    ("no", Language::Norwegian),
    ("pt", Language::Portuguese),
    ("ro", Language::Romanian),
    ("ru", Language::Russian),
    ("sv", Language::Swedish),
    ("ta", Language::Tamil),
    ("tr", Language::Turkish),
];

/// The fields of an entry.
#[derive(Clone)]
pub struct Fields {
    pub schema: Schema,
    pub id: Field,
    pub group: Field,
    pub number: Field,
    pub title: Field,
    pub heading: Field,
    /// Unstemmed, with whole identifiers and positions.
    pub words: Field,
    /// Stemmed text, a field for each language.
    pub stems: Vec<Field>,
}

impl Fields {
    pub fn new() -> Self {
        let text = |tokenizer: &str, option| {
            TextOptions::default().set_indexing_options(
                TextFieldIndexing::default().set_tokenizer(tokenizer).set_index_option(option),
            )
        };
        let mut schema = Schema::builder();
        let id = schema.add_text_field("id", STORED);
        let group = schema.add_text_field("group", STRING | STORED);
        let number = schema.add_u64_field("number", STORED);
        let parts = || text("parts", IndexRecordOption::WithFreqs);
        let (title, heading) =
            (schema.add_text_field("title", parts()), schema.add_text_field("heading", parts()));
        let words = schema.add_text_field("words", text("wholes", IndexRecordOption::WithFreqsAndPositions));
        let stems = LANGUAGES
            .iter()
            .map(|(code, _)| schema.add_text_field(code, text(code, IndexRecordOption::WithFreqs)))
            .collect();
        Self { schema: schema.build(), id, group, number, title, heading, words, stems }
    }

    /// The field for a language; English where the language is unknown.
    pub fn stem(&self, language: Option<&str>) -> Field {
        let place = LANGUAGES.iter().position(|(code, _)| Some(*code) == language);
        self.stems[place.unwrap_or(4)]
    }

    /// How an index of these fields is opened or made.
    pub fn builder(&self) -> IndexBuilder {
        let tokenizers = tantivy::tokenizer::TokenizerManager::default();
        tokenizers.register("wholes", TextAnalyzer::from(Words { wholes: true }));
        tokenizers.register("parts", TextAnalyzer::from(Words { wholes: false }));
        for (code, language) in LANGUAGES {
            tokenizers.register(code, analyzer(language));
        }
        tantivy::Index::builder()
            .schema(self.schema.clone())
            .tokenizers(tokenizers)
            .settings(IndexSettings::default())
    }
}

/// Words of a language without its stop words, stemmed.
pub fn analyzer(language: Language) -> TextAnalyzer {
    let words = TextAnalyzer::builder(Words { wholes: false });
    match StopWordFilter::new(language) {
        Some(stop) => words.filter(stop).filter(Stemmer::new(language)).build(),
        None => words.filter(Stemmer::new(language)).build(),
    }
}

/// What a word becomes in a language; `None` for a stop word.
pub fn stem(analyzer: &mut TextAnalyzer, word: &str) -> Option<String> {
    let mut stream = analyzer.token_stream(word);
    stream.advance().then(|| stream.token().text.clone())
}
