//! Where a daily number is going: a straight line through its past (least squares), and the band in which a day of the future
//! lies 19 times out of 20, if it goes on like this.

/// Fewer days than these are no history.
pub const ENOUGH: usize = 7;

/// Quantiles of Student's t for 97.5 %, from 5 degrees of freedom on. Source: NIST/SEMATECH e-Handbook of Statistical
/// Methods, 1.3.6.7.2. With more than 30 the last one is a little too careful.
const T: [f64; 26] = [
    2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
    2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A line through past days, and how far they lie from it.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    n: f64,
    mean_x: f64,
    mean_y: f64,
    slope: f64,
    /// Sum of squares of the days' distances from their mean.
    sxx: f64,
    /// Standard error of a day around the line, times its quantile.
    wide: f64,
}

/// A day of the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub low: u64,
    pub likely: u64,
    pub high: u64,
}

impl Line {
    /// The line through pairs of day and amount; `None` when there are too few days.
    #[expect(clippy::cast_precision_loss, reason = "a forecast is no exact number")]
    pub fn through(past: &[(u32, u64)]) -> Option<Self> {
        if past.len() < ENOUGH {
            return None;
        }
        let n = past.len() as f64;
        let points = || past.iter().map(|(day, amount)| (f64::from(*day), *amount as f64));
        let mean_x = points().map(|(x, _)| x).sum::<f64>() / n;
        let mean_y = points().map(|(_, y)| y).sum::<f64>() / n;
        let sxx = points().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
        if sxx <= 0.0 {
            return None;
        }
        let slope = points().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / sxx;
        let off = points().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum::<f64>();
        let t = T[(past.len() - ENOUGH).min(T.len() - 1)];
        Some(Self { n, mean_x, mean_y, slope, sxx, wide: t * (off / (n - 2.0)).sqrt() })
    }

    /// What a day may bring; never below nothing.
    pub fn at(&self, day: u32) -> Expected {
        let from_mean = f64::from(day) - self.mean_x;
        let likely = self.mean_y + self.slope * from_mean;
        let band = self.wide * (1.0 + 1.0 / self.n + from_mean.powi(2) / self.sxx).sqrt();
        Expected { low: whole(likely - band), likely: whole(likely), high: whole(likely + band) }
    }

    /// The first day after `day` on which the line has come to `most`; `None` when it does not within a year.
    pub fn reaches(&self, most: u64, day: u32) -> Option<u32> {
        (day + 1..=day + 365).find(|day| self.at(*day).likely >= most)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, and below zero is zero"
)]
fn whole(amount: f64) -> u64 {
    amount.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_straight_past_goes_straight_on() {
        let past: Vec<(u32, u64)> = (0..10).map(|day| (20_000 + day, 1_000 + 50 * u64::from(day))).collect();
        let line = Line::through(&past).unwrap();
        assert_eq!(line.at(20_039), Expected { low: 2_950, likely: 2_950, high: 2_950 });
        assert_eq!(line.reaches(2_000, 20_009), Some(20_020));
        assert_eq!(line.reaches(1_000_000, 20_009), None, "not within a year");
    }

    /// By hand: y = 2, 4, 3, 5, 4, 6, 5 on days 1 to 7 gives slope 0.5, intercept 2.142857; the squares off the line sum up to
    /// 3.857143, so s = 0.878310; on day 9 t s sqrt(1 + 1/7 + 25/28) = 2.571 * 0.878310 * 1.426785 = 3.221854.
    #[test]
    fn the_band_is_the_one_of_the_textbook() {
        let past: Vec<(u32, u64)> = (1..8).zip([2_000, 4_000, 3_000, 5_000, 4_000, 6_000, 5_000]).collect();
        let line = Line::through(&past).unwrap();
        assert_eq!(line.at(9), Expected { low: 3_421, likely: 6_643, high: 9_865 });
    }

    #[test]
    fn too_few_days_say_nothing() {
        let past: Vec<(u32, u64)> = (0..6).map(|day| (day, 5)).collect();
        assert!(Line::through(&past).is_none());
        assert!(Line::through(&[(3, 5); 9]).is_none(), "nine times the same day are one");
    }

    proptest! {
        #[test]
        fn every_past_has_an_ordered_future(past in prop::collection::btree_map(0..40_000u32, any::<u64>(), 7..40), ahead in 0..400u32) {
            let past: Vec<_> = past.into_iter().collect();
            let line = Line::through(&past).unwrap();
            let Expected { low, likely, high } = line.at(past.last().unwrap().0 + ahead);
            prop_assert!(low <= likely && likely <= high);
        }
    }
}
