//! The checks: pure functions from components to findings.
