//! The `vynos` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    vynos::cli::main()
}
