//! How text becomes words, for the index and for questions alike: identifiers as people type them
//! (`Account_Trigger__c`, "account trigger", `accounttrigger`), accents folded, CJK as pairs of characters.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Words that camel case would tear apart.
const WHOLE: [&str; 7] = ["SObject", "OAuth", "DevOps", "GraphQL", "GitHub", "eCommerce", "iOS"];
/// Endings of Salesforce API names that people leave out.
const SUFFIXES: [&str; 6] = ["__c", "__r", "__mdt", "__e", "__x", "__b"];
/// Longer runs are no words: base64, hashes.
const LONGEST: usize = 100;

/// One word of a text: folded, with its byte range and position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub start: usize,
    pub end: usize,
    /// Counts words; the forms of one identifier share the position of its first part.
    pub position: usize,
    /// A form of a whole identifier, beside its parts.
    pub whole: bool,
}

/// The words of a text. `wholes` adds the forms of whole identifiers.
pub fn words(text: &str, wholes: bool) -> Vec<Word> {
    let mut found = Vec::new();
    let mut position = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        if !is_word(c) {
            continue;
        }
        let mut end = start + c.len_utf8();
        while let Some((at, next)) = chars.peek().copied() {
            if !is_word(next) || is_cjk(next) != is_cjk(c) {
                break;
            }
            end = at + next.len_utf8();
            chars.next();
        }
        if is_cjk(c) {
            pairs(text, start, end, &mut position, &mut found);
        } else if end - start <= LONGEST {
            identifier(text, start, end, wholes, &mut position, &mut found);
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || is_combining_mark(c)
}

/// Han, kana and Hangul: written without spaces.
fn is_cjk(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff)
}

fn pairs(text: &str, start: usize, end: usize, position: &mut usize, found: &mut Vec<Word>) {
    let ends: Vec<usize> = text[start..end].char_indices().map(|(at, c)| start + at + c.len_utf8()).collect();
    let mut from = start;
    for (nth, single_end) in ends.iter().enumerate() {
        let to = ends.get(nth + 1).copied().unwrap_or(*single_end);
        if nth > 0 && nth + 1 == ends.len() {
            break;
        }
        found.push(Word {
            text: text[from..to].nfkc().collect(),
            start: from,
            end: to,
            position: *position,
            whole: false,
        });
        *position += 1;
        from = *single_end;
    }
}

fn identifier(
    text: &str,
    start: usize,
    end: usize,
    wholes: bool,
    position: &mut usize,
    found: &mut Vec<Word>,
) {
    let word = &text[start..end];
    let base = SUFFIXES.iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
    let parts = parts(base);
    let mut add = |from: usize, to: usize, folded: String, at: usize, whole: bool| {
        if !folded.is_empty() {
            found.push(Word { text: folded, start: from, end: to, position: at, whole });
        }
    };
    if wholes && (parts.len() > 1 || base.len() != word.len() || word.contains('_')) {
        let full = fold(word);
        let bare = fold(base);
        if bare != full {
            add(start, start + base.len(), bare.clone(), *position, true);
        }
        if parts.len() > 1 {
            let joined: String = parts.iter().map(|(a, b)| fold(&base[*a..*b])).collect();
            if joined != full && joined != bare {
                add(start, start + base.len(), joined, *position, true);
            }
        }
        add(start, end, full, *position, true);
    }
    for (from, to) in &parts {
        add(start + from, start + to, fold(&base[*from..*to]), *position, false);
        *position += 1;
    }
}

/// Byte ranges of the parts of an identifier: at underscores, at humps, between letters and digits.
fn parts(word: &str) -> Vec<(usize, usize)> {
    let chars: Vec<(usize, char)> = word.char_indices().collect();
    let at = |n: usize| chars.get(n).map_or(word.len(), |(at, _)| *at);
    let mut found = Vec::new();
    let (mut begin, mut n) = (0, 0);
    let mut cut = |from: usize, to: usize| {
        if from < to && word[from..to].chars().any(|c| c != '_') {
            found.push((from, to));
        }
    };
    while n < chars.len() {
        let known = WHOLE.iter().find(|known| word[at(n)..].starts_with(*known));
        if let Some(known) = known {
            let after = at(n) + known.len();
            let ends = word[after..].chars().next().is_none_or(|c| !c.is_lowercase());
            if ends && (n == begin || !chars[n - 1].1.is_lowercase() || known.starts_with(char::is_uppercase))
            {
                cut(at(begin), at(n));
                cut(at(n), after);
                n += known.chars().count();
                begin = n;
                continue;
            }
        }
        if n > begin {
            let (before, here) = (chars[n - 1].1, chars[n].1);
            let next = chars.get(n + 1).map(|(_, c)| *c);
            let hump = before.is_lowercase() && here.is_uppercase();
            let acronym_ends =
                before.is_uppercase() && here.is_uppercase() && next.is_some_and(char::is_lowercase);
            let digits = before.is_numeric() != here.is_numeric() && before != '_' && here != '_';
            if hump || acronym_ends || digits {
                cut(at(begin), at(n));
                begin = n;
            }
        }
        if chars[n].1 == '_' {
            cut(at(begin), at(n));
            begin = n + 1;
        }
        n += 1;
    }
    cut(at(begin), word.len());
    found
}

/// Lower case, compatibility forms and accents folded away.
pub fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let folded = word.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
    folded.flat_map(|c| if c == 'ß' { ['s', 's'].as_slice().to_vec() } else { vec![c] }).collect()
}

/// [`words`] as tantivy asks for them.
#[derive(Clone, Copy)]
pub struct Words {
    pub wholes: bool,
}

pub struct Stream {
    tokens: Vec<Token>,
    next: usize,
}

impl Tokenizer for Words {
    type TokenStream<'a> = Stream;
    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream {
        let token = |word: Word| Token {
            offset_from: word.start,
            offset_to: word.end,
            position: word.position,
            text: word.text,
            position_length: 1,
        };
        Stream { tokens: words(text, self.wholes).into_iter().map(token).collect(), next: 0 }
    }
}

impl TokenStream for Stream {
    fn advance(&mut self) -> bool {
        self.next += 1;
        self.next <= self.tokens.len()
    }
    fn token(&self) -> &Token {
        &self.tokens[self.next - 1]
    }
    fn token_mut(&mut self) -> &mut Token {
        &mut self.tokens[self.next - 1]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str, wholes: bool) -> Vec<String> {
        words(text, wholes).into_iter().map(|w| w.text).collect()
    }

    #[test]
    fn an_identifier_is_found_whole_joined_and_by_its_parts() {
        let found = texts("Account_Trigger__c", true);
        for form in ["account_trigger__c", "account_trigger", "accounttrigger", "account", "trigger"] {
            assert!(found.contains(&form.to_owned()), "{form} in {found:?}");
        }
        assert_eq!(texts("HTTPRequest", false), ["http", "request"]);
        assert_eq!(texts("getSObjectByName2", false), ["get", "sobject", "by", "name", "2"]);
        assert_eq!(texts("OAuth iOS SOQL", false), ["oauth", "ios", "soql"]);
        assert_eq!(texts("AccountContactRelation", false), ["account", "contact", "relation"]);
    }

    #[test]
    fn accents_fold_and_cjk_comes_in_pairs() {
        assert_eq!(texts("Größe Café Ｆｕｌｌ", false), ["grosse", "cafe", "full"]);
        assert_eq!(texts("東京都の", false), ["東京", "京都", "都の"]);
        assert_eq!(texts("天", false), ["天"]);
    }

    proptest! {
        #[test]
        fn ranges_lie_on_characters_and_positions_never_fall(text in "\\PC{0,80}", wholes: bool) {
            let mut last = 0;
            for word in words(&text, wholes) {
                prop_assert!(text.get(word.start..word.end).is_some_and(|t| !t.is_empty()));
                prop_assert!(word.position >= last);
                prop_assert!(!word.text.is_empty());
                last = word.position;
            }
        }
    }
}
