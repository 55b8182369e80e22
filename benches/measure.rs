//! `cargo bench --profile bench-fast`: what docs/PERFORMANCE.md names, median of five, each ratio against a baseline
//! of the same run. `cargo bench -- store index` runs only those.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement stops where its premise fails, and prints what it found"
)]

mod audit;
mod bundle;
mod erasure;
mod index;
mod relay;
mod serving;
mod store;

use std::time::{Duration, Instant};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if let [baseline, what, port] = wanted.as_slice() {
        match baseline.as_str() {
            "bare-handler" => return serving::bare(what, port.parse().unwrap()),
            "bare-relay" => return relay::bare(what, port.parse().unwrap()),
            _ => {}
        }
    }
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.trim());
    if runs("audit") {
        audit::measure();
    }
    if runs("store") {
        store::measure();
    }
    if runs("erasure") {
        erasure::measure();
    }
    if runs("bundle") {
        bundle::measure();
    }
    if runs("index") {
        index::measure();
    }
    if runs("relay") {
        relay::measure();
    }
    if runs("serving") {
        serving::measure();
    }
}

/// Five runs of something, the middle one.
fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..5).map(|_| run()).collect();
    all.sort_by(f64::total_cmp);
    all[2]
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}
