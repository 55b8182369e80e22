//! What is kept of an analysis: its findings, and the score with its arithmetic.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::OrgId;
use crate::store::{Read as _, StoreError, Table, Tx};

/// Open and closed findings by fingerprint.
pub const FINDINGS: Table<(OrgId, String), Kept> = Table::new("findings", 1);
/// The newest analysis of each org.
pub const ANALYSES: Table<OrgId, Analysis> = Table::new("analyses", 1);
/// Scores over time, by millisecond.
pub const SCORES: Table<(OrgId, u64), u32> = Table::new("scores", 1);

/// A finding as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub rule: String,
    pub title: String,
    /// 0 info … 4 critical: sorts by itself.
    pub rank: u8,
    pub severity: String,
    pub category: String,
    /// Type and name of the component; a limit has no type.
    pub kind: String,
    pub name: String,
    pub line: u32,
    pub end_line: u32,
    pub message: String,
    pub why: String,
    pub fix: String,
    /// The lines it is about, with their numbers.
    pub evidence: Vec<(u32, String)>,
    pub first_seen: Timestamp,
    /// When an analysis no longer found it.
    pub closed: Option<Timestamp>,
}

/// One run of all checks over a catalogue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Analysis {
    pub at: Timestamp,
    pub score: u32,
    pub areas: Vec<Area>,
    /// How the score comes about, a step a line.
    pub arithmetic: Vec<String>,
    pub open: u64,
    /// Files that could not be read by the checks.
    pub errors: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Area {
    pub name: String,
    /// `None` when there was nothing to check.
    pub value: Option<u32>,
    /// Open findings by severity, worst first.
    #[serde(default)]
    pub findings: Vec<(String, u64)>,
}

/// Scores are kept for so long: what a trend of a year needs.
const SCORES_KEPT_MS: u64 = 400 * 24 * 3600 * 1000;

/// Removes scores of analyses long past, at most `most`; answers how many.
pub fn prune_scores(tx: &mut Tx, now_ms: u64, most: usize) -> Result<usize, StoreError> {
    let before = now_ms.saturating_sub(SCORES_KEPT_MS);
    let mut old = Vec::new();
    tx.scan(&SCORES).each(|key, _| {
        old.extend((key.1 < before).then_some(key));
        old.len() < most
    })?;
    for key in &old {
        tx.remove(&SCORES, key)?;
    }
    Ok(old.len())
}
