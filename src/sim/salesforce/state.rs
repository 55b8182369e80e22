//! What the simulated org holds.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::deploy::Deploy;

/// A row as REST answers show it.
pub type Row = Map<String, Value>;

/// One piece of metadata.
#[derive(Clone, Debug)]
pub struct Component {
    /// 18 characters.
    pub id: String,
    /// Path in an mdapi zip.
    pub file: String,
    pub source: String,
    /// The `-meta.xml` beside it, for types that have one.
    pub meta: Option<String>,
    /// The other files of a bundle by their paths.
    pub extra: BTreeMap<String, String>,
    pub created: Timestamp,
    pub modified: Timestamp,
    /// Index into `users`.
    pub modified_by: usize,
}

impl Component {
    pub fn is_bundle(&self) -> bool {
        self.file.split('/').count() > 2
    }

    /// `lwc/tile` of `lwc/tile/tile.js`.
    pub fn folder(&self) -> &str {
        self.file.rsplit_once('/').map_or(&self.file, |(folder, _)| folder)
    }

    /// Every file with its path: its own, the `-meta.xml`, and the rest of a bundle.
    pub fn files(&self) -> Vec<(String, &str)> {
        let mut all = Vec::new();
        if !(self.source.is_empty() && self.is_bundle()) {
            all.push((self.file.clone(), self.source.as_str()));
        }
        all.extend(self.meta.as_deref().map(|meta| (format!("{}-meta.xml", self.file), meta)));
        all.extend(self.extra.iter().map(|(path, text)| (path.clone(), text.as_str())));
        all
    }
}

/// How the simulator misbehaves, until told otherwise.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The next n API answers have this status.
    pub fail_next: Option<(u32, u16)>,
    /// API calls left today; 0 refuses with REQUEST_LIMIT_EXCEEDED.
    pub remaining_calls: Option<u64>,
    /// Every refresh gives a new refresh token and ends the old one.
    pub rotate_refresh: bool,
    /// A retrieve stays in progress for this many polls.
    pub slow_retrieve: u32,
    /// A retrieve may bring this many files instead of 10,000.
    pub retrieve_files: Option<usize>,
    /// A deploy stays in progress for this many polls more.
    pub slow_deploy: u32,
    /// The next n answers break off in the middle.
    pub cut_next: u32,
    /// Answers come a few bytes at a time.
    pub drip: Option<Drip>,
}

/// How slowly an answer comes.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Drip {
    /// In one piece.
    pub bytes: u32,
    /// Before each piece.
    pub millis: u64,
}

/// An authorization code, waiting to be redeemed once.
#[derive(Clone, Debug)]
pub struct Code {
    pub redirect_uri: String,
    pub challenge: Option<String>,
    pub issued: Timestamp,
}

/// A retrieve that was asked for.
#[derive(Clone, Debug)]
pub struct Retrieve {
    pub polls_left: u32,
    pub wanted: Vec<(String, Vec<String>)>,
}

pub struct Org {
    pub id: String,
    pub name: String,
    pub production: bool,
    pub users: Vec<(&'static str, &'static str)>,
    pub components: BTreeMap<(String, String), Component>,
    pub rows: HashMap<&'static str, Vec<Row>>,
    pub access_tokens: HashSet<String>,
    pub refresh_tokens: HashSet<String>,
    /// Refresh tokens that rotation has ended: using one revokes the family.
    pub ended_refresh_tokens: HashSet<String>,
    pub codes: HashMap<String, Code>,
    pub retrieves: HashMap<String, Retrieve>,
    /// Oldest first: one runs, the others wait.
    pub deploys: Vec<Deploy>,
    pub locators: VecDeque<(String, usize, Vec<Row>)>,
    /// When metadata last changed.
    pub modified: Timestamp,
    pub calls: u64,
    pub serial: u64,
    pub faults: Faults,
}

/// Calls a day that the limits page names.
pub const DAILY_CALLS: u64 = 100_000;

impl Org {
    /// A new 18-character id with a key prefix.
    pub fn new_id(&mut self, prefix: &str) -> String {
        self.serial += 1;
        let fifteen = format!("{prefix}{:0>width$}", self.serial, width = 15 - prefix.len());
        format!("{fifteen}{}", checksum(&fifteen))
    }

    pub fn remaining_calls(&self) -> u64 {
        self.faults.remaining_calls.unwrap_or(DAILY_CALLS - 31_000).saturating_sub(self.calls)
    }

    /// The limits as `/limits` shows them.
    pub fn limits(&self) -> Value {
        let limit = |max: u64, remaining: u64| json!({ "Max": max, "Remaining": remaining });
        json!({
            "DailyApiRequests": limit(DAILY_CALLS, self.remaining_calls()),
            "DailyAsyncApexExecutions": limit(250_000, 188_960),
            "DailyAsyncApexTests": limit(500, 480),
            "DailyBulkApiBatches": limit(15_000, 14_990),
            "DailyWorkflowEmails": limit(213_000, 209_881),
            "DataStorageMB": limit(20_480, 2_663),
            "FileStorageMB": limit(51_200, 40_112),
            "HourlyTimeBasedWorkflow": limit(1_000, 1_000),
            "MassEmail": limit(5_000, 5_000),
            "SingleEmail": limit(5_000, 4_732),
        })
    }
}

/// The three characters that make an 18-character id of 15: for each block of five, bit k is set when
/// character k is a capital (help.salesforce.com, "Convert 15 Character IDs").
pub fn checksum(fifteen: &str) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let block = |chunk: &[u8]| {
        let bits =
            chunk.iter().enumerate().fold(0, |n, (k, c)| n | (usize::from(c.is_ascii_uppercase()) << k));
        char::from(LETTERS[bits])
    };
    fifteen.as_bytes().chunks(5).map(block).collect()
}

/// As REST answers write a time.
pub fn rest_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(super::checksum("00D000000000001"), "EAA");
        assert_eq!(super::checksum("001A0000006Vm9r"), "IAC");
    }
}
