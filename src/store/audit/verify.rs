//! Walks a chain in ranges of lines, so that a long one holds no read transaction and can say how far it is. Lines that are
//! added meanwhile are left for the next walk; when lines are pruned meanwhile, the walk begins again.

use ring::digest;

use super::{AUDIT, AUDIT_CHECKPOINTS, AUDIT_HEAD, Broken, Checkpoint, Head, head_mac};
use crate::seal::{SubKey, constant_time_eq, hex};
use crate::store::{Key as _, Read, StoreError};

/// Lines of one range: about 10 ms of reading.
const RANGE: u64 = 10_000;
/// How the stored form of a line ends: its hash, hex.
const LABEL: &[u8] = b"\"hash\":\"";
const CLOSE: &[u8] = b"\"}";
const HASH: usize = 64;

/// A chain that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The oldest line that is still kept: 1 until lines were pruned.
    pub first: u64,
    /// The newest line, 0 = the chain is empty.
    pub last: u64,
    /// Its hash.
    pub hash: String,
}

impl Verified {
    /// How many lines there are.
    pub const fn lines(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// How a range went.
#[derive(Debug)]
pub enum Step {
    Ended(Result<Verified, Broken>),
    /// All so far hold; more lines follow.
    Holds,
}

/// A walk along a chain, from its first line to the line that was the newest when it began.
pub struct Walk {
    key: SubKey,
    head: Option<Head>,
    /// There are lines or checkpoints behind the head.
    beyond: bool,
    /// The pruned line that the chain begins behind, 0 = none.
    base: u64,
    last: u64,
    before: String,
    /// Line of the checkpoint passed last, and whether it was the base.
    passed: Option<(u64, bool)>,
    broken: Option<Broken>,
}

impl Walk {
    /// Stands before the first line.
    pub fn begin(read: &impl Read, key: &SubKey) -> Result<Self, StoreError> {
        let head = read.get(&AUDIT_HEAD, &0)?;
        let end = head.as_ref().map_or(0, |head| head.line);
        let newest = read.scan(&AUDIT).reverse().limit(1).keys()?.pop().unwrap_or(0);
        let sealed = read.scan(&AUDIT_CHECKPOINTS).reverse().limit(1).keys()?.pop().unwrap_or(0);
        let mut walk = Self {
            key: key.clone(),
            head,
            beyond: newest > end || sealed > end,
            base: 0,
            last: 0,
            before: String::new(),
            passed: None,
            broken: None,
        };
        if let Some((line, base)) = base(read)? {
            if !base.holds(key, line) {
                walk.broken = Some(Broken::Checkpoint(line));
            }
            (walk.base, walk.last, walk.before, walk.passed) = (line, line, base.hash, Some((line, true)));
        }
        Ok(walk)
    }

    /// Lines that were walked, and how many there are.
    pub fn progress(&self) -> (u64, u64) {
        let end = self.head.as_ref().map_or(self.last, |head| head.line);
        (self.last - self.base, end.saturating_sub(self.base))
    }

    /// Walks the next range in `read`, which may be of a later commit than the ranges before.
    pub fn step(&mut self, read: &impl Read) -> Result<Step, StoreError> {
        if base(read)?.map_or(0, |(line, _)| line) != self.base {
            *self = Self::begin(read, &self.key)?;
        }
        if let Some(broken) = self.broken {
            return Ok(Step::Ended(Err(broken)));
        }
        let most = self.last.saturating_add(RANGE);
        let end = self.head.as_ref().map_or(most, |head| head.line.min(most));
        let from = self.last + 1;
        let sealed = read.scan(&AUDIT_CHECKPOINTS).from(&from).before(&end.saturating_add(1)).rows()?;
        let mut sealed = sealed.into_iter().peekable();
        let range = (std::ops::Bound::Included(from.encoded()), std::ops::Bound::Included(end.encoded()));
        let mut broken = None;
        if from <= end {
            read.raw_scan(AUDIT.name, range, false, &mut |mut key, value| {
                let line = u64::read(&mut key).unwrap_or(0);
                match follows(&self.before, value) {
                    Some(hash) if line == self.last + 1 => self.before = hash,
                    _ => {
                        broken = Some(Broken::Link(line));
                        return Ok(false);
                    }
                }
                self.last = line;
                if let Some((_, checkpoint)) = sealed.next_if(|(at, _)| *at == line)
                    && !self.passes(line, &checkpoint)
                {
                    broken = Some(Broken::Checkpoint(line));
                }
                Ok(broken.is_none())
            })?;
        }
        if broken.is_some() {
            self.broken = broken;
        }
        Ok(match self.broken {
            Some(broken) => Step::Ended(Err(broken)),
            None if self.last >= most => Step::Holds,
            None => Step::Ended(self.end()),
        })
    }

    /// Walks to the end, with a fresh `read` for each range, and says how far it is: lines done, of how many.
    pub fn finish<R: Read>(
        mut self,
        read: impl Fn() -> Result<R, StoreError>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Result<Verified, Broken>, StoreError> {
        loop {
            let step = self.step(&read()?)?;
            let (done, total) = self.progress();
            progress(done, total);
            if let Step::Ended(ended) = step {
                return Ok(ended);
            }
        }
    }

    /// A checkpoint of the walked line: made with the key, of this hash, and behind the one passed before.
    fn passes(&mut self, line: u64, checkpoint: &Checkpoint) -> bool {
        let follows = match self.passed {
            // Those between were pruned with their lines.
            Some((before, true)) => checkpoint.after <= before,
            Some((before, false)) => checkpoint.after == before,
            None => checkpoint.after == 0,
        };
        self.passed = Some((line, false));
        follows && !checkpoint.pruned && checkpoint.hash == self.before && checkpoint.holds(&self.key, line)
    }

    fn end(&self) -> Result<Verified, Broken> {
        let last = self.last;
        let holds = match &self.head {
            None => last == 0,
            Some(head) => {
                let mac = head_mac(&self.key, head.line, &head.hash, head.checkpoint);
                head.line == last
                    && head.hash == self.before
                    && constant_time_eq(head.mac.as_bytes(), mac.as_bytes())
                    && head.checkpoint.map(|newest| newest.line) == self.passed.map(|(line, _)| line)
            }
        };
        if holds && !self.beyond {
            Ok(Verified { first: self.base + 1, last, hash: self.before.clone() })
        } else {
            Err(Broken::Tail(last))
        }
    }
}

/// Walks a whole chain in one snapshot: how many lines hold, or the first place that does not.
pub fn verify(from: &impl Read, key: &SubKey) -> Result<Result<u64, Broken>, StoreError> {
    let mut walk = Walk::begin(from, key)?;
    loop {
        if let Step::Ended(ended) = walk.step(from)? {
            return Ok(ended.map(|verified| verified.lines()));
        }
    }
}

/// Where a pruned chain begins.
fn base(read: &impl Read) -> Result<Option<(u64, Checkpoint)>, StoreError> {
    let first = read.scan(&AUDIT_CHECKPOINTS).limit(1).rows()?.pop();
    Ok(first.filter(|(_, checkpoint)| checkpoint.pruned))
}

/// The hash of a stored line if it follows from the one before. Reckoned from the bytes as they were stored, so that lines
/// that an earlier version wrote with fewer fields still hold.
pub(super) fn follows(before: &str, value: &[u8]) -> Option<String> {
    let (version, json) = value.split_first()?;
    let (line, tail) = json.split_at_checked(json.len().checked_sub(LABEL.len() + HASH + CLOSE.len())?)?;
    let said = tail.strip_prefix(LABEL)?.strip_suffix(CLOSE)?;
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [before.as_bytes(), line, LABEL, CLOSE] {
        context.update(part);
    }
    let hash = hex(context.finish().as_ref());
    ((1..=AUDIT.version).contains(version) && hash.as_bytes() == said).then_some(hash)
}
