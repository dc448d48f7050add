//! `dormouse`: the platform in one binary.

use std::process::ExitCode;

use clap::Parser;
use dormouse::cli::{Cli, exit_status, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the one line that says what failed")]
            {
                eprintln!("dormouse: {error:#}");
            }
            ExitCode::from(exit_status(&error))
        }
    }
}
