//! The binary `tcpstat`; see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use tcpstat_user::{commands::Cli, kernel::one_arena};

fn main() -> ExitCode {
    one_arena();
    match Cli::parse().run() {
        Ok(status) => status,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => usage.exit(),
            Err(error) => {
                eprintln!("tcpstat: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
