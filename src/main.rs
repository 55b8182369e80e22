//! The `vynos` command.

fn main() {}
