//! `tcpstat print`: the files that go with the binary, which carries them.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::{Args, Subcommand};

/// Flags of `tcpstat print`.
#[derive(Args, Debug)]
pub(super) struct PrintArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// The systemd unit: an unprivileged service with two capabilities.
    Unit,
}

const UNIT: &str = include_str!("../../assets/packaging/tcpstat.service");

/// Prints to standard output.
pub(super) fn run(args: &PrintArgs) -> anyhow::Result<ExitCode> {
    let text = match args.kind {
        Kind::Unit => UNIT,
    };
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")?;
    Ok(ExitCode::SUCCESS)
}
