//! The two drawings of the health page, as numbers for SVG: a ring of ticks and the line of scores.

use std::f64::consts::PI;

/// Ticks of the ring, and the angle of its gap to either side of straight down, in degrees.
const TICKS: u32 = 41;
const BELOW: f64 = 14.4;
/// The drawing area of the line, in units of its view box.
const WIDTH: f64 = 252.0;
const HEIGHT: f64 = 44.0;
const MARGIN: f64 = 4.0;

/// One tick of the ring, in a view box of 240 x 152.
pub struct Tick {
    pub x1: String,
    pub y1: String,
    pub x2: String,
    pub y2: String,
    pub on: bool,
}

/// The ring for a score of 0 to 100.
pub fn ticks(score: u32) -> Vec<Tick> {
    let lit = (f64::from(score.min(100)) / 100.0 * f64::from(TICKS)).round() as u32;
    let tick = |n: u32| {
        let turn = (180.0 + 2.0 * BELOW) / f64::from(TICKS - 1);
        let angle = (180.0 - BELOW + f64::from(n) * turn) * PI / 180.0;
        let at = |radius: f64| (120.0 + radius * angle.cos(), 118.0 + radius * angle.sin());
        let ((x1, y1), (x2, y2)) = (at(88.0), at(106.0));
        let text = |value: f64| format!("{value:.1}");
        Tick { x1: text(x1), y1: text(y1), x2: text(x2), y2: text(y2), on: n < lit }
    };
    (0..TICKS).map(tick).collect()
}

/// The line of scores.
pub struct Line {
    pub path: String,
    pub area: String,
    /// Height of its end.
    pub end: String,
    pub first: u32,
    pub last: u32,
}

impl Line {
    /// Through at least two readings, oldest first; the axis starts at zero.
    pub fn through(scores: &[u32]) -> Option<Self> {
        let (&first, &last) = (scores.first()?, scores.last()?);
        if scores.len() < 2 {
            return None;
        }
        let step = (WIDTH - 2.0 * MARGIN) / (scores.len() - 1) as f64;
        let y = |score: u32| HEIGHT - MARGIN - f64::from(score.min(100)) / 100.0 * (HEIGHT - 2.0 * MARGIN);
        let points: Vec<String> = scores
            .iter()
            .enumerate()
            .map(|(n, score)| format!("{:.1} {:.1}", MARGIN + n as f64 * step, y(*score)))
            .collect();
        let path = format!("M{}", points.join(" L"));
        let area = format!("{path} L{:.0} {HEIGHT} L{MARGIN} {HEIGHT}Z", WIDTH - MARGIN);
        Some(Self { path, area, end: format!("{:.1}", y(last)), first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_lit_by_the_score_and_symmetric() {
        assert_eq!(ticks(0).iter().filter(|t| t.on).count(), 0);
        assert_eq!(ticks(50).iter().filter(|t| t.on).count(), 21);
        assert_eq!(ticks(100).iter().filter(|t| t.on).count(), 41);
        let all = ticks(74);
        let (left, right): (f64, f64) = (all[0].x1.parse().unwrap(), all[40].x1.parse().unwrap());
        assert!((left + right - 240.0).abs() < 0.2, "{left} and {right}");
        assert_eq!(all[0].y1, all[40].y1);
        assert_eq!(all[0].y1, "139.9", "the ends hang below the middle");
    }

    #[test]
    fn a_line_needs_two_readings_and_stays_inside() {
        assert!(Line::through(&[70]).is_none());
        let line = Line::through(&[0, 100]).unwrap();
        assert_eq!(line.path, "M4.0 40.0 L248.0 4.0");
        assert_eq!((line.first, line.last, line.end.as_str()), (0, 100, "4.0"));
    }
}
