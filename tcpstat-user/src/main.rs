//! The binary `tcpstat`; see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use tcpstat_user::commands::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("tcpstat: {error:#}");
            ExitCode::FAILURE
        }
    }
}
