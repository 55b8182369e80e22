//! What is wrong or risky in an org: the checks are in `rules`.

pub mod rules;
