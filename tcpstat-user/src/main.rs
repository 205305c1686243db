//! The binary `tcpstat`; see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use tcpstat_user::{
    commands::{Cli, Flushed, tell_failure},
    kernel::one_arena,
};

fn main() -> ExitCode {
    one_arena();
    let _flushed = Flushed;
    match Cli::parse().run() {
        Ok(status) => status,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => usage.exit(),
            Err(error) => {
                tell_failure(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}
