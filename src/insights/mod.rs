//! Org health: checks over the catalogue, findings, score.

pub mod rules;
