//! When the server makes backups by itself, and how those went that it made.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::AccountId;
use crate::store::{Read, StoreError, Table};

/// In the control file: one row, the plan. Without it nothing is made by itself.
pub const PLAN: Table<u8, Plan> = Table::new("backup_plan", 1);
/// In the control file: how it went, by the millisecond it began at.
pub const RUNS: Table<u64, Run> = Table::new("backup_runs", 1);

/// Runs that are remembered.
pub const REMEMBERED: usize = 100;
/// Tries for one time of the plan.
const TRIES: usize = 3;
/// Between two of them.
const AGAIN: SignedDuration = SignedDuration::from_mins(30);
/// A backup may be so much later than the plan says before operators are told.
const LATE: SignedDuration = SignedDuration::from_hours(2);

/// What the operator decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// An absolute path, outside the data directory.
    pub folder: String,
    /// Of the day, UTC: of one of the backups; the others are `every_hours` apart.
    pub hour: i8,
    pub minute: i8,
    /// A divisor of 24.
    pub every_hours: u8,
    /// The newest so many stay,
    pub keep: u32,
    /// of these none that is older than so many days; 0 = they may be of any age.
    pub keep_days: u32,
    /// When it was decided: no time before that is due.
    pub since: Timestamp,
}

impl Plan {
    /// The newest moment of the plan up to `now`.
    fn slot(&self, now: Timestamp) -> Option<Timestamp> {
        let day = TimeZone::UTC.to_datetime(now).date();
        let time = Time::new(self.hour, self.minute, 0, 0).ok()?;
        let mut slot = day.to_datetime(time).to_zoned_datetime(TimeZone::UTC).ok()?.timestamp();
        let step = SignedDuration::from_hours(i64::from(self.every_hours.max(1)));
        while slot > now {
            slot -= step;
        }
        while slot + step <= now {
            slot += step;
        }
        (slot > self.since).then_some(slot)
    }

    /// When the next one is due that is not yet.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let step = SignedDuration::from_hours(i64::from(self.every_hours.max(1)));
        let early = Self { since: Timestamp::MIN, ..self.clone() };
        early.slot(now).map(|slot| slot + step)
    }

    /// Whether a backup has to begin now, after these runs, newest first.
    pub fn is_due(&self, now: Timestamp, runs: &[Run]) -> bool {
        let Some(slot) = self.slot(now) else { return false };
        let mut tries = runs.iter().take_while(|run| run.started >= slot);
        if runs.iter().take_while(|run| run.started >= slot).any(Run::is_good) {
            return false;
        }
        match tries.next() {
            None => true,
            Some(last) => tries.count() + 1 < TRIES && last.started + AGAIN <= now,
        }
    }
}

/// One backup that the server made, or tried to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name in the folder of the plan.
    pub file: String,
    /// Who pressed the button; `None` = the plan.
    pub asked_by: Option<AccountId>,
    pub started: Timestamp,
    /// `None` while it runs, or when the process ended before it.
    pub ended: Option<Timestamp>,
    /// Bytes of the file.
    pub size: u64,
    pub workspaces: u64,
    /// It was read back, and every seal and checksum holds.
    pub verified: bool,
    pub error: Option<String>,
    /// Removed since, as the plan keeps no more.
    pub removed: bool,
}

impl Run {
    pub fn is_good(&self) -> bool {
        self.verified && self.error.is_none()
    }
}

/// The runs, newest first; at most `limit`.
pub fn runs(read: &impl Read, limit: usize) -> Result<Vec<Run>, StoreError> {
    Ok(read.scan(&RUNS).reverse().limit(limit).rows()?.into_iter().map(|(_, run)| run).collect())
}

/// How it stands with backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The newest try failed, in these words.
    Failed {
        at: Timestamp,
        said: String,
        last_good: Option<Timestamp>,
    },
    Fresh {
        at: Timestamp,
    },
    /// None is planned.
    Off,
    /// The newest good one is older than the plan allows; `None` = there never was one.
    Old {
        at: Option<Timestamp>,
    },
    /// The first one is still to come.
    Waiting {
        next: Option<Timestamp>,
    },
}

impl Standing {
    pub fn of(read: &impl Read, now: Timestamp) -> Result<Self, StoreError> {
        let Some(plan) = read.get(&PLAN, &0)? else { return Ok(Self::Off) };
        let runs = runs(read, REMEMBERED)?;
        let last_good = runs.iter().find(|run| run.is_good()).map(|run| run.started);
        if let Some(run) = runs.iter().find(|run| run.is_good() || run.error.is_some())
            && let Some(said) = &run.error
        {
            return Ok(Self::Failed { at: run.started, said: said.clone(), last_good });
        }
        let allowed = SignedDuration::from_hours(i64::from(plan.every_hours)) + LATE;
        Ok(match last_good {
            Some(at) if at + allowed >= now => Self::Fresh { at },
            None if plan.since + allowed >= now => Self::Waiting { next: plan.next(now) },
            at => Self::Old { at },
        })
    }

    /// In a sentence.
    pub fn said(&self) -> String {
        match self {
            Self::Failed { at, said, last_good } => {
                let good = last_good.map_or_else(
                    || "There is no good one.".to_owned(),
                    |at| format!("The last good one is of {}.", moment(at)),
                );
                format!("The backup of {} failed: {}. {good}", moment(*at), said.trim_end_matches('.'))
            }
            Self::Fresh { at } => format!("The last one is of {} and was read back.", moment(*at)),
            Self::Off => "No backup is planned.".into(),
            Self::Old { at: Some(at) } => format!("The last one is of {}: older than planned.", moment(*at)),
            Self::Old { at: None } => "None was made yet, although the time for the first is over.".into(),
            Self::Waiting { next: Some(next) } => format!("The first one is due on {}.", moment(*next)),
            Self::Waiting { next: None } => "The first one is still to come.".into(),
        }
    }
}

/// `24 November 2026, 03:00 UTC`.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn plan(every_hours: u8) -> Plan {
        let since = at("2026-11-23T09:00:00Z");
        Plan { folder: "/b".into(), hour: 3, minute: 0, every_hours, keep: 7, keep_days: 0, since }
    }

    fn run(started: &str, error: Option<&str>) -> Run {
        Run {
            file: String::new(),
            asked_by: None,
            started: at(started),
            ended: None,
            size: 0,
            workspaces: 0,
            verified: error.is_none(),
            error: error.map(str::to_owned),
            removed: false,
        }
    }

    #[test]
    fn a_backup_is_due_once_for_each_time_of_the_plan_and_never_for_one_before_it() {
        let plan = plan(24);
        assert!(
            !plan.is_due(at("2026-11-23T09:01:00Z"), &[]),
            "three o'clock of that day was before the plan"
        );
        assert!(!plan.is_due(at("2026-11-24T02:59:59Z"), &[]));
        assert!(plan.is_due(at("2026-11-24T03:00:00Z"), &[]));
        assert!(plan.is_due(at("2026-11-26T17:00:00Z"), &[]), "a server that slept makes one, not three");
        assert!(!plan.is_due(at("2026-11-26T18:00:00Z"), &[run("2026-11-26T17:00:00Z", None)]));
        assert!(plan.is_due(at("2026-11-27T03:00:00Z"), &[run("2026-11-26T17:00:00Z", None)]));
        assert_eq!(plan.next(at("2026-11-24T03:00:00Z")), Some(at("2026-11-25T03:00:00Z")));
    }

    #[test]
    fn a_failed_backup_is_tried_three_times_and_then_at_the_next_time() {
        let plan = plan(24);
        let first = run("2026-11-24T03:00:00Z", Some("disk"));
        assert!(!plan.is_due(at("2026-11-24T03:29:00Z"), std::slice::from_ref(&first)));
        assert!(plan.is_due(at("2026-11-24T03:30:00Z"), std::slice::from_ref(&first)));
        let tries =
            [run("2026-11-24T04:00:00Z", Some("disk")), run("2026-11-24T03:30:00Z", Some("disk")), first];
        assert!(!plan.is_due(at("2026-11-24T20:00:00Z"), &tries));
        assert!(plan.is_due(at("2026-11-25T03:00:00Z"), &tries));
    }

    #[test]
    fn every_six_hours_means_four_times_a_day() {
        let plan = plan(6);
        let due =
            ["2026-11-23T15:00:00Z", "2026-11-23T21:00:00Z", "2026-11-24T03:00:00Z", "2026-11-24T09:00:00Z"];
        let mut before = None;
        for time in due {
            let runs: Vec<Run> = before.into_iter().collect();
            assert!(!plan.is_due(at(time) - SignedDuration::from_secs(1), &runs), "{time}");
            assert!(plan.is_due(at(time), &runs), "{time}");
            before = Some(run(time, None));
        }
    }
}
