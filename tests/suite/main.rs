//! All integration tests in one binary, so that one executable is linked. Each module names what it proves.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its premise fails")]

mod access;
mod analyze;
mod audit;
mod bit_flips;
mod boundaries;
mod harness;
mod headers;
mod jobs;
mod kill;
mod power_loss;
mod setup;
mod tables;
mod tls;
mod unreadable_disk;
